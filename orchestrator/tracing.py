"""What labrun is told about the kernel trace: which events, functions and graph to record (guest/trace.c), and
whether what it answers can be relied on. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator import wire
from orchestrator.collect.ftrace import Setup
from orchestrator.model import Trace

EVENTS = (  # present and stable in every kernel since 5.10
    "exceptions:page_fault_user",
    "kmem:mm_page_alloc",
    "kmem:rss_stat",
    "task:task_newtask",
)

# Functions of mm/ that the graph shows below its roots. Tracing all functions costs seconds of patching under
# emulation (ftrace_modify_all_code()); each pattern here a tenth, because every function's name is compared.
GRAPH_FILTER = ("*fault*", "*anon*", "*folio*", "*page*",
                "!copy_from_kernel_nofault*")  # what a kprobe reads its arguments with  # fmt: skip


def orders(trace: Trace) -> Iterator[bytes]:
    """labrun's lines for a trace; none of the names has been looked up yet."""
    yield wire.command("trace", "buffer", trace.buffer << 10)
    for event in (*EVENTS, *_of_syscalls(trace.syscalls), *trace.events):
        yield wire.command("trace", "event", event)
    for name in trace.functions:
        yield wire.command("trace", "function", name)
    if trace.graph:
        for filtered in (*GRAPH_FILTER, *trace.graph, *trace.functions):
            yield wire.command("trace", "filter", filtered)
        for name in trace.graph:
            yield wire.command("trace", "graph", name)


def _of_syscalls(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield f"syscalls:sys_enter_{name}"
        yield f"syscalls:sys_exit_{name}"


def doubt(setup: Mapping[tuple[str, str], Setup]) -> str:
    """Why nothing in the trace can be counted: other tasks than the program's may be in it. Empty if they can't."""
    limited = setup.get(("filter", "set_event_pid"))
    if limited is None:
        return "labrun does not say that the trace is limited to the program and its children"
    if limited.state != "ok":
        return f"the trace is not limited to the program and its children: set_event_pid: {limited.detail}"
    return ""
