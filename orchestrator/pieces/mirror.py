"""Which Debian mirror to use. No host name stands here: each comes from the user or from this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import PieceError, UsageError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SOURCES = Path("/etc/apt")
_BOOTSTRAP_TOOLS = (
    Path("/usr/sbin/debootstrap"),
    Path("/usr/bin/mmdebstrap"),
    Path("/usr/share/python-apt/templates/Debian.info"),
)
_DEBIAN_URL = re.compile(r"\bhttps?://[^\s\"'<>]+?/debian/?(?=[\s\"'<>]|$)", re.MULTILINE)


def find(option: str | None = None) -> str:
    """The mirror: the option, LAB_DEBIAN_MIRROR, the host's Debian sources, the bootstrap tools' default."""
    if given := option or os.environ.get("LAB_DEBIAN_MIRROR"):
        if not re.match(r"https?://\S+$", given):
            raise UsageError(
                f"not a mirror's address: {given!r}", "Give an http or https URL, as in sources.list."
            )
        return given.rstrip("/")
    for address in (*_from_sources(_SOURCES), *_from_tools(_BOOTSTRAP_TOOLS)):
        return address.rstrip("/")
    raise PieceError(
        "no Debian mirror is known on this machine",
        "Set LAB_DEBIAN_MIRROR or use --mirror, or install debootstrap: its default is used then.",
    )


def _from_sources(folder: Path) -> Iterator[str]:
    """Debian's own entries in the sources.list files of the host, both formats."""
    parts = folder / "sources.list.d"
    for path in sorted(parts.glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", _read(path)):
            yield from _from_stanza(stanza)
    for path in (folder / "sources.list", *sorted(parts.glob("*.list"))):
        for line in _read(path).splitlines():
            match = re.match(r"deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+\S+\s+(.*)", line.strip())
            if match and _is_debian(match[3].split(), match[1] or ""):
                yield from _addresses(match[2])


def _from_stanza(stanza: str) -> Iterator[str]:
    """One deb822 stanza; its comments are dropped, continuation lines are joined."""
    text = re.sub(r"^#.*\n?", "", stanza, flags=re.MULTILINE)
    text = re.sub(r"\n[ \t]+", " ", text)
    fields = {
        key.strip().lower(): value.strip()
        for key, _, value in (line.partition(":") for line in text.splitlines())
    }
    enabled = fields.get("enabled", "yes").lower() not in ("no", "false", "0")
    signed_by = fields.get("signed-by", "")
    if enabled and "deb" in fields.get("types", "").split():
        signing = f"signed-by={signed_by}" if signed_by else ""
        if _is_debian(fields.get("components", "").split(), signing):
            for address in fields.get("uris", "").split():
                yield from _addresses(address)


def _is_debian(components: list[str], options: str) -> bool:
    """Debian's archive has a component main, and no signing key but Debian's."""
    return "main" in components and ("signed-by" not in options or "debian-archive" in options)


def _addresses(address: str) -> Iterator[str]:
    if address.startswith("mirror+file:"):  # Debian's cloud images: a file with mirrors
        lines = _read(Path(re.sub(r"^mirror\+file:/*", "/", address))).splitlines()
        candidates = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    else:
        candidates = [address]
    yield from (found for found in candidates if _DEBIAN_URL.fullmatch(found))


def _from_tools(tools: tuple[Path, ...]) -> Iterator[str]:
    """The default that the bootstrap tools have for Debian (on Ubuntu, DEF_MIRROR is Ubuntu's)."""
    for tool in tools:
        text = _read(tool)
        default = re.search(r"^DEF_MIRROR=[\"']?(\S+?)[\"']?$", text, re.MULTILINE)
        if default and _DEBIAN_URL.fullmatch(default[1]):
            yield default[1]
        found = _DEBIAN_URL.findall(text)
        if found:
            yield max(found, key=found.count)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
