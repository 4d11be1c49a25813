"""`lab bisect` over kernels and userlands that differ, and over such as do not; `lab run --bisect` under a real git."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import jsonschema
from conftest import Lab

from orchestrator import schema

# glibc 2.32 and later protect the link of a cached block (PROTECT_PTR, a1a486d70ebc), of an only one too
LINK = """
#include <stdlib.h>
#include "lab.h"
int main(void)
{
	void *volatile *block = malloc(24);
	free((void *)block);
	lab_note_u64("link", block[0] != NULL);
	lab_checkpoint("freed");
	return 0;
}
"""


def found(lab: Lab, file: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((lab.folder / file).read_text())
    jsonschema.Draft202012Validator(schema.load("bisect")).validate(data)
    return data


def test_kernels(lab: Lab) -> None:
    """A page in a pipe is copied by the write of its only owner up to 5.18 (6c287605fd56)."""
    check = 'note("frame-after") == note("frame-before")'
    done = lab("bisect", "fork", "--check", check, "--at", "pinned", "--good", "7.x", "--bad", "5.10", "--no-inspect",
               "-o", "out", "--json", "found.json")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    data = found(lab, "found.json")
    (boundary,) = data["boundaries"]
    assert (boundary["before"], boundary["after"], boundary["exact"]) == ("6.1", "5.10", True)
    frames = [int(part["value"]) for part in boundary["changed"][0]["after"]["operands"]]
    assert len(set(frames)) == 2, "both sides are shown with their values"
    assert "6c287605fd56" in boundary["known"][0]["before"]["source"], "the scenario knows why"
    assert data == found(lab, "out/bisect.json")
    assert "6.1 is good: PASS" in done.stderr, "each step is told"
    for trial in data["trials"]:
        assert lab.record(trial["directory"]).case["kernel"] == trial["candidate"]


def test_userlands_and_a_plain_program(lab: Lab) -> None:
    (lab.folder / "link.c").write_text(LINK)
    words = ("bisect", "link.c", "--check", 'note("link") == 0', "--at", "freed", "--good", "2.31", "-q")
    done = lab(*words, "--bad", "testing", "-k", "6.1", "-o", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    data = found(lab, "out/bisect.json")
    assert [(one["before"], one["after"]) for one in data["boundaries"]] == [("bullseye", "bookworm")]
    assert {one["release"][:4] for one in data["trials"]} == {"6.1."}
    assert [one["name"] for one in data["candidates"]] == ["bullseye", "bookworm", "trixie", "testing"]


def test_ends_that_are_alike(lab: Lab) -> None:
    (lab.folder / "link.c").write_text(LINK)
    done = lab("bisect", "link.c", "--good", "6.1", "--bad", "6.12", "-q", "-o", "out")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "There is no boundary: 6.1 and 6.12 are both good." in " ".join(done.stdout.split())
    assert found(lab, "out/bisect.json")["boundaries"] == []


def test_ctrl_c_keeps_what_was_found(lab: Lab) -> None:
    (lab.folder / "link.c").write_text(LINK)
    process = lab.start("bisect", "link.c", "--good", "5.10", "--bad", "6.12", "--all", "-o", "out")
    deadline = time.monotonic() + 120
    while not ((lab.folder / "out/bisect.json").is_file() and found(lab, "out/bisect.json")["trials"]):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    data = found(lab, "out/bisect.json")
    assert data["interrupted"] and data["trials"][0]["mark"] == "good" and "INTERRUPTED" in said


# what the program is at each commit
HISTORY = {"first": "#define SIZE 1", "second": "#define SIZE (1)", "broken": "#define SIZE )",
           "worse": "#define SIZE 4096", "last": "#define SIZE 8192"}  # fmt: skip
PROGRAM = """
#include "lab.h"
LINE
int main(void)
{
	lab_note_u64("size", SIZE);
	lab_checkpoint("here");
	return 0;
}
"""


def test_git_bisect_run(lab: Lab) -> None:
    """A commit that does not compile lies between the last good one and the first bad one."""
    commits = history(lab, HISTORY)
    words = ("run", "mine.c", "--bisect", "-q", "--check", 'note("size") == 1', "--at", "here")
    git(lab, "bisect", "start", commits["last"], commits["first"])
    done = git(lab, "bisect", "run", *lab.argv(*words), code=2)
    assert done.stdout.count("lab: exit 0: good") == 1, done.stdout
    assert done.stdout.count("lab: exit 125: skip") == 1, done.stdout
    assert done.stdout.count("lab: exit 1: bad (FAIL: note(\"size\") = 4096") == 1, done.stdout
    _, _, left = done.stdout.partition("The first bad commit could be any of:")
    assert {name for name, commit in commits.items() if commit in left} == {"broken", "worse"}


def history(lab: Lab, lines: Mapping[str, str]) -> dict[str, str]:
    """A repository with a commit for each line; their names by what they say."""
    git(lab, "init", "-q", "-b", "main", ".")
    commits = {}
    for name, line in lines.items():
        (lab.folder / "mine.c").write_text(PROGRAM.replace("LINE", line))
        git(lab, "add", "mine.c")
        git(lab, "commit", "-q", "-m", name)
        commits[name] = git(lab, "rev-parse", "HEAD").stdout.strip()
    return commits


def git(lab: Lab, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    who = {f"GIT_{role}_{part}": "x@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *words], cwd=lab.folder, env=lab.environment(who), text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240)
    assert done.returncode == code, done.stdout
    return done
