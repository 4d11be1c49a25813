"""A tree of calls: grown from stacks and from the function graph, then made small enough to be read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.collect.graph import Call

PERIOD = 4  # calls in a row that come again and again are shown once
REPEATS = 3  # from so many times on
MAX_EACH = 64  # of what is repeated: addresses or frames that are kept
LONG = 160  # characters of a name or a detail
MAX_DEPTH = 80


@dataclass
class Node:
    """One line of the tree. ``kind``: call, fault, kernel fault, syscall, page, event, block (several calls that are
    repeated ``times`` times)."""

    kind: str
    name: str
    detail: str = ""
    line: int = 0  # of the trace file that has it
    graph: bool = False  # that is trace/graph, else trace/events
    micros: float | None = None
    times: int = 1
    flags: list[str] = field(default_factory=list)
    inlined: list[str] = field(default_factory=list)  # functions without a symbol that it contains
    each: list[dict[str, Any]] = field(default_factory=list)  # of every repetition: what it was about
    nodes: list[Node] = field(default_factory=list)
    more: int = 0  # nodes below it that are left out

    def walk(self) -> Iterator[Node]:
        """It and all below it, from top to bottom."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.nodes)


def of_graph(call: Call) -> Node:
    """The graph's calls as nodes."""
    return Node("call", call.name[:LONG], line=call.line, graph=True, micros=call.micros,
                nodes=[of_graph(inner) for inner in call.calls])  # fmt: skip


def place(top: list[Node], path: list[Node], names: Sequence[str], fresh: int) -> Node:
    """The node at the end of a stack, outermost first; ``path`` is that of the stack before, and becomes this one's.

    Callers that both have are the same call, except from the name number ``fresh`` on.
    """
    names = [name[:LONG] for name in names[:MAX_DEPTH]]
    same = 0
    while same < min(len(path), len(names), fresh) and path[same].name == names[same]:
        same += 1
    del path[same:]
    for name in names[same:]:
        node = Node("call", name)
        (path[-1].nodes if path else top).append(node)
        path.append(node)
    return path[-1]


# -- smaller ---------------------------------------------------------------------------------------


def fold(nodes: list[Node]) -> list[Node]:
    """Neighbours that come again and again, alone or as a group, as one with the number of times."""
    for node in nodes:
        node.nodes = fold(node.nodes)
    shapes = [_shape(node) for node in nodes]
    found: list[Node] = []
    at = 0
    while at < len(nodes):
        period, times = _repetition(shapes, at)
        group = nodes[at : at + period]
        for again in range(1, times):
            for node, other in zip(group, nodes[at + again * period :], strict=False):
                _add(node, other)
        if period > 1:
            group = [Node("block", "", nodes=group)]
        if times > 1:
            group[0].times = times
        found += group
        at += period * times
    return found


def _repetition(shapes: Sequence[object], at: int) -> tuple[int, int]:
    """(how long the group is that begins there, how many times it comes)."""
    for period in range(1, PERIOD + 1):
        times = 1
        while shapes[at : at + period] == shapes[at + times * period : at + (times + 1) * period]:
            times += 1
        if times >= REPEATS:
            return period, times
    return 1, 1


def _shape(node: Node) -> tuple[object, ...]:
    """What two nodes must have in common to be shown as one."""
    detail = "" if node.kind in ("call", "page", "event") else node.detail
    return node.kind, node.name, detail, node.times, tuple(node.flags), tuple(map(_shape, node.nodes))


def _add(node: Node, other: Node) -> None:
    """``other``, of the same shape, becomes part of ``node``."""
    pairs = [(node, other)]
    while pairs:
        mine, theirs = pairs.pop()
        mine.each = (mine.each + theirs.each)[:MAX_EACH]
        mine.micros = None if mine.micros is None or theirs.micros is None else mine.micros + theirs.micros
        pairs += zip(mine.nodes, theirs.nodes, strict=True)


def prune(nodes: list[Node], most: int) -> int:
    """Leaves at most so many nodes, those nearest to the top; each knows how many below it are gone. Returns how many
    at the top are gone."""
    left = most - len(nodes)
    gone = len(nodes[most:])
    del nodes[most:]
    waiting = list(nodes)
    for node in waiting:  # grows while it is gone through: level by level
        if len(node.nodes) > left:
            node.more = sum(1 for inner in node.nodes for _ in inner.walk())
            node.nodes = []
        left -= len(node.nodes)
        waiting += node.nodes
    return gone


def has_below(node: Node, name: str) -> bool:
    """Whether it called that, itself or by others; "allocation" is a page that was taken."""
    found = (inner for top in node.nodes for inner in top.walk())
    return any(inner.name == name or (name == "allocation" and inner.kind == "page") for inner in found)


def as_data(nodes: Iterable[Node]) -> list[dict[str, Any]]:
    """The tree for the page: short names, and nothing that says nothing."""
    return [_data(node) for node in nodes]


def _data(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {"k": node.kind, "n": node.name, "d": node.detail[: 2 * LONG], "l": node.line,
                             "f": node.flags, "i": node.inlined, "e": node.each, "m": node.more}  # fmt: skip
    found |= {"g": 1} if node.graph else {}
    found |= {"t": round(node.micros, 3)} if node.micros is not None else {}
    found |= {"x": node.times} if node.times > 1 else {}
    found |= {"c": as_data(node.nodes)}
    return {name: value for name, value in found.items() if value or name in ("k", "t")}
