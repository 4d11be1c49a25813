"""Open the symbols of a kernel or of a libc, and attach them to a drgn Program.

Open them before the guest is paused: the first time for a build-id takes a second. Attaching costs milliseconds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import progress
from orchestrator.errors import LabError, PieceError
from orchestrator.symbols import roots
from orchestrator.symbols.elf import identify
from orchestrator.symbols.index import Index, Place
from orchestrator.symbols.shelf import Shelf

if TYPE_CHECKING:  # drgn is loaded by who uses it: it takes 50 ms
    from drgn import Program


@dataclass(frozen=True)
class DebugFile:
    """A file with debugging information: a vmlinux, or what a -dbg package has for a library."""

    path: Path
    build_id: str  # hexadecimal


@dataclass(frozen=True)
class Opened:
    """One file and its index."""

    file: DebugFile
    index: Index
    shelf: Shelf


@dataclass(frozen=True)
class KernelSymbols:
    """A kernel's types, variables and constants."""

    opened: Opened

    def attach(self, program: Program) -> None:
        """Gives them to a Program that is set to a running kernel (``set_linux_kernel_custom``). Raises LabError if
        that is another kernel."""
        from drgn.helpers.linux.boot import kaslr_offset

        from orchestrator.symbols.finders import Loaded, register

        bias = kaslr_offset(program)  # of VMCOREINFO, KERNELOFFSET
        register(program, "lab kernel", [Loaded(self.opened.index, bias)], _missed(program, [self.opened]))
        self._compare(program)
        if self.opened.file.path.exists():  # for symbols, and for what the index does not know
            program.main_module("kernel", create=True).try_file(self.opened.file.path, force=True)

    def _compare(self, program: Program) -> None:
        """The kernel's own name in memory is this kernel's: so it is the same build, and it lies where we think."""
        expected = self.opened.index.banner
        if not expected:
            return
        from drgn import FaultError

        try:
            found = program["linux_banner"].address_of_().value_()
            text = program.read(found, len(expected.encode()))
        except FaultError as error:
            raise LabError(f"the guest's kernel can't be read: {error}", _OTHER_KERNEL) from error
        if text != expected.encode():
            raise LabError(f"the guest runs another kernel: {_shown(text)} instead of {expected!r}", _OTHER_KERNEL)


@dataclass(frozen=True)
class LibcSymbols:
    """The types and objects of a libc's files, by the names that they were opened with ("libc", "ld" …)."""

    opened: Mapping[str, Opened]

    def attach(self, program: Program, bases: Mapping[str, int]) -> None:
        """Gives them to a Program of one process. ``bases``: where each file that the process has is loaded, i.e.
        the start of its mapping of file offset 0."""
        from drgn import Language

        from orchestrator.symbols.finders import Loaded, register

        program.language = Language.C  # else drgn looks for it in all of the debugging information
        there = {name: one for name, one in self.opened.items() if name in bases}
        loaded = [Loaded(one.index, bases[name]) for name, one in there.items()]
        register(program, "lab libc", loaded, _missed(program, list(there.values())))
        for name, one in there.items():
            if one.file.path.exists():
                module = program.extra_module(name, create=True)
                module.address_range = (one.index.start + bases[name], one.index.end + bases[name])
                module.try_file(one.file.path, force=True)

    def places(self, name: str) -> Mapping[str, Place]:
        """Where the symbol tables have a root object, by file: an offset from its base, or in its thread-local
        block. Of static ones of the same name in one file, the first."""
        found = {part: one.index.places.get(name, ()) for part, one in self.opened.items()}
        return {part: places[0] for part, places in found.items() if places}


def open_kernel(vmlinux: Path, build_id: str, cache: Path) -> KernelSymbols:
    """A kernel's symbols, from the index in the cache; else from its vmlinux, which is indexed."""
    return KernelSymbols(_opened(DebugFile(vmlinux, build_id), vmlinux.name, roots.KERNEL, cache))


def open_libc(files: Mapping[str, DebugFile], cache: Path) -> LibcSymbols:
    """The symbols of a userland's libc, ld.so and, before glibc 2.34, libpthread."""
    return LibcSymbols({name: _opened(file, name, roots.LIBC, cache) for name, file in files.items()})


def without_plugins() -> None:
    """Spares drgn the search for plugins of other packages (70 ms when a Program is set to a kernel)."""
    os.environ.setdefault("DRGN_DISABLE_PLUGINS", "*")


def _opened(file: DebugFile, name: str, wanted: frozenset[str], cache: Path) -> Opened:
    shelf = Shelf(cache)
    build = _builder(file) if file.path.exists() else None
    index = shelf.get(file.build_id, name, wanted, build)
    if index is None:
        raise PieceError(f"there is neither an index of {name} nor its debugging information {file.path}", "Fetch it.")
    return Opened(file, index, shelf)


def _builder(file: DebugFile) -> Callable[[frozenset[str]], Index]:
    def build(wanted: frozenset[str]) -> Index:
        found = identify(file.path).build_id
        if found != file.build_id:
            raise PieceError(f"{file.path} has build-id {found or '(none)'}, not {file.build_id}")
        from orchestrator.symbols import walk

        return walk.build(file.path, wanted)

    return build


def _missed(program: Program, opened: Sequence[Opened]) -> Callable[[Sequence[str]], None]:
    """What is done when a name is in no index: it is remembered, and drgn goes on with the debugging information,
    which it reads as a whole at the first time."""
    from orchestrator.symbols.finders import search_dwarf

    names = ", ".join(one.file.path.name for one in opened)
    loading = loaded = False

    def missed(keys: Sequence[str]) -> None:
        nonlocal loading, loaded
        if loading:
            return  # our own, below
        for one in opened:
            one.shelf.miss(one.file.build_id, keys)
        if not loaded:
            loading = loaded = True
            search_dwarf(program)
            with progress.step(f"{keys[0]} is not indexed: reading all of {names}"), contextlib.suppress(LookupError):
                program.function("")
            loading = False

    return missed


def _shown(text: bytes) -> str:
    return repr(text.decode(errors="replace"))


_OTHER_KERNEL = "Take the symbols of the very kernel that the guest runs."
