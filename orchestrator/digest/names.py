"""Addresses and process ids as names that another run of the case has too. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.comparison.places import LOWEST, Regions

KERNEL = 1 << 63  # from here on addresses are the kernel's
ERRORS = (1 << 64) - 4095  # and from here on they are error numbers: MAX_ERRNO, include/linux/err.h
USER_END = 1 << 56  # of user addresses with five levels of page tables; what is above is no address of a program
_NUMBER = re.compile(r"(?<![\w.])(?:0x([0-9a-f]{1,16})|(\d{1,20}))(?![\w.])")
_RANGE = re.compile(r"(?<![\w.])([0-9a-f]{8,16})-([0-9a-f]{8,16})(?= )")
_FILES = re.compile(r"((?:heap|kernel|proc|task)/)\d+")
STACK, ANONYMOUS, _END = "[stack]", "anonymous", "end of "
OUTSIDE = "an address in the main stack, or in no mapping"  # what lies below the stack may be in it in another run
IN_KERNEL = "a kernel address"


class Names:
    """The names of one process at one checkpoint: ``spaces``, of which the first that has an address names it, and the
    ids of all processes and threads in the order of their appearance."""

    def __init__(self, spaces: Sequence[Regions], ids: Sequence[int]) -> None:
        self._spaces = spaces
        self._ids = {number: place for place, number in enumerate(ids, 1)}

    def address(self, value: int) -> str:
        """Where it lies."""
        return self._place(value) or (IN_KERNEL if value >= KERNEL else OUTSIDE)

    def number(self, value: int) -> int | str:
        """A number, or where it lies, if it is an address."""
        return self.address(value) if LOWEST <= value < USER_END or KERNEL <= value < ERRORS else value

    def process(self, value: int) -> int | str:
        """A process or thread by its place among all of the run; 0, and what is none of these, stays."""
        return f"process {self._ids[value]}" if value in self._ids else value

    def member(self, value: int) -> str:
        """A number that is the id of a process or thread, also of one that no checkpoint has."""
        return str(self.process(value)) if value in self._ids else "a process"

    def known(self, value: int) -> bool:
        """Whether it is an address in a mapping of a process, other than the main stack."""
        return self._place(value) is not None

    def _place(self, value: int) -> str | None:
        """The first mapping that it lies in; else the one that ends there, if that is not placed by chance."""
        found = [place for space in self._spaces if (place := space.place(value))]
        inside = next((place for place in found if not place.startswith(_END)), None)
        ends = next((place for place in found if not place.startswith((_END + ANONYMOUS, _END + STACK))), None)
        return None if inside == STACK else inside or ends

    def text(self, value: str, ids: bool = False) -> str:
        """A text with every address in it named, and with ``ids`` every process or thread."""

        def named(match: re.Match[str]) -> str:
            number = int(match[1], 16) if match[1] else int(match[2])
            shown = self.number(number)
            if ids and match[2] and shown == number:
                shown = self.process(number)
            return match[0] if shown == number else str(shown)

        value = _RANGE.sub(lambda match: self.address(int(match[1], 16)), value)
        return re.sub(r"\.jsonl:\d+", ".jsonl", _FILES.sub(r"\1PID", _NUMBER.sub(named, value)))
