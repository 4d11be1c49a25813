"""The QEMU command line: small pure functions, one per group of devices.

Nothing of the host's configuration comes in (``-nodefaults -no-user-config``), the network is
restricted to our own forwarded port, and channels are inherited file descriptors: no path, no
guessed port, nothing left behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Why each is here: console and rdinit are the lab's channel and init; panic=-1 ends a panicked
# guest at once (with -no-reboot QEMU exits); cryptomgr.notests saves about 15 % of the boot.
BASE_APPEND = ("console=ttyS0", "rdinit=/init", "panic=-1", "cryptomgr.notests")

# Of a deterministic machine: no address is drawn at random, the kernel's or a process's.
FIXED_APPEND = ("nokaslr", "norandmaps")
SHIFT = 3  # an instruction takes 8 ns: with 1 ns, what waits for time to pass took as many instructions again
BELL = 0xE9  # guest/machine.c
CLOCK = "2020-01-01T00:00:00"  # when a deterministic machine is switched on, UTC


@dataclass(frozen=True)
class Ram:
    """The guest's memory in the file ``path``: shared with it, so that it can be saved, or else a private view of what
    was saved; then the machine waits for the state of its devices (QMP: migrate-incoming)."""

    path: str
    private: bool = False


@dataclass(frozen=True)
class Record:
    """QEMU's own record of a deterministic machine (docs/system/replay.rst): it is written, or what stands in it
    happens again. ``debugger``: where gdb can connect, a path; the machine does not start before it says so."""

    path: str
    again: bool = False
    debugger: str = ""


@dataclass(frozen=True)
class Machine:
    """The hardware and the boot of one guest. ``memory`` in MiB."""

    kernel: Path
    initrd: str  # a path; "/proc/self/fd/N" for an inherited memory file; "" for none
    append: tuple[str, ...] = ()
    memory: int = 768
    cpus: int = 1
    accelerator: str = "tcg"
    sandbox: bool = True
    ram: Ram | None = None
    deterministic: bool = False  # what happens in it is a function of its kernel and initramfs alone
    record: Record | None = None


@dataclass(frozen=True)
class Channels:
    """File descriptors that QEMU inherits, each the end of a connected socket pair. ``port`` None: no such device.
    Of a deterministic machine the console is a pipe's end and the port a file: neither ever has to wait for a reader,
    which the guest would notice."""

    console: int
    monitor: int
    port: int | None = None
    gates: tuple[int, ...] = ()  # of a deterministic machine: what it says at its debug consoles, the bell first

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of them."""
        return self.console, self.monitor, *(() if self.port is None else (self.port,)), *self.gates


def command(emulator: Sequence[str], machine: Machine, channels: Channels) -> list[str]:
    """The whole argument vector."""
    return [
        *emulator,
        *base(machine),
        *memory(machine),
        *processor(machine),
        *boot(machine),
        *(apart(machine, channels) if machine.deterministic else connected(channels)),
        *monitor(channels),
        *vmcoreinfo(),
        *incoming(machine),
    ]


def connected(channels: Channels) -> list[str]:
    """What joins a guest with the world: console, network, random bytes, and the port."""
    return [*console(channels), *network(), *entropy(), *port(channels)]


def apart(machine: Machine, channels: Channels) -> list[str]:
    """A guest that nothing comes into. Time is a count of instructions (docs/devel/tcg-icount.rst), each of 2^shift
    nanoseconds, and idle time passes at once. What the port is given is taken while the processor waits: without
    ``ioeventfd`` no other thread is asked. At the gates it stands still (guest/machine.c). It does not start by itself,
    as QMP is not heard while it stands."""
    consoles = ((f"gate{number}", BELL + number, descriptor) for number, descriptor in enumerate(channels.gates))
    record = machine.record
    counted = f"shift={SHIFT},sleep=off"
    if record is not None:
        counted += f",rr={'replay' if record.again else 'record'},rrfile={_escaped(record.path)}"
    debugger = [] if record is None or not record.debugger else [
        "-gdb", f"unix:{_escaped(record.debugger)},server=on,wait=off"]  # fmt: skip
    return [
        *debugger,
        "-icount", counted, "-seed", "1", "-rtc", f"base={CLOCK},clock=vm", "-S",
        *_file("console", channels.console), "-serial", "chardev:console",
        "-device", "virtio-serial-pci,max_ports=2,ioeventfd=off",
        *_file("port", channels.port), "-device", "virtserialport,chardev=port,name=lab",
        *(word for name, place, descriptor in consoles
          for word in (*_file(name, descriptor), "-device", f"isa-debugcon,iobase={place:#x},chardev={name}")),
    ]  # fmt: skip


