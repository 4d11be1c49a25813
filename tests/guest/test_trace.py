"""The kernel trace in real guests: windows, children, execve, death, overflow, odd names, 120,000 mappings."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import NEWEST, OLDEST, Lab

from orchestrator.model import Finding, Outcome

TRACED = str(Path(__file__).parents[1] / "data/programs/traced")


def findings(lab: Lab, name: str) -> dict[str, Finding]:
    return {finding.id: finding for finding in lab.record(name).findings}


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
def test_windows_hold_what_happened_in_them(lab: Lab, kernel: str, userland: str) -> None:
    done = lab("run", TRACED, "-k", kernel, "-u", userland, "-o", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [c.name for c in lab.record("run").checkpoints][1:4] == ["touched", "executed", "signal-SEGV"]
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
