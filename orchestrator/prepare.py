"""From what the user chose to what a guest is made of: pieces found or built, emulator and accelerator proved."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import accelerator, elf, progress, resources
from orchestrator.accelerator import Accelerator
from orchestrator.agent import agent
from orchestrator.errors import LabError, PieceError, UsageError
from orchestrator.machine.firstline import prints_first_line
from orchestrator.machine.guest import Recipe
from orchestrator.machine.saved import limit_mib
from orchestrator.model import Emulator, Kernel, Symbols, Userland
from orchestrator.versions import Version

if TYPE_CHECKING:
    from orchestrator.pieces import Store

RESTORING_QEMU = "8.2"
OLDEST_QEMU = "8.0"  # Debian's 7.2 crashes guests under TCG (cmpxchg16b; see docs/decisions.md)
COUNTED = "its instructions are counted"


@dataclass(frozen=True)
class Choice:
    """What the user asked for; None is the lab's own default. ``memory`` in MiB."""

    image: str | None = None
    kernel: str | None = None
    userland: str | None = None
    qemu: str | None = None
    modules: Path | None = None
    vmlinux: Path | None = None  # with DWARF, of a kernel given by path
    accel: str = "auto"
    append: tuple[str, ...] = ()
    memory: int = 768
    cpus: int = 1
    mirror: str | None = None
    locked: bool = False
    cold: bool = False
    deterministic: bool = False


@dataclass(frozen=True)
class Prepared:
    """Everything on this host that a guest needs. ``sysroot`` is what programs are compiled against."""

    kernel: Kernel
    userland: Userland
    emulator: Emulator
    accelerator: Accelerator
    recipe: Recipe
    sysroot: Path
    sysroot_key: str
    cache: Path
    asked: str  # the accelerator that the user asked for
    mirror: str | None = None
    locked: bool = False

    def find_symbols(self) -> Symbols:
        """Debug information of kernel and libc, fetched where it is not there."""
        from orchestrator.pieces import Store

        return find_symbols(Store(cache=self.cache, mirror=self.mirror, locked=self.locked), self.kernel, self.userland)

    @property
    def fall_back(self) -> Callable[[str], None] | None:
        """What to do when a guest does not boot under a proved KVM: nothing where the user insists on it."""
        return self._mistrust if self.asked == "auto" and self.accelerator.name == "kvm" else None

    def _mistrust(self, reason: str) -> None:
        accelerator.mistrust(self.cache, f"a guest did not boot under KVM: {reason}")


def prepare(choice: Choice, *, announce: bool = True) -> Prepared:
    """Finds or builds all that ``choice`` names. ``announce``: say which accelerator and why, for a command
    without a report. Raises UsageError, PieceError or HostError."""
    from orchestrator.pieces import Store

    if choice.locked:
        refuse_own(choice.kernel, choice.userland, choice.qemu)
    if choice.deterministic:
        check_deterministic(choice.accel, choice.cpus)
    cache = resources.cache()
    store = Store(cache=cache, mirror=choice.mirror, locked=choice.locked)
    kernel_name, userland_name = _image(store, choice)
    _fetch_together(store, kernel_name, userland_name, choice.qemu)
    userland = find_userland(store, userland_name)
    kernel = find_kernel(store, kernel_name, choice.modules, choice.vmlinux)
    emulator = find_emulator(store, choice.qemu)
    sysroot, sysroot_key = _sysroot(store, userland)
    chosen = accelerator.choose(
        "tcg" if choice.deterministic else choice.accel, cache,
        lambda limit: prints_first_line(emulator, kernel.vmlinuz, "kvm", limit))
    if announce and choice.accel == "auto":
        progress.note(f"accelerator: {chosen.name} ({chosen.reason})", once=True)
    recipe = Recipe(
        kernel=kernel, userland=userland, agent=agent(sysroot, sysroot_key, cache), emulator=emulator,
        accelerator=chosen.name, append=choice.append, memory=choice.memory, cpus=choice.cpus,
        sandbox=emulator.piece is not None or _has_sandbox(emulator),
        states=None if choice.cold or not limit_mib() or not _restores(emulator) else cache / "states",
    )  # fmt: skip
    found = Prepared(kernel, userland, emulator, chosen, recipe, sysroot, sysroot_key, cache, choice.accel,
                     choice.mirror, choice.locked)
    return counted(found) if choice.deterministic else found


def counted(prepared: Prepared) -> Prepared:
    """The same for a deterministic guest, which always boots. Raises UsageError where that can't be."""
    check_deterministic(prepared.asked, prepared.recipe.cpus)
    recipe = replace(prepared.recipe, accelerator="tcg", states=None, deterministic=True)
    return replace(prepared, accelerator=Accelerator("tcg", COUNTED), recipe=recipe)


