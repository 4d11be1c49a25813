"""What shapes a saved state has a part in its key; what makes a guest its own is one line on its console."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.machine import warm
from orchestrator.machine.recipe import Recipe
from orchestrator.machine.ssh import new_identity
from orchestrator.model import Emulator, Kernel, Piece, PieceKind, Userland
from orchestrator.prepare import own_emulator

GUEST = Path(__file__).resolve().parents[2] / "guest"


def piece(kind: PieceKind, key: str) -> Piece:
    return Piece(kind, "x", "1", key, Path("/pieces"))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    for name in ("vmlinuz", "modules", "userland", "qemu"):
        (tmp_path / name).write_text(name)
    return Recipe(
        kernel=Kernel("6.12", tmp_path / "vmlinuz", tmp_path / "modules", None, "6.12", piece(PieceKind.KERNEL, "k")),
        userland=Userland("trixie", "2.41", tmp_path / "userland", None, piece(PieceKind.USERLAND, "u")),
        agent=Path("agent-1.cpio"),
        emulator=Emulator("trixie", (str(tmp_path / "qemu"),), "10.0", piece(PieceKind.EMULATOR, "e")),
        states=tmp_path / "states",
    )


def own(recipe: Recipe) -> Recipe:
    """The same with a user's own kernel."""
    return replace(recipe, kernel=replace(recipe.kernel, piece=None))


@pytest.mark.parametrize(
    "changes",
    [
        {"append": ("nokaslr",)}, {"memory": 1024}, {"cpus": 2}, {"accelerator": "kvm"}, {"sandbox": False},
        {"agent": Path("agent-2.cpio")},
    ],
)  # fmt: skip
def test_whatever_shapes_the_guest_is_in_the_key(recipe: Recipe, changes: dict[str, Any]) -> None:
    assert warm.key(replace(recipe, **changes)) != warm.key(recipe)


def test_other_pieces_have_other_keys(recipe: Recipe) -> None:
    others = [
        replace(recipe, kernel=replace(recipe.kernel, piece=piece(PieceKind.KERNEL, "k2"))),
        replace(recipe, userland=replace(recipe.userland, piece=piece(PieceKind.USERLAND, "u2"))),
        replace(recipe, emulator=replace(recipe.emulator, piece=piece(PieceKind.EMULATOR, "e2"))),
        replace(recipe, emulator=replace(recipe.emulator, version="10.1")),
        replace(recipe, kernel=replace(recipe.kernel, modules=None)),
    ]
    assert len({warm.key(one) for one in (recipe, *others)}) == 1 + len(others)


