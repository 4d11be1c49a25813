"""How one address space became another: each kind of change, and the size that still takes no time."""

from __future__ import annotations

import time

import pytest

from orchestrator.address_space import Kind, changes, replaced
from orchestrator.model import Vma

PAGE = 4096
FILE = ("08:01", 42, "/lib/libc.so.6")


def vma(
    start: int, end: int, perms: str = "rw-p", name: str = "", rss: int | None = 0, inode: int = 0, offset: int = 0
) -> Vma:
    """A mapping; start, end, offset and rss in pages."""
    fields = () if rss is None else (("Size", (end - start) * PAGE), ("Rss", rss * PAGE))
    return Vma(start * PAGE, end * PAGE, perms, offset * PAGE, "08:01" if inode else "00:00", inode, name, 1, fields)


def kinds(before: list[Vma], after: list[Vma]) -> list[str]:
    return [change.kind.value for change in changes(before, after)]


def test_equal_spaces_differ_in_nothing() -> None:
    space = [vma(1, 2), vma(4, 9, name="[heap]"), vma(20, 30, name="/x", inode=3)]
    assert changes(space, list(space)) == ()
    assert changes([], []) == ()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [vma(4, 5)], ["appeared"]),
        ([vma(4, 5)], [], ["went"]),
        ([vma(4, 5, name="[heap]")], [vma(4, 6, name="[heap]")], ["grew"]),
        ([vma(4, 6)], [vma(4, 5)], ["shrank"]),
        ([vma(4, 8)], [vma(6, 10)], ["moved"]),
        ([vma(4, 8)], [vma(14, 18)], ["went", "appeared"]),
        ([vma(4, 8, rss=0)], [vma(4, 8, rss=2)], ["touched"]),
        ([vma(4, 8, rss=None)], [vma(4, 8, rss=2)], ["touched"]),
        ([vma(4, 8, "rw-p")], [vma(4, 8, "r--p")], ["perms"]),
        ([vma(4, 8, "rw-p")], [vma(4, 6, "r--p")], ["perms"]),
        ([vma(4, 10)], [vma(4, 6), vma(8, 10)], ["split"]),  # munmap of the middle
        ([vma(4, 6), vma(8, 10)], [vma(4, 10)], ["merged"]),  # mmap between
        ([vma(4, 10)], [vma(4, 6), vma(6, 8, "r--p"), vma(8, 10)], ["split"]),  # mprotect of the middle
        ([vma(4, 6), vma(6, 8, "r--p"), vma(8, 10)], [vma(4, 10)], ["merged"]),
        ([vma(4, 10)], [vma(4, 6), vma(6, 10, "---p")], ["split"]),
        ([vma(4, 6), vma(6, 10, "---p")], [vma(4, 10)], ["merged"]),
        ([vma(0, 4, "---p")], [vma(0, 1), vma(1, 4, "---p")], ["split"]),  # an arena's first mprotect
        ([vma(4, 6), vma(6, 10, "---p")], [vma(4, 8), vma(8, 10, "---p")], ["grew", "shrank"]),  # its next
        ([vma(4, 8, name="[heap]")], [vma(4, 8)], ["went", "appeared"]),
    ],
)  # fmt: skip
def test_kinds(before: list[Vma], after: list[Vma], expected: list[str]) -> None:
    assert kinds(before, after) == expected


def test_growth_is_counted_at_the_end_where_it_happened() -> None:
    (heap,) = changes([vma(4, 5, name="[heap]")], [vma(4, 7, name="[heap]", rss=1)])
    assert (heap.kind, heap.bytes, heap.low, heap.high) == (Kind.GREW, 2 * PAGE, 0, 2 * PAGE)
    assert (heap.rss_before, heap.rss_after) == (0, PAGE)
    (stack,) = changes([vma(90, 100, name="[stack]")], [vma(70, 100, name="[stack]")])
    assert (stack.kind, stack.bytes, stack.low, stack.high) == (Kind.GREW, 20 * PAGE, 20 * PAGE, 0)


def test_a_file_keeps_its_identity_when_it_is_unlinked_and_only_at_its_offset() -> None:
    old = vma(4, 8, name="/tmp/x", inode=7, offset=2)
    assert kinds([old], [vma(4, 8, name="/tmp/x (deleted)", inode=7, offset=2)]) == []
    assert kinds([old], [vma(5, 8, name="/tmp/x", inode=7, offset=3)]) == ["shrank"]
    assert kinds([old], [vma(4, 8, name="/tmp/x", inode=7, offset=3)]) == ["went", "appeared"]
    assert kinds([old], [vma(4, 8, name="/tmp/x", inode=8, offset=2)]) == ["went", "appeared"]


def test_relro_is_a_split_of_the_data_mapping() -> None:
    before = [vma(0, 4, "r--p", "/l", inode=1), vma(4, 10, "rw-p", "/l", inode=1, offset=4)]
    after = [before[0], vma(4, 8, "r--p", "/l", inode=1, offset=4), vma(8, 10, "rw-p", "/l", inode=1, offset=8)]
    (change,) = changes(before, after)
    assert change.kind is Kind.SPLIT
    assert [v.perms for v in change.after] == ["r--p", "rw-p"]
    assert change.bytes == 0


def test_order_is_by_address_whatever_the_input() -> None:
    after = [vma(30, 31), vma(10, 11), vma(20, 21)]
    assert [c.vma.start // PAGE for c in changes([], after)] == [10, 20, 30]


def test_replaced_is_execve_and_not_much_else() -> None:
    old = [vma(1, 2, name="/a", inode=1), vma(9, 10, name="/libc", inode=2), vma(90, 99, name="[stack]")]
    new = [vma(3, 4, name="/b", inode=5), vma(12, 13, name="/libc", inode=2), vma(80, 99, name="[stack]")]
    assert replaced(old, new)
    assert not replaced(old, old[1:])
    assert not replaced([vma(90, 99, name="[stack]")], new)


def test_nonsense_does_not_fail() -> None:
    overlapping = [vma(1, 9), vma(2, 8), vma(2, 8), vma(7, 7), vma(9, 3)]
    changes(overlapping, list(reversed(overlapping)))
    changes(overlapping, [])


def test_a_hundred_thousand_mappings() -> None:
    before = [vma(3 * i, 3 * i + 1) for i in range(100_000)]
    after = [vma(3 * i, 3 * i + 1 + (i % 2)) for i in range(100_000)]
    begin = time.process_time()
    found = changes(before, after)
    assert len(found) == 50_000
    assert time.process_time() - begin < 10  # about 0.7 s; a quadratic walk takes hours
