"""The catalogue of claims: claims.yaml, and at which level of evidence a check looks.

The lab's own catalogue stands beside its scenarios; a folder of a user's scenarios, or one scenario's
own folder, may bring another file of the same form. What became of the claims is the ledger's (ledger.py).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import checks, yamlnodes
from orchestrator.model import Scenario
from orchestrator.yamlnodes import Node

FILE = "claims.yaml"
LEVELS = {
    "P": "/proc, the kernel log, exit status, the program's own words",
    "T": "kernel traces",
    "K": "kernel objects and page tables, read from the paused guest's memory",
    "H": "glibc's heap and thread structures, read from the paused process",
}
# What describes the guest is no evidence of what happened in it.
_GUEST = {"sysctl", "kconfig", "symbol", "tunable", "cmdline", "kernel", "glibc", "page_size"}
_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


@dataclass(frozen=True)
class Claim:
    """A statement of the ledger. ``wanted``: the levels of evidence at which it is to be proved."""

    id: str
    statement: str  # "" for one that only a scenario names
    topic: str
    wanted: tuple[str, ...] = ()


def load(file: Path) -> dict[str, Claim]:
    """The claims of one file, in its order. Raises UsageError with file, line and key."""
    found: dict[str, Claim] = {}
    for topic, claims in yamlnodes.load(file).pairs():
        for name, node in claims.pairs():
            if name in found:
                raise node.error(f"the claim {name!r} is there twice", "each claim once")
            found[name] = _claim(name, topic, node)
    return found


def _claim(name: str, topic: str, node: Node) -> Claim:
    if not re.fullmatch(_ID, name):
        raise node.error(f"{name[:100]!r} is no claim's id", "letters, digits, dots and hyphens, as brk.grow")
    keys = node.mapping(("statement", "evidence"), required=("statement", "evidence"))
    wanted = keys["evidence"].texts("|".join(LEVELS))
    if not wanted or len(set(wanted)) < len(wanted):
        raise keys["evidence"].error("none, or one of them twice", f"a list of {', '.join(LEVELS)}")
    return Claim(name, keys["statement"].text(), topic, ordered(wanted))


def catalogue(folders: Iterable[Path]) -> dict[str, Claim]:
    """The claims of all folders that have a claims.yaml; of claims with the same id the first one counts."""
    found: dict[str, Claim] = {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        if (folder / FILE).is_file():
            for name, claim in load(folder / FILE).items():
                found.setdefault(name, claim)
    return found


def beside(scenario: Scenario) -> tuple[Path, ...]:
    """Where a scenario's own claims may stand: in its folder, and in the one above."""
    return (scenario.directory, scenario.directory.resolve().parent)


def ordered(levels: Iterable[str]) -> tuple[str, ...]:
    """The levels, each once, from the outside of the process to its inside."""
    there = set(levels)
    return tuple(level for level in LEVELS if level in there)


def levels(check: str) -> tuple[str, ...]:
    """The levels of evidence that a check looks at; none where it does not parse any more."""
    try:
        tree = checks.parse(check)
    except checks.CheckError:
        return ()
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - _GUEST
    asked = {checks.OBSERVATIONS[name].level for name in names if name in checks.OBSERVATIONS}
    return ordered(asked | {"P" for name in names if name in checks.NAMES})
