"""What all tests share: golden files, which one flag rewrites."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "data" / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens", action="store_true", help="rewrite tests/data/golden with what is rendered now"
    )


def pytest_configure() -> None:
    """In the background of a shell script SIGINT is ignored, and who inherits that keeps it so: a test that interrupts
    would wait for ever."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden("name.txt", text)`` compares the text with the golden file, or rewrites that with the flag."""

    def check(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-goldens"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.exists(), f"{name} has no golden file: run pytest --update-goldens and read what it wrote"
        assert text == file.read_text(encoding="utf-8"), f"differs from {name}: pytest --update-goldens, then git diff"

    return check
