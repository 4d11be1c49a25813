"""The page as a person and a browser meet it: stepping, selecting, links, hostile text, accessibility, size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from hostile_run import hostile
from playwright.sync_api import Page, expect
from synthetic_run import ERRED, FAILED, GREW, HEAP, SKIPPED, STACK, Builder, Map, brk, heap

from orchestrator.model import Ending
from orchestrator.report import results
from orchestrator.report.html import page as html
from orchestrator.report.results import of_run

Show = Callable[..., Page]

SPACE = "[data-picture=address_space]"
STACK_PICTURE = "[data-picture=stack_growth]"


def rendered(run: Builder) -> str:
    return html.render(of_run(run.record, run.directory.path))


def with_stack(path: Path) -> Builder:
    """The main stack grows to its limit, where an access faults."""
    run = Builder(path)
    for name, kib, kind in (("start", 132, "named"), ("deep", 4096, "named"), ("signal-SEGV", 8192, "signal")):
        notes = f"signal.addr={STACK - 8192 * 1024 - 16:#x}\n" if kind == "signal" else "x=1\n"
        run.at(name, Map(STACK - kib * 1024, kib, "rw-p", "[stack]", kib // 2), kind=kind, signal=11, notes=notes)
        folder = run.record.checkpoints[-1].directory
        run.directory.write(f"{folder}/proc/214/limits", LIMITS.encode())
        run.directory.write(f"{folder}/proc/214/syscall", f"-1 {STACK - kib * 1024 + 64:#x} 0x557dfe241fce\n".encode())
    run.record.findings = [GREW]
    return run


LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max stack size            8388608              unlimited            bytes     \n"
)


def axe_complaints(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
            for node in one["nodes"]]  # fmt: skip


def test_stepping_by_click_changes_picture_and_table(tmp_path: Path, show: Show) -> None:
    page = show(rendered(brk(tmp_path / "run")))
    space = page.locator(SPACE)
    expect(space.locator(".space-summary")).to_contain_text("start, process 214")
    assert space.get_by_text("[heap]", exact=True).count() == 0
    page.get_by_role("button", name="1 grown").click()
    expect(space.locator(".space-summary")).to_contain_text("grown, process 214: 21 mappings")
    expect(space.locator("svg text", has_text="appeared 4 KiB")).to_be_visible()
    space.get_by_text("The mappings at grown as a table").click()
    row = space.locator("tr", has_text="[heap]")
    expect(row).to_contain_text(f"{HEAP:#x}")
    expect(row).to_contain_text("appeared 4 KiB")


def test_arrow_keys_step_from_anywhere_and_stop_at_the_ends(tmp_path: Path, show: Show) -> None:
    page = show(rendered(brk(tmp_path / "run")))
    summary = page.locator(f"{SPACE} .space-summary")
    page.keyboard.press("ArrowLeft")
    expect(summary).to_contain_text("start")
    page.locator(".finding summary").first.focus()
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    expect(summary).to_contain_text("exit")
    expect(page.locator("[aria-current=step]")).to_have_text("6exit")
    expect(page.locator(".steps [aria-live]")).to_have_text("Checkpoint 7 of 7: exit")
    expect(page.locator(SPACE).get_by_text("The program has ended")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(f"{SPACE} svg text", has_text="went 4 KiB")).to_be_visible()


def test_all_pictures_follow_and_highlight_the_same_mapping(tmp_path: Path, show: Show) -> None:
    page = show(rendered(with_stack(tmp_path / "run")))
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(page.locator(f"{STACK_PICTURE} .space-summary")).to_contain_text("stack of 8 MiB, RLIMIT_STACK 8 MiB")
    expect(page.locator(STACK_PICTURE).get_by_text("✗ fault")).to_be_visible()
    expect(page.locator(STACK_PICTURE).get_by_text("end of the guard gap, 256 pages")).to_be_visible()
    row = page.locator(f"{SPACE} g.row[aria-label^='[stack]']")
    row.focus()
    page.keyboard.press("Enter")
    expect(row).to_have_attribute("aria-pressed", "true")
    assert page.locator(f"{STACK_PICTURE} g.column.same").count() == 1
    page.keyboard.press("Enter")
    assert page.locator(f"{STACK_PICTURE} g.column.same").count() == 0


def test_no_stack_picture_where_the_stack_stays(tmp_path: Path, show: Show) -> None:
    run = Builder(tmp_path / "run").at("start").at("grown", heap(4))
    page = show(rendered(run))
    assert page.locator(SPACE).count() == 1
    assert page.locator(STACK_PICTURE).count() == 0


def test_evidence_links_lead_to_the_very_line(tmp_path: Path, show: Show) -> None:
    run = brk(tmp_path / "run")
    run.record.findings = [GREW, FAILED]
    page = show(rendered(run))
    page.get_by_role("link", name="evidence/01-grown/proc/214/smaps:41").click()
    assert page.locator(":target").get_attribute("class") == "cited"
    assert "41" in page.locator(":target").inner_text()


def test_table_of_figures_links_its_evidence(tmp_path: Path, show: Show) -> None:
    page = show(rendered(with_stack(tmp_path / "run")))
    page.get_by_text("The stack at each checkpoint as a table").click()
    page.locator(STACK_PICTURE).get_by_role("link", name="8 MiB").first.click()
    assert "Max stack size" in page.locator(":target").inner_text()


def test_hostile_text_stays_text(tmp_path: Path, show: Show) -> None:
    run = hostile(tmp_path / "run")
    page = show(rendered(run))
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    for summary in page.locator("details > summary").all():
        summary.click()
    assert page.locator("img, iframe, object, embed, link, base, form").count() == 0
    assert page.evaluate("[...document.scripts].every(s => s.type === 'application/json' || s.textContent)")
    assert page.locator("script").count() == page.locator("body script").count()
    text = page.locator("body").inner_text()
    assert "<img src=x onerror=alert(1)>" in text
    assert not set(text) & set("\u202e\u2066\x1b\x07\x00\u2028\u2029")
    assert page.locator("a[href]:not([href^='#']):not([href^='https://'])").count() == 0
    assert "root:" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_run_is_accessible(tmp_path: Path, show: Show, scheme: str) -> None:
    run = with_stack(tmp_path / "run")
    run.record.findings = [GREW, FAILED, SKIPPED, ERRED]
    page = show(rendered(run), scheme=scheme)
    page.keyboard.press("ArrowRight")
    for summary in page.locator("details > summary").all():
        summary.click()
    assert axe_complaints(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_many_runs_are_accessible(tmp_path: Path, show: Show, scheme: str) -> None:
    page = show(many(tmp_path), scheme=scheme)
    page.get_by_role("link", name="brk on 6.12 with trixie: FAIL").click()
    assert axe_complaints(page) == []


def many(path: Path) -> str:
    """Four runs: one passed, one failed, one panicked, one was interrupted."""
    for number, (kernel, userland, findings, ending) in enumerate((
        ("6.1", "bookworm", [GREW], Ending.COMPLETED), ("6.12", "trixie", [FAILED], Ending.COMPLETED),
        ("7.x", "testing", [GREW], Ending.PANIC), ("5.10", "bullseye", [GREW], Ending.INTERRUPTED),
    )):  # fmt: skip
        run = brk(path / "runs" / str(number))
        run.record.findings, run.record.case = findings, run.record.case | {"kernel": kernel, "userland": userland}
        if ending is not Ending.COMPLETED:
            run.end(ending, "Kernel panic - not syncing: no init", 4, "boot\nKernel panic - not syncing: no init\n")
        run.directory.save(run.record)
    return html.render(results.read([path / "runs"]))


def test_overview_leads_to_each_case_and_says_how_it_ended(tmp_path: Path, show: Show) -> None:
    page = show(many(tmp_path))
    overview = page.locator("table.overview")
    for word in ("PASS", "FAIL", "PANIC", "INTERRUPTED"):
        assert overview.get_by_role("link", name=word).count() == 1
    overview.get_by_role("link", name="PANIC").click()
    case = page.locator("details.case[open]")
    expect(case.locator(".alarm .title")).to_have_text("The guest's kernel panicked")
    expect(case.locator(".alarm")).to_contain_text("Kernel panic - not syncing: no init")
    expect(case.locator("svg").first).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(case.locator(".space-summary").first).to_contain_text("grown")


def test_nothing_is_wider_than_a_telephone(tmp_path: Path, show: Show) -> None:
    page = show(rendered(with_stack(tmp_path / "run")), width=420)
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_paper_has_no_dark_ground_and_no_buttons(tmp_path: Path, show: Show) -> None:
    page = show(rendered(brk(tmp_path / "run")), scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav.steps").is_visible()
    assert page.locator(f"{SPACE} svg").first.is_visible()
