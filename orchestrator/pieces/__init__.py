"""Pieces: everything that comes from Debian packages, pinned, verified and cached."""

from orchestrator.pieces.store import Store, Wanted

__all__ = ["Store", "Wanted"]
