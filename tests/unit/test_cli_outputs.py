"""Where results go: `lab report` and the options that other commands share with it, without a guest."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from results_samples import everything, saved
from synthetic_run import FAILED, GREW

from orchestrator.cli import main
from orchestrator.cli.outputs import Outputs
from orchestrator.errors import UsageError
from orchestrator.model import Ending
from orchestrator.report import results

Lab = Callable[..., tuple[int, str, str]]
FORMATS = {"--json": "{", "--junit": "<?xml", "--ktap": "KTAP version 1\n", "--html": "<!doctype html",
           "--markdown": "## ", "--github": "::error "}  # fmt: skip


@pytest.fixture
def lab(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Lab:
    """``lab(*arguments)``: its exit code, stdout and stderr. What it does on a signal ends with it."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfdbinary.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else 0, said.out.decode(), said.err.decode()

    return run


def test_each_format_goes_to_its_file(lab: Lab, tmp_path: Path) -> None:
    everything(tmp_path / "m")
    files = {option: tmp_path / f"out{option}" for option in FORMATS}
    code, out, err = lab("report", tmp_path / "m", *(word for pair in files.items() for word in pair))
    assert (code, err) == (130, "")
    assert out.startswith("INTERRUPTED  12 cases: ") and out.count("\n") == 1
    for option, file in files.items():
        assert file.read_text().lower().startswith(FORMATS[option].lower()), option


@pytest.mark.parametrize("option", FORMATS)
def test_a_dash_is_stdout_and_nothing_else_is(lab: Lab, tmp_path: Path, option: str) -> None:
    saved(tmp_path / "run", FAILED if option == "--github" else GREW)
    code, out, err = lab("report", tmp_path / "run", option, "-")
    assert (code, err) == (int(option == "--github"), "")
    assert out.lower().startswith(FORMATS[option].lower()) and "PASS  1 passed" not in out
    if option == "--json":
        assert json.loads(out)["ending"] == "completed"


def test_without_an_option_it_is_for_people(lab: Lab, tmp_path: Path) -> None:
    saved(tmp_path / "run", FAILED)
    everything(tmp_path / "m")
    code, out, _ = lab("report", tmp_path / "run")
    assert code == 1 and out.startswith("brk on Linux 6.1.0-50-cloud-amd64 with glibc 2.36\n") and "because" in out
    code, out, _ = lab("report", tmp_path)
    assert code == 130 and "13 cases" in out and "LOST GUEST" in out


@pytest.mark.parametrize(
    ("ending", "code"), [(Ending.PANIC, 4), (Ending.TIMEOUT, 5), (Ending.INTERRUPTED, 130), (Ending.HOST_ERROR, 3)]
)
def test_the_exit_code_is_that_of_the_worst(lab: Lab, tmp_path: Path, ending: Ending, code: int) -> None:
    saved(tmp_path / "a", GREW, scenario="a")
    saved(tmp_path / "b", GREW, scenario="b", ending=ending)
    assert lab("report", tmp_path)[0] == code
    assert lab("report", tmp_path / "a")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--json", "no/such/x"), "no folder that can be written"), (("--html", "."), "it is a folder"),
        (("--json", "-", "--ktap", "-"), "both go to -"), (("--json", "x", "--junit", "./x"), "both go to"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", [("report", "run"), ("check", "run"), ("run", "brk"), ("matrix", "brk")])
def test_targets_are_looked_at_before_the_work(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               command: tuple[str, ...], arguments: tuple[str, ...], why: str) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "run", GREW)
    code, out, err = lab(*command, *arguments)
    assert code == 2 and why in err and not out
    assert not (tmp_path / "runs").exists()


def test_check_writes_what_it_found_now(lab: Lab, tmp_path: Path) -> None:
    scenario = tmp_path / "s"
    scenario.mkdir()
    (scenario / "x.c").write_text("int main(void) { return 0; }\n")
    saved(tmp_path / "run", FAILED, scenario="x", source=str(scenario / "x.c"), plain=True)
    code, out, _ = lab("check", tmp_path / "run", "--scenario", scenario / "x.c", "--ktap", "-")
    assert code == 0 and "ok 1 program-ended" in out and "grow-one-page" not in out


def test_one_file_that_can_not_be_written_does_not_cost_the_others(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", GREW)
    outputs = Outputs(json=tmp_path / "gone/x", ktap=tmp_path / "x.ktap")
    with pytest.raises(UsageError, match="gone/x"):
        outputs.write(lambda: results.of_run(run.record, run.directory.path))
    assert (tmp_path / "x.ktap").read_text().startswith("KTAP version 1\n")
    Outputs().write(lambda: pytest.fail("nothing was asked for"))


def test_nothing_to_report_is_a_mistake_of_the_user(lab: Lab, tmp_path: Path) -> None:
    code, _, err = lab("report", tmp_path)
    assert code == 2 and "no run directory" in err and "hint: `lab run`" in err
