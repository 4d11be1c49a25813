"""The page of a comparison and that of the ledger, as a person and a browser meet them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from claims_samples import NEW, OLD, built, demonstration, finding, make
from compare_samples import compared, two_kernels
from hostile_run import BAD, hostile
from hostile_run import finding as hostile_finding
from playwright.sync_api import Page, expect

from orchestrator.model import Evidence, Operand, Outcome
from orchestrator.report import claims_json
from orchestrator.report.html import compare_page, ledger_page

Show = Callable[..., Page]
ROOT = Path(__file__).parents[2]


def axe_complaints(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
            for node in one["nodes"]]  # fmt: skip


# -- the comparison ------------------------------------------------------------------------------


@pytest.fixture
def comparison(tmp_path: Path) -> str:
    return compare_page.render(compared(*two_kernels(tmp_path)))


def test_sides_are_beside_each_other_and_step_together(comparison: str, show: Show) -> None:
    page = show(comparison)
    expect(page.locator("h1")).to_have_text("6.1 and 6.12 compared")
    picture = page.locator("[data-picture=compare]")
    expect(picture.locator("select")).to_have_value("1")  # where most differs
    svg = picture.locator("svg")
    expect(svg).to_have_attribute("aria-label", "Address space at grown: 1 of 10 rows differ")
    expect(svg.get_by_text("4 KiB, 0 res.").first).to_be_visible()
    expect(svg.get_by_text("8 KiB, 0 res.").first).to_be_visible()
    picture.get_by_role("button", name="Checkpoint before").click()
    expect(svg).to_have_attribute("aria-label", "Address space at start: 0 of 9 rows differ")
    assert svg.get_by_text("[heap]").count() == 0
    picture.get_by_role("button", name="Next that differs").click()
    expect(svg.get_by_text("[heap]").first).to_be_attached()
    picture.get_by_text("Figures at grown").click()
    row = picture.locator("tr", has_text="[heap]")
    expect(row).to_contain_text("8192")


def test_arrow_keys_step_the_picture(comparison: str, show: Show) -> None:
    page = show(comparison)
    page.locator("[data-picture=compare]").get_by_role("button", name="Next that differs").scroll_into_view_if_needed()
    page.locator("[data-picture=compare]").get_by_role("button", name="Checkpoint before").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-picture=compare] select")).to_have_value("0")
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-picture=compare] select")).to_have_value("1")


def test_reasons_have_links_and_evidence(comparison: str, show: Show) -> None:
    page = show(comparison)
    table = page.locator("table.differences").first
    expect(table.get_by_role("link", name="0123456789ab").first).to_have_attribute(
        "href", "https://git.kernel.org/torvalds/c/0123456789ab")
    table.get_by_text("Evidence").first.click()
    expect(table.get_by_text("evidence/01-grown/proc/214/smaps").first).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1400), ("light", 420)])
def test_a_comparison_is_accessible_and_fits(comparison: str, show: Show, scheme: str, width: int) -> None:
    page = show(comparison, scheme=scheme, width=width)
    for summary in page.locator("details > summary").all():
        summary.click()
    assert axe_complaints(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_runs_compared_stay_text(tmp_path: Path, show: Show) -> None:
    for name, outcome in (("one", Outcome.FAIL), ("other", Outcome.PASS)):
        run = hostile(tmp_path / name)
        run.record.findings = [hostile_finding(outcome)]
        run.record.case["kernel"] += name
        run.directory.save(run.record)
    page = show(compare_page.render(compared(tmp_path / "one", tmp_path / "other")))
    assert page.locator("img, iframe, object, embed, link, base, form").count() == 0
    assert not set(page.locator("body").inner_text()) & set("\u202e\u2066\x1b\x07\x00\u2028\u2029")
    assert page.locator("a[href]:not([href^='#']):not([href^='https://'])").count() == 0


# -- the ledger ----------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    demo = demonstration(tmp_path / "scenarios/demo")
    operands = (Operand("note(\"b\")", BAD, (Evidence("evidence/00-start/notes", 3, BAD),)),)
    paths = []
    for name, pair in (("old", OLD), ("mid", ("5.10", "testing")), ("new", NEW)):
        findings = [dataclasses.replace(finding(one, pair[0]), operands=operands) for one in demo.expectations]
        paths.append(make(demo, tmp_path / name, pair, findings=findings))
    return ledger_page.render(built(demo, *paths))


def test_a_cell_opens_its_evidence(ledger: str, show: Show) -> None:
    page = show(ledger)
    page.get_by_role("button", name="x.forms on 7.x with glibc 2.43: confirmed, form 2, proved at P").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("x.forms on 7.x with glibc 2.43")
    expect(dialog).to_contain_text("since then")
    expect(dialog).to_contain_text("evidence/00-start/notes:3")
    expect(dialog).to_contain_text("/new")
    expect(dialog.get_by_role("link", name="0123456789ab")).to_be_visible()
    assert page.locator("dialog img").count() == 0
    assert axe_complaints(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_boundaries_are_rules(ledger: str, show: Show) -> None:
    page = show(ledger)
    cells = page.locator("tr[data-claim='x.forms'] td")
    widths = cells.evaluate_all("all => all.map(one => getComputedStyle(one).borderLeftWidth)")
    assert widths == ["1px", "0px", "4px"]


def test_rows_are_filtered(ledger: str, show: Show) -> None:
    page = show(ledger)
    rows = page.locator("tr.row:visible")
    every = rows.count()
    page.keyboard.press("/")
    page.keyboard.type("long ago")  # in what a form says
    expect(rows).to_have_count(1)
    expect(page.locator("#filter-count")).to_have_text(f"1 of {every} claims")
    page.locator("#filter-text").fill("")
    page.get_by_label("only where something changes").check()
    expect(rows).to_have_count(1)
    page.get_by_label("only where something changes").uncheck()
    page.locator(".filter-verdict[value=refuted]").uncheck()
    expect(rows).to_have_count(every - 1)


def test_arrow_keys_go_from_cell_to_cell(ledger: str, show: Show) -> None:
    page = show(ledger)
    page.locator("tr.row button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused).startswith("x.forms on 5.10 with glibc 2.43")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("x.forms on 7.x with glibc 2.43")
    page.keyboard.press("Escape")
    assert page.evaluate(focused).startswith("x.forms on 7.x")
    assert page.locator("tr.row button[tabindex='0']").count() == 1


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1400), ("light", 420)])
def test_the_whole_ledger_is_accessible_and_fits(show: Show, scheme: str, width: int) -> None:
    made = claims_json.parse((ROOT / "docs/claims.json").read_text(), "claims.json")
    page = show(ledger_page.render(made), scheme=scheme, width=width)
    assert axe_complaints(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator(".ledger-box").evaluate("box => box.scrollTo(0, 2000)")
    head = page.locator("table.ledger thead tr").first.locator("th").nth(1).bounding_box()
    box = page.locator(".ledger-box").bounding_box()
    assert head and box and abs(head["y"] - box["y"]) < 3  # the head stays in sight
