"""A heap of too many chunks as stretches of equal length: the chunks that begin there, the bytes by state. Pure."""

from __future__ import annotations

from collections import Counter

from orchestrator.collect.heap_values import SIZE_BITS, Heap

ALIGNMENT = 16


def stretches(heap: Heap, most: int) -> tuple[int, list[list[int | str]]]:
    """The bytes of a stretch, and for each of at most ``most``: [chunks, state, bytes, state, bytes, …], states with
    the most bytes first. A chunk of several stretches counts with its bytes in each, and begins in one."""
    span = heap.covered - heap.first
    length = max(-(-span // most) + ALIGNMENT - 1 & ~(ALIGNMENT - 1), ALIGNMENT)
    count = -(-span // length)
    begin = [0] * count
    inside: list[Counter[str]] = [Counter() for _ in range(count)]
    for address, word, state in zip(heap.addresses, heap.words, heap.states, strict=True):
        at, end = address - heap.first, address - heap.first + (word & ~SIZE_BITS)
        if at >= span:  # a last fencepost, of size 0
            continue
        begin[at // length] += 1
        for place in range(at // length, -(-end // length)):
            inside[place][state] += min(end, (place + 1) * length) - max(at, place * length)
    rows: list[list[int | str]] = []
    for chunks, found in zip(begin, inside, strict=True):
        row: list[int | str] = [chunks]
        for state, size in found.most_common():
            row += [state, size]
        rows.append(row)
    return length, rows
