"""The address space at one checkpoint as a picture in characters, the highest address on top. Pure.

Each mapping, or the mappings of one file on end, is a box with its size, and a bar that shows which share of it is
resident; between boxes stands how much is unmapped. Heights are not to scale: an address space of 128 TiB with some
MiB in it has none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.address_space import Change, Kind, resident
from orchestrator.model import Vma
from orchestrator.report.story import Moment
from orchestrator.report.terminal_story import COLOURS, name_of, own
from orchestrator.report.text import Paint, clean, columns, plural, plus, size, wrap

MAX_REGIONS = 32  # drawn; of more, what the kernel names, what changed and what is large
_KERNELS = ("[heap]", "[stack]", "[vdso]", "[vvar]")
_BAR = 10  # columns of a bar
_INDENT = "  "


@dataclass(frozen=True)
class Signs:
    """What the picture is drawn with."""

    full: str
    empty: str
    side: str
    gap: str


UNICODE = Signs("█", "░", "│", "┊")
ASCII = Signs("#", ".", "|", ":")


@dataclass(frozen=True)
class _Region:
    """Mappings that are one box, in address order, and what happened to them."""

    vmas: tuple[Vma, ...]
    changes: tuple[Change, ...] = ()

    @property
    def start(self) -> int:
        return self.vmas[0].start

    @property
    def end(self) -> int:
        return self.vmas[-1].end

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def rss(self) -> int | None:
        return resident(self.vmas)

    @property
    def weight(self) -> tuple[bool, bool, int]:
        """What decides if it is drawn where not all have room."""
        return self.vmas[0].name in _KERNELS, bool(self.changes), self.size


@dataclass(frozen=True)
class _Folded:
    """Regions that are not drawn, between two that are."""

    count: int
    size: int


def lines(moments: Sequence[Moment], width: int, paint: Paint, signs: Signs = UNICODE) -> list[str]:
    """The picture of the last checkpoint that has mappings; nothing where none has."""
    moment = next((one for one in reversed(moments) if one.vmas), None)
    if moment is None:
        return []
    regions = _regions(moment)
    several = len({one.checkpoint.pid for one in moments if one.vmas}) > 1
    whose = f" of process {moment.checkpoint.pid}" if several else ""
    title = f"the address space{whose} at {clean(moment.checkpoint.name, 64)}, highest first, not to scale"
    result = wrap(title, width, then=_INDENT)
    if moment.problem:
        result += [paint(line, "yellow") for line in wrap(clean(moment.problem), width, _INDENT)]
    rows = _folded(sorted(regions, key=lambda region: -region.start))
    result += _drawn(rows, width, paint, signs)
    return result + _gone(moment.changes, width, paint)


def _regions(moment: Moment) -> list[_Region]:
    """In address order. Each change is of the region in which it lies now."""
    groups: list[list[Vma]] = []
    for vma in own(moment.vmas):
        last = groups[-1][-1] if groups else None
        same = last is not None and vma.inode and (vma.device, vma.inode) == (last.device, last.inode)
        if same and last is not None and last.end == vma.start:
            groups[-1].append(vma)
        else:
            groups.append([vma])
    at = {vma.start: number for number, group in enumerate(groups) for vma in group}
    found: list[list[Change]] = [[] for _ in groups]
    for change in moment.changes:
        for number in dict.fromkeys(at[vma.start] for vma in change.after if vma.start in at):
            found[number].append(change)
    return [_Region(tuple(group), tuple(here)) for group, here in zip(groups, found, strict=True)]


def _folded(regions: Sequence[_Region]) -> list[_Region | _Folded]:
    """At most MAX_REGIONS, in the order given; what lies between them together."""
    if len(regions) <= MAX_REGIONS:
        return list(regions)
    kept = {id(region) for region in sorted(regions, key=lambda region: region.weight, reverse=True)[:MAX_REGIONS]}
    rows: list[_Region | _Folded] = []
    for drawn, group in itertools.groupby(regions, key=lambda region: id(region) in kept):
        some = list(group)
        rows += some if drawn else [_Folded(len(some), sum(region.size for region in some))]
    return rows


def _drawn(rows: Sequence[_Region | _Folded], width: int, paint: Paint, signs: Signs) -> list[str]:
    regions = [row for row in rows if isinstance(row, _Region)]
    address = max(len(f"{region.start:x}") for region in regions)
    sizes = max(len(size(region.size)) for region in regions)
    shares = max(*(len(_resident(region)) for region in regions), len("RSS"))
    inside = f"{signs.gap}{' ' * _BAR}{signs.gap}"
    heading = f"{_INDENT}{'from':{address}} {'resident':{_BAR + 2}} {'size':>{sizes}} {'RSS':>{shares}} perm  mapping"
    result = [paint(heading[:width].rstrip(), "dim")]
    above: _Region | None = None
    for row in rows:
        if isinstance(row, _Folded):
            text = f"{plural(row.count, 'more mapping')}, {size(row.size)}"
            result.append(paint(f"{_INDENT}{'':{address}} {inside} {text}", "dim"))
            above = None
            continue
        if above is not None and row.end < above.start:
            text = f"{size(above.start - row.end)} unmapped"
            result.append(paint(f"{_INDENT}{'':{address}} {inside} {text}", "dim"))
        start = f"{_INDENT}{row.start:{address}x} {signs.side}{_bar(row, signs)}{signs.side}"
        start += f" {size(row.size):>{sizes}} {_resident(row):>{shares}} {_perms(row):4}  "
        result += _named(row, start, width, paint)
        above = row
    return result


def _named(region: _Region, start: str, width: int, paint: Paint) -> list[str]:
    """A row with the region's name and what happened to it; on lines of its own where there is no room."""
    words = [_name(region), *_happened(region.changes)]
    text = ", ".join(words)
    indent = start if columns(start) + min(columns(text), 24) <= width else _INDENT * 2
    found = wrap(text, width, indent, " " * columns(indent))
    if indent is not start:
        found.insert(0, start.rstrip())
    if not region.changes:
        return found
    colour = COLOURS.get(region.changes[0].kind, "yellow")
    return [paint(line, colour) for line in found]


