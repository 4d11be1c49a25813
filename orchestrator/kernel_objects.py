"""The kernel's own objects as part of the observations: mm, VMAs, threads, page tables and frames (level K)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from orchestrator.collect import objects
from orchestrator.collect.lines import Document
from orchestrator.collect.objects import Item, KernelObjects, Walk
from orchestrator.names import nearest
from orchestrator.observed import LeftOut, ObservationError, Observed, Row, Rows

if TYPE_CHECKING:
    from orchestrator.model import Checkpoint, Evidence
    from orchestrator.rundir import RunRecord

T = TypeVar("T")

_LEVELS = ("pgd", "p4d", "pud", "pmd", "pte")
WALK = ("address", "levels", "missing", "present", *_LEVELS, "entry", "frame", "size", "huge", "kind", "writable",
        "user", "accessed", "dirty", "noexec", "mapcount", "refcount")  # fmt: skip
PAGES = (*(kind for kind in objects.KINDS.values() if kind != "absent"), objects.UNCOUNTED, "total")
_BITS = {"writable": objects.WRITABLE, "user": objects.USER, "accessed": objects.ACCESSED, "dirty": objects.DIRTY,
         "noexec": objects.NO_EXEC}  # fmt: skip
# in which part of the file an observation looks: what is broken there makes it an error
PARTS = {"mm": ("task", "mm"), "vmas": ("task", "mm", "vmas"), "tables": ("task", "mm", "tables"),
         "tasks": ("task", "tasks")}  # fmt: skip


class WalkView:
    """What ``walk(…)`` gives a check: the entries of each level, and what they say."""

    def __init__(self, walk: Walk, found: KernelObjects, document: Document) -> None:
        self.walk = walk
        self._found = found
        self._document = document

    def attribute(self, name: str) -> Observed:
        """One attribute. Raises ObservationError with the nearest names if there is none."""
        if name not in WALK:
            raise ObservationError(f"a walk has no {name!r}{nearest(name, WALK)}; it has {', '.join(WALK)}")
        return Observed(self._value(name), self.evidence(name))

    def evidence(self, name: str = "") -> tuple[Evidence, ...]:
        """The lines of the tables on the way; for one level its own."""
        steps = [step for step in self.walk.steps if name not in _LEVELS or step.level == name]
        return tuple(self._document.at(step.line) for step in steps if step.line)

    def _value(self, name: str) -> object:
        walk = self.walk
        leaf = walk.leaf
        if name in _LEVELS:
            return next((step.value for step in walk.steps if step.level == name), None)
        if name in _BITS:
            return self._allowed(_BITS[name], name)
        if name in ("mapcount", "refcount"):
            frame = self._found.frames.get(walk.frame) if walk.frame is not None else None
            return getattr(frame, name) if frame else None
        values: Mapping[str, object] = {
            "address": walk.address, "levels": list(self._found.levels), "missing": walk.missing,
            "present": leaf is not None, "entry": leaf.value if leaf else None, "frame": walk.frame,
            "size": walk.size if leaf else None, "huge": bool(leaf and leaf.level != "pte"), "kind": walk.kind or None,
        }  # fmt: skip
        return values[name]

    def _allowed(self, bit: int, name: str) -> bool | None:
        """Rights hold if every level grants them; accessed and dirty are the leaf's; None without a leaf."""
        if self.walk.leaf is None:
            return None
        values = [step.value or 0 for step in self.walk.steps]
        if name == "noexec":
            return any(value & bit for value in values)
        return all(value & bit for value in (values if name in ("writable", "user") else values[-1:]))

    def __str__(self) -> str:
        end = f"no {self.walk.missing}" if self.walk.missing else f"frame {self.walk.frame:#x} ({self.walk.kind})"
        return f"{self.walk.address:#x}: {' > '.join(self._found.levels)}: {end}"


