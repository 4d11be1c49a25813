"""Unmodified C programs: each blocking read of standard input is a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pexpect
import pytest
from conftest import NEWEST, OLDEST, Lab

from orchestrator.collect.lines import Document
from orchestrator.collect.procfs import parse_maps
from orchestrator.model import Ending, Vma

PROGRAMS = Path(__file__).parents[1] / "data/programs"


def maps(lab: Lab, index: int) -> tuple[Vma, ...]:
    (found,) = (lab.folder / "run/evidence").glob(f"{index:02d}-*/proc/*/maps")
    return parse_maps(Document.of(str(found), found.read_bytes()))


def heap_end(lab: Lab, index: int) -> int | None:
    return next((vma.end for vma in maps(lab, index) if vma.name == "[heap]"), None)


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
def test_the_classic_demonstration(lab: Lab, kernel: str, userland: str) -> None:
    done = lab("run", str(PROGRAMS / "classic.c"), "-k", kernel, "-u", userland, "-o", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    record = lab.record("run")
    stops = [c for c in record.checkpoints if c.kind == "stdin"]
    assert len(stops) == 3
    first, second, third = (heap_end(lab, c.index) for c in stops)
    assert first and second == first + 4096 and third == first
    assert "appeared" in done.stdout and "grew" in done.stdout and "shrank" in done.stdout


def test_threads_are_looked_at_one_by_one(lab: Lab) -> None:
    assert lab("run", str(PROGRAMS / "threads.c"), "-o", "run", "-q").returncode == 0
    tasks = [len(list(place.glob("proc/*/task/*/status")))
             for place in sorted((lab.folder / "run/evidence").glob("*stdin*"))]
    assert tasks == [1, 3]
    stopped = next((lab.folder / "run/evidence").glob("*stdin-2/proc/*/status")).read_text()
    assert "(stopped)" in stopped


def test_a_fatal_signal_is_a_checkpoint(lab: Lab) -> None:
    done = lab("run", str(PROGRAMS / "segv.c"), "-o", "run")
    record = lab.record("run")
    assert done.returncode == 1 and record.ending is Ending.COMPLETED
    assert record.ended is not None and record.ended.signal == 11
    crash = next(c for c in record.checkpoints if c.kind == "signal")
    assert crash.signal == 11
    told = (lab.folder / "run" / crash.directory / "notes").read_text().splitlines()
    notes = dict(line.split("=", 1) for line in told)
    assert notes["signal.code"] == "2", "SEGV_ACCERR: the page is there, and read-only"
    address = int(notes["signal.addr"], 0)
    assert any(vma.start + 42 == address and vma.perms == "r--p" for vma in maps(lab, crash.index))
    assert "segfault at" in (lab.folder / "run/kernel.log").read_text(), "the kernel's own line is there: no ptrace"


def test_settings_reach_the_program(lab: Lab) -> None:
    source = lab.folder / "settings.c"
    source.write_text("""#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
