"""A run directory whose kernel objects, heap and trace fit each other: four levels of tables, four mappings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from synthetic_run import LIBC, Builder, Map, smaps

PID = 214
PROGRAM = 0x565231985000
HEAP = 0x56524D96E000
PAGE = 0x7F2713C4B000  # of a mapping with two pages
STACK = 0x7FFC7E5AA000
VMA = 0xFFFF888003C10000  # the first vm_area_struct
ARENA = 0x7F2713E21C80
PTHREAD = 0x7F2713C48740
FRAME, ZERO = 0xAD73, 0x20FB8
RW = 0x8000000000000067  # present writable user accessed dirty, not executable
READ_ZERO = 0x8000000000000225  # present user accessed special, not executable

# -- kernel objects ----------------------------------------------------------------------------------


def tables(pages: dict[int, tuple[int, int, str]]) -> list[dict[str, Any]]:
    """The tables that map ``pages``: address -> (frame, bits, kind). A table lies at a place that tells its base."""
    levels: dict[tuple[int, str, int], dict[int, tuple[int, str]]] = {(0, "pgd", 0): {}}
    for address, (frame, bits, kind) in pages.items():
        for depth, level in enumerate(("pgd", "pud", "pmd", "pte")):
            covers = 4096 << 9 * (3 - depth)
            base = address // (covers << 9) * (covers << 9) if depth else 0
            below = address // covers * covers
            value = (frame << 12 | bits, kind) if level == "pte" else (_phys(depth + 1, below) | 0x67, "-")
            levels.setdefault((depth, level, base), {})[address // covers % 512] = value
    found = []
    for (depth, level, base), entries in sorted(levels.items()):
        record = {"is": "table", "level": level, "phys": _phys(depth, base), "base": base,
                  "entries": [[index, value] for index, (value, _) in sorted(entries.items())]}  # fmt: skip
        found.append({**record, "kinds": "".join(kind for _, (_, kind) in sorted(entries.items()))})
    return found


def _phys(depth: int, base: int) -> int:
    return 0x3000000 + depth * 0x100000 + (base >> 12 + 9 * (4 - depth)) % 251 * 4096


def table_frame(level: str, address: int) -> int:
    """The frame of the table that maps an address."""
    depth = ("pgd", "pud", "pmd", "pte").index(level)
    covers = 4096 << 9 * (4 - depth)
    return _phys(depth, address // covers * covers) >> 12


def vma(number: int, start: int, end: int, flags: int, file: str | None = None, name: str = "",
        anon_vma: int = 0) -> dict[str, Any]:
    return {"is": "vma", "address": VMA + number * 0xC0, "start": start, "end": end, "flags": flags,
            "pgoff": 0 if file else start >> 12, "file": file, "ino": 131 if file else 0, "dev": 2 if file else 0,
            "anon_vma": anon_vma, "name": file or name}  # fmt: skip


def kernel(pages: dict[int, tuple[int, int, str]], frames: list[list[Any]], anon: int = 0) -> list[dict[str, Any]]:
    """The records of one kernel/PID.jsonl. ``anon``: the anon_vma of the mapping that the program looks at."""
    areas = [
        vma(0, PROGRAM, PROGRAM + 0x5000, 0x8000075, "/case/program"),
        vma(1, HEAP, HEAP + 0x21000, 0x8100073, name="[heap]", anon_vma=0xFFFF888003D20000),
        vma(2, PAGE, PAGE + 0x2000, 0x8100073, anon_vma=anon),
        vma(3, STACK - 0x21000, STACK, 0x8100173, name="[stack]", anon_vma=0xFFFF888003D20068),
    ]
    task = {"is": "task", "tid": PID, "tgid": PID, "comm": "program", "address": 0xFFFF888003A00000,
            "mm": 0xFFFF888003B00000, "files": 0xFFFF888003B10000, "fs": 0xFFFF888003B20000,
            "signal": 0xFFFF888003B30000, "sighand": 0xFFFF888003B40000, "fsbase": PTHREAD, "state": "t"}  # fmt: skip
    made = tables(pages)
    kinds = [kind for _, _, kind in pages.values()]
    mm = {"is": "mm", "address": 0xFFFF888003B00000, "users": 1, "count": 1, "pgd": 0xFFFF888003000000,
          "start_code": PROGRAM, "end_code": PROGRAM + 0x4000, "start_data": PROGRAM + 0x4000,
          "end_data": PROGRAM + 0x4F00, "start_brk": HEAP, "brk": HEAP + 0x21000, "start_stack": STACK - 0x600,
          "arg_start": STACK - 0x400, "arg_end": STACK - 0x3F0, "env_start": STACK - 0x3F0, "env_end": STACK - 0x300,
          "mmap_base": 0x7F2713E80000,
          "task_size": 0x7FFFFFFFF000, "total_vm": 0x5 + 0x21 + 2 + 0x21, "data_vm": 0x23,
          "exec_vm": 5, "stack_vm": 0x21, "locked_vm": 0, "map_count": 4, "def_flags": 0,
          "pgtables_bytes": 4096 * sum(t["level"] != "pgd" for t in made), "vdso": 0, "rss_file": 0,
          "rss_anon": kinds.count("a"), "rss_swap": 0, "rss_shmem": kinds.count("s"),
          "exe": "/case/program"}  # fmt: skip
    header = {"is": "format", "name": "kernel-objects", "version": 1, "release": "6.1.0-50-cloud-amd64",
              "build_id": "ab" * 20, "pid": PID, "levels": 4, "page_size": 4096}  # fmt: skip
    return [header, task, mm, *areas, *made, {"is": "frames", "rows": frames}]


# -- the heap ----------------------------------------------------------------------------------------


def heap(states: str, cached: list[int]) -> list[dict[str, Any]]:
    """The records of one heap/PID.jsonl: four chunks and the top; ``cached`` are in the thread's cache."""
    sizes = [0x291, 0x31, 0x31, 0x411, 0x21000 - 0x290 - 0x30 * 2 - 0x410 | 1]
    records: list[dict[str, Any]] = [
        {"is": "format", "name": "ptmalloc", "version": 1, "pid": PID, "glibc": "2.36", "libc": LIBC,
         "base": 0x7F2713C4E000, "build_id": "cd" * 20, "safe_linking": True},
        {"is": "mp", "sbrk_base": HEAP, "mmap_threshold": 131072, "n_mmaps": 0, "tcache_bins": 64},
        {"is": "arena", "address": ARENA, "index": 0, "main": True, "top": HEAP + 0x700, "last_remainder": 0,
         "next": ARENA, "system_mem": 0x21000, "max_system_mem": 0x21000, "binmap": [0, 0, 0, 0], "broken": None},
        {"is": "heap", "arena": ARENA, "info": 0, "start": HEAP, "end": HEAP + 0x21000,
         "reserved_end": HEAP + 0x21000, "first": HEAP, "chunks": 5, "guessed": False, "tail": "top", "broken": None},
        {"is": "chunks", "first": HEAP, "sizes": sizes, "states": states},
    ]  # fmt: skip
    if cached:
        records.append({"is": "tcache", "tid": PID, "address": HEAP + 0x10, "index": 1, "size": 0x30, "largest": 0x30,
                        "count": len(cached), "from": 0, "chunks": cached, "length": len(cached), "broken": None})
    records += [
        {"is": "thread", "tid": PID, "pthread": PTHREAD, "pthread_tid": PID, "arena": ARENA, "tcache": HEAP + 0x10,
         "tcache_state": "live", "stackblock": 0, "cached": False, "broken": None},
        {"is": "check", "what": "sizes", "ok": True, "detail": "all are whole", "glibc": "", "arena": 0, "at": 0},
    ]  # fmt: skip
    return records


