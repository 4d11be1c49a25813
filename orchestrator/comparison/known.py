"""Why some observations differ that every program makes and no expectation is about: from the sources of kernel and
glibc. Pure.

Each holds only where the sides are as it says: those that have the thing on this side of a release, the others beyond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.comparison.model import Reason, Topic
from orchestrator.versions import Version

There = Mapping[str, set[bool]]  # by side: whether it has the thing, at all its places


@dataclass(frozen=True)
class _Change:
    """What a release of the kernel, or of glibc, changed: a thing is there from it on, or (``until``) up to it."""

    release: str
    because: str
    source: str
    until: bool = False
    glibc: bool = False


_CLOCKS = _Change("6.13", "Since 6.13 the pages of paravirtual clocks have a mapping of their own; they were a part of "
                  "[vvar].", "map_vdso(), arch/x86/entry/vdso/vma.c; e93d2521b27f (6.13)")  # fmt: skip
_DUMPS = ("6.12", "Since 6.12 what the kernel says of core dumps goes through one function, and names pid and program "
          "first.", "coredump_report_failure(), include/linux/coredump.h; c114e9948c2b (6.12)")  # fmt: skip
_THREADS = _Change("2.34", "Since glibc 2.34 what was in libpthread is in libc.", "NEWS for version 2.34, glibc",
                   until=True, glibc=True)  # fmt: skip
_CHANGES: dict[tuple[Topic, str], _Change] = {
    (Topic.MAPPING, "[vvar_vclock]"): _CLOCKS,
    (Topic.MAPPING, "libpthread.so"): _THREADS,
    (Topic.MAPPING, "libpthread.so bss"): _THREADS,
    (Topic.LOG, "coredump: N(exe):"): _Change(*_DUMPS),
    (Topic.LOG, "Process N(exe)"): _Change(*_DUMPS, until=True),
    (Topic.LOG, "Aborting core"): _Change(*_DUMPS, until=True),
}
# Words for the same event: a side that lacks one for a change of words has the other
_OTHER_WORDS = {"coredump: N(exe):": ("Process N(exe)", "Aborting core"), "Process N(exe)": ("coredump: N(exe):",),
                "Aborting core": ("coredump: N(exe):",)}  # fmt: skip
_LEVELS = ("Five levels need a processor with LA57 and a kernel built with CONFIG_X86_5LEVEL, which was an option "
           "until 6.15.", "arch/x86/Kconfig; Documentation/arch/x86/x86_64/5level-paging.rst; 7212b58d6d71 (6.16)")


def reasons(topic: Topic, what: str, there: There, releases: Sequence[tuple[str, str]],
            glibcs: Sequence[tuple[str, str]], logged: Mapping[str, There]) -> tuple[Reason, ...]:
    """What is known of it; nothing for most. ``releases``, ``glibcs``: each side's; ``logged``: which sides have which
    kinds of line in the kernel log, of those that differ."""
    letters = tuple(letter for letter, _ in releases)
    if (topic, what) == (Topic.KERNEL, "levels of page tables"):
        return (Reason(letters, *_LEVELS),) if all(there[letter] == {True} for letter in letters) else ()
    change = _CHANGES.get((topic, what))
    if change is None or not all(_as_changed(change, version, there[letter])
                                 for letter, version in (glibcs if change.glibc else releases)):  # fmt: skip
        return ()
    others = [logged.get(word, {}) for word in _OTHER_WORDS.get(what, ())]
    if others and not all(there[letter] == {True} or any(other.get(letter) == {True} for other in others)
                          for letter in letters):  # fmt: skip
        return ()
    return (Reason(letters, change.because, change.source),)


def _as_changed(change: _Change, version: str, has: set[bool]) -> bool:
    try:
        return has == {(Version(version) < change.release) == change.until}
    except ValueError:  # not measured
        return False
