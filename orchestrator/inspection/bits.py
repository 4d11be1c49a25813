"""Bits with names: vm_flags, page-table entries, the error code of a page fault, flags of handle_mm_fault(). Pure."""

from __future__ import annotations

from collections.abc import Iterable

# include/linux/mm.h, with smaps' mnemonics (show_smap_vma_flags(), fs/proc/task_mmu.c); "" where smaps has none.
# Bit 11 was VM_DENYWRITE up to 5.14, and is VM_MAYBE_GUARD in 7.x; VM_SEALED was bit 63 at first. Bit 24 is VM_PAT on
# x86, 32 to 35 are the protection key.
VM_FLAGS = (
    (0, "read", "rd"), (1, "write", "wr"), (2, "exec", "ex"), (3, "shared", "sh"), (4, "mayread", "mr"),
    (5, "maywrite", "mw"), (6, "mayexec", "me"), (7, "mayshare", "ms"), (8, "growsdown", "gd"),
    (9, "uffd_missing", "um"), (10, "pfnmap", "pf"), (11, "denywrite/maybe_guard", ""), (12, "uffd_wp", "uw"),
    (13, "locked", "lo"), (14, "io", "io"), (15, "seq_read", "sr"), (16, "rand_read", "rr"), (17, "dontcopy", "dc"),
    (18, "dontexpand", "de"), (19, "lockonfault", ""), (20, "account", "ac"), (21, "noreserve", "nr"),
    (22, "hugetlb", "ht"), (23, "sync", "sf"), (24, "pat", "ar"), (25, "wipeonfork", "wf"), (26, "dontdump", "dd"),
    (27, "softdirty", "sd"), (28, "mixedmap", "mm"), (29, "hugepage", "hg"), (30, "nohugepage", "nh"),
    (31, "mergeable", "mg"), (32, "pkey0", ""), (33, "pkey1", ""), (34, "pkey2", ""), (35, "pkey3", ""),
    (37, "shadow_stack", ""), (40, "droppable", ""), (41, "uffd_minor", ""), (42, "sealed", ""), (63, "sealed", ""),
)  # fmt: skip
MNEMONICS = {mnemonic: bit for bit, _, mnemonic in VM_FLAGS if mnemonic}

# arch/x86/include/asm/pgtable_types.h; bit 7 is PAT in a pte, and says "leaf" above it. 9 to 11 and 58 (6.6 on) are
# the kernel's own.
_ENTRY = (
    (0, "present"), (1, "writable"), (2, "user"), (3, "write-through"), (4, "uncached"), (5, "accessed"), (6, "dirty"),
    (8, "global"), (9, "special"), (10, "uffd-wp"), (11, "soft-dirty"), (58, "saved-dirty"),
    (63, "noexec"),
)  # fmt: skip
# include/linux/swapops.h, pte_marker: uffd-wp since 5.19, poisoned (af19487f00f3), guard since 6.13 (662df3e5c376)
_MARKER, _MARKER_TYPE = ((0, "uffd-wp"), (1, "poisoned"), (2, "guard")), 31
# arch/x86/include/asm/trap_pf.h
_ERROR = ((0, "protection"), (1, "write"), (2, "user"), (3, "reserved"), (4, "instruction"), (5, "key"),
          (6, "shadow-stack"), (15, "sgx"))  # fmt: skip
# enum fault_flag, include/linux/mm_types.h (mm.h in 5.10)
_FAULT = ((0, "write"), (1, "mkwrite"), (2, "allow_retry"), (3, "retry_nowait"), (4, "killable"), (5, "tried"),
          (6, "user"), (7, "remote"), (8, "instruction"), (9, "interruptible"), (10, "unshare"),
          (11, "orig_pte_valid"), (12, "vma_lock"))  # fmt: skip
# malloc/malloc.c
_CHUNK = ((0, "prev_inuse"), (1, "is_mmapped"), (2, "non_main_arena"))


def _names(value: int, table: Iterable[tuple[int, str]]) -> list[str]:
    table = tuple(table)
    known = sum(1 << bit for bit, _ in table)
    rest = value & ~known & (1 << 64) - 1
    return [*(name for bit, name in table if value >> bit & 1), *([f"{rest:#x}"] if rest else [])]


def vm_flags(value: int) -> list[str]:
    """The names of vm_flags; what has none as one number at the end."""
    return _names(value, ((bit, name) for bit, name, _ in VM_FLAGS))


def entry(value: int, level: str, leaf: bool) -> list[str]:
    """The bits of a page-table entry that are no address. An upper one has fewer: what is ignored there is left out."""
    if not leaf:
        return _names(value & (1 << 63 | 0x3F), _ENTRY)
    table = (*_ENTRY, (7, "pat" if level == "pte" else "huge"))
    ignored = 0x000F_FFFF_FFFF_F000 | 0x3F << 52 | 0xF << 59  # address; available to software, protection key
    key = value >> 59 & 15
    return [*_names(value & ~ignored, sorted(table)), *([f"key {key}"] if key else [])]


def marker(value: int) -> list[str]:
    """What a pte marker marks; [] for an entry that is none. It is the last swap type; x86 inverts the offset, which
    begins at bit 9, and has the type above it (__swp_type(), __swp_offset(), arch/x86/include/asm/pgtable_64.h)."""
    if value & 1 or value >> 59 & 31 != _MARKER_TYPE:
        return []
    return _names(~value >> 9 & (1 << 50) - 1, _MARKER)


def error_code(value: int) -> list[str]:
    """What a page fault's error code says: without "protection" the page was not present."""
    names = _names(value, _ERROR)
    return names if value & 1 else ["not present", *names]


def fault_flags(value: int) -> list[str]:
    """The flags that handle_mm_fault() was called with."""
    return _names(value, _FAULT)


def chunk_flags(word: int) -> list[str]:
    """The low bits of a chunk's size word."""
    return _names(word & 7, _CHUNK)
