"""A screenshot as a PNG file of at most 256 colours: a third of the size, and the same to the eye."""

from __future__ import annotations

import base64
import struct
import zlib

from playwright.sync_api import Page

# Decoding is the browser's. Colours that are nearly the same (the edges of letters) are one; the most frequent stay,
# and any other becomes the nearest of them.
_REDUCE = """
async source => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const bytes = context.getImageData(0, 0, image.width, image.height).data;
  const pixels = new Uint32Array(bytes.buffer), counts = new Map(), likes = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) || 0) + 1);
  for (const [pixel, count] of counts) {
    const like = pixel & 0xf0f0f0, found = likes.get(like) || {count: 0, pixel};
    likes.set(like, {count: found.count + count, pixel: counts.get(found.pixel) < count ? pixel : found.pixel});
  }
  const kept = [...likes.values()].sort((a, b) => b.count - a.count).slice(0, 256).map(one => one.pixel);
  const parts = kept.map(pixel => [pixel & 255, pixel >> 8 & 255, pixel >> 16 & 255]);
  const index = new Map(kept.map((pixel, at) => [pixel, at]));
  for (const pixel of counts.keys()) {
    if (index.has(pixel)) continue;
    let best = 0, least = Infinity;
    parts.forEach(([r, g, b], at) => {
      const far = (r - (pixel & 255)) ** 2 + (g - (pixel >> 8 & 255)) ** 2 + (b - (pixel >> 16 & 255)) ** 2;
      if (far < least) [best, least] = [at, far];
    });
    index.set(pixel, best);
  }
  let text = "";
  for (const pixel of pixels) text += String.fromCharCode(index.get(pixel));
  return {width: image.width, height: image.height, palette: parts.flat(), pixels: btoa(text)};
}
"""


def reduced(blank: Page, png: bytes) -> bytes:
    """The same picture with a palette; ``blank`` is an empty page: a report's own policy allows no foreign picture."""
    found = blank.evaluate(_REDUCE, "data:image/png;base64," + base64.b64encode(png).decode())
    width, height, pixels = found["width"], found["height"], base64.b64decode(found["pixels"])
    rows = b"".join(b"\0" + pixels[row * width : (row + 1) * width] for row in range(height))
    return b"\x89PNG\r\n\x1a\n" + b"".join((
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        _chunk(b"PLTE", bytes(found["palette"])),
        _chunk(b"IDAT", zlib.compress(rows, 9)),
        _chunk(b"IEND", b""),
    ))  # fmt: skip


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
