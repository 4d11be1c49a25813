"""Debian's package lists through apt, with private state: no root, and the host's system is untouched.

apt checks the signatures. One state per suite lies in the cache; it is refreshed once per process and used
only to resolve: what the lock already names needs no lists at all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from orchestrator import processes, progress
from orchestrator.errors import HostError, PieceError
from orchestrator.model import PackagePin
from orchestrator.pieces import mirror

Record = Mapping[str, str]
_TAKEN_OVER = re.compile(r"Acquire::(https?|socks|Retries|ForceIPv[46])\b", re.IGNORECASE)
_OFFLINE = re.compile(r"Could not (resolve|connect)|Temporary failure|Cannot initiate the connection|timed out")
_EXPIRED = re.compile(r"Release file for \S+ is expired")


class UnreachableError(PieceError):
    """The mirror does not answer, or answers with something else than Debian's signed packages."""


def unreachable(what: str, output: str) -> UnreachableError:
    """The error with apt's own reason, and whether it is the network that is missing."""
    reasons = [line for line in output.splitlines() if line.startswith("E: ") and "Download Failed" not in line]
    network = "no network: " if _OFFLINE.search(output) else ""
    return UnreachableError(
        "\n".join([network + what, *reasons[:1]]),
        "Check the network, or name another mirror (--mirror, LAB_DEBIAN_MIRROR).",
    )


