"""The run directory: what a run leaves, written as it happens, read without a guest.

``run.json`` is rewritten atomically at every step, so that an interrupted run leaves a valid
record with what it had. Its shape is published in ``orchestrator/schema/run.schema.json``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from orchestrator.errors import LabError, UsageError
from orchestrator.model import Checkpoint, Digest, Ended, Ending, Evidence, Finding, Operand, Outcome, Verdict

SCHEMA = 1
DEPTH = 2  # levels of folders above a run directory in which it is found: a folder of matrices
FIRST_RUNS = "first-runs"  # where a matrix keeps the run of a case that was not trusted and made again
RECORD_LOG, RECORD_ORDERS = "record/qemu", "record/orders"  # of a run that can be replayed (--record)
MAX_RECORD = 64 << 20  # bytes: a run.json beyond this is not ours


@dataclass
class ConsoleEvent:
    """Something that the classifier saw on the serial console or in the kernel log."""

    kind: str  # an Ending value: "panic", "oops", …
    line: str
    seconds: float  # since the emulator was started; if it was saved, by the kernel's own clock
    saved: bool = False  # seen in the boot whose state the guest goes on from


@dataclass
class Boot:
    """One attempt to boot the guest."""

    attempt: int
    outcome: str  # "ready", or the Ending value of the failure
    seconds: float  # wall time to ready or to the failure
    cpu_seconds: float = 0.0  # of the emulator, user and system
    detail: str = ""
    how: str = "booted"  # "saved": for a state to go on from; "restored": from one


@dataclass
class RunRecord:
    """Everything that ``run.json`` holds. Mutable: it grows while the run goes on."""

    schema: int = SCHEMA
    lab: str = ""  # version of qemu-lab
    started: str = ""  # ISO 8601, UTC
    seconds: float = 0.0
    ending: Ending = Ending.UNFINISHED
    ending_detail: str = ""
    outcome: Outcome = Outcome.ERROR
    exit_code: int = 3
    case: dict[str, Any] = field(default_factory=dict)  # scenario, kernel, userland, emulator, settings
    pieces: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)  # as measured in the guest
    emulator: dict[str, Any] = field(default_factory=dict)  # name, version, command, accelerator, reason
    host: dict[str, Any] = field(default_factory=dict)  # slowdown, cpus, lab's python
    program: dict[str, Any] = field(default_factory=dict)  # sha256, compiler, command
    boots: list[Boot] = field(default_factory=list)
    restored: dict[str, Any] = field(default_factory=dict)  # the saved state that the guest went on from
    deterministic: dict[str, Any] = field(default_factory=dict)  # its clock, and a digest of its raw evidence
    console: list[ConsoleEvent] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    ended: Ended | None = None
    findings: list[Finding] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # "kernel", "heap": why the lab could not look inside
    messages: list[str] = field(default_factory=list)  # fallbacks, retries, truncations: said, not hidden
    timings: dict[str, float] = field(default_factory=dict)  # seconds by step
    digest: Digest | None = None  # of evidence and findings; none of a run that was cut short, or older


class Machine(NamedTuple):
    """The hardware and the QEMU of a run, as the record tells them: what is otherwise here makes it another case."""

    emulator: str
    version: str
    accelerator: str
    memory: str  # "768M", as QEMU was told
    processors: str


def machine(record: RunRecord) -> Machine:
    """The machine of a run; empty texts for what the record does not tell."""
    told, command = record.emulator, str(record.emulator.get("command", ""))
    sizes = [found[1] if (found := re.search(rf"(?:^| )-{option} (\S+)", command)) else "" for option in ("m", "smp")]
    return Machine(*(str(told.get(name, "")) for name in ("name", "version", "accelerator")), *sizes)


def settings_words(record: RunRecord) -> tuple[str, ...]:
    """What was set, as "kernel.randomize_va_space=0", "ulimit data=1048576", "append nokaslr". A damaged record may
    hold anything."""
    settings = record.case.get("settings")
    if not isinstance(settings, Mapping):
        return ()
    words = {"sysctls": "", "tunables": "", "ulimits": "ulimit ", "environment": "env ", "defines": "-D"}
    parts = [
        f"{word}{pair[0]}={pair[1]}" if isinstance(pair, list | tuple) and len(pair) == 2 else f"{word}{pair}"
        for key, word in words.items()
        for pair in _items(settings.get(key))
    ]
    return (*parts, *(f"append {item}" for item in _items(settings.get("append"))))


def threads_words(deterministic: Mapping[str, Any]) -> str:
    """Behind "raw evidence …": what had to repeat for it to be the same."""
    told = deterministic.get("threads")
    return "" if told is None else ", of threads on one processor" if told is True else ", of one thread"


def _items(value: object) -> Sequence[object]:
    """The items of what is a list in a sound record."""
    return value if isinstance(value, list | tuple) else [] if value is None else [value]


def inner_folders(folder: Path) -> list[Path]:
    """The folders in one that may hold runs, in order: no links, and not where a matrix keeps runs that it made again.
    Raises OSError."""
    return sorted(one for one in folder.iterdir()
                  if one.is_dir() and not one.is_symlink() and one.name != FIRST_RUNS)  # fmt: skip


def to_json(record: RunRecord) -> str:
    """The record as indented JSON with a final newline; enums as their words."""
    return json.dumps(asdict(record), indent=1, ensure_ascii=True, default=_word) + "\n"


def _word(value: object) -> object:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"not for run.json: {type(value).__name__}")


def from_json(text: str, where: str) -> RunRecord:
    """The record from the text of a run.json. Raises UsageError naming ``where`` if it is not one."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"schema {SCHEMA} expected, found {found!r}")
        return _record(data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{where} is not a run record: {error}", "give a directory that `lab run` wrote") from None


def _record(data: dict[str, Any]) -> RunRecord:
    data = dict(data)
    data["ending"] = Ending(data["ending"])
    data["outcome"] = Outcome(data["outcome"])
    data["boots"] = [_made(Boot, b) for b in data["boots"]]
    data["console"] = [_made(ConsoleEvent, e) for e in data["console"]]
    data["checkpoints"] = [_made(Checkpoint, c) for c in data["checkpoints"]]
    data["ended"] = _made(Ended, data["ended"]) if data["ended"] else None
    data["findings"] = [_finding(f) for f in data["findings"]]
    data["digest"] = _digest(data["digest"]) if data.get("digest") else None
    for name, kind in _KINDS.items():
        if name in data:
            _check(name, data[name], kind)
    for message in data["messages"]:
        _check("messages", message, str)
    for name, value in data["timings"].items():
        _check(f"timings: {name}", value, (int, float))
    return RunRecord(**data)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "lab": str, "started": str, "seconds": (int, float), "ending_detail": str, "exit_code": int, "case": dict,
    "pieces": list, "environment": dict, "emulator": dict, "host": dict, "program": dict, "messages": list,
    "timings": dict, "left_out": dict, "restored": dict,
    "deterministic": dict,
}  # fmt: skip


