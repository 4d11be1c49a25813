"""guest/ on this host: the programs compile without a warning, and labrun speaks its protocol.

labrun runs here without a guest: it then changes nothing system-wide (no cgroup, no core_pattern, no
sysctl) and says so as ``probe name=warnings``. What needs the guest is in tests/guest.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator import wire
from orchestrator.agent import BOTH, INIT
from orchestrator.elf import build_id

GUEST = Path(__file__).resolve().parents[2] / "guest"
STRICT = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static")
PATIENCE = 20.0  # seconds before a labrun that says nothing is ended; never reached when all is well

PROGRAM = r"""
#define _GNU_SOURCE
#include "lab.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

static void *spin(void *unused) { for (volatile long i = 0; ; i++) ; return unused; }
static void *wait_for_ever(void *unused) { pause(); return unused; }
static void *read_one(void *unused) { char c; lab_note_i64("read", read(0, &c, 1)); return unused; }

static void notes(void)
{
	void *before = sbrk(0);

	puts("hello"), fflush(stdout);
	before = sbrk(0);
	lab_note("text", "two words");
	lab_note_u64("u64", UINT64_MAX), lab_note_i64("i64", INT64_MIN);
	lab_note_hex("hex", 0xdead), lab_note_ptr("ptr", (void *)0x1000);
	lab_note("bad key", "x"), lab_note("line", "a\nb"), lab_note(NULL, NULL);
	lab_checkpoint("one");
	puts("between"), fflush(stdout);
	lab_checkpoint("two/three");
	lab_note_u64("moved", (uint64_t)((char *)sbrk(0) - (char *)before));
	exit(3);
}

static void limits(void)
{
	extern char **environ;
	struct rlimit r;
	int n = 0;

	while (environ[n])
		n++;
	getrlimit(RLIMIT_STACK, &r);
	lab_note_u64("stack", r.rlim_cur), lab_note_u64("environment", n), lab_note("FOO", getenv("FOO"));
	for (int fd = 0; fd < 200; fd++)
		if (fd != LAB_FD && fcntl(fd, F_GETFD) >= 0)
			lab_note_u64("open", fd);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	pthread_t t[4];
	char c;

	if (!strcmp(mode, "notes")) notes();
	if (!strcmp(mode, "limits")) limits();
	if (!strcmp(mode, "getchar")) {
		char *p = sbrk(0);
		getchar(), (void)!brk(p + 4096), getchar(), (void)!brk(p), getchar();
	}
	if (!strcmp(mode, "poll")) {
		struct pollfd p = { 0, POLLIN, 0 };
		poll(&p, 1, -1), read(0, &c, 1), exit(c);
	}
	if (!strcmp(mode, "select")) {
		fd_set set;
		FD_ZERO(&set); FD_SET(0, &set);
		select(1, &set, NULL, NULL, NULL), read(0, &c, 1), exit(c);
	}
	if (!strcmp(mode, "epoll")) {
		struct epoll_event e = { .events = EPOLLIN };
		int set = epoll_create1(0);
		epoll_ctl(set, EPOLL_CTL_ADD, 0, &e), epoll_wait(set, &e, 1, -1), read(0, &c, 1), exit(c);
	}
	if (!strcmp(mode, "threads")) {
		pthread_create(t, NULL, spin, NULL), pthread_create(t + 1, NULL, wait_for_ever, NULL);
		lab_checkpoint("threads"), _exit(0);
	}
	if (!strcmp(mode, "reader")) {
		pthread_create(t, NULL, spin, NULL), pthread_create(t + 1, NULL, read_one, NULL);
		pthread_join(t[1], NULL), _exit(0);
	}
	if (!strcmp(mode, "child")) {
		if (fork() == 0)
			lab_checkpoint("child"), _exit(0);
		wait(NULL), lab_checkpoint("parent");
	}
	if (!strcmp(mode, "segv")) *(volatile int *)8 = 1;
	if (!strcmp(mode, "flood")) for (;;) puts("0123456789");
	if (!strcmp(mode, "noteflood")) for (;;) lab_note("a", "b");
	if (!strcmp(mode, "endless")) for (;;) lab_checkpoint("again");
	if (!strcmp(mode, "spin")) spin(NULL);
	if (!strcmp(mode, "stuck")) lab_checkpoint("one"), spin(NULL);
	if (!strcmp(mode, "daemon")) {
		if (fork() == 0) { setsid(); if (fork() == 0) pause(); _exit(0); }
		wait(NULL);
	}
	if (!strcmp(mode, "cat")) while (read(0, &c, 1) == 1) (void)!write(1, &c, 1);
	return 0;
}
"""


def compiled(target: Path, *arguments: str | Path) -> Path:
    subprocess.run(["gcc", *arguments, "-o", target], check=True)
    return target


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with init, labrun and a program with many modes."""
    folder = tmp_path_factory.mktemp("guest")
    (folder / "program.c").write_text(PROGRAM)
    sources = [source for source in sorted(GUEST.glob("*.c")) if source.name not in INIT]
    compiled(folder / "init", *STRICT, *(GUEST / name for name in (*INIT, *BOTH)))
    compiled(folder / "labrun", *STRICT, *sources)
    compiled(folder / "program", "-pthread", "-w", f"-I{GUEST}", folder / "program.c")
    return folder


