"""The language of ``check:`` and ``when:``: what may be written, judged before anything runs. Pure.

One boolean expression in a small part of Python: and, or, not, comparisons (chained too), arithmetic
without powers and shifts, ``in``, literals, lists, ``[0]``, the functions and names listed here, and the
attributes of a mapping. simpleeval evaluates it (evaluate.py); this module decides what reaches it.
The observations themselves are described in scenarios/README.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.names import nearest

MAX_LENGTH = 1000  # characters of an expression
MAX_NODES = 300
MAX_DEPTH = 30
MAX_PATTERN = 200  # characters of a regular expression
MAX_REPEATS = 4  # variable repetitions in it: the time is a power of the text with this exponent


class CheckError(ValueError):
    """An expression that can't be used; the message says why, and what would be allowed."""


@dataclass(frozen=True)
class Signature:
    """How an observation is asked for. ``kinds`` of its arguments: text, regex, symbol, kconfig, checkpoint, mapping
    (a name or an address), number and list (any expression that is one), window, syscall, function, event, path
    ("f > g > h": functions)."""

    kinds: tuple[str, ...]
    at: bool = False  # takes at=, and without it means the checkpoint of the expectation
    options: tuple[str, ...] = ()  # further named arguments: any expression
    level: str = "P"  # of its evidence: P /proc, log and output, T trace, K kernel objects, H heap and threads


_WHICH = ("page", "pid")

OBSERVATIONS = {
    "note": Signature(("text",), at=True),
    "notes": Signature(("text",), at=True),
    "cost": Signature(("text",), at=True),
    "vma": Signature(("mapping",), at=True),
    "vmas": Signature((), at=True),
    "rollup": Signature(("text",), at=True),
    "status": Signature(("text",), at=True),
    "stat": Signature(("text",), at=True),
    "limit": Signature(("text",), at=True),
    "reached": Signature(("checkpoint",)),
    "kernel_log": Signature(("regex",)),
    "sysctl": Signature(("text",)),
    "kconfig": Signature(("kconfig",)),
    "symbol": Signature(("symbol",)),
    "tunable": Signature(("text",)),
    "cmdline": Signature(("text",)),
    "faults": Signature(("window",), options=_WHICH, level="T"),
    "handled": Signature(("window",), options=_WHICH, level="T"),
    "allocations": Signature(("window",), options=_WHICH, level="T"),
    "syscalls": Signature(("window", "syscall"), options=("pid",), level="T"),
    "clones": Signature(("window",), options=("pid",), level="T"),
    "hits": Signature(("window", "function"), options=("pid",), level="T"),
    "events": Signature(("window", "event"), options=("pid",), level="T"),
    "chain": Signature(("window", "path"), options=_WHICH, level="T"),
    "sequence": Signature(("window", "path"), options=("pid",), level="T"),
    "mm": Signature((), at=True, options=("pid",), level="K"),
    "vm_area": Signature(("mapping",), at=True, options=("pid",), level="K"),
    "vm_areas": Signature((), at=True, options=("pid",), level="K"),
    "tasks": Signature((), at=True, options=("pid",), level="K"),
    "walk": Signature(("number",), at=True, options=("pid",), level="K"),
    "pages": Signature((), at=True, options=("pid",), level="K"),
    "tables": Signature((), at=True, options=("pid",), level="K"),
    "malloc_par": Signature((), at=True, options=("pid",), level="H"),
    "arenas": Signature((), at=True, options=("pid",), level="H"),
    "arena": Signature(("number",), at=True, options=("pid",), level="H"),
    "heaps": Signature((), at=True, options=("pid",), level="H"),
    "chunk": Signature(("number",), at=True, options=("pid",), level="H"),
    "chunks_of": Signature(("list",), at=True, options=("pid",), level="H"),
    "chunks": Signature(("text",), at=True, options=("pid",), level="H"),
    "bins": Signature(("text",), at=True, options=("pid",), level="H"),
    "bin": Signature(("number",), at=True, options=("pid",), level="H"),
    "threads": Signature((), at=True, options=("pid",), level="H"),
    "thread": Signature(("number",), at=True, options=("pid",), level="H"),
    "stacks": Signature((), at=True, options=("pid",), level="H"),
    "heap_flaws": Signature((), at=True, options=("pid",), level="H"),
    "heap_sums": Signature((), at=True, options=("pid",), level="H"),
}
PARTS = {"K": "kernel", "H": "heap"}  # levels that are read from the paused guest, as `inspect:` names them
NAMES = ("exit_code", "exit_signal", "output", "page_size", "kernel", "glibc")
UNITS = ("KiB", "MiB", "GiB", "unlimited")
BUILTINS = ("len", "min", "max", "sum", "abs", "sorted", "set", "any", "all", "int")

