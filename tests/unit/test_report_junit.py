"""JUnit XML: what consumers demand, every verdict its own, and nothing that a guest says is markup.

The schemas of consumers are not ours to ship. Their demands stand in ``DEMANDS``; with LAB_JUNIT_XSD (files, separated
by colons) and xmllint, the same documents are held against the schemas themselves.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from results_samples import HOSTILE, everything, hostile, saved
from synthetic_run import GREW

from orchestrator.model import Ending
from orchestrator.report import junit, results
from orchestrator.report.results import Results

Golden = Callable[[str, str], None]
XSD = [path for path in os.environ.get("LAB_JUNIT_XSD", "").split(":") if path]
# Of each element: attributes that must be there, those that may, and its children in order (a star: any number).
# What junit-10.xsd of Jenkins' xUnit plugin and JUnit.xsd of Apache Ant both accept.
DEMANDS: dict[str, tuple[str, str, str]] = {
    "testsuites": ("", "", "testsuite*"),
    "testsuite": ("name tests failures errors time timestamp hostname package id", "skipped",
                  "properties testcase* system-out system-err"),
    "properties": ("", "", "property*"),
    "property": ("name value", "", ""),
    "testcase": ("name classname time", "", "one"),
    "failure": ("type", "message", ""),
    "error": ("type", "message", ""),
    "skipped": ("", "message", ""),
    "system-out": ("", "", ""),
    "system-err": ("", "", ""),
}  # fmt: skip


def checked(text: str, tmp_path: Path) -> ElementTree.Element:
    """The document, after everything that consumers demand of it."""
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        must, may, inside = DEMANDS[element.tag]
        assert set(must.split()) <= set(element.attrib) <= {*must.split(), *may.split()}, element.tag
        tags = " ".join(child.tag for child in element)
        if inside == "one":
            assert tags in ("", "failure", "error", "skipped")
        else:
            pattern = "".join(f"(?:{word[:-1]} )*" if word.endswith("*") else f"{word} " for word in inside.split())
            assert re.fullmatch(pattern, f"{tags} " if tags else ""), (element.tag, tags)
    for number, suite in enumerate(root):
        counts = Counter(child.tag for test in suite.iter("testcase") for child in test)
        assert suite.get("id") == str(number)
        assert suite.get("tests") == str(len(suite.findall("testcase"))) != "0", "no suite without a test"
        assert [suite.get(name) for name in ("failures", "errors", "skipped")] == [
            str(counts[tag]) for tag in ("failure", "error", "skipped")]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        assert float(suite.get("time", "")) >= 0
    tests = [(test.get("classname"), test.get("name")) for test in root.iter("testcase")]
    assert len(set(tests)) == len(tests), "classname and name are unique"
    _by_schemas(text, tmp_path)
    return root


def _by_schemas(text: str, tmp_path: Path) -> None:
    if not XSD:
        return
    tool = shutil.which("xmllint")
    assert tool, "LAB_JUNIT_XSD needs xmllint"
    file = tmp_path / "junit.xml"
    file.write_text(text, encoding="utf-8")
    for xsd in XSD:
        done = subprocess.run([tool, "--noout", "--schema", xsd, file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_verdict(tmp_path: Path, golden: Golden) -> None:
    everything(tmp_path / "m")
    text = junit.render(results.read([tmp_path / "m"]))
    golden("results.xml", text.replace(str(tmp_path / "m"), "runs/m"))
    root = checked(text, tmp_path)
    kinds = {str(suite.get("name")).split()[0]: [(child.tag, child.get("type")) for test in suite.iter("testcase")
                                                 for child in test] for suite in root}  # fmt: skip
    assert kinds == {
        "pass": [], "fail": [("failure", "fail")], "skip": [("skipped", None)], "error": [("error", "error")],
        "panic": [("error", "panic"), ("error", "error")], "lost": [("error", "lost-guest"), ("error", "error")],
        "timeout": [("error", "timeout"), ("error", "error")], "halted": [("error", "interrupted")],
        "never": [("error", "not-run")], "worker": [("error", "host-error")],
        "gone": [("error", "unreadable"), ("failure", "fail")], "broken": [("error", "unreadable")],
    }  # fmt: skip


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.COMPLETED])
def test_each_ending_is_an_error_of_its_own(tmp_path: Path, ending: Ending) -> None:
    run = saved(tmp_path / "run", GREW, ending=ending, detail="so it was")
    root = checked(junit.render(results.of_run(run.record, run.directory.path)), tmp_path)
    test = next(root.iter("testcase"))
    error = test.find("error")
    assert test.get("name") == "run" and error is not None and error.get("type") == ending.value


def test_what_it_ran_on_is_there(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", GREW)
    root = checked(junit.render(results.of_run(run.record, run.directory.path)), tmp_path)
    properties = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert properties["kernel.release"] == "6.1.0-50-cloud-amd64" and properties["glibc"] == "2.36"
    assert properties["accelerator"] == "tcg" and properties["lab"] == "0.1.0" and properties["kernel"] == "6.1"
    (test,) = root.iter("testcase")
    assert (test.get("classname"), test.get("name")) == ("brk.6_1 bookworm", "grow-one-page")
    assert str(tmp_path / "run") in str(root[0].findtext("system-out"))


def test_nothing_ran(tmp_path: Path) -> None:
    root = checked(junit.render(Results("", Path("x"), ())), tmp_path)
    (error,) = root.iter("error")
    assert error.get("type") == "not-run"


def test_hostile_words_are_words(tmp_path: Path) -> None:
    text = junit.render(hostile(tmp_path))
    root = checked(text, tmp_path)
    assert not re.search(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text), "not of XML 1.0"
    assert "\u202e" not in text and "<script" not in text
    failure = next(root.iter("failure"))
    assert "<script>" in str(failure.get("message")) and "\\x1b[31m\\x00" in str(failure.get("message"))


def test_equal_names_stay_apart(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", GREW, GREW, replace(GREW, id=""), replace(GREW, id=HOSTILE), replace(GREW, id="run"),
                ending=Ending.PANIC)  # fmt: skip
    found = results.of_run(run.record, run.directory.path)
    twice = replace(found, cases=(found.cases[0], replace(found.cases[0], kernel="6_1", name="other")))
    root = checked(junit.render(twice), tmp_path)
    names = [test.get("name") for test in root[0].iter("testcase")]
    assert names[:4] == ["run", "grow-one-page", "grow-one-page.2", "?"] and names[-1] == "run.2"
