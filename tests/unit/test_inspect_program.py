"""The program's own symbols: against what a real program says of itself, and damaged files."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import LabError
from orchestrator.inspection import program

SOURCE = """
#include <stdio.h>
#include <string.h>
int counter = 3;
static char buffer[100];
__thread long before = 1;
__thread int mine = 2;
static int twice(void) { return 1; }
int main(void)
{
    char line[400];
    unsigned long fs;
    FILE *maps = fopen("/proc/self/maps", "r");

    memset(buffer, 1, sizeof(buffer));
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    printf("counter %lx\\nbuffer %lx\\nmain %lx\\ntwice %lx\\nmine %lx\\nfs %lx\\n", (unsigned long)&counter,
           (unsigned long)buffer, (unsigned long)main, (unsigned long)twice, (unsigned long)&mine, fs);
    fgets(line, sizeof(line), maps);
    printf("base %s", line);
    return twice() - 1;
}
"""


@pytest.fixture(scope="module", params=["-pie", "-no-pie"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    folder = tmp_path_factory.mktemp("program")
    (folder / "a.c").write_text(SOURCE)
    flags = ["-fPIE", "-pie"] if request.param == "-pie" else ["-fno-pie", "-no-pie"]
    subprocess.run(["gcc", "-O0", *flags, "-o", folder / "a", folder / "a.c"], check=True)
    said = subprocess.run([folder / "a"], capture_output=True, text=True, check=True).stdout
    return folder / "a", {name: int(value, 16) for name, value in re.findall(r"^(\w+) ([0-9a-f]+)", said, re.MULTILINE)}


def test_symbols_are_where_the_program_says(built: tuple[Path, dict[str, int]]) -> None:
    path, said = built
    found = program.read(path)
    areas = [{"start": said["base"] + 4096 * page, "file": "/x", "pgoff": page} for page in (0, 1)]
    bias = program.bias(found, areas, "/x")
    assert bias is not None and program.bias(found, [], "/x") == (0 if found.fixed else None)
    for name in ("counter", "buffer", "main", "twice"):
        (symbol,) = found.named(name)
        assert symbol.value + bias == said[name]
        assert found.at(symbol.value + min(symbol.size - 1, 3)) == symbol
    (mine,) = found.named("mine")
    assert mine.tls and program.thread_local(found, mine, said["fs"]) == said["mine"]
    assert program.thread_local(found, mine, 0) is None
    assert found.named("nothing") == [] and found.at(0) is None


def test_what_is_no_program(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="No such file"):
        program.read(tmp_path / "none")
    (tmp_path / "text").write_text("#!/bin/sh\n")
    with pytest.raises(LabError, match="not an ELF program"):
        program.read(tmp_path / "text")


def test_damage_is_an_error_or_other_symbols(built: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    data = built[0].read_bytes()
    chance = random.Random(1)
    for _ in range(300):
        raw = bytearray(data)
        for _ in range(4):
            place = chance.choice((chance.randrange(64), chance.randrange(len(raw))))
            raw[place] = chance.randrange(256)
        (tmp_path / "a").write_bytes(raw[:chance.randrange(len(raw))] if chance.random() < 0.2 else raw)
        try:
            found = program.read(tmp_path / "a")
            found.at(chance.randrange(1 << 16))
        except LabError as error:
            assert "ELF" in error.message
