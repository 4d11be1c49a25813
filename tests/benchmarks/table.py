"""Samples as a table: median, smallest, largest, and the ratio to what was measured in turn. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from subjects import Sample, Subject

HEAD = ("what", "time", "median", "min", "max", "ratio", "aim")
UNITS = ("cpu", "wall")


@dataclass(frozen=True)
class Row:
    """One line of the table, as text."""

    cells: tuple[str, ...]


def rows(subjects: Sequence[Subject], samples: Mapping[str, Sequence[Sample]]) -> list[Row]:
    """Two lines for each subject that has been measured, CPU time and wall time; behind them, what else it is
    compared with."""
    return [row for subject in subjects if samples.get(subject.name) for row in _of(subject, samples)]


def _of(subject: Subject, samples: Mapping[str, Sequence[Sample]]) -> list[Row]:
    found = [_row(subject, unit, samples) for unit in UNITS]
    for other, aims in subject.also.items():
        for unit, aim in aims.items():
            ratio = _ratio_of(subject.name, other, unit, samples)
            found.append(Row((f"… to {other}", unit, "", "", "", ratio, aim)))
    return found


def _row(subject: Subject, unit: str, samples: Mapping[str, Sequence[Sample]]) -> Row:
    values = [getattr(sample, unit) for sample in samples[subject.name]]
    ratio = _ratio_of(subject.name, subject.against, unit, samples)
    name = subject.name if unit == UNITS[0] else ""
    numbers = (f"{value:.2f}" for value in (median(values), min(values), max(values)))
    return Row((name, unit, *numbers, ratio, (subject.aims or {}).get(unit, "")))


def _ratio_of(name: str, other: str, unit: str, samples: Mapping[str, Sequence[Sample]]) -> str:
    """The median of the ratios round by round: what slows a whole round down does not count."""
    values, others = ([getattr(sample, unit) for sample in samples.get(of, ())] for of in (name, other))
    ratios = [value / other for value, other in zip(values, others, strict=False) if other > 0]
    return f"{median(ratios):.2f}" if ratios else ""


def text(found: Sequence[Row]) -> str:
    """For a terminal."""
    lines = [HEAD, *(row.cells for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "".join(_padded(line, widths).rstrip() + "\n" for line in lines)


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(
        f"{cell:>{width}}" if 2 <= column <= 5 else f"{cell:<{width}}"
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )


def markdown(found: Sequence[Row]) -> str:
    """For docs/benchmarks.md."""
    rule = ("---", "---", "--:", "--:", "--:", "--:", "---")
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (HEAD, rule, *(row.cells for row in found)))
