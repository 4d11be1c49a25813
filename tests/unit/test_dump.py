"""A dump of the guest's memory, against a monitor that answers as QEMU does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import GuestError, HostError
from orchestrator.machine import dump


class Monitor:
    """Answers; writes the file as QEMU does, mode 0400."""

    def __init__(self, content: bytes = b"\x7fELF", error: Exception | None = None, memory: int = 1 << 20) -> None:
        self.content, self.error, self.memory = content, error, memory
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def execute(self, command: str, *, patience: float = 10.0, **arguments: Any) -> Any:
        self.asked.append((command, arguments))
        if command == "query-memory-size-summary":
            return {"base-memory": self.memory, "plugged-memory": 0}
        place = Path(arguments["protocol"].removeprefix("file:"))
        place.write_bytes(self.content)
        place.chmod(0o400)
        if self.error:
            raise self.error
        return {}


def test_a_dump(tmp_path: Path) -> None:
    monitor = Monitor(b"\x7fELF" + bytes(900) + b"VMCOREINFO\0" + bytes(99))
    assert dump.dump(monitor, tmp_path / "vmcore") is True  # type: ignore[arg-type]
    assert monitor.asked[1] == ("dump-guest-memory", {"paging": False, "protocol": f"file:{tmp_path / 'vmcore'}"})
    assert (tmp_path / "vmcore").stat().st_mode & 0o777 == 0o644
    with pytest.raises(HostError, match="there already"):
        dump.dump(monitor, tmp_path / "vmcore")  # type: ignore[arg-type]


def test_a_dump_without_the_note(tmp_path: Path) -> None:
    assert dump.dump(Monitor(), tmp_path / "vmcore") is False  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [HostError("QEMU refuses dump-guest-memory: No space left"), GuestError("gone")])
def test_a_dump_that_fails_leaves_no_file(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)):
        dump.dump(Monitor(error=error), tmp_path / "vmcore")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_no_room(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="MiB are free"):
        dump.dump(Monitor(memory=1 << 60), tmp_path / "vmcore")  # type: ignore[arg-type]
    with pytest.raises(HostError, match="No such file"):
        dump.dump(Monitor(), tmp_path / "none/vmcore")  # type: ignore[arg-type]
