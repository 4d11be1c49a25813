"""The collector of heaps on captures of real processes (tests/data/heap/known.c), whole and damaged."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from itertools import pairwise

import drgn
import heap_image
import pytest
from heap_image import VERSIONS, Image, load

from orchestrator.collect.heap_values import HeapEvidence, Tcache
from orchestrator.collect.ptmalloc import (
    Layout,
    Mapping,
    Process,
    Thread,
    collect,
    collector,
    derive,
    records,
    rules,
    walk,
)
from orchestrator.collect.ptmalloc.layout import ChunkWords
from orchestrator.collect.ptmalloc.memory import PAGE, Memory, OutOfBudget, Reader
from orchestrator.collect.ptmalloc.process import build_id
from orchestrator.collect.ptmalloc.spans import Spans

CACHED = {"2.31": 7, "2.36": 7, "2.41": 7, "2.43": 16}  # of one size, in a thread's cache


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def image(version: str) -> Image:
    return load(version)


def failed(evidence: HeapEvidence) -> set[str]:
    return {check.what for check in evidence.failed()}


def broken_at(evidence: HeapEvidence, what: str) -> int:
    return next(check.at for check in evidence.failed() if check.what == what)


def symbol(image: Image, name: str) -> int:
    """A symbol of libc in the captured process."""
    base = min(m.start for m in image.process.mappings if "/libc" in m.file)
    return base + image.layout.symbols["libc"][name].offset


# -- whole ---------------------------------------------------------------------------------------


def test_every_invariant_holds(image: Image) -> None:
    evidence = image.evidence()
    assert not evidence.failed() and not evidence.broken
    assert len(evidence.checks) > 60
    assert image.reads < 20 << 20  # its heaps have 75 MiB


def test_the_program_and_the_heap_agree(image: Image, version: str) -> None:
    evidence = image.evidence()
    gone = 0
    for kind, address, size, index in image.said:
        if kind.startswith("info"):
            continue
        chunk, place = evidence.chunk(address + 20), evidence.place(address)
        assert chunk is not None and chunk.address == address
        if kind == "mapped":
            assert (chunk.state, chunk.usable) == ("m", size)
            continue
        if kind == "large" and place is None:
            gone += 1  # glibc's own requests, as for a thread, are cut from some
            continue
        assert place is not None and chunk.size == size
        if kind in ("thread-cache", "small") and isinstance(place.of, Tcache):
            assert (chunk.state, place.of.index, place.of.size) == ("t", index, size)
        elif kind == "small" and place.of.kind == "fastbin":
            assert (chunk.state, place.of.index) == ("f", index) and version != "2.43"
        else:
            assert place.of.index == (size // 16 if kind == "small" else index)
    assert gone <= 3


def test_the_last_freed_is_the_first_in_a_cache(image: Image, version: str) -> None:
    evidence = image.evidence()
    freed = [address for kind, address, size, _ in image.said if kind == "small" and size == 48]
    cache = evidence.tcache(evidence.threads[0].tid, 1)
    assert cache is not None
    assert list(cache.chunks) == freed[: CACHED[version]][::-1]
    assert cache.count == CACHED[version]


def test_sums_agree_with_mallinfo(image: Image) -> None:
    evidence = image.evidence()
    said = {kind: numbers for kind, *numbers in image.said}
    chunks = [chunk for chunk in evidence.chunks() if chunk.state != "m"]
    free = sum(chunk.size for chunk in chunks if chunk.state in "nslfT")
    fast = sum(chunk.size for chunk in chunks if chunk.state == "f")
    system = sum(arena.numbers["system_mem"] for arena in evidence.arenas)
    assert said["info-free"][:2] == [free, fast]
    assert said["info-used"] == [system - free, system, sum(m.end - m.start for m in evidence.mapped)]
    assert said["info-counts"] == [sum(c.state in "nslT" for c in chunks), sum(c.state == "f" for c in chunks),
                                   len(evidence.mapped)]


def test_threads_arenas_and_stacks(image: Image, version: str) -> None:
    evidence = image.evidence()
    assert len(evidence.arenas) == 4 and sorted(len(arena.heaps) for arena in evidence.arenas) == [1, 1, 1, 2]
    states = [thread.tcache_state for thread in evidence.threads]
    assert states == ["live"] * 4 + ["inactive" if version == "2.43" else "none"]  # the last never called malloc
    assert [bool(thread.arena) for thread in evidence.threads] == [True] * 4 + [False]
    assert all(thread.numbers["pthread_tid"] == thread.tid for thread in evidence.threads)
    assert len(evidence.stacks) == 2  # of threads that were joined
    for thread in evidence.threads[1:]:
        start, size = thread.numbers["stackblock"], thread.numbers["stackblock_size"]
        assert start < thread.pthread < start + size  # struct pthread lies at the top of the stack's mapping
    assert evidence.header["safe_linking"] is (version != "2.31")


@pytest.mark.parametrize(("name", "walks"), [("torn", 3), ("blocked", 19)])
def test_a_main_arena_in_pieces(name: str, walks: int) -> None:
    """Its break was moved by somebody else, or could not move."""
    evidence = load("2.36", name).evidence()
    assert not evidence.failed() and not evidence.broken
    assert len(evidence.arenas[0].heaps) == walks
    assert sum(heap.tail == "top" for heap in evidence.arenas[0].heaps) == 1
    for one, other in pairwise(sorted(evidence.arenas[0].heaps, key=lambda heap: heap.first)):
        assert one.covered <= other.first


# -- damaged -------------------------------------------------------------------------------------


def test_a_cache_that_is_a_circle(image: Image) -> None:
    cache = image.evidence().tcaches[0]
    first, third = cache.chunks[0], cache.chunks[2]
    link = third + 16
    target = first + 16
    image.poke(link, target if image.layout.release < (2, 32) else rules.reveal(link, target))
    evidence = image.evidence()
    assert "tcache-links" in failed(evidence) and broken_at(evidence, "tcache-links") == first
    assert evidence.tcaches[0].chunks == cache.chunks[:3]  # the list up to there
    assert evidence.tcaches[1:] == image.evidence().tcaches[1:]


def test_a_damaged_size(image: Image) -> None:
    whole = image.evidence()
    victim = next(whole.arenas[0].heaps[0].chunk(place) for place in range(300, 400)
                  if whole.arenas[0].heaps[0].states[place] == "u")  # fmt: skip
    image.poke(victim.address + 8, 0x7FFFF1)
    evidence = image.evidence()
    assert broken_at(evidence, "walk-ends-at-top") == victim.address
    before, after = evidence.arenas[0].heaps
    assert before.covered == victim.address and after.tail == "top" and after.guessed
    assert after.first == victim.address + victim.size  # taken up again at the next chunk
    assert len(before) + len(after) + 1 == len(whole.arenas[0].heaps[0])


@pytest.mark.parametrize("size", [0, 1, 8, 16, 0x18, 0xFFFFFFFFFFFFFFF0, 1 << 40])
def test_sizes_that_no_chunk_has(image: Image, size: int) -> None:
    heap = image.evidence().arenas[0].heaps[0]
    image.poke(heap.addresses[100] + 8, size)
    evidence = image.evidence()
    assert "walk-ends-at-top" in failed(evidence) and broken_at(evidence, "walk-ends-at-top") == heap.addresses[100]


def test_a_bin_that_leads_nowhere(image: Image) -> None:
    whole = image.evidence()
    found = next(b for b in whole.arenas[0].bins if b.kind == "small" and len(b.chunks) > 3) if (
        any(b.kind == "small" and len(b.chunks) > 3 for b in whole.arenas[0].bins)) else whole.arenas[0].bins[-1]
    image.poke(found.chunks[0] + 16, 0xDEADBEEF0)
    broken = image.evidence().arenas[0].bin(found.kind, found.index)
    assert broken is not None and broken.broken is not None
    assert broken.chunks == found.chunks[:1] and broken.back == found.chunks[:0:-1]  # from the other end


def test_a_damaged_top_and_ring(image: Image) -> None:
    main = symbol(image, "main_arena")
    offset = image.layout.struct("malloc_state").at
    for name, value in (("top", 0x1000), ("top", main), ("next", main + 8), ("next", 1), ("next", 0)):
        damaged = image.copy()
        damaged.poke(main + offset(name), value)
        assert failed(damaged.evidence()) & {"walk-ends-at-top", "arena-ring"}


def test_counts_from_memory_are_not_believed(image: Image) -> None:
    place = image.layout.struct("malloc_par").at("n_mmaps")
    address = symbol(image, "mp_") + place
    image.poke(address & -8, 0x7FFFFFFF7FFFFFFF)
    assert "n-mmaps" in failed(image.evidence())


def test_what_2_43_counts_too_much_of_resized_blocks(image: Image, version: str) -> None:
    """mremap_chunk() adds 16 bytes too many each time: that is glibc's own flaw, not a damaged heap."""
    address = symbol(image, "mp_") + image.layout.struct("malloc_par").at("mmapped_mem")
    image.poke(address, image.word(address) + 32)
    check = next(check for check in image.evidence().checks if check.what == "mmapped-mem")
    assert check.ok is (version == "2.43") and check.detail


