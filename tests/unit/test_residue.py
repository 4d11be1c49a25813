"""What a case left in its guest, by what guest/remains.c saw there."""

from __future__ import annotations

from pathlib import Path

from orchestrator.matrix import residue

CLEAN = "processes = \nfiles = 346\nchanged-files = \ncgroups = nr_descendants 0\nmm/ksm/run = 0\n"


def state(place: Path, remains: str) -> dict[str, str]:
    folder = place / "evidence/environment"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "remains").write_text(remains)
    return residue.state(place)


def test_a_guest_is_clean_when_nothing_was_added(tmp_path: Path) -> None:
    before = state(tmp_path, CLEAN)
    assert before["processes"] == "" and before["ksm/run"] == "0"
    assert residue.differences(before, state(tmp_path, CLEAN), ()) == ""


def test_processes_files_and_settings_are_told(tmp_path: Path) -> None:
    before = state(tmp_path, CLEAN)
    dirty = CLEAN.replace("processes = ", "processes = /program").replace("346", "347").replace("run = 0", "run = 1")
    found = residue.differences(before, state(tmp_path, dirty), ())
    assert found == "files is '347', was '346'; ksm/run is '1', was '0'; processes is '/program', was ''"