class Inside:
    """The part of Observations that reads kernel objects."""

    record: RunRecord

    def document(self, file: str) -> Document:
        """One evidence file. Raises ObservationError if it is not there or was cut off."""
        raise NotImplementedError

    def checkpoint(self, at: str) -> Checkpoint:
        """The checkpoint of that name."""
        raise NotImplementedError

    def _once(self, kind: str, key: str, make: Callable[[], T]) -> T:
        raise NotImplementedError

    def _exists(self, file: str) -> bool:
        raise NotImplementedError

    def inside(self, part: str, at: str, pid: object = None) -> Document:
        """The evidence of that part ("kernel", "heap") at a checkpoint. Raises LeftOut where the lab could not look."""
        checkpoint = self.checkpoint(at)
        if pid is not None and (not isinstance(pid, int) or isinstance(pid, bool)):
            raise ObservationError(f"pid= takes the number of a process, not {pid!r}")
        file = f"{checkpoint.directory}/{part}/{checkpoint.pid if pid is None else pid}.jsonl"
        if self._exists(file):
            return self.document(file)
        if why := self.record.left_out.get(part):
            raise LeftOut(why)
        if checkpoint.kind == "exit":
            raise ObservationError(f"at {at!r} the program is gone")
        if pid is not None:
            raise ObservationError(f"there is no process {pid} at {at!r}, or the lab did not look at it")
        raise ObservationError(f"the lab did not look inside at {at!r}: inspect: {{{part}: [{at}]}} is missing")

    def _objects(self, at: str, pid: object, part: str) -> tuple[Document, KernelObjects]:
        document = self.inside("kernel", at, pid)
        found = self._once("parsed", document.file, lambda: objects.parse(document))
        for name in PARTS[part]:
            if name in found.broken:
                raise ObservationError(f"{document.file}: {name}: {found.broken[name]}")
        return document, found

    def mm(self, at: str, pid: object = None) -> Observed:
        """The process's ``mm_struct``."""
        document, found = self._objects(at, pid, "mm")
        if found.mm is None:
            raise ObservationError(f"{document.file} has no mm")
        return Observed(_row("mm_struct", found.mm, document), (document.at(found.mm.line),))

    def vm_areas(self, at: str, pid: object = None) -> Observed:
        """Every ``vm_area_struct``, by address."""
        document, found = self._objects(at, pid, "vmas")
        rows = Rows("vm_area_struct", (_vma(item, document) for item in found.vmas), ())
        return Observed(rows, (document.at(0),))

    def vm_area(self, which: object, at: str, pid: object = None) -> Observed:
        """The ``vm_area_struct`` that an address lies in, or that has a name ("[heap]", a file's); else None."""
        document, found = self._objects(at, pid, "vmas")
        if isinstance(which, bool) or not isinstance(which, int | str):
            raise ObservationError(f"vm_area() takes an address or a name, not {which!r}")
        item = found.vma_at(which) if isinstance(which, int) else _named(which, found)
        if item is None:
            return Observed(None, (document.at(0),))
        return Observed(_vma(item, document), (document.at(item.line),))

    def tasks(self, at: str, pid: object = None) -> Observed:
        """The ``task_struct`` of each thread, the leader first."""
        document, found = self._objects(at, pid, "tasks")
        rows = Rows("task_struct", (_row("task_struct", item, document) for item in found.tasks), ())
        return Observed(rows, tuple(document.at(item.line) for item in found.tasks[:12]))

    def walk(self, address: object, at: str, pid: object = None) -> Observed:
        """The walk of an address through the page tables."""
        document, found = self._objects(at, pid, "tables")
        if isinstance(address, bool) or not isinstance(address, int):
            raise ObservationError(f"walk() takes an address, not {address!r}")
        view = WalkView(found.walk(address), found, document)
        return Observed(view, view.evidence())

    def pages(self, at: str, pid: object = None) -> Observed:
        """How many pages of 4 KiB the tables map, by kind, over the whole address space."""
        document, found = self._objects(at, pid, "tables")
        counts = found.counts()
        fields: dict[str, object] = {kind: counts.get(kind, 0) for kind in objects.KINDS.values() if kind != "absent"}
        fields[objects.UNCOUNTED] = counts.get(objects.UNCOUNTED, 0)
        fields["total"] = sum(counts.values())
        return Observed(Row("pages", fields, document.at(0)), (document.at(0),))

    def tables(self, at: str, pid: object = None) -> Observed:
        """How many page tables there are at each level; ``bytes`` of those that ``pgtables_bytes`` counts."""
        document, found = self._objects(at, pid, "tables")
        fields: dict[str, object] = dict.fromkeys(found.levels, 0)
        for level, _ in found.tables:
            fields[level] = int(str(fields[level])) + 1
        fields["bytes"] = sum(level in objects.COUNTED for level, _ in found.tables) * objects.PAGE
        return Observed(Row("tables", fields, document.at(0)), (document.at(0),))


def _named(name: str, found: KernelObjects) -> Item | None:
    """By the whole name or path, else by the path's last part; the first one."""
    for item in found.vmas:
        shown = str(item.fields["name"])
        if name and (shown == name or shown.rpartition("/")[2] == name):
            return item
    return None


def _row(kind: str, item: Item, document: Document) -> Row:
    fields = {name: value for name, value in item.fields.items() if name != "is"}
    return Row(kind, fields, document.at(item.line))


def _vma(item: Item, document: Document) -> Row:
    fields = {name: value for name, value in item.fields.items() if name != "is"}
    flags = fields["flags"]
    fields |= {name: bool(flags & bit) for name, bit in objects.VM.items()}
    fields["size"] = fields["end"] - fields["start"]
    fields["offset"] = fields["pgoff"] * objects.PAGE if fields["file"] else 0
    fields["device"] = f"{fields['dev'] >> 20:02x}:{fields['dev'] & 0xfffff:02x}"
    fields["perms"] = "".join(
        letter if fields[name] else "-" for letter, name in (("r", "read"), ("w", "write"), ("x", "exec"))
    ) + ("s" if fields["mayshare"] else "p")
    return Row("vm_area_struct", fields, document.at(item.line))