def test_a_locked_arena_is_told(image: Image) -> None:
    main, offset = symbol(image, "main_arena"), image.layout.struct("malloc_state").at
    image.poke(main + offset("mutex"), image.word(main + offset("mutex")) | 1)
    image.poke(main + offset("system_mem"), 0)
    check = next(check for check in image.evidence().failed() if check.what == "system-mem")
    assert "locked" in check.detail


def test_a_thread_whose_pointers_lead_nowhere(image: Image) -> None:
    thread = image.process.threads[1]
    image.poke(thread.fsbase + image.layout.struct("pthread").at("header.dtv"), 0xBAD0)
    evidence = image.evidence()
    found = evidence.thread(thread.tid)
    assert found is not None and found.broken and "pthread-self" in failed(evidence)
    assert sum(not other.broken for other in evidence.threads) == len(evidence.threads) - 1


def test_random_damage(version: str) -> None:
    """Whatever stands there: no exception, evidence that can be read, and never long."""
    whole = load(version)
    pages = sorted(whole.pages)
    for seed in range(15):  # thousands were tried; these are a sample
        image, dice = whole.copy(), random.Random(seed)
        for _ in range(dice.choice((1, 2, 5, 20, 200))):
            page = dice.choice(pages)
            words = [place for place in range(0, 4096, 8) if any(whole.pages[page][place : place + 8])] or [0]
            value = dice.choice((dice.randrange(1 << 64), dice.choice(pages) + 16 * dice.randrange(256), 0, 1, 0x21,
                                 1 << 47, (1 << 64) - 16, image.word(page + words[0]) ^ 1 << dice.randrange(64)))
            image.poke(page + dice.choice(words), value)
        begin = time.process_time()
        image.evidence()
        assert time.process_time() - begin < 1.0, f"seed {seed}"


