"""scenarios/README.md against the code: every key, observation and attribute is described, and nothing else;
every example is valid."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from orchestrator import checks, claims, heap_objects, kernel_objects, lint, model, observed, scenario, trace_rows
from orchestrator.cli.app import app
from orchestrator.collect import objects
from orchestrator.collect.lines import Document

README = Path(__file__).parents[2] / "scenarios/README.md"
TEXT = README.read_text(encoding="utf-8")


def table(*head: str) -> list[list[str]]:
    """The rows of all tables whose header begins so."""
    rows, inside = [], False
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not cells or not inside:
            inside = tuple(cells[: len(head)]) == head
        elif not line.startswith("|---"):
            rows.append(cells)
    assert rows, head
    return rows


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


KEYS = table("key", "what", "example")
OBSERVATIONS = table("observation", "value", "example")
TRACE = table("key of `trace`")
EXAMPLES = [codes(row[-1])[0] for row in (*OBSERVATIONS, *table("attributes of `vma(…)`"))]
WORDS = [word for row in OBSERVATIONS for word in codes(row[0])]
PLAIN = "name: x\nsummary: x\nclaims: [a.b]\ncheckpoints: [start, grown]\n"
EXPECTATION = "expectations: [{id: e, claim: a.b, check: exit_code == 0, because: x, source: x}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.c").write_text("int main(void) { return 0; }\n")
    return tmp_path


def load(folder: Path, text: str) -> model.Scenario:
    (folder / "scenario.yaml").write_text(text)
    return scenario.load(folder)


def test_every_key_is_described() -> None:
    assert {key for row in KEYS for key in codes(row[0])} == set(scenario._KEYS)


@pytest.mark.parametrize("row", [row for row in KEYS if codes(row[2])], ids=lambda row: codes(row[0])[0])
def test_the_example_of_a_key_is_read(row: list[str], folder: Path) -> None:
    (example,) = codes(row[2])
    (key,) = codes(row[0])
    assert example.startswith(f"{key}: ")
    others = "".join(line for line in PLAIN.splitlines(True) if not line.startswith(f"{key}:"))
    claims_of = f"claims: {[*yaml.safe_load(example)[key], 'a.b']}".replace("'", "") if key == "claims" else example
    load(folder, f"{others}{claims_of}\n{EXPECTATION}")
    assert key != "inspect" or load(folder, f"{PLAIN}{example}\n{EXPECTATION}").inspect is not None


def test_every_key_of_a_trace_is_described(folder: Path) -> None:
    assert [codes(row[0])[0] for row in TRACE] == [field.name for field in dataclasses.fields(model.Trace)]
    trace = ", ".join(codes(row[2])[0] for row in TRACE)
    made = load(folder, f"{PLAIN}trace: {{{trace}}}\n{EXPECTATION}").trace
    assert made is not None and all(dataclasses.astuple(made))
    assert f"({model.Trace.buffer})" in TRACE[-1][1]


def test_every_key_of_an_expectation_is_described() -> None:
    rows = {key for row in table("key", "what") if len(row) == 2 for key in codes(row[0])}
    assert rows == {"id", "claim", "at", "variants", "when", *scenario._VARIANT, *scenario._MAY}
    assert all(f"`{word}`" in TEXT for word in (*model.Verdict, *scenario._SETTINGS, "defines", "fails", "why"))


def test_the_whole_example_is_a_scenario(folder: Path) -> None:
    texts = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    made = load(folder, texts[0])
    assert scenario.without_control(made) == ()
    assert all(not lint.variants.hole([v.when for v in e.variants]) for e in made.expectations if e.variants[0].when)
    (folder / claims.FILE).write_text(texts[1])
    assert list(claims.load(folder / claims.FILE)) == list(made.claims)


def test_every_observation_is_described() -> None:
    names = [re.split(r"[^A-Za-z_]", word)[0] for word in WORDS]
    assert sorted(set(names)) == sorted({*checks.OBSERVATIONS, *checks.NAMES, *checks.UNITS, *checks.BUILTINS})
    levels = {word.partition("(")[0]: '"w"' in word for word in WORDS}
    assert {name for name, traced in levels.items() if traced} == {
        name for name, signature in checks.OBSERVATIONS.items() if signature.level == "T"
    }


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_an_expression(example: str) -> None:
    checks.parse(example)


@pytest.mark.parametrize("row", OBSERVATIONS, ids=lambda row: row[0])
def test_an_example_shows_what_it_is_for(row: list[str]) -> None:
    wanted = {re.split(r"[^A-Za-z_]", word)[0] for word in codes(row[0])}
    used = {node.id for node in ast.walk(checks.parse(codes(row[-1])[0])) if isinstance(node, ast.Name)}
    assert wanted <= used


def test_signatures_are_those_of_the_code() -> None:
    for word in WORDS:
        name, bracket, arguments = word.partition("(")
        if name in checks.OBSERVATIONS:
            assert bracket and len([a for a in arguments.strip("()").split(", ") if a]) == len(
                checks.OBSERVATIONS[name].kinds
            )


def test_every_attribute_of_a_mapping_is_described() -> None:
    named = [name for row in table("attributes of `vma(…)`") for code in codes(row[0]) for name in code.split(".")[1:]]
    assert sorted(name.strip() for name in named) == sorted(observed._PUBLIC)


def test_every_attribute_of_a_trace_record_is_described() -> None:
    rows = {codes(row[0])[0]: row[1] for row in table("of", "attributes")}
    assert list(rows) == list(trace_rows.ATTRIBUTES)
    for kind, text in rows.items():
        named = {name.strip() for name in codes(text)[0].split(".")[1:]} | {
            name for code in codes(text) if code.startswith(".") for name in re.findall(r"\w+", code.split()[0])
        }
        assert set(trace_rows.ATTRIBUTES[kind]) <= named, kind
        if kind not in ("syscalls", "events"):  # which have those of the call and of the event as well
            assert named == set(trace_rows.ATTRIBUTES[kind]), kind


def test_every_attribute_of_a_kernel_object_is_described() -> None:
    rows = {codes(row[0])[0]: {name for code in codes(row[1]) for name in re.findall(r"\.(\w+)", f" {code}")}
            for row in table("object", "attributes")}  # fmt: skip
    lines = (README.parents[1] / "tests/data/kernel/7.x.jsonl").read_bytes()
    found = objects.parse(Document.of("x", lines))
    assert found.mm is not None
    document = Document("x", ("",) * 99)
    assert rows["mm"] == found.mm.fields.keys() - {"is"}
    assert rows["tasks"] == found.tasks[0].fields.keys() - {"is"}
    assert rows["vm_area"] == kernel_objects._vma(found.vmas[0], document).fields.keys()
    assert rows["walk"] == set(kernel_objects.WALK)
    assert rows["pages"] == {kind for kind in objects.KINDS.values() if kind != "absent"} | {
        objects.UNCOUNTED, "total"}
    assert rows["tables"] == {*kernel_objects._LEVELS, "bytes"}


def test_every_attribute_of_the_heap_is_described() -> None:
    rows = {codes(row[0])[0]: {name for code in codes(row[1]) for name in re.findall(r"\.(\w+)", f" {code}")}
            for row in table("of the heap", "attributes")}  # fmt: skip
    assert rows == {kind: set(names) for kind, names in heap_objects.ATTRIBUTES.items()}


def test_the_labs_own_checkpoints_are_described() -> None:
    for name in ("exec", "stdin-1", "signal-SEGV", "limit", "exit"):
        assert scenario.OWN.fullmatch(name) and f"`{name}`" in TEXT


def test_commands_that_are_named_exist() -> None:
    commands = {command.name for command in app.registered_commands}
    assert set(re.findall(r"(?:^|`)lab ([a-z]+)\b", TEXT, re.MULTILINE)) <= commands
