"""Annotations for GitHub: as its runner reads them, and no text of a guest that it could take for a command."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from results_samples import HOSTILE, everything, hostile, planned, ran, saved
from synthetic_run import FAILED, GREW

from orchestrator import scenario
from orchestrator.cli import show
from orchestrator.matrix.record import MatrixDirectory
from orchestrator.model import Ending, Outcome
from orchestrator.progress import Event
from orchestrator.report import github, results, results_terminal
from orchestrator.report.live import Live
from orchestrator.report.results import Results, places
from orchestrator.report.text import inert

Golden = Callable[[str, str], None]
REGISTERED = {"error", "warning", "notice", "debug", "group", "endgroup", "add-mask", "stop-commands", "set-output",
              "add-matcher", "save-state", "echo"}  # fmt: skip


@dataclass
class Command:
    name: str
    properties: dict[str, str]
    data: str


def parsed(line: str) -> Command | None:
    """The command in a line, by the rules of actions/runner, src/Runner.Common/ActionCommand.cs, as of 079cdb1d05fe:
    TryParseV2, then TryParse; what is escaped is put back in its order."""
    trimmed = line.lstrip()
    if trimmed.startswith("::") and (end := trimmed.find("::", 2)) >= 0:
        name, _, words = trimmed[2:end].partition(" ")
        if name.lower() in REGISTERED:
            pairs = (word.split("=", 1) for word in words.strip().split(",") if "=" in word)
            return Command(name, {key: unescaped(value, True) for key, value in pairs},
                           unescaped(trimmed[end + 2 :], False))  # fmt: skip
    start = line.find("##[")
    if start >= 0 and (end := line.find("]", start)) >= 0:
        name = line[start + 3 : end].partition(" ")[0]
        return Command(name, {}, line[end + 1 :]) if name.lower() in REGISTERED else None
    return None


def unescaped(text: str, is_property: bool) -> str:
    for code, char in (("%0D", "\r"), ("%0A", "\n"), *((("%3A", ":"), ("%2C", ",")) if is_property else ()),
                       ("%25", "%")):  # fmt: skip
        text = text.replace(code, char)
    return text


def commands(text: str) -> list[Command]:
    found = [parsed(line) for line in re.split(r"\r\n|\r|\n", text) if line]
    assert None not in found, "every line is a command"
    return [one for one in found if one is not None]


def annotated(found: Results, repository: Path) -> list[Command]:
    return commands(github.render(found, places.find(found, repository)))


def test_every_verdict(tmp_path: Path, golden: Golden) -> None:
    everything(tmp_path / "m")
    text = github.render(results.read([tmp_path / "m"]), {})
    golden("results.github", text.replace(str(tmp_path / "m"), "runs/m"))
    titles = [one.properties["title"] for one in commands(text)]
    assert {one.name for one in commands(text)} == {"error"} and len(titles) == 10
    for title in ("fail: grow-one-page at grown does not hold", "panic: PANIC", "never: NOT RUN", "timeout: TIMEOUT"):
        assert title in titles
    assert not any(title.startswith(("pass", "skip")) for title in titles)


def test_nothing_wrong_nothing_said(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", GREW)
    assert github.render(results.of_run(run.record, run.directory.path), {}) == ""


def test_nothing_ran_is_said() -> None:
    assert commands(github.render(Results("x", Path("x"), ()), {}))[0].properties["title"] == "lab: nothing ran"


def repository(tmp_path: Path) -> tuple[Path, scenario.Scenario]:
    """A repository with the scenario brk, whose expectation is that of the samples."""
    root = tmp_path / "repo, 100%: a"
    folder = root / "scenarios" / "brk"
    folder.mkdir(parents=True)
    (folder / "brk.c").write_text("int main(void) { return 0; }\n")
    (folder / "scenario.yaml").write_text(
        "name: brk\nsummary: moves the break\nclaims: [brk.grow]\ncheckpoints: [grown]\nexpectations:\n"
        "  - id: grow\n    claim: brk.grow\n    at: grown\n    check: len('x') == 0\n    because: b\n"
        "    source: s\n"
        "  - id: grow-rss\n    claim: brk.grow\n    at: grown\n    variants:\n"
        "      - when: kconfig(\"CONFIG_X\")\n        check: len('x') == 1\n        because: b\n        source: s\n"
        "      - when: not kconfig(\"CONFIG_X\")\n        check: len('x') == 2\n        because: b\n"
        "        source: s\n"
    )  # fmt: skip
    return root, scenario.load(folder)


def test_an_annotation_stands_at_the_line_that_was_checked(tmp_path: Path) -> None:
    root, wanted = repository(tmp_path)
    variant = wanted.expectations[1].variants[1]
    finding = replace(FAILED, id="grow-rss", when=variant.when, check=variant.check)
    source = root / "scenarios/brk/scenario.yaml"
    run = saved(tmp_path / "run", finding, source=str(source))
    one = annotated(results.of_run(run.record, run.directory.path), root)[0]
    assert one.properties["file"] == "scenarios/brk/scenario.yaml"
    line = source.read_text().splitlines()[int(one.properties["line"]) - 1]
    assert line == '      - when: not kconfig("CONFIG_X")'
    assert one.properties["title"] == "brk: grow-rss at grown does not hold"
    assert "check: len('x') == 2" in one.data and one.data.startswith("brk on 6.1 with bookworm\n")
    edited = replace(finding, check="something else")
    run = saved(tmp_path / "other", edited, source=str(source))
    one = annotated(results.of_run(run.record, run.directory.path), root)[0]
    assert "id: grow-rss" in source.read_text().splitlines()[int(one.properties["line"]) - 1]


def test_a_run_of_another_machine_finds_its_file_here(tmp_path: Path) -> None:
    root, _ = repository(tmp_path)
    for number, place in enumerate(("/builds/7/group/project/", "")):
        source = f"{place}scenarios/brk/scenario.yaml"
        run = saved(tmp_path / f"run{number}", replace(FAILED, id="grow"), source=source)
        one = annotated(results.of_run(run.record, run.directory.path), root)[0]
        assert one.properties["file"] == "scenarios/brk/scenario.yaml" and int(one.properties["line"]) > 1


@pytest.mark.parametrize("source", ["", "/etc/passwd", "../../x", "a\0b", "/" + "a/" * 200, "x" * 5000, 7, None, [1]])
def test_a_file_that_is_not_in_the_repository_is_not_named(tmp_path: Path, source: object) -> None:
    root, _ = repository(tmp_path)
    run = saved(tmp_path / "run", FAILED, source=source)
    one = annotated(results.of_run(run.record, run.directory.path), root)[0]
    assert list(one.properties) == ["title"]


def test_one_annotation_for_all_pairs(tmp_path: Path) -> None:
    record = planned("brk", pairs=tuple((f"6.{number}", "bookworm") for number in range(20)))
    for case in record.cases:
        ran(tmp_path, case, FAILED)
    MatrixDirectory(tmp_path).save(record)
    found = annotated(results.read([tmp_path]), tmp_path)
    assert len(found) == 1 and "brk on 6.11 with bookworm and 8 more" in found[0].data


def test_never_more_than_ten(tmp_path: Path) -> None:
    findings = [replace(FAILED, id=f"id-{number}") for number in range(40)]
    run = saved(tmp_path / "run", *findings)
    found = annotated(results.of_run(run.record, run.directory.path), tmp_path)
    assert len(found) == 10 and found[-1].properties["title"] == "lab: 31 more problems"


def test_a_lost_guest_is_one_annotation_not_one_for_each_expectation(tmp_path: Path) -> None:
    unseen = [replace(GREW, id=f"id-{number}", outcome=Outcome.ERROR, message="not reached") for number in range(9)]
    run = saved(tmp_path / "run", *unseen, FAILED, ending=Ending.PANIC, detail="Kernel panic: 50%, x")
    titles = [one.properties["title"] for one in annotated(results.of_run(run.record, run.directory.path), tmp_path)]
    assert titles == ["brk: PANIC", "brk: grow-one-page at grown does not hold"]


def test_a_hostile_guest_makes_no_command(tmp_path: Path) -> None:
    found = hostile(tmp_path)
    for one in annotated(found, tmp_path):
        assert one.name == "error" and set(one.properties) == {"title"} and len(one.data) <= github.MAX_TEXT
        assert "\x1b" not in one.data and "\u202e" not in one.data


FORGED = "::error file=a::x\n  ::add-mask::y\nz ##[add-mask]q\n\u3000::stop-commands::t\na ##vso[task.x]\n##teamcity[a]"


@pytest.mark.parametrize("name", ["GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"])
def test_no_line_of_a_report_is_a_command(name: str) -> None:
    assert any(parsed(line) for line in FORGED.splitlines())
    text = inert(FORGED, {name: "true"})
    assert not any(parsed(line) for line in text.splitlines()) and "##vso[" not in text and "##teamcity[" not in text
    assert inert(text, {name: "true"}) == text, "once is enough"
    assert inert(FORGED, {}) == FORGED
    assert inert("std::vector, a # [1]", {name: "1"}) == "std::vector, a # [1]"


def test_what_the_lab_prints_is_inert_on_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    words = "aa " * 30 + "::error file=x::forged " + "##[add-mask]secret"
    finding = replace(FAILED, message=words)
    run = saved(tmp_path / "run", finding, ending=Ending.PANIC, detail=f"{words}\n::error::x {HOSTILE}")
    found = results.of_run(run.record, run.directory.path)
    plain = results_terminal.render(found)
    assert any(parsed(line) for line in plain.splitlines()), "a line is broken where a word begins"
    show.results(found, True)
    show.put(plain)
    with Live(sys.stderr, terminal=False) as live:
        live(Event("note", "::error::forged"))
        live(Event("note", f"x {words}"))
    said = capsys.readouterr()
    assert "forged" in said.out and "forged" in said.err
    assert not [line for line in (said.out + said.err).splitlines() if parsed(line)]
