"""Everything that shapes a guest, and the initramfs that it boots with."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.machine import qemu
from orchestrator.machine.ssh import Identity
from orchestrator.model import Emulator, Kernel, Userland
from orchestrator.pieces import cpio


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes a guest. ``agent`` is the cpio with init and labrun. ``states`` is the folder of saved
    states that the guest may go on from; None: it boots. ``deterministic``: it runs one case by itself, and nothing of
    the host's comes in; ``orders`` is that case, what labrun is told."""

    kernel: Kernel
    userland: Userland
    agent: Path
    emulator: Emulator
    accelerator: str = "tcg"
    append: tuple[str, ...] = ()
    memory: int = 768  # MiB
    cpus: int = 1
    sandbox: bool = True
    states: Path | None = None
    deterministic: bool = False
    orders: bytes = b""
    record: qemu.Record | None = None  # QEMU's own of a deterministic guest

    def machine(self, initrd: str, ram: qemu.Ram | None = None) -> qemu.Machine:
        """What QEMU is told of it; ``initrd`` is where the initramfs lies."""
        return qemu.Machine(
            kernel=self.kernel.vmlinuz, initrd=initrd, append=self.append, memory=self.memory, cpus=self.cpus,
            accelerator=self.accelerator, sandbox=self.sandbox, ram=ram,
            deterministic=self.deterministic, record=self.record,
        )  # fmt: skip

    def content(self) -> str:
        """SHA-256 of the kernel and of the archives of its initramfs, in hexadecimal."""
        found = hashlib.sha256()
        for part in (self.kernel.vmlinuz, *self.initramfs):
            found.update(part.read_bytes())
        return found.hexdigest()

    @property
    def initramfs(self) -> tuple[Path, ...]:
        """The archives that make it up, in order; the run's own keys come behind them."""
        parts = (self.kernel.modules, self.userland.cpio, self.agent)
        return tuple(part for part in parts if part is not None)


def run_archive(identity: Identity) -> bytes:
    """What is different in every run, as the last archive of the initramfs: the run's own keys."""
    return cpio.archive((
        cpio.directory("root", 0o700),
        cpio.directory("root/.ssh", 0o700),
        cpio.file("root/.ssh/authorized_keys", identity.authorized, 0o600),
        cpio.file("lab/hostkey", identity.host_key, 0o600),
    ))  # fmt: skip


def orders_archive(orders: bytes) -> bytes:
    """A case as the last archive of the initramfs: init has labrun run it (guest/init.c)."""
    return cpio.archive((cpio.file("lab/orders", orders, 0o600),))


@contextlib.contextmanager
def initramfs(recipe: Recipe, identity: Identity | None) -> Iterator[int]:
    """The concatenated archives as a memory file: kernel modules, userland, agent, and the run's own keys; without
    them init waits for its own on the console (guest/own.c). A deterministic guest has its case instead."""
    descriptor = os.memfd_create("initramfs")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as target:
            for part in recipe.initramfs:
                target.write(part.read_bytes())
            if recipe.deterministic:
                target.write(orders_archive(recipe.orders))
            elif identity is not None:
                target.write(run_archive(identity))
        yield descriptor
    finally:
        os.close(descriptor)
