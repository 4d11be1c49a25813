"""Pieces: everything that comes from Debian packages, pinned, verified and cached."""

from orchestrator.pieces.store import Store, Wanted
from orchestrator.pieces.user import user_kernel, user_userland

__all__ = ["Store", "Wanted", "user_kernel", "user_userland"]
