"""One window of the kernel trace, record by record, as a tree of calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.collect import ftrace
from orchestrator.collect.ftrace import Record, Trace, Window
from orchestrator.collect.graph import Call, Graph
from orchestrator.collect.lines import Document
from orchestrator.collect.objects import PAGE
from orchestrator.inspection import bits
from orchestrator.inspection.fills import ALLOCATION, FAULT, HANDLED, MAX_ORDER, Fill, role
from orchestrator.inspection.moment import Moment
from orchestrator.inspection.names import symbol_at
from orchestrator.report.html.call_tree import LONG, Node, of_graph, place

MAX_RECORDS = 20_000  # of one window
MAX_PAGES = 500  # allocations in the table
HANDLER = "handle_mm_fault"


@dataclass
class Told:
    """The tree, and the pages that were taken, for a table."""

    nodes: list[Node] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    joined: bool = True  # function graph and records are one tree
    left_out: int = 0  # records beyond what is drawn


@dataclass(frozen=True)
class _Handling:
    """What a call of handle_mm_fault() was told, and where: by the kernel itself if there is no user's fault."""

    flags: list[str]
    about: dict[str, Any] | None  # of a fault by the kernel


@dataclass
class _Thread:
    """Where a thread is. ``top`` gets what comes next; ``path`` is the stack of the last record below it."""

    pid: int
    top: list[Node]
    call: Node | None = None  # the system call that it is in
    fault: Node | None = None
    fill: Fill | None = None
    path: list[Node] = field(default_factory=list)
    handled: list[Node] = field(default_factory=list)  # calls of handle_mm_fault()
    pending: _Handling | None = None  # of the one that no stack has shown yet
    taken: list[Node] = field(default_factory=list)  # pages in the last of them
    graph: list[Call] | None = None  # its calls by the function graph that are to come; None: not to be joined


