"""/proc/PID/{maps,smaps,smaps_rollup,status,stat,statm,limits} as the kernel writes them. Pure.

One function per file. A line that the kernel would not write is an EvidenceError naming the line,
never skipped: a mapping that was overlooked would be a wrong statement about the address space.
Sizes are bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from orchestrator.collect.lines import Document
from orchestrator.model import Vma

ADDRESS_END = 1 << 64

# show_map_vma(), fs/proc/task_mmu.c: the name is padded to column 73 and follows one more blank.
_MAP = re.compile(
    r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][ps]) ([0-9a-f]{8,16})"
    r" ([0-9a-f]{2,5}:[0-9a-f]{2,5}) (\d{1,20})(?: +(.*))?"
)
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,39}):\s+(\d{1,20})( kB)?\s*")
_VMFLAGS = re.compile(r"VmFlags:((?: [a-z0-9?]{2})*) ?")
_STATUS = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,39}):\s*(.*)")
_LIMIT = re.compile(r"(Max [a-z ]+?) {2,}(unlimited|\d{1,20}) +(unlimited|\d{1,20})(?: +([a-z]+))? *")

# proc_pid_stat(5), fields 1 to 52
STAT_FIELDS = (
    "pid", "comm", "state", "ppid", "pgrp", "session", "tty_nr", "tpgid", "flags", "minflt",
    "cminflt", "majflt", "cmajflt", "utime", "stime", "cutime", "cstime", "priority", "nice", "num_threads",
    "itrealvalue", "starttime", "vsize", "rss", "rsslim", "startcode", "endcode", "startstack", "kstkesp",
    "kstkeip", "signal", "blocked", "sigignore", "sigcatch", "wchan", "nswap", "cnswap", "exit_signal",
    "processor", "rt_priority", "policy", "delayacct_blkio_ticks", "guest_time", "cguest_time",
    "start_data", "end_data", "start_brk", "arg_start", "arg_end", "env_start", "env_end", "exit_code",
)  # fmt: skip
STATM_FIELDS = ("size", "resident", "shared", "text", "lib", "data", "dt")

# the names of setrlimit(2) for those of proc_pid_limits(5)
LIMITS = {
    "Max cpu time": "cpu", "Max file size": "fsize", "Max data size": "data", "Max stack size": "stack",
    "Max core file size": "core", "Max resident set": "rss", "Max processes": "nproc",
    "Max open files": "nofile", "Max locked memory": "memlock", "Max address space": "as",
    "Max file locks": "locks", "Max pending signals": "sigpending", "Max msgqueue size": "msgqueue",
    "Max nice priority": "nice", "Max realtime priority": "rtprio", "Max realtime timeout": "rttime",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A parsed value and the line it stands in."""

    value: int | float | str
    line: int


@dataclass(frozen=True)
class Limit:
    """A resource limit; ``math.inf`` is unlimited."""

    soft: int | float
    hard: int | float
    line: int


def parse_maps(document: Document) -> tuple[Vma, ...]:
    """The mappings, in address order."""
    vmas: list[Vma] = []
    for number, line in enumerate(document.lines, 1):
        vma = _vma(document, number, line, vmas[-1].end if vmas else 0)
        if vma is None:
            raise document.garbled(number, "a line of /proc/PID/maps")
        vmas.append(vma)
    return tuple(vmas)


def _vma(document: Document, number: int, line: str, lowest: int) -> Vma | None:
    """The mapping of a header line; None if it is not one."""
    match = _MAP.fullmatch(line)
    if match is None:
        return None
    low, high, perms, offset, device, inode, name = match.groups()
    start, end = int(low, 16), int(high, 16)
    if not lowest <= start < end <= ADDRESS_END:
        raise document.garbled(number, "a mapping above the one before")
    return Vma(start, end, perms, int(offset, 16), device, int(inode), name or "", number)


