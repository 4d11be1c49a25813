"""What guest tests share: the `lab` command as a user runs it, and a look at what it leaves behind.

These tests never skip: where a guest can't be booted, that is a failure.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.rundir import RunDirectory, RunRecord

OLDEST, NEWEST = ("5.10", "bullseye"), ("7.x", "testing")


@dataclass
class Lab:
    """Runs `lab` in a folder of the test's own; every process it starts carries a mark."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**os.environ, "LAB_TEST_MARK": self.mark, "NO_COLOR": "1", **(extra or {})}

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from orchestrator.cli import main; main()", *words]

    def __call__(self, *words: str, env: Mapping[str, str] | None = None, stdin: str | None = None,
                 prefix: Sequence[str] = (), timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, *self.argv(*words)], cwd=self.folder, env=self.environment(env), capture_output=True, text=True,
            errors="replace", timeout=timeout, check=False,
            **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}),  # type: ignore[arg-type]
        )  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`lab` in the background, for tests that end it."""
        return subprocess.Popen(
            self.argv(*words), cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            # a runner in the background has SIGINT ignored, and who inherits that keeps it so
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def left(self) -> list[str]:
        """Command lines of the test's processes that still live."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (place / "environ").read_bytes():
                    found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200])
            except OSError:
                continue
        return found

    def record(self, name: str) -> RunRecord:
        """The record of a run directory below the test's folder."""
        return RunDirectory.open(self.folder / name).load()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """`lab`, with the promise that nothing of it is left behind."""
    found = Lab(tmp_path)
    yield found
    assert found.left() == []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a guest test that did not run is a failure, whoever skipped it."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    idle = [word for word in ("skipped", "xfailed") for _ in reporter.stats.get(word, ())] if reporter else []
    if os.environ.get("LAB_REQUIRE_GUESTS") and idle:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.guest)