class WindowStory:
    """Tells one window."""

    def __init__(self, document: Document, trace: Trace, window: Window, moments: list[Moment]) -> None:
        self.window = window
        self._document = document
        self._records = trace.records[window.first : window.last]
        self._moments = moments  # of the processes that the lab looked into after it
        self._threads: dict[int, _Thread] = {}
        self._allocations = {record.line: record for record in self._records if record.name == ALLOCATION}
        self._told = Told()

    def tell(self, graph: Graph | None) -> Told:
        """Goes through the records once. Where the numbers of calls agree, the graph takes the place of stacks."""
        joined = self._joined(graph)
        self._told.joined = graph is None or joined is not None
        self._told.left_out = max(0, len(self._records) - MAX_RECORDS)
        self._joined_calls = joined or {}
        for record in self._records[:MAX_RECORDS]:
            self._take(record, self._thread(record.pid))
        for thread in self._threads.values():
            self._close(thread)
        if graph is not None and joined is None:
            self._told.nodes += [of_graph(call) for call in graph.calls if call.name == HANDLER]
        return self._told

    def _joined(self, graph: Graph | None) -> dict[int, list[Call]] | None:
        """The graph's calls of the handler, by thread; None if they are not as many as the records say."""
        if graph is None:
            return None
        calls: dict[int, list[Call]] = {}
        for call in graph.calls:
            if call.name == HANDLER:
                calls.setdefault(call.pid, []).append(call)
        recorded: dict[int, int] = {}
        for record in self._records:
            if record.name == HANDLED:
                recorded[record.pid] = recorded.get(record.pid, 0) + 1
        return calls if {pid: len(found) for pid, found in calls.items()} == recorded else None

    def _thread(self, pid: int) -> _Thread:
        if pid not in self._threads:
            calls = self._joined_calls.get(pid)
            self._threads[pid] = _Thread(pid, self._told.nodes, graph=list(calls) if calls is not None else None)
        return self._threads[pid]

    # -- records -----------------------------------------------------------------------------------

    def _take(self, record: Record, thread: _Thread) -> None:
        if record.name == FAULT:
            self._fault(record, thread)
        elif record.name == HANDLED:
            self._handled(record, thread)
        elif record.name.startswith("sys_"):
            self._syscall(record, thread)
        elif record.name == ALLOCATION:
            self._page(record, thread)
        elif record.chain:
            self._hit(record, thread)
        else:
            self._event(record, thread)

    def _below(self, thread: _Thread) -> list[Node]:
        """Where what a thread does now belongs: in its fault, its system call, or at the top."""
        inside = thread.fault or thread.call
        return inside.nodes if inside else thread.top

    def _fault(self, record: Record, thread: _Thread) -> None:
        self._close(thread)
        fields = ftrace.fields(record, self._document)
        address, code, ip = (_number(fields.get(name)) for name in ("address", "error_code", "ip"))
        moment = self._moment_of(record.pid, None)
        named = symbol_at(moment, ip) if moment is not None else None
        about = {"address": f"{address:#x}",
                 "ip": f"{ip:#x}" + (f" ({named[0][:LONG]}+{named[1]:#x})" if named else "")}  # fmt: skip
        node = Node("fault", "page fault", f"thread {record.pid}", record.line, each=[about])
        node.flags = bits.error_code(code)
        self._below(thread).append(node)
        thread.fault, thread.path = node, []
        thread.fill = Fill(self._document, self.window.name, address // PAGE * PAGE, user=record)

    def _handled(self, record: Record, thread: _Thread) -> None:
        """handle_mm_fault() was called; its place in the tree is known with the next stack, or with the last."""
        fields = ftrace.fields(record, self._document)
        address = _number(fields.get("address"))
        about = None
        if thread.fill is None or thread.fill.user is None or thread.fill.page != address // PAGE * PAGE:
            about = {"address": f"{address:#x}"}  # the kernel itself needs the page
            if thread.fault is not None:
                self._close(thread)
            thread.fill = Fill(self._document, self.window.name, address // PAGE * PAGE)
        thread.fill.handled = record
        handling = _Handling(bits.fault_flags(_number(fields.get("flags"))), about)
        last = thread.path[-1] if thread.path else None
        if last is not None and last.name == HANDLER and not any(last is node for node in thread.handled):
            self._is_handler(thread, last, handling)  # a probe has shown this call already
        else:
            self._settle(thread)
            thread.pending = handling

    def _syscall(self, record: Record, thread: _Thread) -> None:
        self._close(thread)
        name, details = record.name[4:], record.details
        if " -> " in details and not details.startswith(f"{record.name}("):
            if thread.call is not None and thread.call.name == name:
                thread.call.detail += f" = {details.rpartition(' -> ')[2]}"
            thread.call = None
            return
        thread.call = Node("syscall", name[:LONG], details.removeprefix(record.name)[:LONG], record.line)
        thread.top.append(thread.call)
        thread.path = []

    def _hit(self, record: Record, thread: _Thread) -> None:
        """A probed function was called, or an event has a stack."""
        chain = list(reversed(record.chain))
        name = record.name.removeprefix("lab_")
        probed = record.name.startswith("lab_")
        if probed and (not chain or ftrace.base(chain[-1])[:55].replace(".", "_") != name):
            chain.append(name)  # a function may stand in its own chain, or only its caller
        node = self._at(thread, chain, len(chain) - 1 if probed else len(chain))
        node.line = node.line or record.line
        if not probed:
            node.nodes.append(Node("event", record.name[:LONG], record.details[:LONG], record.line))

    def _at(self, thread: _Thread, chain: list[str], fresh: int) -> Node:
        """The node of a stack; a call of the handler that is pending begins there."""
        if thread.pending is not None and HANDLER in chain:
            where = chain.index(HANDLER)
            node = place(self._below(thread), thread.path, chain, min(fresh, where))
            handling, thread.pending = thread.pending, None
            if len(thread.path) > where:
                self._is_handler(thread, thread.path[where], handling)
            return node
        return place(self._below(thread), thread.path, chain, fresh)

    def _event(self, record: Record, thread: _Thread) -> None:
        name = {"rss_stat": "counter"}.get(record.name, record.name)
        self._below(thread).append(Node("event", name[:LONG], record.details[:LONG], record.line))

    # -- pages -------------------------------------------------------------------------------------

    def _page(self, record: Record, thread: _Thread) -> None:
        fields = ftrace.fields(record, self._document)
        order = _number(fields.get("order"))
        in_fault = HANDLER in record.chain and thread.fill is not None
        about: dict[str, Any] = {"frame": f"{_number(fields.get('pfn')):#x}", "order": order}
        if in_fault and thread.fill is not None:
            about |= self._became(record, thread.fill, fields.get("pfn"))
        node = Node("page", "page" if not order else f"2^{order} pages" if order <= MAX_ORDER else "pages",
                    str(fields.get("gfp_flags", ""))[:LONG], record.line, each=[about])  # fmt: skip
        chain = list(reversed(record.chain))
        (self._at(thread, chain, len(chain)).nodes if chain else self._below(thread)).append(node)
        thread.taken += [node] if in_fault else []
        if len(self._told.pages) < MAX_PAGES:
            self._told.pages.append({**about, "gfp": node.detail, "line": record.line, "thread": record.pid,
                                     "chain": [name[:LONG] for name in chain[-24:]]})  # fmt: skip

    def _became(self, record: Record, fill: Fill, pfn: object) -> dict[str, Any]:
        """Which page it was taken for, and what the page tables say of the frame at the checkpoint after it."""
        found: dict[str, Any] = {"page": f"{fill.page:#x}"}
        fill.allocations.append(record)
        moment = self._moment_of(record.pid, fill)
        if moment is None:
            return found
        walk = moment.kernel.walk(fill.page)
        found |= {"is": role(fill, record, pfn, walk), "pid": moment.pid}
        if walk.frame is not None:
            found |= {"now": f"{walk.frame:#x}", "size": walk.size}
        return found

    def _moment_of(self, thread: int, fill: Fill | None) -> Moment | None:
        """The process that a thread belongs to: it has the thread, or the VMA object that the fault was in."""
        for moment in self._moments:
            if thread == moment.pid or any(task.fields["tid"] == thread for task in moment.kernel.tasks):
                return moment
        vma = fill.fields(fill.handled).get("vma") if fill is not None and fill.handled is not None else None
        for moment in self._moments if vma is not None else ():
            if any(item.fields["address"] == vma for item in moment.kernel.vmas):
                return moment
        return None

    # -- the graph ---------------------------------------------------------------------------------

    def _is_handler(self, thread: _Thread, node: Node, handling: _Handling) -> None:
        """A node is a call of handle_mm_fault()."""
        self._graft(thread)
        node.flags = handling.flags
        if handling.about is not None:
            node.kind, node.each, node.detail = "kernel fault", [handling.about], f"thread {thread.pid}"
        thread.handled.append(node)
        thread.taken = []

    def _settle(self, thread: _Thread) -> None:
        """A call of the handler that no stack has shown stands right below its fault."""
        if thread.pending is not None:
            handling, thread.pending = thread.pending, None
            node = Node("call", HANDLER)
            self._below(thread).append(node)
            self._is_handler(thread, node, handling)

    def _close(self, thread: _Thread) -> None:
        """What the thread was in is over."""
        self._settle(thread)
        self._graft(thread)
        thread.fault = thread.fill = None
        thread.path, thread.taken = [], []

    def _graft(self, thread: _Thread) -> None:
        """Gives the last call of the handler what the graph has below it, with the pages that were taken there."""
        if not thread.handled or not thread.graph or thread.handled[-1].graph:
            return
        node, grown = thread.handled[-1], of_graph(thread.graph.pop(0))
        pages = thread.taken
        chains = {id(page): self._innermost(page) for page in pages}
        for function in dict.fromkeys(chains.values()):
            mine = [page for page in pages if chains[id(page)] == function]
            calls = [inner for inner in grown.walk() if inner.name == function]
            hosts = calls if len(calls) == len(mine) else [grown] * len(mine)
            for host, page in zip(hosts, mine, strict=True):
                host.nodes.append(page)
        events = [inner for inner in node.walk() if inner.kind == "event"]
        node.nodes, node.micros, node.graph, node.line = grown.nodes + events, grown.micros, True, grown.line

    def _innermost(self, page: Node) -> str:
        """The function that took a page, by its stack."""
        record = self._allocations.get(page.line)
        return record.chain[0] if record is not None and record.chain else ""


def _number(value: object) -> int:
    """A field that should be a number; 0 for what is none."""
    return value if isinstance(value, int) and abs(value) < 1 << 64 else 0
