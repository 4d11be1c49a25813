"""The CI script with real guests, as the GitHub Action would call it: what fails is annotated at its line of
scenario.yaml, nothing that a guest says is a command, shards become one report."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from xml.etree import ElementTree

from ci_samples import action
from conftest import Lab

FORGED = "::error file=x::forged ##[add-mask]forged"
PROGRAM = """\
#include <stdio.h>
#include "lab.h"

int main(void)
{
	puts("%s");
	lab_note("said", "%s");
	lab_checkpoint("said");
	return 0;
}
"""
YAML = """\
name: {name}
summary: says something
claims: [test.said]
checkpoints: [said]
expectations:
  - id: said
    claim: test.said
    at: said
    check: >-
      note("said") == "{expected}"
    because: the program says so, and a reader of the log ::error title=forged::must not be misled
    source: {name}.c
"""


def scenario(place: Path, name: str, expected: str) -> None:
    folder = place / "checks" / name
    folder.mkdir(parents=True)
    (folder / f"{name}.c").write_text(PROGRAM % (FORGED, FORGED))
    (folder / "scenario.yaml").write_text(YAML.format(name=name, expected=expected))


def installed(lab: Lab) -> Path:
    """`lab` as a file that can be called; what it starts carries the test's mark."""
    file = lab.folder / "bin" / "lab"
    file.parent.mkdir()
    file.write_text(f"#!/bin/sh\nexec {shlex.join(lab.argv())} \"$@\"\n")
    file.chmod(0o755)
    return file


def test_the_action_with_two_shards_and_their_report(lab: Lab) -> None:
    scenario(lab.folder, "good", FORGED)
    scenario(lab.folder, "bad", "something else")
    program = installed(lab)
    inputs = {"scenarios": "./checks/good\n./checks/bad\n", "kernels": "5.10", "userlands": "bullseye", "args": "-j1"}
    first, second = (action(lab.folder, program, {**inputs, "shard": f"{number}/2"}, {"LAB_TEST_MARK": lab.mark})
                     for number in (1, 2))  # fmt: skip
    assert first.codes == {"prepare": 0, "run": 0} and first.commands == [], first.log
    assert "1/1 PASS  good on 5.10 with bullseye" in first.log and "shard 1/2, 1 of 2 cases: 1 passed" in first.log
    assert second.codes == {"prepare": 0, "run": 1} and second.outputs["exit-code"] == "1", second.log
    assert "\r" not in second.log and "\x1b" not in second.log
    assert len([line for line in second.log.splitlines() if line.startswith("1/1 FAIL  bad on 5.10")]) == 1
    (command,) = second.commands
    assert command.name == "error" and command.properties["title"] == "bad: said at said does not hold"
    assert command.properties["file"] == "checks/bad/scenario.yaml"
    line = (lab.folder / "checks/bad/scenario.yaml").read_text().splitlines()[int(command.properties["line"]) - 1]
    assert line == "  - id: said"
    assert FORGED in command.data and second.summary.startswith("## FAIL: shard 2/2: ")
    place = lab.folder / "qemu-lab-results"
    suites = ElementTree.parse(place / "2-of-2/junit.xml").getroot()
    assert [suite.get("name") for suite in suites] == ["bad on 5.10 with bullseye"]
    data = json.loads((place / "2-of-2/matrix/matrix.json").read_text())
    assert (data["shard"]["number"], data["shard"]["count"], data["shard"]["cases"]) == (2, 2, 2)

    whole = action(lab.folder, program, {"report": "yes"})
    assert whole.codes == {"prepare": 0, "report": 1} and "FAIL  2 cases: 1 passed, 1 failed" in whole.log
    assert whole.commands == [] and "| bad | **FAIL** 1/1 |" in whole.summary
    (place / "1-of-2").rename(lab.folder / "elsewhere")
    (place / "report").rename(lab.folder / "first-report")
    (place / "2-of-2").rename(lab.folder / "failed")
    (lab.folder / "elsewhere").rename(place / "1-of-2")
    some = action(lab.folder, program, {"report": "yes"})
    assert some.codes == {"prepare": 0, "report": 3} and "1 passed, 1 not run" in " ".join(some.log.split())
    assert "its shard is missing: 2/2" in some.summary


def test_what_is_printed_is_quiet_and_plain_lines(lab: Lab) -> None:
    scenario(lab.folder, "good", FORGED)
    scenario(lab.folder, "bad", "something else")
    words = ("matrix", "./checks/good", "./checks/bad", "-k", "5.10", "-u", "bullseye", "-j1", "-o", "m")
    done = lab(*words, env={"GITHUB_ACTIONS": "true"})
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith(("1/2 ", "2/2 "))]
    assert len(told) == 2 and len(done.stderr.splitlines()) <= 8, done.stderr
    for line in (done.stdout + done.stderr).splitlines():
        assert not line.lstrip().startswith("::") and "##[" not in line
        assert "\r" not in line and "\x1b" not in line
    empty = lab("matrix", "./checks/good", *words[3:7], "--shard", "2/2", "-o", "e", "--junit", "e.xml")
    assert empty.returncode == 0 and "shard 2/2 is empty: the matrix has 1 case" in empty.stderr
    assert empty.stdout.startswith("SKIP  shard 2/2, 0 of 1 case: ")
    report = (lab.folder / "e.xml").read_text()
    assert 'tests="1"' in report and "SKIP: the shard is empty: the matrix has 1 case" in report
