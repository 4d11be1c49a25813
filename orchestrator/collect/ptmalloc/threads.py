"""Threads as glibc sees them: struct pthread, the thread's cache of chunks, the stacks it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.collect.ptmalloc import lists
from orchestrator.collect.ptmalloc.layout import ChunkWords, NotInLayout
from orchestrator.collect.ptmalloc.memory import OF_THREAD, Unreadable
from orchestrator.collect.ptmalloc.model import Cache, Chain, Flaw
from orchestrator.collect.ptmalloc.process import Broken, Libc, Thread, tls_block

MAX_STACKS = 65536  # entries of a list of stacks
OF_PTHREAD = ("header.self", "tid", "stackblock", "stackblock_size", "guardsize", "reported_guardsize", "user_stack",
              "stack_mode", "start_routine", "arg", "joinid", "joinstate")  # fmt: skip


@dataclass
class Posix:
    """One struct pthread: its fields, and of a live thread what malloc has for it."""

    address: int
    tid: int  # by the kernel; 0 in the cache of stacks
    numbers: dict[str, int]
    arena: int = 0
    cache: Cache | None = None
    flaw: str = ""


@dataclass
class StackList:
    """One of glibc's lists of stacks: struct pthread by address."""

    name: str  # cache, used, user
    threads: list[int] = field(default_factory=list)
    flaw: Flaw | None = None


def read_thread(libc: Libc, thread: Thread, words: ChunkWords) -> Posix:
    """A thread's struct pthread, which is where its fs register points, with its arena and its cache."""
    libc.memory.charge(OF_THREAD)
    found = Posix(thread.fsbase, thread.tid, {})
    try:
        if not thread.fsbase:
            raise Broken("thread", "it has no thread pointer yet")
        found.numbers = _pthread(libc, thread.fsbase)
        block = tls_block(libc, thread.fsbase)
        if not block:
            found.cache = Cache(thread.tid, 0, "none")
            return found
        found.arena = _variable(libc, block, "thread_arena")
        found.cache = _cache(libc, thread.tid, _variable(libc, block, "tcache"), words)
    except (Broken, Unreadable, NotInLayout) as error:
        found.flaw = error.why if isinstance(error, Broken) else str(error)
    return found


def _pthread(libc: Libc, address: int) -> dict[str, int]:
    numbers = libc.numbers(libc.layout.struct("pthread"), address)
    return {name.rpartition(".")[2]: numbers[name] for name in OF_PTHREAD if name in numbers}


def _variable(libc: Libc, block: int, name: str) -> int:
    symbol = libc.layout.symbol(name)
    if symbol is None:
        raise NotInLayout(f"libc has no {name}")
    return libc.memory.word(block + symbol.offset)


# -- the cache -----------------------------------------------------------------------------------


def _cache(libc: Libc, tid: int, address: int, words: ChunkWords) -> Cache:
    """A thread's tcache, which is made when it first needs one."""
    cache = Cache(tid, address, _cache_state(libc, address))
    if cache.state != "live":
        return cache
    struct = libc.layout.struct("tcache_perthread_struct")
    reveal = lists.links(libc.layout)
    entries = struct["entries"]
    counts = _counts(libc, address)
    try:
        heads = libc.memory.words(address + entries.offset, entries.count)
    except Unreadable as error:
        cache.chains.append(Chain(tid, "tcache", 0, flaw=Flaw(error.address, str(error))))
        return cache
    for index, head in enumerate(heads):
        count = counts[index] if index < len(counts) else 0
        if head or count:
            chain = Chain(tid, "tcache", index, count=count)
            cache.chains.append(lists.follow_single(libc.memory, chain, head, words, reveal))
    return cache


def _cache_state(libc: Libc, address: int) -> str:
    """From 2.43 on tcache is never NULL: until it is needed, and after the thread's end, it points into
    __tcache_dummy (2bf2188fae1f)."""
    if not address:
        return "none"
    dummy = libc.layout.symbol("__tcache_dummy")
    if dummy is None:
        return "live"
    return {0: "inactive", 1: "disabled"}.get(address - libc.address("__tcache_dummy"), _within(libc, address))


