"""Pieces and programs, made once for all cases before the first guest boots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import experiment, fingerprint, inspector, progress, recording, resources
from orchestrator.errors import LabError, PieceError, UsageError
from orchestrator.matrix.record import Options
from orchestrator.matrix.selection import Pair
from orchestrator.model import Case, Kernel, PieceKind, Scenario
from orchestrator.prepare import Choice, Prepared, find_kernel, is_path, prepare, refuse_own
from orchestrator.toolchain import Program

if TYPE_CHECKING:
    from orchestrator.pieces import Store, Wanted


def store(options: Options) -> Store:
    """The pieces that the options speak of."""
    from orchestrator.pieces import Store

    return Store(cache=resources.cache(), mirror=options.mirror, locked=options.locked)


def prepare_pairs(options: Options, pairs: Sequence[Pair]) -> dict[Pair, Prepared | LabError]:
    """What a guest of each pair is made of, or why there can be none: a piece that can't be had costs its own
    pairs only. Raises UsageError, and what went wrong where no pair at all is left."""
    pieces = store(options)
    for pair in pairs if options.locked else ():
        refuse_own(pair.kernel, pair.userland, options.qemu)
    _fetch_together(pieces, options, pairs)
    kernels = _kernels(pieces, options, [pair.kernel for pair in pairs])
    found: dict[Pair, Prepared | LabError] = {}
    for userland in dict.fromkeys(pair.userland for pair in pairs):
        first: Prepared | LabError | None = None
        for pair in (pair for pair in pairs if pair.userland == userland):
            kernel = kernels[pair.kernel]
            if isinstance(kernel, PieceError):
                found[pair] = kernel
                continue
            first = first or _prepare(options, pair)
            found[pair] = _with_kernel(first, kernel) if isinstance(first, Prepared) else first
    if all(isinstance(one, LabError) for one in found.values()):
        raise next(one for one in found.values() if isinstance(one, LabError))
    return found


def pieces_key(options: Options, pairs: Sequence[Pair]) -> str:
    """The lock's key of what the pairs are made of, symbols too; "" if the lock does not name all of it. What a user
    brings by path is no piece."""
    from orchestrator.pieces import upkeep

    pieces = store(options)
    try:
        return upkeep.cache_key(pieces, upkeep.with_symbols(dict.fromkeys(_wanted(pieces, options, pairs))))
    except PieceError:
        return ""


def _wanted(pieces: Store, options: Options, pairs: Sequence[Pair]) -> list[Wanted]:
    from orchestrator.pieces import Wanted

    wanted = [Wanted(PieceKind.KERNEL, pair.kernel) for pair in pairs if not is_path(pair.kernel)]
    wanted += [Wanted(kind, pair.userland) for kind in (PieceKind.USERLAND, PieceKind.SYSROOT) for pair in pairs
               if not is_path(pair.userland)]  # fmt: skip
    if options.qemu is None or (options.qemu != "system" and not is_path(options.qemu)):
        wanted.append(Wanted(PieceKind.EMULATOR, pieces.emulator_name(options.qemu)))
    return wanted


def _fetch_together(pieces: Store, options: Options, pairs: Sequence[Pair]) -> None:
    """One download for everything that is missing; what fails is found out again by who needs it."""
    try:
        pieces.prepare(_wanted(pieces, options, pairs))
    except PieceError as error:
        progress.note(error.message)


def _kernels(pieces: Store, options: Options, names: Iterable[str]) -> dict[str, Kernel | PieceError]:
    found: dict[str, Kernel | PieceError] = {}
    own = [name for name in dict.fromkeys(names) if is_path(name)]
    for option, value in (("--modules", options.modules), ("--vmlinux", options.vmlinux)):
        if value is not None and len(own) != 1:
            raise UsageError(f"{option} goes with one --kernel PATH: a kernel of the catalogue brings its own")
    for name in dict.fromkeys(names):
        try:
            found[name] = find_kernel(pieces, name, *(_own_files(options) if name in own else (None, None)))
        except PieceError as error:
            found[name] = error
    return found


def _prepare(options: Options, pair: Pair) -> Prepared | LabError:
    modules, vmlinux = _own_files(options) if is_path(pair.kernel) else (None, None)
    choice = Choice(
        kernel=pair.kernel, userland=pair.userland, qemu=options.qemu, accel=options.accel, memory=options.memory,
        modules=modules, vmlinux=vmlinux, cpus=options.cpus, mirror=options.mirror, locked=options.locked,
        cold=options.cold,
    )  # fmt: skip
    try:
        return prepare(choice, announce=False)
    except PieceError as error:
        return error


def _own_files(options: Options) -> tuple[Path | None, Path | None]:
    """The modules and the vmlinux of the one kernel that is given by path."""
    modules, vmlinux = (Path(value) if value else None for value in (options.modules, options.vmlinux))
    return modules, vmlinux


def _with_kernel(prepared: Prepared, kernel: Kernel) -> Prepared:
    return replace(prepared, kernel=kernel, recipe=replace(prepared.recipe, kernel=kernel))


def case(wanted: Scenario, prepared: Prepared, options: Options) -> Case:
    """The case of a scenario on a pair; the options' settings come over the scenario's own."""
    settings = recording.merge(wanted.settings, options.settings)
    return Case(wanted, prepared.kernel, prepared.userland, prepared.emulator, settings, fingerprint.of_program(wanted),
                inspector.wanted(wanted, options.inspect))


def fetch_symbols(options: Options, cases: Iterable[Case]) -> None:
    """One download for the debug information of all cases that look inside their guest; what can't be had is said
    by the case that lacks it."""
    from orchestrator.pieces.store import Wanted, symbols_of

    pieces = [piece for one in cases if one.inspect for piece in (one.kernel.piece, one.userland.piece) if piece]
    wanted = dict.fromkeys(symbols_of(Wanted(piece.kind, piece.name)) for piece in pieces)
    try:
        store(options).prepare(list(wanted))
    except PieceError as error:
        progress.note(error.message)


def compile_cases(cases: Mapping[str, tuple[Case, Prepared]], jobs: int) -> dict[str, Program | UsageError]:
    """The program of each case, or why it does not compile there; cases with the same program share it.

    Raises HostError if there is no compiler.
    """
    keys = {name: (fingerprint.source(case.scenario), prepared.sysroot_key) for name, (case, prepared) in cases.items()}
    chosen = {key: cases[name] for name, key in keys.items()}
    if not chosen:
        return {}
    what, made = f"compiling {len(chosen)} programs", {}
    with progress.step(what), ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(_compile, *one): key for key, one in chosen.items()}
        try:
            for number, future in enumerate(as_completed(futures), 1):
                made[futures[future]] = future.result()
                progress.update(what, f"{number} of {len(chosen)}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: made[key] for name, key in keys.items()}


def _compile(case: Case, prepared: Prepared) -> Program | UsageError:
    try:
        return experiment.compile_case(case, prepared)
    except UsageError as error:
        return error
