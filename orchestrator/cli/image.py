"""`lab image`: the pieces in the catalogue, the lock and the cache."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.model import Piece
    from orchestrator.pieces import Store

Words = list[str] | None
Names = Annotated[Words, typer.Argument(help="Images or pieces (6.1, bookworm, kernel/6.1, symbols/kernel-6.1).")]
WithSymbols = Annotated[
    bool | None, typer.Option(help="With the symbols of kernels and userlands, or without; all pieces have them.")
]

_MIB = 1 << 20


def list_() -> None:
    """Show all kernels, userlands, sysroots, emulators, symbols and images: version, locked, cached, size."""
    from orchestrator.machine.saved import States, limit_mib
    from orchestrator.pieces import upkeep

    store = _store()
    typer.echo(f"{'KIND':<9} {'NAME':<18} {'VERSION':<18} {'LOCKED':<7} {'CACHED':<7} {'SIZE':>10}")
    rows = upkeep.rows(store)
    for row in rows:
        size = f"{row.size / _MIB:.1f} MiB" if row.cached else "-"
        yes = (("yes" if row.locked else "no"), ("yes" if row.cached else "no"))
        typer.echo(f"{row.kind:<9} {row.name:<18} {row.version or '?':<18} {yes[0]:<7} {yes[1]:<7} {size:>10}")
        if row.drift:
            typer.echo(f"          not what the lock names: {row.drift}")
    total = sum(row.size for row in rows) / _MIB
    typer.echo(f"{'':<9} {'in all':<18} {'':<18} {'':<7} {'':<7} {total:>6.1f} MiB")
    typer.echo(f"\n{'IMAGE':<10} {'KERNEL':<8} USERLAND")
    for image in store.catalogue.images.values():
        typer.echo(f"{image.name:<10} {image.kernel:<8} {image.userland}")
    states = States(store.folder / "states").sizes()
    typer.echo(f"\n{len(states)} saved states of guests: {sum(states.values()) / _MIB:.1f} of {limit_mib()} MiB "
               "(LAB_STATES_MIB)")  # fmt: skip


def build(
    names: Names = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Build everything in the catalogue; symbols too: 1.2 GiB more to download.")
    ] = False,
    symbols: WithSymbols = None,
    mirror: options.Mirror = None,
    locked: options.Locked = False,
    quiet: options.Quiet = False,
) -> None:
    """Build pieces into the cache: those named, or all, or what a run without options needs.

    Symbols, to look inside kernel and libc, are large: a kernel's are 260 to 340 MiB to download.
    """
    from orchestrator.pieces import upkeep

    store = _store(mirror, locked)
    if everything:
        wanted = store.everything(with_symbols=symbols is not False)
    else:
        wanted = upkeep.select(store, names or ()) or upkeep.default(store)
        wanted = upkeep.with_symbols(wanted) if symbols else wanted
    with options.shown(quiet):
        pieces = store.prepare(wanted)
    _list(pieces)


def lock_(
    update: Annotated[bool, typer.Option("--update", help="Also move what is locked to what the mirror has.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Without a terminal nothing is asked.")] = False,
    mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Show what changes in images/lock.yaml, the exact packages of each piece, and write it.

    Without --update nothing that is locked moves: only what the lock lacks is added.
    """
    from orchestrator.pieces import upkeep

    store = _store(mirror)
    with options.shown(quiet):
        new, changes = upkeep.relocked(store, update=update)
    typer.echo("\n".join(changes) if changes else "nothing changes")
    if not changes or dry_run:
        return
    if not yes and _terminal() and not typer.confirm("write that?", default=True):
        typer.echo("nothing was written")
        return
    typer.echo(f"written: {upkeep.relock(store, new)}")


