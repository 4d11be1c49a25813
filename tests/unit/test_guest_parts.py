"""Parts of labrun, each alone on this host: what it makes of symbols, of traces, of a file that can't be read on."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from orchestrator import wire

GUEST = Path(__file__).resolve().parents[2] / "guest"
FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{GUEST}")

COMMON = """
#include "labrun.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
"""

SYMBOLS = """
#include <stdarg.h>
#include <stdlib.h>
#include <fcntl.h>
FILE *kallsyms(const char *path, const char *mode);
FILE *kallsyms(const char *path, const char *mode) { return *mode == 'r' ? stdin : fdopen(creat(path, 0600), "w"); }
void warn(struct run *r, const char *fmt, ...) { (void)r; (void)fmt; }
int main(int argc, char **argv)
{
	struct run r = { .symbols = { .item = argv + 1, .count = (size_t)argc - 1 } };

	if (getenv("SAVE"))
		return symbols_save();
	symbols_load(&r);
	for (int i = 1; i < argc; i++) {
		const char *found = symbol_find(argv[i]);

		printf("%s %s %u", argv[i], found ? found : "-", symbol_count(argv[i]));
		puts(symbol_partial(argv[i]) ? " part" : "");
	}
	return 0;
}
"""

READING = """
ssize_t broken_read(int fd, void *data, size_t size);
ssize_t broken_read(int fd, void *data, size_t size)
{
	return read(fd, data, size > 3 ? 3 : size) ? 3 : -1;	/* three bytes at a time, and no proper end */
}
void wire_note(pid_t pid, pid_t tid, const char *fmt, ...) { (void)pid; (void)tid; (void)fmt; }
noreturn void die(struct run *r, const char *what, const char *fmt, ...) { (void)r; (void)what; (void)fmt; _exit(1); }
int main(int argc, char **argv)
{
	bool truncated = false;
	char small[64];
	size_t len = 0;
	const char *data = evidence(argv[argc - 1], 100, &len, &truncated);

	ssize_t n = read_small(argv[argc - 1], small, sizeof(small));

	printf("%s %zu %d %zd '%s'\\n", data ? "there" : "none", len, truncated, n, small);
	return 0;
}
"""

SENDING = """
#include <stdlib.h>
void tree_kill(struct run *r) { (void)r; }
void core_close(struct run *r) { (void)r; }
void trace_close(struct run *r) { (void)r; }
void tree_close(struct run *r) { (void)r; }
int main(int argc, char **argv)
{
	struct run r = { .trace = { .open = true } };

	r.limit.file = strtoul(argv[1], NULL, 10);
	r.limit.trace = strtoul(argv[2], NULL, 10);
	for (int i = 3; i < argc; i++) {	/* each is what the kernel recorded since the one before */
		rename(argv[i], TRACE_INSTANCE "/trace_pipe");
		trace_send(&r, i == argc - 1);
		wire_frame("ready", NULL, 0, NULL);
	}
	return 0;
}
"""


def built(folder: Path, source: str, parts: tuple[str, ...], *defines: str) -> Path:
    """A program of ``source`` and of some of labrun's parts; ``defines`` are for the parts."""
    (folder / "main.c").write_text(COMMON + source)
    objects = []
    for part in ("main.c", *parts):
        place = folder / part if part == "main.c" else GUEST / part
        objects.append(folder / f"{part}.o")
        more = () if part == "main.c" and "TRACING" not in str(defines) else defines
        subprocess.run(["gcc", *FLAGS, *more, "-c", place, "-o", objects[-1]], check=True)
    program = folder / "program"
    subprocess.run(["gcc", *objects, "-o", program], check=True)
    return program


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("f", "f f 1"),
        ("f f", "f f 2"),
        ("f.isra.0", "f f.isra.0 1"),
        ("f.isra.0 f.isra.0.cold f.cold", "f f.isra.0 1"),
        ("f.isra.0 f.constprop.0", "f f.isra.0 2"),
        ("f.constprop.0 f.constprop.1 f.constprop.2", "f f.constprop.0 3"),
        ("f.llvm.1234567", "f f.llvm.1234567 1"),
        ("f.part.0", "f f.part.0 0 part"),
        ("f.part.0 f.part.1", "f f.part.0 0 part"),
        ("f.isra.0.part.0 f.part.0.cold", "f f.isra.0.part.0 0 part"),
        ("f.part.0 f.isra.0", "f f.isra.0 1"),
        ("f.part.0 f", "f f 1"),
        ("f f.part.0", "f f 1"),
        ("f.isra.0 f", "f f 2"),
        ("f f.constprop.0", "f f 2"),
        ("f.cold f.isra.0.cold f.123 g", "f - 0"),
    ],
)
def test_which_function_a_name_means(tmp_path: Path, listed: str, said: str) -> None:
    saved = tmp_path / "symbols"
    program = built(tmp_path, SYMBOLS, ("symbols.c",), f'-DSYMBOLS_FILE="{saved}"', "-Dfopen=kallsyms")
    names = [*listed.split(), "e", "e.isra.0", "f_", "fa", "fa.isra.0", "g"]  # neighbours in a list that is sorted
    lines = "".join(f"ffffffff8100{i:04x} t {name}\t[module]\n" for i, name in enumerate(names))

    def answer(*asked: str) -> str:
        return subprocess.run([program, *asked], input=lines, capture_output=True, text=True, check=True).stdout

    assert answer("f") == said + "\n"
    asked = ("f", "f", "fa", "f.isra.0", "e", "a", "z")
    from_the_kernel = answer(*asked)
    subprocess.run([program], input=lines, text=True, check=True, env={"SAVE": "1"})
    assert saved.read_text().count("\n") == len(names)
    lines = ""  # what the kernel says is no longer asked for
    assert answer("f") == said + "\n" and answer(*asked) == from_the_kernel