# -- budgets -------------------------------------------------------------------------------------


def with_forged_heaps(version: str, count: int, chunks: int) -> Image:
    """A thread's heap whose prev leads through forged heap_infos, all before the same chunks."""
    image = load(version)
    info = image.evidence().arenas[1].infos[0]
    struct, states = image.layout.struct("_heap_info"), image.layout.struct("malloc_state")
    base, stride = 0x600000000000, struct.size + 32
    run, end = base + PAGE * 16, base + PAGE * 16 + chunks * 32 + 16
    for number in range(count):
        fake = base + number * stride
        image.poke(fake + struct.at("ar_ptr"), info.ar_ptr)
        image.poke(fake + struct.at("prev"), fake + stride if number + 1 < count else 0)
        image.poke(fake + struct.at("size"), end - fake)
        image.poke(fake + struct.size + 8, run - fake - struct.size | 5)
    for chunk in range(run, run + chunks * 32, 32):
        image.poke(chunk + 8, 0x25)
    image.poke(info.address + struct.at("prev"), base)
    assert states.size < PAGE
    mappings = [*image.process.mappings, Mapping(base, end + PAGE & -PAGE, 3)]
    return Image(image.layout, replace(image.process, mappings=mappings), image.pages, image.said)


def test_forged_heaps_that_share_their_chunks(version: str) -> None:
    """Heaps lie where new_heap() puts them: each chunk is walked once."""
    image = with_forged_heaps(version, 500, 2000)
    whole = sum(map(len, load(version).lines()))
    begin = time.process_time()
    lines = image.lines()
    assert time.process_time() - begin < 2
    assert sum(map(len, lines)) < whole + 10_000
    evidence = heap_image.parsed(lines)
    assert "aligned to 0x4000000" in str(evidence.arenas[1].broken) and "walk-ends-at-top" in failed(evidence)