def _within(libc: Libc, address: int) -> str:
    """The second dummy lies behind one byte and what its alignment asks for."""
    dummy = libc.layout.symbol("__tcache_dummy")
    inside = dummy is not None and 0 < address - libc.address("__tcache_dummy") < dummy.size
    return "disabled" if inside else "live"


def _counts(libc: Libc, address: int) -> list[int]:
    """How many chunks each bin has by the counters: from 2.42 on they count the places that are left
    (7e10e30e64aa), before they counted the chunks, in 16 bits since 2.30 (1f50f2ad854c), in 8 before."""
    struct = libc.layout.struct("tcache_perthread_struct")
    place = struct["num_slots"] if "num_slots" in struct else struct["counts"]
    try:
        content = libc.memory.bytes(address + place.offset, place.size * place.count)
    except Unreadable:
        return []
    numbers = [int.from_bytes(content[i : i + place.size], "little") for i in range(0, len(content), place.size)]
    if "num_slots" in struct:
        parameters = libc.numbers(libc.layout.struct("malloc_par"), libc.address("mp_"))
        return [parameters["tcache_count"] - number for number in numbers]
    return numbers


def key_of(libc: Libc, cache: Cache) -> int | None:
    """What a cached chunk's second word is: tcache_key since 2.34 (fc859c304898), the cache's address since 2.29."""
    if libc.layout.symbol("tcache_key") is not None:
        return libc.variable("tcache_key")
    return cache.address if "key" in libc.layout.struct("tcache_entry") else None


# -- stacks --------------------------------------------------------------------------------------


def read_stacks(libc: Libc) -> tuple[list[StackList], int | None]:
    """glibc's lists of stacks: kept for later threads, in use, and in use but the program's own; and how many
    bytes the kept ones have by glibc's own account. They moved from libpthread to _rtld_global in 2.34
    (1daccf403b1b). A process that never made a thread may have none of them set up."""
    layout = libc.layout
    heads: dict[str, int] = {}
    size: int | None = None
    try:
        struct = layout.struct("rtld_global")
        base = libc.address("_rtld_global", "ld")
        heads = {name: base + struct.at(f"_dl_stack_{name}") for name in ("cache", "used", "user")}
        size = libc.get(struct, "_dl_stack_cache_actsize", base)
    except (NotInLayout, Unreadable):
        names = {"cache": "stack_cache", "used": "stack_used", "user": "__stack_user"}
        if "libpthread" in libc.libraries:
            heads = {name: libc.address(symbol, "libpthread") for name, symbol in names.items()
                     if layout.symbol(symbol, "libpthread")}  # fmt: skip
            size = libc.variable("stack_cache_actsize", "libpthread")
    return [_stack_list(libc, name, head) for name, head in heads.items()], size


def _stack_list(libc: Libc, name: str, head: int) -> StackList:
    found = StackList(name)
    node, shift = libc.layout.struct("list_t"), libc.layout.struct("pthread").at("list")
    seen: set[int] = set()
    try:
        before, link = head, libc.get(node, "next", head)
        while link not in (head, 0):  # 0: not set up
            if link in seen or len(seen) >= MAX_STACKS or link & 7:
                found.flaw = Flaw(link, "comes again" if link in seen else "can't be an entry")
                break
            if libc.get(node, "prev", link) != before:
                found.flaw = Flaw(link, f"its prev is not {before:#x}")
                break
            libc.memory.check_time()
            seen.add(link)
            found.threads.append(link - shift)
            before, link = link, libc.get(node, "next", link)
    except Unreadable as error:
        found.flaw = Flaw(error.address, str(error))
    return found


def read_kept(libc: Libc, address: int) -> Posix:
    """The struct pthread of a stack that no thread has."""
    libc.memory.charge(OF_THREAD)
    try:
        return Posix(address, 0, _pthread(libc, address))
    except Unreadable as error:
        return Posix(address, 0, {}, flaw=str(error))


