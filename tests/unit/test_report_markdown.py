"""Markdown for a CI's summary page: small, folded, and no text of a guest that means anything in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from results_samples import everything, hostile, planned, ran, saved
from synthetic_run import FAILED, GREW, MERGED

from orchestrator.matrix.record import MatrixDirectory
from orchestrator.report import markdown, results
from orchestrator.report.results import Results

Golden = Callable[[str, str], None]
OURS = re.compile(r"<details><summary><b>|</b>|</summary>|</details>|<!-- -->")


def outside(text: str) -> Iterator[str]:
    """The lines that are not in blocks of code. A block is closed by a fence of its own length, so it must not hold
    one that is as long."""
    fence = ""
    for line in text.splitlines():
        found = re.match(r"(`{3,})(.*)", line)
        if not fence and found:
            fence = found[1]
        elif fence and line == fence:
            fence = ""
        elif fence:
            assert fence not in line
        else:
            yield line
    assert not fence


def test_every_verdict(tmp_path: Path, golden: Golden) -> None:
    everything(tmp_path / "m")
    text = markdown.render(results.read([tmp_path / "m"]))
    golden("results.md", text.replace(str(tmp_path / "m"), "runs/m"))
    for word in ("PASS 2", "**FAIL** 1/2", "SKIP 1", "**ERROR** 1/2", "**PANIC**", "**LOST GUEST**", "**TIMEOUT**",
                 "**INTERRUPTED**", "**NOT RUN**"):  # fmt: skip
        assert f"| {word} |" in text
    assert text.count("<details>") == text.count("</details>") == 10, "one for each that did not pass"
    assert text.startswith("## INTERRUPTED: 12 scenarios on 1 pair of kernel and userland\n")


def test_one_run(tmp_path: Path, golden: Golden) -> None:
    run = saved(tmp_path / "run", GREW, FAILED, MERGED)
    text = markdown.render(results.of_run(run.record, Path("runs/run")))
    golden("results-run.md", text)
    assert "| kernel.release | 6.1.0-50-cloud-amd64 |" in text and "| glibc | 2.36 |" in text
    passed = saved(tmp_path / "passed", GREW)
    assert "<details>" not in markdown.render(results.of_run(passed.record, passed.directory.path))


def test_nothing_ran(tmp_path: Path) -> None:
    assert markdown.render(Results("", Path("x"), ())).startswith("## NOT RUN: \n\nnothing ran, 0.0 ms, exit code 3")
    record = planned("brk")
    MatrixDirectory(tmp_path).save(record)
    assert markdown.render(results.read([tmp_path])).startswith("## ERROR: 1 scenario on 2 pairs")


def test_hostile_words_are_words(tmp_path: Path) -> None:
    one = hostile(tmp_path)
    for found in (one, replace(one, cases=(one.cases[0], replace(one.cases[0], kernel="6.2"), one.cases[0]))):
        text = markdown.render(found)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
        for line in outside(text):
            rest = OURS.sub("\0", line)
            assert not re.search(r"[<>`\[\]\\@]|://|www\.", rest), rest
            assert not re.match(r"\s*([-+*>] |\d+[.)] |=+$)", rest), "no list, quote or heading that is not ours"
            assert rest.startswith("| ") or "|" not in rest or set(rest) <= set("|-")
        cells = {line.count("|") for line in outside(text) if line.startswith("|")}
        assert len(cells) <= 2, "no text makes a cell"


def test_a_page_has_an_end(tmp_path: Path) -> None:
    many = [replace(FAILED, id=f"finding-{number}", message="x" * 3000) for number in range(200)]
    record = planned("brk", "exec")
    for case in record.cases:
        ran(tmp_path, case, *many)
    MatrixDirectory(tmp_path).save(record)
    found = results.read([tmp_path])
    assert "… 188 more findings" in markdown.render(found)
    case = found.cases[0]
    crowd = replace(found, cases=tuple(replace(case, name=f"n{number}", kernel=str(number)) for number in range(3000)))
    text = markdown.render(crowd)
    assert len(text.encode()) < 1 << 20
    assert "more cases did not pass: the JSON has them." in text and "more cases |" in text
