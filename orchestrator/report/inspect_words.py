"""What each kind of fact of `lab inspect` says, in words. Pure. Texts of a guest come out cleaned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.inspection.facts import Fact
from orchestrator.report.text import clean, plural, seconds, size

Values = Mapping[str, Any]
_NAMED = {"note": "note {}", "symbol": "{} of the program", "mm": "{} of the mm_struct", "glibc": "glibc's {}",
          "stack": "stack of thread {}", "vma": "{}"}  # fmt: skip
_TIES = {"frame": "took the frame that the page has now", "page": "the last one on this page",
         "earlier": "the last one at this address, for another VMA object",
         "around": "near this page: it maps what the page cache has around it (do_fault_around())"}  # fmt: skip
_KINDS = {"anon": "anonymous memory", "file": "a file's page", "shmem": "shared memory (tmpfs)",
          "zero": "the zero page", "ksm": "merged by KSM", "other": "no memory of a process or file"}  # fmt: skip


def words(fact: Fact) -> list[str]:
    """A fact in one or more lines; without values: that it is not there."""
    if not fact.values:
        return ["none"]
    say = _WORDS.get(fact.topic)
    return [line for line in say(fact.values) if line] if say else [f"{key} {_any(value)}"
                                                                    for key, value in fact.values.items()]  # fmt: skip


def hexadecimal(value: object) -> str:
    """An address or an entry; "?" for what is no number."""
    return f"{value:#x}" if isinstance(value, int) else "?"


def _any(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 0xFFFFF:
        return f"{value:#x}"
    return clean(str(value), 80)


def _bits(names: object) -> str:
    return " ".join(clean(str(name), 40) for name in names) if isinstance(names, list) else ""


def _name(v: Values) -> list[str]:
    kind = str(v["kind"])
    text = _NAMED.get(kind, "{}").format(clean(str(v["name"]), 120))
    if v.get("offset"):
        text += f" + {v['offset']:#x}"
    return [text + (f", reported at {clean(str(v['at']), 64)}" if "at" in v else "")]


def _chunk(v: Values) -> list[str]:
    offset = v["offset"]
    place = "what malloc returned" if offset == 0 else \
        f"{offset} bytes into the block" if offset > 0 else f"in its header, {-offset} bytes before the block"
    return [f"{v['address']:#x}, {v['size']} bytes, {v['means']}",
            f"size word {v['word']:#x}{': ' + _bits(v['flags']) if v['flags'] else ''}",
            f"block {v['memory']:#x}, {v['usable']} bytes usable; the address is {place}"]  # fmt: skip


def _bin(v: Values) -> list[str]:
    place = f"number {v['position'] + 1} of {v['length']} in it" if v["length"] > 1 else "the only one in it"
    if v["list"] == "tcache":
        return [f"tcache of thread {v['thread']}, list {v['index']} ({_range(v)}): {place}"]
    return [f"{v['list']} {'bin' if v['list'] != 'fastbin' else ''} {v['index']}: {place}".replace("  ", " ")]


def _range(v: Values) -> str:
    low, high = v["size"], v.get("largest", v["size"])
    return f"chunks of {low} bytes" if low == high else f"chunks of {low} to {high} bytes"


def _arena(v: Values) -> list[str]:
    name = "main_arena" if v["main"] else f"arena-{v['index']}"
    threads = v["threads"]
    used = f", used by {'threads' if len(threads) > 1 else 'thread'} {_some(threads)}" if threads else ", used by none"
    heap = f"heap {v['start']:#x} to {v['end']:#x}, {plural(v['chunks'], 'chunk')}, top {v['top']:#x}" \
        if "start" in v else ""
    return [f"{name} {v['address']:#x}{used}", heap]


def _some(items: list[object], limit: int = 12) -> str:
    shown = ", ".join(map(str, items[:limit]))
    return shown + (f" and {len(items) - limit} more" if len(items) > limit else "")


def _vma(v: Values) -> list[str]:
    if v.get("start") is None:
        sides = [f"the mapping below ends at {v['below']:#x}" if v.get("below") is not None else "",
                 f"the next one starts at {v['above']:#x}" if v.get("above") is not None else ""]  # fmt: skip
        return ["none: nothing is mapped there", *filter(None, sides)]
    name = clean(str(v["name"]), 120)
    whole = size(v["end"] - v["start"])
    lines = [f"{v['start']:#x} to {v['end']:#x}, {v['perms']}, {whole}{', ' + name if name else ''}",
             f"vm_area_struct {v['address']:#x}, vm_flags {v['flags']:#x}:", f"  {_bits(v['names'])}"]  # fmt: skip
    if v["file"] is not None:
        lines.append(f"file {clean(str(v['file']), 200)}, offset {v['offset']:#x}, inode {v['ino']}")
    else:
        lines.append(f"no file; pgoff {v['pgoff']:#x}")
    none = "no anon_vma: no anonymous page was made in it yet"
    return [*lines, f"anon_vma {v['anon_vma']:#x}" if v["anon_vma"] else none]


def _level(v: Values) -> list[str]:
    head = f"[{v['index']}] {v['entry']:#x}"
    if not v["present"]:
        return [f"{head}: not present: {'empty' if not v['entry'] else 'swapped, migrating or a marker'}"]
    if "table" in v:
        return [f"{head} -> table {v['table']:#x}: {_bits(v['bits'])}"]
    leaf = "" if v["size"] == 4096 else f", {size(v['size'])} at once"
    return [f"{head} -> frame {hexadecimal(v['frame'])}{leaf}:", f"  {_bits(v['bits'])}"]


def _frame(v: Values) -> list[str]:
    head = f"{v['frame']:#x} (physical {v['frame'] << 12:#x}): {_KINDS.get(str(v['kind']), clean(str(v['kind'])))}"
    if "mapcount" not in v:
        return [head, "its struct page was not kept: only so many are"]
    return [head, f"mapped by {plural(v['mapcount'], 'page-table entry', 'page-table entries')}, "
            f"{plural(v['refcount'], 'reference')}, flags {v['flags'] & (1 << 64) - 1:#x}"]  # fmt: skip


def _when(v: Values) -> str:
    tie = _TIES.get(v["tie"], "")
    return f"window {clean(str(v['window']), 64)}, thread {v['thread']}, {v['seconds']:.6f} s: {tie}"


def _fault(v: Values) -> list[str]:
    by = f"by the instruction at {hexadecimal(v['ip'])}"
    if v.get("symbol"):
        by += f" ({clean(str(v['symbol']), 80)}+{v['symbol_offset']:#x})"
    return [_when(v), f"page_fault_user at {hexadecimal(v['address'])}, error code {hexadecimal(v['code'])}: "
            f"{_joined(v['bits'])}", by]  # fmt: skip


def _joined(names: object) -> str:
    return ", ".join(clean(str(name), 40) for name in names) if isinstance(names, list) else ""


def _handled(v: Values) -> list[str]:
    vma, address, flags = (hexadecimal(v[name]) for name in ("vma", "address", "flags"))
    first = [_when(v), "taken by the kernel itself, not by an instruction of the program"] if v["by_kernel"] else []
    return [*first, f"handle_mm_fault(vma {vma}, {address}, flags {flags})",
            f"  {_bits(v['bits'])}",
            f"its VMA was {hexadecimal(v['vma_start'])} to {hexadecimal(v['vma_end'])}"]  # fmt: skip


def _allocation(v: Values) -> list[str]:
    roles = {"frame": "this page's frame", "": "not on the way to this page"}
    role = roles.get(v["is"], f"the {v['is']} table on the way")
    order = v["order"]
    pages = f", {1 << order} pages at once" if isinstance(order, int) and 0 < order < 32 else ""
    return [f"pfn {hexadecimal(v['pfn'])}: {role}{pages}; {clean(str(v['gfp']), 200)}",
            " > ".join(clean(str(name), 64) for name in v["chain"])]  # fmt: skip


def _thread(v: Values) -> list[str]:
    who = f"{v['tid']} {clean(str(v['comm']), 32)}, state {clean(str(v['state']), 8)}"
    lines = [f"{who}, task_struct {v['address']:#x}",
             ", ".join(f"{name} {v[name]:#x}" for name in ("mm", "files", "fs")),
             ", ".join(f"{name} {v[name]:#x}" for name in ("signal", "sighand", "fsbase"))]  # fmt: skip
    if "pthread" in v:
        lines.append(f"pthread {v['pthread']:#x}, arena {v['arena']:#x}, tcache {v['tcache']:#x} ({v['tcache_state']})")
    if v.get("stackblock"):
        lines.append(f"stack {v['stackblock']:#x}, {size(v['stackblock_size'])}, guard {size(v.get('guardsize', 0))}")
    return lines


def _checkpoint(v: Values) -> list[str]:
    parts = [f"{part} of {_some(v[part])}" for part in ("kernel", "heap") if v[part]]
    return [f"{clean(str(v['at']), 64)}, {clean(str(v['kind']), 16)}, {seconds(v['seconds'])}: "
            f"{', '.join(parts) or 'not looked inside'}"]  # fmt: skip


def _named(v: Values) -> list[str]:
    at = f", at {clean(str(v['at']), 64)}" if "at" in v else ""
    return [f"{v['address']:#x}  {clean(str(v['name']), 100)}{at}"]


_WORDS: Mapping[str, Callable[[Values], list[str]]] = {
    "name": _name, "chunk": _chunk, "bin": _bin, "arena": _arena, "vma": _vma, "frame": _frame, "fault": _fault,
    "handled": _handled, "allocation": _allocation, "thread": _thread, "checkpoint": _checkpoint, "named": _named,
    **dict.fromkeys(("pgd", "p4d", "pud", "pmd", "pte"), _level),
}  # fmt: skip
