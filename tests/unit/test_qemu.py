"""The QEMU command line is a pure function; what must never be missing from it is pinned here."""

import itertools
from pathlib import Path

from orchestrator.machine.qemu import Channels, Machine, Ram, Record, command


def argv(**changes: object) -> list[str]:
    machine = Machine(kernel=Path("/k/vmlinuz"), initrd="/proc/self/fd/9", **changes)  # type: ignore[arg-type]
    return command(["qemu"], machine, Channels(console=5, monitor=6))


def after(words: list[str], option: str) -> list[str]:
    return [value for word, value in itertools.pairwise(words) if word == option]


def test_nothing_of_the_hosts_configuration_comes_in() -> None:
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(argv())


def test_the_network_is_restricted_and_the_port_is_the_kernels_choice() -> None:
    (net,) = after(argv(), "-netdev")
    assert "restrict=on" in net and "hostfwd=tcp:127.0.0.1:0-" in net


def test_tcg_gets_the_best_processor_and_kvm_the_hosts() -> None:
    assert after(argv(accelerator="tcg"), "-cpu") == ["max"]
    assert after(argv(accelerator="kvm"), "-cpu") == ["host"]


def test_the_users_words_come_last_on_the_kernel_command_line() -> None:
    (line,) = after(argv(append=("panic=5", "nokaslr")), "-append")
    assert line.endswith(" panic=5 nokaslr") and line.index("panic=-1") < line.index("panic=5")


def test_the_port_is_there_where_it_is_wanted() -> None:
    assert not any("virtserialport" in word for word in argv())
    machine = Machine(kernel=Path("/k"), initrd="")
    words = command(["qemu"], machine, Channels(console=5, monitor=6, port=7))
    assert "virtserialport,chardev=port,name=lab" in words and "socket,id=port,fd=7" in words


def test_memory_comes_from_a_file_only_for_warm_start() -> None:
    assert not any("memory-backend" in word for word in argv()) and "-incoming" not in argv()
    shared, private = argv(ram=Ram("/s/ram")), argv(ram=Ram("/proc/self/fd/9", private=True))
    (backend,) = after(shared, "-object")[:1]
    assert backend == "memory-backend-file,id=ram,size=768M,mem-path=/s/ram,share=on" and "-incoming" not in shared
    (backend,) = after(private, "-object")[:1]
    assert backend.endswith(",share=off,readonly=on,rom=off") and after(private, "-incoming") == ["defer"]


def counted(**changes: object) -> list[str]:
    machine = Machine(kernel=Path("/k"), initrd="/i", deterministic=True, **changes)  # type: ignore[arg-type]
    return command(["qemu"], machine, Channels(console=5, monitor=6, port=7, gates=(8, 9, 10)))


def test_nothing_comes_into_a_deterministic_machine() -> None:
    words = counted()
    assert after(words, "-icount") == ["shift=3,sleep=off"] and after(words, "-rtc")[0].endswith(",clock=vm")
    assert after(words, "-cpu") == ["max,rdrand=off,rdseed=off"] and after(words, "-seed") == ["1"]
    assert not any("netdev" in word or "rng-random" in word or "virtio-net" in word for word in words)
    assert [word for word in after(words, "-chardev") if word.startswith("socket")] == ["socket,id=monitor,fd=6"]
    assert {"nokaslr", "norandmaps"} <= set(after(words, "-append")[0].split())
    assert "virtio-serial-pci,max_ports=2,ioeventfd=off" in words, "another thread would be asked"
    assert "-S" in words and "-incoming" not in words
    gates = [word for word in after(words, "-device") if word.startswith("isa-debugcon")]
    assert gates == [f"isa-debugcon,iobase={0xE9 + n:#x},chardev=gate{n}" for n in range(3)]


def test_what_qemu_records_it_replays_on_the_same_machine() -> None:
    written, again = counted(record=Record("/r/log")), counted(record=Record("/r/log", again=True, debugger="/s"))
    assert after(written, "-icount") == ["shift=3,sleep=off,rr=record,rrfile=/r/log"] and "-gdb" not in written
    assert after(again, "-icount") == ["shift=3,sleep=off,rr=replay,rrfile=/r/log"]
    assert after(again, "-gdb") == ["unix:/s,server=on,wait=off"]
    options = {"-icount", "-gdb"}
    rest = [[pair for pair in itertools.pairwise(words) if not options & set(pair) and "rr=" not in pair[0]
             and not pair[0].startswith("unix:")] for words in (written, again)]  # fmt: skip
    assert rest[0] == rest[1]


def test_channels_are_descriptors() -> None:
    chardevs = after(argv(), "-chardev")
    assert chardevs == ["socket,id=console,fd=5", "socket,id=monitor,fd=6"]


def test_a_dump_of_the_guest_can_be_read() -> None:
    assert "vmcoreinfo" in after(argv(), "-device")


def test_the_sandbox_can_be_left_out_for_a_qemu_without_it() -> None:
    assert after(argv(), "-sandbox") and not after(argv(sandbox=False), "-sandbox")
