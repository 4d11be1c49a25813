"""YAML as nodes that know their line: for files that people write, where an error must say where.

Bounded: size, depth, number of nodes; no aliases (they multiply), no tags, no duplicate keys.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import UsageError
from orchestrator.names import nearest

MAX_SIZE = 1 << 20  # bytes
MAX_EVENTS = 50_000
MAX_DEPTH = 12

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_KINDS = {"str": "text", "int": "a number", "float": "a number", "bool": "true or false", "null": "nothing",
          "seq": "a list", "map": "keys with values"}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A YAML node with the key that leads to it ("expectations[2].check")."""

    file: Path
    key: str
    node: yaml.Node
    label: yaml.Node | None = None  # the key itself, where it has one

    @property
    def line(self) -> int:
        """1-based."""
        return int(self.node.start_mark.line) + 1

    def at_key(self) -> Node:
        """The same with the line of its key, which may stand above."""
        return Node(self.file, self.key, self.label or self.node)

    def error(self, what: str, allowed: str = "") -> UsageError:
        """The error to raise: file:line: key: what; allowed: …"""
        return UsageError(
            f"{self.file}:{self.line}: {self.key or 'file'}: {what}" + (f"; allowed: {allowed}" if allowed else "")
        )

    def _kind(self) -> str:
        tag = str(self.node.tag)
        return _KINDS.get(tag.removeprefix(_TAG), f"something tagged {tag[:40]}")

    def pairs(self) -> list[tuple[str, Node]]:
        """The keys, which are texts and all different, with their nodes."""
        if not isinstance(self.node, yaml.MappingNode) or self.node.tag != f"{_TAG}map":
            raise self.error(f"it is {self._kind()}", "keys with values")
        found: dict[str, Node] = {}
        for key, value in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Node(self.file, self.key, key).error("a key that is no text")
            node = Node(self.file, f"{self.key}.{key.value}" if self.key else key.value, value, key)
            if key.value in found:
                raise Node(self.file, node.key, key).error("the key is there twice", "each key once")
            found[key.value] = node
        return list(found.items())

    def mapping(self, allowed: Sequence[str], required: Sequence[str] = ()) -> dict[str, Node]:
        """The keys, all of them allowed, none of the required ones missing."""
        found = dict(self.pairs())
        for name, node in found.items():
            if name not in allowed:
                raise node.error(f"unknown key{nearest(name, allowed)}", ", ".join(allowed))
        for name in required:
            if name not in found:
                raise self.error(f"the key {name!r} is missing", ", ".join(allowed))
        return found

    def is_list(self) -> bool:
        """Whether it is a list, and no text or mapping."""
        return isinstance(self.node, yaml.SequenceNode)

    def items(self) -> list[Node]:
        """The items of a list."""
        if not isinstance(self.node, yaml.SequenceNode) or self.node.tag != f"{_TAG}seq":
            raise self.error(f"it is {self._kind()}", "a list")
        return [Node(self.file, f"{self.key}[{index}]", item) for index, item in enumerate(self.node.value)]

    def text(self, pattern: str = "") -> str:
        """A text that is not empty."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != f"{_TAG}str":
            raise self.error(f"it is {self._kind()}", "a text (in quotation marks, if YAML reads it otherwise)")
        return self._matching(self.node.value.strip(), pattern)

    def scalar(self, pattern: str = "") -> str:
        """A text, a number or a truth value, as it is written."""
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.tag.startswith(_TAG):
            raise self.error(f"it is {self._kind()}", "a text or a number")
        return self._matching(self.node.value, pattern, empty=True)

    def _matching(self, value: str, pattern: str, empty: bool = False) -> str:
        if not value and not empty:
            raise self.error("it is empty", "a text")
        if "\0" in value or (pattern and not re.fullmatch(pattern, value)):
            raise self.error(f"{value[:100]!r} is not possible here", pattern)
        return value

    def texts(self, pattern: str = "") -> tuple[str, ...]:
        """A list of texts."""
        return tuple(item.text(pattern) for item in self.items())

    def whole(self, low: int, high: int) -> int:
        """A whole number between the two, both allowed."""
        value = self.node.value if isinstance(self.node, yaml.ScalarNode) else ""
        if self.node.tag == f"{_TAG}int" and re.fullmatch(r"\d{1,15}", value) and low <= int(value) <= high:
            return int(value)
        raise self.error(f"it is {value[:40] or self._kind()}", f"a whole number from {low} to {high}")

    def number(self, low: float, high: float) -> float:
        """A number between the two, both allowed."""
        value = self.node.value if isinstance(self.node, yaml.ScalarNode) else ""
        if re.fullmatch(r"\d{1,10}(\.\d{0,6})?", value) and low <= float(value) <= high:
            return float(value)
        raise self.error(f"it is {value[:40] or self._kind()}", f"a number from {low:g} to {high:g}")


def load(file: Path, *, bounded: bool = True) -> Node:
    """The file's root node. Raises UsageError. ``bounded=False``: the lab's own file, which takes half of the time."""
    try:
        if file.stat().st_size > MAX_SIZE:
            raise UsageError(f"{file}: larger than {MAX_SIZE >> 20} MiB")
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 (byte {error.start})") from None
    try:
        if bounded:
            _bound(file, text)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise UsageError(_problem(file, error)) from None
    except RecursionError:
        raise UsageError(f"{file}: nested too deeply") from None
    if root is None:
        raise UsageError(f"{file}:1: file: it is empty; allowed: keys with values")
    return Node(file, "", root)


def _bound(file: Path, text: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        mark = event.start_mark
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        if isinstance(event, yaml.AliasEvent):
            raise UsageError(f"{where}: the alias *{str(event.anchor)[:40]}; allowed: no aliases, write it out")
        if depth > MAX_DEPTH or count > MAX_EVENTS:
            raise UsageError(f"{where}: nested too deeply or too long for a scenario")


def _problem(file: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = " ".join(str(part) for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    line = f":{mark.line + 1}" if mark is not None else ""
    return f"{file}{line}: not YAML: {words or str(error)[:200]}"
