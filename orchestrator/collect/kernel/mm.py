"""``mm_struct``: the address space as a whole."""

from __future__ import annotations

import drgn
from drgn.helpers.linux.mm import task_rss

from orchestrator.collect.kernel.layout import layout
from orchestrator.collect.kernel.tasks import Record
from orchestrator.collect.kernel.vmas import path

# As they are named in struct mm_struct since 5.10 at least: addresses, and counts of pages.
_FIELDS = (
    "start_code", "end_code", "start_data", "end_data", "start_brk", "brk", "start_stack", "arg_start", "arg_end",
    "env_start", "env_end", "mmap_base", "task_size", "total_vm", "data_vm", "exec_vm", "stack_vm", "locked_vm",
    "map_count", "def_flags",
)  # fmt: skip
_COUNTS = ("mm_users.counter", "mm_count.counter", "pgtables_bytes.counter")


def record(task: drgn.Object) -> Record:
    """The mm of a thread: addresses and ``pgtables_bytes`` in bytes, ``*_vm`` and ``rss_*`` in pages.

    The counters are those that /proc/PID/status shows, summed exactly (not the approximation that status had
    before 6.12's 82241a83cd15); they are per-CPU since f1a7941243c1 (6.2).
    """
    mm, program = task.mm.read_(), task.prog_
    values = layout(program, "struct mm_struct", *_FIELDS, *_COUNTS, "context.vdso").read(program, mm.value_())
    rss = task_rss(program, task)
    return {
        "is": "mm", "address": mm.value_(), "users": values["mm_users.counter"], "count": values["mm_count.counter"],
        "pgd": mm.pgd.value_(), **{name: values[name] for name in _FIELDS},
        "pgtables_bytes": values["pgtables_bytes.counter"], "vdso": values["context.vdso"],
        "rss_file": rss.file, "rss_anon": rss.anon, "rss_swap": rss.swap, "rss_shmem": rss.shmem,
        "exe": path(mm.exe_file.read_()).decode("utf-8", "replace") if mm.exe_file else None,
    }  # fmt: skip


_WRITER = 1  # RWSEM_WRITER_LOCKED, kernel/locking/rwsem.c


def is_locked(task: drgn.Object) -> bool:
    """Whether the task's ``mmap_lock`` is held for writing. (A PREEMPT_RT kernel's has no such count: False.)"""
    mm = task.mm.read_()
    try:
        return bool(mm and mm.mmap_lock.count.counter.value_() & _WRITER)
    except AttributeError:
        return False
