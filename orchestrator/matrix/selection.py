"""What a matrix consists of: scenarios, and pairs of a kernel and a userland, from what the user typed."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import fingerprint, scenario
from orchestrator.errors import UsageError
from orchestrator.model import Scenario
from orchestrator.prepare import is_path

if TYPE_CHECKING:
    from orchestrator.pieces import Store


@dataclass(frozen=True)
class Pair:
    """A kernel and a userland: names of the catalogue, or absolute paths of a user's own."""

    kernel: str
    userland: str


def find_scenarios(names: Sequence[str]) -> tuple[Scenario, ...]:
    """The scenarios by name, glob (only with ``*``), folder or C file; all that have a name, if none is given.

    Raises UsageError.
    """
    folders = scenario.folders()
    known = scenario.names(folders)
    if not (names or known):
        raise UsageError("there is no scenario here", "make a folder scenarios/NAME, or name a C file")
    wanted = [found for name in names or known for found in _meant(name, known)]
    loaded = [scenario.find(name, folders) for name in dict.fromkeys(wanted)]
    return tuple({fingerprint.source(one).resolve(): one for one in loaded}.values())


def _meant(name: str, known: Sequence[str]) -> Sequence[str]:
    if "*" not in name or Path(name).exists():
        return (name,)
    if found := fnmatch.filter(known, name):
        return found
    raise UsageError(f"no scenario is called {name!r}", f"the scenarios are: {', '.join(known) or 'none'}")


def find_pairs(store: Store, kernels: Sequence[str], userlands: Sequence[str], images: Sequence[str]) -> \
        tuple[Pair, ...]:
    """The pairs that the options mean; raises UsageError for a name that matches nothing.

    Kernels and userlands are multiplied, and a side that is left out is all of it. Images are pairs; kernels
    or userlands beside them take the place of the image's own. Nothing at all: every image.
    """
    found_kernels = _names(kernels, store.kernel_names)
    found_userlands = _names(userlands, store.userland_names)
    if images or not (kernels or userlands):
        named = [store.image(name) for pattern in images or ("*",) for name in _images(store, pattern)]
        pairs = [pair for image in named for pair in itertools.product(found_kernels or [image.kernel],
                                                                       found_userlands or [image.userland])]
    else:
        pairs = list(itertools.product(found_kernels or store.kernel_names("*"),
                                       found_userlands or store.userland_names("*")))
    order = {name: place for place, name in enumerate((*store.catalogue.kernels, *store.catalogue.userlands))}
    pairs.sort(key=lambda pair: tuple(order.get(name, len(order)) for name in pair))
    return tuple(Pair(*pair) for pair in dict.fromkeys(pairs))


def _names(patterns: Sequence[str], lookup: Callable[[str], list[str]]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        found += [str(Path(pattern).absolute())] if is_path(pattern) else lookup(pattern)
    return list(dict.fromkeys(found))


def _images(store: Store, pattern: str) -> Iterable[str]:
    if "*" not in pattern:
        return (pattern,)
    return fnmatch.filter(store.catalogue.images, pattern) or (pattern,)  # which then is unknown, and said so


def labels(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A short name for each, all different and fit for a file's name: a path's last part, the name itself."""
    found: dict[str, str] = {}
    used = set(taken)
    for name in names:
        if name in found:
            continue
        plain = re.sub(r"[^A-Za-z0-9._+-]", "_", Path(name).name if is_path(name) else name)[:64].lstrip(".") or "own"
        numbered = (plain if number == 1 else f"{plain}.{number}" for number in itertools.count(1))
        found[name] = next(label for label in numbered if label not in used)
        used.add(found[name])
    return found