@pytest.mark.parametrize(("content", "said"), [("abcdef", "there 6 1 -1 ''"), ("", "none 0 0 -1 ''")])
def test_a_file_that_breaks_off_is_not_taken_for_complete(tmp_path: Path, content: str, said: str) -> None:
    program = built(tmp_path, READING, ("files.c",), "-Dread=broken_read")
    (tmp_path / "file").write_text(content)
    done = subprocess.run([program, tmp_path / "file"], capture_output=True, text=True, check=True)
    assert done.stdout == said + "\n"


def mark(word: str, name: str) -> str:
    return f"         program-74      [000] ....     4.369611: tracing_mark_write: lab: {word} {name}\n"


def record(name: str) -> str:
    return f"         program-74      [000] d...     4.369643: page_fault_user: {name}\n"


def sent(
    folder: Path, recorded: list[str], file: int = 1 << 20, trace: int = 1 << 20, dropped: int = 0
) -> list[tuple[str, bool]]:
    """The text that each trace_send() sends of what the kernel recorded until then, and whether it is cut. Of some
    records the kernel says that it ``dropped`` them, before the first time."""
    tracing = folder / "tracing"
    stats = tracing / "instances/lab/per_cpu/cpu0/stats"
    stats.parent.mkdir(parents=True)
    stats.write_text(f"entries: 3\noverrun: 0\ncommit overrun: 0\ndropped events: {dropped}\nread events: 4\n")
    (tracing / "instances/lab/tracing_on").write_text("0\n")
    (tracing / "kprobe_profile").write_text("  lab_f      7      0\n  lab_g      8      2\n  other     1      1\n")
    program = built(folder, SENDING, ("trace_send.c", "files.c", "wire.c"), f'-DTRACING="{tracing}"')
    texts = []
    for number, text in enumerate(recorded):
        texts.append(folder / f"recorded-{number}")
        texts[-1].write_text(text)
    done = subprocess.run([program, str(file), str(trace), *texts], capture_output=True, check=True)
    found, pending = [], ("", False)
    for frame in wire.frames(io.BytesIO(done.stdout).read):
        if frame.attributes.get("name") == "trace/events":
            pending = (frame.text, "truncated" in frame.attributes)
        elif frame.attributes.get("name") == "trace/stats":
            assert frame.text.splitlines()[1:] == ["probe lab_g hits=8 missed=2"]
        elif frame.type == "ready":
            found.append(pending)
            pending = ("", False)
    return found


def test_what_is_recorded_is_sent_once(tmp_path: Path) -> None:
    first = mark("begin", "a") + record("1") + mark("end", "a")
    second = mark("begin", "b") + record("2") + mark("end", "b")
    assert sent(tmp_path, [first, "", second]) == [(first, False), ("", False), (second, False)]


def test_an_open_window_comes_again_and_whole(tmp_path: Path) -> None:
    first = mark("begin", "a") + mark("end", "a") + mark("begin", "ab") + record("1")
    more, end = record("2") + mark("begin", "c"), record("3") + mark("end", "ab") + mark("end", "c")
    again = mark("begin", "ab") + record("1") + more
    last = mark("begin", "d")
    assert sent(tmp_path, [first, more, "", end, last]) == [
        (first, False), (again, False), ("", False), (again + end, False), (last, False),
    ]  # fmt: skip


def test_long_text_has_its_marks_wherever_it_is_read(tmp_path: Path) -> None:
    many = "".join(mark("begin", f"w{i}") + record(str(i)) + mark("end", f"w{i}") for i in range(3000))
    assert sent(tmp_path, [many + mark("begin", "x"), record("y")]) == [
        (many + mark("begin", "x"), False), (mark("begin", "x") + record("y"), False)
    ]  # fmt: skip


def test_a_text_that_is_too_long_is_cut_and_the_next_is_not(tmp_path: Path) -> None:
    first = mark("begin", "a") + record("1")
    closed = mark("begin", "b") + mark("end", "b")
    found = sent(tmp_path, [first, record("2") * 1000 + mark("end", "a"), closed], file=1000)
    assert found == [(first, False), (first, True), (closed, False)]


def test_an_end_that_was_lost_does_not_keep_its_window_open(tmp_path: Path) -> None:
    overflowed, next_one = mark("begin", "a") + record("1"), mark("begin", "b") + mark("end", "b")
    assert sent(tmp_path, [overflowed, next_one], dropped=5) == [(overflowed, False), (next_one, False)]


def test_what_a_run_sends_has_a_limit_and_says_so(tmp_path: Path) -> None:
    window = mark("begin", "a") + record("1") * 10
    steps = [window, *(record(str(i)) for i in range(50)), record("x") + mark("end", "a")]
    found = sent(tmp_path, steps, trace=20 * len(window))
    assert sum(len(text) for text, _ in found[:-1]) < 6 * len(window), "sent again until a quarter of the limit"
    assert found[-1] == ("".join(steps), False) and found[-2] == ("", False)


def test_beyond_the_limit_a_trace_is_cut(tmp_path: Path) -> None:
    text = mark("begin", "a") + record("1") + mark("end", "a")
    found = sent(tmp_path, [text, text, text], trace=len(text) + 10)
    assert found == [(text, False), (text[:10], True), ("", True)]
