"""Whether what labrun recorded can be counted."""

from __future__ import annotations

from orchestrator import tracing
from orchestrator.collect import ftrace
from orchestrator.collect.lines import Document


def doubt(text: str) -> str:
    return tracing.doubt(ftrace.parse_setup(Document.of("trace", text.encode())))


def test_a_trace_that_holds_other_tasks_is_in_doubt() -> None:
    event = "event kmem:rss_stat ok kmem:rss_stat\n"
    assert doubt(event + "filter set_event_pid ok 75\n") == ""
    assert "set_event_pid: No space left" in doubt(event + "filter set_event_pid refused No space left on device\n")
    assert "does not say" in doubt(event + "filter set_ftrace_pid ok 75\n")
