"""``vm_area_struct``: the mappings of an address space, as the kernel keeps them."""

from __future__ import annotations

from collections.abc import Iterator

import drgn
from drgn.helpers.linux.fs import d_path
from drgn.helpers.linux.mm import for_each_vma, vma_name

from orchestrator.collect.kernel.layout import has_member, layout
from orchestrator.collect.kernel.tasks import Record

# vm_flags is a union of constant views since 6.3 (bc292ab00f6c), flags a bitmap since 6.18; the bytes are the same
_FLAGS = ("vm_flags", "flags")


def records(mm: drgn.Object) -> Iterator[Record]:
    """One record for each VMA, in the order of addresses: a maple tree since 6.1 (763ecb035029), a list before."""
    program = mm.prog_
    flags = next(name for name in _FLAGS if has_member(program, "struct vm_area_struct", name))
    shape = layout(program, "struct vm_area_struct", "vm_start", "vm_end", flags, "vm_pgoff", "vm_file", "anon_vma",
                   "vm_ops", *_anon_name(program))  # fmt: skip
    edges = layout(program, "struct mm_struct", "start_brk", "brk", "start_stack").read(program, mm.value_())
    files: dict[int, Record] = {0: {"file": None, "ino": 0, "dev": 0}}
    for vma in for_each_vma(mm):
        values = shape.read(program, vma.value_())
        file = files.get(values["vm_file"])
        if file is None:
            file = files[values["vm_file"]] = _file(vma.vm_file.read_())
        yield {
            "is": "vma", "address": vma.value_(), "start": values["vm_start"], "end": values["vm_end"],
            "flags": values[flags], "pgoff": values["vm_pgoff"], **file, "anon_vma": values["anon_vma"],
            "name": _name(vma, values, file, edges),
        }  # fmt: skip


def _anon_name(program: drgn.Program) -> tuple[str, ...]:
    """Where a kernel keeps names of anonymous memory: since 5.17 (9a10064f5625), with CONFIG_ANON_VMA_NAME."""
    return ("anon_name",) if has_member(program, "struct vm_area_struct", "anon_name") else ()


def _name(vma: drgn.Object, values: dict[str, int], file: Record, edges: dict[str, int]) -> object:
    """As /proc/PID/maps has it (show_map_vma(), fs/proc/task_mmu.c). Plain anonymous memory is told from numbers
    that are there already: there may be very many of them."""
    if values["vm_file"]:
        return str(file["file"]).replace("\n", "\\012")  # seq_file_path(m, file, "\n")
    if values["vm_ops"] or values.get("anon_name"):
        return vma_name(vma).decode("utf-8", "replace")
    if values["vm_start"] <= edges["brk"] and values["vm_end"] >= edges["start_brk"]:
        return "[heap]"
    return "[stack]" if values["vm_start"] <= edges["start_stack"] <= values["vm_end"] else ""


def _file(file: drgn.Object) -> Record:
    """Path, inode number and device (as /proc/PID/maps writes it: major << 20 | minor) of a ``struct file *``."""
    inode = file.f_inode
    return {"file": path(file).decode("utf-8", "replace"), "ino": inode.i_ino.value_(),
            "dev": inode.i_sb.s_dev.value_()}  # fmt: skip


def path(file: drgn.Object) -> bytes:
    """A ``struct file *``'s path as the kernel shows it (d_path(), fs/d_path.c): what has no name any more is
    "(deleted)", and so is what never had one: shared anonymous memory, memfd, System V (simple_dname())."""
    dentry = file.f_path.dentry.read_()
    operations = dentry.d_op.read_()
    if operations and operations.d_dname:
        return b"/" + bytes(dentry.d_name.name.string_()) + b" (deleted)"
    gone = not dentry.d_hash.pprev and dentry != dentry.d_parent.read_()  # d_unlinked(), include/linux/dcache.h
    return bytes(d_path(file.f_path)) + (b" (deleted)" if gone else b"")
