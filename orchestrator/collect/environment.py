"""evidence/environment/*: what the guest is, as measured in it. Pure; one function per file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.collect.procfs import Value
from orchestrator.versions import Version


@dataclass(frozen=True)
class Uname:
    """uname(2). ``kernel`` is what to compare: see parse_uname()."""

    sysname: str
    release: str
    version: str
    machine: str
    kernel: Version


def parse_uname(document: Document) -> Uname:
    """Four lines: "sysname = Linux", then release, version and machine.

    A distribution's release need not say which stable release it is ("6.1.0-50-cloud-amd64"), so the
    one that Debian puts into the version text ("… Debian 6.1.176-1 (2026-…)") is preferred.
    """
    fields = dict(line.split(" = ", 1) for line in document.lines if " = " in line)
    if list(fields) != ["sysname", "release", "version", "machine"]:
        raise document.garbled(1, "the four lines of uname")
    sysname, release, version, machine = fields.values()
    exact = re.search(r"\bDebian (\d{1,3}(?:\.\d{1,4}){1,3})", version)
    try:
        kernel = Version(exact[1] if exact else release)
    except ValueError:
        raise document.garbled(2, "a kernel release") from None
    return Uname(sysname, release, version, machine, kernel)


def parse_glibc(document: Document) -> Version:
    """libc.so.6's own banner: "GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36."."""
    line = document.lines[0] if document.lines else ""
    match = re.search(r"\bversion (\d{1,3}\.\d{1,4}(?:\.\d{1,4})?)", line) or re.search(
        r"\bGLIBC (\d{1,3}\.\d{1,4})", line
    )
    if match is None:
        raise document.garbled(1, "glibc's banner")
    return Version(match[1])


def parse_build_id(document: Document) -> str:
    """The kernel's GNU build-id, hexadecimal; "" where it has none."""
    text = "".join(document.lines).strip()
    if not re.fullmatch(r"([0-9a-f]{2}){0,64}", text):
        raise document.garbled(1, "a build-id")
    return text


def parse_vmcoreinfo(document: Document) -> tuple[int, int]:
    """Physical address and size, bytes, of the ELF note VMCOREINFO ("0x000000002d394000 1024": vmcoreinfo_show() in
    kernel/ksysfs.c prints the size in hexadecimal, too)."""
    line = document.lines[0].strip() if document.lines else ""
    match = re.fullmatch(r"(?:0x)?([0-9a-f]{1,16}) ([0-9a-f]{1,8})", line)
    if match is None:
        raise document.garbled(1, "the place of vmcoreinfo")
    return int(match[1], 16), int(match[2], 16)


def parse_pagesize(document: Document) -> int:
    """One number, in bytes."""
    line = document.lines[0].strip() if document.lines else ""
    if not re.fullmatch(r"\d{4,8}", line):
        raise document.garbled(1, "a page size")
    return int(line)


def parse_sysctl(document: Document) -> dict[str, Value]:
    """``name = value`` lines; a value is a number or text."""
    values: dict[str, Value] = {}
    for number, line in enumerate(document.lines, 1):
        name, equals, text = line.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not re.fullmatch(r"[A-Za-z0-9_.:/-]{1,120}", name):
            raise document.garbled(number, "a sysctl")
        values[name] = Value(int(text) if re.fullmatch(r"-?\d{1,20}", text) else text, number)
    return values


_SYMBOL = re.compile(r"([A-Za-z0-9_.$]{1,200}) (?:(present)(?: [A-Za-z?])?(?: [A-Za-z0-9_.$]{1,300})?|absent)")


def parse_symbols(document: Document) -> dict[str, tuple[bool, int]]:
    """``name present TYPE [OTHER]`` or ``name absent`` lines: whether, and on which line. OTHER is the kernel's own
    name for the function (f.isra.0)."""
    found: dict[str, tuple[bool, int]] = {}
    for number, line in enumerate(document.lines, 1):
        match = _SYMBOL.fullmatch(line)
        if match is None:
            raise document.garbled(number, "a symbol")
        found[match[1]] = (match[2] is not None, number)
    return found


def parse_config(document: Document) -> dict[str, Value]:
    """A kernel's .config: only what is set. Text values lose their quotation marks."""
    values: dict[str, Value] = {}
    for number, line in enumerate(document.lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(CONFIG_[A-Za-z0-9_]{1,100})=(.*)", line)
        if match is None:
            raise document.garbled(number, "a line of a kernel configuration")
        text = match[2]
        quoted = len(text) >= 2 and text[0] == text[-1] == '"'
        values[match[1]] = Value(text[1:-1] if quoted else text, number)
    if not values:
        raise EvidenceError(f"{document.file}: an empty kernel configuration")
    return values


def parse_cmdline(document: Document) -> dict[str, str | bool]:
    """The kernel command line: the value of each ``name=value``, True for a bare word; the last one holds."""
    text = " ".join(document.lines)
    words: dict[str, str | bool] = {}
    for word in re.findall(r'(?:[^\s"]|"[^"]*")+', text)[:1000]:
        name, equals, value = word.partition("=")
        words[name.strip('"')] = value.strip('"') if equals else True
    return words
