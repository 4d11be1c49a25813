"""The GitHub Action, the GitLab template and their script, without a guest; with one: tests/guest/test_ci.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ci_samples import ACTION, GITLAB, ROOT, WORKFLOWS, action, fake_lab, load, said, script, shell

SCRIPT = ROOT / ".ci/qemu-lab"
EVIL = "x'; touch evil; \"$(touch evil)\" `touch evil` ${HOME} * \\ | & > evil"
SCHEMAS = {".github/actions/qemu-lab/action.yml": "github-actions", ".github/workflows/ci.yml": "github-workflows",
           ".gitlab/qemu-lab.yml": "gitlab-ci"}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_files_are_valid_by_the_published_schemas(name: str) -> None:
    pytest.importorskip("check_jsonschema", reason="`make` installs it")
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{SCHEMAS[name]}", str(ROOT / name)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_is_looked_at() -> None:
    files = {*WORKFLOWS.glob("*"), *ACTION.parent.glob("*"), *GITLAB.parent.glob("*")}
    assert {str(file.relative_to(ROOT)) for file in files} == set(SCHEMAS)


@pytest.mark.parametrize("name", shell())
def test_the_script_is_plain_shell(name: str) -> None:
    assert subprocess.run([name, "-n", str(SCRIPT)], check=False).returncode == 0


def steps(file: Path) -> list[dict[str, Any]]:
    found = load(file)
    jobs = found["jobs"].values() if "jobs" in found else [found["runs"]]
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("file", [ACTION, *WORKFLOWS.glob("*.yml")])
def test_no_input_is_ever_part_of_a_command(file: Path) -> None:
    commands = [step["run"] for step in steps(file) if "run" in step]
    assert commands and not any("${{" in command for command in commands)
    ours = re.compile(r'"\$GITHUB_ACTION_PATH/\.\./\.\./\.\./\.ci/qemu-lab" \w+|\.ci/run')
    assert all(ours.fullmatch(command) for command in commands)


def test_every_input_is_used_and_described() -> None:
    described = load(ACTION)["inputs"]
    text = ACTION.read_text()
    for name, one in described.items():
        assert one["description"] and f"inputs.{name}" in text
    for name in set(re.findall(r"inputs\.(\w+)", text)):
        assert name in described
    for step in steps(ACTION):
        assert set(step.get("env", {})) <= set(re.findall(r"LAB_CI_\w+", SCRIPT.read_text()))
    guide = (ROOT / "docs/ci.md").read_text()
    for name in described:
        assert f"`{name}`" in guide


def test_what_is_restored_is_what_is_saved() -> None:
    restore, save = (step for step in steps(ACTION) if "actions/cache" in step.get("uses", ""))
    assert restore["uses"].startswith("actions/cache/restore@") and save["uses"].startswith("actions/cache/save@")
    assert (restore["with"]["path"], restore["with"]["key"]) == (save["with"]["path"], save["with"]["key"])
    assert "always()" in save["if"], "actions/cache alone saves nothing where a later step fails"


def test_nothing_is_saved_by_a_job_that_ran_nothing() -> None:
    """GitHub compares null with a string as numbers: an output that is not there is in a list that has "0"."""
    (save,) = (step for step in steps(ACTION) if "actions/cache/save" in step.get("uses", ""))
    (sought,) = re.findall(r"contains\(fromJSON\('(.*?)'\), (.*)\) }}", save["if"])
    assert sought == ('["0", "1", "4", "5"]', "format('{0}', steps.run.outputs.exit-code)")


def test_every_variable_of_the_template_is_used() -> None:
    described = load(GITLAB)
    text = SCRIPT.read_text() + GITLAB.read_text().partition(".qemu-lab-base:")[2]
    for name in {**described["variables"], **described[".qemu-lab-key"]["variables"]}:
        assert name in text, name


def test_a_project_sets_the_templates_variables_for_all_its_jobs() -> None:
    """A variable of a job hides the project's of the same name, as docs/ci.md has users set LAB_CI_REPOSITORY."""
    described = load(GITLAB)
    jobs = {name: job["variables"] for name, job in described.items() if name[0] == "." and "variables" in job}
    assert jobs == {".qemu-lab-key": {"LAB_CI_DOTENV": "qemu-lab.env"}}
    guide = (ROOT / "docs/ci.md").read_text().partition("## GitLab")[2].partition("\n## ")[0]
    for name in set(re.findall(r"LAB_C\w+", guide)):
        assert name in described["variables"], name


