"""`lab new` and `lab list`: a scenario from the template is right without a guest, and what is shown of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator import claims, lint, scaffold, scenario
from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.lint import Compiler
from orchestrator.report import scenario_terminal


def test_what_it_makes_is_right(tmp_path: Path) -> None:
    folder = scaffold.make("my-first_1", tmp_path / "some/where")
    assert sorted(file.name for file in folder.iterdir()) == ["claims.yaml", "my-first_1.c", "scenario.yaml"]
    assert all("NAME" not in file.read_text() for file in folder.iterdir())
    made = scenario.load(folder)
    assert made.name == "my-first_1" and [e.id for e in made.expectations] == ["touch"]
    assert scenario.without_control(made) == ()
    catalogue = claims.catalogue(claims.beside(made))
    assert list(catalogue) == list(made.claims) == ["my-first_1.touch"]
    assert lint.lint(made, catalogue, Compiler("", None)) == []


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    folder = scaffold.make("mine", tmp_path)
    (folder / "mine.c").write_text("changed")
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("mine", "file", "empty"):
        with pytest.raises(UsageError, match=f"{name} is there already"):
            scaffold.make(name, tmp_path)
    assert (folder / "mine.c").read_text() == "changed"
    with pytest.raises(UsageError, match="there is a scenario brk already"):
        scaffold.make("brk", tmp_path)
    with pytest.raises(UsageError, match="cannot write"):
        scaffold.make("other", tmp_path / "file")


@pytest.mark.parametrize(
    "name", ["", "1st", "-x", "a b", "a/b", "../a", "a.c", "yes", "NULL", "on", "x" * 41, "a\n", "ä", "a:b", "."]
)
def test_names_that_can_not_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be a scenario's name"):
        scaffold.make(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_commands_that_it_names_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = str(tmp_path)
    for words, there in ((["mine"], "./mine"), (["mine", "-d", "a"], "a/mine"), (["m", "-d", whole], f"{whole}/m")):
        done = CliRunner().invoke(app, ["new", *words])
        assert done.exit_code == 0 and f"lab run {there} " in done.output and Path(there).is_dir()
        assert scenario.find(there, []).name == words[0]


YAML = """\
name: demo
summary: a demonstration
claims: [a.b, a.own]
needs: {kconfig: [CONFIG_KSM=y], symbols: [vma_find]}
append: [nokaslr]
sysctls: {vm.swappiness: 10}
trace: {syscalls: [brk], graph: [handle_mm_fault]}
own_boot: true
checkpoints: [start]
expectations:
  - id: first
    claim: a.b
    at: start
    variants:
      - when: kernel >= "6.4"
        check: len(syscalls("w", "brk")) == 1
        because: new
        source: f()
        verdict: refuted
      - {when: not kernel >= "6.4", check: note("a") == 1, because: old, source: g()}
  - {id: second, claim: a.own, check: exit_code == 0, because: it is, source: h()}
controls:
  - {name: other, fails: [first], defines: {X: 1}, ulimits: {stack: 4096}, why: because}
"""


def test_what_is_shown_of_a_scenario(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    (tmp_path / "demo.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "scenario.yaml").write_text(YAML)
    catalogue = {"a.b": claims.Claim("a.b", "what is claimed, \x1b[2J in a sentence", "A", ("P", "T"))}
    text = scenario_terminal.render(scenario.load(tmp_path), catalogue)
    golden("list-scenario.txt", text)
    assert "\x1b" not in text and "\x1b[1m" in scenario_terminal.render(scenario.load(tmp_path), catalogue, colour=True)


def test_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scaffold.make("mine", tmp_path / "scenarios")
    (tmp_path / "scenarios/broken").mkdir()
    (tmp_path / "scenarios/broken/scenario.yaml").write_text("name: [")
    done = CliRunner().invoke(app, ["list"])
    lines = {line.split()[0]: line.partition(" ")[2].strip() for line in done.output.splitlines()}
    assert done.exit_code == 0 and lines["mine"] == "The first write to a page is what takes memory"
    assert "not YAML" in lines["broken"] and "brk" in lines
    assert "mapping a page takes no memory" in " ".join(CliRunner().invoke(app, ["list", "mine"]).output.split())
