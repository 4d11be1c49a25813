"""Notes of guests that can't be restored: when they count, and that they stay few and small."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from orchestrator.machine import barred

KEY = "k" * 32


def test_certain_counts_at_once_else_the_second_time(tmp_path: Path) -> None:
    barred.add(tmp_path, KEY, "state 1", "silent")
    barred.add(tmp_path, KEY, "state 1", "silent")  # many guests may fail with the same state
    assert barred.why(tmp_path, KEY) == ""
    barred.add(tmp_path, KEY, "state 2", "silent again")
    until = time.strftime("%Y-%m-%d", time.gmtime(time.time() + barred.LASTS))
    assert barred.why(tmp_path, KEY) == f"silent again (tried again after {until})"
    barred.lift(tmp_path, KEY)
    assert barred.why(tmp_path, KEY) == ""
    barred.add(tmp_path, KEY, "state 3", "init says so", certain=True)
    assert barred.why(tmp_path, KEY).startswith("init says so") and barred.why(tmp_path, "other") == ""


def test_a_note_is_forgotten_after_a_week(tmp_path: Path) -> None:
    barred.add(tmp_path, KEY, "state", "why", certain=True)
    (note,) = tmp_path.iterdir()
    old = time.time() - barred.LASTS - 1
    os.utime(note, (old, old))
    assert barred.why(tmp_path, KEY) == ""
    barred.add(tmp_path, "other", "state", "why")
    assert [path.name for path in tmp_path.iterdir()] == ["other.cold"]


def test_notes_are_few_and_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their reasons are a guest's own words."""
    monkeypatch.setattr(barred, "MOST", 3)
    for number in range(6):
        barred.add(tmp_path, f"{number}", "state", "\U0001f600\x1b[2J\ud800" * 10_000, certain=True)
        os.utime(tmp_path / f"{number}.cold", (time.time() - 60 + number,) * 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3.cold", "4.cold", "5.cold"]
    assert (tmp_path / "5.cold").stat().st_size <= barred.MAX_NOTE
    assert "\x1b" not in barred.why(tmp_path, "5") and len(barred.why(tmp_path, "5")) < 500


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 2, "reason": "x", "certain": true, "tries": []}',
                '{"format": 1, "reason": 7, "certain": true, "tries": []}', '{"format": 1}', "x" * 100_000],
)  # fmt: skip
def test_a_damaged_note_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / f"{KEY}.cold").write_text(content)
    assert barred.why(tmp_path, KEY) == ""
    barred.add(tmp_path, KEY, "state", "why", certain=True)
    assert barred.why(tmp_path, KEY).startswith("why")


def test_where_nothing_can_be_written_nothing_is_noted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    barred.add(tmp_path / "file", KEY, "state", "why", certain=True)
    barred.lift(tmp_path / "file", KEY)
    assert barred.why(tmp_path / "file", KEY) == ""