def check_deterministic(accel: str, cpus: int) -> None:
    """Raises UsageError for what can't be so: only an emulator counts instructions, and of one processor."""
    if accel == "kvm":
        raise UsageError("a deterministic guest does not go with --accel kvm: only an emulator counts instructions")
    if cpus != 1:
        raise UsageError(f"a deterministic guest does not go with --cpus {cpus}: one processor's instructions are "
                         "counted")


def refuse_own(kernel: str | None, userland: str | None, qemu: str | None) -> None:
    """Raises UsageError for what no lock can name: files of the user's and the host's QEMU."""
    for option, name in (("--kernel", kernel), ("--userland", userland), ("--qemu", qemu)):
        if name is not None and (is_path(name) or (option == "--qemu" and name == "system")):
            raise UsageError(f"{option} {name} is not in the lock, and --locked refuses whatever that does not name",
                             "leave out --locked, or take one of the catalogue (`lab image list`)")


def _fetch_together(store: Store, kernel: str, userland: str, qemu: str | None) -> None:
    """One download for all that the catalogue gives and the cache lacks, then built side by side."""
    from orchestrator.model import PieceKind
    from orchestrator.pieces import Wanted

    wanted = []
    if not is_path(kernel):
        wanted.append(Wanted(PieceKind.KERNEL, _only(kernel, store.kernel_names(kernel))))
    if not is_path(userland):
        name = _only(userland, store.userland_names(userland))
        wanted += [Wanted(kind, name) for kind in (PieceKind.USERLAND, PieceKind.SYSROOT)]
    if qemu is None or (qemu != "system" and not is_path(qemu)):
        wanted.append(Wanted(PieceKind.EMULATOR, store.emulator_name(qemu)))
    store.prepare(wanted)


def _image(store: Store, choice: Choice) -> tuple[str, str]:
    """The kernel's and the userland's names: the options, else the image's, else the default image's."""
    image = store.catalogue.image(choice.image)
    return choice.kernel or image.kernel, choice.userland or image.userland


def find_kernel(store: Store, name: str, modules: Path | None, vmlinux: Path | None = None) -> Kernel:
    """A kernel by catalogue name, or a user's own file where ``name`` is a path."""
    if is_path(name):
        from orchestrator.pieces.user import user_kernel

        return user_kernel(Path(name), modules, resources.cache(), vmlinux)
    for option, value in (("--modules", modules), ("--vmlinux", vmlinux)):
        if value is not None:
            raise UsageError(f"{option} goes with --kernel PATH: a kernel of the catalogue brings its own")
    return store.kernel(name)


def find_userland(store: Store, name: str) -> Userland:
    """A userland by suite or glibc version, or a user's own folder or tar file."""
    if is_path(name):
        from orchestrator.pieces.user import user_userland

        return user_userland(Path(name), resources.cache())
    return store.userland(name)


def find_symbols(store: Store, kernel: Kernel, userland: Userland) -> Symbols:
    """The debug information of what a guest is made of: downloaded and built where it is a piece that is not there
    yet (some 300 MiB for a kernel), looked for beside a user's own. What can't be had is in its ``missing``; where only
    what the lock names counts, it is a PieceError: what a run finds must not depend on what a cache happens to hold."""
    had = _all if store.locked else _had
    of_kernel = had(lambda: store.kernel_symbols(kernel) if kernel.piece else _own_vmlinux(kernel))
    of_userland = had(lambda: store.userland_symbols(userland) if userland.piece else userland.symbols or Symbols())
    return replace(
        of_userland, vmlinux=of_kernel.vmlinux, vmlinux_build_id=of_kernel.vmlinux_build_id,
        pieces=(*of_kernel.pieces, *of_userland.pieces), missing=(*of_kernel.missing, *of_userland.missing),
    )  # fmt: skip


def _all(find: Callable[[], Symbols]) -> Symbols:
    """What was found; nothing less will do."""
    try:
        return find()
    except PieceError as error:
        raise PieceError(error.message, f"{error.hint} --no-inspect does without symbols.".strip()) from error


def _had(find: Callable[[], Symbols]) -> Symbols:
    """What was found; where it can't be had, why. One piece that is missing does not cost the other."""
    try:
        return find()
    except (LabError, OSError) as error:
        return Symbols(missing=(str(error),))


def _own_vmlinux(kernel: Kernel) -> Symbols:
    if kernel.vmlinux is None:
        return Symbols(missing=(f"the kernel {kernel.name}: no vmlinux with debug information was given (--vmlinux) "
                                "or found beside it",))  # fmt: skip
    return Symbols(kernel.vmlinux, elf.build_id(kernel.vmlinux))


