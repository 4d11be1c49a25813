"""Looking inside, in real guests: what is read is held against other tools, damage and hostile states are survived."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import NEWEST, OLDEST, Lab

from orchestrator import resources
from orchestrator.model import Outcome
from orchestrator.pieces import Store
from orchestrator.prepare import Choice, prepare

INSIDE = str(Path(__file__).parents[1] / "data/programs/inside")
PAIRS = [OLDEST, ("6.1", "bookworm"), ("6.12", "trixie"), NEWEST]


def outcomes(lab: Lab, name: str) -> dict[str, tuple[Outcome, str]]:
    return {finding.id: (finding.outcome, finding.message) for finding in lab.record(name).findings}


@pytest.mark.parametrize(("kernel", "userland"), PAIRS)
def test_objects_tables_and_heaps_are_what_other_tools_see(lab: Lab, kernel: str, userland: str) -> None:
    done = lab("run", INSIDE, "-k", kernel, "-u", userland, "-o", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.record("run").left_out == {}


def test_without_looking_inside_the_rest_is_skipped_with_the_reason(lab: Lab) -> None:
    done = lab("run", INSIDE, "--no-inspect", "-o", "run")
    assert done.returncode == 0, done.stdout
    found = outcomes(lab, "run")
    assert {outcome for outcome, _ in found.values()} == {Outcome.SKIP}
    assert all("--no-inspect" in message for _, message in found.values())


def test_a_kernel_of_ones_own_without_symbols_and_with_those_of_another(lab: Lab) -> None:
    kernel, other = prepare(Choice(kernel="6.1")), prepare(Choice(kernel="5.10"))
    own = own_kernel(lab, "6.1")
    done = lab("run", INSIDE, *own, "-o", "bare")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all("no vmlinux" in message for _, message in outcomes(lab, "bare").values())
    wrong = other.find_symbols().vmlinux
    refused = lab("run", INSIDE, *own, "--vmlinux", str(wrong), "-o", "wrong")
    assert refused.returncode == 2, refused.stdout
    assert "another kernel: build-id" in refused.stdout + refused.stderr
    right = kernel.find_symbols().vmlinux
    done = lab("run", INSIDE, *own, "--vmlinux", str(right), "-o", "right")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {outcome for outcome, _ in outcomes(lab, "right").values()} == {Outcome.PASS}


def own_kernel(lab: Lab, name: str) -> list[str]:
    """The options for a kernel as a user has it: a bzImage and a tree of modules, from its package."""
    store = Store(resources.cache())
    entry = store.lock.get(f"kernel/{name}")
    assert entry is not None
    for pin in entry.packages:
        if not store.archive.has(pin):
            store.archive.fetch([pin], lambda: store.mirror)
        subprocess.run(["dpkg-deb", "-x", str(store.archive.path(pin)), str(lab.folder / "kernel")], check=True)
    shutil.copy(next((lab.folder / "kernel/boot").glob("vmlinuz-*")), lab.folder / "bzImage")
    tree = next((lab.folder / "kernel/lib/modules").iterdir())
    return ["--kernel", "./bzImage", "--modules", str(tree)]


DAMAGE = {
    "a size that leads out of the heap": "((unsigned long *)block[3])[-1] = 0x7ffffff1;",
    "a size of zero": "((unsigned long *)block[3])[-1] = 0;",
    "a ring in the cache": "free(block[1]); free(block[2]); *(unsigned long *)block[1] = mangled(block[1], block[2]);",
    "a list that leads nowhere": "free(block[1]); free(block[2]); ((unsigned long *)block[2])[0] = 0x123456;",
    "random words all over the heap": "for (int i = -2; i < 400; i++) ((unsigned long *)block[0])[i] = rand();",
}
PROGRAM = """#include <stdlib.h>
#include "lab.h"

static unsigned long mangled(void *at, void *to)
{
	return LINKED ? ((unsigned long)at >> 12) ^ (unsigned long)to : (unsigned long)to;
}

int main(void)
{
	char *block[8];

	for (int i = 0; i < 8; i++)
		block[i] = malloc(104);
	(void)mangled;
	DAMAGE
	lab_checkpoint("damaged");
	_Exit(0);
}
"""


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
def test_a_damaged_heap_is_shown_as_far_as_it_can_be_followed(lab: Lab, kernel: str, userland: str) -> None:
    for number, (what, code) in enumerate(DAMAGE.items()):
        folder = lab.folder / f"damage{number}"
        folder.mkdir()
        linked = "0" if userland == "bullseye" else "1"
        (folder / f"damage{number}.c").write_text(PROGRAM.replace("DAMAGE", code).replace("LINKED", linked))
        (folder / "scenario.yaml").write_text(
            f"name: damage{number}\nsummary: x\nclaims: [a.b]\ncheckpoints: [damaged]\ncflags: [-O0]\n"
            "inspect: {heap: all}\nexpectations:\n"
            "  - {id: flawed, claim: a.b, at: damaged, check: len(heap_flaws()) > 0, because: x, source: x}\n"
        )
        done = lab("run", f"./damage{number}", "-k", kernel, "-u", userland, "-o", f"run{number}")
        assert done.returncode == 0, f"{what}: {done.stdout}{done.stderr}"
        record = lab.record(f"run{number}")
        assert record.timings["inspect"] < 20, what
        (file,) = (lab.folder / f"run{number}/evidence").glob("*-damaged/heap/*.jsonl")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert lines[-1]["is"] == "end"


def test_a_program_without_libc_and_one_that_dies(lab: Lab) -> None:
    """A static program has no libc to be found, a dying one is looked at while it dies; kernel objects are there."""
    program = "#include <stdlib.h>\nint main(void) { *(volatile int *)malloc(9) = 1; abort(); }\n"
    (lab.folder / "dies.c").write_text(program)
    done = lab("run", "dies.c", "--inspect", "-o", "dies")
    assert done.returncode == 1, done.stdout
    (heap,) = (lab.folder / "dies/evidence").glob("*-signal-ABRT/heap/*.jsonl")
    assert '"is":"arena"' in heap.read_text()
    folder = lab.folder / "static"
    folder.mkdir()
    (folder / "static.c").write_text('#include "lab.h"\nint main(void) { lab_checkpoint("here"); return 0; }\n')
    (folder / "scenario.yaml").write_text(
        "name: static\nsummary: x\nclaims: [a.b]\ncheckpoints: [here]\ncflags: [-static]\n"
        "inspect: {heap: [here]}\nexpectations:\n"
        "  - {id: kernel, claim: a.b, at: here, check: mm().map_count == len(vmas()), because: x, source: x}\n"
        "  - {id: heap, claim: a.b, at: here, check: len(arenas()) == 1, because: x, source: x}\n"
    )
    assert lab("run", "./static", "-o", "static-run").returncode == 3
    found = outcomes(lab, "static-run")
    assert found["kernel"][0] is Outcome.PASS
    assert found["heap"][0] is Outcome.ERROR and "static program" in found["heap"][1]