class Suite:
    """The packages of one suite, as the mirror serves them now."""

    def __init__(self, name: str, state: Path, address: str) -> None:
        self.name = name
        self.expired = ""  # since when the Release file has been out of date; "" when it is valid
        self._state = state / name
        self._address = address
        self._fresh = False

    def _alone(self) -> AbstractContextManager[object]:
        """Held by who reads or writes the lists."""
        from filelock import FileLock  # it loads asyncio: not for who only looks up what is there

        return FileLock(f"{self._state}.lock")

    def records(self, names: list[str]) -> dict[str, Record]:
        """The candidate of each package that the suite has, by name."""
        self._refresh()
        if not names:
            return {}
        with self._alone():
            done = self._run("apt-cache", "show", "--no-all-versions", *names)
        found: dict[str, Record] = {}
        for record in _stanzas(done.stdout):
            found.setdefault(record["Package"], record)
        return {name: found[name] for name in names if name in found}

    def closure(self, names: list[str], follow: re.Pattern[str]) -> list[PackagePin]:
        """``names`` and the dependencies whose name ``follow`` matches, theirs too; sorted by name."""
        pins: dict[str, PackagePin] = {}
        wave = names
        while wave:
            records = self.records(wave)
            if missing := [name for name in wave if name in names and name not in records]:
                raise PieceError(
                    f"{self.name} at {self._address} has no package {', '.join(missing)}",
                    "Use another mirror (--mirror), or change the catalogue (images/catalogue.yaml).",
                )
            pins.update({name: pin(record) for name, record in records.items()})
            wanted = {name for record in records.values() for name in depends(record) if follow.match(name)}
            wave = sorted(wanted - set(pins))
            if wave and not records:
                break  # only virtual packages were left
        return [pins[name] for name in sorted(pins)]

    def _refresh(self) -> None:
        if self._fresh:
            return
        if not mirror.KEYRING.is_file():
            raise HostError(
                f"{mirror.KEYRING} is missing: Debian's signatures can't be checked",
                "Install the package debian-archive-keyring.",
            )
        self._state.mkdir(parents=True, exist_ok=True)
        with self._alone(), progress.step(f"reading the package lists of {self.name}"):
            self._write_state(check_valid_until=True)
            done = self._update()
            if done.returncode != 0 and _EXPIRED.search(done.stderr):
                self._write_state(check_valid_until=False)
                done = self._update()
                self.expired = self._valid_until()
                progress.note(
                    f"{self.name}: its Release file was valid until {self.expired}; the mirror is not up to "
                    "date. Signatures are checked all the same."
                )
            if done.returncode != 0:
                raise unreachable(f"apt can't read the suite {self.name} from {self._address}", done.stderr)
        self._fresh = True

    def _valid_until(self) -> str:
        for path in (self._state / "lists").glob("*_InRelease"):
            if found := re.search(r"^Valid-Until: (.*)$", path.read_text(errors="replace"), re.MULTILINE):
                return found[1]
        return "an unknown date"

    def _update(self) -> subprocess.CompletedProcess[str]:
        return self._run("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")

    def _run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return run_apt(argv, config=self._state / "apt.conf")

    def _write_state(self, *, check_valid_until: bool) -> None:
        for folder in ("lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
            (self._state / folder).mkdir(parents=True, exist_ok=True)
        (self._state / "status").touch()
        valid = "yes" if check_valid_until else "no"
        (self._state / "sources.list").write_text(
            f"deb [arch=amd64 signed-by={mirror.KEYRING} check-valid-until={valid} check-date={valid}] "
            f"{self._address} {self.name} main\n"
        )
        config = self._state / "apt.conf"
        config.touch(mode=0o600)  # the host's proxy settings may hold a password
        config.write_text(_configuration(self._state))


def run_apt(argv: tuple[str, ...], config: Path) -> subprocess.CompletedProcess[str]:
    """Runs one of apt's tools with a configuration of ours, its messages in English."""
    return subprocess.run(
        _found(argv), env=_environment(config), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def start_apt(argv: Sequence[str], config: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts one of apt's tools, which ends with us; what it says goes to ``log``."""
    return subprocess.Popen(
        _found(argv), env=_environment(config), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
    )


def _environment(config: Path) -> dict[str, str]:
    return {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C.UTF-8", "LANGUAGE": "C"}


def _found(argv: Sequence[str]) -> list[str]:
    if shutil.which(argv[0]) is None:
        raise HostError(
            f"{argv[0]} is not on this machine",
            "The lab takes its kernels and libraries from Debian packages: use Debian or Ubuntu.",
        )
    return processes.tethered(argv)


def depends(record: Record) -> Iterator[str]:
    """Names of the packages that a record depends on: the first of each set of alternatives."""
    for field in ("Pre-Depends", "Depends"):
        for clause in record.get(field, "").split(","):
            if name := re.match(r"\s*([a-z0-9][a-z0-9.+-]+)", clause):
                yield name[1]


def pin(record: Record) -> PackagePin:
    """The lock's form of a package record."""
    return PackagePin(
        name=record["Package"],
        version=record["Version"],
        sha256=record["SHA256"],
        size=int(record["Size"]),
        filename=record["Filename"],
    )


def download_configuration(folder: Path) -> Path:
    """Writes the configuration for apt's downloader: the host's proxy settings, nothing else of it."""
    config = folder / "apt.conf"
    config.touch(mode=0o600)
    config.write_text(_configuration(folder))
    return config


def _configuration(state: Path) -> str:
    own = {
        "Dir": state,
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Etc": state / "etc",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::netrc": "/etc/apt/auth.conf",
        "Dir::Etc::netrcparts": "/etc/apt/auth.conf.d",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "true",  # the lists stay compressed: 10 instead of 60 MB
        "Acquire::Check-Valid-Until": "true",
        "Acquire::http::Proxy::localhost": "DIRECT",
        "Acquire::http::Proxy::127.0.0.1": "DIRECT",
        "Debug::NoLocking": "true",
    }
    lines = [f'{key} "{value}";' for key, value in own.items()]
    return "\n".join([*_host_settings(), *lines, ""])


def _host_settings() -> list[str]:
    """How this machine reaches the network (proxies, retries), from its apt configuration."""
    try:
        done = subprocess.run(
            ["apt-config", "dump"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return []
    return [line for line in done.stdout.splitlines() if _TAKEN_OVER.match(line)]


def _stanzas(text: str) -> Iterator[Record]:
    for stanza in text.split("\n\n"):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        pairs = (line.partition(": ") for line in unfolded.splitlines() if ": " in line)
        record = {key: value for key, _, value in pairs}
        if {"Package", "Version", "SHA256", "Size", "Filename"} <= record.keys():
            yield record
