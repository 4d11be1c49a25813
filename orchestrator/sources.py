"""What a scenario's C files say to the lab, as far as their text shows it. Pure but for reading the files.

Comments are left out. A name that the program puts together at run time can't be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TEXT = re.compile(r'"((?:\\.|[^"\\\n])*)"')
_FORMAT = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[hlzjt]*[diouxXcsp]")
_MACRO = re.compile(r"\bMUTATE_[A-Z0-9_]+")


@dataclass(frozen=True)
class Word:
    """A text or a name in a C file, and where it stands."""

    text: str
    file: Path
    line: int


class Sources:
    """The C files and headers of a scenario, without their comments."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._code = {file: _without_comments(file.read_text(errors="replace")) for file in files}
        self.texts = {word.text for word in self._find(_TEXT)}

    def _find(self, pattern: re.Pattern[str]) -> Iterator[Word]:
        """The first group of each match, or all of it."""
        for file, code in self._code.items():
            for found in pattern.finditer(code):
                line = code.count("\n", 0, found.start()) + 1
                yield Word(found[found.re.groups and 1] or "", file, line)

    def calls(self, function: str) -> list[Word]:
        """The calls of a function: the text that it is given, or "" where that is no literal."""
        return list(self._find(re.compile(rf'\b{function}\s*\(\s*(?:"((?:\\.|[^"\\\n])*)"\s*[,)])?')))

    def mentions(self, name: str) -> bool:
        """Whether the name stands anywhere in the code."""
        return any(re.search(rf"\b{re.escape(name)}\b", code) for code in self._code.values())

    def mutations(self) -> list[Word]:
        """The macros of negative controls, each where it is first seen."""
        found: dict[str, Word] = {}
        for word in self._find(_MACRO):
            found.setdefault(word.text, word)
        return list(found.values())

    def may_say(self, name: str, prefix: bool = False) -> bool:
        """Whether a text in the code is that name, a format that can give it, or texts put together do."""
        return any(_may_give(text, name, prefix) for text in self.texts) or self._composed(name)

    def _composed(self, name: str) -> bool:
        """Whether the name may be made of texts, digits and separators, by a program that makes names at all."""
        if not any(not call.text for call in self.calls(r"lab_(?:note|checkpoint|trace_begin)\w*")):
            return False
        pieces = {re.sub(r"\d", "", text) for text in self.texts if len(text) > 1} - {""}
        bare = re.sub(r"\d", "", name)
        ends = {0}  # how far texts reach
        for start in range(len(bare)):
            if start in ends:
                ends |= {start + len(piece) for piece in pieces if bare.startswith(piece, start)}
                ends |= {start + 1} if start and bare[start] in "-._" else set()
        return bool(bare) and len(bare) in ends


def of(folder: Path, programs: Iterable[Path]) -> Sources:
    """The sources of a scenario: its programs, and the headers in its folder."""
    return Sources(dict.fromkeys([*programs, *sorted(folder.glob("*.h"))]))


def _without_comments(code: str) -> str:
    """The code with each comment replaced by its line ends."""
    return _TOKEN.sub(lambda found: found[0] if found[0][0] in "\"'" else "\n" * found[0].count("\n") + " ", code)


def _may_give(text: str, name: str, prefix: bool) -> bool:
    if text == name or (prefix and text.startswith(name)):
        return True
    parts = _FORMAT.split(text)
    if 1 < len(parts) <= 4 and any(parts):
        if prefix:
            return bool(parts[0]) and name.startswith(parts[0])
        return bool(re.fullmatch(".+".join(map(re.escape, parts)), name))
    return False