def _escaped(path: str) -> str:
    """A path in an option of QEMU's, whose commas separate (qemu-options.hx, "-device")."""
    return path.replace(",", ",,")


def _file(name: str, descriptor: int | None) -> list[str]:
    return ["-chardev", f"file,id={name},path=/proc/self/fd/{descriptor}"]


def base(machine: Machine) -> list[str]:
    """The machine type without anything that a server kernel would only probe for."""
    ram = ",memory-backend=ram" if machine.ram else ""
    sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    return [
        "-name", "qemu-lab,debug-threads=on" if machine.deterministic else "qemu-lab",
        "-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-display", "none",
        "-machine", f"q35,usb=off,vmport=off,smm=off,graphics=off,sata=off{ram}",
        "-m", f"{machine.memory}M",
        *(["-sandbox", sandbox] if machine.sandbox else []),
    ]  # fmt: skip


def memory(machine: Machine) -> list[str]:
    """Memory that QEMU takes from a file: shared, or a private copy-on-write view of a file that it can't change."""
    if machine.ram is None:
        return []
    mode = "share=off,readonly=on,rom=off" if machine.ram.private else "share=on"
    return ["-object", f"memory-backend-file,id=ram,size={machine.memory}M,mem-path={machine.ram.path},{mode}"]


def incoming(machine: Machine) -> list[str]:
    """A machine that does not boot: it waits for a state."""
    return ["-incoming", "defer"] if machine.ram is not None and machine.ram.private else []


def processor(machine: Machine) -> list[str]:
    """``max`` under TCG (RDRAND, 5-level tables); the host's own under KVM. A deterministic one draws nothing."""
    if machine.deterministic:
        return ["-accel", "tcg,thread=single", "-cpu", "max,rdrand=off,rdseed=off", "-smp", str(machine.cpus)]
    if machine.accelerator == "kvm":
        return ["-accel", "kvm", "-cpu", "host", "-smp", str(machine.cpus)]
    return ["-accel", "tcg", "-cpu", "max", "-smp", str(machine.cpus)]


def boot(machine: Machine) -> list[str]:
    """Kernel, initramfs and kernel command line; the user's words come last and win."""
    fixed = FIXED_APPEND if machine.deterministic else ()
    return [
        "-kernel", str(machine.kernel),
        *(["-initrd", machine.initrd] if machine.initrd else []),
        "-append", " ".join((*BASE_APPEND, *fixed, *machine.append)),
    ]  # fmt: skip


def console(channels: Channels) -> list[str]:
    """The first serial port on our socket pair."""
    return ["-chardev", f"socket,id=console,fd={channels.console}", "-serial", "chardev:console"]


def monitor(channels: Channels) -> list[str]:
    """QMP on our socket pair."""
    return ["-chardev", f"socket,id=monitor,fd={channels.monitor}", "-mon", "chardev=monitor,mode=control"]


def port(channels: Channels) -> list[str]:
    """A virtio port named "lab" on our socket pair, through which init starts labrun (guest/port.c)."""
    if channels.port is None:
        return []
    return ["-device", "virtio-serial-pci,max_ports=2", "-chardev", f"socket,id=port,fd={channels.port}",
            "-device", "virtserialport,chardev=port,name=lab"]  # fmt: skip


def network() -> list[str]:
    """User-mode network, nothing reachable but SSH by a port of the kernel's choice on loopback."""
    return [
        "-netdev", "user,id=net0,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22",
        "-device", "virtio-net-pci,netdev=net0,romfile=,mq=off",
    ]  # fmt: skip


def entropy() -> list[str]:
    """The host's random bytes, so that no guest waits for its own."""
    return ["-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"]


def vmcoreinfo() -> list[str]:
    """Where the kernel says how it is laid out (its module qemu_fw_cfg does, drivers/firmware/qemu_fw_cfg.c), so that
    a dump of the guest's memory has the note that tools need to read it (dump/dump.c)."""
    return ["-device", "vmcoreinfo"]
