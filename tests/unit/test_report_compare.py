"""A comparison as it is shown: terminal, Markdown, JSON with its schema, page; hostile text; the command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from compare_samples import NEW, OLD, compared, edited, make, two_kernels
from hostile_run import TRICKS, finding, hostile
from synthetic_run import FAILED, GREW
from typer.testing import CliRunner

from orchestrator import counterparts, progress, schema
from orchestrator.cli.app import app
from orchestrator.comparison.model import Comparison, Reason, Topic
from orchestrator.counterparts import Wanted
from orchestrator.errors import UsageError
from orchestrator.model import Outcome
from orchestrator.report import compare_json, compare_markdown, compare_terminal
from orchestrator.report.html import compare_page, compare_pictures

Golden = Callable[[str, str], None]
FORBIDDEN = set("\u202e\u2066\x1b\x07\x00\u2028\u2029")


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """Two kernels with everything in it: forms, a failure, what several cases share, a case alone, a run left out."""
    monkeypatch.chdir(tmp_path)
    two_kernels(Path("brk"))
    for side in ("old", "new"):
        (Path(side)).mkdir()
        (Path("brk") / side).rename(Path(side) / "brk")
    old = "4,1,2,-;Process 12(exe) has RLIMIT_CORE set to 1\n4,2,2,-;Aborting core\n"
    new = "4,1,2,-;coredump: 12(exe): RLIMIT_CORE is set to 1, aborting core\n"
    make(Path("old/fork"), scenario="fork", findings=(GREW,), log=old)
    make(Path("new/fork"), "6.12", kib=8, scenario="fork", findings=(FAILED,), log=new,
         settings={"tunables": [["a.b", "0"]]})
    Path("old/brk/kernel.log").write_text(old)
    Path("new/brk/kernel.log").write_text(new)
    make(Path("new/exec"), "6.12", scenario="exec")
    edited(make(Path("old/cut"), "5.10"), ending="interrupted")
    return replace(compared(Path("old"), Path("new")), statements={"brk.random": "the gap is `random`"}, lab="0.1.0")


def test_terminal(shown: Comparison, golden: Golden) -> None:
    text = compare_terminal.render(shown)
    golden("compare.txt", text)
    golden("compare-verbose.txt", compare_terminal.render(shown, verbose=True))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b[1m" in compare_terminal.render(shown, colour=True)


def test_markdown(shown: Comparison, golden: Golden) -> None:
    golden("compare.md", compare_markdown.render(shown))


def test_nothing_differs(tmp_path: Path) -> None:
    one = make(tmp_path / "one")
    same = compared(one, one)
    assert compare_terminal.render(same).splitlines()[-1] == "SAME  no difference in 1 case"
    assert "**SAME**: no difference in 1 case." in compare_markdown.render(same)
    assert json.loads(compare_json.render(same))["same"] is True
    assert "No difference." in compare_page.render(same)


def test_what_several_cases_share_has_the_places_of_each(tmp_path: Path) -> None:
    """They differ alike at other checkpoints."""
    for side, kernel, kib in (("a", "6.1", 4), ("b", "6.12", 8)):
        for scenario in ("brk", "fork", "exec"):
            make(tmp_path / side / scenario, kernel, kib=kib, scenario=scenario)
        record = tmp_path / side / "fork/run.json"
        record.write_text(record.read_text().replace('"grown"', '"elsewhere"'))
    found = compared(tmp_path / "a", tmp_path / "b")
    terminal, markdown, page = (compare_terminal.render(found), compare_markdown.render(found),
                                compare_page.render(found))  # fmt: skip
    for name, at in (("brk", "grown"), ("exec", "grown"), ("fork", "elsewhere")):
        for text in (terminal, markdown, page):
            assert f"in {name} with bookworm at {at}" in text


def test_costs_that_several_cases_share_are_a_table(tmp_path: Path) -> None:
    """Spaces between the digits of numbers are spaces; a cost is not unexplained."""
    for side, kernel, count in (("a", "6.1", 6473), ("b", "6.12", 7138)):
        for userland in ("bookworm", "trixie", "bullseye"):
            path = make(tmp_path / side / userland, kernel, userland)
            edited(path, deterministic={"clock": "icount"})
            (path / "evidence/01-grown/notes").write_text(f"cost.fault.write={count}\ncost.brk.grow={count + 1}\n")
    found = compared(tmp_path / "a", tmp_path / "b")
    text = compare_terminal.render(found)
    assert "    in all 3 cases\n    cost in instructions      A      B\n" \
           "    fault.write           6\u00a0473  7\u00a0138  +10 %\n" in text  # fmt: skip
    assert "unexplained" not in text.partition("the same in several cases")[2].rpartition("DIFFERENT")[0]
    assert "brk with bookworm  2 differences, as other cases have\nbrk with" in text
    markdown = compare_markdown.render(found)
    assert "| `6 473` | `7 138` | +10 % |" in markdown and "\\xa0" not in markdown + text
    page = compare_page.render(found)
    assert page.count("2 differences, as other cases have") == 3
    assert "<code>6 473</code>" in page and "\\xa0" not in page


def test_pictures_mark_what_the_page_says_differs(tmp_path: Path) -> None:
    def side(name: str, kernel: str, *sizes: int) -> Path:
        for number, kib in enumerate(sizes):
            make(tmp_path / name / str(number), kernel, kib=kib, started=f"2026-01-0{number + 1}")
        return tmp_path / name

    def marked(found: Comparison) -> set[tuple[str, str]]:
        data = compare_pictures.data(found.cases[0], ["A", "B"])
        assert data and [step["differs"] for step in data["steps"]] == [
            any(row["differs"] for row in step["space"]) for step in data["steps"]]  # fmt: skip
        return {(step["name"], row["name"]) for step in data["steps"] for row in step["space"] if row["differs"]}

    noisy = compared(side("a", "6.1", 4, 8), side("b", "6.12", 8, 4))  # the first runs, which are drawn, differ
    assert noisy.differences == 0 and noisy.cases[0].noise and marked(noisy) == set()
    assert marked(compared(side("c", "6.1", 4), side("d", "6.12", 8))) == {("grown", "[heap]")}


def test_pictures_say_what_they_leave_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(*two_kernels(tmp_path))
    monkeypatch.setattr(compare_pictures, "MAX_ROWS", 1)
    monkeypatch.setattr(compare_pictures, "MAX_STEPS", 1)
    data = compare_pictures.data(found.cases[0], ["A", "B"])
    assert data and data["left"] == 1
    (step,) = data["steps"]
    assert (step["name"], [row["name"] for row in step["space"]], step["left"]) == ("grown", ["[heap]"], 9)


def test_rows_of_all_sides_are_in_the_order_of_memory() -> None:
    def row(*names: str) -> compare_pictures.Rows:
        return {name: ("", {}) for name in names}

    assert compare_pictures._merged([row("a", "c", "d"), row("z", "a", "b", "c"), row("b", "x", "d", "y")]) == \
        ["z", "a", "b", "x", "c", "d", "y"]


def test_many_differences_make_no_large_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unexplained stands first, the rest is counted."""
    old = [replace(OLD, id=f"place-{number}") for number in range(40)]
    new = [replace(NEW, id=f"place-{number}") for number in range(40)]
    first = make(tmp_path / "a", findings=(*old, GREW))
    second = make(tmp_path / "b", "6.12", findings=(*new, FAILED))
    found = compared(first, second)
    assert "left out" not in compare_page.render(found)
    monkeypatch.setattr(compare_page, "ROWS_BUDGET", 8_000)
    page = compare_page.render(found)
    rows = re.findall(r'<span class="muted">finding</span> <code>([\w-]+)</code>', page)
    left = re.search(r"(\d+) differences of this case are left out", page)
    assert "grow-one-page" in rows and 1 < len(rows) < 20
    assert left and len(rows) + int(left[1]) == found.differences == 41


