"""Text evidence as numbered lines: every value that is parsed can name the line it came from."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import LabError
from orchestrator.model import Evidence

MAX_LINES = 4_000_000
MAX_LINE = 20_000  # characters; a longer line is not what the kernel writes
SHOWN = 160  # characters of a line in a message or a finding


class EvidenceError(LabError):
    """Evidence that is not what the kernel writes; the message names file and line (exit 3)."""


@dataclass(frozen=True)
class Document:
    """One evidence file. ``file`` is relative to the run directory; lines count from 1."""

    file: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, file: str, content: bytes | str) -> Document:
        """The file's lines. Raises EvidenceError if it is larger than any real one."""
        text = content if isinstance(content, str) else content.decode("utf-8", "replace")
        lines = tuple(text.removesuffix("\n").split("\n")) if text else ()
        if len(lines) > MAX_LINES:
            raise EvidenceError(f"{file}: {len(lines)} lines, more than {MAX_LINES}")
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE:
                raise EvidenceError(f"{file}:{number}: a line of {len(line)} characters")
        return cls(file, lines)

    def at(self, line: int) -> Evidence:
        """The evidence that one line is; line 0 is the whole file."""
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return Evidence(self.file, line, text if len(text) <= SHOWN else text[:SHOWN] + "…")

    def garbled(self, line: int, what: str) -> EvidenceError:
        """The error for a line that can't be read."""
        return EvidenceError(f"{self.file}:{line}: not {what}: {self.at(line).text!r}")
