"""Indexes in the cache: the same when read again, dropped when damaged, made once, made anew with new names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import progress
from orchestrator.symbols import index as format_of
from orchestrator.symbols.index import CONSTANT, VARIABLE, Damaged, Entry, Index, Place, decode, encode
from orchestrator.symbols.shelf import Shelf

ID = "aa55"
ROOTS = frozenset({"struct node", "object first", "struct absent"})


def sample(roots: frozenset[str] = ROOTS) -> Index:
    return Index(
        build_id=ID,
        drgn=Shelf(Path())._drgn,
        start=0x1000,
        end=0x9000,
        roots=roots,
        types=[["s", "node", 8, "next", 0, 16, 0], ["p", 0, 8]],
        names={"struct node": 0},
        objects={"object first": [Entry(VARIABLE, 0, 0x1010)], "object RED": [Entry(CONSTANT, 0, -1)]},
        places={"first": [Place(0x1010, 8, False)], "local": [Place(4, 8, True)]},
        tls_size=16,
        tls_align=8,
        banner="Linux version 1 \u00e9",
    )


class Builder:
    """Makes an index from the roots, and counts how often."""

    def __init__(self) -> None:
        self.asked: list[frozenset[str]] = []

    def __call__(self, roots: frozenset[str]) -> Index:
        self.asked.append(roots)
        return sample(roots)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_an_index_is_the_same_after_writing_and_reading() -> None:
    index = sample()
    data = encode(index)
    assert decode(data, ID, index.drgn) == index
    assert encode(decode(data, ID, index.drgn)) == data


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b" ", lambda data: b"", lambda _: b"[]\n{}"]
)
def test_damage_is_seen(change: object) -> None:
    assert callable(change)
    with pytest.raises(Damaged):
        decode(change(encode(sample())), ID, sample().drgn)


def test_every_changed_byte_is_seen() -> None:
    data = encode(sample())
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(Damaged):
            decode(bytes(changed), ID, sample().drgn)


def test_other_binaries_and_versions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(sample())
    for build_id, drgn in (("aa56", sample().drgn), (ID, "0.0.1")):
        with pytest.raises(Damaged, match="another"):
            decode(data, build_id, drgn)
    monkeypatch.setattr(format_of, "FORMAT", 2)
    with pytest.raises(Damaged, match="another"):
        decode(data, ID, sample().drgn)


def test_a_binary_is_indexed_once(shelf: Shelf) -> None:
    builder = Builder()
    for _ in range(3):
        assert shelf.get(ID, "x", ROOTS, builder) == sample()
    assert builder.asked == [ROOTS]


@pytest.mark.parametrize("damage", [b"", b"garbage", b"{}\n{}\n", b"\xff\xfe\n"])
def test_a_damaged_index_is_told_and_made_anew(shelf: Shelf, damage: bytes) -> None:
    builder = Builder()
    shelf.get(ID, "x", ROOTS, builder)
    shelf.path(ID).write_bytes(damage)
    told: list[str] = []
    with progress.listening(lambda event: told.append(event.what)):
        assert shelf.get(ID, "x", ROOTS, builder) == sample()
    assert len(builder.asked) == 2
    assert any("damaged" in line for line in told)
    assert decode(shelf.path(ID).read_bytes(), ID, sample().drgn) == sample()


def test_without_the_binary_the_old_index_has_to_do(shelf: Shelf) -> None:
    assert shelf.get(ID, "x", ROOTS, None) is None
    shelf.get(ID, "x", ROOTS, Builder())
    assert shelf.get(ID, "x", ROOTS | {"struct more"}, None) == sample()


def test_missed_names_are_in_the_next_index(shelf: Shelf) -> None:
    builder = Builder()
    shelf.get(ID, "x", ROOTS, builder)
    shelf.miss(ID, ["struct more", "object single\tmm/vmalloc.c"])
    shelf.miss(ID, ["struct more", "object bad name\n", "nonsense", "struct ../x"])
    index = shelf.get(ID, "x", ROOTS, builder)
    assert index and index.roots == ROOTS | {"struct more", "object single\tmm/vmalloc.c"}
    assert shelf.get(ID, "x", ROOTS, builder) == index
    assert len(builder.asked) == 2


def test_missed_names_are_bounded_and_their_file_may_hold_anything(shelf: Shelf) -> None:
    shelf.miss(ID, [f"struct s{number}" for number in range(5000)])
    assert len(shelf.missed(ID)) == 2000
    (shelf.folder / f"{ID}.missed").write_bytes(b"\xff\0\n")
    assert shelf.missed(ID) == frozenset()


def test_an_index_of_another_version_makes_way(shelf: Shelf) -> None:
    shelf.folder.mkdir()
    old = shelf.folder / f"{ID}-0-0.0.1.json"
    other = shelf.folder / "bb66-0-0.0.1.json"
    for path in (old, other):
        path.write_text("{}")
    shelf.get(ID, "x", ROOTS, Builder())
    assert not old.exists()
    assert other.exists()


def test_a_cache_that_can_not_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "index").write_text("a file where the folder should be")
    builder = Builder()
    assert Shelf(tmp_path).get(ID, "x", ROOTS, builder) == sample()
    assert len(builder.asked) == 1


def test_two_processes_build_it_once(tmp_path: Path) -> None:
    code = (
        "import sys, time, json\n"
        "from pathlib import Path\n"
        "from test_symbols_shelf import Builder, ROOTS, ID\n"
        "from orchestrator.symbols.shelf import Shelf\n"
        "class Slow(Builder):\n"
        "    def __call__(self, roots):\n"
        "        time.sleep(0.3)\n"
        "        return super().__call__(roots)\n"
        "slow = Slow()\n"
        "assert Shelf(Path(sys.argv[1])).get(ID, 'x', ROOTS, slow).roots == ROOTS\n"
        "print(json.dumps(len(slow.asked)))\n"
    )
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(3)]
    built = [json.loads(process.communicate()[0]) for process in running]
    assert sum(built) == 1


def test_commands_that_do_not_look_inside_do_not_load_drgn() -> None:
    code = "import sys, orchestrator.cli, orchestrator.symbols; assert 'drgn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
