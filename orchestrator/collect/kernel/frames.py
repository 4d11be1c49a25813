"""Page frames: what kind of memory a page-table entry leads to, told from its ``struct page``."""

from __future__ import annotations

from dataclasses import dataclass

import drgn
from drgn.helpers.linux.mm import compound_head, page_to_pfn, vmalloc_to_pfn

from orchestrator.collect.kernel.layout import signed

CHUNK = 4096  # bytes of the memory map that are read at once: 64 struct pages
# include/linux/page-flags.h: the low bits of page->mapping (FOLIO_MAPPING_* since 6.17)
_ANON, _KSM = 1, 3


@dataclass(frozen=True)
class Frame:
    """A page frame. ``kind``: a anonymous, f file, s shared memory (tmpfs), z zero page, k merged by KSM, d none of
    these: a device's, the vDSO's (which the kernel counts as a file's). ``mapcount``: how many page-table entries map
    it, as far as the frame itself knows."""

    pfn: int
    kind: str
    refcount: int
    mapcount: int
    flags: int


class Frames:
    """The frames of one guest at one moment; makes no use of what it read at another."""

    def __init__(self, program: drgn.Program) -> None:
        self._program = program
        page = program.type("struct page")
        self._size = page.size or 64
        self._map = program["vmemmap"].value_()
        self._shape = {name: drgn.offsetof(page, name) for name in ("flags", "_refcount", "_mapcount")}
        self._mapping, self._tail = _mapping_offset(program), _tail_offset(page)
        self._swapbacked = 1 << program.constant("PG_swapbacked").value_()
        self._chunks: dict[int, bytes] = {}
        self._zero, self._huge_zero = _zero_frames(program)
        self._known: dict[int, Frame] = {}

    def at(self, pfn: int) -> Frame:
        """One frame. Raises drgn.FaultError if the memory map has no such page."""
        found = self._known.get(pfn)
        if found is None:
            found = self._known[pfn] = self._frame(pfn)
        return found

    def _frame(self, pfn: int) -> Frame:
        raw = self._raw(pfn)
        flags = self._word(raw, self._shape["flags"])
        head = raw
        if self._word(raw, self._tail) & 1:  # a tail of a compound page: its first page has the mapping
            page = drgn.Object(self._program, "struct page *", value=self._map + pfn * self._size)
            head = self._raw(page_to_pfn(compound_head(page)).value_())
        return Frame(
            pfn, self._kind(pfn, head), self._count(head, "_refcount"), self._count(raw, "_mapcount") + 1, flags)

    def _kind(self, pfn: int, head: bytes) -> str:
        if pfn == self._zero or pfn in self._huge_zero:
            return "z"
        mapping = self._word(head, self._mapping)
        if mapping & _KSM == _KSM:
            return "k"
        if mapping & _ANON:
            return "a"
        if not mapping:
            return "d"
        return "s" if self._word(head, self._shape["flags"]) & self._swapbacked else "f"

    def _raw(self, pfn: int) -> bytes:
        offset = pfn * self._size
        chunk, within = divmod(offset, CHUNK)
        if chunk not in self._chunks:
            self._chunks[chunk] = self._program.read(self._map + chunk * CHUNK, CHUNK)
        if within + self._size > CHUNK:  # a struct page that is no power of two in size
            return bytes(self._program.read(self._map + offset, self._size))
        return self._chunks[chunk][within:within + self._size]

    @staticmethod
    def _word(raw: bytes, offset: int) -> int:
        return int.from_bytes(raw[offset:offset + 8], "little")

    def _count(self, raw: bytes, name: str) -> int:
        offset = self._shape[name]
        return signed(raw[offset:offset + 4])


def _mapping_offset(program: drgn.Program) -> int:
    """struct folio has it since 5.16 (7b230db3b8d3), struct page before; the place is the same."""
    try:
        return int(drgn.offsetof(program.type("struct folio"), "mapping"))
    except LookupError:
        return int(drgn.offsetof(program.type("struct page"), "mapping"))


def _tail_offset(page: drgn.Type) -> int:
    """compound_head; compound_info since 7.0."""
    name = "compound_info" if page.has_member("compound_info") else "compound_head"
    return int(drgn.offsetof(page, name))


def _zero_frames(program: drgn.Program) -> tuple[int, range]:
    """The frame of the shared zero page (assembly's until 7.0, so a symbol and no variable), and those of the huge
    one, once it exists (mm/huge_memory.c)."""
    zero = vmalloc_to_pfn(program, program.symbol("empty_zero_page").address).value_()  # by the kernel's own tables
    try:
        huge = program["huge_zero_pfn"].value_()  # all bits set while there is none
    except LookupError:
        return zero, range(0)
    return zero, range(huge, huge + 512) if 0 < huge < 1 << 40 else range(0)
