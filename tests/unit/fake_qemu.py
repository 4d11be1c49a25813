"""A QEMU without a machine: it speaks QMP, and on its console what the lab's init would say, or fails as it is told."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from orchestrator.machine.recipe import Recipe
from orchestrator.model import Emulator

NEVER = "LAB: fail this guest cannot be made its own: the kernel takes no entropy (RNDADDENTROPY, RNDRESEEDCRNG)"
WARNING = "[    1.250000] WARNING: CPU: 0 PID: 1 at mm/mmap.c:99 do_brk_flags+0x1/0x2"
CPU = 0.1  # seconds that each one takes

# The plan says for each way of coming up, maybe behind the accelerator ("kvm save"), what happens: "fine", it
# "refuses" to start, "dies" of SIGBUS, "faults" in KVM_RUN, is "deaf", or a line that init says before it gives up.
_SCRIPT = """#!PYTHON -ES
import json, os, re, signal, socket, sys, time
words = " ".join(sys.argv)
fds = dict(re.findall(r"socket,id=(\\w+),fd=(\\d+)", words))
accel = sys.argv[sys.argv.index("-accel") + 1]
way = "restore" if "-incoming" in sys.argv else "save" if "share=on" in words else "boot"
plan = json.load(open("PLAN"))
does = plan.get(f"{accel} {way}", plan.get(way, "fine"))
console, monitor = (socket.socket(fileno=int(fds[name])) for name in ("console", "monitor"))
if does == "refuses":
    sys.exit("fake-qemu: can't mmap")
while time.process_time() < CPU_SECONDS:
    pass

def qmp(**message):
    monitor.sendall(json.dumps(message).encode() + b"\\n")

def init(*lines):
    console.sendall("".join(line + "\\r\\n" for line in lines).encode())

def come_up(*lines):
    if does == "dies":
        os.kill(os.getpid(), signal.SIGBUS)
    if does == "faults":
        print("error: kvm run failed Bad address", file=sys.stderr, flush=True)
    if does in ("deaf", "faults"):
        return
    if does != "fine":
        init(does)
        sys.exit(0)
    init(*lines)

qmp(QMP={})
told = monitor.makefile("r")
for line in told:
    order = json.loads(line)
    what, arguments = order["execute"], order.get("arguments", {})
    qmp(**{"return": {}})
    if what == "qmp_capabilities" and way != "restore":
        come_up("[    0.000000] Linux version 6.12", "WARNING_LINE",
                "LAB: saved 1" if way == "save" else "LAB: port 1\\r\\nLAB: ready 1")
    if what == "migrate":
        with open(arguments["uri"].removeprefix("file:"), "wb") as devices:
            devices.write(b"QEVM")
    if what in ("migrate", "migrate-incoming"):
        qmp(event="MIGRATION", data={"status": "completed"})
    if what == "migrate-incoming":
        while b"\\n" not in console.recv(4096):
            pass
        come_up("LAB: port 1", "LAB: own 1")
    if what == "quit":
        break
"""


def with_fake_qemu(recipe: Recipe, folder: Path, **plan: str) -> Recipe:
    """The recipe with a fake QEMU that does as planned; ``kvm_save`` is for "kvm save"."""
    script = folder / "fake-qemu"
    text = _SCRIPT.replace("PYTHON", sys.executable).replace("PLAN", str(folder / "plan"))
    script.write_text(text.replace("CPU_SECONDS", str(CPU)).replace("WARNING_LINE", WARNING))
    script.chmod(0o755)
    (folder / "agent.cpio").write_bytes(b"agent")
    change_plan(folder, **plan)
    return replace(recipe, emulator=Emulator("fake", (str(script),), "10.0"), agent=folder / "agent.cpio")


def change_plan(folder: Path, **plan: str) -> None:
    """Another plan, for what is started from now on."""
    (folder / "plan").write_text(json.dumps({name.replace("_", " "): does for name, does in plan.items()}))
