"""Words for a terminal: guest text made harmless, sizes and ranges for people, wrapping, colour. Pure.

Whatever a guest or a user's file says may hold escape sequences, carriage returns, bidirectional
controls or letters without width; ``clean`` makes each of them visible, so that text can neither
move the cursor nor forge a line of a report.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TextIO

LIMIT = 400  # characters of guest text shown at a time
PAGE = 4096  # bytes, where the record does not say

# Letters by category, but without ink: Hangul fillers, the empty Braille pattern.
_INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\uffa0")
# Control, format (bidirectional, zero width), surrogate, private, unassigned; separators; enclosing marks.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs", "Me"})
_MARKS = re.compile(r"([\u0300-\u036f]{2})[\u0300-\u036f]+")  # a pile of accents leaves its line


def clean(text: str, limit: int = LIMIT) -> str:
    """The text on one line, with everything that a terminal would act on as \\x1b, \\u202e and so on.

    Longer text is cut and says by how much. A tab becomes a space.
    """
    cut = len(text) - limit
    if cut > 0:
        text = text[:limit]
    if not (text.isascii() and text.isprintable()):
        text = _MARKS.sub(r"\1", "".join(map(_visible, text)))
    return f"{text} ... (+{cut} characters)" if cut > 0 else text


def _visible(char: str) -> str:
    if char == " " or char == "\t":
        return " "
    if unicodedata.category(char) in _HIDDEN or char in _INVISIBLE:
        code = ord(char)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return char


# Systems whose logs act on what is printed, by a variable that they set: on GitHub a line that begins with "::", or
# "##[" anywhere in it (actions/runner, src/Runner.Common/ActionCommand.cs); on Azure "##vso["; TeamCity "##teamcity["
_ACTING = ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION")
_COMMAND = re.compile(r"^([^\S\n]*):(?=:)|#(?=#\w*\[)", re.MULTILINE)


def inert(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Text as it may stand in a CI's log: where that acts on commands, what reads as one begins with \\x3a or \\x23."""
    if not any(environment.get(name) for name in _ACTING):
        return text
    return _COMMAND.sub(lambda found: "\\x23" if found[1] is None else f"{found[1]}\\x3a", text)


def columns(text: str) -> int:
    """How many columns a terminal gives to cleaned text: two for wide letters, none for accents."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(c) == "Mn" else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def wrap(text: str, width: int, first: str = "", then: str | None = None) -> list[str]:
    """Cleaned text as lines of at most ``width`` columns; a longer word is broken.

    The first line begins with ``first``, the others with ``then`` (default: as far indented).
    """
    return flow(text.split(), width, first, then, gap=" ")


def flow(items: Iterable[str], width: int, first: str = "", then: str | None = None, gap: str = "  ", *,
         whole: bool = False) -> list[str]:
    """As ``wrap``, for items with ``gap`` between them, which are broken only if they are longer than a line; with
    ``whole`` not even then: what is there to be copied."""
    indent = " " * columns(first) if then is None else then
    lines, line, empty = [], first, True
    for item in items:
        begun = not empty or columns(line) > columns(indent)
        if begun and columns(line + ("" if empty else gap) + item + gap.rstrip()) > width:
            lines.append((line if empty else line + gap).rstrip())
            line, empty = indent, True
        line += item if empty else gap + item
        empty = False
        while not whole and columns(line) > width and columns(indent) < width:
            kept = _fitting(line, width)
            lines.append(line[:kept])
            line = indent + line[kept:]
    return [*lines, line.rstrip()]


def _fitting(text: str, width: int) -> int:
    """How many characters of a text that is longer fill ``width`` columns: at least one."""
    used = 0
    for number, char in enumerate(text):
        used += columns(char)
        if used > width:
            return max(number, 1)
    return len(text)


def cut(text: str, width: int) -> str:
    """Cleaned text in at most ``width`` columns, ending in "..." where it was longer."""
    if columns(text) <= width:
        return text
    kept = text[: max(width - 3, 0)]
    while columns(kept) > width - 3:
        kept = kept[:-1]
    return kept.rstrip() + "..."


def pad(text: str, width: int) -> str:
    """Cleaned text, filled with spaces on the right up to ``width`` columns."""
    return text + " " * (width - columns(text))


_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: int) -> str:
    """Bytes for people: "0", "17 B", "4 KiB", "132 KiB", "1.9 MiB"; a minus sign for less than nothing."""
    if count < 0:
        return "-" + size(-count)
    if count < 1024:
        return f"{count} B" if count else "0"
    power = min((count.bit_length() - 1) // 10, len(_UNITS))
    whole, rest = divmod(count, 1 << 10 * power)
    return f"{whole if not rest else f'{count / (1 << 10 * power):.1f}'} {_UNITS[power - 1]}"


def plus(count: int) -> str:
    """A size with its sign: "+4 KiB", "-8 KiB", "+0"."""
    return size(count) if count < 0 else "+" + size(count)


def span(start: int, end: int) -> str:
    """A range of addresses as /proc/PID/maps prints it."""
    return f"{start:08x}-{end:08x}"


def seconds(value: float) -> str:
    """A duration for people: "0.4 ms", "38 ms", "2.1 s", "3 min 20 s"."""
    if value < 0.0995:
        return f"{value * 1000:.1f} ms" if value < 0.00995 else f"{value * 1000:.0f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    return f"{int(value + 0.5) // 60} min {int(value + 0.5) % 60} s"


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 page", "3 pages"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def wants_colour(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour what goes to ``stream``: a terminal, and neither NO_COLOR (no-color.org) nor CLICOLOR=0. With
    FORCE_COLOR or CLICOLOR_FORCE also what is no terminal: a CI's log that shows colours. NO_COLOR wins."""
    if environment.get("NO_COLOR"):
        return False
    if any(environment.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return environment.get("CLICOLOR") != "0" and is_terminal(stream, environment)


def is_unicode(stream: TextIO) -> bool:
    """Whether ``stream`` can show more than ASCII."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")


def is_terminal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether ``stream`` is a terminal which understands escape sequences."""
    try:
        return stream.isatty() and environment.get("TERM", "dumb") != "dumb"
    except ValueError:  # closed
        return False


_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36"}


class Paint:
    """Colours text, or leaves it alone. Give it cleaned text, laid out already: codes have no width."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def __call__(self, text: str, *styles: str) -> str:
        if not self.enabled or not text:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"
