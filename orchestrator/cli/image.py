"""`lab image`: the pieces in the catalogue, the lock and the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.pieces import Store

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
_MIB = 1 << 20


@app.command("list")
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


@app.command()
def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Images or pieces (6.1, bookworm, kernel/6.1, symbols/kernel-6.1).")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Build everything in the catalogue; symbols too: 1.2 GiB more to download.")
    ] = False,
    symbols: Annotated[
        bool | None, typer.Option(help="With the symbols of kernels and userlands, or without; --all has them.")
    ] = None,
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
    for piece in pieces:
        drift = f" (not what the lock names: {piece.drift})" if piece.drift else ""
        typer.echo(f"{piece.kind:<9} {piece.name:<18} {piece.version:<18} {piece.path}{drift}")


@app.command("lock")
def lock_(
    update: Annotated[bool, typer.Option("--update", help="Also move what is locked to what the mirror has.")] = False,
    mirror: options.Mirror = None,
    quiet: options.Quiet = False,
) -> None:
    """Write the exact packages of each piece to images/lock.yaml, and say what changes."""
    from orchestrator.pieces import upkeep

    with options.shown(quiet):
        changes = upkeep.relock(_store(mirror), update=update)
    typer.echo("\n".join(changes) if changes else "nothing has changed")


@app.command()
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


@app.command()
def prune(
    everything: Annotated[bool, typer.Option("--all", help="Remove all that no process uses.")] = False,
    keep_days: Annotated[
        float | None, typer.Option("--keep-days", min=0, help="Also remove what was not used for so many days.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove from the cache what the lock no longer names and what killed builds left.

    Saved states of guests stay within LAB_STATES_MIB by themselves; --keep-days and --all remove them as well.
    """
    from orchestrator.pieces.prune import prune as remove

    removed = remove(_store(), everything=everything, keep_days=keep_days, dry_run=dry_run)
    for item in removed:
        what = "kept" if item.kept else "would remove" if dry_run else "removed"
        typer.echo(f"{what} {item.path} ({item.size / _MIB:.1f} MiB): {item.reason}")
    freed = sum(item.size for item in removed) / _MIB
    typer.echo(f"{freed:.1f} MiB {'would be' if dry_run else 'were'} freed")


def _store(mirror: str | None = None, locked: bool = False) -> Store:
    from orchestrator import resources
    from orchestrator.pieces import Store

    return Store(cache=resources.cache(), mirror=mirror, locked=locked)
