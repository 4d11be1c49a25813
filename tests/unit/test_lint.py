"""`lab lint`: what it says of a scenario, with file and line; and what it must not say."""
# ruff: noqa: E501 - tables of messages

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator import lint, mistakes, scenario, sources
from orchestrator.claims import Claim
from orchestrator.cli.app import app
from orchestrator.lint import Compiler
from orchestrator.variants import hole

HOST = Compiler("", None)
CATALOGUE = {"a.b": Claim("a.b", "it is so", "A", ("P",))}
C = """\
/* SPDX-License-Identifier: MIT */
/* lab_checkpoint("comment"); MUTATE_COMMENT is not code, nor is "this" */
#include "lab.h"
#ifndef MUTATE_X
#define MUTATE_X 0
#endif
int main(void)
{
	lab_trace_begin("w");
	lab_trace_end("w");
	lab_note_u64("key", MUTATE_X);
	lab_checkpoint("start");
	return 0;
}
"""
YAML = """\
name: demo
summary: a demonstration
claims:
  - a.b
checkpoints:
  - start
trace: {}
expectations:
  - id: first
    claim: a.b
    at: start
    check: note("key") == 0 and len(faults("w")) == 0
    because: it is
    source: f()
controls:
  - name: x
    fails: [first]
    defines: {MUTATE_X: 1}
"""


def said(folder: Path, yaml: str = YAML, code: str = C, compiler: Compiler | None = None) -> list[str]:
    """The messages about a scenario in a folder of that name, without the folder."""
    folder = folder if folder.name == "demo" else folder / "demo"
    folder.mkdir(exist_ok=True)
    (folder / "demo.c").write_text(code)
    (folder / "scenario.yaml").write_text(yaml)
    messages = lint.lint(scenario.load(folder), CATALOGUE, compiler)
    return [str(message).replace(f"{folder}/", "") for message in messages]


def test_nothing_to_say(tmp_path: Path) -> None:
    assert said(tmp_path, compiler=HOST) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    fails: [first]\n", "    fails: [first, second]\n", ""),
        ("  - a.b\n", "  - a.b\n  - a.bb\n", "scenario.yaml:5: warning: the claim 'a.bb' is not in the ledger: state it in a claims.yaml beside scenario.yaml; did you mean a.b"),
        ("  - a.b\n", "  - a.b\n  - a.bb\n", "scenario.yaml:5: warning: no expectation proves the claim 'a.bb'"),
        ("  - start\n", "  - start\n  - strat\n", "scenario.yaml:7: warning: no source names the checkpoint 'strat'; did you mean start"),
        ('note("key")', 'note("kye")', "scenario.yaml:9: warning: no source names the note 'kye'; did you mean key"),
        ('note("key")', 'note("this")', "scenario.yaml:9: warning: no source names the note 'this'"),
        ('faults("w")', 'faults("ww#2")', "scenario.yaml:9: warning: no source marks the trace window 'ww'"),
        ("{MUTATE_X: 1}", "{MUTATE_Y: 1}", "scenario.yaml:16: error: no source mentions MUTATE_Y, so the control 'x' changes nothing; did you mean MUTATE_X"),
        ("{MUTATE_X: 1}", "{MUTATE_COMMENT: 1}", "scenario.yaml:16: error: no source mentions MUTATE_COMMENT, so the control 'x' changes nothing"),
        ("{MUTATE_X: 1}", "{MUTATE_COMMENT: 1}", "demo.c:4: warning: no control sets MUTATE_X"),
    ],
)  # fmt: skip
def test_what_does_not_agree(tmp_path: Path, old: str, new: str, message: str) -> None:
    yaml = YAML.replace(old, new)
    if not message:  # a scenario without a mistake
        second = YAML.partition("  - id: first")[2].partition("controls:")[0]
        assert said(tmp_path, yaml.replace("controls:", f"  - id: second{second}controls:")) == []
        return
    assert any(line.startswith(message) for line in said(tmp_path, yaml)), said(tmp_path, yaml)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('lab_checkpoint("start")', 'lab_checkpoint("stop")', "demo.c:12: warning: the checkpoint 'stop' is not declared"),
        ('lab_checkpoint("start")', 'lab_checkpoint("stop")', "scenario.yaml:6: warning: no source names the checkpoint 'start'"),
        ('lab_trace_begin("w")', 'lab_trace_begin("v")', "scenario.yaml:9: warning: no source marks the trace window 'w'"),
        ('lab_trace_begin("w")', 'lab_trace_begin("v")', "demo.c:9: warning: no source ends the trace window 'v'"),
        ("return 0", "return nothing", "demo.c:13: error: "),
        ("int main(void)\n{", "int main(void)\n{\n\tint unused;", "demo.c:9: warning: unused variable"),
        ("return 0", "return MUTATE_X + 0 UL", "demo.c:13: error: "),
    ],
)  # fmt: skip
def test_what_the_sources_say(tmp_path: Path, old: str, new: str, message: str) -> None:
    lines = said(tmp_path, code=C.replace(old, new), compiler=HOST)
    assert any(line.startswith(message) for line in lines), lines


