"""Why some observations differ that every program makes and no expectation is about: from the kernel's source. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.comparison.model import Reason, Topic

_KNOWN: dict[tuple[Topic, str], tuple[str, str]] = {
    (Topic.MAPPING, "[vvar_vclock]"): (
        "Since 6.13 the pages of paravirtual clocks have a mapping of their own; they were a part of [vvar].",
        "map_vdso(), arch/x86/entry/vdso/vma.c; e93d2521b27f (6.13)"),
    (Topic.KERNEL, "levels of page tables"): (
        "Five levels need a processor with LA57 and a kernel built with CONFIG_X86_5LEVEL, which was an option until "
        "6.15.", "arch/x86/Kconfig; Documentation/arch/x86/x86_64/5level-paging.rst"),
    (Topic.LOG, "coredump: N(exe):"): (
        "Since 6.12 what the kernel says of core dumps goes through one function, and names pid and program first.",
        "coredump_report_failure(), include/linux/coredump.h (6.12)"),
}  # fmt: skip
_SAME = {(Topic.LOG, "Process N(exe)"): (Topic.LOG, "coredump: N(exe):"),
         (Topic.LOG, "Aborting core"): (Topic.LOG, "coredump: N(exe):")}  # fmt: skip


def reasons(topic: Topic, what: str, letters: Sequence[str]) -> tuple[Reason, ...]:
    """What is known of it; nothing for most."""
    found = _KNOWN.get(_SAME.get((topic, what), (topic, what)))
    return (Reason(tuple(letters), *found),) if found else ()
