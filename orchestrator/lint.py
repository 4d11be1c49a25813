"""`lab lint`: what can be said of a scenario without a guest.

An error makes a run useless or a proof worthless; a warning is what looks like a mistake, and may be none:
names that the program makes at run time can't be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator import checks, claims, mistakes, resources, scenario, sources, toolchain, variants, yamlnodes
from orchestrator.claims import Claim
from orchestrator.errors import UsageError
from orchestrator.model import Expectation, Scenario, Variant
from orchestrator.names import nearest
from orchestrator.yamlnodes import Node

_PLACE = re.compile(r"(?P<file>[^:\n]+):(?:(?P<line>\d+):)? (?P<text>.*)", re.DOTALL)
_SAID = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):(?:\d+:)? (?P<kind>fatal error|error|warning): (?P<text>.*)$", re.MULTILINE
)


# What labrun itself notes at the checkpoint of a fatal signal (guest/README.md).
_OWN_NOTES = {f"signal.{name}" for name in ("number", "code", "ip", "sp", "addr")}


@dataclass(frozen=True)
class Message:
    """One thing to say of a scenario."""

    file: Path
    line: int
    text: str
    error: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {'error' if self.error else 'warning'}: {self.text}"


@dataclass(frozen=True)
class Compiler:
    """What programs are compiled against. ``glibc``: its version; "" for the host's own headers."""

    glibc: str
    sysroot: Path | None
    key: str = ""


def refused(error: UsageError, place: Path) -> Message:
    """Why a scenario can't be read, as a message."""
    found = _PLACE.fullmatch(error.message)
    if found is None or not (found["line"] or Path(found["file"]).is_file()):
        return Message(place, 1, error.message, error=True)
    return Message(Path(found["file"]), int(found["line"] or 1), found["text"], error=True)


def lint(wanted: Scenario, catalogue: Mapping[str, Claim], compiler: Compiler | None) -> list[Message]:
    """Everything that is to be said of a scenario, by file and line. ``compiler`` None: it is not compiled."""
    found = set() if wanted.plain else set(_Linter(wanted, catalogue).messages())
    if compiler is not None:
        found.update(_compile(wanted, compiler))
    return sorted(found, key=lambda message: (str(message.file), message.line, message.text))


