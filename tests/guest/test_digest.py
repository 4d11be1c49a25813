"""The digest in real guests: every scenario five times has one, in guests that several cases share, in one of its own,
restored or booted; and what `lab check` and `lab compare` say of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import OLDEST, Lab

from orchestrator import scenario
from orchestrator.digest import take
from orchestrator.rundir import RunDirectory, RunRecord

TIMES = 5
FOLDERS = (Path(__file__).parents[2] / "scenarios",)
LIFE = str(Path(__file__).parents[2] / "docs/life")


def names() -> list[str]:
    return list(scenario.names(FOLDERS))


def records(lab: Lab, folder: str) -> dict[str, RunRecord]:
    """The records of a matrix, by scenario."""
    found = [RunDirectory.open(file.parent).load() for file in (lab.folder / folder).glob("*/run.json")]
    return {str(record.case["scenario"]): record for record in found}


def apart(records: list[RunRecord]) -> dict[int, list[str]]:
    """The parts in which each of the runs differs from the first."""
    digests = [record.digest for record in records]
    assert all(digest and digest.parts for digest in digests)
    return {number: found for number, digest in enumerate(digests, 1)
            if digest and digests[0] and (found := take.differences(digests[0], digest))}  # fmt: skip


def test_every_scenario_five_times(lab: Lab) -> None:
    for number in range(TIMES):
        done = lab("matrix", "-i", "trixie", "-q", "-j", "2", "-o", f"m{number}", timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
    runs = [records(lab, f"m{number}") for number in range(TIMES)]
    assert {len(run) for run in runs} == {len(names())}
    assert {name: apart([run[name] for run in runs]) for name in runs[0]} == {name: {} for name in names()}


def test_alone_restored_booted_and_in_a_copy(lab: Lab) -> None:
    """In guests of its own, from another folder, with an older kernel and glibc."""
    shutil.copytree(LIFE, lab.folder / "elsewhere/of/the/same/life")
    for number, words in enumerate(((LIFE,), (LIFE, "--cold"), ("elsewhere/of/the/same/life",))):
        done = lab("run", *words, "-q", "-k", OLDEST[0], "-u", OLDEST[1], "-o", f"life-{number}")
        assert done.returncode == 0, done.stdout + done.stderr
    runs = [lab.record(f"life-{number}") for number in range(3)]
    assert runs[1].restored == {} != runs[0].restored
    assert apart(runs) == {}
    done = lab("compare", "life-0", "life-1")
    assert "are equal" in " ".join(done.stdout.split())
    evidence_gone_wrong(lab, "life-2")


def evidence_gone_wrong(lab: Lab, run: str) -> None:
    """`lab check` makes the same digest of the evidence, and says where it is another after a change in it."""
    digest = lab.record(run).digest
    assert digest
    done = lab("check", run)
    assert f"digest   {digest.sha256[:16]} of " in done.stdout
    assert "not the recorded one" not in done.stdout
    file = next((lab.folder / run).glob("evidence/*-freed/proc/*/smaps"))
    file.write_text(file.read_text().replace(" rw-p ", " r--p ", 1))
    said = " ".join(lab("check", run).stdout.split())
    assert "the digest is not the recorded one" in said
    assert "freed: mappings" in said


@pytest.mark.parametrize("setting", ["-D=MUTATE_KEEP", "--tunable=glibc.malloc.tcache_count=0"])
def test_another_setting_is_another_digest(lab: Lab, setting: str) -> None:
    option, _, value = setting.partition("=")
    for number, words in enumerate(((), (option, value))):
        lab("run", LIFE, "-q", *words, "-o", f"run-{number}")
    assert "case: settings" in apart([lab.record("run-0"), lab.record("run-1")])[2]