# -- the trace ---------------------------------------------------------------------------------------

TRACE = f"""# tracer: nop
         program-214     [000] ...1.     3.729018: tracing_mark_write: lab: begin touch
         program-214     [000] d....     3.729043: page_fault_user: address={PAGE + 0x10:#x} ip={PROGRAM + 0x1164:#x} error_code=0x6
         program-214     [000] .l.1.     3.729387: lab_fault: (handle_mm_fault+0x4/0x300) vma={VMA + 2 * 0xC0:#x} address={PAGE + 0x10:#x} flags=0x1255 vma_start={PAGE:#x} vma_end={PAGE + 0x2000:#x}
         program-214     [000] .l...     3.729692: mm_page_alloc: page=0000000012f32b73 pfn={table_frame("pte", PAGE):#x} order=0 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO
         program-214     [000] .l...     3.729786: <stack trace>
 => __alloc_pages
 => pte_alloc_one
 => __pte_alloc
 => do_anonymous_page
 => __handle_mm_fault
 => handle_mm_fault
 => do_user_addr_fault
 => exc_page_fault
 => asm_exc_page_fault
         program-214     [000] .l...     3.729858: mm_page_alloc: page=00000000538ed67c pfn={FRAME:#x} order=0 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO
         program-214     [000] .l...     3.729865: <stack trace>
 => __alloc_pages
 => do_anonymous_page
 => __handle_mm_fault
 => handle_mm_fault
 => do_user_addr_fault
 => exc_page_fault
 => asm_exc_page_fault
         program-214     [000] ...1.     3.730714: tracing_mark_write: lab: end touch
"""  # noqa: E501

