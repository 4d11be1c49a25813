"""`lab run --bisect` where there is no run to judge: whatever it is, git must neither take it for good nor for bad."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from orchestrator.cli import Judged

ROOT = Path(__file__).parents[2]
LAB = "import sys; sys.argv[0] = 'lab'\n{before}\nfrom orchestrator.cli import main; main()"


def lab(tmp_path: Path, words: Sequence[str], before: str = "", stdout: int | IO[Any] = subprocess.PIPE) -> \
        subprocess.CompletedProcess[str]:
    here = {**os.environ, "PYTHONPATH": str(ROOT), "LAB_CACHE": str(tmp_path / "cache"), "PYTHONUNBUFFERED": ""}
    return subprocess.run([sys.executable, "-c", LAB.format(before=before), *words], cwd=tmp_path, env=here, text=True,
                          stdout=stdout, stderr=subprocess.PIPE, check=False)


# what stands for a run that ended with an error, or without one
RAISES = "from orchestrator import experiment, errors\ndef run(request): raise {error}\nexperiment.run = run"


@pytest.mark.parametrize(
    ("words", "before"),
    [
        (["--nonsense"], ""),
        (["-k", "6.13"], ""),
        (["--expectation", "none-such"], ""),
        ([], RAISES.format(error="errors.HostError('x')")),
        ([], RAISES.format(error="errors.GuestError('x')")),
        ([], RAISES.format(error="OSError(28, 'No space left on device')")),
        ([], RAISES.format(error="BrokenPipeError(32, 'x')")),
        ([], RAISES.format(error="ValueError('a mistake of ours')")),
        ([], RAISES.format(error="SystemExit(0)")),
    ],
)
def test_no_run_is_skipped(words: list[str], before: str, tmp_path: Path) -> None:
    done = lab(tmp_path, ["run", "brk", "-q", "--bisect", *words], before)
    assert done.returncode == 125, done.stderr
    assert done.stderr.splitlines()[-1].startswith("lab: exit 125: skip, it can't be judged (there was no run to judge")


def test_ctrl_c_stops_git_bisect_run(tmp_path: Path) -> None:
    """git-bisect(1): a code above 127 ends `git bisect run`."""
    before = "import os, signal\n" + RAISES.format(error="OSError(os.kill(os.getpid(), signal.SIGINT))")
    done = lab(tmp_path, ["run", "brk", "-q", "--bisect"], before)
    assert done.returncode == 130
    last = ["lab: interrupted", "lab: exit 130: interrupted, git bisect run stops here"]
    assert done.stderr.splitlines()[-2:] == last


@pytest.mark.parametrize("code", [0, 4])
def test_an_answer_is_told_as_it_is(code: int, tmp_path: Path) -> None:
    before = "import orchestrator.cli as cli\n" + RAISES.format(error=f"cli.Judged({code}, 'so it was')")
    done = lab(tmp_path, ["run", "brk", "-q", "--bisect"], before)
    assert done.returncode == code
    assert done.stderr.splitlines()[-1].startswith(f"lab: exit {code}: ") and "(so it was)" in done.stderr


@pytest.mark.parametrize("code", [0, 1])
def test_a_full_disk_under_the_output_changes_no_answer(code: int, tmp_path: Path) -> None:
    """Python ends with 120 where what is left to print can't be."""
    raised = f"(print('left'), cli.Judged({code}, ''))[1]"
    before = "import orchestrator.cli as cli\n" + RAISES.format(error=raised)
    with Path("/dev/full").open("wb") as full:
        assert lab(tmp_path, ["run", "brk", "-q", "--bisect"], before, stdout=full).returncode == code


def test_without_it_codes_are_as_ever(tmp_path: Path) -> None:
    done = lab(tmp_path, ["run", "brk", "-k", "6.13"])
    assert done.returncode == 2 and "exit" not in done.stderr
    done = lab(tmp_path, ["run", "brk", "--expectation", "grow"])
    assert done.returncode == 2 and "--bisect" in done.stderr
    assert issubclass(Judged, SystemExit)
