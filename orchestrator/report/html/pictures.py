"""The pictures of the page, in their order, and the data of each for one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from orchestrator.errors import LabError
from orchestrator.inspection.moment import Run
from orchestrator.model import Evidence
from orchestrator.observed import ObservationError
from orchestrator.report.html import (
    address_space,
    cost,
    embed,
    fault_path,
    heap,
    page_tables,
    stack_growth,
    thread_stacks,
)
from orchestrator.report.text import size

MAX_CITED = 300  # lines of evidence that one picture may ask for


@dataclass(frozen=True)
class Picture:
    """A picture of the page. ``data`` gives what its script draws, None where the run has nothing of it; the lines
    of evidence that it wants on the page stand in its key "evidence": [[file, line], …]."""

    name: str  # of the module, of assets/NAME.js and assets/NAME.css
    title: str
    caption: str
    data: Callable[[Run], dict[str, Any] | None]
    parts: tuple[str, ...] = ()  # further scripts of it in assets/, which come before its own


PICTURES = (
    Picture("address_space", "Address space",
            "The process's mappings at each checkpoint, high addresses on top, and what became of them since the "
            "checkpoint before.", address_space.data),
    Picture("page_tables", "Page-table walk",
            "How the processor finds the page of an address: each part of the address picks an entry of a table, which "
            "leads to the next table and at last to the page frame; before and after.", page_tables.data),
    Picture("fault_path", "The way through the kernel",
            "What the kernel did in each window that the program marked for the trace, as a tree of calls, with the "
            "pages that it took.", fault_path.data),
    Picture("thread_stacks", "Thread stacks",
            "The blocks that threads have their stacks in: guard, stack and struct pthread, and what becomes of a "
            "block when its thread has ended.", thread_stacks.data),
    Picture("heap", "Heap",
            "The chunks of glibc's malloc in the order of memory, by state and to scale, and the lists that hold those "
            "which are free. What is chosen in one is chosen in the other.", heap.data,
            ("heap_model", "heap_ink", "heap_map", "heap_strips", "heap_lists", "heap_facts", "heap_notes",
             "heap_tables")),
    Picture("stack_growth", "Stack growth",
            "How far down the main stack reaches, where its limit and the guard gap end it, and what lies below.",
            stack_growth.data),
    Picture("cost", "Cost in instructions",
            "How many instructions the guest executed in each window that the program measured, the kernel's included.",
            cost.data),
)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A picture with its data; ``trouble`` instead where it could not be made."""

    picture: Picture
    data: Markup | None = None
    wants: tuple[Evidence, ...] = ()
    trouble: str = ""


def drawn(run: Run, room: int) -> tuple[Drawn, ...]:
    """The pictures that there is something for, in at most ``room`` bytes of data."""
    found = []
    for picture in PICTURES:
        one = _drawn(picture, run)
        if one is None:
            continue
        cost = len(one.data or "")
        if cost > room:
            one, cost = replace(one, data=None, wants=(), trouble=f"its data would take {size(cost)}"), 0
        room -= cost
        found.append(one)
    return tuple(found)


def _drawn(picture: Picture, run: Run) -> Drawn | None:
    """None where there is nothing to show. Damaged evidence costs its picture, not the page."""
    try:
        data = picture.data(run)
        if data is None:
            return None
        wants = tuple(Evidence(str(file), int(line)) for file, line in data.pop("evidence", ())[:MAX_CITED])
        return Drawn(picture, embed.data(data), wants)
    except (LabError, ObservationError) as error:
        return Drawn(picture, trouble=str(error))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        return Drawn(picture, trouble=f"the evidence can't be read: {type(error).__name__}: {error}")


def styles() -> list[str]:
    """The style sheets of all pictures."""
    return [f"{picture.name}.css" for picture in PICTURES]


def scripts() -> list[str]:
    """The scripts of all pictures, each after those that it needs."""
    return [f"{name}.js" for picture in PICTURES for name in (*picture.parts, picture.name)]