# -- a run -------------------------------------------------------------------------------------------


def write(run: Builder, name: str, part: str, records: list[dict[str, Any]], pid: int = PID) -> None:
    """One evidence file of the last checkpoint, with its end."""
    folder = run.record.checkpoints[-1].directory
    assert folder.endswith(name)
    records = [*records, {"is": "end", "lines": len(records) + 1}]
    text = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    run.directory.write(f"{folder}/{part}/{pid}.jsonl", text.encode())


def checkpoint(run: Builder, name: str, notes: str, page_rss: int) -> None:
    """A checkpoint with the four mappings only, as smaps shows them."""
    run.at(name, notes=notes)
    folder = run.record.checkpoints[-1].directory
    maps = (Map(PROGRAM, 20, "r-xp", "/case/program", 4, 0, 131), Map(HEAP, 132, "rw-p", "[heap]", 4),
            Map(PAGE, 8, "rw-p", "", page_rss), Map(STACK - 132 * 1024, 132, "rw-p", "[stack]", 4))  # fmt: skip
    text = smaps(*maps).replace("VmFlags: rd wr mr mw me ac \n", "VmFlags: rd wr mr mw me ac sd \n")
    text = text.replace("VmFlags: rd wr mr mw me ac sd \n", "VmFlags: rd ex mr mw me sd \n", 1)
    stack = text.rpartition("VmFlags:")
    text = stack[0] + "VmFlags: rd wr mr mw me gd ac sd \n"
    run.directory.write(f"{folder}/proc/{PID}/smaps", text.encode())


def made(path: Path) -> Builder:
    """Three checkpoints: the page was only read, then written in a traced window, then a block was freed."""
    run = Builder(path)
    base = {PROGRAM: (0x31A0, 0x25, "s"), HEAP: (0x4A10, RW, "a"), STACK - 0x1000: (0x4A11, RW, "a")}
    rows = [[0x4A10, "a", 1, 1, 0x17FFFFC00A0014], [0x4A11, "a", 1, 1, 0x17FFFFC00A0014], [0x31A0, "s", 3, 2, 0]]
    zero = [[ZERO, "z", 1, 0, 0x17FFFFC0002000], *rows]
    mine = [[FRAME, "a", 1, 1, 0x17FFFFC00A0014], *rows]
    notes = f"page={PAGE:#x}\nblock={HEAP + 0x2A0:#x}\nwords=hello\n"
    block = HEAP + 0x290
    checkpoint(run, "start", notes, 0)
    write(run, "start", "kernel", kernel({**base, PAGE: (ZERO, READ_ZERO, "z")}, zero))
    write(run, "start", "heap", heap("uuuuT", []))
    checkpoint(run, "touched", "", 4)
    write(run, "touched", "kernel", kernel({**base, PAGE: (FRAME, RW, "a")}, mine, 0xFFFF888003D20070))
    write(run, "touched", "heap", heap("uuuuT", []))
    folder = run.record.checkpoints[-1].directory
    run.directory.write(f"{folder}/trace/events", TRACE.encode())
    run.directory.write(f"{folder}/trace/stats", b"cpu0 entries=6 overrun=0 commit_overrun=0 dropped=0\n")
    checkpoint(run, "freed", "", 4)
    write(run, "freed", "kernel", kernel({**base, PAGE: (FRAME, RW, "a")}, mine, 0xFFFF888003D20070))
    write(run, "freed", "heap", heap("utuuT", [block]))
    run.at("exit", kind="exit")
    run.directory.save(run.record)
    return run
