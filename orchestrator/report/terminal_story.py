"""The checkpoints of a run as a table for a terminal: what appeared, grew, shrank, went. Pure.

A row reads as a line of /proc/PID/maps: range, permissions, size, pages gained or lost, resident
memory, name.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.address_space import Change, Kind, resident
from orchestrator.model import Vma
from orchestrator.names import signal_name
from orchestrator.report.story import Moment
from orchestrator.report.text import (
    Paint,
    clean,
    columns,
    cut,
    flow,
    pad,
    plural,
    plus,
    seconds,
    size,
    span,
    wrap,
)
from orchestrator.report.trace import shown

MAX_ROWS = 40  # changes shown at one checkpoint, unless verbose
_LABEL = 8  # columns of the first word of a row
COLOURS = {
    Kind.APPEARED: "green",
    Kind.GREW: "green",
    Kind.WENT: "red",
    Kind.SHRANK: "red",
    Kind.TOUCHED: "cyan",
}


@dataclass(frozen=True)
class _Row:
    kind: str
    vma: Vma
    pages: str
    rss: str
    name: str
    colour: str = ""


@dataclass(frozen=True)
class _Widths:
    line: int  # of the terminal
    name: int
    span: int
    size: int
    pages: int
    rss: int


def lines(moments: Sequence[Moment], page: int, end: str, width: int, paint: Paint, verbose: bool) -> list[str]:
    """The story, a few lines for each checkpoint.

    ``page`` is the guest's page size in bytes, ``end`` how the program ended.
    """
    tables = [_table(moment, page, verbose) for moment in moments]
    rows = [row for table in tables for row in table]
    if not moments:
        return []
    widths = _Widths(
        width,
        min(max(len(_numbered(moment)) for moment in moments), 24),
        max([len(span(row.vma.start, row.vma.end)) for row in rows], default=len("range")),
        max([len(size(row.vma.size)) for row in rows] + [len("size")]),
        max([len(row.pages) for row in rows] + [len("page")]),
        max([len(row.rss) for row in rows] + [len("RSS")]),
    )
    result = [paint(cut(_heading(widths), width), "dim")] if rows else []
    for moment, table in zip(moments, tables, strict=True):
        result += _title(moment, widths, end, paint)
        result += _body(moment, table, widths, paint, verbose)
        result += _notes(moment, width)
        result += _trace(moment, width, paint, verbose)
    return result


def _heading(widths: _Widths) -> str:
    return (
        f"  {'change':<{_LABEL}} {'range':<{widths.span}} perm {'size':>{widths.size}}"
        f" {'page':>{widths.pages}} {'RSS':>{widths.rss}}  mapping"
    )


def _body(moment: Moment, table: list[_Row], widths: _Widths, paint: Paint, verbose: bool) -> list[str]:
    """What changed, between a checkpoint's title and its notes."""
    result = []
    if moment.problem:
        told = wrap(clean(moment.problem), widths.line, _label("mappings"))
        result += [paint(line, "yellow") for line in told]
    if not moment.file:
        return result
    if moment.fresh and not verbose:
        return result + _summary(moment, widths.line)
    shown = table if verbose else table[:MAX_ROWS]
    for row in shown:
        result += _row(row, widths, paint)
    if len(shown) < len(table):
        more = f"... {plural(len(table) - len(shown), 'more row')} (--verbose), from {moment.file}"
        result += wrap(more, widths.line, "  ")
    quiet = [] if verbose else _quiet(moment.changes)
    if quiet:
        result += flow(quiet, widths.line, _label("touched"), gap=", ")
    return result if moment.changes or moment.fresh else [*result, "  nothing changed"]


def _label(word: str) -> str:
    return f"  {word:<{_LABEL}} "


def _numbered(moment: Moment) -> str:
    return f"{moment.checkpoint.index} {cut(clean(moment.checkpoint.name, 64), 40)}"