_NODES = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.Compare, ast.Eq, ast.NotEq, ast.Lt,
    ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn, ast.Call, ast.keyword, ast.Name, ast.Load,
    ast.Attribute, ast.Constant, ast.List, ast.Tuple, ast.Subscript,
)  # fmt: skip


def parse(text: str) -> ast.Expression:
    """The expression, if the language allows it. Raises CheckError."""
    if len(text) > MAX_LENGTH:
        raise CheckError(f"{len(text)} characters; at most {MAX_LENGTH}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        said = error.msg if isinstance(error, SyntaxError) else "it can't be parsed"
        raise CheckError(f"not an expression ({said})") from None
    _bound(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if id(node) not in called:
            _allow(node)
    return tree


def _bound(tree: ast.Expression) -> None:
    count = 0
    level: list[ast.AST] = [tree]
    for _ in range(2 * MAX_DEPTH):
        count += len(level)
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level and count <= 2 * MAX_NODES:
            return
        if count > 2 * MAX_NODES:
            break
    raise CheckError("it is too long or too deeply nested; make several expectations of it")


def _allow(node: ast.AST) -> None:
    """Raises CheckError for a node that the language does not have."""
    if not isinstance(node, _NODES):
        raise CheckError(f"{type(node).__name__} is not part of the language")
    match node:
        case ast.Constant(value=value) if not isinstance(value, int | float | str | None):
            raise CheckError(f"the literal {value!r} is not part of the language")
        case ast.Call():
            _allow_call(node)
        case ast.Name(id=name) if name in OBSERVATIONS or name in BUILTINS:
            raise CheckError(f"{name} is a function: {name}(…)")
        case ast.Name(id=name) if name not in NAMES and name not in UNITS:
            known = (*NAMES, *UNITS, *OBSERVATIONS, *BUILTINS)
            raise CheckError(f"unknown name {name!r}{nearest(name, known)}; names: {', '.join((*NAMES, *UNITS))}")
        case ast.Attribute(attr=name) if name.startswith("_"):
            raise CheckError(f"unknown attribute {name!r}")
        case ast.Subscript(slice=index) if not re.fullmatch(r"-?\d{1,6}", ast.unparse(index)):
            raise CheckError("an index is a number, as [0] or [-1]")
        case ast.Attribute(value=ast.Constant()):
            raise CheckError(f"a literal has no attribute {node.attr!r}")


def _allow_call(node: ast.Call) -> None:
    if not isinstance(node.func, ast.Name):
        raise CheckError("only the functions of the language can be called")
    name = node.func.id
    if name in BUILTINS:
        if node.keywords:
            raise CheckError(f"{name}() takes no named argument here")
        return
    signature = OBSERVATIONS.get(name)
    if signature is None:
        known = (*OBSERVATIONS, *BUILTINS)
        raise CheckError(f"unknown function {name!r}{nearest(name, known)}; functions: {', '.join(known)}")
    if len(node.args) != len(signature.kinds):
        raise CheckError(f"{name}() takes {len(signature.kinds)} arguments, not {len(node.args)}")
    for kind, argument in zip(signature.kinds, node.args, strict=True):
        _allow_argument(name, kind, argument)
    for keyword in node.keywords:
        if keyword.arg in signature.options:
            continue
        if keyword.arg != "at" or not signature.at:
            raise CheckError(f"{name}() takes no argument {keyword.arg!r}")
        _allow_argument(name, "checkpoint", keyword.value)


def _allow_argument(function: str, kind: str, argument: ast.expr) -> None:
    literal = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    if kind in ("mapping", "number", "list"):
        return  # any expression
    if not literal:
        raise CheckError(f"{function}() takes a text in quotation marks here")
    assert isinstance(argument, ast.Constant)
    if kind == "regex":
        pattern(str(argument.value))
    if kind in _SPELLED and not re.fullmatch(_SPELLED[kind], str(argument.value)):
        raise CheckError(f"{function}() takes a name as {_SPELLED[kind]}, not {argument.value!r}")


_FUNCTION = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
_SPELLED = {
    "kconfig": r"CONFIG_[A-Za-z0-9_]{1,100}", "symbol": r"[A-Za-z_][A-Za-z0-9_.]{0,199}",
    "window": r"[A-Za-z0-9._-]{1,64}(?:#[1-9]\d{0,5})?", "syscall": r"[a-z][a-z0-9_]{0,63}", "function": _FUNCTION,
    "event": r"[a-z0-9_]{1,64}:[a-z0-9_]{1,64}", "path": rf"{_FUNCTION}(?: > {_FUNCTION}){{1,19}}",
}  # fmt: skip


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression that can't take exponential time. Raises CheckError."""
    if len(text) > MAX_PATTERN:
        raise CheckError(f"a regular expression of {len(text)} characters; at most {MAX_PATTERN}")
    plain = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]])*\]", "x", text)
    if re.search(r"\)[*+?{]|\(\?[^:]", plain):
        raise CheckError("a regular expression may not repeat a group, nor look around")
    if re.search(r"\\[1-9]", text):
        raise CheckError("a regular expression may not refer back to a group")
    if len(re.findall(r"(?:[*+?]|\{\d*,\d*\})[?+]?", plain.replace("(?:", "("))) > MAX_REPEATS:
        raise CheckError(f"a regular expression may have {MAX_REPEATS} variable repetitions (* + ? {{m,n}})")
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise CheckError(f"not a regular expression: {error}") from None


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """The observations that an expression asks for by a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OBSERVATIONS:
            yield node.func.id, node


def checkpoints(tree: ast.AST) -> Iterator[str]:
    """The checkpoints that an expression names; "" where it means that of the expectation."""
    for name, node in calls(tree):
        signature = OBSERVATIONS[name]
        if signature.at:
            yield next((text(k.value) for k in node.keywords if k.arg == "at"), "")
        if "checkpoint" in signature.kinds:
            yield text(node.args[signature.kinds.index("checkpoint")])


def arguments(tree: ast.AST, function: str) -> Iterator[str]:
    """The texts that an expression gives to one function: the names of ``symbol(…)``, say."""
    for name, node in calls(tree):
        if name == function:
            yield text(node.args[0])


def symbols(tree: ast.AST) -> Iterator[str]:
    """The kernel functions that an expression names: those of ``symbol(…)``, ``chain(…)`` and ``sequence(…)``."""
    for name, node in calls(tree):
        for kind, argument in zip(OBSERVATIONS[name].kinds, node.args, strict=True):
            if kind in ("symbol", "function"):
                yield text(argument)
            elif kind == "path":
                yield from path(text(argument))


def path(text: str) -> tuple[str, ...]:
    """The names of "f > g > h"."""
    return tuple(name.strip() for name in text.split(">"))


def text(node: ast.expr) -> str:
    """A literal text; empty for anything else."""
    return str(node.value) if isinstance(node, ast.Constant) else ""


def observed(node: ast.AST) -> bool:
    """Whether the node is one observation: a call, a name, or an attribute of one."""
    match node:
        case ast.Attribute():
            return observed(node.value)
        case ast.Call(func=ast.Name(id=name)):
            return name in OBSERVATIONS
        case ast.Name(id=name):
            return name in NAMES
    return False


def operands(tree: ast.Expression) -> list[ast.expr]:
    """What a finding explains: each side of each comparison, then each observation in it; once each."""
    found: dict[str, ast.expr] = {}

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                if any(observed(part) for part in ast.walk(side)):
                    found.setdefault(ast.unparse(side), side)
        if observed(node) and isinstance(node, ast.expr):
            found.setdefault(ast.unparse(node), node)
            inner: Iterable[ast.AST] = _address(node)
        else:
            inner = ast.iter_child_nodes(node)
        for child in inner:
            visit(child)

    visit(tree)
    return list(found.values())


def _address(node: ast.AST) -> list[ast.AST]:
    """The observations inside the address of ``vma(address)``."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return list(node.args) if isinstance(node, ast.Call) else []
