"""scenario.yaml → model.Scenario. Every mistake is a UsageError with file, line, key and what is allowed."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from orchestrator import checks, tracing, yamlnodes
from orchestrator.checks import CheckError
from orchestrator.collect.procfs import LIMITS
from orchestrator.errors import UsageError
from orchestrator.model import (
    OWN_CHECK,
    Control,
    Expectation,
    Inspect,
    Needs,
    Scenario,
    Settings,
    Trace,
    Variant,
    Verdict,
)
from orchestrator.names import nearest
from orchestrator.scenario_folders import FILE as FILE
from orchestrator.scenario_folders import folders as folders
from orchestrator.scenario_folders import names as names
from orchestrator.yamlnodes import Node

EXIT = "exit"  # the last of every run
OWN = re.compile(r"exec|exit|limit|stdin-\d{1,4}|signal-\w{1,16}")  # the checkpoints that the lab makes itself
TIMEOUT = 30.0  # seconds for a step on a host of reference speed

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_SETTINGS = ("append", "sysctls", "tunables", "ulimits", "environment")
_KEYS = (
    "name", "summary", "claims", "sources", "programs", "cflags", "args", "needs", *_SETTINGS, "timeout",
    "checkpoints", "expectations", "controls", "trace", "inspect", "own_boot", "deterministic",
)  # fmt: skip
_VARIANT = ("check", "because", "source")
_MAY = ("verdict",)


def load(directory: Path) -> Scenario:
    """The scenario in a folder. Raises UsageError."""
    file = directory / FILE
    root = yamlnodes.load(file)
    keys = root.mapping(_KEYS, required=("name", "summary", "expectations"))
    names = keys["checkpoints"].texts(_NAME) if "checkpoints" in keys else ()
    _unique(keys["checkpoints"].items() if names else (), names)
    if EXIT in names:
        raise keys["checkpoints"].error(f"{EXIT!r} is every program's last checkpoint, and not declared")
    claims = _texts(keys, "claims", _NAME)
    trace = _trace(keys["trace"]) if "trace" in keys else None
    inspect = _inspect(keys["inspect"], names) if "inspect" in keys else None
    context = _Context(names, trace, inspect)
    expectations = tuple(_expectation(node, claims, context) for node in keys["expectations"].items())
    if not expectations:
        raise keys["expectations"].error("no expectation", "a list with at least one")
    _unique(keys["expectations"].items(), [e.id for e in expectations])
    controls = _controls(keys.get("controls"), [e.id for e in expectations])
    return Scenario(
        name=keys["name"].text(_NAME),
        summary=keys["summary"].text(),
        directory=directory,
        programs=_programs(directory, keys.get("programs"), root),
        claims=claims,
        sources=_texts(keys, "sources"),
        cflags=_texts(keys, "cflags"),
        args=tuple(item.scalar() for item in keys["args"].items()) if "args" in keys else (),
        needs=_needs(keys.get("needs")),
        settings=_settings(keys),
        checkpoints=names,
        expectations=expectations,
        controls=controls,
        timeout=keys["timeout"].number(0.1, 86400) if "timeout" in keys else TIMEOUT,
        trace=trace,
        inspect=inspect,
        own_boot="own_boot" in keys and keys["own_boot"].scalar("true|false") == "true",
        deterministic="deterministic" in keys and keys["deterministic"].scalar("true|false") == "true",
        file=file,
    )


def plain(c_file: Path) -> Scenario:
    """A C file without scenario.yaml: no expectations, checkpoints where it blocks reading its input."""
    if not c_file.is_file():
        raise UsageError(f"there is no C file {c_file}")
    return Scenario(name=c_file.stem, summary=f"the program {c_file.name}, as it is", directory=c_file.parent,
                    programs=(c_file,), timeout=TIMEOUT, plain=True)  # fmt: skip


def named(name: str) -> Scenario:
    """A scenario by name, folder or C file, looked for where the lab has some. Raises UsageError with the nearest
    names."""
    return find(name, folders())


def find(name_or_path: str, folders: Sequence[Path]) -> Scenario:
    """The scenario of that name in the folders, of that folder, or of that C file. Raises UsageError."""
    path = Path(name_or_path)
    if path.suffix == ".c":
        return plain(path)
    if path.name == FILE and path.is_file():
        return load(path.parent)
    for folder in folders:
        if re.fullmatch(_NAME, name_or_path) and (folder / name_or_path / FILE).is_file():
            return load(folder / name_or_path)
    if path.is_dir():
        return load(path)
    return _unknown(name_or_path, folders)


def _unknown(name: str, folders: Sequence[Path]) -> Scenario:
    known = names(folders)
    raise UsageError(
        f"there is no scenario, folder or C file {name!r}{nearest(name, known)}",
        f"the scenarios are: {', '.join(known) or 'none'}",
    )


def symbols(scenario: Scenario) -> tuple[str, ...]:
    """The kernel symbols to look up in the guest: those needed or traced, and those that checks name."""
    texts = [text for e in scenario.expectations for v in e.variants for text in (v.when, v.check) if text]
    asked = [name for text in texts for name in checks.symbols(checks.parse(text))]
    traced = (*scenario.trace.functions, *scenario.trace.graph) if scenario.trace else ()
    return tuple(dict.fromkeys((*scenario.needs.symbols, *traced, *asked)))


def without_control(scenario: Scenario) -> tuple[str, ...]:
    """The expectations that no negative control makes fail."""
    failing = {name for control in scenario.controls for name in control.fails}
    return tuple(e.id for e in scenario.expectations if e.id not in failing)


# -- parts -------------------------------------------------------------------------------------


def _texts(keys: dict[str, Node], key: str, pattern: str = "") -> tuple[str, ...]:
    return keys[key].texts(pattern) if key in keys else ()


def _unique(nodes: Sequence[Node], values: Sequence[str]) -> None:
    for index, (node, value) in enumerate(zip(nodes, values, strict=True)):
        if value in values[:index]:
            raise node.error(f"{value!r} is there twice")


def _programs(directory: Path, node: Node | None, root: Node) -> tuple[Path, ...]:
    if node is None:
        found = tuple(sorted(directory.glob("*.c")))
        if not found:
            raise root.error("no C file in the folder", "*.c, or programs: [FILE.c, …]")
        return found
    for item, name in zip(node.items(), node.texts(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}\.c"), strict=True):
        if not (directory / name).is_file():
            there = [file.name for file in directory.glob("*.c")]
            raise item.error(f"there is no file {name!r}{nearest(name, there)}", ", ".join(sorted(there)))
    return tuple(directory / name for name in node.texts())


def _needs(node: Node | None) -> Needs:
    if node is None:
        return Needs()
    keys = node.mapping(("kconfig", "symbols"))
    return Needs(
        kconfig=_texts(keys, "kconfig", r"CONFIG_[A-Za-z0-9_]{1,100}(?:=.{1,100})?"),
        symbols=_texts(keys, "symbols", r"[A-Za-z_][A-Za-z0-9_.]{0,199}"),
    )


def _trace(node: Node) -> Trace:
    keys = node.mapping(("syscalls", "functions", "events", "graph", "buffer"))
    name = r"[A-Za-z_][A-Za-z0-9_.]{0,99}"
    for item in keys["events"].items() if "events" in keys else ():
        if item.text().startswith("syscalls:"):
            raise item.error(f"{item.text()!r} is a system call's event", "its name in trace: syscalls, as mmap")
    return Trace(
        syscalls=_texts(keys, "syscalls", r"[a-z][a-z0-9_]{0,63}"),
        functions=_texts(keys, "functions", name),
        events=_texts(keys, "events", r"[a-z0-9_]{1,64}:[a-z0-9_]{1,64}"),
        graph=_texts(keys, "graph", name),
        buffer=int(keys["buffer"].number(1, 256)) if "buffer" in keys else Trace.buffer,
    )


def _inspect(node: Node, declared: Sequence[str]) -> Inspect:
    keys = node.mapping(("kernel", "heap"))
    if not keys:
        raise node.error("nothing is asked for", "kernel: [CHECKPOINT, …] or all, heap: likewise")
    return Inspect(*(_places(keys.get(part), declared) for part in ("kernel", "heap")))


def _places(node: Node | None, declared: Sequence[str]) -> tuple[str, ...]:
    """Checkpoints, or the word all."""
    if node is None:
        return ()
    if not node.is_list():
        return (node.text("all"),)
    for item, name in zip(node.items(), node.texts(), strict=True):
        if name not in declared and not (OWN.fullmatch(name) and name != EXIT):
            raise _unknown_checkpoint(item, name, declared)
    return node.texts()


def _settings(keys: dict[str, Node]) -> Settings:
    limit = r"unlimited|\d{1,19}(?::(?:unlimited|\d{1,19}))?"
    append = _texts(keys, "append")
    return Settings(
        append=tuple(word for text in append for word in text.split()),
        sysctls=_pairs(keys.get("sysctls"), r"[a-z][A-Za-z0-9_./-]{1,119}", "a sysctl, as kernel.randomize_va_space"),
        tunables=_pairs(keys.get("tunables"), r"[a-z][a-z0-9_.]{1,99}", "a tunable, as glibc.malloc.tcache_count"),
        ulimits=_pairs(keys.get("ulimits"), "|".join(LIMITS.values()), ", ".join(LIMITS.values()), limit),
        environment=_pairs(keys.get("environment"), r"[A-Za-z_][A-Za-z0-9_]{0,99}", "a variable's name"),
        defines=_pairs(keys.get("defines"), r"[A-Za-z_][A-Za-z0-9_]{0,99}", "a macro's name"),
    )


def _pairs(node: Node | None, names: str, allowed: str, values: str = "") -> tuple[tuple[str, str], ...]:
    if node is None:
        return ()
    found = []
    for key, value in node.pairs():
        if not re.fullmatch(names, key):
            raise value.error(f"the name {key!r}", allowed)
        text = value.scalar(values)
        if re.search(r"[\r\n]", text):
            raise value.error(f"{text[:100]!r} has a line end", "one line")
        found.append((key, text))
    return tuple(found)


@dataclass(frozen=True)
class _Context:
    """What expressions may refer to."""

    checkpoints: tuple[str, ...]
    trace: Trace | None
    inspect: Inspect | None


def _expectation(node: Node, claims: Collection[str], context: _Context) -> Expectation:
    keys = node.mapping(("id", "claim", "at", "variants", *_VARIANT, *_MAY), required=("id", "claim"))
    claim = keys["claim"].text()
    if claim not in claims:
        raise keys["claim"].error(f"{claim!r} is not in claims{nearest(claim, claims)}", ", ".join(claims))
    at = keys["at"].text() if "at" in keys else ""
    if at and not _known(at, context.checkpoints):
        raise _unknown_checkpoint(keys["at"], at, context.checkpoints)
    if "variants" in keys:
        both = next((key for key in (*_VARIANT, *_MAY) if key in keys), None)
        if both:
            raise keys[both].error("beside variants, whose every item has its own", "either the one or the other")
        variants = tuple(_variant(item, ("when", *_VARIANT, *_MAY), at, context) for item in keys["variants"].items())
        if not variants:
            raise keys["variants"].error("no variant", "a list with at least one")
    else:
        variants = (_variant(node, ("id", "claim", "at", *_VARIANT, *_MAY), at, context),)
    return Expectation(keys["id"].text(_NAME), claim, at, variants, node.line)


def _variant(node: Node, allowed: Sequence[str], at: str, context: _Context) -> Variant:
    keys = node.mapping(allowed, required=_VARIANT if "when" not in allowed else ("when", *_VARIANT))
    for key in ("when", "check"):
        if key in keys:
            _expression(keys[key], at, context)
    return Variant(
        check=keys["check"].text(), because=keys["because"].text(), source=keys["source"].text(),
        when=keys["when"].text() if "when" in keys else "", line=node.line,
        verdict=Verdict(keys["verdict"].text("|".join(Verdict))) if "verdict" in keys else Verdict.CONFIRMED,
    )  # fmt: skip


class _Written(Protocol):
    """An expression and where it is written."""

    def text(self) -> str: ...

    def error(self, what: str, allowed: str = "") -> UsageError: ...


@dataclass(frozen=True)
class _Word:
    """An expression on the command line."""

    words: str

    def text(self) -> str:
        return self.words

    def error(self, what: str, allowed: str = "") -> UsageError:
        return UsageError(f"--check {self.words}: {what}", allowed and f"allowed: {allowed}".replace(" at: ", " --at "))


def with_check(scenario: Scenario, check: str, at: str, inspect: Inspect | None) -> Scenario:
    """The scenario with a check of the user's own, in the same language, as one more expectation. ``inspect``: where
    the lab will look inside. Raises UsageError for a check that could not be evaluated there."""
    word = _Word(check)
    named = scenario.checkpoints
    if scenario.plain:  # which declares none, so that any name may be one
        named = (at, *_checkpoints_in(check))
    elif at and not _known(at, named):
        raise UsageError(f"--at {at}: {scenario.name} has no such checkpoint{nearest(at, named)}",
                         f"there are: {', '.join((*named, 'exec', EXIT))}")
    _expression(word, at, _Context(named, scenario.trace, inspect))
    own = Expectation(OWN_CHECK, "", at, (Variant(check, "", ""),))
    return replace(scenario, expectations=(*scenario.expectations, own))


def _checkpoints_in(check: str) -> tuple[str, ...]:
    try:
        return tuple(checks.checkpoints(checks.parse(check)))
    except CheckError:
        return ()


def _expression(node: _Written, at: str, context: _Context) -> None:
    try:
        tree = checks.parse(node.text())
    except CheckError as error:
        raise node.error(str(error)) from None
    for name in checks.checkpoints(tree):
        if not name and not at:
            raise node.error("it looks at a checkpoint, and none is named", 'at: NAME, or at="NAME" in the call')
        if name and not _known(name, context.checkpoints):
            raise _unknown_checkpoint(node, name, context.checkpoints)
    _traced(node, tree, context.trace)
    _inspected(node, tree, at, context.inspect)


def _inspected(node: _Written, tree: ast.Expression, at: str, inspect: Inspect | None) -> None:
    """Raises UsageError for a check that looks inside where the lab does not."""
    for function, call in checks.calls(tree):
        part = checks.PARTS.get(checks.OBSERVATIONS[function].level)
        if part is None:
            continue
        where = next((checks.text(k.value) for k in call.keywords if k.arg == "at"), at)
        if inspect is None or not inspect.at(part, where.partition("#")[0]):
            raise node.error(f"{function}() looks inside at {where!r}, and the scenario does not ask for that",
                             f"inspect: {{{part}: [{where}]}}")  # fmt: skip


def _traced(node: _Written, tree: ast.Expression, trace: Trace | None) -> None:
    """Raises UsageError for a check that rests on something that the trace does not record."""
    for function, call in checks.calls(tree):
        if checks.OBSERVATIONS[function].level != "T":
            continue
        if trace is None:
            raise node.error(f"{function}() looks at the kernel trace, and the scenario records none", "trace: {…}")
        recorded = {"syscalls": ("syscalls", trace.syscalls), "hits": ("functions", trace.functions),
                    "events": ("events", (*tracing.EVENTS, *trace.events))}.get(function)
        name = checks.text(call.args[1]) if recorded else ""
        if recorded and name not in recorded[1]:
            raise node.error(f"{name!r} is not in trace: {recorded[0]}{nearest(name, recorded[1])}",
                             ", ".join(recorded[1]) or f"add it to trace: {recorded[0]}")


def _known(at: str, declared: Sequence[str]) -> bool:
    name, hash_, number = at.partition("#")
    named = name in declared or bool(OWN.fullmatch(name))
    return named and (not hash_ or bool(re.fullmatch(r"[1-9]\d{0,5}", number)))


def _unknown_checkpoint(node: _Written, name: str, declared: Sequence[str]) -> UsageError:
    return node.error(f"unknown checkpoint {name!r}{nearest(name, declared)}", ", ".join((*declared, "exec", EXIT)))


def _controls(node: Node | None, ids: Sequence[str]) -> tuple[Control, ...]:
    if node is None:
        return ()
    controls = tuple(_control(item, ids) for item in node.items())
    _unique(node.items(), [control.name for control in controls])
    return controls


def _control(node: Node, ids: Sequence[str]) -> Control:
    keys = node.mapping(("name", "fails", "why", "defines", *_SETTINGS), required=("name", "fails"))
    fails = keys["fails"].texts()
    for item, name in zip(keys["fails"].items(), fails, strict=True):
        if name not in ids:
            raise item.error(f"unknown expectation {name!r}{nearest(name, ids)}", ", ".join(ids))
    if not fails:
        raise keys["fails"].error("no expectation", ", ".join(ids))
    settings = _settings(keys)
    if settings == Settings():
        raise node.error("it changes nothing", f"one of {', '.join(('defines', *_SETTINGS))}")
    why = keys["why"].text() if "why" in keys else ""
    return Control(keys["name"].text(), fails, settings, why, node.line)
