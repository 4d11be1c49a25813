"""The page as a person and a browser meet it: stepping, links, hostile text, size, accessibility."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page
from synthetic_run import FAILED, GREW, brk

from orchestrator.report.html import page as html
from orchestrator.report.results import of_run

Show = Callable[..., Page]


def test_evidence_links_lead_to_the_line(tmp_path: Path, show: Show) -> None:
    run = brk(tmp_path / "run")
    run.record.findings = [GREW, FAILED]
    page = show(html.render(of_run(run.record, tmp_path / "run")))
    link = page.locator("article.finding a[href^='#e-']").first
    link.click()
    assert page.locator(":target").count() == 1
