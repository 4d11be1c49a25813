"""docs/reference.md is what docs/reference.py writes of the code as it is."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_is_that_of_the_code(golden: Callable[[str, str], None]) -> None:
    golden("../../../docs/reference.md", runpy.run_path(str(DOCS / "reference.py"))["render"]())


def test_every_row_has_the_columns_of_its_table() -> None:
    wide = 0
    for line in (DOCS / "reference.md").read_text(encoding="utf-8").splitlines():
        bars = line.replace(r"\|", "").count("|")
        assert not line.startswith("|") or not wide or bars == wide, line
        wide = bars if line.startswith("|") else 0
