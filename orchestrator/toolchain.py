"""The host's C compiler against a userland's own libc: programs, cached by content.

The same sources, flags, compiler and sysroot give the cached program again; what the compiler says
reaches the user in its own words.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError, UsageError

# -O1 and above remove unused mallocs and reorder touches; frame pointers keep stacks readable.
CFLAGS = ("-std=gnu11", "-O0", "-g", "-Wall", "-fno-omit-frame-pointer", "-pthread")
LIMIT = 120.0  # seconds for one compilation
MAX_PROGRAM = 64 << 20  # bytes


@dataclass(frozen=True)
class Program:
    """A compiled program. ``command`` is the compiler's, with paths relative to the scenario."""

    path: Path
    sha256: str
    compiler: str  # first line of `cc --version`
    command: tuple[str, ...]


def compile_program(sources: Sequence[Path], sysroot: Path, sysroot_key: str, cache: Path, *,
                    include: Sequence[Path] = (), flags: Sequence[str] = ()) -> Program:
    """Compiles ``sources`` together into one program. Raises UsageError with the compiler's words
    if they do not compile, HostError if there is no compiler."""
    compiler = find_compiler()
    command = [*_arguments(sysroot), *CFLAGS, *flags]
    key = _key(sources, include, [compiler, compiler_version(compiler), sysroot_key, *CFLAGS, *flags])
    target = cache / "compiled" / key[:32]
    if not target.is_file():
        _compile([compiler, *command, *(f"-I{folder}" for folder in include), *map(str, sources)], target)
    shown = [Path(compiler).name, "--sysroot=…", *CFLAGS, *flags, *(source.name for source in sources)]
    return Program(target, hashlib.sha256(target.read_bytes()).hexdigest(), compiler_version(compiler), tuple(shown))


def find_compiler() -> str:
    """The path of the C compiler: $CC, else gcc, else cc. Raises HostError if there is none."""
    for name in (os.environ.get("CC", ""), "gcc", "cc"):
        if name and (found := shutil.which(name)):
            return found
    raise HostError("no C compiler found", "install gcc (Debian, Ubuntu: apt install gcc), or set CC")


@functools.cache
def compiler_version(compiler: str) -> str:
    """The first line of ``compiler --version``."""
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"the C compiler {compiler} does not run: {error}") from None
    return done.stdout.partition("\n")[0].strip()


def _arguments(sysroot: Path) -> list[str]:
    """How a compiler is pointed at the sysroot, also one that knows nothing of Debian's library folders."""
    libraries = sysroot / "usr/lib/x86_64-linux-gnu"
    return [f"--sysroot={sysroot}", f"-B{libraries}/", f"-L{libraries}",
            "-idirafter", str(sysroot / "usr/include/x86_64-linux-gnu")]  # fmt: skip


def _key(sources: Sequence[Path], include: Sequence[Path], words: Sequence[str]) -> str:
    """Everything that shapes the program: sources, every header beside them, compiler, flags, sysroot."""
    digest = hashlib.sha256("\0".join(words).encode())
    headers = {h for folder in (*include, *(s.parent for s in sources)) for h in folder.glob("*.h")}
    for file in (*sources, *sorted(headers)):
        digest.update(f"\0{file.name}\0".encode())
        try:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror}") from None
    return digest.hexdigest()


def _compile(argv: list[str], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".cc-") as place:
        made = Path(place) / "program"
        environment = {**os.environ, "LC_ALL": "C"}
        try:
            done = subprocess.run([*argv, "-o", str(made)], capture_output=True, text=True, errors="replace",
                                  timeout=LIMIT, check=False, env=environment, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise UsageError(f"the compiler did not end within {LIMIT:.0f} s: {' '.join(argv)}") from None
        if done.returncode != 0 or not made.is_file():
            raise UsageError("the program does not compile:\n" + done.stderr.strip()[:8000],
                             "the compiler's words are above; it ran against the userland's own libc")
        if made.stat().st_size > MAX_PROGRAM:
            raise UsageError(f"the program has more than {MAX_PROGRAM >> 20} MiB")
        made.replace(target)
