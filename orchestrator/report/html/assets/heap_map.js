"use strict";
/*
 * heap_map.js: the map of one region: rows of memory like those of a hex dump, each as many bytes (a power of two) as
 * the zoom says, all to the same scale; chunks flow from row to row. Drawn on a canvas; what is under the pointer is
 * found by binary search.
 */
(() => {
  const { el } = lab;
  const { amount, atMost, hex, MARKS, SAME } = lab.heap;
  const ROWS = 14;
  const ROW = 26; // pixels; of them GAP between rows
  const GAP = 7;
  const TOP = 6; // pixels above the first row
  const LEAST = 128; // bytes of a row
  const HEADER = 16;
  const MOST = 0.75; // of the chunks, which must be to be seen at first
  const CLOSER = 8; // times, from which on it is worth to leave the others out of sight
  const DENSE = 2; // pixels that a chunk of a row has on average, below which columns show the shares of their bytes

  /* Where the chunks end, without the top. */
  function used(region) {
    const last = region.count - 1;
    if (last < 0) return region.length;
    return region.state(last) === "T" ? region.at[last] : region.length - region.rest;
  }

  class HeapMap {
    /* `told`: {hover(place or -1), pick(place), view()}. */
    constructor(host, ink, told) {
      this.ink = ink;
      this.told = told;
      this.canvas = el("canvas", { class: "heap-map", tabindex: "0", role: "application" });
      this.chunks = el("canvas", {}); // what is drawn of them
      this.region = null;
      this.chosen = this.near = -1;
      this.flawed = []; // positions
      this.range = null;
      this.own = false; // whether a person chose what is to be seen
      host.append(this.canvas);
      this.listen();
    }

    /* Shows a region; `keep`: in the same scale and place as now. */
    show(region, flawed, keep) {
      this.region = region;
      this.flawed = flawed;
      this.chosen = this.near = -1;
      this.used = used(region);
      if (keep && this.own) this.view(this.bytes, this.first);
      else this.begin();
    }

    /* The bytes of a row, so that positions up to `end` are to be seen. */
    bytesFor(end) {
      let bytes = LEAST;
      while (Math.ceil(this.offset(bytes, Math.max(end, 1)) / bytes) > ROWS - 1) bytes *= 2;
      return bytes;
    }

    /* All chunks but the top, which is often larger than all others. */
    fit() {
      this.own = false;
      this.view(this.bytesFor(this.used), 0);
    }

    /* As fit(), but where a few large chunks at the end would make all others very small, without those. */
    begin() {
      const most = Math.ceil((this.region.count - 1) * MOST);
      const close = most > 0 ? this.bytesFor(this.region.at[most]) : Infinity;
      this.fit();
      if (this.bytes / close >= CLOSER) this.view(close, 0);
    }

    /* Where a position is drawn, from the beginning of the first row: rows begin at multiples of their length. */
    offset(bytes, position) {
      return position + (this.region.mapped ? 0 : Number(BigInt.asUintN(64, this.region.start) % BigInt(bytes)));
    }

    get shift() { return this.offset(this.bytes, 0); }
    get rows() { return Math.max(Math.ceil((this.region.length + this.shift) / this.bytes), 1); }

    view(bytes, first) {
      let most = LEAST;
      while (most * ROWS < this.region.length) most *= 2;
      this.bytes = Math.min(Math.max(bytes, LEAST), most * 2);
      this.visible = Math.min(this.rows, ROWS);
      this.first = Math.min(Math.max(Math.round(first), 0), this.rows - this.visible);
      this.draw();
      this.told.view();
    }

    /* Twice or half as many bytes a row; the position stays in the row of the screen where it is. */
    zoom(times, position) {
      const at = position === undefined ? this.positionAt(0, (this.visible / 2) | 0) : position;
      const row = Math.floor(this.offset(this.bytes, at) / this.bytes) - this.first;
      const most = this.bytes;
      this.bytes = Math.max(this.bytes * times, LEAST);
      this.own = true;
      this.view(this.bytes, Math.floor(this.offset(this.bytes, at) / this.bytes) - row);
      if (this.bytes === most && times !== 1) this.told.view();
    }

    scroll(rows) {
      this.own = true;
      this.view(this.bytes, this.first + rows);
    }

    /* Scrolls to a position unless it is to be seen. */
    reveal(position) {
      const row = Math.floor(this.offset(this.bytes, position) / this.bytes);
      if (row < this.first || row >= this.first + this.visible) {
        this.own = true;
        this.view(this.bytes, row - (this.visible >> 1));
      }
    }

    centre(position) {
      this.own = true;
      this.view(this.bytes, Math.floor(this.offset(this.bytes, position) / this.bytes) - (this.visible >> 1));
    }

    /* The positions that are to be seen. */
    get seen() {
      const from = this.first * this.bytes - this.shift;
      return [Math.max(from, 0), Math.min(from + this.visible * this.bytes, this.region.length)];
    }

    mark(chosen, near) {
      if (chosen === this.chosen && near === this.near) return;
      this.chosen = chosen;
      this.near = near;
      this.over();
    }

    get gutter() { return this.width < 560 ? 54 : 116; }
    positionAt(x, row) {
      return (this.first + row) * this.bytes - this.shift + x * (this.bytes / (this.width - this.gutter - 1));
    }

    /* ---- drawing */

    /* The chunks, and over them what is marked; the chunks are kept, as the marks follow the pointer. */
    draw() {
      if (!this.region) return;
      this.width = this.canvas.clientWidth || 600;
      const context = lab.heap.sized(this.chunks, this.width, TOP + this.visible * ROW);
      this.scale = this.bytes / (this.width - this.gutter - 1); // bytes of a pixel
      for (let row = 0; row < this.visible; row += 1) this.row(context, row);
      this.over();
    }

    over() {
      const context = lab.heap.sized(this.canvas, this.width, TOP + this.visible * ROW);
      context.drawImage(this.chunks, 0, 0, this.width, TOP + this.visible * ROW);
      for (const position of this.flawed) this.flaw(context, position);
      if (this.range) this.ranged(context);
      if (this.near >= 0) this.outline(context, this.near, "--accent", 2);
      if (this.chosen >= 0) this.outline(context, this.chosen, "--ink", 3);
    }

    row(context, row) {
      const { region, ink } = this;
      const y = TOP + row * ROW;
      const from = (this.first + row) * this.bytes - this.shift;
      const low = Math.max(from, 0);
      const high = Math.min(from + this.bytes, region.length);
      context.font = "12px ui-monospace, 'DejaVu Sans Mono', monospace";
      context.textBaseline = "middle";
      context.fillStyle = ink.colour("--muted");
      if (!region.mapped) {
        const text = hex(region.start + BigInt(Math.round(from)));
        context.fillText(this.gutter > 60 ? text : "…" + text.slice(-5), 0, y + (ROW - GAP) / 2);
      }
      const x = (position) => this.gutter + (position - from) / this.scale;
      context.fillStyle = ink.colour("--line");
      context.fillRect(x(low), y + ROW - GAP - 1, x(high) - x(low), 1);
      const begin = Math.max(atMost(region.at, region.count, low) - 1, 0);
      const end = atMost(region.at, region.count, high - 1);
      const room = [this.gutter, y, this.width - this.gutter, ROW - GAP];
      const thin = region.stretches || end - begin > room[2] / DENSE;
      if (thin) lab.heap.dense(context, ink, region, from, this.scale, room);
      else for (let place = begin; place < end; place += 1) this.part(context, place, from, y, low, high);
      this.around(context, low, high, x, y);
    }

    /* One chunk's part of a row. */
    part(context, place, from, y, low, high) {
      const { region, ink } = this;
      const begin = region.at[place];
      const end = begin + region.span(place);
      if (end <= low) return;
      const left = this.gutter + (Math.max(begin, low) - from) / this.scale;
      const right = this.gutter + (Math.min(end, high) - from) / this.scale;
      const state = region.state(place);
      const height = ROW - GAP;
      const gap = right - left > 4 ? 1 : 0;
      const width = Math.max(right - left - gap, 0.75);
      const head = Math.min(HEADER - Math.max(low - begin, 0), end - begin) / this.scale;
      const first = begin >= low;
      ink.chunk(context, state, left, y, width, height, head >= 1.5 ? Math.min(head, width) : 0, context.ratio);
      let text = left + (head >= 1.5 ? Math.max(head, 0) : 0) + 3;
      const change = region.change(place);
      if (change !== SAME) {
        context.fillStyle = ink.colour("--accent");
        context.fillRect(left, y + height, width, 3);
        if (first && left + width - text >= 12) {
          context.font = "11px 'DejaVu Sans', sans-serif";
          context.fillText(MARKS[change], text, y + height / 2);
          text += 13;
        }
      }
      if (first || low === Math.max(from, 0)) this.label(context, place, state, text, left + width, y, first);
    }

    label(context, place, state, left, right, y, first) {
      const size = amount(this.region.size(place));
      const name = this.told.name(place);
      const texts = first ? [`${size} ${name}`, size] : [`… ${name}`];
      context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
      for (const text of texts) {
        if (left + context.measureText(text).width <= right - 2) {
          context.fillStyle = this.ink.colour("--ink");
          context.fillText(text, left, y + (ROW - GAP) / 2);
          return;
        }
      }
    }

    /* Memory of the region that is in no chunk. */
    around(context, low, high, x, y) {
      const { region } = this;
      const parts = [[0, region.lead, "heap_info and malloc_state"],
        [region.length - region.rest, region.length, "not in a chunk"]];
      for (const [from, to, text] of parts) {
        const left = x(Math.max(from, low));
        const right = x(Math.min(to, high));
        if (right - left < 1) continue;
        context.setLineDash([3, 3]);
        context.strokeStyle = this.ink.colour("--muted");
        context.strokeRect(left + 0.5, y + 0.5, right - left - 1, ROW - GAP - 1);
        context.setLineDash([]);
        context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
        context.fillStyle = this.ink.colour("--muted");
        if (context.measureText(text).width < right - left - 8) context.fillText(text, left + 4, y + (ROW - GAP) / 2);
      }
    }

    /* The rows of the screen that positions [begin, end) take, as [x, y, width]. */
    boxes(begin, end) {
      const found = [];
      for (let row = 0; row < this.visible; row += 1) {
        const from = (this.first + row) * this.bytes - this.shift;
        const low = Math.max(begin, from);
        const high = Math.min(end, from + this.bytes);
        if (low >= high) continue;
        found.push([this.gutter + (low - from) / this.scale, TOP + row * ROW, (high - low) / this.scale]);
      }
      return found;
    }

    outline(context, place, colour, width) {
      const begin = this.region.at[place];
      const boxes = this.boxes(begin, begin + this.region.span(place));
      context.lineWidth = width;
      for (const [x, y, length] of boxes) {
        context.strokeStyle = this.ink.colour("--paper");
        context.lineWidth = width + 2;
        context.strokeRect(x - 1, y - 1, Math.max(length, 2) + 1, ROW - GAP + 2);
        context.strokeStyle = this.ink.colour(colour);
        context.lineWidth = width;
        context.strokeRect(x - 1, y - 1, Math.max(length, 2) + 1, ROW - GAP + 2);
      }
      context.lineWidth = 1;
    }

    /* Something that does not hold there: the chunk in red, and a pointer to the very address. */
    flaw(context, position) {
      const place = this.region.place(position);
      if (place >= 0) this.outline(context, place, "--fail", 3);
      for (const [x, y] of this.boxes(position, position + 1)) {
        context.fillStyle = this.ink.colour("--fail");
        context.fillRect(x - 1, y - 2, 2, ROW - GAP + 4);
        context.beginPath();
        context.moveTo(x, y + 6);
        context.lineTo(x - 7, y - 6);
        context.lineTo(x + 7, y - 6);
        context.fill();
        context.font = "bold 12px system-ui, 'DejaVu Sans', sans-serif";
        const left = Math.min(x + 9, this.width - 92);
        context.fillStyle = this.ink.colour("--paper");
        context.fillRect(left, y + 2, 92, ROW - GAP - 4);
        context.fillStyle = this.ink.colour("--fail");
        context.fillText("does not hold", left + 3, y + (ROW - GAP) / 2);
      }
    }

    ranged(context) {
      context.setLineDash([6, 3]);
      context.strokeStyle = this.ink.colour("--accent");
      context.lineWidth = 2;
      for (const [x, y, length] of this.boxes(...this.range)) context.strokeRect(x, y - 2, length, ROW - GAP + 4);
      context.lineWidth = 1;
      context.setLineDash([]);
    }

    /* ---- pointer and keys */

    under(event) {
      const row = Math.floor((event.offsetY - TOP) / ROW);
      const x = event.offsetX - this.gutter;
      return row < 0 || row >= this.visible || x < 0 ? -1 : this.positionAt(x, row);
    }

    listen() {
      const { canvas } = this;
      let from = null;
      canvas.addEventListener("pointerdown", (event) => {
        from = { y: event.offsetY, first: this.first, moved: false };
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (from) {
          const rows = Math.round((from.y - event.offsetY) / ROW);
          if (rows || from.moved) {
            from.moved = true;
            this.own = true;
            this.view(this.bytes, from.first + rows);
          }
          return;
        }
        const position = this.under(event);
        this.told.hover(position < 0 ? -1 : this.region.place(position));
      });
      canvas.addEventListener("pointerup", (event) => {
        const position = from && !from.moved ? this.under(event) : -1;
        from = null;
        const place = position < 0 ? -1 : this.region.place(position);
        if (place >= 0) this.told.pick(place);
      });
      canvas.addEventListener("pointercancel", () => { from = null; });
      canvas.addEventListener("pointerleave", () => this.told.hover(-1));
      canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      canvas.addEventListener("keydown", (event) => this.key(event));
    }

    /* The wheel zooms where the map has the focus, or with Ctrl; else it scrolls the page. */
    wheel(event) {
      if (document.activeElement !== this.canvas && !event.ctrlKey) return;
      event.preventDefault();
      if (event.shiftKey) {
        this.scroll(Math.sign(event.deltaY || event.deltaX) * 2);
        return;
      }
      const position = this.under(event);
      this.zoom(event.deltaY > 0 ? 2 : 0.5, position < 0 ? undefined : position);
    }

    key(event) {
      if (event.altKey || event.ctrlKey || event.metaKey || !this.region) return;
      const chosen = this.chosen >= 0 ? this.region.at[this.chosen] : undefined;
      const last = this.region.count - 1;
      const start = Math.max(atMost(this.region.at, this.region.count, this.seen[0]) - 1, 0);
      const acts = {
        "+": () => this.zoom(0.5, chosen), "=": () => this.zoom(0.5, chosen), "-": () => this.zoom(2, chosen),
        0: () => this.fit(), PageDown: () => this.scroll(this.visible - 1), PageUp: () => this.scroll(1 - this.visible),
        Home: () => this.scroll(-Infinity), End: () => this.scroll(this.rows),
        ArrowDown: () => this.step(this.chosen < 0 ? start : Math.min(this.chosen + 1, last)),
        ArrowUp: () => this.step(this.chosen < 0 ? start : Math.max(this.chosen - 1, 0)),
      };
      if (!acts[event.key]) return;
      event.preventDefault();
      acts[event.key]();
    }

    step(place) {
      if (place >= 0 && place !== this.chosen && this.region.count) this.told.pick(place);
    }
  }

  lab.heap.HeapMap = HeapMap;
})();
