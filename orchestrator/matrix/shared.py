"""A guest that serves one case after the other, as long as it is clean."""

from __future__ import annotations

import os

from orchestrator import recording
from orchestrator.errors import GuestError
from orchestrator.inspector import Inspector
from orchestrator.machine.guest import Guest
from orchestrator.matrix import residue
from orchestrator.rundir import RunDirectory, RunRecord


class SharedGuest:
    """A guest with its console log in the directory of its first case, where it grows while that case runs.

    ``key`` says what its boot was made of, ``served`` which cases it has served.
    """

    def __init__(self, key: str, guest: Guest) -> None:
        self.key = key
        self.guest = guest
        self.up = False
        self.served: list[str] = []
        self.inspector: Inspector | None = None  # of the first case that looks inside
        self._sightings = 0  # on the console while it booted
        self._log = -1
        self._state: dict[str, str] = {}  # as the cases found it

    def boot(self) -> None:
        """Raises what entering a Guest raises."""
        self.guest.__enter__()
        self.up = True
        self._sightings = len(self.guest.console.sightings)
        if self.guest.log is not None:
            self._log = os.open(self.guest.log, os.O_RDONLY | os.O_CLOEXEC)  # which soon is another file's name

    def trouble(self) -> str:
        """What the kernel or QEMU has reported since the boot; empty if the guest can serve another case."""
        try:
            self.guest.check()
        except GuestError as error:
            return error.message
        new = self.guest.console.sightings[self._sightings :]
        return f"the guest's kernel reports: {new[0].line.strip()}" if new else ""

    def residue(self, directory: RunDirectory, own: frozenset[str]) -> str:
        """What this case found otherwise than the cases before it; ``own`` are the sysctls that were set for it."""
        now = residue.state(directory.path)
        found = residue.differences(self._state, now, own)
        self._state = {name: value for name, value in now.items() if name not in own} | self._state
        return found

    def keep(self, record: RunRecord, directory: RunDirectory) -> None:
        """What a case's directory keeps of its guest: the boots, the console until now, what was seen on it."""
        recording.keep_console(self.guest, record)
        if self._log < 0:
            return
        temporary = directory.path / ".console.log.new"
        try:
            temporary.write_bytes(os.pread(self._log, os.fstat(self._log).st_size, 0))
            temporary.replace(directory.path / "console.log")
        except OSError as error:
            record.messages.append(f"console.log is incomplete: {error.strerror}")

    def stop(self) -> None:
        """Ends the guest; its console can still be kept."""
        self.up = False
        if self.inspector is not None:
            self.inspector.close()
        self.guest.stop()

    def close(self) -> None:
        """Ends the guest, if it has not ended, and forgets it."""
        self.stop()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