def export_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The bundle to write, NAME.tar; - is standard output.")],
    names: Names = None,
    symbols: WithSymbols = None,
    mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Write the packages of locked pieces to one file, for a machine without a network: all, or those named.

    An image is its kernel, its userland and the emulator. The same lock gives the same file. What the cache lacks is
    downloaded; so are the packages of kernels' symbols, 260 to 340 MiB each, which the cache does not keep.
    """
    from orchestrator.pieces import bundle, upkeep

    store = _store(mirror, locked=True)
    if names:
        wanted = upkeep.carried(store, names)
        wanted = upkeep.with_symbols(wanted) if symbols else wanted
    else:
        wanted = store.everything(with_symbols=symbols is not False)
    with options.shown(quiet):
        done = bundle.export(store, wanted, file)
    typer.echo(f"{file}: {len(done.pieces)} pieces, {done.packages} packages, {done.size / _MIB:.1f} MiB\n"
               f"SHA-256 {done.sha256}", err=str(file) == "-")  # fmt: skip


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle of `lab image export`; - is standard input.")],
    quiet: options.Quiet = False,
) -> None:
    """Bring the pieces of a bundle into the cache: each package is held against the lock, then they are built.

    Needs no network, nor does `lab run --locked` afterwards. After an interruption, run it again.
    """
    from orchestrator.pieces import bundle

    store = _store(locked=True)
    with options.shown(quiet):
        pieces = bundle.import_(store, file)
    _list(pieces)
    rest = sorted(set(store.lock) - set(store.cached()))
    typer.echo(f"of the lock, not in the cache: {', '.join(rest) or 'nothing'}")


def key(
    image: options.Image = None,
    kernel: Annotated[Words, typer.Option("--kernel", "-k", help="A kernel, or a glob (repeatable).")] = None,
    userland: Annotated[Words, typer.Option("--userland", "-u", help="A userland, or a glob (repeatable).")] = None,
    qemu: Annotated[str | None, typer.Option("--qemu", help="An emulator; `system` and a PATH are no pieces.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All pieces of the catalogue.")] = False,
    symbols: Annotated[bool, typer.Option(help="With the symbols of kernels and userlands, or without.")] = True,
) -> None:
    """Print a short key for a CI cache of LAB_CACHE: it changes when the pieces do that a run with these options needs.

    It is the same on every machine. Needs neither the network nor the cache.
    """
    from orchestrator.pieces import upkeep
    from orchestrator.prepare import is_path

    store = _store(locked=True)
    if everything:
        wanted = store.everything(with_symbols=symbols)
    else:
        own = qemu is not None and (qemu == "system" or is_path(qemu))
        wanted = upkeep.needed(store, image, kernel or (), userland or (), "" if own else qemu)
        wanted = upkeep.with_symbols(wanted) if symbols else wanted
    typer.echo(upkeep.cache_key(store, wanted))


def verify(
    mirror: options.Mirror = None, locked: options.Locked = False, quiet: options.Quiet = False
) -> None:
    """Hash everything in the cache again; what is damaged is repaired or removed (exit 3)."""
    from orchestrator.pieces import upkeep

    with options.shown(quiet):
        damaged = upkeep.verify(_store(mirror, locked))
    typer.echo("\n".join(damaged) if damaged else "everything in the cache is as it was built")
    if damaged:
        raise typer.Exit(3)


def prune(
    everything: Annotated[bool, typer.Option("--all", help="Remove all that no process uses.")] = False,
    keep_days: Annotated[
        float | None, typer.Option("--keep-days", min=0, help="Also remove what was not used for so many days.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove from the cache what the lock no longer names and what killed builds left.

    Saved states of guests stay within LAB_STATES_MIB by themselves; --keep-days and --all remove them as well, and what
    is noted of guests that can't be restored.
    """
    from orchestrator.pieces.prune import prune as remove

    removed = remove(_store(), everything=everything, keep_days=keep_days, dry_run=dry_run)
    for item in removed:
        what = "kept" if item.kept else "would remove" if dry_run else "removed"
        typer.echo(f"{what} {item.path} ({item.size / _MIB:.1f} MiB): {item.reason}")
    freed = sum(item.size for item in removed) / _MIB
    typer.echo(f"{freed:.1f} MiB {'would be' if dry_run else 'were'} freed")


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _list(pieces: Iterable[Piece]) -> None:
    for piece in pieces:
        drift = f" (not what the lock names: {piece.drift})" if piece.drift else ""
        typer.echo(f"{piece.kind:<9} {piece.name:<18} {piece.version:<18} {piece.path}{drift}")


def _store(mirror: str | None = None, locked: bool = False) -> Store:
    from orchestrator import resources
    from orchestrator.pieces import Store

    return Store(cache=resources.cache(), mirror=mirror, locked=locked)
