"""Takes the pictures of docs/tutorial.md and README.md anew, from a run of docs/life: real pages, a real browser.

    .venv/bin/python docs/pictures/take.py            runs docs/life and the scenario cost in guests first
    .venv/bin/python docs/pictures/take.py RUN COST   takes them from these runs of the two
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import palette
from playwright.sync_api import FloatRect, Locator, Page, sync_playwright

from orchestrator.report import results
from orchestrator.report.html import page as html

HERE = Path(__file__).parent
SCENARIO = HERE.parent / "life"
COUNTED = "cost"  # the lab's scenario with costs in instructions
BROWSERS = ("chromium", "chromium-browser", "google-chrome")  # else Playwright's own
LIMIT = 150 << 10  # bytes of a picture
MARGIN = 8  # pixels around it


@dataclass(frozen=True)
class Shot:
    """One picture: a figure of the page at a checkpoint, without what stands from ``until`` on (a selector in it)."""

    name: str
    checkpoint: str
    figure: str
    until: str = "details.figures"  # the tables
    press: str = ""  # what is clicked before
    width: int = 1000  # of the window


SHOTS = (
    Shot("exec", "exec", "address_space", width=1200),
    Shot("grown", "grown", "address_space", width=1200),
    Shot("walk", "touched", "page_tables"),
    Shot("fault", "touched", "fault_path"),
    Shot("freed", "freed", "heap"),
    Shot("sorted", "sorted", "heap", press=".heap-lists button.chunk >> nth=-1"),
    Shot("thread", "thread", "thread_stacks"),
    Shot("last", "last", "heap"),
)
# The README's: the steps above, and this figure.
TOP = Shot("report", "allocated", "address_space", until=".space-legend + p", width=1200)
COST = Shot("cost", "exec", "cost", until=".cost + p")  # of the other run


def run(scenario: str, folder: Path) -> Path:
    """A new run of a scenario. Raises SystemExit where it does not pass."""
    code = "from orchestrator.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "run", scenario, "-o", str(folder), "-q"], check=False)
    if done.returncode:
        sys.exit(f"{scenario} did not pass: no pictures of that")
    return folder


@contextmanager
def opened(content: str) -> Iterator[Page]:
    """The page in Chromium: light, without animation."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        file.write_text(content, encoding="utf-8")
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        context = chromium.new_context(color_scheme="light",
                                       reduced_motion="reduce")  # fmt: skip
        page = context.new_page()
        context.new_page()  # for palette.reduced()
        page.goto(file.as_uri())
        page.evaluate("document.querySelector('nav.steps').style.position = 'static'")  # else it follows the reader
        yield page
        chromium.close()


def step(page: Page, shot: Shot) -> None:
    """Goes to the checkpoint; all pictures follow."""
    page.set_viewport_size({"width": shot.width, "height": 900})
    page.locator("nav.steps button", has_text=shot.checkpoint).first.click()


def take(page: Page, shot: Shot) -> None:
    """Writes one picture: the figure, from its top to where it shall end, with a margin."""
    step(page, shot)
    figure = page.locator(f"figure[data-picture='{shot.figure}']").first
    if shot.press:
        figure.locator(shot.press).click()
    page.mouse.move(0, 0)
    host = box(page, figure.locator(".host"))
    ends = [box(page, one)["y"] for one in figure.locator(shot.until).all() if one.is_visible()]
    bottom = min([*(end - MARGIN for end in ends), host["y"] + host["height"]])
    write(page, shot.name, host | {"height": bottom - host["y"]})


def top(page: Page) -> None:
    """Writes the README's picture: the steps, and the figure below them."""
    step(page, TOP)
    start = box(page, page.locator("section.pictures").first)
    last = box(page, page.locator(f"figure[data-picture='{TOP.figure}'] {TOP.until}").first)
    write(page, TOP.name, start | {"height": last["y"] - start["y"] - 2 * MARGIN})


def box(page: Page, what: Locator) -> dict[str, float]:
    """Where an element is on the whole page."""
    found = what.bounding_box()
    assert found is not None
    return {"x": found["x"], "y": found["y"] + page.evaluate("scrollY"), "width": found["width"],
            "height": found["height"]}  # fmt: skip


def write(page: Page, name: str, place: dict[str, float]) -> None:
    """Writes that part of the page, and says how large it is. Raises SystemExit for one that is too large."""
    file = HERE / f"{name}.png"
    clip = FloatRect(x=place["x"] - MARGIN, y=place["y"] - MARGIN, width=place["width"] + 2 * MARGIN,
                     height=place["height"] + 2 * MARGIN)  # fmt: skip
    content = palette.reduced(page.context.pages[1], page.screenshot(clip=clip, full_page=True))
    print(f"{file.name}: {clip['width']:.0f} x {clip['height']:.0f}, {len(content) >> 10} KiB")
    if len(content) > LIMIT:
        sys.exit(f"{file.name} has more than {LIMIT >> 10} KiB")
    file.write_bytes(content)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(word) for word in sys.argv[1:3]] or \
            [run(str(SCENARIO), Path(folder) / "life"), run(COUNTED, Path(folder) / "cost")]
        contents = [html.render(results.read([place])) for place in places]
    for content, shots in zip(contents, (SHOTS, (COST,)), strict=False):
        with opened(content) as page:
            if shots is SHOTS:
                top(page)
            for shot in shots:
                take(page, shot)


if __name__ == "__main__":
    main()