def parse_smaps(document: Document) -> tuple[Vma, ...]:
    """The mappings with their fields, which are the lines after each header, in their order."""
    vmas: list[Vma] = []
    head: Vma | None = None
    fields: list[tuple[str, int]] = []
    flags: tuple[str, ...] = ()
    for number, line in enumerate(document.lines, 1):
        found = _vma(document, number, line, head.end if head else 0) if line[:1] not in _CAPITALS else None
        if found is not None:
            if head is not None:
                vmas.append(_complete(head, fields, flags))
            head, fields, flags = found, [], ()
        elif head is None or flags:
            raise document.garbled(number, "the first line of a mapping in /proc/PID/smaps")
        elif match := _FIELD.fullmatch(line):
            fields.append((match[1], int(match[2]) * (1024 if match[3] else 1)))
        elif match := _VMFLAGS.fullmatch(line):
            flags = tuple(match[1].split()) or ("??",)
        else:
            raise document.garbled(number, "a line of /proc/PID/smaps")
    if head is not None:
        vmas.append(_complete(head, fields, flags))
    return tuple(vmas)


_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _complete(head: Vma, fields: list[tuple[str, int]], flags: tuple[str, ...]) -> Vma:
    return Vma(head.start, head.end, head.perms, head.offset, head.device, head.inode, head.name, head.line,
               tuple(fields), flags)  # fmt: skip


def parse_rollup(document: Document) -> dict[str, Value]:
    """The sums of /proc/PID/smaps_rollup, after its one header line."""
    if not document.lines or "[rollup]" not in document.lines[0]:
        raise document.garbled(1, "the first line of /proc/PID/smaps_rollup")
    values: dict[str, Value] = {}
    for number, line in enumerate(document.lines[1:], 2):
        match = _FIELD.fullmatch(line)
        if match is None:
            raise document.garbled(number, "a line of /proc/PID/smaps_rollup")
        values[match[1]] = Value(int(match[2]) * (1024 if match[3] else 1), number)
    return values


def parse_status(document: Document) -> dict[str, Value]:
    """``Name: value`` lines: a size in bytes, a number, or text."""
    values: dict[str, Value] = {}
    for number, line in enumerate(document.lines, 1):
        match = _STATUS.fullmatch(line)
        if match is None:
            raise document.garbled(number, "a line of /proc/PID/status")
        key, text = match[1], match[2].strip()
        if key in values:
            raise document.garbled(number, f"the only {key} of /proc/PID/status")
        values[key] = Value(_status_value(text), number)
    return values


def _status_value(text: str) -> int | str:
    if match := re.fullmatch(r"(\d{1,20})( kB)?", text):
        return int(match[1]) * (1024 if match[2] else 1)
    return text


def parse_stat(document: Document) -> dict[str, Value]:
    """The fields of /proc/PID/stat by the names of proc_pid_stat(5), as they stand there."""
    text = document.lines[0] if len(document.lines) == 1 else ""
    match = re.fullmatch(r"(\d{1,10}) \((.*)\) (\S(?: -?\d{1,20}){40,80}) ?", text)
    if match is None:
        raise document.garbled(1, "the line of /proc/PID/stat")
    parts = [match[1], match[2], *match[3].split()]
    values = {name: Value(part if name in ("comm", "state") else int(part), 1)
              for name, part in zip(STAT_FIELDS, parts, strict=False)}  # fmt: skip
    if "start_brk" not in values:
        raise document.garbled(1, "a /proc/PID/stat with 47 fields or more")
    return values


def parse_statm(document: Document) -> dict[str, Value]:
    """The seven fields of /proc/PID/statm, in pages."""
    match = re.fullmatch(r"\d{1,20}(?: \d{1,20}){6}", document.lines[0] if len(document.lines) == 1 else "")
    if match is None:
        raise document.garbled(1, "the line of /proc/PID/statm")
    return {name: Value(int(part), 1) for name, part in zip(STATM_FIELDS, match[0].split(), strict=True)}


def parse_limits(document: Document) -> dict[str, Limit]:
    """The limits of /proc/PID/limits by the names of setrlimit(2), in lower case without RLIMIT_."""
    if not document.lines or not document.lines[0].startswith("Limit "):
        raise document.garbled(1, "the heading of /proc/PID/limits")
    limits: dict[str, Limit] = {}
    for number, line in enumerate(document.lines[1:], 2):
        match = _LIMIT.fullmatch(line)
        if match is None or match[1] not in LIMITS:
            raise document.garbled(number, "a line of /proc/PID/limits")
        limits[LIMITS[match[1]]] = Limit(_limit(match[2]), _limit(match[3]), number)
    return limits


def _limit(text: str) -> int | float:
    return math.inf if text == "unlimited" else int(text)
