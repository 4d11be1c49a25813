"""What is left out of the digest, and why: the one table. The code that leaves something out reads its fields here, a
run's record lists what was left out of it, and docs/digest.md is compared with it. Pure.

Each line was measured: repeats of the scenarios, booted and from a saved state, differ in it and in nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class Rule:
    """One thing that is left out. ``fields``: which fields, by their names in their file. ``operands``: the operands of
    findings that show the same thing; their values are left out, never the outcome."""

    what: str
    why: str
    source: str
    fields: frozenset[str] = frozenset()
    operands: re.Pattern[str] = _NOTHING

    def without(self, values: Mapping[str, T]) -> dict[str, T]:
        """The values without its fields."""
        return {name: value for name, value in values.items() if name not in self.fields}


def _rule(what: str, why: str, source: str, fields: str = "", operands: str = "(?!)") -> Rule:
    return Rule(what, why, source, frozenset(fields.split()), re.compile(operands))


ADDRESSES = _rule(
    "addresses",
    "ASLR draws the places of the program, its heap, mmap's area, the vdso and the stack anew in each run. An address "
    "is given relative to its mapping; where in the stack, where in code, and where outside all mappings is not given.",
    "arch_mmap_rnd(), arch/x86/mm/mmap.c; load_elf_binary() and create_elf_tables(), fs/binfmt_elf.c",
    "address start end mmap_base task_size",
)
KERNEL_ADDRESSES = _rule(
    "kernel addresses",
    "KASLR and the slab allocator decide where an object of the kernel lies.",
    "kernel_randomize_memory(), arch/x86/mm/kaslr.c; mm/slub.c",
    "address mm files fs signal sighand pgd anon_vma",
    r"\.(?:address|anon_vma|pgd|files|fs|mm|signal|sighand)\b(?!\()",
)
PLACES = _rule(
    "order, number and distances of mappings, from the first large one on",
    "Since 6.7 mmap aligns an anonymous mapping of 2 MiB or more, malloc aligns the heaps of arenas to 64 MiB, and "
    "programs cut what they reserve at such boundaries: the gap before it is random, and later mappings may fall into "
    "it. Of reserved memory (---p) the sum is given; of what a window of the trace has several times in a row, that it "
    "has it; and not the calls that make and cut heaps of arenas.",
    "__thp_get_unmapped_area(), mm/huge_memory.c, efa7df3e3bb5 (6.7); new_heap(), malloc/arena.c (glibc)",
    "map_count",
    r"\bvmas\(|\bvm_areas\(|\.thpeligible\b|\bmap_count\b|\b(?:hits|syscalls)\(",
)
IDS = _rule(
    "ids of processes and threads",
    "They go on from those of what ran before in the guest. A process is given by its place among those of the run.",
    "alloc_pid(), kernel/pid.c",
    "Pid Tgid PPid Ngid NStgid NSpid NSpgid NSsid TracerPid pid ppid pgrp session tgid tid pthread_tid joinid",
    r"\b(?:tid|pid|tgid|ppid|Pid|Tgid|PPid)\b(?!=)",
)
TIMES = _rule(
    "times",
    "They are those of the host and of what else runs on it; with them how often a task was interrupted, and in which "
    "state a running one was found.",
    "do_task_stat(), fs/proc/array.c",
    "utime stime cutime cstime starttime delayacct_blkio_ticks guest_time cguest_time voluntary_ctxt_switches "
    "nonvoluntary_ctxt_switches State state processor kstkesp kstkeip wchan flags",
)
FILES = _rule(
    "file pages in memory",
    "A fault on a page of a file maps those around it that are in the page cache, up to the end of the page table: how "
    "many that is depends on the address. Of a file's mapping the private copies (Anonymous) are given.",
    "do_fault_around(), mm/memory.c",
    "Rss Pss Pss_Dirty Pss_Anon Pss_File Pss_Shmem Shared_Clean Shared_Dirty Private_Clean Private_Dirty Referenced",
    r"\b(?:handled|faults|events|hits)\(|[\"'](?:Rss\w*|Pss\w*|(?:Shared|Private)_\w+|Referenced)[\"']|\.(?:pss\w*|(?:shared|private)_\w+|referenced)\b"
    r"|(?<!\[heap\]\"\))(?<!\[heap\]'\))\.rss\b",
)
STACK = _rule(
    "pages of the main stack in memory",
    "Its top is random by up to 8 KiB, and so is in which page its strings, frames and auxiliary vector lie.",
    "arch_align_stack(), arch/x86/kernel/process.c",
)
HUGE = _rule(
    "pages in memory of anonymous mappings of 2 MiB or more",
    "Whether a fault takes a huge page depends on whether the 2 MiB around it lie in the mapping.",
    "thp_vma_suitable_order(), include/linux/huge_mm.h",
)
SUMS = _rule(
    "sums that contain pages of files and of the stack, and their faults",
    "What is left out of the parts is not in the sum: resident sizes, their peaks, and minor faults of the whole "
    "process. The faults in a window of the trace are given, and those that a program counts itself.",
    "task_mem(), fs/proc/task_mmu.c; do_task_stat(), fs/proc/array.c",
    "VmHWM VmRSS RssAnon RssFile RssShmem rss minflt cminflt rss_anon rss_file rss_shmem VmPeak",
    r"\b(?:VmHWM|VmRSS|Rss(?:Anon|File|Shmem)|VmPeak|minflt|cminflt|rss_anon|rss_file|rss_shmem)\b|\brollup\("
    r"|\bpages\(|\bstat\([\"']rss[\"']",
)
TABLES = _rule(
    "page tables and the frames behind them",
    "How many tables an address space needs depends on where its mappings lie. Which frame a page gets is what the "
    "allocator had free. Which pages are there and of what kind is given, of memory that is no file's and not the "
    "main stack.",
    "mm_pgtables_bytes(), include/linux/mm.h; mm/page_alloc.c",
    "VmPTE pgtables_bytes",
    r"\btables\(|\bVmPTE\b|\bpgtables_bytes\b|\.(?:frame|pfn|entry|pgd|p4d|pud|pmd|pte|page)\b"
    r"|\.(?:refcount|mapcount)\b|\bwalk\([^()]*(?:\([^()]*\))?[^()]*\)$",
)
CUT = _rule(
    "the size of a heap above 2 MiB, and of a main stack that has grown",
    "A program that grows its heap up to the end of a page table grows it by a random amount, as the start is random; "
    "a stack grows from a top that is. With them go the sums that contain them; every chunk of such a heap is given.",
    "arch_randomize_brk(), arch_align_stack(), arch/x86/kernel/process.c",
    "VmSize VmData VmStk vsize total_vm data_vm stack_vm",
    r"\b(?:VmSize|VmData|VmStk|vsize|total_vm|data_vm|stack_vm)\b|\[(?:heap|stack)\]",
)
INODES = _rule(
    "inode numbers",
    "A file of the guest gets the next number there is.",
    "get_next_ino(), fs/inode.c",
    "ino inode",
    r"\.(?:ino|inode)\b",
)
QUEUES = _rule(
    "queued signals of the user, and bytes read and written",
    "The limit is one of all processes of the user, those of the lab too; the text of an address is shorter where it "
    "happens to be.",
    "task_sig(), fs/proc/array.c; do_io_accounting(), fs/proc/base.c",
    "SigQ",
    r"\bSigQ\b",
)
ENVIRONMENT = _rule(
    "what the guest has at the moment, and the host's processor",
    "Free memory, clocks, counters of dentries and inodes, random ids, the processor's speed, where modules lie; "
    "limits and sysctls that the kernel sets by how much memory it found, and those of the network. "
    "Kernel, configuration, glibc, page size, command line, all other sysctls and huge-page settings are given.",
    "evidence/environment: clock, cpuinfo, meminfo, modules, vmcoreinfo, sysctl",
    "fs.dentry-state fs.inode-nr fs.inode-state fs.file-nr fs.aio-nr kernel.ns_last_pid kernel.random.boot_id "
    "kernel.random.uuid kernel.random.entropy_avail kernel.hostname kernel.pty.nr "
    "fs.file-max fs.epoll.max_user_watches fs.fanotify.max_user_marks fs.inotify.max_user_watches kernel.threads-max "
    "vm.user_reserve_kbytes vm.admin_reserve_kbytes vm.min_free_kbytes nproc sigpending",
)
NOTED = _rule(
    "numbers that a program notes in hexadecimal and that are no addresses in its mappings",
    "They are frames, keys that glibc drew, or fixed addresses; which of them it is, only the program knows. What it "
    "notes in decimal is given.",
    "lab_note_hex(), guest/lab.h",
)
PRINTED = _rule(
    "numbers in what a program prints, and in the kernel's log",
    "They may be addresses, ids of processes or times, and nothing tells them from others. What a program notes is "
    "given.",
    "log_shape(), orchestrator/kernel_log.py",
)
RANDOM = _rule(
    "numbers drawn at random",
    "glibc draws the key of its thread caches.",
    "tcache_key_initialize(), malloc/malloc.c (glibc)",
    "tcache_key",
)
RACES = _rule(
    "the heap of a process with several threads",
    "The scheduler decides which thread allocates first. Threads, their stacks, guards and caches are given, and which "
    "invariants do not hold.",
    "arena_get2(), malloc/arena.c (glibc)",
    operands=r"\b(?:chunks?|chunks_of|heaps?|arenas?|bins?|bin|tcaches?|malloc_par|mp|top|block)\(",
)
THREADS = _rule(
    "what other threads did in a window of the trace, and what came after one was made in it",
    "One thread marks where a window begins and ends. How far others came meanwhile, the scheduler decides; and with "
    "it who of two processes copies a page that they share.",
    "lab_trace_begin(), guest/lab.h",
)
SHARED = _rule(
    "what is noted, and anonymous memory, once threads have shared arenas",
    "The scheduler decides which thread grows which arena, and what a program then counts. Which keys were noted is "
    "given.",
    "arena_get2(), reused_arena(), malloc/arena.c (glibc)",
    operands=r"",
)
ALLOCATIONS = _rule(
    "allocations of the kernel for itself, and faults on files and on the main stack",
    "A page for a table or a slab is taken when the last one is full, and RSS counters and LRU lists are brought up to "
    "date in batches. In call trees what the page allocator and the LRU lists call is not given, nor the tables that a "
    "fault finds missing; a function graph whose buffer overflowed is not given at all.",
    "allocate_slab(), mm/slub.c; rmqueue_bulk(), mm/page_alloc.c; folio_add_lru(), mm/swap.c; f1a7941243c1 (6.2)",
    "rss_stat",
    r"\ballocations\(",
)
BOUNDED = _rule(
    "what a check only bounds",
    "Where a check asks for less, more or something else (<, >, !=), the value is expected to vary. It is given where "
    "the check says what it is (==, in).",
    "orchestrator/digest/checked.py",
)
COMPUTED = _rule(
    "what a check computes",
    "Its parts are given, each by itself: a sum of them may be random where what is left out is a part of it.",
    "operands(), orchestrator/checks.py",
)
WORDS = _rule(
    "the lab's own words and places",
    "Why an accelerator was taken, retries, paths on the host, how long each step took, and with them everything that "
    "run.json says of one host.",
    "orchestrator/schema/run.schema.json",
)

RULES: tuple[Rule, ...] = (
    ADDRESSES, KERNEL_ADDRESSES, PLACES, IDS, TIMES, FILES, STACK, HUGE, SUMS, TABLES, CUT, INODES, QUEUES, ENVIRONMENT,
    NOTED, PRINTED, RANDOM, RACES, THREADS, SHARED, ALLOCATIONS, BOUNDED, COMPUTED, WORDS,
)  # fmt: skip
