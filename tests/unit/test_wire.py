"""The protocol with labrun: whatever a hostile guest sends is refused, never followed."""

import pytest

from orchestrator import wire
from orchestrator.errors import LabError


def reader(data: bytes, step: int = 7):
    chunks = iter([data[i : i + step] for i in range(0, len(data), step)])
    return lambda size: next(chunks, b"")


def parse(data: bytes, step: int = 7) -> list[wire.Frame]:
    return list(wire.frames(reader(data, step)))


@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_frames_are_cut_right_whatever_the_chunks(step: int) -> None:
    data = b"hello 0 proto=1\noutput 5 fd=1\na\nb\ncbye 0\n"
    first, second, third = parse(data, step)
    assert (first.type, first.number("proto"), first.payload) == ("hello", 1, b"")
    assert (second.type, second.attributes, second.payload) == ("output", {"fd": "1"}, b"a\nb\nc")
    assert third.type == "bye"


@pytest.mark.parametrize(
    "data",
    [
        b"hello\n",
        b"HELLO 0\n",
        b"hello -1\n",
        b"hello 99999999999\n",
        b"output 5 fd=1\nab",
        b"output 5 fd=\x1b[2J\n",
        b"half a header",
        b"x" * 5000,
        b"output 40000000 fd=1\n",
        b"\x00\xff\n",
        b"\n",
    ],
)
def test_anything_odd_is_refused(data: bytes) -> None:
    with pytest.raises(wire.ProtocolError):
        parse(data)


def test_a_flood_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_TOTAL", 1000)
    with pytest.raises(wire.ProtocolError, match="sent more than"):
        parse(b"note 1\nx" * 1000, 100)


def frame(name: str) -> wire.Frame:
    return wire.Frame("file", {"name": name}, b"")


@pytest.mark.parametrize("name", ["proc/12/maps", "proc/1/task/2/status", "proc/4194304/oom_score_adj"])
def test_evidence_names(name: str) -> None:
    assert wire.evidence_name(frame(name)) == name


@pytest.mark.parametrize(
    "name", ["", "../x", "proc/../maps", "/etc/passwd", "proc/12/../../x", "proc/12/maps/x", "proc/x/maps", "proc/1/.x"]
)
def test_paths_that_would_escape_are_refused(name: str) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.evidence_name(frame(name))


@pytest.mark.parametrize("value", ["", "-1", "1e3", "٣", "9" * 30])
def test_numbers(value: str) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.Frame("exit", {"code": value}, b"").number("code")


def test_no_order_becomes_two() -> None:
    with pytest.raises(LabError):
        wire.command("sysctl", "vm.swappiness", "10\nlimit checkpoints 1")


def test_orders() -> None:
    assert wire.command("rlimit", "stack", 8192, "-") == b"rlimit stack 8192 -\n"
    assert wire.blob(b"a b", "arg") == b"arg 3\na b"
    assert wire.file("program", 0o755, b"\x7fELF") == b"file 755 4 program\n\x7fELF"
