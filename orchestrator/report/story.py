"""The story of a run: at each checkpoint, what changed in the address space and what the program said.

Reads only the run directory. A file that is missing, cut off or not readable is told, never fatal:
a run that ended early must still be shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.address_space import Change, changes, replaced
from orchestrator.collect import procfs
from orchestrator.collect.lines import Document
from orchestrator.errors import LabError
from orchestrator.model import Checkpoint, Vma
from orchestrator.report.trace import Recorded, windows
from orchestrator.rundir import RunDirectory, RunRecord

MAX_FILE = 256 << 20  # bytes of one evidence file: smaps of 10^5 mappings has about 70 MB


@dataclass(frozen=True)
class Moment:
    """One checkpoint beside the one before it of the same process."""

    checkpoint: Checkpoint
    vmas: tuple[Vma, ...]
    previous: tuple[Vma, ...]
    changes: tuple[Change, ...]  # none when ``fresh``
    fresh: str  # why nothing is compared: "first", "new process", "new program"; "" when it is
    file: str  # smaps or maps, relative to the run directory; "" when there is none
    notes: tuple[tuple[str, str], ...]
    problem: str  # why the mappings can't be shown, or are not all there
    windows: tuple[Recorded, ...] = ()  # of the kernel trace, since the checkpoint before


def moments(record: RunRecord, directory: Path) -> Iterator[Moment]:
    """The checkpoints of a run, in order of time."""
    run = RunDirectory(directory)
    latest: dict[int, tuple[Vma, ...]] = {}
    for checkpoint in record.checkpoints:
        vmas, file, problem = _mappings(run, checkpoint)
        previous = latest.get(checkpoint.pid, ())
        fresh = ""
        if not latest:
            fresh = "first"
        elif checkpoint.pid not in latest:
            fresh = "new process"
        elif replaced(previous, vmas):
            fresh = "new program"
        previous = () if fresh else previous
        found = changes(previous, vmas) if file and not fresh else ()
        yield Moment(checkpoint, vmas, previous, found, fresh, file, _notes(run, checkpoint), problem,
                     windows(run, checkpoint))  # fmt: skip
        if file:
            latest[checkpoint.pid] = vmas


def _mappings(run: RunDirectory, checkpoint: Checkpoint) -> tuple[tuple[Vma, ...], str, str]:
    """(mappings, file, problem) from smaps, else from maps, which says no resident sizes."""
    if checkpoint.kind == "exit":
        return (), "", ""
    problem = ""
    for name, parse in (("smaps", procfs.parse_smaps), ("maps", procfs.parse_maps)):
        file = f"{checkpoint.directory}/proc/{checkpoint.pid}/{name}"
        try:
            if name == "smaps" and (cut := _cut_off(run, file)):
                problem = cut
                continue
            content = content_of(run, file)
            if content:
                return parse(Document.of(file, content)), file, problem or _cut_off(run, file)
        except (OSError, ValueError, LabError) as error:
            problem = problem or _told(file, error)
    return (), "", problem or "no smaps and no maps in the evidence"


def _told(file: str, error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return text if text.startswith(file) else f"{file}: {text}"


def _cut_off(run: RunDirectory, file: str) -> str:
    """The session marks what labrun could not send whole."""
    return f"{file} is cut off: not all mappings are there" if run.file(f"{file}.truncated").exists() else ""


def _notes(run: RunDirectory, checkpoint: Checkpoint) -> tuple[tuple[str, str], ...]:
    """What the program reported before this checkpoint: lines "key=value"."""
    try:
        lines = content_of(run, f"{checkpoint.directory}/notes").split("\n")
    except (OSError, ValueError):
        return ()
    return tuple((key, value) for key, _, value in (line.partition("=") for line in lines if line))


def content_of(run: RunDirectory, relative: str) -> str:
    """The text of a regular file of the run, "" when absent; bytes that are no UTF-8 as \\xff.

    Raises ValueError for a path that leaves the directory, a link, or too large a file.
    """
    path = run.file(relative)
    if path.is_symlink():
        raise ValueError("is a symbolic link")
    if not path.is_file():
        return ""
    if path.stat().st_size > MAX_FILE:
        raise ValueError(f"is larger than {MAX_FILE >> 20} MiB")
    return path.read_bytes().decode(errors="backslashreplace")


def tail(run: RunDirectory, relative: str, lines: int, limit: int = 1 << 16) -> tuple[list[str], bool]:
    """The last lines of a file of the run which hold anything, and whether there are more before them."""
    path = run.file(relative)
    if path.is_symlink() or not path.is_file():
        return [], False
    with path.open("rb") as file:
        total = file.seek(0, 2)
        file.seek(max(0, total - limit))
        text = file.read(limit).decode(errors="backslashreplace")
    found = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    return found[-lines:], total > limit or len(found) > lines
