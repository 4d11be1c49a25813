"""The CI files as a CI system would use them: an action's steps with its inputs, a runner that reads a log."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from test_report_github import Command, parsed

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github/actions/qemu-lab/action.yml"
GITLAB = ROOT / ".gitlab/qemu-lab.yml"
WORKFLOWS = ROOT / ".github/workflows"
OURS = re.compile(r"LAB_|GITHUB_|CI_|RUNNER_")


def load(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


@dataclass
class Job:
    """What a job of an action did: exit codes of its steps by id, their outputs, the log, the summary page."""

    codes: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""

    @property
    def commands(self) -> list[Command]:
        """What the runner takes for commands to it: not what stands between stop-commands and its token."""
        found, token = [], ""
        for line in self.log.splitlines():
            command = parsed(line)
            if token:
                token = "" if line.strip() == f"::{token}::" else token
            elif command and command.name == "stop-commands":
                token = command.data
            elif command:
                found.append(command)
        assert not token, "the commands are let through again in the end"
        return found


def action(place: Path, lab: Path, inputs: Mapping[str, str] | None = None,
           extra: Mapping[str, str] | None = None) -> Job:
    """Runs the steps of the action that are shell, in ``place`` as the workspace, until one fails."""
    described, job = load(ACTION), Job()
    values = {name: one.get("default", "") for name, one in described["inputs"].items()} | dict(inputs or {})
    files = {name: place / f".{name}" for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.write_text("")
    for step in described["runs"]["steps"]:
        if "run" not in step or (step["id"] == "run" and values["report"]) or (
                step["id"] == "report" and not values["report"]):  # fmt: skip
            continue
        env = {name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: values[found[1]], text)
               for name, text in step["env"].items()}  # fmt: skip
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]], cwd=place, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False, timeout=600,
            env={**clean_environment(), **{name: str(file) for name, file in files.items()}, "GITHUB_ACTIONS": "true",
                 "GITHUB_WORKSPACE": str(place), "GITHUB_ACTION_PATH": str(ACTION.parent), "LAB_CI_LAB": str(lab),
                 **env, **(extra or {})},
        )  # fmt: skip
        job.codes[step["id"]] = done.returncode
        job.log += done.stdout
        if done.returncode:
            break
    job.outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    job.summary = files["GITHUB_STEP_SUMMARY"].read_text()
    return job


def clean_environment() -> dict[str, str]:
    """Ours, without what a CI that runs these tests has set."""
    return {name: value for name, value in os.environ.items() if not OURS.match(name) or name == "LAB_CACHE"}


def fake_lab(place: Path, code: int = 0) -> Path:
    """A `lab` that writes down its arguments, one a line, and the files that it is asked for."""
    file = place / "bin" / "lab"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        "#!/bin/sh\n"
        f"for word; do printf '%s\\n' \"$word\" >>'{place}/said'; done; echo . >>'{place}/said'\n"
        "if [ \"$1 $2\" = 'image key' ]; then echo 0123456789abcdef0123; exit 0; fi\n"
        "echo '::error::of a guest'; echo '  ::add-mask::x' >&2; echo 'a ##[add-mask]b'\n"
        "while [ $# -gt 0 ]; do case $1 in --github) echo '::error title=t::m' >\"$2\" ;;\n"
        "--markdown) echo '## summary' >\"$2\" ;; esac; shift; done\n"
        f"exit {code}\n"
    )  # fmt: skip
    file.chmod(0o755)
    return file


def said(place: Path) -> list[list[str]]:
    """The arguments of each call of the fake `lab`."""
    calls: list[list[str]] = [[]]
    for line in (place / "said").read_text().splitlines():
        calls += [[]] if line == "." else []
        if line != ".":
            calls[-1].append(line)
    return calls[:-1]


def script(place: Path, words: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """.ci/qemu-lab, as any CI system would call it."""
    return subprocess.run([str(ROOT / ".ci/qemu-lab"), *words], cwd=place, text=True, capture_output=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=600, env={**clean_environment(), **env})  # fmt: skip


def shell() -> list[str]:
    """The shells that are here: whoever runs the script may have another than ours."""
    return [name for name in ("sh", "dash", "bash") if shutil.which(name)]
