"""ELF files: build-id, debug information, debug link; of damaged and hostile files, too."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import time
from pathlib import Path

import pytest
from pieces_samples import elf as sample
from pieces_samples import note, vmlinux

from orchestrator import elf

ID = bytes(range(20))


def written(folder: Path, data: bytes) -> Path:
    (folder / "x").write_bytes(data)
    return folder / "x"


def test_build_id_in_a_section(tmp_path: Path) -> None:
    assert elf.build_id(written(tmp_path, sample(ID))) == ID.hex()
    assert elf.build_id(written(tmp_path, sample())) == ""


@pytest.mark.parametrize("align", [4, 8])
def test_build_id_in_a_segment(tmp_path: Path, align: int) -> None:
    data = vmlinux("6.9")
    notes = note(5, b"GNU", bytes(4), align) + note(3, b"GNU", ID, align)
    segment = struct.pack("<IIQQQQQQ", 4, 4, len(data), 0, 0, len(notes), len(notes), align)
    assert elf.build_id(written(tmp_path, data[:64] + segment + data[120:] + notes)) == ID.hex()
    assert elf.build_id(written(tmp_path, data)) == "", "only a PVH note"


def test_build_id_in_bare_notes(tmp_path: Path) -> None:
    notes = note(18, b"Xen", bytes(8)) + note(3, b"GNU", ID) + note(256, b"Linux", b"\1")
    assert elf.build_id(written(tmp_path, notes)) == elf.build_id_of_notes(notes) == ID.hex()


@pytest.mark.parametrize(
    "notes",
    [
        b"",
        bytes(11),
        bytes(64),
        b"\xff" * 64,
        struct.pack("<III", 4, 0xFFFFFFF0, 3) + b"GNU\0",
        struct.pack("<III", 0xFFFFFFFF, 20, 3) + b"GNU\0" + bytes(20),
        note(3, b"GNU", bytes(65)),
        note(3, b"GNU", b""),
        note(3, b"gnu", ID),
        note(3, b"GNU", ID)[:-1],
    ],
)
def test_notes_without_a_build_id(notes: bytes) -> None:
    assert elf.build_id_of_notes(notes) == ""


def test_debug_information(tmp_path: Path) -> None:
    assert elf.has_dwarf(written(tmp_path, sample(ID, dwarf=True)))
    assert not elf.has_dwarf(written(tmp_path, sample(ID)))
    assert not elf.has_dwarf(written(tmp_path, sample(ID, dwarf=True, kind=8))), "SHT_NOBITS"


def test_debug_link(tmp_path: Path) -> None:
    assert elf.debug_link(written(tmp_path, sample(ID, link=("abc.debug", 0x12345678)))) == ("abc.debug", 0x12345678)
    assert elf.debug_link(written(tmp_path, sample(ID))) is None


@pytest.mark.parametrize("read", [elf.build_id, elf.has_dwarf, elf.debug_link])
def test_damaged_files_are_errors_or_say_nothing(tmp_path: Path, read) -> None:  # type: ignore[no-untyped-def]
    whole = sample(ID, dwarf=True, link=("x", 1))
    for length in range(4, len(whole)):
        with pytest.raises(elf.ElfError):
            read(written(tmp_path, whole[:length]))
    for at in range(4, len(whole)):
        with contextlib.suppress(elf.ElfError):
            read(written(tmp_path, whole[:at] + b"\xff" + whole[at + 1 :]))


@pytest.mark.parametrize("data", [b"\x7fELF\x01\x01" + bytes(60), vmlinux("6.9", machine=183), b"\x7fELF"])
def test_other_machines(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(elf.ElfError):
        elf.build_id(written(tmp_path, data))


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    """Its section table lies behind 8 GiB of nothing, as in a large vmlinux."""
    data, far = sample(ID, dwarf=True), 8 << 30
    (table,) = struct.unpack_from("<Q", data, 40)
    path = written(tmp_path, data[:40] + struct.pack("<Q", far) + data[48:table])
    with path.open("r+b") as stream:
        stream.seek(far)
        stream.write(data[table:])
    begin = time.process_time()
    assert (elf.build_id(path), elf.has_dwarf(path)) == (ID.hex(), True)
    assert time.process_time() - begin < 1
    os.truncate(path, 0)


def test_imports(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int pthread_create(void);\nint mine(void)\n{\n\treturn pthread_create();\n}\n")
    library = tmp_path / "a.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "a.c"], check=True)
    found = elf.imports(library)
    assert "pthread_create" in found and "mine" not in found
    assert elf.imports(written(tmp_path, sample(ID))) == frozenset(), "no dynamic symbols"
    with pytest.raises(elf.ElfError):
        elf.imports(written(tmp_path, library.read_bytes()[:2000]))
