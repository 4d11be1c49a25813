"""Errors that end a command: what happened, where, what to do about it, and the exit code.

The exit codes are the command line's contract: 0 all passed, 1 an expectation failed,
2 usage or configuration, 3 the lab or the host failed, 4 the guest crashed or was lost,
5 a time limit, 130 interrupted.
"""

from __future__ import annotations


class LabError(Exception):
    """The lab or the host failed (exit 3). ``hint`` says what to do about it."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LabError):
    """The user's input is wrong: an option, a name, a file, a line of YAML (exit 2)."""

    exit_code = 2


class HostError(LabError):
    """Something that the lab needs of this machine does not work (exit 3)."""


class PieceError(LabError):
    """A piece can't be resolved, downloaded, verified or built (exit 3)."""


class GuestError(LabError):
    """The guest crashed or was lost (exit 4)."""

    exit_code = 4


class LimitError(LabError):
    """A time limit was reached (exit 5)."""

    exit_code = 5
