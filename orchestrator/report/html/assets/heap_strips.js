"use strict";
/*
 * heap_strips.js: each heap as a whole, as a strip to its own scale; the one that the map shows has the map's part
 * framed. Pressing a strip shows its heap in the map, at the place that was pressed.
 */
(() => {
  const { el } = lab;
  const { SAME } = lab.heap;
  const HEIGHT = 22; // pixels; of them
  const EDGE = 3; // above and below the chunks, which ticks and frame reach into

  class Strips {
    /* `told`: {pick(region, position or null)}. */
    constructor(ink, told) {
      this.ink = ink;
      this.told = told;
      this.node = el("div", { class: "strips", role: "group", "aria-label": "Heaps, each to its own scale" });
      this.strips = [];
      this.kept = new Map(); // region -> its strip without marks
    }

    show(moment) {
      this.kept.clear();
      this.strips = moment.regions.map((region) => this.strip(region));
      this.node.replaceChildren(...this.strips.map((one) => one.node), ...more(moment));
    }

    strip(region) {
      const canvas = el("canvas", {});
      const changed = changes(region);
      const says = `${lab.bytes(region.length)}, ${region.raw ? region.raw.chunks : region.count} chunks`;
      const node = el("button", { type: "button", class: "strip" },
        el("span", {}, region.name, " ", el("span", { class: "muted" }, says),
          changed ? el("span", { class: "changed" }, ` ${changed} changed`) : null), canvas);
      node.addEventListener("click", (event) => {
        const inside = event.target === canvas;
        this.told.pick(region, inside ? (event.offsetX / canvas.clientWidth) * region.length : null);
      });
      return { region, node, canvas };
    }

    choose(region) {
      for (const strip of this.strips) strip.node.setAttribute("aria-pressed", String(strip.region === region));
    }

    /* `marks`: [{region, position, colour}]; `seen`: [region, from, to] that the map shows. */
    paint(marks, seen) {
      for (const { region, canvas } of this.strips) {
        const width = canvas.clientWidth || 300;
        const scale = region.length / width; // bytes of a pixel
        const context = lab.heap.sized(canvas, width, HEIGHT);
        context.drawImage(this.chunks(region, width, scale), 0, 0, width, HEIGHT);
        for (const mark of marks.filter((one) => one.region === region)) {
          context.fillStyle = this.ink.colour(mark.colour);
          context.fillRect(mark.position / scale - 1, 0, 3, HEIGHT);
        }
        if (region !== seen[0]) continue;
        context.strokeStyle = this.ink.colour("--ink");
        context.lineWidth = 2;
        context.strokeRect(seen[1] / scale + 1, 2, Math.max((seen[2] - seen[1]) / scale - 2, 3), HEIGHT - 4);
      }
    }

    /* A strip without its marks, drawn once for each width. */
    chunks(region, width, scale) {
      const kept = this.kept.get(region);
      if (kept && kept.width === width) return kept.canvas;
      const canvas = el("canvas", {});
      const context = lab.heap.sized(canvas, width, HEIGHT);
      lab.heap.dense(context, this.ink, region, 0, scale, [0, EDGE, width, HEIGHT - 2 * EDGE]);
      context.strokeStyle = this.ink.colour("--line");
      context.strokeRect(0.5, EDGE + 0.5, width - 1, HEIGHT - 2 * EDGE - 1);
      this.kept.set(region, { width, canvas });
      return canvas;
    }
  }

  function changes(region) {
    let count = 0;
    for (let place = 0; place < region.count; place += 1) if (region.change(place) !== SAME) count += 1;
    return count;
  }

  function more(moment) {
    const { heaps, mapped } = moment.raw.more;
    const left = [heaps && `${heaps} more heaps`, mapped && `${mapped} more chunks with mappings of their own`];
    const says = left.filter(Boolean).join(" and ");
    return says ? [el("p", { class: "muted" }, `${says} are not drawn.`)] : [];
  }

  lab.heap.Strips = Strips;
})();