int main(void)
{
	struct rlimit l;
	getrlimit(RLIMIT_STACK, &l);
	printf("%s %s %llu %d\\n", getenv("GLIBC_TUNABLES"), getenv("HELLO"), (unsigned long long)l.rlim_cur, NUMBER);
	return 0;
}
""")
    done = lab("run", str(source), "-o", "run", "-D", "NUMBER=7", "--env", "HELLO=world", "--ulimit", "stack=65536",
               "--tunable", "glibc.malloc.tcache_count=0", "--sysctl", "kernel.randomize_va_space=0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (lab.folder / "run/evidence/output").read_text() == "glibc.malloc.tcache_count=0 world 65536 7\n"
    assert "kernel.randomize_va_space = 0" in (lab.folder / "run/evidence/environment/sysctl").read_text()


def test_exec_is_transparent(lab: Lab) -> None:
    done = lab("exec", "--", "sh", "-c", "cat; echo oops >&2; exit 9", stdin="a\nb\n")
    assert (done.returncode, done.stdout) == (9, "a\nb\n") and done.stderr.endswith("oops\n")


def test_shell_without_a_terminal(lab: Lab) -> None:
    done = lab("shell", "-q", stdin="echo $((6 * 7)); exit 5\n")
    assert (done.returncode, done.stdout) == (5, "42\n")


def test_a_guest_that_panics_under_a_shell_is_lost(lab: Lab) -> None:
    done = lab("shell", "-q", stdin="echo c > /proc/sysrq-trigger\nsleep 60\n")
    assert done.returncode == 4 and "sysrq triggered crash" in done.stderr


def test_exec_streams_both_ways_at_once(lab: Lab) -> None:
    """More than an SSH window in either direction: neither side may wait for the other."""
    text = "0123456789abcde\n" * 400_000
    done = lab("exec", "-q", "--", "cat", stdin=text)
    assert done.returncode == 0 and done.stdout == text


def test_exec_is_ended_at_its_time_limit_whatever_it_prints(lab: Lab) -> None:
    done = lab("exec", "-q", "--timeout", "5", "--", "yes")
    assert done.returncode == 5 and "within 5 s" in done.stderr


def test_shell_on_a_terminal(lab: Lab) -> None:
    words = lab.argv("shell")
    shell = pexpect.spawn(words[0], words[1:], env=lab.environment(), cwd=str(lab.folder), timeout=120,
                          encoding="utf-8")
    shell.expect("# ")
    shell.setwinsize(33, 111)
    shell.sendline("tty; stty size; echo $((6 * 7))")
    shell.expect("/dev/pts/")
    shell.expect("42")
    shell.sendline("exit 6")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 6


def source(lab: Lab, body: str) -> str:
    """A C file of the test's own."""
    path = lab.folder / "own.c"
    path.write_text("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"
                    "#include <sys/reboot.h>\nint main(void)\n{\n" + body + "\n}\n")
    return str(path)


def test_the_oom_killer_is_named(lab: Lab) -> None:
    own = source(lab, "for (;;) memset(malloc(1 << 20), 1, 1 << 20);")
    done = lab("run", own, "-o", "run", "--memory", "256")
    assert done.returncode == 1 and "SIGKILL" in done.stdout
    assert "Out of memory: Killed process" in done.stdout


@pytest.mark.parametrize(("command", "word"), [("RB_POWER_OFF", "powered off"), ("RB_AUTOBOOT", "restarted")])
def test_a_guest_that_ends_itself(lab: Lab, command: str, word: str) -> None:
    done = lab("run", source(lab, f"reboot({command}); return 0;"), "-o", "run")
    assert done.returncode == 4 and word in done.stdout
    assert lab.record("run").ending is Ending.LOST_GUEST


def test_what_a_program_writes_to_the_kernel_log_is_not_the_kernels_word(lab: Lab) -> None:
    body = 'FILE *f = fopen("/dev/kmsg", "w"); fputs("Kernel panic - not syncing: forged\\n", f); fclose(f); return 0;'
    done = lab("run", source(lab, body), "-o", "run")
    assert done.returncode == 0, done.stdout
    assert "forged" in (lab.folder / "run/kernel.log").read_text()


def test_a_mathematical_program_links(lab: Lab) -> None:
    body = 'volatile double x = 2; double sqrt(double); printf("%.3f", sqrt(x)); return 0;'
    assert lab("run", source(lab, body), "-o", "run").returncode == 0
    assert (lab.folder / "run/evidence/output").read_text() == "1.414"


def test_observations_of_what_was_not_said_or_is_not_there(lab: Lab) -> None:
    """Silence is evidence; symbols are looked up in the running kernel."""
    folder = lab.folder / "mine"
    folder.mkdir()
    (folder / "mine.c").write_text("int main(void) { return 0; }\n")
    checks = ['output == ""', 'kernel_log("segfault") == 0', 'symbol("panic")', 'not symbol("no_such_symbol")',
              'exit_code == 0', 'kconfig("CONFIG_MMU") == "y"', 'kernel >= "6.12"', 'glibc == "2.41"']
    wanted = "".join(f"  - {{id: c{n}, claim: a.b, check: '{check}', because: it is so, source: none}}\n"
                     for n, check in enumerate(checks))
    (folder / "scenario.yaml").write_text(f"name: mine\nsummary: x\nclaims: [a.b]\nexpectations:\n{wanted}")
    done = lab("run", "./mine", "-o", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lab.record("run").findings) == len(checks)