def _digest(data: dict[str, Any]) -> Digest:
    made = _made(Digest, data)
    for name, values in (("parts", made.parts), ("left_out", made.left_out)):
        _check(f"digest: {name}", values, dict)
        for key, value in values.items():
            _check(f"digest: {name}: {key}", value, str)
    return made


def _finding(data: dict[str, Any]) -> Finding:
    operands = tuple(
        _made(Operand, {**o, "evidence": tuple(_made(Evidence, e) for e in o["evidence"])}) for o in data["operands"]
    )
    verdict = Verdict(data.get("verdict", Verdict.CONFIRMED))
    return _made(Finding, {**data, "outcome": Outcome(data["outcome"]), "operands": operands, "verdict": verdict})


_PLAIN: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "float": (int, float), "bool": bool, "int | None": (int, type(None)),
}  # fmt: skip
_SURE = {"str": (str,), "int": (int,), "float": (int,), "bool": (bool,), "int | None": (int, type(None))}
_FIELDS: dict[type, list[tuple[str, type | tuple[type, ...], tuple[type, ...]]]] = {  # name, what it may be, what it
    # mostly is: then there is nothing to look into, and records have a hundred thousand fields
    cls: [(one.name, _PLAIN[str(one.type)], _SURE[str(one.type)]) for one in fields(cls) if str(one.type) in _PLAIN]
    for cls in (Boot, ConsoleEvent, Checkpoint, Digest, Ended, Evidence, Operand, Finding)
}
_Shape = TypeVar("_Shape")


