"use strict";
/*
 * heap_ink.js: how a chunk looks: a colour and a pattern for each state, from the page's own colours, and the marks of
 * what changed. The same for the map, its strips and the legend.
 */
(() => {
  const COLOURS = {
    u: "--c-inuse", t: "--c-tcache", f: "--c-fastbin", n: "--c-free", s: "--c-free", l: "--c-free", T: "--c-top",
    p: "--k-guard", "?": "--fail", m: "--c-mmapped",
  };
  const MARKS = { a: "●", f: "○", l: "◆", m: "▶", s: "◀", c: "◧", n: "✚", t: "▲", r: "↔" };
  const ORDER = "umtfnsl?pT"; // states from the bottom up, where chunks are thinner than a pixel
  const TILE = 8; // pixels of a pattern
  const BODY = 0.26; // of a chunk's colour behind its pattern, so that text on it is legible
  const NARROW = 14; // pixels below which a chunk has no text, and all of its colour

  /* What is drawn on a tile of a state's pattern; in use is plain. */
  const PATTERNS = {
    t: (ink) => { line(ink, -2, 10, 10, -2); line(ink, -2, 2, 2, -2); line(ink, 6, 10, 10, 6); },
    f: (ink) => { line(ink, -2, -2, 10, 10); line(ink, 6, -2, 10, 2); line(ink, -2, 6, 2, 10); },
    n: (ink) => line(ink, 0, 4, 8, 4),
    s: (ink) => { ink.fillRect(1, 1, 2, 2); ink.fillRect(5, 5, 2, 2); },
    l: (ink) => { line(ink, 0, 4, 8, 4); line(ink, 4, 0, 4, 8); },
    T: (ink) => ink.fillRect(3, 3, 1, 1),
    p: (ink) => ink.fillRect(0, 0, 8, 8),
    "?": (ink) => { line(ink, 1, 1, 5, 5); line(ink, 5, 1, 1, 5); },
    m: (ink) => line(ink, 4, 0, 4, 8),
  };

  function line(ink, x0, y0, x1, y1) {
    ink.beginPath();
    ink.moveTo(x0, y0);
    ink.lineTo(x1, y1);
    ink.stroke();
  }

  class Ink {
    constructor(node) {
      this.node = node;
      this.fresh();
    }

    /* Reads the page's colours again: they differ in light, dark and on paper. */
    fresh() {
      this.style = getComputedStyle(this.node);
      this.colours = new Map();
      this.tiles = new Map();
    }

    colour(name) {
      if (!this.colours.has(name)) this.colours.set(name, this.style.getPropertyValue(name).trim() || "#888");
      return this.colours.get(name);
    }

    of(state) {
      return this.colour(COLOURS[state] || "--muted");
    }

    pattern(context, state, ratio) {
      const name = `${state}${ratio}`;
      if (!this.tiles.has(name)) {
        const tile = document.createElement("canvas");
        tile.width = tile.height = TILE * ratio;
        const ink = tile.getContext("2d");
        ink.scale(ratio, ratio);
        ink.strokeStyle = ink.fillStyle = this.of(state);
        ink.lineWidth = 1;
        ink.globalAlpha = 0.7;
        if (PATTERNS[state]) PATTERNS[state](ink);
        const made = context.createPattern(tile, "repeat");
        made.setTransform(new DOMMatrix().scale(1 / ratio));
        this.tiles.set(name, made);
      }
      return this.tiles.get(name);
    }

    /* A part of a chunk, [x, x + width): `head` of it, from the left, is the header. */
    chunk(context, state, x, y, width, height, head, ratio) {
      context.globalAlpha = width < NARROW ? 1 - BODY : BODY;
      context.fillStyle = this.of(state);
      context.fillRect(x, y, width, height);
      context.globalAlpha = 1;
      context.fillStyle = this.pattern(context, state, ratio);
      context.fillRect(x, y, width, height);
      context.fillStyle = this.of(state);
      if (head > 0) context.fillRect(x, y, head, height);
      if (width > 3) {
        context.fillRect(x, y, width, 1);
        context.fillRect(x, y + height - 1, width, 1);
      }
    }
  }

  /* A canvas with as many pixels as the screen has for it. Gives its context, in CSS pixels. */
  function sized(canvas, width, height) {
    const ratio = Math.min(Math.max(window.devicePixelRatio || 1, 1), 3);
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.ratio = ratio;
    return context;
  }

  /* How many bytes of each state (by its place in ORDER) each of `width` columns has, of the positions from `from` on.
   * Looks at each chunk once. */
  function shares(region, from, scale, width) {
    const found = new Float64Array(width * ORDER.length);
    const end = from + width * scale;
    const first = Math.max(lab.heap.atMost(region.at, region.count, from) - 1, 0);
    for (let place = first; place < region.count && region.at[place] < end; place += 1) {
      const low = Math.max((region.at[place] - from) / scale, 0);
      const high = Math.min((region.at[place] + region.span(place) - from) / scale, width);
      for (let at = Math.floor(low); at < high; at += 1) {
        const part = Math.min(high, at + 1) - Math.max(low, at);
        for (const [state, share] of region.mix(place)) found[at * ORDER.length + ORDER.indexOf(state)] += part * share;
      }
    }
    return found;
  }

  /* Memory whose chunks are thinner than a pixel: each column is filled by the shares of its bytes. */
  function dense(context, ink, region, from, scale, [x, y, width, height]) {
    const columns = Math.floor(width);
    const found = shares(region, from, scale, columns);
    for (let column = 0; column < columns; column += 1) {
      let top = y + height;
      for (let place = 0; place < ORDER.length; place += 1) {
        const part = found[column * ORDER.length + place] * height;
        if (part === 0) continue;
        context.fillStyle = ink.of(ORDER[place]);
        context.fillRect(x + column, top - part, 1, part);
        top -= part;
      }
    }
  }

  Object.assign(lab.heap, { Ink, MARKS, sized, dense });
})();
