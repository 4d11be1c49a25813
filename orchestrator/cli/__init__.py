"""The command line: parses, calls, and turns errors into one clear message and an exit code. No logic."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType


class _Interrupted:
    """Remembers that a signal asked us to end: typer turns KeyboardInterrupt into a silent exit."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt


class Judged(SystemExit):
    """The end of `lab run --bisect`: the run was made, and ``code`` is the answer. Any other end is none."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code)
        self.why = why


def main() -> None:
    """The entry point of ``lab``: every error is one message on stderr and the exit code of its kind."""
    interrupted = _Interrupted()
    code: int | str | None = 3
    judged: Judged | None = None
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a background job of a script
                signal.signal(number, interrupted)
        code = _run()
    except KeyboardInterrupt:
        interrupted.asked = True
    except SystemExit as end:
        code, judged = end.code, end if isinstance(end, Judged) else None
    except Exception:  # a mistake of ours: told in full, and never taken for a failed expectation
        import traceback

        from orchestrator.report.text import inert

        sys.stderr.write(inert(traceback.format_exc()))
    if interrupted.asked:
        _say("interrupted")
        code = 130
    if sys.argv[1:2] == ["run"] and "--bisect" in sys.argv:
        code = _for_git(code, judged)
    sys.exit(code)


def _for_git(code: int | str | None, judged: Judged | None) -> int:
    """The exit code of `lab run --bisect`, and its meaning as the last line. What ended without an answer (an option
    that does not exist, a mirror out of reach, an error of ours) is skipped: never taken for good or bad."""
    from orchestrator.bisection import question

    found, why = question.SKIP_CODE, f"there was no run to judge; without --bisect this is exit {code}"
    if code == question.INTERRUPTED_CODE:
        found, why = question.INTERRUPTED_CODE, ""
    elif judged is not None and isinstance(judged.code, int):
        found, why = judged.code, judged.why
    with contextlib.suppress(OSError):  # who reads is not there any more
        _say(question.meaning(found, why))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # at its end Python would try again, and make exit 120 of it: "bad"
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return found


def _run() -> int:
    """Runs the command; its exit code where an error ended it. Commands end by SystemExit."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed by whoever started us: later files must not get its number
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "w" if number else "r"))
    from orchestrator import resources
    from orchestrator.cli.app import app
    from orchestrator.errors import LabError

    try:
        app()
    except LabError as error:
        _say(error.message)
        if error.hint:
            _say(f"hint: {error.hint}")
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads any more: no second error at exit
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}")
        if error.filename and str(error.filename).startswith(str(resources.cache())):
            _say("hint: the cache must be a folder that can be written; LAB_CACHE names another one")
        return 3
    return 0


def _say(message: str) -> None:
    """One message on stderr; a guest's words in it can't move the terminal."""
    from orchestrator.report.text import clean, inert

    for line in message.splitlines():
        print(f"lab: {inert(clean(line, 2000))}", file=sys.stderr)