def test_an_expectation_without_a_control(tmp_path: Path) -> None:
    yaml = YAML.partition("controls:")[0]
    assert said(tmp_path, yaml)[-1].startswith("scenario.yaml:9: error: first has no negative control")


def test_a_control_that_does_not_compile(tmp_path: Path) -> None:
    code = C.replace("return 0;", "return MUTATE_X ? 0 : 0;\n#if MUTATE_X\n\tno such\n#endif")
    line = said(tmp_path, code=code, compiler=HOST)[0]
    assert line.startswith("demo.c:15: error: under the control 'x': ")


def test_a_trace_that_is_not_recorded(tmp_path: Path) -> None:
    yaml = YAML.replace("trace: {}\n", "").replace(' and len(faults("w")) == 0', "")
    assert said(tmp_path, yaml) == ["demo.c:9: warning: nothing is recorded here: scenario.yaml has no trace"]


def test_names_that_the_program_makes(tmp_path: Path) -> None:
    code = C.replace('"key"', 'make("gap-0")').replace("int main", 'const char *f = "size-%u-%s";\nint main')
    for name in ("gap-7", "size-12-big", "signal.code", "lab.warning"):
        assert said(tmp_path, YAML.replace('note("key")', f'note("{name}")'), code) == [], name
    for prefix in ("gap-", "size-", "size-1"):
        assert said(tmp_path, YAML.replace('note("key") == 0', f'len(notes("{prefix}")) > 0'), code) == [], prefix
    assert said(tmp_path, YAML.replace('note("key")', 'note("gip-7")'), code) != []
    code = C.replace('"key"', 'join("libc", "-start-", 3)')
    assert said(tmp_path, YAML.replace('note("key")', 'note("libc-start-3")'), code) == []
    assert said(tmp_path, YAML.replace('note("key")', 'note("libc-strat-3")'), code) != []