def _many(tmp_path: Path, count: int = 40) -> Comparison:
    """Explained differences, and one that is not."""
    old = [replace(OLD, id=f"place-{number}") for number in range(count)]
    new = [replace(NEW, id=f"place-{number}") for number in range(count)]
    return compared(make(tmp_path / "a", findings=(*old, GREW)), make(tmp_path / "b", "6.12", findings=(*new, FAILED)))


def test_the_terminal_is_bounded_in_lines_and_says_what_is_left_out(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _many(tmp_path)
    whole = compare_terminal.render(found)
    assert "more difference" not in whole
    monkeypatch.setattr(compare_terminal, "PAGE_LINES", 60)
    text = compare_terminal.render(found)
    rows, left = re.findall(r"finding: ([\w-]+)", text), re.search(r"\.\.\. and (\d+) more differences \(-v; ", text)
    assert "grow-one-page" in rows and 1 < len(rows) < 20, "what is unexplained is there"
    assert left and len(rows) + int(left[1]) == found.differences == 41
    assert len(text.splitlines()) < 80 and "41 differences in 1 of 1 case" in text and "--json FILE" in text
    assert len(re.findall("finding: ", compare_terminal.render(found, verbose=True))) == 41


def test_markdown_is_bounded_in_bytes_and_says_what_is_left_out(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _many(tmp_path)
    assert "more difference" not in compare_markdown.render(found)
    monkeypatch.setattr(compare_markdown, "MAX_SIZE", 5000)
    text = compare_markdown.render(found)
    rows = set(re.findall(r"finding: `([\w-]+)", text))
    left = re.search(r"… and (\d+) more differences: `lab compare`", text)
    assert "grow-one-page" in rows and 1 < len(rows) < 20
    assert left and len(rows) + int(left[1]) == found.differences == 41
    assert len(text.encode()) < 5000 and "41 differences in 1 of 1 case" in text and "--json FILE" in text


@pytest.mark.parametrize("render", [compare_terminal.render, compare_markdown.render])
def test_many_cases_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                render: Callable[[Comparison], str]) -> None:
    """Those that differ come before those that do not, and before what has no counterpart."""
    one, other = two_kernels(tmp_path)
    found = compared(one, other)
    case = found.cases[0]
    same = tuple(replace(case, name=f"same-{number}", differences=()) for number in range(200))
    many = replace(found, cases=(*same, case), alone=tuple(("A", f"alone-{number}") for number in range(300)),
                   left_out=tuple((f"run-{number}", "cut") for number in range(300)))  # fmt: skip
    monkeypatch.setattr(compare_terminal, "PAGE_LINES", 60)
    monkeypatch.setattr(compare_markdown, "MAX_SIZE", 9000)
    text = render(many)
    cases, left = set(re.findall(r"same-\d+", text)), re.search(r"and (\d+) more cases with 0 differences", text)
    assert case.name in text and "`place`" in text.replace("finding: place", "`place`")
    assert left and len(cases) + int(left[1]) == 200 and len(text.splitlines()) < 400
    for word, pattern in (("alone", r"and (\d+) more"), ("run", r"and (\d+) more")):
        there = len(set(re.findall(rf"{word}-\d+", text)))
        assert 0 < there < 300 and str(300 - there) in re.findall(pattern, text), word
    assert len(text.encode()) < 9000 or render is compare_terminal.render
    assert many.exit_code == 1


def test_hostile_text_stays_bounded(tmp_path: Path) -> None:
    """The worst that can stand in every place of as many sides, cases and differences as there may be."""
    found = _hostile(tmp_path)
    nasty = "\U000e0001|`<@\x1b" * 800
    bad = replace(found.cases[0].differences[0], what=nasty, claim=nasty, reasons=(Reason(("A",), nasty, nasty),) * 3)
    bad = replace(bad, spots=tuple(replace(bad.spots[0], at=nasty, values=(f"{number}{nasty}",) * 26)
                                   for number in range(50)))  # fmt: skip
    sides = tuple(replace(found.sides[0], letter=letter, name=nasty, place=nasty, settings=(nasty[:200],) * 50)
                  for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")  # fmt: skip
    case = replace(found.cases[0], name=nasty, runs=found.cases[0].runs[:1] * 26, broken=(nasty,) * 40,
                   digest=nasty, differences=(bad,) * 5)  # fmt: skip
    worst = replace(found, sides=sides, cases=(case,) * 40, alone=((nasty, nasty),) * 300,
                    left_out=((nasty, nasty),) * 300, statements={nasty: nasty})  # fmt: skip
    text = compare_markdown.render(worst)
    assert len(text.encode()) < 1 << 20 and not set(text) & FORBIDDEN
    assert "200 differences" in text and "more case" in text
    terminal = compare_terminal.render(worst)
    assert not set(terminal) & FORBIDDEN and len(terminal.splitlines()) < 20_000


def test_many_cases_make_no_large_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for scenario in ("brk", "exec", "fork"):
        make(tmp_path / "a" / scenario, scenario=scenario)
        make(tmp_path / "b" / scenario, "6.12", scenario=scenario, kib=8 if scenario == "fork" else 4)
    for number in range(3):
        make(tmp_path / "b" / f"more{number}", "6.12", scenario=f"more{number}")
    found = compared(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(compare_page, "MAX_CASES", 1)
    monkeypatch.setattr(compare_page, "MAX_LISTED", 1)
    page = compare_page.render(found)
    assert "2 more cases are left out" in page and 'id="c2-title">fork with bookworm' in page
    assert "and 2 more cases without a counterpart" in page


def test_sources_are_linked_in_the_version_of_the_side(tmp_path: Path) -> None:
    page = compare_page.render(compared(*two_kernels(tmp_path)))
    assert "/linux/v6.1/source/mm/old.c" in page and "/linux/v6.12/source/mm/new.c" in page


def test_json_is_as_published(shown: Comparison, tmp_path: Path) -> None:
    published = schema.load("compare")
    jsonschema.Draft202012Validator.check_schema(published)
    data = json.loads(compare_json.render(shown))
    jsonschema.Draft202012Validator(published).validate(data)
    assert data["exit_code"] == 1 and [side["letter"] for side in data["sides"]] == ["A", "B"]
    assert published["$defs"]["difference"]["properties"]["topic"]["enum"] == [topic.value for topic in Topic]
    (found,) = (one for one in data["cases"][0]["differences"] if one["what"] == "place")
    assert found["explained"] and found["reasons"][1]["because"] == "Since 6.4 it is otherwise."
    jsonschema.Draft202012Validator(published).validate(json.loads(compare_json.render(_hostile(tmp_path))))


def _hostile(tmp_path: Path) -> Comparison:
    """Two hostile runs that differ in a finding, one of them in other settings."""
    for name, outcome in (("one", Outcome.FAIL), ("other", Outcome.PASS)):
        run = hostile(tmp_path / name)
        run.record.findings = [finding(outcome)]
        run.record.case["kernel"] += f"{name} @octocat https://evil.example www.evil.example ![x](y)"
        run.directory.write("kernel.log", f"4,1,2,-;{TRICKS}{name} oops <b>\n".encode(errors="surrogatepass"))
        run.directory.save(run.record)
    return compared(tmp_path / "one", tmp_path / "other")


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    found = _hostile(tmp_path)
    assert found.differences
    for text in (compare_terminal.render(found, verbose=True), compare_markdown.render(found),
                 compare_page.render(found)):  # fmt: skip
        assert not set(text) & FORBIDDEN
    markdown = compare_markdown.render(found)
    parts = [line.split("`") for line in markdown.splitlines()]
    assert all(len(line) % 2 for line in parts), "every code ends in the line in which it begins"
    inside = [part for line in parts for part in line[1::2]]
    assert any("<img" in part for part in inside) and not [part for part in inside if re.search(r"(?<!\\)\|", part)]
    outside = "\n".join("".join(line[::2]) for line in parts)
    assert len(outside) + sum(map(len, inside)) + 2 * len(inside) + 1 == len(markdown), "all of it was looked at"
    assert not re.search(r"<(?!br>|!-- -->)|(?<!\w)@\w|://|www\.\w|!\[|\]\(", outside)
    page = compare_page.render(found)
    assert "<img" not in page and "</script></style>" not in page


def run(*arguments: object) -> tuple[int, str]:
    """The command's exit code and what it printed; an error of the lab's as code 2."""
    result = CliRunner().invoke(app, ["compare", "-q", *map(str, arguments)])
    if isinstance(result.exception, UsageError):
        return 2, result.exception.message
    return result.exit_code, result.output


def test_the_command(tmp_path: Path) -> None:
    old, new = two_kernels(tmp_path)
    assert run(old, old)[0] == 0
    code, text = run(old, new, "--markdown", tmp_path / "x.md", "--html", tmp_path / "x.html")
    assert code == 1 and "because" in text
    assert (tmp_path / "x.md").read_text().startswith("# 6.1 and 6.12 compared\n")
    assert "<!DOCTYPE html>" in (tmp_path / "x.html").read_text()
    code, text = run(old, new, "--json", "-")
    assert code == 1 and json.loads(text)["rule"] == "matched by scenario and userland"
    assert run(old, new, "--json", "-", "--html", "-") == (2, "--json and --html both go to -")
    assert run(old) == (2, "two directories are needed to compare")
    assert run(old, new, "--repeat", 2)[0] == 2
    assert "options of a run go with" in run(old, new, "--sysctl", "vm.x=1")[1]
    assert run(old, tmp_path / "nothing")[0] == 2


def test_what_is_missing_is_run_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = two_kernels(tmp_path)
    asked: list[Wanted] = []

    def runs_of(wanted: Wanted) -> list[tuple[str, list[Path]]]:
        asked.append(wanted)
        progress.send(progress.Event("case", "1/1 PASS  brk on 6.12", "PASS"))
        return [("6.1 with bookworm", [old]), ("6.12 with bookworm", [new])]

    monkeypatch.setattr(counterparts, "runs_of", runs_of)
    result = CliRunner().invoke(app, ["compare", "-k", "6.1", "-k", "6.12", "brk", "--repeat", "2", "-D", "X", "-o",
                                      str(tmp_path)])  # fmt: skip
    assert result.exit_code == 1 and "1/1 PASS  brk on 6.12" in result.stderr
    assert "DIFFERENT" in result.stdout
    (wanted,) = asked
    assert (wanted.scenarios, wanted.kernels, wanted.repeat) == (("brk",), ("6.1", "6.12"), 2)
    assert wanted.options.settings.defines == (("X", "1"),) and wanted.looked == (tmp_path,)
