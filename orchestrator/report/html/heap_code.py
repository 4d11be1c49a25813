"""Chunks and lists as short texts, which assets/heap_model.js reads again. Pure.

A number is written in base 64 with the letters of DIGITS, the lowest five bits first; a sixth bit says that more
follow (as source maps of JavaScript do). A chunk is the number of its kind: kinds are all the (size word, state,
change) that a run has, the most frequent first, so that most chunks are one or two letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
Kind = tuple[int, str, str]  # size word, state, change


def number(value: int) -> str:
    """A number from 0 on."""
    text = ""
    while value > 31:
        text += DIGITS[value & 31 | 32]
        value >>= 5
    return text + DIGITS[value]


class Codebook:
    """The kinds of chunks of a run, and the texts that were made of them; equal texts are kept once."""

    def __init__(self, kinds: Counter[Kind]) -> None:
        self.kinds = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
        self._codes = {kind: number(place) for place, kind in enumerate(self.kinds)}
        self.texts: list[str] = []
        self._known: dict[str, int] = {}

    def chunks(self, kinds: Iterable[Kind]) -> int:
        """The number of the text of these chunks."""
        text = "".join(map(self._codes.__getitem__, kinds))
        if text not in self._known:
            self._known[text] = len(self.texts)
            self.texts.append(text)
        return self._known[text]


def members(chunks: Sequence[int], ordinals: Mapping[int, int], limit: int) -> tuple[str, list[int]]:
    """The chunks of a list as one text, and those of them that no walk has.

    ``ordinals``: the place of a chunk, by address, among all that are drawn. In the text each chunk is its distance
    from the one before (at first from 0), twice that number and one more if it is negative, and 1 added; 0 stands for
    the next of those that no walk has, of which there are at most ``limit``, and with the last of them the text ends.
    """
    text: list[str] = []
    strangers: list[int] = []
    last = 0
    for chunk in chunks:
        place = ordinals.get(chunk)
        if place is None:
            if len(strangers) == limit:
                break
            strangers.append(chunk)
            text.append(DIGITS[0])
            continue
        distance = place - last
        text.append(number((distance << 1 if distance >= 0 else -distance << 1 | 1) + 1))
        last = place
    return "".join(text), strangers
