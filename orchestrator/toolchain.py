"""The host's C compiler against a userland's own libc: programs, cached by content.

The same sources, flags, compiler and sysroot give the cached program again; what the compiler says
reaches the user in its own words.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError, UsageError

# -O1 and above remove unused mallocs and reorder touches; frame pointers keep stacks readable.
CFLAGS = ("-std=gnu11", "-O0", "-g", "-Wall", "-fno-omit-frame-pointer", "-pthread")
_COMPILER_VARIABLES = ("CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX",
                       "DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES")  # fmt: skip
LIBRARIES = ("-lm",)
_UNLISTED = re.compile(rb"__has_include|\.incbin")  # make rules do not tell what these look at
_NO_PLACES = "-ffile-prefix-map"  # since gcc 8, clang 10
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
    version = compiler_version(compiler)
    files = [str(source.absolute()) for source in sources]  # a name may begin with "-"
    libraries = [flag for flag in flags if flag.startswith("-l")]
    options = [flag for flag in flags if flag not in libraries]
    places = {sources[0].absolute().parent: ".", sysroot: "sysroot", **dict.fromkeys(include, "include")}
    words = [*_arguments(sysroot), *CFLAGS, *_without_places(places), *options, *(f"-I{folder}" for folder in include)]
    argv = [compiler, *words, *files, *libraries, *LIBRARIES]  # a linker takes libraries after who needs them
    key = "\0".join([compiler, version, sysroot_key, *CFLAGS, _NO_PLACES, *flags, *files])
    folder = cache / "compiled"
    made = folder / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.json"
    found = _cached(made) or _compile(argv, sources[0].absolute().parent, sysroot, made)
    shown = (Path(compiler).name, "--sysroot=…", *CFLAGS, *flags, *(source.name for source in sources))
    return Program(folder / found, found, version, shown)


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


def _without_places(places: Mapping[Path, str]) -> list[str]:
    """Options that keep the host's folders out of the program, in its debugging information and in __FILE__: the same
    sources give the same bytes, wherever they lie. A folder with "=" in its path can't be named so."""
    return [f"{_NO_PLACES}={place}={name}" for place, name in places.items() if "=" not in str(place)]


def _cached(made: Path) -> str | None:
    """The SHA-256 (and file name) of the program that ``made`` tells of, if it is whole and every file
    that went into it, included ones too, is as it was."""
    try:
        record = json.loads(made.read_text())
        if any(_digest(Path(file)) != digest for file, digest in record["inputs"].items()):
            return None
        program = str(record["program"])
        return program if _digest(made.parent / program) == program else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _compile(argv: list[str], folder: Path, sysroot: Path, made: Path) -> str:
    """Runs the compiler in ``folder``; the program's SHA-256, which is its file's name as well."""
    try:
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent, prefix=".cc-") as place:
            program = Path(place) / "program"
            _call([*argv, "-o", str(program)], folder)
            if program.stat().st_size > MAX_PROGRAM:
                raise UsageError(f"the program has more than {MAX_PROGRAM >> 20} MiB")
            digest = _digest(program)
            inputs = _inputs(_call([*argv, "-MM"], folder), folder)
            used = {str(file): _digest(file) for file in inputs if not file.is_relative_to(sysroot)}
            if any(_UNLISTED.search(file.read_bytes()) for file in map(Path, used)):
                used[str(Path(place) / "never again")] = ""  # what such sources depend on is not known
            record = Path(place) / "made.json"
            record.write_text(json.dumps({"program": digest, "inputs": used}))
            program.replace(made.parent / digest)
            record.replace(made)
    except OSError as error:
        raise HostError(f"cannot keep a compiled program in {made.parent}: {error.strerror}",
                        "free some space, or set LAB_CACHE to a folder of yours") from None
    return digest


def diagnose(sources: Sequence[Path], sysroot: Path | None, *, include: Sequence[Path] = (),
             flags: Sequence[str] = ()) -> str:
    """What the compiler says of the sources, a line for each error and warning; it makes no program of them.
    Without a sysroot it takes the host's own headers."""
    folder = sources[0].absolute().parent
    words = [*(_arguments(sysroot) if sysroot else ()), *CFLAGS, *flags, *(f"-I{place}" for place in include)]
    files = [str(source.absolute()) for source in sources]
    return _compiler([find_compiler(), "-fsyntax-only", "-fno-diagnostics-show-caret", *words, *files], folder).stderr


def _call(argv: list[str], folder: Path) -> str:
    """What the compiler prints on standard output. Raises UsageError with its own words if it fails."""
    done = _compiler(argv, folder)
    if done.returncode != 0:
        said = done.stderr.strip()[:8000].encode(errors="replace").decode()
        raise UsageError(f"the program does not compile:\n{said}",
                         "the compiler's words are above; it ran against the userland's own libc")
    return done.stdout


def _compiler(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if name not in _COMPILER_VARIABLES}
    try:
        return subprocess.run(argv, capture_output=True, text=True, errors="surrogateescape", timeout=LIMIT,
                              check=False, cwd=folder, env={**own, "LC_ALL": "C"}, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise UsageError(f"the compiler did not end within {LIMIT:.0f} s: {shlex.join(argv)}") from None


def _inputs(rules: str, folder: Path) -> set[Path]:
    """The files in make rules as the compiler prints them (-MM): sources, and all that they include."""
    words = re.findall(r"(?:\\[ #]|\$\$|\S)+", rules.replace("\\\n", " "))
    names = [re.sub(r"\\([ #])", r"\1", word).replace("$$", "$") for word in words if not word.endswith(":")]
    return {folder / name for name in names}


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