class _Linter:
    """Compares a scenario.yaml with itself, with its sources and with the ledger."""

    def __init__(self, wanted: Scenario, catalogue: Mapping[str, Claim]) -> None:
        self.wanted, self.catalogue = wanted, catalogue
        self.file = wanted.file or wanted.directory / scenario.FILE
        self.keys = dict(yamlnodes.load(self.file).pairs())
        self.code = sources.of(wanted.directory, wanted.programs)

    def messages(self) -> Iterator[Message]:
        yield from self.folder()
        yield from self.claims()
        yield from self.expectations()
        yield from self.comments()
        yield from self.checkpoints()
        yield from self.notes()
        yield from self.windows()
        yield from self.defines()
        yield from self.tunables()

    def said(self, line: int, text: str, error: bool = False) -> Message:
        return Message(self.file, line, text, error)

    def lines(self, key: str) -> list[tuple[str, int]]:
        """The items of a list in scenario.yaml, with their lines."""
        return [(item.text(), item.line) for item in self.keys[key].items()] if key in self.keys else []

    def folder(self) -> Iterator[Message]:
        name = self.wanted.directory.resolve().name
        if self.wanted.name != name:
            text = f"the scenario {self.wanted.name!r} is in the folder {name!r}, by whose name `lab run` looks for it"
            yield self.said(self.keys["name"].line, text)

    def claims(self) -> Iterator[Message]:
        proved = {expectation.claim for expectation in self.wanted.expectations}
        for name, line in self.lines("claims"):
            if name not in self.catalogue:
                hint = f"state it in a {claims.FILE} beside {scenario.FILE}{nearest(name, self.catalogue)}"
                yield self.said(line, f"the claim {name!r} is not in the ledger: {hint}")
            if name not in proved:
                yield self.said(line, f"no expectation proves the claim {name!r}")
        own = self.wanted.directory / claims.FILE
        for _, stated in yamlnodes.load(own).pairs() if own.is_file() else ():
            for name, node in stated.pairs():
                if name not in self.wanted.claims:
                    yield Message(own, node.line, f"the claims of {self.file.name} do not have {name!r}")

    def expectations(self) -> Iterator[Message]:
        without = scenario.without_control(self.wanted)
        for expectation in self.wanted.expectations:
            if expectation.id in without:
                text = f"{expectation.id} has no negative control: nothing shows that it can fail"
                yield self.said(expectation.line, text, error=True)
            whens = [variant.when for variant in expectation.variants]
            if all(whens) and (hole := variants.hole(whens)):
                yield self.said(expectation.line, f"{expectation.id}: {hole}, and exactly one must; write one as `not`")
            yield from self.checks(expectation)

    def checks(self, expectation: Expectation) -> Iterator[Message]:
        for variant in expectation.variants:
            for key, text in (("when", variant.when), ("check", variant.check)):
                for mistake in mistakes.of(text, expectation.at) if text else ():
                    yield self.said(variant.line, f"{expectation.id}: {key}: {mistake}", error=True)
            if nothing := mistakes.rests_on(variant.check):
                yield self.said(variant.line, f"{expectation.id}: check: {nothing}, so it proves no claim")

    def comments(self) -> Iterator[Message]:
        """What stands on the line of an expression behind its end."""
        lines = self.file.read_text(encoding="utf-8").splitlines()
        for expression in self.expressions():
            end = expression.node.end_mark
            rest = lines[end.line][end.column:].strip() if end.line < len(lines) else ""
            if rest.startswith("#") and getattr(expression.node, "style", None) not in ("|", ">"):
                text = f"{expression.key}: YAML ends it before {rest[:60]!r}: put it below `>-`, or the comment above"
                yield self.said(end.line + 1, text)

    def expressions(self) -> Iterator[Node]:
        for item in self.keys["expectations"].items():
            keys = dict(item.pairs())
            for node in keys["variants"].items() if "variants" in keys else (item,):
                yield from (value for key, value in node.pairs() if key in ("when", "check"))

    def checkpoints(self) -> Iterator[Message]:
        calls = self.code.calls("lab_checkpoint")
        for name, line in self.lines("checkpoints"):
            if not scenario.OWN.fullmatch(name) and not self.code.may_say(name):
                known = nearest(name, [call.text for call in calls])
                yield self.said(line, f"no source names the checkpoint {name!r}{known}")
        for call in calls if self.wanted.checkpoints else ():
            if call.text and call.text not in self.wanted.checkpoints:
                known = nearest(call.text, self.wanted.checkpoints)
                text = f"the checkpoint {call.text!r} is not declared, so a run without it may pass{known}"
                yield Message(call.file, call.line, text)

    def notes(self) -> Iterator[Message]:
        for function, name, line in self.asked("text"):
            if function not in ("note", "notes", "cost") or name in _OWN_NOTES or name.startswith("lab."):
                continue
            if not self.code.may_say(name, prefix=function == "notes"):
                yield self.said(line, f"no source names the note {name!r}{nearest(name, self.code.texts)}")

    def windows(self) -> Iterator[Message]:
        begun, ended = self.code.calls("lab_trace_begin"), {call.text for call in self.code.calls("lab_trace_end")}
        names = {call.text for call in begun}  # "" is one that the program makes
        for _, window, line in self.asked("window"):
            name = window.partition("#")[0]
            if name not in names and not ("" in names and self.code.may_say(name)):
                known = nearest(name, names)
                yield self.said(line, f"no source marks the trace window {name!r}{known}")
        for call in begun:
            if call.text and not ended & {call.text, ""}:
                yield Message(call.file, call.line, f"no source ends the trace window {call.text!r}")
            if self.wanted.trace is None:
                yield Message(call.file, call.line, f"nothing is recorded here: {self.file.name} has no trace")

    def asked(self, kind: str) -> Iterator[tuple[str, str, int]]:
        """Function, first argument and line of each call in checks that takes a literal of that kind first."""
        for variant in (variant for expectation in self.wanted.expectations for variant in expectation.variants):
            for function, name in _calls(variant):
                if checks.OBSERVATIONS[function].kinds[:1] == (kind,):
                    yield function, name, variant.line

    def defines(self) -> Iterator[Message]:
        mutations = self.code.mutations()
        used = {name for control in self.wanted.controls for name, _ in control.settings.defines}
        for control in self.wanted.controls:
            for name, _ in control.settings.defines:
                if not self.code.mentions(name):
                    known = nearest(name, [word.text for word in mutations])
                    text = f"no source mentions {name}, so the control {control.name!r} changes nothing{known}"
                    yield self.said(control.line, text, error=True)
        for word in mutations:
            if word.text not in used:
                yield Message(word.file, word.line, f"no control sets {word.text}{nearest(word.text, used)}")

    def tunables(self) -> Iterator[Message]:
        own = self.keys["tunables"].line if "tunables" in self.keys else 1
        of = [(self.wanted.settings, own), *((control.settings, control.line) for control in self.wanted.controls)]
        for settings, line in of:
            for name, _ in settings.tunables:
                if not name.startswith("glibc."):
                    text = f"glibc has no tunable {name!r}, and says nothing; one is glibc.malloc.tcache_count"
                    yield self.said(line, text)


