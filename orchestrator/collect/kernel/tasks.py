"""The threads of a process as ``task_struct``s: who they are, and which objects they share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import drgn
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.sched import task_state_to_char

Record = dict[str, object]


def threads(leader: drgn.Object) -> Iterator[drgn.Object]:
    """``struct task_struct *`` of each thread, the leader first (``thread_head``, include/linux/sched/signal.h)."""
    seen = set()
    for task in list_for_each_entry("struct task_struct", leader.signal.thread_head.address_of_(), "thread_node"):
        if task.value_() in seen:
            return
        seen.add(task.value_())
        yield task


def _eldest(leader: drgn.Object, most: int) -> drgn.Object:
    """The process from which the whole program descends: the parent of that is labrun, the child subreaper
    (``signal->is_child_subreaper``, PR_SET_CHILD_SUBREAPER of prctl(2)), which is none of the program's."""
    for _ in range(most):
        parent = leader.real_parent.group_leader.read_()
        if parent.tgid.value_() <= 1 or parent.signal.is_child_subreaper.value_() or not parent.mm:
            break
        leader = parent
    return leader


def family(leader: drgn.Object, most: int) -> Iterator[int]:
    """The ids of a program's processes that have an address space, at most so many: the one from which all descend,
    and its descendants."""
    waiting = [_eldest(leader, most)]
    seen: set[int] = set()
    while waiting and len(seen) < most:
        process = waiting.pop(0)
        if process.tgid.value_() in seen:
            continue
        seen.add(process.tgid.value_())
        yield process.tgid.value_()
        for thread in threads(process):
            children = list_for_each_entry("struct task_struct", thread.children.address_of_(), "sibling")
            waiting += [child for child in itertools.islice(children, most) if child.mm]


def record(task: drgn.Object) -> Record:
    """One thread. ``fsbase`` is the address of its thread control block (arch_prctl(2)): of glibc's struct pthread."""
    return {
        "is": "task", "tid": task.pid.value_(), "tgid": task.tgid.value_(),
        "comm": task.comm.string_().decode("utf-8", "replace"), "address": task.value_(),
        "mm": task.mm.value_(), "files": task.files.value_(), "fs": task.fs.value_(), "signal": task.signal.value_(),
        "sighand": task.sighand.value_(), "fsbase": task.thread.fsbase.value_(), "state": task_state_to_char(task),
    }  # fmt: skip
