"""The kernel trace in real guests: windows, children, execve, death, overflow, odd names, 120,000 mappings."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import NEWEST, OLDEST, Lab

from orchestrator.model import Finding, Outcome
from orchestrator.observations import Observations
from orchestrator.rundir import RunDirectory

TRACED = str(Path(__file__).parents[1] / "data/programs/traced")


def findings(lab: Lab, name: str) -> dict[str, Finding]:
    return {finding.id: finding for finding in lab.record(name).findings}


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
def test_windows_hold_what_happened_in_them(lab: Lab, kernel: str, userland: str) -> None:
    done = lab("run", TRACED, "-k", kernel, "-u", userland, "-o", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [c.name for c in lab.record("run").checkpoints][1:4] == ["touched", "executed", "signal-SEGV"]
    setup = (lab.folder / "run/evidence/environment/trace").read_text()
    pid = lab.record("run").checkpoints[0].pid
    assert f"\nfilter set_event_pid ok {pid}\nfilter set_ftrace_pid ok {pid}\n" in setup
    graph = (lab.folder / "run/evidence/01-touched/trace/graph").read_text()
    assert "handle_mm_fault" in graph and "/* lab: end touch */" in graph
    assert not (lab.folder / "run/evidence/00-exec/trace").exists()


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
def test_a_buffer_that_overflows_is_an_error(lab: Lab, kernel: str, userland: str) -> None:
    done = lab("run", TRACED, "-k", kernel, "-u", userland, "-o", "run", "-D", "PAGES=40000")
    assert done.returncode == 3, done.stdout
    found = findings(lab, "run")
    for name in ("touch", "nothing"):
        assert found[name].outcome is Outcome.ERROR
        assert "the trace buffer overflowed" in found[name].message
    assert found["exec"].outcome is Outcome.PASS, "its buffer was a new one"
    assert any("overflowed" in message for message in lab.record("run").messages)
    assert lab("check", "run").returncode == 3


def test_a_task_name_that_breaks_the_lines_is_an_error(lab: Lab) -> None:
    done = lab("run", TRACED, "-o", "run", "-D", "ODD_NAME=1")
    assert done.returncode == 3, done.stdout
    assert {f.outcome for f in lab.record("run").findings} == {Outcome.ERROR}
    assert "trace/events:" in findings(lab, "run")["touch"].message


def test_a_trace_that_is_asked_of_functions_that_are_not_there(lab: Lab) -> None:
    folder = lab.folder / "mine"
    folder.mkdir()
    (folder / "mine.c").write_text(
        '#include "lab.h"\nint main(void) { lab_trace_begin("w"); lab_trace_end("w"); return 0; }\n'
    )
    expectation = '  - {{id: {0}, claim: a.b, check: \'len(hits("w", "{1}")) == 0\', because: x, source: x}}\n'
    names = {"absent": "no_such_function", "refused": "asm_exc_page_fault", "there": "find_vma"}
    (folder / "scenario.yaml").write_text(
        f"name: mine\nsummary: x\nclaims: [a.b]\ntrace: {{functions: [{', '.join(names.values())}]}}\nexpectations:\n"
        + "".join(expectation.format(*item) for item in names.items())
    )
    assert lab("run", "./mine", "-o", "run").returncode == 3
    found = findings(lab, "run")
    assert found["there"].outcome is Outcome.PASS
    assert found["absent"].outcome is found["refused"].outcome is Outcome.ERROR
    assert "no_such_function" in found["absent"].message and "Invalid argument" in found["refused"].message


def mine(lab: Lab, program: str, trace: str, check: str, checkpoints: str = "[]") -> None:
    """A scenario of the test's own: ./mine."""
    folder = lab.folder / "mine"
    folder.mkdir()
    (folder / "mine.c").write_text(program)
    (folder / "scenario.yaml").write_text(
        f"name: mine\nsummary: x\nclaims: [a.b]\ncheckpoints: {checkpoints}\ntrace: {trace}\nexpectations:\n"
        f"  - {{id: only, claim: a.b, check: '{check}', because: x, source: x}}\n"
    )


