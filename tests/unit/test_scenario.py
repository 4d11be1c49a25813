"""scenario.yaml: what is read, and every mistake with file, line, key and what is allowed."""
# ruff: noqa: E501 - tables of messages

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from orchestrator import checks, scenario
from orchestrator.checks import CheckError
from orchestrator.errors import UsageError
from orchestrator.model import Scenario

GOOD = """\
name: demo
summary: a demonstration
claims: [x.one, x.two]
checkpoints: [start, end]
expectations:
  - id: first
    claim: x.one
    at: start
    check: note("a") == 1
    because: it is
    source: brk(2)
  - id: second
    claim: x.two
    at: end
    variants:
      - when: kernel >= "6.1"
        check: status("VmRSS") > 4 * KiB
        because: new
        source: a
      - when: kernel < "6.1"
        check: vma("[heap]", at="start") is None
        because: old
        source: b
controls:
  - name: nothing
    fails: [first]
    why: because
    defines: {MUTATE: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n")
    (tmp_path / "scenario.yaml").write_text(GOOD)
    return tmp_path


def load(folder: Path, text: str) -> Scenario:
    (folder / "scenario.yaml").write_text(text)
    return scenario.load(folder)


def refused(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(folder, text)
    assert caught.value.exit_code == 2
    return caught.value.message


def test_all_of_a_scenario(folder: Path) -> None:
    text = GOOD + (
        "sources: [brk(2)]\ncflags: [-O1]\nargs: [a, 'b c']\nneeds: {kconfig: [CONFIG_X=y], symbols: [f]}\n"
        "sysctls: {kernel.randomize_va_space: 0}\nulimits: {data: 4096, stack: '1:unlimited'}\ntimeout: 5\n"
        "tunables: {glibc.malloc.tcache_count: 0}\nenvironment: {LANG: C}\nappend: [nokaslr a=b]\n"
    )
    made = load(folder, text)
    assert (made.name, made.checkpoints, made.args, made.timeout) == ("demo", ("start", "end"), ("a", "b c"), 5.0)
    assert made.programs == (folder / "main.c",)
    assert made.settings.ulimits == (("data", "4096"), ("stack", "1:unlimited"))
    assert made.settings.sysctls == (("kernel.randomize_va_space", "0"),)
    assert made.settings.append == ("nokaslr", "a=b")
    assert made.needs.kconfig == ("CONFIG_X=y",)
    assert [e.id for e in made.expectations] == ["first", "second"]
    assert [v.when for v in made.expectations[1].variants] == ['kernel >= "6.1"', 'kernel < "6.1"']
    assert (made.expectations[0].line, made.expectations[1].variants[1].line) == (6, 20)
    assert made.controls[0].settings.defines == (("MUTATE", "1"),)
    assert scenario.without_control(made) == ("second",)
    assert not made.plain


BAD = [
    ("name: demo", "nam: demo", r":1: nam: unknown key; did you mean name\?; allowed: name, "),
    ("summary: a demonstration\n", "", r":1: file: the key 'summary' is missing"),
    ("name: demo", "name: demo\nname: two", r":2: name: the key is there twice"),
    ("name: demo", "name: 3", r":1: name: it is a number; allowed: a text"),
    ("name: demo", "name: a/b", r":1: name: 'a/b' is not possible here"),
    ("summary: a demonstration", "summary: ''", r":2: summary: it is empty"),
    ("summary: a demonstration", "summary: [a]", r":2: summary: it is a list; allowed: a text"),
    ("claims: [x.one, x.two]", "claims: x.one", r":3: claims: it is text; allowed: a list"),
    ("claim: x.two", "claim: x.tow", r":13: expectations\[1\].claim: 'x.tow' is not in claims; did you mean x.two"),
    ("checkpoints: [start, end]", "checkpoints: [start, start]", r":4: checkpoints\[1\]: 'start' is there twice"),
    ("checkpoints: [start, end]", "checkpoints: [start, exit]", r":4: checkpoints: 'exit' is every program's last"),
    ("at: start", "at: strat", r":8: expectations\[0\].at: unknown checkpoint 'strat'; did you mean start"),
    ("at: start", "at: start#0", r":8: expectations\[0\].at: unknown checkpoint 'start#0'"),
    ("    at: start\n", "", r":8: expectations\[0\].check: it looks at a checkpoint, and none is named"),
    ("id: second", "id: first", r":12: expectations\[1\]: 'first' is there twice"),
    ('check: note("a") == 1', 'check: note("a") = 1', r":9: expectations\[0\].check: not an expression"),
    ('check: note("a") == 1', 'check: not("a") == 1 and nte("a")', r":9: .* unknown function 'nte'; did you mean note"),
    ('check: note("a") == 1', "check: exit_cod == 1", r":9: .* unknown name 'exit_cod'; did you mean exit_code"),
    ('check: note("a") == 1', "check: true", r":9: expectations\[0\].check: it is true or false; allowed: a text"),
    ('at="start"', 'at="begin"', r":21: expectations\[1\].variants\[1\].check: unknown checkpoint 'begin'"),
    ("    check: note", "    variants: []\n    check: note", r":10: expectations\[0\].check: beside variants"),
    ('      - when: kernel < "6.1"\n        check', "      - check", r":20: .* the key 'when' is missing"),
    ("    because: it is\n", "", r":6: expectations\[0\]: the key 'because' is missing"),
    (
        "fails: [first]",
        "fails: [frist]",
        r":26: controls\[0\].fails\[0\]: unknown expectation 'frist'; did you mean first",
    ),
    ("fails: [first]", "fails: []", r":26: controls\[0\].fails: no expectation"),
    ("    defines: {MUTATE: 1}", "", r":25: controls\[0\]: it changes nothing"),
    ("{MUTATE: 1}", "{MUT-ATE: 1}", r":28: controls\[0\].defines.MUT-ATE: the name 'MUT-ATE'"),
    ("name: demo", "ulimits: {dta: 1}\nname: demo", r":1: ulimits.dta: the name 'dta'; allowed: cpu, fsize, data"),
    ("name: demo", "ulimits: {data: 1k}\nname: demo", r":1: ulimits.data: '1k' is not possible"),
    ("name: demo", "sysctls: {kernel.x: [1]}\nname: demo", r":1: sysctls.kernel.x: it is a list"),
    ("name: demo", "timeout: soon\nname: demo", r":1: timeout: it is soon; allowed: a number from"),
    ("name: demo", "needs: {kconfig: [X]}\nname: demo", r":1: needs.kconfig\[0\]: 'X' is not possible"),
    (
        "name: demo",
        'trace: {events: ["sched:sched_switch", "syscalls:sys_enter_brk"]}\nname: demo',
        r":1: trace.events\[1\]: 'syscalls:sys_enter_brk' is a system call's event; allowed: its name in trace: syscalls",
    ),
    (
        "name: demo",
        "programs: [mian.c]\nname: demo",
        r":1: programs\[0\]: there is no file 'mian.c'; did you mean main.c",
    ),
    ("name: demo", "programs: [../x.c]\nname: demo", r":1: programs\[0\]: '../x.c' is not possible"),
    ("name: demo", "name: &a demo\nargs: [*a]", r":2: the alias \*a; allowed: no aliases"),
    ("name: demo", "name: !!python/name:os.system x", r":1: name: it is something tagged"),
    ("name: demo", "name: [demo", r":\d+: not YAML"),
    ("name: demo", "- a\nname: demo", r":\d+: not YAML"),
    ("name: demo", "? [a]\n: b\nname: demo", r":1: file: a key that is no text"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_mistakes(folder: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    said = refused(folder, GOOD.replace(old, new, 1))
    assert said.startswith(f"{folder / 'scenario.yaml'}:")
    assert re.search(message, said), said


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]", "name", "a: b: c", "\t", "--- a\n--- b\n", "\x07"])
def test_not_a_scenario(folder: Path, text: str) -> None:
    assert "scenario.yaml" in refused(folder, text)


def test_hostile_files(folder: Path) -> None:
    assert "too deeply" in refused(folder, "name: " + "[" * 500 + "]" * 500)
    bomb = "a: &a [x,x]\n" + "".join(f"k{n}: [*a, *a]\n" for n in range(50))
    assert "alias" in refused(folder, bomb)
    assert "larger than" in refused(folder, "#" * ((1 << 20) + 1))
    (folder / "scenario.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        scenario.load(folder)
    (folder / "scenario.yaml").unlink()
    with pytest.raises(UsageError, match="cannot read"):
        scenario.load(folder)


def test_truncated_files_are_refused_or_read(folder: Path) -> None:
    for length in range(0, len(GOOD), 7):
        (folder / "scenario.yaml").write_text(GOOD[:length])
        try:
            scenario.load(folder)
        except UsageError as error:
            assert "scenario.yaml" in error.message


def test_no_program(folder: Path) -> None:
    (folder / "main.c").unlink()
    with pytest.raises(UsageError, match="no C file in the folder"):
        scenario.load(folder)


def test_find(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "all"
    (home / "demo").mkdir(parents=True)
    for name in ("main.c", "scenario.yaml"):
        (home / "demo" / name).write_text((folder / name).read_text())
    assert scenario.names([home]) == ("demo",)
    assert scenario.find("demo", [home]).directory == home / "demo"
    assert scenario.find(str(home / "demo"), []).name == "demo"
    (tmp_path / "here").mkdir()
    (tmp_path / "here/demo").write_bytes(b"\x7fELF")  # a program of that name hides no scenario
    monkeypatch.chdir(tmp_path / "here")
    assert scenario.find("demo", [home]).directory == home / "demo"
    assert scenario.find(str(home / "demo/scenario.yaml"), []).name == "demo"
    one = scenario.find(str(home / "demo/main.c"), [home])
    assert one.plain
    assert one.programs == (home / "demo/main.c",)
    with pytest.raises(UsageError, match="did you mean demo") as caught:
        scenario.find("dmeo", [home])
    assert "demo" in caught.value.hint
    for bad in ("../demo", "", "nothing.c", "\0"):
        with pytest.raises((UsageError, ValueError)):
            scenario.find(bad, [home])


def test_symbols_of_checks_are_looked_up(folder: Path) -> None:
    made = load(folder, GOOD.replace('kernel >= "6.1"', 'symbol("vma_find")') + "needs: {symbols: [f]}\n")
    assert scenario.symbols(made) == ("f", "vma_find")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "().__class__", "note.__class__", 'vma("a").__class__', "[x for x in y]", "lambda: 1",
        "2 ** 9", "1 << 99", "output.format(1)", '"a".join(output)', 'note("a", 1)', "note()", "note(output)",
        'note("a", when="b")', "reached(at='a')", 'kernel_log("(a+)+")', 'kernel_log("[")', 'kernel_log("(a)\\\\1")',
        'kernel_log(".*.*.*.*.*")', 'kernel_log("a?a?a?a?a?a")', 'kernel_log("a{1,9}a{1,9}a{1,9}a{1,9}a{1,9}")', "kernel := 1", "f'{kernel}'", "open('x')", "1; 2", "", "{}", "x" * 2000,
        "(" * 300 + "1" + ")" * 300, "+".join(["1"] * 400), "not " * 100 + "1", "1j == 1", "b'a' == 1", "... == 1",
        "len", "len(x=1)", "vmas == 1", "a.b.c", "print(1)", "output[x]", "output[0:1]", "output[True]",
    ],
)  # fmt: skip
def test_what_the_language_does_not_have(text: str) -> None:
    with pytest.raises(CheckError):
        checks.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "1 < 2 <= 3 and not (4 in [5, 6]) or None is None", "-1 % 2 == 1 // 3 & 1", 'kernel_log("a.*b[*+]{1,3} \\\\(c") > 0',
        'vma(note("a") + 4096, at="x").rss == 4 * KiB', "len(set(notes('g'))) > 1", "exit_signal is None",
    ],
)  # fmt: skip
def test_what_it_has(text: str) -> None:
    checks.parse(text)


def test_a_check_names_its_checkpoint_wherever_at_stands() -> None:
    tree = checks.parse('walk(1, pid=note("child", at="b"), at="a").present and mm(pid=7).brk > 0')
    assert sorted(checks.checkpoints(tree)) == ["", "a", "b"]


def test_operands_are_sides_and_observations() -> None:
    tree = checks.parse('note("a") - note("b") == 2 * KiB and vma(note("c")).end > 1 and reached("x")')
    assert [ast.unparse(node) for node in checks.operands(tree)] == [
        "note('a') - note('b')", "note('a')", "note('b')", "vma(note('c')).end", "note('c')", "reached('x')",
    ]  # fmt: skip