def _made(cls: type[_Shape], data: dict[str, Any]) -> _Shape:
    """An object of a record. Raises TypeError for a field that is not of its type: the file may hold anything."""
    made = cls(**data)
    for name, kind, sure in _FIELDS[cls]:
        value = getattr(made, name)
        if type(value) not in sure:
            _check(name, value, kind)
    return made


def _check(name: str, value: object, kind: type | tuple[type, ...]) -> None:
    sham = (isinstance(value, bool) and kind is not bool) or (isinstance(value, float) and not isfinite(value))
    if sham or not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r:.60}")


def write_whole(file: Path, text: str, hint: str = "free some space, or give another --output") -> None:
    """Writes a record atomically: it is there as it was, or as it is to be. Raises LabError with the ``hint`` if the
    disk does not take it."""
    temporary = file.with_name(f".{file.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise LabError(f"cannot write {file}: {error.strerror}", hint) from None


class RunDirectory:
    """A run directory on disk; paths inside it are made here and nowhere else."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, record: RunRecord | None = None) -> RunDirectory:
        """A new run directory, with its first record. Raises UsageError if something is already there."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise UsageError(f"{path} is not empty", "give a new directory with --output")
            if record is not None:
                cls(path).save(record)
            (path / "evidence").mkdir()
        except OSError as error:
            raise UsageError(f"cannot write the run directory {path}: {error.strerror}",
                             "give another directory with --output") from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run directory. Raises UsageError if it has no run.json."""
        if not (path / "run.json").is_file():
            raise UsageError(f"{path} is not a run directory: it has no run.json",
                             "give a directory that `lab run` wrote")
        return cls(path)

    def load(self) -> RunRecord:
        """Reads run.json. Raises UsageError if it is not a record of a known schema."""
        file = self.path / "run.json"
        if file.stat().st_size > MAX_RECORD:
            raise UsageError(f"{file} is too large to be a run record")
        return from_json(file.read_text(encoding="utf-8", errors="replace"), str(file))

    def save(self, record: RunRecord) -> None:
        """Writes run.json atomically. Raises LabError if the disk does not take it."""
        write_whole(self.path / "run.json", to_json(record))

    def file(self, relative: str) -> Path:
        """A path inside the run directory. Raises ValueError for one that would leave it."""
        if not safe(relative):
            raise ValueError(f"unsafe path {relative!r}")
        return self.path / relative

    def write(self, relative: str, content: bytes) -> Path:
        """Writes one evidence file, making its folders. Raises LabError if the disk is full."""
        return self._put(relative, content, "wb")

    def append(self, relative: str, content: bytes) -> Path:
        """Adds to the end of one evidence file. Raises LabError if the disk is full."""
        return self._put(relative, content, "ab")

    def raw_files(self) -> dict[str, Path]:
        """All that came out of the guest, by name: console.log, kernel.log and what is below evidence/."""
        files = [self.path / "console.log", self.path / "kernel.log", *(self.path / "evidence").rglob("*")]
        return {str(file.relative_to(self.path)): file for file in files if file.is_file()}

    def raw_digest(self) -> str:
        """SHA-256, in hexadecimal, over all that came out of the guest: names and bytes of console.log, kernel.log and
        what is below evidence/, in the order of their names."""
        found = hashlib.sha256()
        for name, file in sorted(self.raw_files().items()):
            content = file.read_bytes()
            found.update(f"{name}\0{len(content)}\0".encode() + content)
        return found.hexdigest()

    def _put(self, relative: str, content: bytes, mode: Literal["wb", "ab"]) -> Path:
        try:
            path = self.file(relative)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open(mode) as target:
                target.write(content)
        except OSError as error:
            raise LabError(f"cannot write {self.path / relative}: {error.strerror}",
                           "free some space, or give another --output") from None
        except ValueError as error:
            raise LabError(f"the guest offers evidence under an {error}") from None
        return path


def safe(relative: str) -> bool:
    """Whether a relative path has only plain components ("proc/12/maps"), so that it can't escape."""
    parts = relative.split("/")
    return all(re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,99}", part) for part in parts) and len(parts) < 12
