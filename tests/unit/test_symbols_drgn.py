"""What an index says of a binary's types is what drgn says of its debugging information."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import drgn
import pytest
from symbols_samples import BUILD_ID, compiled

from orchestrator import progress
from orchestrator.errors import LabError, PieceError
from orchestrator.symbols import DebugFile, LibcSymbols, door, open_kernel, open_libc, roots
from orchestrator.symbols.elf import identify

BASE = 0x7F0000000000
ASKED = frozenset(
    {"struct node", "struct later", "object first", "object counter", "object local", "object function", "object BIG"}
    | {"object banner", "object linux_banner", "struct nothing", "typedef size_type", "object several"}
    | {"typedef size_t", "typedef ptrdiff_t"}
)


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("pie"), "-fPIE", "-pie")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("static"), "-fno-PIE", "-no-pie")


@pytest.fixture(autouse=True)
def _few_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "LIBC", ASKED)
    monkeypatch.setattr(roots, "KERNEL", ASKED)


@pytest.fixture
def told() -> Iterator[list[str]]:
    lines: list[str] = []
    with progress.listening(lambda event: lines.append(f"{event.kind} {event.what}")):
        yield lines


def empty() -> drgn.Program:
    return drgn.Program(drgn.Platform(drgn.Architecture.X86_64))


def opened(binary: Path, cache: Path) -> LibcSymbols:
    return open_libc({"libc": DebugFile(binary, BUILD_ID)}, cache)


def attached(binary: Path, cache: Path) -> drgn.Program:
    program = empty()
    opened(binary, cache).attach(program, {"libc": BASE})
    return program


def by_dwarf(binary: Path) -> drgn.Program:
    program = empty()
    module = program.extra_module("libc", create=True)
    identity = identify(binary)
    module.address_range = (identity.start + BASE, identity.end + BASE)
    module.try_file(binary, force=True)
    return program


def described(type_: drgn.Type, depth: int = 8) -> object:
    """All of a type as plain values, as deep as that; of function types only that they are some."""
    if depth == 0:
        return "…"
    facts: list[object] = [type_.kind.name, type_.qualifiers.value]
    for name in ("name", "tag", "size", "length", "is_signed"):
        try:
            facts.append(getattr(type_, name))
        except AttributeError:
            facts.append("none")
    if type_.kind in (drgn.TypeKind.POINTER, drgn.TypeKind.ARRAY, drgn.TypeKind.TYPEDEF):
        facts.append(described(type_.type, depth - 1))
    if type_.kind is drgn.TypeKind.ENUM and type_.is_complete():
        facts += [described(type_.type), [tuple(one) for one in type_.enumerators or ()]]
    if type_.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION) and type_.is_complete():
        members = type_.members or ()
        facts.append([(m.name, m.bit_offset, m.bit_field_size, described(m.type, depth - 1)) for m in members])
    return facts


TYPES = """struct node, struct later, union number, point_t, size_type, enum color, struct node **, long, unsigned long,
char, const char [5], _Bool, float, long double, size_t, ptrdiff_t, void *"""
OBJECTS = "first counter function BIG RED BLUE NAMELESS banner several"


@pytest.mark.parametrize("name", [name.strip() for name in TYPES.split(",")])
def test_types_are_those_of_the_debugging_information(binary: Path, tmp_path: Path, told: list[str], name: str) -> None:
    there = by_dwarf(binary).type(name)
    here = attached(binary, tmp_path).type(name)
    assert described(here) == described(there)
    assert here.type_name() == there.type_name()
    if there.kind is not drgn.TypeKind.VOID:
        assert drgn.sizeof(here) == drgn.sizeof(there)
    assert not [line for line in told if "reading all" in line]


@pytest.mark.parametrize("name", OBJECTS.split())
def test_objects_are_those_of_the_debugging_information(binary: Path, tmp_path: Path, name: str) -> None:
    there, here = by_dwarf(binary)[name], attached(binary, tmp_path)[name]
    assert here.address_ == there.address_
    assert here.type_.kind == there.type_.kind
    if there.address_ is None:
        assert here.value_() == there.value_()
        assert here.type_.type_name() == there.type_.type_name()
    else:
        assert here.address_ is not None
        assert here.address_ > BASE


def test_members_are_read_where_they_lie(binary: Path, tmp_path: Path) -> None:
    data = bytes(range(1, 256)) * 4
    values = []
    for program in (by_dwarf(binary), attached(binary, tmp_path)):
        program.add_memory_segment(0x5000, len(data), lambda _address, count, at, _physical: data[at : at + count])
        node = drgn.Object(program, "struct node", address=0x5000)
        values.append(node.value_() | {"tail": node.tail[3].value_()})
        assert drgn.container_of(node.place.at.y.address_of_(), "struct node", "place.at.y").value_() == 0x5000
    assert values[0] == values[1]
    assert values[0]["high"] > 0


def test_thread_local_objects_have_a_place_and_no_address(binary: Path, tmp_path: Path) -> None:
    symbols = opened(binary, tmp_path)
    place = symbols.places("local")["libc"]
    assert (place.size, place.is_tls) == (8, True)
    assert place.address + place.size <= symbols.opened["libc"].index.tls_size
    assert symbols.places("counter")["libc"].is_tls is False
    assert symbols.places("nothing") == {}
    program = empty()
    symbols.attach(program, {"libc": BASE})
    assert program["local"].absent_
    assert program["counter"].address_ == BASE + symbols.places("counter")["libc"].address


def test_known_absences_do_not_load_anything(binary: Path, tmp_path: Path, told: list[str]) -> None:
    program = attached(binary, tmp_path)
    with pytest.raises(LookupError):
        program.type("struct nothing")
    assert "dwarf" not in program.enabled_type_finders()
    assert program.symbol("main").address > BASE  # symbols never need it
    assert not [line for line in told if "reading all" in line]


def test_a_miss_is_found_told_and_indexed_the_next_time(binary: Path, tmp_path: Path, told: list[str]) -> None:
    program = attached(binary, tmp_path)
    assert program.type("struct only_asked").member("a").type.type_name() == "int"
    assert program["LONELY"].value_() == 12
    with pytest.raises(KeyError):
        program["not there"]
    with pytest.raises(LookupError):
        program.type("struct not_there")
    assert [line for line in told if "reading all" in line and line.startswith("begin")] == [
        "begin struct only_asked is not indexed: reading all of sample"
    ]
    told.clear()
    again = attached(binary, tmp_path)
    assert drgn.sizeof(again.type("struct only_asked")) == 4
    assert again["LONELY"].type_.type_name() == "enum sparse"
    with pytest.raises(LookupError):
        again.type("struct not_there")
    assert "dwarf" not in again.enabled_type_finders()
    assert [line for line in told if line.startswith("begin")] == ["begin indexing the types of libc"]


def test_a_name_in_one_source_file(binary: Path, tmp_path: Path) -> None:
    source = str(binary.with_suffix(".c"))
    for _ in range(2):
        program = attached(binary, tmp_path)
        assert program.variable("counter", source).address_ == program["counter"].address_
        assert program.type("struct node", source).size == program.type("struct node").size
    with pytest.raises(LookupError):
        program.variable("counter", "other.c")


def test_two_files_answer_together(binary: Path, kernel: Path, tmp_path: Path) -> None:
    symbols = open_libc({"libc": DebugFile(binary, BUILD_ID), "ld": DebugFile(kernel, BUILD_ID)}, tmp_path)
    program = empty()
    symbols.attach(program, {"ld": 0})  # only one of them is in the process
    assert program["counter"].address_ == symbols.places("counter")["ld"].address


def test_files_that_can_not_be_used(binary: Path, tmp_path: Path) -> None:
    with pytest.raises(PieceError, match="has build-id"):
        open_libc({"libc": DebugFile(binary, "ffff")}, tmp_path)
    with pytest.raises(PieceError, match="neither"):
        open_libc({"libc": DebugFile(tmp_path / "none", BUILD_ID)}, tmp_path)
    text = tmp_path / "text"
    text.write_text("text")
    with pytest.raises(PieceError, match="ELF"):
        open_libc({"libc": DebugFile(text, BUILD_ID)}, tmp_path)
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", str(stripped), str(binary)], check=True)
    with pytest.raises(PieceError, match="no debugging information"):
        open_libc({"libc": DebugFile(stripped, BUILD_ID)}, tmp_path)


def test_an_index_serves_without_its_binary(binary: Path, tmp_path: Path) -> None:
    opened(binary, tmp_path)
    program = attached(tmp_path / "gone", tmp_path)
    assert program.type("struct node").has_member("tint")
    with pytest.raises(LookupError):
        program.type("struct only_asked")


def running(memory: bytes, address: int, offset: int) -> drgn.Program:
    """A kernel without page tables, that has these bytes at this address."""
    door.without_plugins()
    program = empty()
    note = f"OSRELEASE=1\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ff\nKERNELOFFSET={offset:x}\n"
    program.add_memory_segment(0, 1 << 20, lambda _address, count, _offset, _physical: bytes(count), True)
    program.set_linux_kernel_custom(note.encode(), True)
    program.add_memory_segment(address, len(memory), lambda _address, count, at, _physical: memory[at : at + count])
    return program


def test_a_kernel_is_moved_by_its_offset_and_must_be_the_same(kernel: Path, tmp_path: Path) -> None:
    symbols = open_kernel(kernel, BUILD_ID, tmp_path)
    banner = b"Linux version 1.2.3 of the tests\n"
    assert symbols.opened.index.banner.encode() == banner
    place = symbols.opened.index.places["linux_banner"][0].address
    assert place < 1 << 24
    program = running(banner, place + 0x2000000, 0x2000000)
    symbols.attach(program)
    assert program["linux_banner"].address_ == place + 0x2000000
    assert program.symbol("linux_banner").address == place + 0x2000000
    assert program["PAGE_SIZE"].value_() == 4096
    for memory in (banner.replace(b"1.2", b"1.3"), b""):
        with pytest.raises(LabError, match="kernel"):
            symbols.attach(running(memory or b"x", place + 0x2000000, 0x2000000))
