"""Kernels: vmlinuz, its configuration, and the few modules a guest needs, in the order to load them."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from orchestrator.errors import HostError, PieceError, UsageError
from orchestrator.pieces import cpio, debs

WANTED = ("virtio_pci", "virtio_net", "virtio_rng", "virtio_console", "qemu_fw_cfg")
MODULES = "lab/modules"  # where the guest finds them, as NN-name.ko
_MODULE = re.compile(r"\.ko(\.(xz|zst|gz))?$")
_TREE = re.compile(r"^usr/lib/modules/([^/]+)/")
_IMAGE = re.compile(r"^(boot|usr/lib/modules/[^/]+)/(vmlinuz|config)(-[^/]+)?$")
_DEPENDS = re.compile(rb"(?:^|\0)depends=([^\0]*)\0")


def assemble(packages: Iterable[Path], destination: Path) -> dict[str, str]:
    """Writes vmlinuz, config and modules.cpio below ``destination``; returns what is worth knowing."""
    found: dict[str, bytes] = {}
    tree: dict[str, bytes] = {}
    for package in packages:
        for entry in debs.entries(package, _wanted):
            if image := _IMAGE.match(entry.path):
                found[image[2]] = entry.data
            else:
                tree[entry.path] = entry.data
    if "vmlinuz" not in found:
        raise PieceError("none of the kernel's packages holds a vmlinuz")
    release = bzimage_release(found["vmlinuz"])
    if not release or f"usr/lib/modules/{release}/modules.builtin" not in tree:
        raise PieceError(f"the packages hold no modules for the kernel {release or '(without a name)'}")
    (destination / "vmlinuz").write_bytes(found["vmlinuz"])
    (destination / "config").write_bytes(found.get("config", b""))
    (destination / "modules.cpio").write_bytes(modules_archive(tree))
    return {"release": release}


def _wanted(path: str) -> bool:
    return bool(_IMAGE.match(path)) or (
        bool(_TREE.match(path)) and (bool(_MODULE.search(path)) or path.endswith("/modules.builtin"))
    )


def bzimage_release(image: bytes) -> str:
    """What `uname -r` will say, from the setup header (arch/x86/boot/header.S); "" if not a bzImage."""
    if image[0x202:0x206] != b"HdrS":
        return ""
    start = int.from_bytes(image[0x20E:0x210], "little") + 0x200
    text = image[start : start + 256].split(b"\0")[0].decode("ascii", "replace")
    return text.split(" ")[0]


def modules_archive(tree: Mapping[str, bytes | Path]) -> bytes:
    """The wanted modules of a /lib/modules tree as a cpio archive, uncompressed, dependencies first.

    Dependencies are read from the modules themselves (.modinfo), because packages ship no modules.dep.
    """
    index = {_name(path): path for path in sorted(tree) if _MODULE.search(path)}
    builtin = {
        _name(line)
        for path, data in tree.items()
        if path.endswith("modules.builtin")
        for line in _content(data).decode("ascii", "replace").split()
    }
    ordered: dict[str, bytes] = {}
    for name in WANTED:
        _add(name, tree, index, builtin, ordered, ())
    return cpio.archive(
        [cpio.directory(MODULES)]
        + [
            cpio.file(f"{MODULES}/{number:02}-{name}.ko", data)
            for number, (name, data) in enumerate(ordered.items())
        ]
    )


def _add(
    name: str,
    tree: Mapping[str, bytes | Path],
    index: Mapping[str, str],
    builtin: set[str],
    ordered: dict[str, bytes],
    above: tuple[str, ...],
) -> None:
    if name in ordered or name in builtin:
        return
    if name not in index:
        if above:
            raise PieceError(f"the module {above[-1]} needs {name}, which is neither a module nor built in")
        return  # this kernel does without it
    if name in above:
        raise PieceError(f"modules depend on each other: {' → '.join((*above, name))}")
    data = _decompressed(index[name], _content(tree[index[name]]))
    for dependency in _dependencies(data):
        _add(dependency, tree, index, builtin, ordered, (*above, name))
    ordered[name] = data


def _dependencies(module: bytes) -> list[str]:
    match = _DEPENDS.search(module)
    return [_name(part) for part in match[1].decode("ascii").split(",") if part] if match else []


def _name(path: str) -> str:
    """A module's name as the kernel compares it: "virtio-rng.ko.xz" -> "virtio_rng"."""
    return _MODULE.sub("", PurePosixPath(path).name).replace("-", "_")


def _content(data: bytes | Path) -> bytes:
    return data.read_bytes() if isinstance(data, Path) else data


def _decompressed(path: str, data: bytes) -> bytes:
    if path.endswith(".xz"):
        try:
            return lzma.decompress(data)
        except (lzma.LZMAError, EOFError) as error:
            raise PieceError(f"{path}: a damaged module: {error}") from None
    if path.endswith(".gz"):
        return _by_tool("gzip", data)
    if path.endswith(".zst"):
        return _by_tool("zstd", data)
    return data


def _by_tool(tool: str, data: bytes) -> bytes:
    program = shutil.which(tool)
    if program is None:
        raise HostError(f"the kernel's modules are packed with {tool}", f"Install the package {tool}.")
    done = subprocess.run([program, "-dc"], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise PieceError(f"{tool} can't unpack a module: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def pack_modules(directory: Path) -> bytes:
    """The archive for a user's own /lib/modules/RELEASE, or for a folder that holds exactly one."""
    trees = [directory] if (directory / "modules.builtin").is_file() else []
    if directory.is_dir() and not trees:
        trees = sorted({found.parent for found in directory.rglob("modules.builtin")})
    if len(trees) != 1:
        what = "no kernel's modules" if not trees else f"the modules of {len(trees)} kernels"
        raise UsageError(
            f"{directory} holds {what}",
            "Name the folder of one kernel, /lib/modules/RELEASE: it has a file modules.builtin "
            "(`make modules_install INSTALL_MOD_PATH=DIR` writes it).",
        )
    return modules_archive({str(path): path for path in trees[0].rglob("*") if path.is_file()})
