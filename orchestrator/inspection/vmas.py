"""The mapping that an address lies in, as a fact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.collect.objects import PAGE, Item
from orchestrator.inspection import bits
from orchestrator.inspection.facts import Fact
from orchestrator.inspection.moment import Moment


def facts(moment: Moment, address: int) -> Iterator[Fact]:
    """The VMA; where there is none, its neighbours."""
    found = moment.kernel.vma_at(address)
    if found is not None:
        yield fact(moment, found)
        return
    below = [item for item in moment.kernel.vmas if item.fields["end"] <= address]
    above = [item for item in moment.kernel.vmas if item.fields["start"] > address]
    values = {
        "start": None, "below": below[-1].fields["end"] if below else None,
        "above": above[0].fields["start"] if above else None,
    }  # fmt: skip
    yield Fact("vma", values, tuple(moment.line(item) for item in (*below[-1:], *above[:1])))


def fact(moment: Moment, item: Item) -> Fact:
    """One VMA: its fields, its flags by name, and what /proc/PID/maps makes of them."""
    fields: Mapping[str, Any] = item.fields
    names = ("address", "start", "end", "flags", "file", "pgoff", "ino", "dev", "anon_vma", "name")
    values = {name: fields[name] for name in names}
    values |= {"names": bits.vm_flags(fields["flags"]), "perms": perms(fields["flags"]),
               "offset": fields["pgoff"] * PAGE if fields["file"] is not None else 0}  # fmt: skip
    return Fact("vma", values, (moment.line(item),))


def perms(flags: int) -> str:
    """As show_vma_header_prefix() prints them, fs/proc/task_mmu.c."""
    letters = "".join(letter if flags >> bit & 1 else "-" for bit, letter in enumerate("rwx"))
    return letters + ("s" if flags & 0x80 else "p")


def device(number: int) -> str:
    """As /proc/PID/maps prints it: major, minor."""
    return f"{number >> 20:02x}:{number & 0xFFFFF:02x}"
