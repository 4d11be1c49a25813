"""Page tables, fault paths and thread stacks as a person and a browser meet them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from inspect_samples import FRAME, PAGE, TRACE, ZERO, made
from playwright.sync_api import Locator, Page, expect
from synthetic_run import Builder, brk
from thread_samples import BLOCK, threaded

from orchestrator.model import Finding, Outcome
from orchestrator.report.html import page as html
from orchestrator.report.results import of_run

Show = Callable[..., Page]


def rendered(run: Builder) -> str:
    run.directory.save(run.record)
    return html.render(of_run(run.record, run.directory.path))


def picture(page: Page, name: str) -> Locator:
    return page.locator(f"figure[data-picture='{name}'] .host")


def step(page: Page, name: str) -> None:
    page.locator("nav.steps").get_by_role("button", name=name).click()


# -- page tables -------------------------------------------------------------------------------------


def test_the_walk_before_and_after_the_write(tmp_path: Path, show: Show) -> None:
    page = show(rendered(made(tmp_path / "run")))
    walk = picture(page, "page_tables")
    expect(walk.locator("select").first).to_have_value("0")
    expect(walk).to_contain_text("Nothing to compare with")
    step(page, "touched")
    before, now = walk.locator("section").all()
    expect(before).to_contain_text(f"{ZERO:#x}")
    expect(before).to_contain_text("the shared zero page")
    expect(now).to_contain_text(f"{FRAME:#x}")
    expect(now).to_contain_text("another frame")
    expect(now.locator(".pt-cell.is-changed .pt-head abbr")).to_have_text(["PTE"])
    expect(now.locator(".pt-flag.is-added")).to_have_text(["+writable", "+dirty"])
    expect(now.locator(".pt-flag.is-gone")).to_have_text(["−special (no longer set)"])


def test_a_level_that_is_missing_is_shown_as_missing(tmp_path: Path, show: Show) -> None:
    page = show(rendered(made(tmp_path / "run")))
    walk = picture(page, "page_tables")
    chosen = walk.locator("select").first
    chosen.select_option(label=chosen.locator("option", has_text="[stack]").inner_text())
    expect(walk.locator(".pt-cell.is-empty")).to_have_count(2)  # the entry, and the frame
    expect(walk.locator(".pt-stage")).to_contain_text("no page frame: an access faults")
    expect(walk.locator(".pt-history button").first).to_contain_text("no pte")


def test_the_figures_of_a_walk(tmp_path: Path, show: Show) -> None:
    page = show(rendered(made(tmp_path / "run")))
    step(page, "touched")
    figures = picture(page, "page_tables").locator("details.figures")
    figures.locator("summary").click()
    rows = figures.locator("tbody tr")
    expect(rows).to_have_count(10)  # four levels and a frame, twice
    expect(rows.last).to_contain_text("mapcount 1, refcount 1")
    rows.last.locator("a").click()
    expect(page.locator(":target")).to_be_visible()


# -- the way of a fault ------------------------------------------------------------------------------


def test_the_tree_opens_and_closes_by_keyboard(tmp_path: Path, show: Show) -> None:
    page = show(rendered(made(tmp_path / "run")))
    tree = picture(page, "fault_path")
    expect(tree).to_contain_text("No window of the trace ended")
    step(page, "touched")
    says = f"is the frame that the page tables have for {PAGE:#x} at touched"
    expect(tree.locator(".fp-agree")).to_contain_text(says)
    toggle = tree.locator(".fp-toggle").first
    toggle.focus()
    page.keyboard.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    expect(tree.get_by_text("asm_exc_page_fault()")).to_be_hidden()
    page.keyboard.press("Space")
    expect(tree.get_by_text("asm_exc_page_fault()")).to_be_visible()
    tree.get_by_role("button", name="Close all").click()
    expect(tree.get_by_text("exc_page_fault()").last).to_be_hidden()


def test_a_frame_is_the_same_in_both_pictures(tmp_path: Path, show: Show) -> None:
    page = show(rendered(made(tmp_path / "run")))
    step(page, "touched")
    picture(page, "fault_path").locator(f".fp-tree [data-key='frame:{FRAME:#x}']").click()
    pressed = picture(page, "page_tables").locator("[data-key][aria-pressed='true']")
    expect(pressed).to_have_text([f"{FRAME:#x}"])


def test_inlined_functions_are_named(tmp_path: Path, show: Show) -> None:
    run = made(tmp_path / "run")
    run.directory.write("evidence/environment/symbols", b"handle_pte_fault absent\n")
    check = 'sequence("touch", "__handle_mm_fault > handle_pte_fault > do_anonymous_page")'
    run.record.findings.append(Finding("way", "pf.way", "touched", check, "", "", Outcome.PASS))
    page = show(rendered(run))
    step(page, "touched")
    expect(picture(page, "fault_path").locator(".fp-inlined")).to_have_text("contains, inlined: handle_pte_fault()")


# -- stacks of threads -------------------------------------------------------------------------------


def test_a_block_that_is_used_again_is_one_line(tmp_path: Path, show: Show) -> None:
    page = show(rendered(threaded(tmp_path / "run")))
    stacks = picture(page, "thread_stacks")
    row = stacks.locator(".ts-time tbody tr")
    expect(row.locator("th")).to_have_text(f"{BLOCK:#x} 132 KiB")
    expect(row.locator("td")).to_have_text(["thread 301", "cache 1", "thread 302 reused"])
    expect(row.locator("td.is-joined")).to_have_count(2)
    expect(stacks.locator(".ts-one").last.locator(".ts-what")).to_have_text(
        ["guard, ---", "stack, still free", "stack in use, and TLS", "struct pthread"])  # fmt: skip
    stacks.locator(".ts-time").get_by_role("button", name="joined").click()
    expect(page.locator("nav.steps [aria-current='step']")).to_contain_text("joined")
    expect(stacks.locator("h4")).to_have_text("At joined: 1 thread, 1 kept stack (132 KiB)")


def test_the_caption_of_blocks_is_whole_on_a_narrow_page(tmp_path: Path, show: Show) -> None:
    page = show(rendered(threaded(tmp_path / "run")), width=420)
    caption = picture(page, "thread_stacks").get_by_text("Who had each block").first
    box = caption.bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= 420 and box["height"] > 20  # in several lines
    assert caption.evaluate("one => one.closest('.scroll')") is None


# -- all of them -------------------------------------------------------------------------------------


def test_a_run_without_any_of_it_has_none_of_the_pictures(tmp_path: Path, show: Show) -> None:
    page = show(rendered(brk(tmp_path / "run")))
    for name in ("page_tables", "fault_path", "thread_stacks"):
        expect(page.locator(f"figure[data-picture='{name}']")).to_have_count(0)


def test_hostile_text_is_text(tmp_path: Path, show: Show) -> None:
    """Markup in names of functions, flags and mappings; whatever would run opens a dialog, which fails the test."""
    evil = "<img/src=x/onerror=alert(1)>"
    run = made(tmp_path / "run")
    text = TRACE.replace("do_anonymous_page", evil)
    text = text.replace("GFP_HIGHUSER_MOVABLE", "</script><script>alert(1)</script>")
    run.directory.write("evidence/01-touched/trace/events", text.encode())
    for name in ("00-start", "01-touched"):
        file = run.directory.file(f"evidence/{name}/kernel/214.jsonl")
        file.write_text(file.read_text().replace("[heap]", evil))
    page = show(rendered(run))
    step(page, "touched")
    expect(picture(page, "fault_path")).to_contain_text(f"{evil}()")
    expect(picture(page, "page_tables").locator("option", has_text=evil)).to_have_count(1)
    assert page.locator(".host img, .host script:not([type])").count() == 0


def test_accessible_in_both_schemes_and_narrow(tmp_path: Path, show: Show) -> None:
    runs = rendered(made(tmp_path / "a")), rendered(threaded(tmp_path / "b"))
    for text, name in zip(runs, ("touched", "second"), strict=True):
        for scheme, width in (("light", 1400), ("dark", 1400), ("light", 420)):
            page = show(text, scheme, width)
            step(page, name)
            violations = Axe().run(page, context="figure.picture").response["violations"]
            wrong = [f"{one['id']}: {node['html'][:200]}" for one in violations for node in one["nodes"]]
            assert wrong == [], "\n".join(wrong[:8])
            assert page.evaluate("document.documentElement.scrollWidth") <= width