BUSY_CHILD = """
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "lab.h"

int main(void)
{
	char name[16], byte = 0;
	int go[2];

	/*
	The parent must not fault while a window of its child is open: what it calls is bound before the fork, and it has
	its own stack page again when the child begins. The child has something to do at each checkpoint.
	*/
	if (pipe(go) < 0 || write(go[1], &byte, 1) < 0 || read(go[0], &byte, 1) < 0)
		return 1;
	wait(0);
	if (fork() == 0) {
		for (int i = 0; i < 1500; i++) {
			volatile char *p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (i % 75 == 0 && read(go[0], &byte, 1) < 0)
				return 1;
			sprintf(name, "w%d", i);
			lab_trace_begin(name);
			*p = 1;
			lab_trace_end(name);
		}
		_exit(0);
	}
	for (int i = 0; i < 20; i++) {
		lab_checkpoint("look");
		if (write(go[1], &byte, 1) < 0)
			return 1;
	}
	wait(0);
	return 0;
}
"""


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
def test_nothing_is_lost_of_who_goes_on_at_a_checkpoint(lab: Lab, kernel: str, userland: str) -> None:
    mine(lab, BUSY_CHILD, "{}", 'len(faults("w0")) == 1', "[look]")
    done = lab("run", "./mine", "-k", kernel, "-u", userland, "-o", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    directory = RunDirectory.open(lab.folder / "run")
    observed = Observations(directory, directory.load())
    assert sum((directory.path / c.directory / "trace").is_dir() for c in directory.load().checkpoints) > 1
    for number in range(1500):
        assert len(observed.faults(f"w{number}").value) == 1, number  # type: ignore[arg-type]


def test_a_probe_that_missed_hits_is_an_error(lab: Lab) -> None:
    """The probe of handle_mm_fault reads its arguments by copy_from_kernel_nofault(): no probe runs within a probe."""
    mine(lab, '#include <sys/mman.h>\n#include "lab.h"\n\nint main(void)\n{\n'
         "\tvolatile char *p = mmap(0, 4096, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n"
         '\tlab_trace_begin("w");\n\t*p = 1;\n\tlab_trace_end("w");\n\treturn 0;\n}\n',
         "{functions: [copy_from_kernel_nofault]}", 'len(hits("w", "copy_from_kernel_nofault")) == 0')  # fmt: skip
    assert lab("run", "./mine", "-o", "run").returncode == 3
    (stats,) = (lab.folder / "run/evidence").glob("*-exit/trace/stats")
    assert "\nprobe lab_copy_from_kernel_nofault hits=" in stats.read_text()


def test_a_function_of_which_only_a_part_has_a_symbol(lab: Lab) -> None:
    """In Debian's kernels from 5.10 to 7.x that is hugepage_subpool_get_pages(), mm/hugetlb.c."""
    mine(lab, '#include "lab.h"\nint main(void) { lab_trace_begin("w"); lab_trace_end("w"); return 0; }\n',
         "{functions: [hugepage_subpool_get_pages]}", 'len(hits("w", "hugepage_subpool_get_pages")) == 0')  # fmt: skip
    assert lab("run", "./mine", "-o", "run").returncode == 3
    said = "only a part of it has a symbol: hugepage_subpool_get_pages.part.0"
    assert said in findings(lab, "run")["only"].message


def test_a_map_of_sixty_thousand_mappings(lab: Lab) -> None:
    program = lab.folder / "many.c"
    program.write_text(
        "#include <stdio.h>\n#include <sys/mman.h>\nint main(void)\n{\n"
        "\tchar *p = mmap(0, 60000 * 8192L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n"
        "\tfor (long i = 0; i < 60000; i++)\n\t\tmprotect(p + i * 8192, 4096, PROT_NONE);\n"
        "\tgetchar();\n\treturn 0;\n}\n"
    )
    done = lab("run", "./many.c", "-o", "run", "--sysctl", "vm.max_map_count=200000")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "120,0" in done.stdout or "1200" in done.stdout
    assert len(done.stdout.splitlines()) < 400, "a picture that nobody reads"
