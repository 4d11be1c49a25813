"""A captured process (tests/data/heap) as a reader of its memory, which a test may change."""

from __future__ import annotations

import base64
import functools
import json
import lzma
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.collect.heap import parse
from orchestrator.collect.heap_values import HeapEvidence
from orchestrator.collect.lines import Document
from orchestrator.collect.ptmalloc import Layout, Mapping, Process, Thread, collect
from orchestrator.collect.ptmalloc.memory import Memory

DATA = Path(__file__).parents[1] / "data" / "heap"
PAGE = 4096
VERSIONS = ("2.31", "2.36", "2.41", "2.43")


@dataclass
class Image:
    """Pages by address; what is mapped, but not here, is zeros. ``said``: the program's own lines."""

    layout: Layout
    process: Process
    pages: dict[int, bytearray]
    said: tuple[tuple[str, int, int, int], ...] = ()
    reads: int = field(default=0)

    def read(self, address: int, size: int) -> bytes:
        """As the collector's Reader: of whole pages."""
        self.reads += size
        blank = bytes(PAGE)
        return b"".join(self.pages.get(page, blank) for page in range(address, address + size, PAGE))

    def word(self, address: int) -> int:
        """A 64-bit word."""
        place = address % PAGE
        return int.from_bytes(self.pages.get(address - place, bytes(PAGE))[place : place + 8], "little")

    def poke(self, address: int, value: int) -> None:
        """Changes a 64-bit word."""
        place = address % PAGE
        self.pages.setdefault(address - place, bytearray(PAGE))[place : place + 8] = value.to_bytes(8, "little")

    def lines(self) -> list[str]:
        """What is collected of it."""
        return list(collect(self.process, self.layout, self))

    def evidence(self) -> HeapEvidence:
        """What is collected of it, parsed."""
        return parse(document(self.lines()))

    def copy(self) -> Image:
        """Another one, to be changed."""
        pages = {address: bytearray(content) for address, content in self.pages.items()}
        return Image(self.layout, self.process, pages, self.said)


def document(lines: list[str]) -> Document:
    """Lines as evidence."""
    return Document.of("evidence/01-known/heap/7.jsonl", "\n".join(lines) + "\n")


def parsed(lines: list[str]) -> HeapEvidence:
    """Lines as values."""
    return parse(document(lines))


def memory(image: Image) -> Memory:
    """The image as the collector sees it."""
    return Memory(image, image.process.mappings)


@functools.cache
def _record(file: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(lzma.decompress((DATA / file).read_bytes()))
    return record


def load(version: str, name: str = "known") -> Image:
    """The capture of known.c with one glibc; ``name``: in which state."""
    record = _record(f"{name}-{version}.json.xz")
    process = Process(record["pid"], [Mapping(*row) for row in record["mappings"]],
                      [Thread(*row) for row in record["threads"]])  # fmt: skip
    pages = {int(address, 16): bytearray(base64.b64decode(content)) for address, content in record["pages"].items()}
    said = [line.split() for line in record["said"]]
    return Image(Layout.of_record(record["layout"]), process, pages,
                 tuple((name, int(one), int(two), int(three)) for name, one, two, three in said))
