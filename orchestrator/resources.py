"""Where the lab's own data lies: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data(name: str) -> Path:
    """The folder ``guest``, ``images`` or ``scenarios``: the wheel's copy, else the checkout's."""
    shipped = _PACKAGE / "_data" / name
    return shipped if shipped.is_dir() else _PACKAGE.parent / name


def cache() -> Path:
    """The lab's cache folder (``LAB_CACHE``, else ``qemu-lab`` in the user's cache directory)."""
    if own := os.environ.get("LAB_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "qemu-lab"
    return Path.home() / ".cache" / "qemu-lab"
