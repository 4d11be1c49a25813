"""Where two sources speak of the same thing: what each says, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.collect.heap_values import Heap, HeapEvidence
from orchestrator.collect.objects import ENTRIES, KINDS, NO_EXEC, PAGE, WRITABLE, Item, Table
from orchestrator.inspection import fills
from orchestrator.inspection.bits import MNEMONICS
from orchestrator.inspection.facts import Check, Verdict
from orchestrator.inspection.moment import Moment
from orchestrator.inspection.vmas import device, perms
from orchestrator.model import Evidence, Vma

RSS_KINDS = ("anon", "file", "shmem", "ksm")


def checks(moment: Moment, address: int) -> Iterator[Check]:
    """All that can be compared about an address."""
    item = moment.kernel.vma_at(address)
    if item is not None:
        yield from of_vma(moment, item)
        yield from _rights(moment, item, address)
    yield from _traced(moment, item, address)
    yield from of_heap(moment, address)


def _verdict(agrees: bool) -> Verdict:
    return Verdict.AGREE if agrees else Verdict.DIFFER


# -- the VMA and /proc -----------------------------------------------------------------------------


def of_vma(moment: Moment, item: Item) -> Iterator[Check]:
    """The object against /proc/PID/smaps: range, rights, file, flags, resident pages."""
    if moment.mappings is None:
        yield Check("vma and smaps", Verdict.UNKNOWN, "there is neither smaps nor maps to compare with",
                    (moment.line(item),))  # fmt: skip
        return
    document, _ = moment.mappings
    other = moment.mapping_at(item.fields["start"])
    if other is None:
        yield Check("vma and smaps", Verdict.DIFFER, "smaps has no mapping there", (moment.line(item), document.at(0)))
        return
    lines = (moment.line(item), document.at(other.line))
    wrong = list(_differences(item, other))
    yield Check("vma and smaps", _verdict(not wrong), "; ".join(wrong) or
                "both have the same range, rights, offset, device, inode and name", lines)  # fmt: skip
    if other.flags:
        yield _flags(moment, item, other, document.at(other.line + len(other.fields) + 1))
    yield from _resident(moment, item, other, document.at(other.line))


def _differences(item: Item, other: Vma) -> Iterator[str]:
    fields = item.fields
    offset = fields["pgoff"] * PAGE if fields["file"] is not None else 0
    name = other.name
    pairs = (
        ("the range", f"{fields['start']:x}-{fields['end']:x}", f"{other.start:x}-{other.end:x}"),
        ("the rights", perms(fields["flags"]), other.perms), ("the offset", f"{offset:#x}", f"{other.offset:#x}"),
        ("the inode", str(fields["ino"]), str(other.inode)), ("the device", device(fields["dev"]), other.device),
        ("the name", fields["name"], name),
    )  # fmt: skip
    for what, mine, theirs in pairs:
        if mine != theirs:
            yield f"{what} is {mine!r} in the object, {theirs!r} in smaps"


def _flags(moment: Moment, item: Item, other: Vma, line: Evidence) -> Check:
    mine = {name for name, bit in MNEMONICS.items() if item.fields["flags"] >> bit & 1}
    theirs = {flag for flag in other.flags if flag in MNEMONICS}
    only = [f"{' '.join(sorted(names))} only in {where}"
            for names, where in ((mine - theirs, "the object"), (theirs - mine, "smaps")) if names]  # fmt: skip
    return Check("vm_flags and VmFlags", _verdict(not only), "; ".join(only) or f"both say {' '.join(other.flags)}",
                 (moment.line(item), line))  # fmt: skip


def _resident(moment: Moment, item: Item, other: Vma, line: Evidence) -> Iterator[Check]:
    """Pages of the tables against Rss, which counts neither the zero page nor what is no memory of its own
    (smaps_account(), vm_normal_page())."""
    rss = dict(other.fields).get("Rss")
    if rss is None or "tables" in moment.kernel.broken:
        return
    counts = pages(moment, item.fields["start"], item.fields["end"])
    if counts.get("other") or item.fields["flags"] >> 22 & 1:
        return
    mine = sum(counts.get(kind, 0) for kind in RSS_KINDS)
    yield Check("page tables and Rss", _verdict(mine * PAGE == rss),
                f"of this VMA the tables map {_pages(mine)} that count as resident, smaps says "
                f"{_pages(rss // PAGE)} (Rss)",
                (moment.document.at(0), line))


def _pages(count: int) -> str:
    return f"{count} page{'s' if count != 1 else ''}"


def pages(moment: Moment, start: int, end: int) -> dict[str, int]:
    """How many pages of a range the tables map, by kind."""
    found: dict[str, int] = {}
    for level, size in (("pte", PAGE), ("pmd", PAGE * ENTRIES), ("pud", PAGE * ENTRIES**2)):
        for table in _covering(moment, level, size * ENTRIES, start, end):
            for index, letter in table.kinds.items():
                if letter not in "-w" and start <= table.base + index * size < end:
                    kind = KINDS.get(letter.lower(), "other")
                    found[kind] = found.get(kind, 0) + size // PAGE
    return found


def _covering(moment: Moment, level: str, covers: int, start: int, end: int) -> Iterator[Table]:
    """The tables of a level that have entries for a range: looked up, or searched for where the range is large."""
    tables, first = moment.kernel.tables, start // covers * covers
    if (end - first) // covers < len(tables):
        bases = range(first, end, covers)
        yield from (tables[level, base] for base in bases if (level, base) in tables)
    else:
        yield from (table for (name, base), table in tables.items() if name == level and first <= base < end)


# -- page tables -----------------------------------------------------------------------------------


def _rights(moment: Moment, item: Item, address: int) -> Iterator[Check]:
    """What the tables let the program do is no more than what its VMA allows."""
    walk = moment.kernel.walk(address)
    if walk.leaf is None:
        return
    values = [step.value or 0 for step in walk.steps]
    writes = all(value & WRITABLE for value in values)
    runs = not any(value & NO_EXEC for value in values)
    flags = item.fields["flags"]
    lines = (moment.line(item), moment.document.at(walk.leaf.line))
    wrong = [what for what, can, bit in (("writing", writes, 1), ("running code", runs, 2))
             if can and not flags >> bit & 1]  # fmt: skip
    if wrong:
        says = f"the tables allow {' and '.join(wrong)}, the VMA does not"
    else:
        can = [what for what, ok in (("written", writes), ("run as code", runs)) if ok]
        says = f"by the tables the page can be {' and '.join(['read', *can])}, which the VMA allows"
    yield Check("rights of pte and vma", _verdict(not wrong), says, lines)
    if walk.kind == "anon":
        has = item.fields["anon_vma"] != 0
        yield Check("anonymous page and anon_vma", _verdict(has), "the page is anonymous, and the VMA has an anon_vma"
                    if has else "the page is anonymous, but the VMA has no anon_vma", lines)  # fmt: skip


def _traced(moment: Moment, item: Item | None, address: int) -> Iterator[Check]:
    """The frame in the tables against the page that was taken in the traced fault; its VMA against the object."""
    found = fills.filled(moment, address)
    if found is None or found.fill.first is None:
        return
    fill, walk = found.fill, moment.kernel.walk(address)
    first = fill.line(found.fill.first)
    if walk.leaf is None:
        yield Check("frame and traced pfn", Verdict.UNKNOWN, f"the page was faulted in window {fill.window!r}, and is "
                    "not mapped now", (first,))  # fmt: skip
    elif walk.frame is not None:
        yield _frame(moment, found, walk.frame, walk.leaf.line)
    if item is None or fill.handled is None or found.tie == "earlier":
        return
    if isinstance(vma := fill.fields(fill.handled).get("vma"), int):
        same = vma == item.fields["address"]
        says = f"both are {vma:#x}" if same else \
            f"the fault was handled for the object {vma:#x}, the VMA is {item.fields['address']:#x} now"
        yield Check("fault's vma and object", _verdict(same), says, (fill.line(fill.handled), moment.line(item)))


def _frame(moment: Moment, found: fills.Filled, frame: int, line: int) -> Check:
    fill = found.fill
    leaf = moment.document.at(line)
    record = fill.took(frame)
    if record is not None:
        order = fill.fields(record).get("order")
        says = f"the pte leads to frame {frame:#x}, which that fault took from the allocator"
        if isinstance(order, int) and order:
            says += f" (with {(1 << order) - 1} others)"
        return Check("frame and traced pfn", Verdict.AGREE, says, (leaf, fill.line(record)))
    first = (fill.line(fill.first),) if fill.first else ()
    if found.tie == "earlier":
        return Check("frame and traced pfn", Verdict.UNKNOWN, "the last traced fault at this address was for another "
                     "VMA object: of an earlier mapping here, or one that was joined or split", (leaf, *first))
    users = [record for record in fill.allocations if _is_users(str(fill.fields(record).get("gfp_flags", "")))]
    if users and found.tie == "page":
        pfn = fill.fields(users[-1]).get("pfn")
        return Check("frame and traced pfn", Verdict.DIFFER, f"the pte leads to frame {frame:#x}, the last traced "
                     f"fault on the page took {_hexadecimal(pfn)}: it was replaced since, outside of the windows",
                     (leaf, fill.line(users[-1])))  # fmt: skip
    return Check("frame and traced pfn", Verdict.UNKNOWN, "the last traced fault on the page took no page from the "
                 "allocator for it", (leaf, *first))


def _hexadecimal(value: object) -> str:
    return f"{value:#x}" if isinstance(value, int) else "?"


def _is_users(gfp: str) -> bool:
    """Whether a page was taken for a program, and not for a table: include/linux/gfp_types.h."""
    return any(flag.startswith(("GFP_HIGHUSER", "GFP_USER", "GFP_TRANSHUGE", "__GFP_MOVABLE"))
               for flag in gfp.split("|"))  # fmt: skip


# -- the heap --------------------------------------------------------------------------------------


def of_heap(moment: Moment, address: int) -> Iterator[Check]:
    """The walk over the chunks against the VMA that they lie in."""
    if moment.heap is None:
        return
    document, found = moment.heap
    heap = found.heap(address)
    item = moment.kernel.vma_at(address)
    if heap is None or item is None:
        return
    verdict, says, line = _reach(moment, found, heap, item)
    lines = (document.at(heap.line), moment.line(item), *([document.at(line)] if line else []))
    yield Check("chunks and vma", verdict, says, lines)


def _reach(moment: Moment, found: HeapEvidence, heap: Heap, item: Item) -> tuple[Verdict, str, int]:
    """Whether the chunks are the VMA's memory: only chunks that are nowhere mapped, or a top chunk that system_mem
    denies, are wrong. A VMA may well go on behind them: the kernel merges neighbours, and a program may move the
    break itself. The third is a further line of the heap's evidence."""
    if heap.broken is not None:
        return Verdict.UNKNOWN, f"the walk breaks off at {heap.broken.at:#x}: {heap.broken.why}", 0
    start, end = item.fields["start"], item.fields["end"]
    # the last fencepost of a thread's heap has size 0, and is the 16 bytes that are left
    reach = heap.end if heap.tail == "fence" and heap.info else heap.covered
    chunks = f"{len(heap)} chunks are {heap.covered - heap.first} bytes together, from {heap.first:#x} to"
    low, high = _row(moment, item)
    if not low <= heap.first <= reach <= high:
        return Verdict.DIFFER, f"{chunks} {reach:#x}; the VMA is {start:#x} to {end:#x}", 0
    account = next((check for check in found.checks if check.what == "system-mem" and heap.tail == "top"
                    and _arena_at(found, check.arena) == heap.arena), None)  # fmt: skip
    if account is not None and not account.ok:
        return Verdict.DIFFER, f"{chunks} {reach:#x}, the top chunk's end; but {account.detail}", account.line
    if reach == end and start <= heap.first:
        return Verdict.AGREE, f"{chunks} just the end of the VMA, {end:#x}", 0
    if not start <= heap.first <= reach <= end:
        return Verdict.UNKNOWN, f"{chunks} {reach:#x}, in VMAs that adjoin; this one is {start:#x} to {end:#x}", 0
    why = ("fenceposts are the last: what follows is not malloc's, or another of its stretches" if heap.tail == "fence"
           else "the program moved the break itself, or neighbours were merged")
    says = f"{chunks} {reach:#x}; the VMA goes on to {end:#x}: {why}"
    if account is None:
        return Verdict.UNKNOWN, says, 0
    return Verdict.UNKNOWN, f"{says}; system_mem agrees with the top chunk", account.line


def _arena_at(found: HeapEvidence, index: int | None) -> int | None:
    return next((arena.address for arena in found.arenas if arena.index == index), None)


def _row(moment: Moment, item: Item) -> tuple[int, int]:
    """From where to where VMAs adjoin around one."""
    low, high = item.fields["start"], item.fields["end"]
    areas = sorted((other.fields["start"], other.fields["end"]) for other in moment.kernel.vmas)
    for start, end in areas:
        if start == high:
            high = end
    for start, end in reversed(areas):
        if end == low:
            low = start
    return low, high