def _title(moment: Moment, widths: _Widths, end: str, paint: Paint) -> list[str]:
    """ "1 grown   1.9 ms, 22 mappings, 2.4 MiB (+4 KiB), RSS 1.4 MiB (+0)"."""
    checkpoint = moment.checkpoint
    words = {"stdin": "reads stdin", "signal": f"fatal {signal_name(checkpoint.signal)}", "exit": end}
    parts = [f"{seconds(checkpoint.seconds):>7}", words.get(checkpoint.kind, "")]
    if moment.file and moment.fresh.startswith("new"):
        parts.append(f"{moment.fresh}, pid {checkpoint.pid}")
    if moment.file:
        vmas, previous = own(moment.vmas), None if moment.fresh else own(moment.previous)
        parts.append(plural(len(vmas), "mapping"))
        parts.append(_total("", _mapped(vmas), None if previous is None else _mapped(previous)))
        now = resident(vmas)
        if now is not None:
            parts.append(_total("RSS ", now, None if previous is None else resident(previous)))
    name = pad(_numbered(moment), widths.name)
    bad = ["red"] if checkpoint.kind == "signal" else []
    rows = flow([part for part in parts if part], widths.line, name + " ", _label(""), gap=", ")
    return [paint(name, "bold", *bad) + rows[0][len(name) :], *rows[1:]]


def own(vmas: Iterable[Vma]) -> list[Vma]:
    """Without [vsyscall]: /proc shows it everywhere, but no mm has it (and VmSize does not count it)."""
    return [vma for vma in vmas if vma.name != "[vsyscall]"]


def _total(label: str, now: int, before: int | None) -> str:
    return f"{label}{size(now)}" + ("" if before is None else f" ({plus(now - before)})")


def _mapped(vmas: Iterable[Vma]) -> int:
    return sum(vma.size for vma in vmas)


def _summary(moment: Moment, width: int) -> list[str]:
    """The whole address space on one line: the program, its heap and stack, then the libraries."""
    sizes: dict[str, int] = {}
    for vma in own(moment.vmas):
        name = name_of(vma)
        sizes[name] = sizes.get(name, 0) + vma.size
    first = next(iter(sizes), "")
    order = [first, "[heap]", "[stack]", "anonymous"]
    names = [name for name in order if name in sizes]
    rest = [name for name in sizes if name not in names]
    names += sorted(rest, key=lambda name: name.startswith("[v"))  # [vvar], [vdso] last
    items = [f"{name} {size(sizes[name])}" for name in names]
    for kept in range(min(len(items), 40), 0, -1):
        more = len(items) - kept
        line = "  " + ", ".join(items[:kept]) + (f", +{more} more" if more else "")
        if columns(line) <= width:
            return [line]
    return [cut("  " + items[0], width)] if items else []


def name_of(vma: Vma) -> str:
    """A mapping's name for people: the file without its folder, the kernel's own names, "anonymous"."""
    name = vma.name.rsplit("/", 1)[1] if vma.name.startswith("/") else vma.name
    if name.startswith("[") and vma.name.startswith("/"):  # a file must not look like the kernel's own names
        name = vma.name
    return clean(name, 80) or "anonymous"