def test_a_name_in_two_lines_and_in_headers(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/names.h").write_text('#define START "start" /* "no" */\n')
    code = C.replace('lab_checkpoint("start")', "lab_checkpoint(\n\t\tSTART)").replace('"lab.h"', '"lab.h"\n#include "names.h"')
    assert said(tmp_path, code=code) == []


def test_variants_that_leave_a_case_out(tmp_path: Path) -> None:
    def variants(*whens: str) -> str:
        items = "".join(f"      - {{when: {when!r}, check: exit_code == 0, because: x, source: x}}\n" for when in whens)
        head, _, rest = YAML.partition("    check:")
        return f"{head}    variants:\n{items}controls:{rest.partition('controls:')[2]}"

    code = C.replace('lab_note_u64("key", MUTATE_X)', "(void)MUTATE_X")
    assert said(tmp_path, variants('kernel >= "6.4"', 'kernel < "6.4"'), code) == []
    (line,) = said(tmp_path, variants('kernel > "6.4"', 'kernel < "6.4"'), code)
    assert line.startswith("scenario.yaml:9: warning: first: no variant matches where kernel is 6.4, ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: demo", "name: dmeo", "scenario.yaml:1: warning: the scenario 'dmeo' is in the folder 'demo'"),
        ("== 0 and", "and", "scenario.yaml:9: error: first: check: note('key') is no truth value"),
        ("    at: start\n    check: ", "    at: exit\n    check: vma(5) is None and ", "scenario.yaml:9: error: first: check: vma() looks at \"exit\", where the program is gone"),
        ('== 0 and len(faults("w")) == 0', "== 0 # and more", "scenario.yaml:12: warning: expectations[0].check: YAML ends it before '# and more'"),
        ('check: note("key") == 0', 'check: >-\n      note("key") == 0 # first', "scenario.yaml:9: error: first: check: what follows # is left out"),
        ('note("key") == 0 and len(faults("w")) == 0', 'kernel > "5"', "scenario.yaml:9: warning: first: check: it looks only at what the guest is"),
        ('note("key") == 0 and len(faults("w")) == 0', "1 == 1", "scenario.yaml:9: warning: first: check: it looks at nothing"),
        ("defines: {MUTATE_X: 1}", "tunables: {malloc.check: 1}", "scenario.yaml:16: warning: glibc has no tunable 'malloc.check'"),
        ("trace: {}", "tunables: {tcache: 0}\ntrace: {}", "scenario.yaml:7: warning: glibc has no tunable 'tcache'"),
    ],
)  # fmt: skip
def test_what_a_check_says(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in YAML
    lines = said(tmp_path, YAML.replace(old, new))
    assert any(line.startswith(message) for line in lines), lines


def test_a_comment_beside_an_expression_of_a_variant(tmp_path: Path) -> None:
    head, _, rest = YAML.partition("    check:")
    variants = (
        '    variants:\n      - when: symbol("f")  # new\n        check: "exit_code == 0"  # quoted\n        because: x  # fine\n'
        '        source: x\n      - when: not symbol("f")\n        check: >-\n          exit_code == 1\n        # fine\n'
        "        because: x\n        source: x\n"
    )
    lines = said(tmp_path, f"{head}{variants}controls:{rest.partition('controls:')[2]}")
    found = [line.partition(": YAML ends it")[0] for line in lines if "YAML ends it" in line]
    assert found == [
        "scenario.yaml:13: warning: expectations[0].variants[0].when",
        "scenario.yaml:14: warning: expectations[0].variants[0].check",
    ]


def test_claims_that_are_stated_and_not_made(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/claims.yaml").write_text("A:\n  a.b: {statement: x, evidence: [P]}\n  a.c: {statement: x, evidence: [P]}\n")
    assert said(tmp_path) == ["claims.yaml:3: warning: the claims of scenario.yaml do not have 'a.c'"]


@pytest.mark.parametrize(
    ("check", "mistake"),
    [
        ('note("a") == 1 and not note("b") or reached("x")', ""),
        ('symbol("f") and cmdline("x") and chain("w", "a > b") and clones("w")[0].vm and any(notes("a"))', ""),
        ('len(vmas())', "len(vmas()) is no truth value: compare it with something"),
        ('reached("x") and (exit_code == 0 or 3)', "3 is no truth value"),
        ("1 < 2 and exit_code", "exit_code is no truth value"),
        ("kernel >= 6.10", "kernel is compared with 6.1: a version is a text"),
        ('"6.1" <= kernel < "6.x"', "kernel is compared with '6.x': a version is a text"),
        ('glibc >= "2.34" and "6.1" <= kernel < "6.2"', ""),
        ('note("a") == "12"', "note('a') is a number where it reads as one: not '12', but 12"),
        ('note("a") == "twelve" or sysctl("x") == 2', ""),
        ('kconfig("CONFIG_HZ") == 250', "kconfig('CONFIG_HZ') is a text, and never 250"),
        ("exit_signal == 11", "exit_signal is a text, and never 11"),
        ('exit_signal == "SIGSEVG"', "there is no signal 'SIGSEVG'; did you mean SIGSEGV"),
        ('exit_signal == "SIGSEGV" or exit_signal == "signal 99" or exit_signal is None', ""),
        ('stat("minflts") == 1', "stat() knows no 'minflts'; did you mean minflt"),
        ('limit("stak") < 8', "limit() knows no 'stak'; did you mean stack"),
        ('limit("stack", at="exit") < 8', 'limit() looks at "exit"'),
        ('note("a", at="exit") == 8', ""),
        ('faults("w").adress == []', "faults() has no attribute 'adress'; did you mean address"),
        ('faults("w")[0].adress == 1', "faults() has no attribute 'adress'"),
        ('syscalls("w", "brk").brk == []', ""),
        ('len(faults("w", page="p")) == 1', "page= takes a number, as note('p'), and not a text"),
        ('len(faults("w", page=note("p"), pid=3)) == 1', ""),
        ('walk(note("p")).writeable', "walk() has no attribute 'writeable'; did you mean writable"),
        ('bins("small")[0].index == 2 and chunks("used").sise == []', "chunks() has no attribute 'sise'; did you mean size"),
        ('arena(0).have_fastchunks == 0 and mm().brk > 0 and heap_sums().used > 3', ""),
        ('mm(at="exit").brk == 0', 'mm() looks at "exit"'),
        ('"#" in output', ""),
    ],
)  # fmt: skip
def test_mistakes(check: str, mistake: str) -> None:
    found = list(mistakes.of(check, "start"))
    assert found[0].startswith(mistake) and len(found) == 1 if mistake else found == []


@pytest.mark.parametrize(
    ("whens", "words"),
    [
        (('symbol("a")', 'not symbol("a")'), ""),
        (('symbol("a")', 'symbol("b")'), "2 variants match where symbol('a') is true, symbol('b') is true"),
        (('symbol("a")', 'not symbol("a") and symbol("b")', 'not (symbol("a") or symbol("b"))'), ""),
        (('"6.1.3" <= kernel < "6.2" or kernel >= "6.4"', 'not ("6.1.3" <= kernel < "6.2" or kernel >= "6.4")'), ""),
        (('"6.1.3" <= kernel < "6.2" or kernel >= "6.4"', 'kernel < "6.1.3"'), "no variant matches where kernel is 6.2"),
        (('glibc >= "2.42" and kernel >= "6.13"', 'glibc < "2.42"'), "no variant matches where"),
        (('sysctl("vm.x") == 2', 'sysctl("vm.x") != 2'), ""),
        (('sysctl("vm.x") == 2', 'sysctl("vm.x") < 2'), "no variant matches where sysctl('vm.x') is 3"),
        (('note("flag") == 1', 'note("flag") == 0'), ""),
        (('note("error") == 0', 'note("error") < 0'), "no variant matches where note('error') is 1"),
        (('limit("stack") == unlimited', 'limit("stack") < unlimited'), ""),
        (('limit("stack") >= 8 * MiB', 'limit("stack") < 2 * 4 * MiB'), ""),
        (('kconfig("CONFIG_X") == "y"', 'kconfig("CONFIG_X") is None'), "no variant matches where kconfig('CONFIG_X') is another"),
        (('tunable("a") in [1, 2]', 'tunable("a") not in [1, 2]'), ""),
        (('cmdline("x")', 'not cmdline("x")'), ""),
        (('note("a") + note("b") > 2', 'not note("a") + note("b") > 2'), ""),
        (('note("a") + note("b") > 2', 'note("a") + note("b") <= 2'), ""),
        (('note("a") > note("b")', 'note("a") <= note("b")'), ""),
        (('note("a") > note("b")', 'note("a") < note("b")'), "no variant matches where note('a') against note('b') is equal"),
        (('len(set(notes("a"))) == 1', 'len(set(notes("a"))) > 1'), ""),
        (('len(vmas()) == 1', 'len(vmas()) > 1'), "no variant matches where len(vmas()) is 0"),
        (("1 == 1", "1 == 2"), ""),
        (("1 == 1", "2 == 2"), "2 variants match"),
        (("page_size == 4096", "page_size != 4096"), ""),
        (tuple(f'symbol("s{n}")' for n in range(30)), ""),  # too many to tell
        (('kernel >= "new"', 'kernel < "new"'), ""),
        (('"a" * 99999999 == "b"', 'not "a" * 99999999 == "b"'), ""),
    ],
)  # fmt: skip
def test_holes(whens: tuple[str, ...], words: str) -> None:
    found = hole(whens)
    assert found.startswith(words) if words else found == ""


def test_sources_know_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.c"
    file.write_text('/* "x"\n */ f("one"); // f("two")\nf(\n  "three", 1); f(four); f("a" "b"); g("f(5)"); char c = \'"\';\nf("six");\n')
    found = sources.Sources([file])
    assert [(word.text, word.line) for word in found.calls("f")][:3] == [("one", 2), ("three", 3), ("", 4)]
    assert ("six", 5) in [(word.text, word.line) for word in found.calls("f")]
    assert {"one", "three", "six"} <= found.texts and "two" not in found.texts and "x" not in found.texts
    assert found.mentions("four") and not found.mentions("two") and not found.mentions("fo")


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["lint", *words])
    return done.exit_code, done.output


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "no cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/claims.yaml").write_text("A:\n  a.b: {statement: x, evidence: [P]}\n")
    assert said(tmp_path / "demo") == []
    code, output = run("./demo")
    assert (code, output.splitlines()[-1]) == (
        0, "./demo: 0 errors, 0 warnings; compiled against this host's headers (no sysroot is cached: not linked)"
    )  # fmt: skip
    (tmp_path / "demo/scenario.yaml").write_text(YAML.replace("name: demo", "name: demo\nnaem: x"))
    code, output = run("./demo", "nowhere")
    assert code == 2
    assert output.splitlines()[0] == (
        "demo/scenario.yaml:2: error: naem: unknown key; did you mean name?; allowed: " + ", ".join(scenario._KEYS)
    )
    assert "nowhere:1: error: there is no scenario, folder or C file 'nowhere'" in output


def test_warnings_do_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "no cache"))
    said(tmp_path)
    code, output = run(str(tmp_path / "demo"))
    assert code == 0 and "warning: the claim 'a.b' is not in the ledger: state it in a claims.yaml beside" in output


def test_a_plain_c_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "no cache"))
    (tmp_path / "a.c").write_text("int main(void) { return x; }\n")
    code, output = run(str(tmp_path / "a.c"))
    assert code == 2 and "a.c:1: error: " in output
