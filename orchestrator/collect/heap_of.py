"""From a process's kernel objects to its heap: its mappings, threads and memory, and its libc's layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.collect import ptmalloc
from orchestrator.collect.objects import KernelObjects
from orchestrator.collect.ptmalloc import records
from orchestrator.collect.ptmalloc.process import Broken
from orchestrator.collect.ptmalloc.snapshot import Snapshot
from orchestrator.collect.user_memory import Physical, UserMemory
from orchestrator.symbols import DebugFile, open_libc


def layout(files: Mapping[str, DebugFile], glibc: str, cache: Path) -> ptmalloc.Layout:
    """Where this glibc keeps what, from the debug files of libc, ld and libpthread. Raises PieceError."""
    import drgn

    opened = open_libc(files, cache)
    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    opened.attach(program, {name: number << 32 for number, name in enumerate(files)})  # apart; only types are asked for

    def symbol(library: str, name: str) -> tuple[int, int] | None:
        place = opened.places(name).get(library)
        return (place.address, place.size) if place else None

    return ptmalloc.derive(program, symbol, glibc, files["libc"].build_id)


def lines(found: KernelObjects, layout: ptmalloc.Layout, memory: Physical, seconds: float) -> Iterator[bytes]:
    """The lines of ``heap/PID.jsonl`` for the process that ``found`` has; a heap is not read through page tables that
    are not whole."""
    for part in ("task", "tasks", "mm", "vmas", "tables"):
        if part in found.broken:
            why = f"the kernel's objects are not whole: {part}: {found.broken[part]}"
            nothing = Snapshot(trouble=[Broken("heap", why)])
            header = {"pid": found.header["pid"], "glibc": layout.version, "libc": "", "base": 0,
                      "build_id": layout.build_id, "safe_linking": False}  # fmt: skip
            yield from (line.encode() + b"\n" for line in records.lines(header, nothing, []))
            return
    mappings = [ptmalloc.Mapping(v["start"], v["end"], v["flags"], v["pgoff"], v["file"] or "")
                for v in (item.fields for item in found.vmas)]  # fmt: skip
    threads = [ptmalloc.Thread(item.fields["tid"], item.fields["fsbase"]) for item in found.tasks]
    areas = [(mapping.start, mapping.end, bool(mapping.file)) for mapping in mappings]
    reader = UserMemory(memory, found.tables.values(), areas)
    process = ptmalloc.Process(found.header["pid"], mappings, threads)
    for line in ptmalloc.collect(process, layout, reader, seconds):
        yield line.encode() + b"\n"
