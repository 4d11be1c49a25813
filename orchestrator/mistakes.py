"""What can be said of one check before any run: mistakes that the language allows, and no guest makes good. Pure.

Of `lab lint`. An expression here has passed ``checks.parse``; whether its names agree with the program is lint's.
"""

from __future__ import annotations

import ast
import re
import signal
from collections.abc import Collection, Iterator

from orchestrator import checks, claims, heap_objects, kernel_objects, trace_rows
from orchestrator.collect.procfs import LIMITS, STAT_FIELDS
from orchestrator.names import nearest
from orchestrator.versions import Version

# Whose value is true or false, or may be: an attribute of a trace record, and what holds for the whole of a list.
_TRUTHS = {"reached", "symbol", "cmdline", "chain", "sequence", "any", "all"}
_VERSIONS = {"kernel", "glibc"}
_TEXTS = {"kconfig", "cmdline", "exit_signal", "output"}  # never a number
_NUMBERS = {"note", "sysctl", "status", "tunable", "exit_code"}  # a number wherever the text reads as one
_ANYWHERE = {"note", "notes"}  # what looks at a checkpoint and needs no /proc there
_KNOWN = {"stat": STAT_FIELDS, "limit": tuple(LIMITS.values())}
_INSIDE = {  # what has always the same attributes; arenas, threads and the like also have glibc's or the kernel's own
    "walk": kernel_objects.WALK, "pages": kernel_objects.PAGES, "heaps": heap_objects.ATTRIBUTES["heap"],
    "chunk": heap_objects.ATTRIBUTES["chunk"], "chunks": heap_objects.ATTRIBUTES["chunk"],
    "bin": heap_objects.ATTRIBUTES["bin"], "bins": heap_objects.ATTRIBUTES["bin"],
    "heap_flaws": heap_objects.ATTRIBUTES["flaw"], "heap_sums": heap_objects.ATTRIBUTES["sums"],
}  # fmt: skip
_SIGNALS = tuple(signal.Signals.__members__)
_TEXT = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'')
_OPERATORS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def of(text: str, at: str) -> Iterator[str]:
    """What is wrong with an expression that is looked at there: it can only end in an ERROR, or never in a FAIL.

    Raises CheckError for one that does not parse.
    """
    tree = checks.parse(text)
    if hidden := _comment(text):
        yield f"what follows # is left out: {hidden[:60]!r}"
    for leaf in _leaves(tree.body):
        if _no_truth(leaf):
            yield f"{ast.unparse(leaf)} is no truth value: compare it with something"
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                yield from _comparison(node)
            case ast.Attribute():
                yield from _attribute(node)
            case ast.Call(func=ast.Name(id=name)) if name in checks.OBSERVATIONS:
                yield from _call(name, node, at)


def rests_on(check: str) -> str:
    """Why a check says nothing of what happened in the guest; "" if it looks at that."""
    if claims.levels(check):
        return ""
    observed = any(checks.observed(node) for node in ast.walk(checks.parse(check)))
    return "it looks only at what the guest is" if observed else "it looks at nothing"


def _comment(text: str) -> str:
    """What Python takes for a comment: in YAML's folded texts, all that follows."""
    bare = _TEXT.sub(lambda found: "x" * len(found[0]), text)
    return text[bare.index("#"):] if "#" in bare else ""


def _leaves(node: ast.expr) -> Iterator[ast.expr]:
    """The parts whose value may become that of the whole expression."""
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            yield from _leaves(part)
    else:
        yield node


def _no_truth(node: ast.expr) -> bool:
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Attribute() | ast.Subscript():
            return False
        case ast.Call(func=ast.Name(id=name)):
            return name not in _TRUTHS
        case ast.Constant(value=value):
            return not isinstance(value, bool)
    return True


def _name(node: ast.expr) -> str:
    """The observation that a side of a comparison is; "" if it is none, or more."""
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Name(id=name):
            return name
    return ""


def _comparison(node: ast.Compare) -> Iterator[str]:
    sides = [node.left, *node.comparators]
    for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
        for one, other in ((left, right), (right, left)):
            if isinstance(operator, _OPERATORS) and isinstance(other, ast.Constant) and (name := _name(one)):
                yield from _compared(name, one, other.value)


def _compared(name: str, side: ast.expr, value: object) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _VERSIONS:
        if number or not _is_version(value):
            yield f'{name} is compared with {value!r}: a version is a text, as "6.1" (6.10 is another than 6.1)'
    elif name in _TEXTS and number:
        yield f"{ast.unparse(side)} is a text, and never {value!r}: write it in quotation marks"
    elif name in _NUMBERS and isinstance(value, str) and _reads_as_number(value):
        yield f"{ast.unparse(side)} is a number where it reads as one: not {value!r}, but {value}"
    elif name == "exit_signal" and isinstance(value, str) and value not in _SIGNALS and "signal " not in value:
        yield f"there is no signal {value!r}{nearest(value, _SIGNALS)}"


def _is_version(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(Version(value))
    except ValueError:
        return False


def _reads_as_number(text: str) -> bool:
    try:
        int(text, 0)
    except ValueError:
        return False
    return True


def _attribute(node: ast.Attribute) -> Iterator[str]:
    """An attribute that nothing of that kind has."""
    owner = node.value.value if isinstance(node.value, ast.Subscript) else node.value
    kind = _name(owner) if isinstance(owner, ast.Call) else ""
    known: Collection[str] = trace_rows.ATTRIBUTES.get(kind) or _INSIDE.get(kind, ())
    if known and kind not in ("syscalls", "events") and node.attr not in known:
        hint = nearest(node.attr, known) or f"; it has {', '.join(known)}"
        yield f"{kind}() has no attribute {node.attr!r}{hint}"


def _call(name: str, node: ast.Call, at: str) -> Iterator[str]:
    options = {keyword.arg: keyword.value for keyword in node.keywords}
    first = checks.text(node.args[0]) if node.args else ""
    if name in _KNOWN and first not in _KNOWN[name]:
        yield f"{name}() knows no {first!r}{nearest(first, _KNOWN[name]) or '; it knows ' + ', '.join(_KNOWN[name])}"
    where = checks.text(options["at"]) if "at" in options else at
    if where == "exit" and checks.OBSERVATIONS[name].at and name not in _ANYWHERE:
        yield f'{name}() looks at "exit", where the program is gone: there are notes, and no /proc'
    for option in ("page", "pid"):
        if isinstance(options.get(option), ast.Constant) and checks.text(options[option]).strip("0123456789"):
            yield f"{option}= takes a number, as note({checks.text(options[option])!r}), and not a text"