def test_what_the_action_runs(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    job = action(tmp_path, lab, {"scenarios": "brk\n  ./mine dir\r\n\nmall*\n", "kernels": "6.1\n5.10", "shard": "2/3",
                                 "userlands": "*", "images": "newest", "args": "--locked\n--timeout=300"})  # fmt: skip
    assert job.codes == {"prepare": 0, "run": 0}
    place = "qemu-lab-results/2-of-3"
    assert said(tmp_path)[1] == [
        "matrix", "--output", f"{place}/matrix", "--junit", f"{place}/junit.xml", "--html", f"{place}/report.html",
        "--markdown", f"{place}/summary.md", "--github", f"{place}/annotations", "--shard", "2/3", "--kernel=6.1",
        "--kernel=5.10", "--userland=*", "--image=newest", "--locked", "--timeout=300", "--", "brk", "./mine dir",
        "mall*"]  # fmt: skip
    assert job.outputs["artifact"] == "qemu-lab-2-of-3" and job.outputs["exit-code"] == "0"
    assert job.outputs["part-key"].startswith(job.outputs["key"] + "-") and job.outputs["cache"].startswith("/")
    assert job.summary == "## summary\n"


def test_only_our_own_annotations_are_commands(tmp_path: Path) -> None:
    job = action(tmp_path, fake_lab(tmp_path, 1))
    assert job.codes == {"prepare": 0, "run": 1} and job.outputs["exit-code"] == "1"
    assert "::error::of a guest" in job.log and "##[add-mask]b" in job.log
    assert [(one.name, one.properties, one.data) for one in job.commands] == [("error", {"title": "t"}, "m")]


def test_commands_are_let_through_again_after_a_line_without_an_end(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, 1)
    lab.write_text(lab.read_text().replace("exit 1\n", "printf '\\033[0m'; exit 1\n"))
    assert [one.name for one in action(tmp_path, lab).commands] == ["error"]


def test_the_log_is_no_terminal_though_the_job_has_one(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    lab.write_text(lab.read_text().replace("exit 0\n", "printf 'for %s\\n' \"$TERM\"; exit 0\n"))
    job = action(tmp_path, lab, extra={"TERM": "xterm"})
    assert "\nfor dumb\n" in job.log and "for xterm" not in job.log


def test_a_command_that_fails_before_it_ran_anything(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    lab.write_text("#!/bin/sh\n[ \"$1\" = image ] && exec echo key\necho 'lab: no such scenario' >&2\nexit 2\n")
    job = action(tmp_path, lab)
    assert job.codes == {"prepare": 0, "run": 2} and job.commands == [] and job.summary == ""


@pytest.mark.parametrize("name", ["scenarios", "kernels", "userlands", "images", "args", "results"])
def test_no_input_is_ever_code(tmp_path: Path, name: str) -> None:
    value = EVIL.replace("/", "")
    job = action(tmp_path, fake_lab(tmp_path), {name: value})
    assert job.codes == {"prepare": 0, "run": 0}, job.log
    assert not list(tmp_path.rglob("evil")) and any(value in word for word in said(tmp_path)[1])


@pytest.mark.parametrize(
    "shard", ["a/b", "1", "1/", "/3", "1/2/3", "1/3; touch evil", "$(touch evil)", "-1/3", "1/3\n2/3"]
)
def test_a_shard_that_is_none(tmp_path: Path, shard: str) -> None:
    job = action(tmp_path, fake_lab(tmp_path), {"shard": shard})
    assert job.codes == {"prepare": 2} and "I/N is needed, as 1/3" in job.log
    assert not list(tmp_path.rglob("evil"))


def test_parts_have_caches_of_their_own_and_begin_with_that_of_the_lock(tmp_path: Path) -> None:
    lab, keys = fake_lab(tmp_path), []
    for inputs in ({}, {"shard": "1/2"}, {"shard": "2/2"}, {"kernels": "6.1"}, {"userlands": "6.1"}):
        keys.append(action(tmp_path, lab, {**inputs, "results": str(len(keys))}).outputs["part-key"])
    assert len(set(keys)) == 5 and all(key.startswith("0123456789abcdef0123-") for key in keys)


def test_the_report_of_all_parts(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path, 3)
    (tmp_path / "qemu-lab-results/1-of-2").mkdir(parents=True)
    job = action(tmp_path, lab, {"report": "yes"})
    assert job.codes == {"prepare": 0, "report": 3} and job.outputs["exit-code"] == "3"
    assert said(tmp_path)[1] == ["report", "qemu-lab-results"]
    assert said(tmp_path)[2][:2] == ["report", "qemu-lab-results"] and job.summary == "## summary\n"
    assert job.commands == []


def test_without_any_result_the_report_says_so(tmp_path: Path) -> None:
    job = action(tmp_path, fake_lab(tmp_path), {"report": "yes"})
    assert job.codes["report"] == 2 and "no job has left its results" in job.log


def test_results_are_not_mixed_with_older_ones(tmp_path: Path) -> None:
    lab = fake_lab(tmp_path)
    assert action(tmp_path, lab).codes["run"] == 0
    job = action(tmp_path, lab)
    assert job.codes["run"] == 2 and "is there already" in job.log


def test_elsewhere_it_is_the_same_without_commands(tmp_path: Path) -> None:
    lab = str(fake_lab(tmp_path, 1))
    node = {"LAB_CI_SHARD": "auto", "CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "4"}
    done = script(tmp_path, ["run"], {"LAB_CI_LAB": lab, **node})
    assert done.returncode == 1 and "stop-commands" not in done.stdout + done.stderr and "title=t" not in done.stdout
    assert "--shard\n2/4\n" in (tmp_path / "said").read_text()
    assert (tmp_path / "qemu-lab-results/2-of-4/summary.md").exists()
    done = script(tmp_path, ["run"], {"LAB_CI_LAB": lab, "LAB_CI_SHARD": "auto", "CI_NODE_TOTAL": "1"})
    assert (tmp_path / "qemu-lab-results/all/summary.md").exists() and "--shard" not in said(tmp_path)[1]
    done = script(tmp_path, ["prepare"], {"LAB_CI_LAB": lab, "LAB_CI_DOTENV": "x.env"})
    assert done.returncode == 0 and (tmp_path / "x.env").read_text() == "LAB_CI_KEY=0123456789abcdef0123\n"
    done = script(tmp_path, ["run"], {"LAB_CI_LAB": lab, "LAB_CI_PRUNE": "yes", "LAB_CI_RESULTS": "r"})
    assert said(tmp_path)[-1] == ["image", "prune"] and done.returncode == 1


@pytest.mark.parametrize("words", [[], ["dance"], ["run", "brk"], ["--help"]])
def test_what_the_script_does_not_know(tmp_path: Path, words: list[str]) -> None:
    done = script(tmp_path, words, {"LAB_CI_LAB": str(fake_lab(tmp_path))})
    assert done.returncode == 2 and done.stderr.startswith("qemu-lab: ") and not (tmp_path / "said").exists()


def test_the_projects_own_ci_takes_the_same_way() -> None:
    own = (ROOT / ".ci/run").read_text()
    assert "make test" in own and all(f".ci/qemu-lab {word}" in own for word in ("prepare", "run", "report"))
    assert any(step.get("uses") == "./.github/actions/qemu-lab" for step in steps(WORKFLOWS / "ci.yml"))
