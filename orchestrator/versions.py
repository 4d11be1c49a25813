"""Versions as people compare them: "6.1" is not "6.12", "2.36" is below "2.41"."""

from __future__ import annotations

import re
from functools import total_ordering


@total_ordering
class Version:
    """A dotted number for comparison, from "6.1.0-50-cloud-amd64", "7.3.4+deb13" or "2.36".

    Only the leading dotted numbers count; missing parts are zero ("6.1" == "6.1.0").
    Raises ValueError when the text does not begin with a number.
    """

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"(\d+(?:\.\d+)*)(?:[-+~].*)?", text)
        if match is None:
            raise ValueError(f"not a version: {text!r}")
        self.text = text
        numbers = [int(part[:9]) for part in match[1].split(".")]
        while numbers and numbers[-1] == 0:
            numbers.pop()
        self.numbers = tuple(numbers)

    def __eq__(self, other: object) -> bool:
        return self.numbers == _version(other).numbers

    def __lt__(self, other: object) -> bool:
        return self.numbers < _version(other).numbers

    def __hash__(self) -> int:
        return hash(self.numbers)

    def __repr__(self) -> str:
        return f"Version({self.text!r})"

    def __str__(self) -> str:
        return self.text


def _version(value: object) -> Version:
    return value if isinstance(value, Version) else Version(str(value))


def series(text: str) -> str:
    """The series of a kernel or glibc version: "6.1.0-50-cloud-amd64" -> "6.1"."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return f"{match[1]}.{match[2]}" if match else text
