"""The way of page faults through the kernel, as a call tree for each window of the trace.

What is in a tree: a user's page fault or system call, the functions that the stacks of its records show, below
handle_mm_fault() the function graph where it was recorded, and the pages that were taken, each with what the page
tables say of its frame at the checkpoint that followed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from orchestrator import tracing
from orchestrator.collect import environment, ftrace
from orchestrator.collect.ftrace import Setup, Trace
from orchestrator.collect.graph import Graph, parse_graph
from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.errors import LabError
from orchestrator.inspection.moment import Moment, Run
from orchestrator.model import Checkpoint
from orchestrator.observed import ObservationError
from orchestrator.report import trace
from orchestrator.report.html import call_tree
from orchestrator.report.html.call_tree import Node
from orchestrator.report.html.window_story import Told, WindowStory
from orchestrator.rundir import safe

MAX_WINDOWS = 64
MAX_PROCESSES = 8  # that are looked into after a window
MAX_NODES = 700  # of one window
MAX_FILE = 24 << 20  # bytes of one trace
MAX_INLINED = 24
MAX_CITED, MAX_CITED_HERE = 400, 40  # lines of evidence: of all windows, of one

_PATH = re.compile(r"""\b(?:sequence|chain)\(\s*["']([^"'#]{1,64})(?:#\d+)?["']\s*,\s*["']([^"']{1,1000})["']""")


def data(run: Run) -> dict[str, Any] | None:
    """The windows of the kernel trace with their trees; None for a run that has none. Raises EvidenceError if there
    are traces and none can be read."""
    windows: list[dict[str, Any]] = []
    troubles: list[str] = []
    doubts: list[str] = []
    absent = _absent(run, doubts)
    for step, checkpoint in enumerate(run.record.checkpoints):
        with _told(troubles):
            windows += _windows(run, step, checkpoint, absent, MAX_WINDOWS - len(windows))
    if not windows:
        if troubles:
            raise EvidenceError("; ".join(troubles[:4]))
        return None
    return {
        "windows": windows, "troubles": [*doubts, *troubles][:12], "absent": sorted(absent)[:MAX_INLINED],
        "emulated": run.record.emulator.get("accelerator") == "tcg", "evidence": _lines(windows),
    }  # fmt: skip


@contextlib.contextmanager
def _told(troubles: list[str]) -> Iterator[None]:
    """Evidence that can't be read is told, and costs only what was to be made of it."""
    try:
        yield
    except LabError as error:
        troubles.append(error.message[:400])
    except (ObservationError, OSError, ValueError) as error:
        troubles.append(str(error)[:400])


def _lines(windows: list[dict[str, Any]]) -> list[list[Any]]:
    """The lines that faults, system calls and pages come from: [file, line]."""
    found = []
    for window in windows:
        lines = [one["line"] for one in window["pages"]] + [node["l"] for node in window["nodes"] if node.get("l")]
        found += [[window["file"], line] for line in sorted(set(lines))[:MAX_CITED_HERE]]
    return found[:MAX_CITED]


# -- evidence --------------------------------------------------------------------------------------


def _document(run: Run, file: str) -> Document | None:
    """A file of the trace; None if there is none. Raises ValueError if it is too large to be drawn."""
    if not safe(file) or not (path := run.directory.file(file)).is_file():
        return None
    if path.stat().st_size > MAX_FILE:
        raise ValueError(f"{file}: more than {MAX_FILE >> 20} MiB, which is too much for a picture")
    return run.observed.document(file)


def _absent(run: Run, doubts: list[str]) -> set[str]:
    """Functions that were looked for in the guest, and that its kernel has no symbol of."""
    found: set[str] = set()
    with _told(doubts):
        if (document := _document(run, "evidence/environment/symbols")) is not None:
            found |= {name for name, (there, _) in environment.parse_symbols(document).items() if not there}
        setup = _setup(run)
        found |= {name for (what, name), one in setup.items() if what == "function" and one.state == "absent"}
        if setup and (doubt := tracing.doubt(setup)):
            doubts.append(doubt)
    return found - {"fault", "allocation"}  # words of sequence(), which are no functions


def _setup(run: Run) -> dict[tuple[str, str], Setup]:
    document = _document(run, "evidence/environment/trace")
    return ftrace.parse_setup(document) if document is not None else {}


def _windows(run: Run, step: int, checkpoint: Checkpoint, absent: set[str], most: int) -> list[dict[str, Any]]:
    """The windows that were collected at a checkpoint, with what they are called for a person."""
    folder = f"{checkpoint.directory}/trace"
    events = _document(run, f"{folder}/events")
    if events is None or most <= 0:
        return []
    found = ftrace.parse_trace(events)
    text = _document(run, f"{folder}/graph")
    graphs = list(parse_graph(text)) if text is not None else []
    recorded = trace.windows(run.directory, checkpoint)
    moments = _moments(run, checkpoint)
    shown = []
    for at, (window, counts) in enumerate(zip(found.windows, recorded, strict=False)):
        if at >= most:
            break
        same = [one for one in found.windows[:at] if one.name == window.name]
        graph = next(iter([one for one in graphs if one.name == window.name][len(same):]), None)
        shown.append({
            "step": step, "name": window.name, "number": len(same) + 1, "problem": counts.problem,
            "closed": window.closed, "counts": [list(one) for one in counts.counts],
            "seconds": _seconds(found, at), "at": run.label(checkpoint), "file": events.file,
            "inspected": bool(moments),
            **_tree(run, WindowStory(events, found, window, moments), graph, text, absent),
        })  # fmt: skip
    return shown


def _moments(run: Run, checkpoint: Checkpoint) -> list[Moment]:
    """The processes whose page tables the lab looked at where the trace was collected."""
    found = []
    for pid in run.pids(checkpoint, "kernel")[:MAX_PROCESSES]:
        moment = run.at(checkpoint, pid)
        with contextlib.suppress(LabError):  # told by the picture of the page tables
            found += [moment] if moment.kernel.tables else []
    return found


def _seconds(found: Trace, at: int) -> float | None:
    """From the first to the last record in it, in the guest's time."""
    window = found.windows[at]
    records = found.records[window.first : window.last]
    return round(records[-1].seconds - window.began, 6) if records else None


# -- one window ------------------------------------------------------------------------------------


def _tree(run: Run, story: WindowStory, graph: Graph | None, text: Document | None, absent: set[str]) -> dict[str, Any]:
    told = story.tell(graph)
    nodes = told.nodes
    _name_inlined(run, story.window.name, nodes, absent)
    nodes = call_tree.fold(nodes)
    gone = call_tree.prune(nodes, MAX_NODES) + told.left_out
    return {
        "nodes": call_tree.as_data(nodes), "more": gone, "graph": graph is not None, "remark": _remark(told, graph),
        "graph_file": text.file if text is not None else "", "pages": told.pages,
    }  # fmt: skip


def _remark(told: Told, graph: Graph | None) -> str:
    """What a reader must know of how the tree was made."""
    if graph is None:
        return "The tree is put together from the stacks of the records: it has the functions that lead to a record, " \
               "and no durations."
    cut = " The function graph has more than can be kept: it is cut." if graph.cut else ""
    if told.joined:
        return "Below handle_mm_fault() it is the function graph, which has functions of mm/ with some names only; " \
               f"above it are the stacks of the records.{cut}"
    return "Function graph and records have not the same number of calls of handle_mm_fault(): they stand side by " \
           f"side.{cut}"


def _name_inlined(run: Run, window: str, nodes: list[Node], absent: set[str]) -> None:
    """Tells each function which ones it contains, as far as a check of the scenario names them on the way from it to
    another one below it, and the kernel has no symbol of them."""
    for names in _paths(run, window):
        present = [at for at, name in enumerate(names) if name not in absent]
        for above, below in pairwise(present):
            between = names[above + 1 : below]
            if not between:
                continue
            for node in (inner for top in nodes for inner in top.walk()):
                if node.name == names[above] and call_tree.has_below(node, names[below]):
                    node.inlined += [name for name in between if name not in node.inlined][:MAX_INLINED]


def _paths(run: Run, window: str) -> list[list[str]]:
    """The paths that the scenario's checks name for a window, outermost first."""
    def find() -> dict[str, list[list[str]]]:
        found: dict[str, list[list[str]]] = {}
        for finding in run.record.findings:
            for name, path in _PATH.findall(finding.check):
                names = [part.strip()[: call_tree.LONG] for part in path.split(">")]
                if names not in found.setdefault(name, []):
                    found[name].append(names)
        return found

    return run.once("paths of checks", find).get(window, [])