def test_where_a_piece_lies_and_who_keeps_states_is_not_in_the_key(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    moved = (tmp_path / "vmlinuz").rename(tmp_path / "other" / "vmlinuz")
    assert warm.key(replace(recipe, kernel=replace(recipe.kernel, vmlinuz=moved))) == warm.key(recipe)
    assert warm.key(replace(recipe, states=None)) == warm.key(recipe)


def test_a_users_own_kernel_is_another_one_when_its_file_changes(recipe: Recipe) -> None:
    before = warm.key(own(recipe))
    assert before == warm.key(own(recipe)) != warm.key(recipe)
    recipe.kernel.vmlinuz.write_text("another")
    assert warm.key(own(recipe)) != before


def test_a_users_own_tree_is_the_same_one_however_often_it_is_packed(recipe: Recipe, tmp_path: Path) -> None:
    """pieces/user.py packs it for each run, under a name that is its content's digest."""
    mine = replace(recipe, userland=replace(recipe.userland, piece=None))
    before = warm.key(mine)
    again = tmp_path / "again"
    again.write_text("userland")
    again.replace(mine.userland.cpio)
    assert warm.key(mine) == before


def test_the_hosts_processor_is_in_the_key(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time-stamp counter's frequency under TCG, all of it under KVM."""
    keys = set()
    for accelerator in ("tcg", "kvm"):
        for flags in ("fpu", "fpu avx"):
            for model in ("at 2.1 GHz", "at 3.0 GHz"):
                text = f"model name\t: CPU {model}\nflags\t\t: {flags}\ncpu MHz\t\t: 1234.5\n"
                monkeypatch.setattr(warm.Path, "read_text", lambda self, text=text: text)
                keys.add(warm.key(replace(recipe, accelerator=accelerator)))
    assert len(keys) == 2 + 4


def test_what_qemu_loads_is_in_the_key(recipe: Recipe, tmp_path: Path) -> None:
    """The first of that name that it finds, though QEMU itself is the same: a restored guest has run it."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    firmware = (tmp_path / "first", tmp_path / "second")
    mine = replace(recipe, emulator=replace(recipe.emulator, piece=None, firmware=firmware))
    keys = [warm.key(mine)]
    for folder in ("second", "first"):
        (tmp_path / folder / "kvmvapic.bin").write_bytes(b"one")
        keys.append(warm.key(mine))
    (tmp_path / "first/kvmvapic.bin").write_bytes(b"two")  # of the same size
    keys.append(warm.key(mine))
    (tmp_path / "second/kvmvapic.bin").write_bytes(b"two")
    (tmp_path / "first/vgabios.bin").write_bytes(b"no guest of ours has a screen")
    assert len(set(keys)) == 4 and warm.key(mine) == keys[-1]


def test_firmware_in_the_working_directory_comes_first(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU tries the bare name before its folders, whoever brings it."""
    monkeypatch.chdir(tmp_path)
    before = warm.key(recipe)
    (tmp_path / "bios-256k.bin").write_bytes(b"mine")
    assert warm.key(recipe) != before


def test_a_users_qemu_is_asked_where_its_firmware_is(tmp_path: Path) -> None:
    program = tmp_path / "qemu"
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo QEMU emulator version 10.0.2 || echo "$*"; echo /b\n')
    program.chmod(0o755)
    assert own_emulator(str(program), program).firmware == (Path("-L help"), Path("/b"))


def test_each_user_has_states_of_their_own(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state holds a guest's memory, and nobody else may read it."""
    before = warm.key(recipe)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert warm.key(recipe) != before


READER = """
#include "own.h"
#include <stdio.h>
int main(void) { const char *p = own_terminal(); if (!p) p = become_own(); printf("%s\\n", p ? p : "own"); return 0; }
"""


def test_the_line_is_read_by_the_guest_as_it_is_meant(tmp_path: Path) -> None:
    """guest/own.c on a pseudo-terminal, with its system calls replaced by ones that tell what they were given."""
    identity = new_identity()
    line = warm.own_line(identity, 1_795_840_012_600_980_123, bytes(range(64)))
    assert len(line) < 4000 and line.isascii()
    source = tmp_path / "main.c"
    source.write_text(READER + """
#include <fcntl.h>
#include <linux/random.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
int fake_settime(clockid_t c, const struct timespec *t)
{
	printf("%d %lld %ld\\n", c, (long long)t->tv_sec, t->tv_nsec);
	return 0;
}
int fake_mkdir(const char *p, mode_t m) { (void)p; (void)m; return 0; }
int fake_open(const char *p, int f, ...) { printf("open %s\\n", p); return !f; }
int fake_close(int fd) { (void)fd; return 0; }
ssize_t fake_write(int fd, const void *d, size_t n)
{
	(void)fd;
	for (size_t i = 0; i < n; i++)
		printf("%02x", ((const unsigned char *)d)[i]);
	puts("");
	return (ssize_t)n;
}
int fake_ioctl(int fd, unsigned long what, ...)
{
	va_list ap;

	va_start(ap, what);
	if (what == RNDADDENTROPY) {
		struct rand_pool_info *p = va_arg(ap, struct rand_pool_info *);
		unsigned char *b = (unsigned char *)p->buf;

		printf("entropy %d %d %02x%02x\\n", p->entropy_count, p->buf_size, b[1], b[63]);
	} else {
		printf("reseed %d\\n", what == RNDRESEEDCRNG);
	}
	va_end(ap);
	return fd < 0;
}
""")
    fakes = [f"-D{name}=fake_{fake}" for name, fake in (
        ("clock_settime", "settime"), ("mkdir", "mkdir"), ("open", "open"), ("close", "close"), ("write", "write"),
        ("ioctl", "ioctl"))]  # fmt: skip
    subprocess.run(["gcc", "-std=gnu11", "-c", *fakes, f"-I{GUEST}", GUEST / "own.c", "-o", tmp_path / "own.o"],
                   check=True)
    subprocess.run(["gcc", "-std=gnu11", f"-I{GUEST}", source, tmp_path / "own.o", "-o", tmp_path / "own"], check=True)
    said = on_terminal(tmp_path / "own", line)
    assert said == [
        "0 1795840012 600980123", "open /dev/urandom", "entropy 512 64 013f", "reseed 1",
        "open /lab/hostkey", identity.host_key.hex(),
        "open /root/.ssh/authorized_keys", identity.authorized.hex(), "own",
    ]  # fmt: skip
    assert on_terminal(tmp_path / "own", "own 1 2 3")[-1] == "the line has not six words"
    assert on_terminal(tmp_path / "own", "OWN 1 2 3 4 5")[-1] == "the line begins otherwise"
    assert on_terminal(tmp_path / "own", f"own 1 2 {'00' * 64} 5x 00")[-1] == "a word is not hexadecimal, or too short"
    assert on_terminal(tmp_path / "own", f"own 1 2 {'00' * 31} 00 00")[-1] == "a word is not hexadecimal, or too short"


def on_terminal(program: Path, line: str) -> list[str]:
    """What a program prints that reads a line from a terminal; the line must not be echoed."""
    import pexpect

    child = pexpect.spawn(str(program), timeout=20, encoding="utf-8")
    assert child.waitnoecho()
    child.sendline(line)
    child.expect(pexpect.EOF)
    child.close()
    found = str(child.before).replace("\r", "").strip().split("\n")
    assert line not in found
    return found
