"""The heap's picture in a browser: map and lists choose the same chunk, steps show what changed, all is usable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from heap_samples import (
    AFTER,
    BEFORE,
    HEAP,
    addresses,
    bin_of,
    check,
    format_line,
    main_arena,
    mapped,
    run_of,
    tcache,
    thread,
    thread_arena,
    two_moments,
    walk,
)
from playwright.sync_api import Page, expect
from test_html_heap import MANY, many

from orchestrator.collect.ptmalloc import rules
from orchestrator.report.html import heap
from orchestrator.report.html import page as html
from orchestrator.report.results import of_run

Show = Callable[..., Page]
GUTTER = 116  # pixels left of the map's rows on a wide screen


@pytest.fixture
def picture(tmp_path: Path, show: Show) -> Callable[..., Page]:
    """A page of a run with these heaps at its checkpoints."""

    def made(*moments: Sequence[dict[str, Any]], **options: Any) -> Page:
        run = run_of(tmp_path / "run", *moments)
        return show(html.render(of_run(run.record, tmp_path / "run")), **options)

    return made


def canvas(page: Page) -> Any:
    return page.locator("canvas.heap-map")


def details(page: Page) -> Any:
    return page.locator(".heap .details")


def in_list(page: Page, address: int) -> Any:
    return page.locator(f".heap-lists button.chunk[title^='{address:#x},']")


def test_the_map_and_the_lists_choose_the_same_chunk(picture: Callable[..., Page]) -> None:
    page, at = picture(*two_moments()), addresses(BEFORE)
    canvas(page).focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(in_list(page, at[2])).to_have_attribute("aria-pressed", "true")
    text = details(page).inner_text()
    for part in (hex(at[2]), "48 B (0x30); size word 0x31", "PREV_INUSE 1", "IS_MMAPPED 0", "in a thread's cache",
                 "tcache 1 of thread 214, 1 of 1", "usable 40 B", hex(at[2] + 16)):  # fmt: skip
        assert part in text
    in_list(page, at[5]).click()
    expect(in_list(page, at[5])).to_have_attribute("aria-pressed", "true")
    expect(in_list(page, at[2])).to_have_attribute("aria-pressed", "false")
    expect(details(page)).to_contain_text("in the unsorted bin")
    details(page).get_by_role("button", name=hex(at[4])).click()  # the neighbour
    expect(details(page)).to_contain_text("main_arena, chunk 5 of 7")
    page.keyboard.press("ArrowLeft")  # the first checkpoint is shown: nothing happens
    expect(details(page)).to_contain_text("main_arena, chunk 5 of 7")


def test_pointing_shows_the_same_chunk_in_both(picture: Callable[..., Page]) -> None:
    page, at = picture(*two_moments()), addresses(BEFORE)
    canvas(page).scroll_into_view_if_needed()
    canvas(page).hover(position={"x": GUTTER + 5, "y": 16})
    expect(page.locator(".heap .read")).to_contain_text(f"{HEAP:#x}  656 B in use: tcache of thread 214")
    in_list(page, at[5]).hover()
    expect(page.locator(".heap .read")).to_contain_text(f"{at[5]:#x}  128 B unsorted, unsorted bin, 1 of 1")
    in_list(page, at[2]).focus()
    expect(page.locator(".heap .read")).to_contain_text(f"{at[2]:#x}  48 B tcache, tcache 1, 1 of 1")
    place = page.evaluate("""([address, gutter]) => {
        const box = document.querySelector("canvas.heap-map").getBoundingClientRect();
        const bytes = Number(document.querySelector(".heap .tools .muted").textContent.split(" ")[0]);
        const x = gutter + (address % bytes) / bytes * (box.width - gutter) + 3;
        return [x, 6 + Math.floor(address / bytes) * 26 + 9];
    }""", [at[2] - HEAP, GUTTER])  # fmt: skip
    canvas(page).hover(position={"x": place[0], "y": place[1]})
    expect(page.locator(".heap-lists button.near")).to_have_attribute("title", f"{at[2]:#x}, 1 of 1 in tcache 1")
    canvas(page).click(position={"x": place[0], "y": place[1]})
    expect(in_list(page, at[2])).to_have_attribute("aria-pressed", "true")


def test_zoom_and_scroll(picture: Callable[..., Page]) -> None:
    page = picture(*two_moments())
    scale = page.locator(".heap .tools .muted")
    expect(scale).to_have_text("128 B a row")
    page.get_by_role("button", name="Zoom out").click()
    expect(scale).to_have_text("256 B a row")
    canvas(page).scroll_into_view_if_needed()
    canvas(page).hover(position={"x": 300, "y": 40})
    page.mouse.wheel(0, 100)  # scrolls the page: the map has no focus
    expect(scale).to_have_text("256 B a row")
    canvas(page).click(position={"x": 300, "y": 40})
    page.mouse.wheel(0, 100)
    expect(scale).to_have_text("512 B a row")
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(scale).to_have_text("128 B a row")
    read = page.locator(".heap .read")
    canvas(page).hover(position={"x": GUTTER + 5, "y": 16})
    expect(read).to_contain_text("656 B")
    page.mouse.down()
    page.mouse.move(*_screen(page, GUTTER + 5, 16 - 6 * 26))  # six rows up
    page.mouse.up()
    canvas(page).hover(position={"x": GUTTER + 90, "y": 16})
    expect(read).not_to_contain_text("656 B")
    page.keyboard.press("End")
    canvas(page).hover(position={"x": GUTTER + 5, "y": 40})
    expect(read).to_contain_text("4096 B top")
    page.keyboard.press("0")
    canvas(page).hover(position={"x": GUTTER + 6, "y": 16})
    expect(read).to_contain_text("656 B")


def _screen(page: Page, x: float, y: float) -> tuple[float, float]:
    box = canvas(page).bounding_box()
    assert box is not None
    return box["x"] + x, box["y"] + y


def test_steps_show_what_changed(picture: Callable[..., Page]) -> None:
    page, at = picture(*two_moments()), addresses(AFTER)
    expect(page.locator(".heap .changes")).to_contain_text("no earlier look")
    page.keyboard.press("ArrowRight")
    changes = page.locator(".heap .changes")
    expect(changes).to_contain_text("Since 0 one")
    for says in ("1 now in use", "1 now free", "1 merged", "2 split", "2 new", "1 the top"):
        expect(changes).to_contain_text(says)
    changes.get_by_role("button", name="now free").click()
    expect(in_list(page, at[1])).to_have_attribute("aria-pressed", "true")
    expect(details(page)).to_contain_text("now free; it was 48 B in use")
    changes.get_by_role("button", name="merged").click()
    expect(details(page)).to_contain_text("it was 64 B in use")
    split = changes.get_by_role("button", name="split")
    split.click()
    expect(details(page)).to_contain_text(f"{at[4]:#x}")
    split.click()
    expect(details(page)).to_contain_text(f"it was in {addresses(BEFORE)[5]:#x}, 128 B unsorted, unsorted bin")
    page.locator(".heap .strip", has_text="mappings of their own").click()
    canvas(page).focus()
    page.keyboard.press("ArrowDown")
    expect(details(page)).to_contain_text("in use, with a mapping of its own")
    expect(details(page)).to_contain_text("IS_MMAPPED 1")


@pytest.mark.parametrize("protected", [True, False])
def test_links_are_told_as_glibc_keeps_them(picture: Callable[..., Page], protected: bool) -> None:
    chunks = [(656, "u"), (48, "t"), (48, "t"), (64, "T")]
    at = addresses(chunks)
    cache = tcache(1, [at[2], at[1]])
    page = picture([format_line(safe_linking=protected), main_arena(), *walk(chunks), *cache, thread()])
    in_list(page, at[2]).click()
    text = details(page).inner_text()
    assert hex(at[1]) in text
    kept = rules.reveal(at[2] + 16, at[1] + 16)  # protecting and revealing are the same
    assert (f"= {kept:#x}" in text) == protected and ("does not protect links" in text) != protected
    in_list(page, at[1]).click()
    expect(details(page)).to_contain_text("nothing: it is the last")


def test_arenas_of_threads(picture: Callable[..., Page]) -> None:
    arena, chunks = 0x7F1000000030, [(64, "u"), (128, "n"), (64, "u"), (8192, "T")]
    first = arena + 0x8D0
    at = addresses(chunks, first)
    records = [format_line(), main_arena(), *walk([*BEFORE[:2], (256, "T")]), thread_arena(arena, 1, top=at[3]),
               *walk(chunks, first, arena, info=arena - 0x30, start=arena - 0x30),
               bin_of("unsorted", 1, [at[1]], arena), mapped(0x7E0000000000, 0x21000), thread(),
               thread(215, arena=arena, tcache=0)]  # fmt: skip
    page = picture(records)
    strips = page.locator(".heap .strip")
    expect(strips).to_have_count(3)
    expect(strips.nth(0)).to_have_attribute("aria-pressed", "true")
    in_list(page, at[1]).click()
    expect(strips.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".heap .main h4")).to_contain_text(f"arena 1 {arena - 0x30:#x} to ")
    in_list(page, at[3]).click()
    expect(details(page)).to_contain_text("the top chunk")


def test_a_damaged_heap_says_so_at_the_address(picture: Callable[..., Page]) -> None:
    at, stray = addresses(BEFORE), 0x4141414141414140
    records = [format_line(), main_arena(),
               *walk(BEFORE[:3], tail="", broken={"at": at[3], "why": "its size is 0x0"}, end=HEAP + 0x21000),
               bin_of("unsorted", 1, [at[2], stray], broken={"at": stray, "why": "is not mapped"}),
               check("walk-ends-at-top", ok=False, detail="its size is 0x0", glibc="corrupted top size", at=at[3]),
               ]  # fmt: skip
    page = picture(records)
    alarm = page.locator(".heap .alarm")
    expect(alarm).to_contain_text("walk-ends-at-top")
    expect(alarm).to_contain_text("glibc: corrupted top size")
    expect(alarm).to_contain_text(f"unsorted 1 of main_arena: is not mapped at {stray:#x}")
    assert (alarm.locator("a").first.get_attribute("href") or "").startswith("#")
    alarm.get_by_role("button", name=hex(at[3])).click()
    expect(details(page)).to_contain_text(f"No chunk of this process has {at[3]:#x} here")
    expect(page.locator(".heap .list.broken")).to_contain_text("can be followed no further")
    title = f"{stray:#x}, 2 of 2 in unsorted bin, in no heap"
    expect(page.locator(".heap-lists .stray")).to_have_attribute("title", title)


def test_where_the_lab_did_not_look(picture: Callable[..., Page]) -> None:
    first, second = two_moments()
    page = picture(first, [], second)
    page.keyboard.press("ArrowRight")
    note = page.locator(".heap .note")
    expect(note).to_contain_text("did not look at the heap at this checkpoint. It did at 0 one and 2 three.")
    expect(canvas(page)).to_be_hidden()
    note.get_by_role("button", name="2 three").click()
    expect(page.locator(".heap .changes")).to_contain_text("Since 0 one")


def test_100_000_chunks_are_drawn_once_and_marked_often(picture: Callable[..., Page]) -> None:
    page = picture(many(MANY, 1))
    expect(page.locator(".heap .strip")).to_contain_text(f"{MANY} chunks")
    page.evaluate("""() => {
        window.drawn = 0;
        const fill = CanvasRenderingContext2D.prototype.fillRect;
        CanvasRenderingContext2D.prototype.fillRect = function (...box) { window.drawn += 1; fill.apply(this, box); };
    }""")
    canvas(page).scroll_into_view_if_needed()
    for x in range(200, 400, 20):
        canvas(page).hover(position={"x": x, "y": 60})
    expect(page.locator(".heap .read")).to_contain_text(" B ")
    assert page.evaluate("window.drawn") < 200
    canvas(page).click(position={"x": 300, "y": 60})
    for _ in range(12):
        page.keyboard.press("+")
    page.evaluate("window.drawn = 0")
    page.keyboard.press("PageDown")  # only what is to be seen
    assert 0 < page.evaluate("window.drawn") < 20_000
    table = page.locator(".heap details.figures", has_text="Chunks of main_arena")
    table.locator("summary").click()
    expect(table.locator("tbody tr")).to_have_count(500)


def test_stretches_say_what_they_are(picture: Callable[..., Page], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "MAX_CHUNKS", 500)
    page = picture(many(1000, 2))
    expect(page.locator(".heap .note")).to_contain_text("more chunks than the page can hold")
    canvas(page).focus()
    page.keyboard.press("ArrowDown")
    expect(details(page)).to_contain_text("chunks begin here")


def test_hostile_text_is_text(picture: Callable[..., Page]) -> None:
    evil = "</script><img src=x onerror=alert(1)><b>\u202e"
    first, _ = two_moments()
    lists = [bin_of(evil, 1, [HEAP]), *tcache(3, [1 << 70, -5, 0], size=1 << 80)]
    records = [format_line(glibc=evil), main_arena(broken={"at": HEAP, "why": evil}, **{evil: 1 << 90}), *first[2:],
               *lists, thread(10**300, tcache_state=evil), check(evil, ok=False, detail=evil, glibc=evil, at=-1),
               ]  # fmt: skip
    page = picture(records)
    expect(page.locator(".heap .flaws")).to_contain_text("<img src=x")
    assert page.locator(".heap img, .heap script").count() == 0
    page.get_by_text("malloc's own numbers").click()
    expect(page.locator(".heap details[open]")).to_contain_text("<img src=x")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 1400), ("light", 420), ("dark", 420)])
def test_accessible_and_no_wider_than_the_screen(picture: Callable[..., Page], scheme: str, width: int) -> None:
    _, second = two_moments()
    damaged = [*second, check("one", ok=False, detail="no", at=HEAP + 656)]
    page = picture(damaged, scheme=scheme, width=width)
    in_list(page, addresses(AFTER)[1]).click()
    for summary in page.locator(".heap details summary").all():
        summary.click()
    found = Axe().run(page, context=".heap")
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