def _table(moment: Moment, page: int, verbose: bool) -> list[_Row]:
    if moment.fresh:
        every = own(moment.vmas) if verbose else []
        return [_Row("", vma, str(vma.size // page), _one_rss(vma), name_of(vma)) for vma in every]
    shown = [change for change in moment.changes if verbose or not _is_quiet(change)]
    groups = itertools.groupby(shown, key=lambda change: (None if verbose else _loaded(change)) or id(change))
    return [row for _, group in groups for row in _group(list(group), page)]


def _loaded(change: Change) -> str:
    """The name of the file that appeared; empty for every other change."""
    return change.vma.name if change.kind is Kind.APPEARED and change.vma.inode != 0 else ""


def _group(changes: list[Change], page: int) -> list[_Row]:
    """Three or more new mappings of one file on end (a library's segments) are one row."""
    vmas = [change.vma for change in changes]
    on_end = all(one.end == other.start for one, other in itertools.pairwise(vmas))
    if len(changes) < 3 or not on_end:
        return [row for change in changes for row in _rows(change, page)]
    whole = dataclasses.replace(vmas[0], end=vmas[-1].end, perms="")
    total = resident(vmas)
    name = f"{name_of(whole)}, {len(vmas)} mappings"
    rss = "?" if total is None else size(total)
    return [_Row(Kind.APPEARED, whole, f"{whole.size // page:+d}", rss, name, COLOURS[Kind.APPEARED])]


def _is_quiet(change: Change) -> bool:
    """Pages of a file read in, where nothing can be written: told in one line for all."""
    return change.kind is Kind.TOUCHED and change.vma.inode != 0 and "w" not in change.vma.perms


def _quiet(found: Iterable[Change]) -> list[str]:
    totals: dict[str, int] = {}
    for change in filter(_is_quiet, found):
        name = name_of(change.vma)
        if change.rss_before is not None and change.rss_after is not None:
            totals[name] = totals.get(name, 0) + change.rss_after - change.rss_before
    return [f"{name} RSS {plus(count)}" for name, count in totals.items()]


def _rows(change: Change, page: int) -> list[_Row]:
    """One row, and for a split or a merge one more for each part."""
    colour = COLOURS.get(change.kind, "yellow")
    name = name_of(change.vma) + _remark(change)
    pages = f"{change.bytes // page:+d}" if change.bytes else "="
    if change.kind is Kind.SPLIT:
        head, parts, word = change.before, change.after, "  into"
    elif change.kind is Kind.MERGED:
        head, parts, word = change.after, change.before, "  from"
    else:
        head, parts, word = (change.vma,), (), ""
    rows = [_Row(change.kind, head[0], pages, _rss(change), name, colour)]
    rows += [_Row(word, vma, "", _one_rss(vma), "", colour) for vma in (*head[1:], *parts)]
    return rows


def _remark(change: Change) -> str:
    if change.kind is Kind.PERMISSIONS:
        return f", was {change.before[0].perms}"
    if change.kind is Kind.GREW and change.low > 0:
        return ", down" if change.high == 0 else ", at both ends"
    if change.kind is Kind.SHRANK and change.low < 0:
        return ", at its start" if change.high == 0 else ", at both ends"
    return ""


def _rss(change: Change) -> str:
    """ "0", "4 KiB", or "4->8 KiB" where it changed; "?" when only maps was there."""
    before, after = change.rss_before, change.rss_after
    if before is None or after is None:
        return "?"
    if not change.before or before == after:
        return size(after)
    was, now = size(before), size(after)
    if was.partition(" ")[2] == now.partition(" ")[2]:
        was = was.partition(" ")[0]
    return f"{was}->{now}"


def _one_rss(vma: Vma) -> str:
    value = resident((vma,))
    return "?" if value is None else size(value)


def _row(row: _Row, widths: _Widths, paint: Paint) -> list[str]:
    start = _label(row.kind)
    rest = (
        f"{span(row.vma.start, row.vma.end):<{widths.span}} {clean(row.vma.perms, 8):<4}"
        f" {size(row.vma.size):>{widths.size}} {row.pages:>{widths.pages}} {row.rss:>{widths.rss}}"
    )
    line = (paint(start, row.colour) if row.colour else start) + rest
    if len(start) + len(rest) > widths.line:  # numbers that no real kernel prints
        return [line for text in (f"{start}{rest}", row.name) for line in wrap(text, widths.line, "", _label(""))]
    if not row.name:
        return [line]
    if len(start) + len(rest) + 2 + columns(row.name) <= widths.line:
        return [f"{line}  {row.name}"]
    return [line, *wrap(row.name, widths.line, " " * len(start))]


def _trace(moment: Moment, width: int, paint: Paint, verbose: bool) -> list[str]:
    """ "trace    touch: 1 user fault, 2 page allocations"; with --verbose the calls below it."""
    result: list[str] = []
    for window in moment.windows:
        if window.problem:
            result += [paint(line, "yellow") for line in wrap(clean(window.problem), width, _label("trace"))]
        if not window.name:
            continue
        counts = [f"{count} {clean(word, 64)}" if word.endswith(")") else plural(count, word)
                  for word, count in window.counts]  # fmt: skip
        name = f"{cut(clean(window.name, 64), 40)}{'' if window.closed else ' (open)'}: "
        result += flow(counts or ["nothing"], width, _label("trace") + name, _label(""), gap=", ")
        if verbose:
            result += [cut(_label("") + clean(call), width) for call in shown(window.calls)]
    return result


def _notes(moment: Moment, width: int) -> list[str]:
    """The program's own values, packed; one which is too long for that gets lines of its own."""
    result: list[str] = []
    packed: list[str] = []
    for key, value in moment.notes:
        text = f"{clean(key, 64)} = {clean(value)}"
        if columns(text) + len(_label("")) <= width:
            packed.append(text)
            continue
        result += flow(packed, width, _label("note"), gap="   ") if packed else []
        packed = []
        result += wrap(text, width, _label("note"))
    return result + (flow(packed, width, _label("note"), gap="   ") if packed else [])