def test_a_heap_where_another_walk_has_been() -> None:
    """sbrk_base leads into a thread's heap."""
    image = load("2.36")
    info = image.evidence().arenas[1].infos[-1]
    first = image.evidence().arenas[1].heaps[-1].first
    image.poke(symbol(image, "mp_") + image.layout.struct("malloc_par").at("sbrk_base"), first)
    evidence = image.evidence()
    assert evidence.arenas[0].heaps[0].first == first
    assert "another walk" in str(evidence.arenas[1].broken) and not evidence.arenas[1].infos
    assert info.address == evidence.arenas[1].numbers["top"] & -0x4000000


@pytest.mark.parametrize("room", [0, 3000, 12_000, 30_000, 60_000])
def test_one_account_for_all_that_is_written(image: Image, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.collect.ptmalloc.memory.MAX_EVIDENCE", room)
    lines = image.lines()
    assert sum(map(len, lines)) < room + 4000  # the header, mp_, the variables
    evidence = heap_image.parsed(lines)
    assert [part.what for part in evidence.broken] in ([], ["heap"])
    assert room >= 60_000 or "of evidence" in evidence.broken[0].why


def test_the_account_is_never_less_than_what_is_written(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    charged = []
    monkeypatch.setattr(Memory, "charge", lambda _self, characters: charged.append(characters))
    assert sum(map(len, image.lines())) < sum(charged) + 10_000


def test_the_clock_runs_over_blocks_that_are_known() -> None:
    image = load("2.36")
    heap = image.evidence().arenas[0].heaps[0]
    known = heap_image.memory(image)
    again = [walk.Walk(heap.arena, 0, heap.start, heap.end, heap.end, heap.first) for _ in range(2)]
    aim, words = walk.Aim(heap.end, heap.addresses[-1]), ChunkWords.of(image.layout)
    assert walk.walk(known, again[0], aim, words).tail == "top"
    known.check_time()
    known._deadline = 0
    with pytest.raises(OutOfBudget):
        walk.walk(known, again[1], aim, words)
    with pytest.raises(OutOfBudget):
        walk.find_start(known, heap.first, aim, words)


class Sparse:
    """An image that knows which of its pages are there, and has a large mapping without any below its others."""

    def __init__(self, image: Image) -> None:
        self.image, self.reads = image, 0
        mappings = [*image.process.mappings, Mapping(0x600000000000, 0x600000000000 + (8 << 30), 3)]
        self.process = replace(image.process, mappings=mappings)

    def read(self, address: int, size: int) -> bytes:
        self.reads += size
        return self.image.read(address, size)

    def lines(self, reader: Reader) -> HeapEvidence:
        return heap_image.parsed(list(collect(self.process, self.image.layout, reader)))


class Present(Sparse):
    asked = 0

    def present(self, start: int, end: int) -> list[tuple[int, int]]:
        self.asked += 1
        return [(page, page + PAGE) for page in sorted(self.image.pages) if start <= page < end]


def test_a_large_mapping_without_pages(image: Image) -> None:
    whole, reader = image.evidence(), Present(image)
    evidence = reader.lines(reader)
    assert not evidence.failed() and not evidence.broken and reader.reads < 20 << 20
    assert reader.asked == 1  # an answer is a look at every page
    assert [m.chunk for m in evidence.mapped] == [m.chunk for m in whole.mapped]
    assert list(evidence.chunks()) == list(whole.chunks())


def test_a_search_that_takes_too_much_loses_nothing_else(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.collect.ptmalloc.memory.MAX_BYTES", 64 << 20)
    whole, reader = image.evidence(), Sparse(image)
    evidence = reader.lines(reader)
    assert [part.what for part in evidence.broken] == ["mmapped"] and "MiB" in evidence.broken[0].why
    assert evidence.arenas == whole.arenas and not evidence.failed()
    assert [c.what for c in evidence.checks] == [c.what for c in whole.checks if c.what not in (
        "n-mmaps", "mmapped-mem")]  # fmt: skip


def test_what_is_only_looked_through_is_not_kept() -> None:
    image = load("2.36")
    known = heap_image.memory(image)
    area = next(mapping for mapping in known.mappings if mapping.is_private_data)
    blocks = list(known.scan(area.start, area.end))
    assert sum(block.end - block.start for block in blocks) == area.end - area.start and not known._blocks
    assert not list(known.scan(8, 4096))
    known.word(area.start)
    read = image.reads
    assert [bytes(block.words) for block in known.scan(area.start, area.start + 1)] == [image.read(area.start, PAGE)]
    assert image.reads == read + PAGE  # this test's own


def test_spans() -> None:
    spans = Spans([(10, 20), (15, 30), (40, 50)])
    assert list(spans.within(0, 100)) == [(10, 30), (40, 50)] and list(spans.within(29, 40)) == [(10, 30)]
    assert spans.meet(0, 11) and not spans.meet(30, 40) and not spans.meet(0, 10)
    spans.add(30, 40)
    spans.add(60, 60)
    assert list(spans.within(0, 100)) == [(10, 50)]


# -- what is not there ---------------------------------------------------------------------------


def said_broken(process: Process, image: Image, layout: Layout | None = None) -> str:
    evidence = heap_image.parsed(list(collect(process, layout or image.layout, image)))
    assert len(evidence.broken) == 1 and not evidence.arenas
    return evidence.broken[0].why


def test_a_static_program() -> None:
    image = load("2.36")
    own = [Mapping(m.start, m.end, m.flags, m.pgoff, "/prog" if m.file else "") for m in image.process.mappings]
    assert "static" in said_broken(replace(image.process, mappings=own), image)


def test_another_libc_than_the_debug_file() -> None:
    image = load("2.36")
    assert "build id" in said_broken(image.process, image, replace(image.layout, build_id="00" * 20))
    assert build_id(heap_image.memory(image), symbol(image, "main_arena") & -4096) == ""


def test_a_layout_without_what_is_needed() -> None:
    image = load("2.36")
    structs = {name: struct for name, struct in image.layout.structs.items() if "malloc_state" not in name}
    assert "malloc_state" in said_broken(image.process, image, replace(image.layout, structs=structs))


def test_memory_that_can_not_be_read() -> None:
    class Nothing:
        def read(self, address: int, size: int) -> bytes:
            raise OSError("gone")

    image = load("2.36")
    evidence = heap_image.parsed(list(collect(image.process, image.layout, Nothing())))
    assert evidence.broken and not evidence.arenas


def test_without_threads() -> None:
    image = load("2.36")
    process = replace(image.process, threads=[Thread(1, 0)])
    evidence = heap_image.parsed(list(collect(process, image.layout, image)))
    assert evidence.threads[0].broken and evidence.arenas


def test_a_time_limit() -> None:
    image = load("2.36")
    evidence = heap_image.parsed(list(collect(image.process, image.layout, image, seconds=-1)))
    assert "too long" in evidence.broken[0].why


@pytest.mark.parametrize(("name", "part"), [
    ("read_thread", "threads"), ("find_arenas", "arenas"), ("fill_arena", "arenas"), ("place_chunks", "lists"),
    ("read_stacks", "stacks"), ("find_mapped", "mmapped"), ("check_all", "checks"), ("open_libc", "heap"),
])  # fmt: skip
def test_an_error_that_nobody_expected(name: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is of its part only, and nobody is told that the glibc is not known."""
    def fails(*_arguments: object) -> None:
        raise IndexError("list index out of range")

    image = load("2.36")
    whole = image.evidence()
    monkeypatch.setattr(collector, name, fails)
    evidence = image.evidence()
    assert {found.what for found in evidence.broken} == {part}
    assert "unexpected IndexError (test_ptmalloc.py:" in evidence.broken[0].why
    assert not evidence.failed()
    if part != "heap":
        assert evidence.parameters == whole.parameters
        assert part in ("arenas", "lists", "threads") or evidence.arenas == whole.arenas
        mapped, threads = ([[m.chunk for m in e.mapped] for e in (evidence, whole)],
                           [[replace(t, line=0) for t in e.threads] for e in (evidence, whole)])  # fmt: skip
        assert part == "mmapped" or mapped[0] == mapped[1]
        assert part == "threads" or threads[0] == threads[1]


def test_what_stops_the_lab_is_no_part_of_the_evidence() -> None:
    class Stopped:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def read(self, address: int, size: int) -> bytes:
            raise self.error

    image = load("2.36")
    with pytest.raises(KeyboardInterrupt):
        list(collect(image.process, image.layout, Stopped(KeyboardInterrupt())))
    evidence = heap_image.parsed(list(collect(image.process, image.layout, Stopped(RuntimeError("lost")))))
    assert "RuntimeError" in evidence.broken[0].why


def test_a_field_that_the_glibc_does_not_have() -> None:
    image = load("2.36")
    for name, field in (("malloc_par", "n_mmaps"), ("malloc_state", "top"), ("malloc_chunk", "fd")):
        struct = image.layout.structs[f"struct {name}"]
        fields = {key: value for key, value in struct.fields.items() if key != field}
        structs = {**image.layout.structs, f"struct {name}": replace(struct, fields=fields)}
        evidence = heap_image.parsed(list(collect(image.process, replace(image.layout, structs=structs), image)))
        assert [(found.what, field in found.why) for found in evidence.broken] == [("layout", True)]


def test_what_can_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    image = load("2.36")
    monkeypatch.setattr(records, "_thread", lambda _thread: {"is": object()})
    evidence = image.evidence()
    assert [found.what for found in evidence.broken] == ["heap"] and evidence.arenas


# -- rules and layouts ---------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "index"), [
    (32, 2), (1008, 63), (1024, 64), (1072, 64), (1088, 65), (3120, 96), (3136, 97), (3568, 97), (3584, 98),
    (10736, 111), (10752, 112), (12288, 113), (45040, 120), (45056, 120), (65536, 121), (163840, 124),
    (262144, 125), (524288, 126), (1 << 30, 126),
])  # fmt: skip
def test_bin_index(size: int, index: int) -> None:
    assert rules.bin_index(size) == index


def test_tcache_index() -> None:
    for index in range(76):
        low, high = rules.tcache_sizes(index)
        assert rules.tcache_index(low) == rules.tcache_index(high) == index
        assert high < rules.tcache_sizes(index + 1)[0]
    assert rules.tcache_sizes(63) == (1040, 1040) and rules.tcache_sizes(64) == (1056, 2032)


def test_a_layout_survives_its_record() -> None:
    layout = load("2.43").layout
    assert Layout.of_record(layout.record()) == layout
    assert layout.release == (2, 43) and replace(layout, version="odd").release == (0, 0)


def test_layouts_come_from_types() -> None:
    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    word = program.int_type("unsigned long", 8, False, "little")
    small = program.int_type("int", 4, True, "little")
    inner = program.struct_type(None, 16, (drgn.TypeMember(word, "self", 64),))
    struct = program.struct_type("pthread", 64, (
        drgn.TypeMember(program.union_type(None, 16, (drgn.TypeMember(inner, "header", 0),)), None, 0),
        drgn.TypeMember(small, "tid", 128), drgn.TypeMember(program.array_type(word, 3), "unwanted", 192)))  # fmt: skip

    class Types:
        def type(self, name: str) -> drgn.Type:
            if name == "struct pthread":
                return struct
            raise LookupError(name)

    places = {("libc", "main_arena"): (64, 8)}
    layout = derive(Types(), lambda library, name: places.get((library, name)), "2.99", "ab")
    found = layout.struct("pthread")
    assert set(found.fields) == {"header.self", "tid"}
    assert (found.at("header.self"), found["tid"].offset, found["tid"].size, found["tid"].signed) == (8, 16, 4, True)
    assert layout.symbols["libc"]["main_arena"].offset == 64 and layout.symbol("mp_") is None
    with pytest.raises(LookupError):
        layout.struct("malloc_state")
