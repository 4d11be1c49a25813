"""The pictures of the documents: what takes them finds its figures, and makes files that a browser reads."""

from __future__ import annotations

import base64
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser

PICTURES = Path(__file__).parents[2] / "docs/pictures"
READ = """async source => { const image = new Image(); image.src = source; await image.decode();
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
  context.drawImage(image, 0, 0);
  return [image.width, image.height, ...context.getImageData(30, 30, 1, 1).data]; }"""


def test_a_reduced_picture_is_the_same(browser: Browser) -> None:
    reduced: Callable[..., bytes] = runpy.run_path(str(PICTURES / "palette.py"))["reduced"]
    page, blank = browser.new_page(viewport={"width": 200, "height": 100}), browser.new_page()
    page.set_content("<body style='margin:0'><p style='margin:0;width:64px;height:64px;background:#c41'>")
    png = page.screenshot()
    content = reduced(blank, png)
    assert content.startswith(b"\x89PNG") and len(content) < len(png)
    for one in (png, content):
        source = "data:image/png;base64," + base64.b64encode(one).decode()
        assert blank.evaluate(READ, source) == [200, 100, 0xCC, 0x44, 0x11, 255]
    page.close()
    blank.close()


def test_every_picture_is_one_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(PICTURES), *sys.path])
    made = runpy.run_path(str(PICTURES / "take.py"))
    taken = {shot.name for shot in (*made["SHOTS"], made["TOP"], made["COST"])}
    assert taken == {file.stem for file in PICTURES.glob("*.png")}
