"""The agent: init and labrun, from guest/, linked statically, as the cpio that every guest carries."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from orchestrator import resources, toolchain
from orchestrator.pieces import cpio

BOTH = ("machine.c",)  # in init and in labrun
INIT = ("init.c", "own.c", "port.c")  # all others are labrun
FLAGS = ("-O2", "-static", "-Wextra", "-s")


def agent(sysroot: Path, sysroot_key: str, cache: Path) -> Path:
    """The agent's cpio, compiled against ``sysroot`` when its sources, the compiler or the sysroot changed.

    Raises HostError where there is no compiler, UsageError if the sources do not compile.
    """
    folder = resources.data("guest")
    parts = sorted(folder.glob("*.c"))
    init = [part for part in parts if part.name in (*INIT, *BOTH)]
    labrun = [part for part in parts if part.name not in INIT]
    programs = [
        toolchain.compile_program(sources, sysroot, sysroot_key, cache, flags=FLAGS) for sources in (init, labrun)
    ]
    content = cpio.archive((
        cpio.file("init", programs[0].path, 0o755),
        cpio.file("lab/labrun", programs[1].path, 0o755),
    ))  # fmt: skip
    target = cache / "compiled" / f"agent-{hashlib.sha256(content).hexdigest()[:32]}.cpio"
    if not target.is_file() or target.read_bytes() != content:
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as temporary:
            temporary.write(content)
        Path(temporary.name).replace(target)
    return target