class Labrun:
    """One labrun and what it said."""

    def __init__(self, built: Path, case: Path, *arguments: str) -> None:
        self.built = built
        self.frames: list[wire.Frame] = []
        self.loaded: list[wire.Frame] = []
        self._process = subprocess.Popen(
            [built / "labrun", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"LABRUN_CASE": str(case)}, bufsize=0,
        )  # fmt: skip
        self._alarm = threading.Timer(PATIENCE, self._process.kill)
        self._alarm.start()

    def send(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)

    def hang_up(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()

    def read(self) -> Iterator[wire.Frame]:
        assert self._process.stdout
        output = self._process.stdout.fileno()
        for frame in wire.frames(lambda size: os.read(output, size)):
            if frame.attributes.get("kind") == "exec" or (self.loaded and self.loaded[-1].type != "ready"):
                self.loaded.append(frame)  # the checkpoint that every program begins with
                if frame.type == "ready":
                    self.send(b"go\n")
                continue
            self.frames.append(frame)
            yield frame

    def program(self, mode: str, *lines: bytes) -> None:
        self.send(wire.file("program", 0o755, (self.built / "program").read_bytes()))
        self.send(b"".join([wire.blob(b"./program", "arg"), wire.blob(mode.encode(), "arg"), *lines, b"start\n"]))

    def end(self) -> int:
        self.hang_up()
        status = self._process.wait()
        self._alarm.cancel()
        assert self._process.stdout
        self._process.stdout.close()
        return status

    def of(self, kind: str) -> list[wire.Frame]:
        return [frame for frame in self.frames if frame.type == kind]

    def notes(self) -> list[str]:
        return [frame.text for frame in self.of("note")]

    def files(self, suffix: str) -> list[bytes]:
        return [frame.payload for frame in self.of("file") if frame.attributes["name"].endswith(suffix)]


Run = Callable[..., Labrun]


def test_a_program_is_seen_before_its_first_instruction(run: Run) -> None:
    labrun = run("notes")
    first, *files, ready = labrun.loaded
    assert (first.attributes["name"], ready.type) == ("exec", "ready")
    maps = next(frame.text for frame in files if frame.attributes["name"].endswith("/maps"))
    assert "[stack]" in maps and "[heap]" not in maps and "libc.so" not in maps
    status = next(f.text for f in labrun.of("file") if f.attributes["name"].endswith("/status"))
    assert "TracerPid:\t0\n" in status, "from then on nobody traces it"


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Run:
    """Runs a mode of the program to its end; every checkpoint is answered with "go"."""

    def go(mode: str, *lines: bytes, on_ready: bytes = b"go\n", on_start: bytes = b"") -> Labrun:
        labrun = Labrun(built, tmp_path, "run")
        labrun.program(mode, b"rlimit core 0 -\n", *lines)
        for frame in labrun.read():
            if frame.type == "started":
                labrun.send(on_start)
            if frame.type == "ready":
                labrun.send(on_ready)
            if frame.type == "bye":
                break
        labrun.end()
        return labrun

    return go


def last(labrun: Labrun) -> dict[str, str]:
    """How the program ended."""
    (frame,) = labrun.of("exit")
    return {name: value for name, value in frame.attributes.items() if name in ("code", "signal", "reason")}


def names(labrun: Labrun) -> list[str]:
    return [frame.attributes["name"] for frame in labrun.of("checkpoint")]


def failure(labrun: Labrun) -> tuple[str, str]:
    (frame,) = labrun.of("error")
    assert not labrun.of("exit") and labrun.frames[-1].type == "bye"
    return frame.attributes["what"], frame.text


def test_the_header_compiles_as_strict_c11(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text('#include "lab.h"\nint main(void) { lab_note("a", "b"); lab_checkpoint("c"); return 7; }\n')
    program = compiled(tmp_path / "a", "-std=c11", "-Wpedantic", "-Wall", "-Wextra", "-Werror", f"-I{GUEST}", source)
    assert subprocess.run([program], check=False).returncode == 7  # outside the lab every call does nothing


def test_a_descriptor_of_the_programs_own_is_left_alone(built: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        os.dup2(theirs.fileno(), 100)
        try:
            subprocess.run([built / "program", "notes"], pass_fds=[100], stdout=subprocess.DEVNULL, check=False)
        finally:
            os.close(100)
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)


def test_init_is_for_process_1_only(built: Path) -> None:
    done = subprocess.run([built / "init"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "process 1" in done.stderr


def test_named_checkpoints_notes_and_output(run: Run) -> None:
    labrun = run("notes")
    order = [frame.type for frame in labrun.frames if frame.type not in ("probe", "file", "note", "kmsg")]
    assert order == ["hello", "started", *(["output", "checkpoint", "ready"] * 2), "exit", "bye"]
    assert [frame.payload for frame in labrun.of("output")] == [b"hello\n", b"between\n"]
    assert names(labrun) == ["one", "unnamed"]  # a slash is no part of a name
    said = [note for note in labrun.notes() if not note.startswith("lab.warning=")]
    assert said == ["text=two words", "u64=18446744073709551615", "i64=-9223372036854775808", "hex=0xdead",
                    "ptr=0x1000", "line=a b", "moved=0"]  # fmt: skip
    assert last(labrun) == {"code": "3"}


def test_a_snapshot_is_of_a_stopped_process(run: Run) -> None:
    labrun = run("threads")
    states = [line for file in labrun.files("/status") for line in file.splitlines() if line.startswith(b"State:")]
    assert len(states) == 4 and {state.split()[1] for state in states} == {b"T"}
    assert {frame.attributes["name"].split("/")[-1] for frame in labrun.of("file")} >= {
        "status", "stat", "statm", "maps", "smaps", "limits", "auxv", "cmdline", "comm", "syscall", "exe",
    }  # fmt: skip
    assert all(wire.evidence_name(frame) for frame in labrun.of("file"))
    assert labrun.files("/cmdline")[0] == b"./program\0threads\0"


def test_a_blocked_read_is_a_checkpoint(run: Run) -> None:
    labrun = run("getchar")
    assert names(labrun) == ["stdin-1", "stdin-2", "stdin-3"]
    assert [b"[heap]" in maps for maps in labrun.files("/maps")] == [True, True, False]
    assert last(labrun) == {"code": "0"}


@pytest.mark.parametrize("mode", ["poll", "select", "epoll"])
def test_waiting_for_input_in_a_set_is_a_checkpoint_too(run: Run, mode: str) -> None:
    labrun = run(mode)
    assert [frame.attributes["name"] for frame in labrun.of("checkpoint")] == ["stdin-1"]
    assert last(labrun) == {"code": "10"}, "it read the line end"


def test_a_program_that_is_killed_is_looked_at_first(run: Run) -> None:
    labrun = run("stuck", on_ready=b"go\nkill\n")
    _, limit = labrun.of("checkpoint")
    assert limit.attributes["kind"] == "limit" and b"[stack]" in labrun.files("/maps")[1]
    assert last(labrun) == {"signal": "9", "reason": "killed"}


def test_a_reader_among_threads_is_stopped(run: Run) -> None:
    labrun = run("reader")
    assert names(labrun) == ["stdin-1"] and labrun.notes() == ["read=1"]
    assert all(b"State:\tT" in file for file in labrun.files("/status"))


def test_a_child_has_checkpoints_of_its_own(run: Run) -> None:
    labrun = run("child")
    child, parent = labrun.of("checkpoint")
    assert (child.attributes["name"], parent.attributes["name"]) == ("child", "parent")
    assert parent.number("pid") == labrun.of("started")[0].number("pid") != child.number("pid")


def test_fixed_input(run: Run) -> None:
    text = b"0123456789abcdef\n" * 2000
    labrun = run("cat", wire.blob(text, "stdin"))
    assert not labrun.of("checkpoint") and b"".join(frame.payload for frame in labrun.of("output")) == text


def test_the_last_line_end_is_followed_by_end_of_file(run: Run) -> None:
    assert names(run("cat", b"limit stdin 2\n")) == ["stdin-1", "stdin-2"]
    assert names(run("cat", b"limit stdin 0\n")) == []


def test_a_fatal_signal(run: Run) -> None:
    assert last(run("segv")) == {"signal": str(int(signal.SIGSEGV))}


@pytest.mark.parametrize(
    ("mode", "line", "reason"),
    [
        ("flood", b"limit output 1000\n", "output-limit"),
        ("noteflood", b"limit notes 10\n", "note-limit"),
        ("endless", b"limit checkpoints 3\n", "checkpoint-limit"),
    ],
)
def test_limits_end_the_program(run: Run, mode: str, line: bytes, reason: str) -> None:
    labrun = run(mode, line)
    assert last(labrun) == {"signal": "9", "reason": reason}
    assert sum(len(frame.payload) for frame in labrun.of("output")) == (1000 if mode == "flood" else 0)
    assert len(labrun.of("checkpoint")) == (2 if mode == "endless" else 0), "the first was exec"


def test_a_long_file_is_cut_and_says_so(run: Run) -> None:
    labrun = run("threads", b"limit file 100\n")
    cut = [frame for frame in labrun.of("file") if frame.attributes.get("truncated") == "1"]
    assert cut and {len(frame.payload) for frame in cut} == {100}


def test_kill_at_any_time(run: Run) -> None:
    assert last(run("spin", on_start=b"kill\n")) == {"signal": "9", "reason": "killed"}
    assert last(run("endless", on_ready=b"kill\n")) == {"signal": "9", "reason": "killed"}


def test_what_the_program_leaves_behind_is_ended(run: Run) -> None:
    labrun = run("daemon")
    assert last(labrun) == {"code": "0"} and labrun.of("exit")[0].attributes["leftover"] == "1"


def test_nothing_survives_a_host_that_leaves(built: Path, tmp_path: Path) -> None:
    labrun = Labrun(built, tmp_path, "run")
    labrun.program("spin")
    started = next(frame for frame in labrun.read() if frame.type == "started")
    assert labrun.end() == 1
    assert not Path(f"/proc/{started.number('pid')}").exists()


def test_limits_and_environment(run: Run) -> None:
    labrun = run("limits", b"rlimit stack 1048576 -\n", wire.blob(b"FOO=a b", "env"))
    assert labrun.notes() == ["stack=1048576", "environment=1", "FOO=a b", "open=0", "open=1", "open=2"]


def test_files_are_placed_below_the_case(run: Run, tmp_path: Path) -> None:
    run("nothing", wire.file("data/a/b.txt", 0o640, b"\0binary\n"))
    placed = tmp_path / "data/a/b.txt"
    assert placed.read_bytes() == b"\0binary\n" and placed.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("line", "what", "words"),
    [
        (b"bogus\n", "protocol", "unknown line: bogus"),
        (b"file 644 1 ../x\n.", "protocol", "bad mode or path"),
        (b"file 644 1 /x\n.", "protocol", "bad mode or path"),
        (b"file 644 1 a//x\n.", "protocol", "bad mode or path"),
        (b"file 99 1 x\n.", "protocol", "bad mode or path"),
        (b"file 644 99999999999 x\n", "protocol", "not a number"),
        (b"arg 3\na\0b", "protocol", "NUL"),
        (b"arg -1\n", "protocol", "not a number"),
        (b"limit nosuch 1\n", "protocol", "no limit is called nosuch"),
        (b"rlimit nosuch 1 -\n", "rlimit", "no resource limit is called nosuch"),
        (b"sysctl kernel.nosuch 1\n", "sysctl", "No such file"),
        (b"sysctl ../x 1\n", "sysctl", "bad name"),
        (b"sysctl kernel.ostype x\n", "sysctl", "not a guest of the lab"),
    ],
)
def test_orders_that_are_refused(run: Run, line: bytes, what: str, words: str) -> None:
    said, text = failure(run("nothing", line))
    assert said == what and words in text


def test_a_program_that_cannot_start(built: Path, tmp_path: Path) -> None:
    for orders, what in ((b"arg 6\n./nonestart\n", "exec"), (b"start\n", "protocol")):
        labrun = Labrun(built, tmp_path, "run")
        labrun.send(orders)
        for frame in labrun.read():
            if frame.type == "bye":
                break
        assert labrun.end() == 1
        assert failure(labrun)[0] == what


def test_probes(built: Path, tmp_path: Path) -> None:
    labrun = Labrun(built, tmp_path, "probe")
    list(labrun.read())
    assert labrun.end() == 0
    probes = {frame.attributes["name"]: frame.text for frame in labrun.of("probe")}
    assert f"release = {os.uname().release}\n" in probes["uname"]
    assert probes["buildid"].strip() == build_id(Path("/sys/kernel/notes"))
    vmcoreinfo = Path("/sys/kernel/vmcoreinfo")
    assert probes.get("vmcoreinfo") == (vmcoreinfo.read_text() if vmcoreinfo.exists() else None)
    assert f"kernel.ostype = {os.uname().sysname}\n" in probes["sysctl"]
    assert probes["pagesize"] == f"{os.sysconf('SC_PAGESIZE')}\n"
    assert [frame.type for frame in labrun.frames][:: len(labrun.frames) - 1] == ["hello", "bye"]


def test_without_a_guest_it_says_what_it_leaves_out(run: Run) -> None:
    labrun = run("nothing")
    (warnings,) = [frame.text for frame in labrun.of("probe") if frame.attributes["name"] == "warnings"]
    assert "no system-wide setting" in warnings and "no signal checkpoints" in warnings and "no cgroup" in warnings


def note(kind: int, content: bytes) -> bytes:
    padded = content + bytes(-len(content) % 4)
    return struct.pack("<III", 5, len(content), kind) + b"CORE\0\0\0\0" + padded


def core(*notes: bytes) -> bytes:
    """The head of a core dump: ELF header, one program header, notes."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, 0, 0, 0) + b"".join(notes)


REGISTERS = bytearray(336)  # struct elf_prstatus of x86-64: pr_reg at 112, rip its 17th, rsp its 20th
struct.pack_into("<Q", REGISTERS, 112 + 16 * 8, 0x401000)
struct.pack_into("<Q", REGISTERS, 112 + 19 * 8, 0x7FFC0000)
SIGINFO = struct.pack("<iiiiQ", 11, 0, 1, 0, 0x1234) + bytes(104)


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (core(note(1, bytes(REGISTERS)), note(0x53494749, SIGINFO)), b"7 8 11 1 1 1234 1 401000 7ffc0000"),
        (core(note(1, bytes(REGISTERS)))[:-1], b"7 8 11 0 0 0 0 0 0"),
        (core(note(0x53494749, SIGINFO[:8])), b"7 8 11 0 0 0 0 0 0"),
        (core(struct.pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, 1)), b"7 8 11 0 0 0 0 0 0"),
        (b"\x7fELF" + b"\xff" * 4096, b"7 8 11 0 0 0 0 0 0"),
        (b"", b"7 8 11 0 0 0 0 0 0"),
    ],
)
def test_the_core_helper_reads_the_head_of_a_core(built: Path, stream: bytes, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(f"\0labrun-core-{os.getpid()}")
        server.listen()
        server.settimeout(PATIENCE)
        command: list[str | Path] = [built / "labrun", "core", str(os.getpid()), "7", "8", "11"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as helper:
            assert helper.stdin
            helper.stdin.write(stream)
            helper.stdin.close()
            connection, _ = server.accept()
            with connection:
                assert connection.recv(4096) == said
                assert helper.poll() is None  # it keeps the dying process until we let go
            assert helper.wait(PATIENCE) == 0
