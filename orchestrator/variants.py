"""Do the ``when`` of variants exclude each other, and leave nothing out? Pure, for `lab lint`.

Each probe in them is given every value that matters (a version: each one that is named, and one beside it;
a symbol: there or not), in all combinations, and exactly one variant must match each time. Probes count as
independent of each other, so a combination may be one that no kernel has.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence

import simpleeval  # type: ignore[import-untyped]

from orchestrator import checks
from orchestrator.versions import Version

MAX_COMBINATIONS = 20_000
_CONSTANTS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "unlimited": math.inf, "page_size": 4096}
_VERSIONS = ("kernel", "glibc")
_COMPARE: dict[type, Callable[[object, object], bool]] = {
    ast.Eq: lambda a, b: a == b, ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b, ast.LtE: lambda a, b: a <= b,  # type: ignore[operator]
    ast.Gt: lambda a, b: a > b, ast.GtE: lambda a, b: a >= b,  # type: ignore[operator]
    ast.Is: lambda a, b: a is b, ast.IsNot: lambda a, b: a is not b,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,  # type: ignore[operator]
}  # fmt: skip
_TRUTH = (True, False)
# What one probe is to another, and the comparisons that hold then.
_RELATIONS = ("less", "equal", "more")
_HOLDS: dict[type, tuple[str, ...]] = {
    ast.Eq: ("equal",), ast.NotEq: ("less", "more"), ast.Lt: ("less",), ast.LtE: ("less", "equal"),
    ast.Gt: ("more",), ast.GtE: ("equal", "more"),
}  # fmt: skip

Values = dict[str, object]


def hole(whens: Sequence[str]) -> str:
    """Words about a combination in which none or several of the conditions hold; "" if there is none, or too
    many combinations to tell. Raises CheckError for a condition that does not parse."""
    trees = [checks.parse(when).body for when in whens]
    domains: dict[str, list[object]] = {}
    for tree in trees:
        _probes(tree, domains)
    if math.prod(len(values) for values in domains.values()) > MAX_COMBINATIONS:
        return ""
    for values in itertools.product(*domains.values()):
        chosen = dict(zip(domains, values, strict=True))
        try:
            count = sum(_truth(tree, chosen) for tree in trees)
        except (TypeError, ValueError, KeyError):  # compared with what it can't be compared with
            continue
        if count != 1:
            matching = "no variant matches" if count == 0 else f"{count} variants match"
            return f"{matching} where {', '.join(f'{name} is {_shown(value)}' for name, value in chosen.items())}"
    return ""


def _shown(value: object) -> str:
    return {True: "true", False: "false", None: "none"}[value] if isinstance(value, bool | None) else str(value)


def _probes(node: ast.expr, domains: dict[str, list[object]]) -> None:
    """Collects what the truth of an expression rests on, with the values that matter."""
    match node:
        case ast.BoolOp():
            for part in node.values:
                _probes(part, domains)
        case ast.UnaryOp(op=ast.Not()):
            _probes(node.operand, domains)
        case ast.Compare() if (sides := _sides(node)) is not None:
            for side in sides:
                if not isinstance(side, _Constant):
                    others = [other.value for other in sides if isinstance(other, _Constant)]
                    only_equal = all(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
                    _extend(domains, side, _values(side, others, only_equal))
        case ast.Compare() if (pair := _pair(node)) is not None:
            _extend(domains, pair, _RELATIONS)
        case ast.Constant():
            pass
        case _:
            _extend(domains, ast.unparse(node), _TRUTH)


def _extend(domains: dict[str, list[object]], name: str, values: Sequence[object]) -> None:
    known = domains.setdefault(name, [])
    for value in values:
        if not any(type(value) is type(other) and value == other for other in known):
            known.append(value)


class _Constant:
    """A side of a comparison that no observation is in."""

    def __init__(self, value: object) -> None:
        self.value = value


def _sides(node: ast.Compare) -> list[str | _Constant] | None:
    """The sides of a comparison: constants, and one probe by its text; None if there are several of those."""
    sides = [_constant(side) or ast.unparse(side) for side in (node.left, *node.comparators)]
    probes = {side for side in sides if isinstance(side, str)}
    return sides if len(probes) <= 1 else None


def _pair(node: ast.Compare) -> str | None:
    """The name of a comparison of two probes, the same for all that compare these two."""
    if len(node.ops) == 1 and type(node.ops[0]) in _HOLDS:
        return f"{ast.unparse(node.left)} against {ast.unparse(node.comparators[0])}"
    return None


def _constant(node: ast.expr) -> _Constant | None:
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    if not names <= _CONSTANTS.keys():
        return None
    try:
        return _Constant(simpleeval.EvalWithCompoundTypes(names=_CONSTANTS).eval(ast.unparse(node)))
    except Exception:  # whatever the expression raises, it is none that can be judged here
        return None


def _values(probe: str, constants: Sequence[object], only_equal: bool) -> list[object]:
    """The values of a probe that may make a difference to comparisons with these constants."""
    note = probe.startswith("note(")
    if note and only_equal and all(constant in (0, 1) for constant in constants):
        return [0, 1]  # a yes or no of the program's
    # Only the program itself has negative numbers to tell; and a list of no notes is an error.
    lowest = -math.inf if note else int(probe.startswith("len(") and "notes(" in probe)
    found: list[object] = []
    for constant in (item for c in constants for item in (c if isinstance(c, list | tuple) else (c,))):
        match constant:
            case str() if probe in _VERSIONS and re.fullmatch(r"\d+(\.\d+)*", constant):
                found += [Version("0.1"), Version(constant), Version(f"{constant}.0.0.1")]
            case bool() | None:
                found += [True, False] if isinstance(constant, bool) else [None, "something"]
            case math.inf:
                found += [0, constant]
            case int() | float():
                found += [value for value in (constant - 1, constant, constant + 1) if value >= lowest]
            case str():
                found += [constant, "another", None] if probe.startswith("kconfig(") else [constant, "another"]
    return found


def _truth(node: ast.expr, chosen: Mapping[str, object]) -> bool:
    match node:
        case ast.BoolOp(op=ast.And()):
            return all(_truth(part, chosen) for part in node.values)
        case ast.BoolOp():
            return any(_truth(part, chosen) for part in node.values)
        case ast.UnaryOp(op=ast.Not()):
            return not _truth(node.operand, chosen)
        case ast.Compare() if (sides := _sides(node)) is not None:
            values = [side.value if isinstance(side, _Constant) else chosen[side] for side in sides]
            pairs = zip(node.ops, values, values[1:], strict=False)
            return all(_COMPARE[type(op)](left, right) for op, left, right in pairs)
        case ast.Compare() if (pair := _pair(node)) is not None:
            return chosen[pair] in _HOLDS[type(node.ops[0])]
        case ast.Constant():
            return bool(node.value)
    return bool(chosen[ast.unparse(node)])
