"""A scenario for a terminal: what it claims, expects and needs, and which controls make what fail. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator.claims import Claim
from orchestrator.claims import levels as levels_of
from orchestrator.model import Control, Expectation, Inspect, Scenario, Settings, Trace, Verdict
from orchestrator.report.text import Paint, clean, plural, wrap

_LIMIT = 4000  # characters of a text


def render(scenario: Scenario, catalogue: Mapping[str, Claim], *, width: int = 80, colour: bool = False) -> str:
    """Summary, claims with their statements, what it needs and sets, expectations, controls."""
    page = _Page(scenario, catalogue, width, Paint(colour))
    return "\n".join(page.lines()) + "\n"


class _Page:
    """One rendering."""

    def __init__(self, scenario: Scenario, catalogue: Mapping[str, Claim], width: int, paint: Paint) -> None:
        self.scenario, self.catalogue, self.width, self.paint = scenario, catalogue, width, paint

    def lines(self) -> Iterator[str]:
        scenario = self.scenario
        yield from self.text(f"{scenario.name}: {scenario.summary}", "")
        if scenario.plain:
            return
        yield ""
        for claim in scenario.claims:
            known = self.catalogue.get(claim)
            yield from self.text(known.statement if known else "(a claim of this scenario's own)", f"  {claim:<14} ")
        yield from self.facts()
        for expectation in scenario.expectations:
            yield from self.expectation(expectation)
        yield ""
        for control in scenario.controls:
            yield from self.control(control)

    def facts(self) -> Iterator[str]:
        """What the scenario needs of its guest, what it sets there and records."""
        scenario = self.scenario
        words = {
            "checkpoints": " ".join(scenario.checkpoints),
            "needs": " ".join((*scenario.needs.kconfig, *scenario.needs.symbols)),
            "settings": _settings(scenario.settings),
            "trace": _trace(scenario.trace) if scenario.trace else "",
            "inspect": _inspect(scenario.inspect) if scenario.inspect else "",
            "boot": "deterministic" if scenario.deterministic else "one of its own" if scenario.own_boot else "",
            "sources": "; ".join(scenario.sources),
        }
        if any(words.values()):
            yield ""
        for name, text in words.items():
            if text:
                yield from self.text(text, f"{name:<12} ")

    def expectation(self, expectation: Expectation) -> Iterator[str]:
        failing = [c.name for c in self.scenario.controls if expectation.id in c.fails]
        yield ""
        head = f"{self.paint(clean(expectation.id), 'bold')}  {clean(expectation.claim)}"
        yield f"{head}  {'at ' + clean(expectation.at) if expectation.at else 'of the whole run'}"
        for variant in expectation.variants:
            if variant.when:
                yield from self.text(variant.when, "  when     ")
            yield from self.text(variant.check, "  check    ")
            yield from self.text(variant.because, "  because  ")
            yield from self.text(variant.source, "  source   ")
            if variant.verdict is not Verdict.CONFIRMED:
                yield from self.text(f"{variant.verdict.value}, where this passes", "  verdict  ")
        levels = {level for variant in expectation.variants for level in levels_of(variant.check)}
        yield f"  evidence {' '.join(sorted(levels)) or 'none'}"
        yield from self.text("; ".join(failing) or "none", "  controls ")

    def control(self, control: Control) -> Iterator[str]:
        yield from self.text(f"control  {control.name}: {_settings(control.settings)}", "")
        yield from self.text(", ".join(control.fails), "  fails  ")
        if control.why:
            yield from self.text(control.why, "  why    ")

    def text(self, text: str, first: str) -> list[str]:
        return wrap(clean(text, _LIMIT), self.width, first)


def _settings(settings: Settings) -> str:
    """Settings as the options of `lab run` that mean them."""
    options = {"--sysctl": settings.sysctls, "--tunable": settings.tunables, "--ulimit": settings.ulimits,
               "--env": settings.environment, "-D": settings.defines}  # fmt: skip
    found = [f"--append {word}" for word in settings.append]
    found += [f"{option} {name}={value}" for option, pairs in options.items() for name, value in pairs]
    return " ".join(found)


def _inspect(inspect: Inspect) -> str:
    parts = {"kernel objects": inspect.kernel, "heap": inspect.heap}
    return "; ".join(f"{what} at {' '.join(names)}" for what, names in parts.items() if names)


def _trace(trace: Trace) -> str:
    parts = [f"{name} {', '.join(getattr(trace, name))}" for name in ("syscalls", "functions", "events", "graph")
             if getattr(trace, name)]  # fmt: skip
    parts.append(f"{plural(trace.buffer, 'MiB', 'MiB')} a processor")
    return "; ".join(["faults, page allocations and new tasks", *parts])
