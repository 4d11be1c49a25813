"""What a check says of its operands: which it fixes (``==``, ``in``), and which it only bounds (``<``, ``!=``), as what
they are is expected to vary. Pure."""

from __future__ import annotations

import ast
from functools import lru_cache

from orchestrator import checks

_FIXES = (ast.Eq, ast.In, ast.Is)
_NOTES = ("note", "notes")


@lru_cache(maxsize=4096)
def is_observation(text: str) -> bool:
    """Whether an operand is one observation, and nothing computed from several."""
    tree = _parsed(text)
    return tree is not None and checks.observed(tree)


@lru_cache(maxsize=4096)
def same(text: str) -> str:
    """An operand's text in the one form that the functions here give it."""
    tree = _parsed(text)
    return text if tree is None else ast.unparse(tree)


@lru_cache(maxsize=4096)
def bounded(check: str) -> set[str]:
    """The observations that stand in comparisons which only bound them, and in no other place of the check."""
    every, fixed = _observed(check)
    return every - fixed


@lru_cache(maxsize=4096)
def notes(check: str) -> tuple[set[str], set[str]]:
    """The keys of all notes in the check, and of those that it fixes."""
    every, fixed = _observed(check)
    return _keys(every), _keys(fixed)


def _keys(texts: set[str]) -> set[str]:
    found = set()
    for tree in (_parsed(text) for text in texts):
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in _NOTES and tree.args:
            found.add(checks.text(tree.args[0]))
    return found


def _observed(check: str) -> tuple[set[str], set[str]]:
    """All observations of a check as text, and those in a comparison that fixes them, or in none."""
    tree = _parsed(check)
    every: set[str] = set()
    fixed: set[str] = set()

    def visit(node: ast.AST, sure: bool) -> None:
        if isinstance(node, ast.Compare):
            sure = any(isinstance(one, _FIXES) for one in node.ops)
        if isinstance(node, ast.expr) and checks.observed(node):
            every.add(ast.unparse(node))
            if sure:
                fixed.add(ast.unparse(node))
        for child in ast.iter_child_nodes(node):
            visit(child, sure)

    if tree is not None:
        visit(tree, True)
    return every, fixed


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
