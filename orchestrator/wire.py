"""The protocol between the host and labrun in the guest: pure (guest/README.md).

Whatever the guest sends is bounded and checked here: a frame that is too long, has an odd header or
names a path outside of /proc is a ProtocolError, never trusted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from orchestrator.errors import GuestError, LabError

PROTOCOL = 1
MAX_HEADER = 1024  # bytes
MAX_PAYLOAD = 80 << 20  # bytes of one frame
MAX_TOTAL = 1 << 30  # bytes of one run

_HEADER = re.compile(r"([a-z]{1,16}) (\d{1,10})((?: [a-z]{1,16}=[^ \x00-\x1f\x7f]{0,200})*)")


class ProtocolError(GuestError):
    """labrun does not speak its protocol: the guest is lost, or somebody plays tricks."""


@dataclass(frozen=True)
class Frame:
    """One message from labrun."""

    type: str
    attributes: Mapping[str, str]
    payload: bytes

    def number(self, name: str) -> int:
        """An attribute as a non-negative number. Raises ProtocolError if it is none."""
        value = self.attributes.get(name, "")
        if not value.isascii() or not value.isdigit() or len(value) > 20:
            raise ProtocolError(f"labrun's {self.type} frame has {name}={value!r}")
        return int(value)

    @property
    def text(self) -> str:
        """The payload as text, replacement characters for what is no UTF-8."""
        return self.payload.decode("utf-8", "replace")


def frames(read: Callable[[int], bytes]) -> Iterator[Frame]:
    """The frames in a stream; ``read(n)`` gives up to n bytes, b"" at the end.

    Ends quietly at a frame's border; raises ProtocolError inside one or on anything odd.
    """
    buffer = bytearray()
    total = 0

    def fill() -> bool:
        nonlocal total
        chunk = read(1 << 17)
        buffer.extend(chunk)
        total += len(chunk)
        if total > MAX_TOTAL:
            raise ProtocolError(f"the guest sent more than {MAX_TOTAL >> 20} MiB")
        return bool(chunk)

    while True:
        while (end := buffer.find(b"\n", 0, MAX_HEADER)) < 0:
            if len(buffer) >= MAX_HEADER:
                raise ProtocolError(f"labrun's header has no end: {bytes(buffer[:60])!r}")
            if not fill():
                if buffer:
                    raise ProtocolError(f"the stream ends inside a header: {bytes(buffer[:60])!r}")
                return
        kind, length, attributes = _header(bytes(buffer[:end]))
        del buffer[: end + 1]
        while len(buffer) < length:
            if not fill():
                raise ProtocolError(f"the stream ends inside a {kind} frame")
        yield Frame(kind, attributes, bytes(buffer[:length]))
        del buffer[:length]


def _header(line: bytes) -> tuple[str, int, dict[str, str]]:
    found = _HEADER.fullmatch(line.decode("ascii", "replace"))
    if found is None:
        raise ProtocolError(f"not a frame of labrun's: {line[:120]!r}")
    length = int(found[2])
    if length > MAX_PAYLOAD:
        raise ProtocolError(f"a {found[1]} frame of {length} bytes (limit {MAX_PAYLOAD})")
    attributes = dict(pair.split("=", 1) for pair in found[3].split())
    return found[1], length, attributes


_EVIDENCE = re.compile(r"proc/\d{1,10}(/task/\d{1,10})?/[a-z_]{1,32}|trace/(events|stats|graph|graph-stats)")


def evidence_name(frame: Frame) -> str:
    """The name of a file frame ("proc/12/maps", "trace/events"). Raises ProtocolError for anything else."""
    name = frame.attributes.get("name", "")
    if _EVIDENCE.fullmatch(name) is None:
        raise ProtocolError(f"labrun offers the file {name!r}")
    return name


def command(*words: str | int) -> bytes:
    """One line to labrun. Raises LabError for words that would make more than one."""
    line = " ".join(str(word) for word in words)
    if "\n" in line or "\0" in line:
        raise LabError(f"{line[:100]!r} is no line for labrun")
    return os.fsencode(line + "\n")


def blob(content: bytes, *words: str | int) -> bytes:
    """A line with a payload: its length comes last ("arg 5", then five bytes)."""
    return command(*words, len(content)) + content


def file(name: str, mode: int, content: bytes) -> bytes:
    """A file for the case directory."""
    return command("file", f"{mode:o}", len(content), name) + content