def check_vmlinux(symbols: Symbols, running: str) -> None:
    """Refuses a vmlinux that is not of the running kernel, whose build-id (the probe ``buildid``) is ``running``:
    read with it, the kernel's memory would make some other sense. Raises UsageError."""
    if symbols.vmlinux is None or symbols.vmlinux_build_id == running:
        return
    if not running:
        raise UsageError(f"whether {symbols.vmlinux} is the running kernel's can't be told: that one has no build-id "
                         "in /sys/kernel/notes", "build it with a linker that writes one (--build-id)")
    raise UsageError(f"this vmlinux is of another kernel: build-id {symbols.vmlinux_build_id}, the running one has "
                     f"{running} ({symbols.vmlinux})", "give the one of the same build: --vmlinux PATH")


def find_emulator(store: Store, name: str | None) -> Emulator:
    """The pinned QEMU, the system's ("system"), or one by path."""
    if name is None or (not is_path(name) and name != "system"):
        return store.emulator(name)
    path = shutil.which("qemu-system-x86_64") if name == "system" else name
    if path is None:
        raise UsageError("--qemu system: this host has no qemu-system-x86_64",
                         "install it (Debian, Ubuntu: qemu-system-x86), or leave --qemu out: the lab brings its own")
    return own_emulator(name, Path(path))


def own_emulator(name: str, path: Path) -> Emulator:
    """A user's QEMU. Raises UsageError if it is not one that can be used."""
    path = path.absolute()
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise UsageError(f"--qemu {path}: not an executable file", "give the path of qemu-system-x86_64")
    try:
        done = subprocess.run([str(path), "--version"], capture_output=True, text=True, errors="replace", timeout=20,
                              check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--qemu {path}: does not run: {error}") from None
    found = re.search(r"QEMU emulator version (\d+(?:\.\d+)+)", done.stdout)
    if found is None:
        said = done.stderr.strip().rpartition("\n")[2][:300]
        raise UsageError(f"--qemu {path}: `--version` does not say that it is QEMU" + (f": {said}" if said else ""))
    if Version(found[1]) < Version(OLDEST_QEMU):
        progress.note(f"QEMU {found[1]} is known to crash guests under TCG; the lab's own is safe", once=True)
    return Emulator(name=name, argv=(str(path),), version=found[1], firmware=_firmware(path))


def _firmware(path: Path) -> tuple[Path, ...]:
    """The folders in which a QEMU looks for its ROMs, in its order; none where it does not tell."""
    try:
        done = subprocess.run([str(path), "-L", "help"], capture_output=True, text=True, errors="replace", timeout=20,
                              check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(Path(line) for line in done.stdout.splitlines()[:16] if line)


def _restores(emulator: Emulator) -> bool:
    """Whether it can go on from a saved state without changing it (memory-backend-file,readonly=on,rom=off)."""
    if Version(emulator.version) >= Version(RESTORING_QEMU):
        return True
    progress.note(f"QEMU {emulator.version} boots each guest: warm start needs {RESTORING_QEMU} or newer", once=True)
    return False


def _has_sandbox(emulator: Emulator) -> bool:
    try:
        done = subprocess.run([*emulator.argv, "-sandbox", "on", "--version"], capture_output=True, timeout=20,
                              check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _sysroot(store: Store, userland: Userland) -> tuple[Path, str]:
    """What to compile against: the userland's own sysroot, or for a user's own without C headers the
    catalogue's newest that is not newer, because glibc keeps old programs running but not newer ones."""
    if userland.sysroot is not None:
        # a user's own tree has no key; its archive is named by its content
        key = userland.sysroot_piece.key if userland.sysroot_piece else userland.cpio.stem
        return userland.sysroot, key
    known = {entry.version: name for name in store.catalogue.userlands if (entry := store.lock.get(f"userland/{name}"))}
    older = [version for version in known if Version(version) <= Version(userland.glibc)]
    if not older:
        raise UsageError(f"userland {userland.name} has glibc {userland.glibc} and no C headers to compile against",
                         "give a tree with usr/include and libc's development files in it")
    version = max(older, key=Version)
    progress.note(f"no C headers in {userland.name}: programs are compiled against glibc {version}", once=True)
    return _sysroot(store, store.userland(known[version]))


def _only(pattern: str, names: list[str]) -> str:
    """The one name that a pattern means. Raises UsageError where it means several."""
    if len(names) > 1:
        raise UsageError(f"{pattern} means several: {', '.join(names)}", "one guest takes one: name it")
    return names[0]


def is_path(name: str) -> bool:
    """Whether a kernel, userland or emulator is named by path, not by its name in the catalogue."""
    return "/" in name or name.startswith(".")