def _name(region: _Region) -> str:
    name = name_of(region.vmas[0])
    if name == "anonymous" and region.vmas[0].perms.startswith("---"):
        return "no access"
    return name if len(region.vmas) == 1 else f"{name} (x{len(region.vmas)})"


def _perms(region: _Region) -> str:
    return clean(region.vmas[0].perms, 4) if len(region.vmas) == 1 else ""


def _bar(region: _Region, signs: Signs) -> str:
    """Resident share in tenths; something is never nothing, and not all is never all."""
    rss = region.rss
    if rss is None or region.size <= 0:
        return "?".center(_BAR)
    full = min(max(round(_BAR * rss / region.size), rss > 0), _BAR - (rss < region.size))
    return signs.full * full + signs.empty * (_BAR - full)


def _resident(region: _Region) -> str:
    return "?" if region.rss is None else size(region.rss)


def _happened(changes: Iterable[Change]) -> list[str]:
    """ "grew by 4 KiB", "touched, RSS +8 KiB": what is other than at the checkpoint before."""
    return list(dict.fromkeys(_words(change) for change in changes))


def _words(change: Change) -> str:
    if change.kind in (Kind.GREW, Kind.SHRANK):
        return f"{change.kind} by {size(abs(change.bytes))}"
    if change.kind is Kind.TOUCHED and change.rss_before is not None and change.rss_after is not None:
        return f"RSS {plus(change.rss_after - change.rss_before)}"
    if change.kind is Kind.PERMISSIONS:
        return f"was {clean(change.before[0].perms, 8)}"
    return change.kind.value


def _gone(changes: Iterable[Change], width: int, paint: Paint) -> list[str]:
    """What is not there any more."""
    went = [change for change in changes if change.kind is Kind.WENT]
    shown = [f"{name_of(change.vma)} {size(change.vma.size)}" for change in went[:8]]
    if len(went) > len(shown):
        shown.append(f"{len(went) - len(shown)} more")
    return [paint(line, "red") for line in wrap(", ".join(shown), width, f"{_INDENT}went: ")] if shown else []
