"""The commands in the documents, with the output that is shown of them; and whether a real output has that.

A block of a document shows either a session (`$ lab …`, and what it printed, shortened at `[…]`) or a list of commands
(`lab …`, with two spaces and a remark behind them).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/tutorial.md", "docs/ci.md", "scenarios/README.md")

# Commands that no test runs as they stand, and why; their options are checked all the same.
NOT_RUN = (
    (r"^lab shell\b", "needs a terminal"),
    (r"\./bzImage|\./rootfs|--modules|--qemu|--vmlinux|--bundle", "needs files of the reader's"),
    (r"\b(DIR|RUN|FILE|BUNDLE|\./FOLDER|NAME|mine\.c)\b|\.\.\.|…", "has a placeholder"),
    (r"results/[12]\b", "shards: tests/guest/test_ci.py"),
    (r"^lab matrix\b", "minutes of guests: tests/guest/test_matrix.py"),
    (r"^lab bisect (?!fork --exp)", "several guests: tests/guest/test_bisect.py"),
    (r"^lab compare -", "several guests: tests/unit/test_counterparts.py"),
    (r"^lab (replay|gdb)\b", "needs a recorded run, or a terminal: tests/guest/test_deterministic.py"),
    (r"^lab image\b", "downloads, or changes the cache: tests/guest/test_pieces.py"),
    (r"\blab run brk\b|^lab inspect --live", "a guest for each option: tests/guest/test_run.py has them"),
    (r"^lab run \./mine -k", "a guest more: tests/guest/test_new.py"),
    (r"^README.md:\d+: lab run \./mine", "scenarios/README.md has the same"),
)
GUEST = r"\blab (run|exec|report|inspect|compare|bisect)\b"  # needs a guest, or a run before it; else it is pure
RUN_ALL_THE_SAME = ("lab run brk -q -k 5.10 -u bullseye -D MUTATE_TOUCH", "lab run brk --dry-run")


@dataclass(frozen=True)
class Example:
    """A command of a document, and what is shown of its output: pieces of it, in their order."""

    document: str
    line: int
    command: str
    shown: tuple[str, ...] = ()

    @property
    def left_out(self) -> str:
        """Why no test runs it; empty if one does."""
        if self.command in RUN_ALL_THE_SAME:
            return ""
        return next((why for pattern, why in NOT_RUN
                     if re.search(pattern, self.command) or re.search(pattern, str(self))), "")  # fmt: skip

    @property
    def guest(self) -> bool:
        return bool(re.search(GUEST, self.command))

    @property
    def exit_code(self) -> int:
        """What the shown output says of it, or a control's name."""
        text = " ".join(self.shown)
        if found := re.search(r"\bexit (\d+)", text):
            return int(found[1])
        return int("DIFFERENT" in text or bool(re.search(r"-D MUTATE_", self.command)))

    @property
    def words(self) -> list[str]:
        """The words behind `lab`."""
        words = shlex.split(self.command.rpartition("| ")[2])
        return words[words.index("lab") + 1 :]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.command}"


def examples(document: str) -> list[Example]:
    """All commands of a document."""
    return [example for number, block in _blocks(document) for example in _of_block(document, number, block)]


def _blocks(document: str) -> Iterator[tuple[int, list[str]]]:
    """The blocks without a language, each with the number of its first line."""
    start, lines = 0, (ROOT / document).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            if start and lines[start - 1] == "```":
                yield start + 1, lines[start : number - 1]
            start = 0 if start else number


def _of_block(document: str, first: int, block: list[str]) -> Iterator[Example]:
    starts = [index for index, line in enumerate(block) if line.startswith("$ ")]
    for index, start in enumerate(starts):
        command = block[start][2:]
        until = starts[index + 1] if index + 1 < len(starts) else len(block)
        shown = "\n".join(block[start + 1 : until]).split("[…]")
        if command.startswith("lab "):
            yield Example(document, first + start, command, tuple(part.strip() for part in shown if part.strip()))
    if not starts:
        for index, line in enumerate(block):
            command = re.split(r"\s{2,}", line.strip())[0]
            if re.match(r"(\w+=\S+ |echo \w+ \| )?lab ", command):
                yield Example(document, first + index, command)


# What differs from run to run, and what stands for it.
_CHANGING = (
    (r"\b\d{4}-\d\d-\d\dT[\d:]+(Z|\+00:00)", "TIME"),
    (r"\b\d{8}-\d{6}\b", "TIME"),
    (r"\b[\d.]+ m?s\b", "SECONDS"),
    (r"\b0x[0-9a-f]+|\b[0-9a-f]{12,16}\b", "ADDRESS"),
    (r"\bRSS [\d.]+ [KM]iB( \([^)]*\))?", "RSS"),
    (r"\b(process|thread|threads:|break:) \d+", r"\1 ID"),
    (r"/\d+(\.jsonl|/smaps|/notes)", r"/ID\1"),
    (r"(\.jsonl|/smaps|/notes|/events):\d+", r"\1:LINE"),
    (r"\[\d+\]", "[INDEX]"),
)


def normal(text: str) -> str:
    """Without what differs from run to run, and without line ends: lines break elsewhere where a number is longer."""
    for pattern, word in _CHANGING:
        text = re.sub(pattern, word, text)
    return " ".join(text.split())


def missing(example: Example, printed: str) -> str:
    """The first shown piece that the output does not have behind the one before; empty if it has all."""
    real, at = normal(printed), 0
    for part in map(normal, example.shown):
        found = real.find(part, at)
        if found < 0:
            return part
        at = found + len(part)
    return ""