def _calls(variant: Variant) -> Iterator[tuple[str, str]]:
    for text in filter(None, (variant.when, variant.check)):
        for function, node in checks.calls(checks.parse(text)):
            yield function, str(getattr(node.args[0], "value", "")) if node.args else ""


# -- the compiler ------------------------------------------------------------------------------------------------


def compiler() -> Compiler:
    """The sysroot of the default image, else of any userland in the cache; without one, the host's headers."""
    from orchestrator.pieces import Store
    from orchestrator.pieces.store import entry_name

    store = Store(cache=resources.cache())
    wanted = f"sysroot/{store.image().userland}"
    there = [key for key in store.cached() if key.startswith("sysroot/")]
    for key in sorted(there, key=lambda key: key != wanted)[:1]:
        name = entry_name(store.lock[key])
        return Compiler(store.lock[key].version, store.cache.folder / name / "root", name)
    return Compiler("", None)


def _compile(wanted: Scenario, chosen: Compiler) -> Iterator[Message]:
    """The compiler's words: on the program, and the errors that a control makes of it."""
    plain = list(_diagnosed(wanted, chosen, ()))
    yield from plain
    if any(message.error for message in plain):
        return
    if chosen.sysroot is not None:
        yield from _linked(wanted, chosen, chosen.sysroot)
    for control in wanted.controls:
        flags = [f"-D{name}={value}" for name, value in control.settings.defines]
        for message in _diagnosed(wanted, chosen, flags) if flags else ():
            if message.error:
                text = f"under the control {control.name!r}: {message.text}"
                yield Message(message.file, message.line, text, error=True)


def _diagnosed(wanted: Scenario, chosen: Compiler, flags: Iterable[str]) -> Iterator[Message]:
    said = toolchain.diagnose(wanted.programs, chosen.sysroot, include=(resources.data("guest"),),
                              flags=(*wanted.cflags, *flags))  # fmt: skip
    whole = wanted.directory.absolute()
    for found in _SAID.finditer(said):
        file = Path(found["file"])
        shown = wanted.directory / file.relative_to(whole) if file.is_relative_to(whole) else file
        yield Message(shown, int(found["line"]), found["text"], error=found["kind"] != "warning")


def _linked(wanted: Scenario, chosen: Compiler, sysroot: Path) -> Iterator[Message]:
    try:
        toolchain.compile_program(wanted.programs, sysroot, chosen.key, resources.cache(),
                                  include=(resources.data("guest"),), flags=wanted.cflags)  # fmt: skip
    except UsageError as error:
        yield Message(wanted.programs[0], 1, "; ".join(error.message.splitlines()), error=True)
