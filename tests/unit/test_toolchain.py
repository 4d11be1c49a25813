"""Compiled programs: cached by everything that went into them, and never a wrong one.

The host's own libc serves as the sysroot here; each userland's is tested with the pieces.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.toolchain import Program, compile_program


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Two sources with a space in a name; each includes a file of its own that is no header by its name."""
    folder = tmp_path / "my sources"
    (folder / "sub").mkdir(parents=True)
    (folder / "main.c").write_text('#include "sub/a.inc"\nint other(void);\nint main(void) { return A + other(); }\n')
    (folder / "the other.c").write_text('#include "b$.inc"\nint other(void) { return B; }\n')
    (folder / "sub/a.inc").write_text("#define A 1\n")
    (folder / "b$.inc").write_text("#define B 10\n")
    return folder


def build(sources: Path, **more: object) -> Program:
    sysroot = sources.parent / "sysroot"
    if not sysroot.exists():
        sysroot.symlink_to("/")
    files = sorted(sources.glob("*.c"))
    return compile_program(files, sysroot, "host", sources.parent / "cache", **more)  # type: ignore[arg-type]


def status(program: Program) -> int:
    return subprocess.run([program.path], check=False).returncode


def test_the_same_again_is_not_compiled_again(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(sources)
    assert status(first) == 11
    monkeypatch.setattr("orchestrator.toolchain._compile", lambda *_: pytest.fail("compiled again"))
    assert build(sources) == first


@pytest.mark.parametrize("name", ["main.c", "the other.c", "sub/a.inc", "b$.inc"])
def test_whatever_went_in_and_changed_is_compiled_again(sources: Path, name: str) -> None:
    build(sources)
    changed = sources / name
    text = changed.read_text().replace("A 1", "A 2").replace("B 10", "B 20").replace("return ", "return 1 + ")
    changed.write_text(text)
    assert status(build(sources)) != 11


def test_flags_are_part_of_it(sources: Path) -> None:
    (sources / "sub/a.inc").write_text("#ifndef A\n#define A 1\n#endif\n")
    assert (status(build(sources)), status(build(sources, flags=("-DA=5",)))) == (11, 15)


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_program_is_never_used(sources: Path, damage: bytes) -> None:
    build(sources).path.write_bytes(damage)
    assert status(build(sources)) == 11


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"program": "../../x", "inputs": {}}'])
def test_a_damaged_memory_is_no_memory(sources: Path, damage: str) -> None:
    build(sources)
    for made in (sources.parent / "cache/compiled").glob("*.json"):
        made.write_text(damage)
    assert status(build(sources)) == 11


def test_the_compilers_own_words(sources: Path) -> None:
    (sources / "main.c").write_text("int main(void) { return missing; }\n")
    with pytest.raises(UsageError, match=r"missing.*undeclared"):
        build(sources)
