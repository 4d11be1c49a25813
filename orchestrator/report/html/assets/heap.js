"use strict";
/*
 * heap.js: the picture of the heap: which process and heap are shown, the map, the lists, the details of the chosen
 * chunk, what does not hold, what changed, and the figures. The other heap_*.js are its parts.
 */
(() => {
  const { el } = lab;
  const { big, hex, key, MARKS, SAME } = lab.heap;
  const STRIP = 16; // pixels
  const CHUNK = /^chunk:(0x[0-9a-f]{1,16})$/;
  const told = (bytes) => (typeof bytes === "number" ? lab.bytes(bytes) : bytes);

  class Picture {
    constructor(host, data, page) {
      this.page = page;
      this.data = data;
      this.model = new lab.heap.Model(data);
      this.pid = null;
      this.moment = null;
      this.region = null;
      this.kept = new Map(); // region -> its strip
      this.root = el("div", { class: "heap" });
      host.append(this.root);
      this.ink = new lab.heap.Ink(this.root);
      this.build();
      page.onStep((step) => this.step(step));
      page.onSelect((name) => this.select(name));
      this.follow();
    }

    /* ---- what does not change */

    build() {
      this.bar = el("div", { class: "bar", role: "group", "aria-label": "Process" });
      this.note = el("p", { class: "note" });
      this.flaws = el("div", { class: "flaws" });
      this.totals = el("ul", { class: "legend" });
      this.changes = el("p", { class: "changes" });
      this.strips = el("div", { class: "strips", role: "group", "aria-label": "Heaps, each to its own scale" });
      const left = el("div", { class: "main" });
      this.title = el("h4", {});
      this.tools = el("div", { class: "tools" });
      this.scaleNote = el("span", { class: "muted" });
      left.append(el("div", { class: "head" }, this.title, this.tools));
      this.map = new lab.heap.HeapMap(left, this.ink, {
        hover: (place) => this.near(place < 0 ? "" : key(this.region.address(place))),
        pick: (place) => this.pick(key(this.region.address(place))),
        view: () => this.viewed(),
        name: (place) => this.facts.title(this.region, place),
      });
      this.read = el("p", { class: "read mono" });
      left.append(this.read);
      this.buttons();
      left.append(el("p", { class: "muted hint" }, "Click into the map; then the wheel or + and − zoom, dragging or Page Up and Page Down scroll, ↑ and ↓ go to the ",
        `chunk before and behind. The darker left end of a chunk is its header: ${this.data.header} bytes, to scale. Where chunks are thinner than two pixels, each column is filled by the shares of its bytes.`));
      this.details = el("div", { class: "details", "aria-live": "polite" });
      const lists = el("div", { class: "side" });
      this.lists = new lab.heap.Lists(lists, { near: (name) => this.near(name), pick: (name) => this.pick(name) });
      this.body = el("div", { class: "body" }, this.totals, this.changes, this.strips,
        el("div", { class: "pair" }, left, this.details), el("h4", {}, "Lists"), lists);
      this.root.append(this.bar, this.note, this.flaws, this.body);
      this.tables = lab.heap.tables(this.root);
    }

    buttons() {
      const button = (text, label, act) => el("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
      this.tools.append(this.scaleNote,
        button("+", "Zoom in: fewer bytes a row", () => this.map.zoom(0.5, this.zoomAt())),
        button("−", "Zoom out: more bytes a row", () => this.map.zoom(2, this.zoomAt())),
        button("↑", "Towards lower addresses", () => this.map.scroll(-4)),
        button("↓", "Towards higher addresses", () => this.map.scroll(4)),
        button("fit", "All chunks but the top", () => this.map.fit()));
    }

    zoomAt() {
      return this.map.chosen >= 0 ? this.region.at[this.map.chosen] : undefined;
    }

    /* Draws again when colours or width change. */
    follow() {
      const again = () => {
        this.ink.fresh();
        this.kept.clear();
        this.paint();
      };
      for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", again);
      let width = 0;
      new ResizeObserver(() => {
        const now = this.root.clientWidth;
        if (now === width) return;
        width = now;
        this.paint();
      }).observe(this.root);
    }

    paint() {
      if (!this.moment || !this.region) return;
      this.map.draw();
      this.swatches();
      this.paintStrips();
    }

    /* ---- a checkpoint, a process, a heap */

    step(index) {
      const step = this.page.steps[index];
      const found = this.model.of(step ? step.index : index);
      const main = found.map((number) => this.data.moments[number]).find((one) => one.pid === one.main);
      const pids = found.map((number) => this.data.moments[number].pid);
      const pid = pids.includes(this.wanted) ? this.wanted : main ? main.pid : pids[0];
      this.bar.replaceChildren(...(pids.length > 1 ? pids.map((one) => this.process(one, pid, main)) : []));
      const number = found[pids.indexOf(pid)];
      this.read.textContent = "";
      if (number === undefined) this.nothing(step);
      else this.show(number);
    }

    process(pid, shown, main) {
      return el("button", {
        type: "button", "aria-pressed": String(pid === shown),
        onclick: () => {
          this.wanted = pid;
          this.step(this.page.step);
        },
      }, `process ${pid}${main && pid === main.pid ? ", stopped here" : ""}`);
    }

    /* No evidence here: where there is some. */
    nothing(step) {
      this.moment = this.region = null;
      this.body.hidden = true;
      this.tables.hide(true);
      this.flaws.replaceChildren();
      const there = [...new Set(this.data.moments.map((one) => one.step))];
      const at = (wanted) => this.page.steps.findIndex((one) => one.index === wanted);
      const here = step ? step.index : 0;
      const before = there.filter((one) => one < here).pop();
      const behind = there.find((one) => one > here);
      const go = (wanted) => el("button", { type: "button", onclick: () => this.page.go(at(wanted)) }, this.stepName(wanted));
      this.note.replaceChildren("The lab did not look at the heap at this checkpoint. It did at ",
        ...[before, behind].filter((one) => one !== undefined && at(one) >= 0).flatMap((one, place) => (place ? [" and ", go(one)] : [go(one)])), ".");
    }

    stepName(index) {
      const step = this.page.steps.find((one) => one.index === index);
      return step ? `${step.index} ${step.name}` : String(index);
    }

    show(number) {
      const moment = this.model.moment(number);
      const { raw } = moment;
      const old = this.region && this.moment && raw.pid === this.moment.raw.pid ? this.region : null;
      this.body.hidden = Boolean(raw.trouble) || !moment.regions.length;
      this.tables.hide(this.body.hidden);
      this.moment = moment;
      this.kept.clear();
      this.before = typeof raw.before === "number" ? this.model.moment(raw.before) : null;
      this.facts = new lab.heap.Facts(moment, this.before, { pick: (name) => this.pick(name), evidence: (file, line) => this.evidence(file, line) });
      this.said();
      if (raw.trouble) {
        this.region = null;
        return;
      }
      this.alarms();
      this.legend();
      this.change();
      this.lists.show(moment);
      this.drawn = moment.regions.map((region) => this.strip(region));
      this.strips.replaceChildren(...this.drawn.map((one) => one.node), ...this.moreHeaps());
      const same = moment.regions.find((one) => old && one.start === old.start && one.name === old.name);
      const first = this.flawed.length ? this.flawed[0].region : moment.regions[0];
      this.heap(same || first || null, Boolean(same));
      this.tables.show(moment, this.facts, () => this.region);
      this.select(this.page.selected || "");
    }

    said() {
      const { raw } = this.moment;
      const parts = [];
      if (raw.trouble) parts.push(`The heap of process ${raw.pid} can't be shown: ${raw.trouble}`);
      else if (!this.moment.regions.length) parts.push(`Process ${raw.pid} has no heap yet.`);
      else parts.push(`Process ${raw.pid}, glibc ${raw.malloc.glibc || "of unknown version"}.`);
      if (raw.whole === false) parts.push(" There are more chunks than the page can hold: each heap is drawn as stretches of memory, filled by the shares of their bytes. ",
        el("code", {}, "lab inspect RUN heap"), " has every chunk.");
      this.note.replaceChildren(...parts);
    }

    heap(region, keep) {
      this.region = region;
      for (const strip of this.drawn || []) strip.node.setAttribute("aria-pressed", String(strip.region === region));
      if (!region) return;
      this.title.replaceChildren(region.name, " ", el("span", { class: "muted" }, this.reach(region)));
      this.map.canvas.setAttribute("aria-label", `Map of ${region.name}: ${region.count} chunks. Plus and minus zoom, up and down go to the chunk before and behind.`);
      this.map.show(region, this.flawed.filter((one) => one.region === region).map((one) => one.position), keep);
      this.swatches();
      this.paintStrips();
      this.tables.region(region);
    }

    reach(region) {
      if (region.mapped) return `${lab.bytes(region.length)}, one behind the other; the gaps between them are left out`;
      const { raw } = region;
      const broken = raw.tail || region.stretches ? "" : "; the walk breaks off";
      const more = raw.trouble ? `; ${raw.trouble}` : raw.guessed ? "; that a chunk begins at the first address is a guess" : "";
      return `${raw.start || raw.first} to ${raw.end}, ${lab.bytes(region.length)}, ${raw.chunks} chunks${broken}${more}`;
    }

    viewed() {
      this.scaleNote.textContent = `${lab.bytes(this.map.bytes)} a row`;
      this.paintStrips();
    }

    /* ---- strips: each heap as a whole */

    strip(region) {
      const canvas = el("canvas", {});
      const node = el("button", { type: "button", class: "strip" },
        el("span", {}, region.name, " ", el("span", { class: "muted" }, `${lab.bytes(region.length)}, ${region.raw ? region.raw.chunks : region.count} chunks`)), canvas);
      node.addEventListener("click", (event) => {
        if (this.region !== region) this.heap(region, false);
        if (event.target === canvas) this.map.centre((event.offsetX / canvas.clientWidth) * region.length);
      });
      return { region, node, canvas };
    }

    moreHeaps() {
      const { heaps, mapped } = this.moment.raw.more;
      const left = [heaps && `${heaps} more heaps`, mapped && `${mapped} more chunks with mappings of their own`].filter(Boolean);
      return left.length ? [el("p", { class: "muted" }, `${left.join(" and ")} are not drawn.`)] : [];
    }

    paintStrips() {
      for (const { region, canvas } of this.drawn || []) {
        const width = canvas.clientWidth || 300;
        const scale = region.length / width;
        const context = lab.heap.sized(canvas, width, STRIP + 6);
        context.drawImage(this.chunksOf(region, width, scale), 0, 0, width, STRIP + 6);
        for (const one of this.flawed) if (one.region === region) this.tick(context, one.position / scale, "--fail");
        for (const [name, colour] of [[this.hovered, "--accent"], [this.page.selected, "--ink"]]) {
          const found = this.found(name);
          if (found && found.region === region) this.tick(context, region.at[found.place] / scale, colour);
        }
        if (region === this.region) {
          const [from, to] = this.map.seen;
          context.strokeStyle = this.ink.colour("--ink");
          context.lineWidth = 2;
          context.strokeRect(from / scale + 1, 2, Math.max((to - from) / scale - 2, 3), STRIP + 2);
        }
      }
    }

    /* A strip without its marks, drawn once for each width. */
    chunksOf(region, width, scale) {
      if (this.kept.has(region) && this.kept.get(region).width === width) return this.kept.get(region).canvas;
      const canvas = el("canvas", {});
      const context = lab.heap.sized(canvas, width, STRIP + 6);
      lab.heap.dense(context, this.ink, region, 0, scale, [0, 3, width, STRIP]);
      context.strokeStyle = this.ink.colour("--line");
      context.strokeRect(0.5, 3.5, width - 1, STRIP - 1);
      this.kept.set(region, { width, canvas });
      return canvas;
    }

    tick(context, x, colour) {
      context.fillStyle = this.ink.colour(colour);
      context.fillRect(x - 1, 0, 3, STRIP + 6);
    }

    /* ---- states, changes, flaws */

    legend() {
      const rows = this.moment.raw.totals;
      this.totals.replaceChildren(...rows.map(([state, chunks, bytes]) => {
        const canvas = el("canvas", { "data-state": state });
        return el("li", { title: this.data.states[state][1] }, canvas, el("b", {}, this.data.states[state][0]), ` ${chunks}`,
          el("span", { class: "muted" }, ` ${told(bytes)}`));
      }));
      this.swatches();
    }

    swatches() {
      for (const canvas of this.totals.querySelectorAll("canvas")) {
        const context = lab.heap.sized(canvas, 30, 18);
        this.ink.chunk(context, canvas.dataset.state, 0, 0, 30, 18, 5, context.ratio);
      }
    }

    change() {
      const { raw } = this.moment;
      this.changes.replaceChildren();
      if (!this.before) {
        this.changes.append(el("span", { class: "muted" }, raw.whole ? `There is no earlier look at process ${raw.pid} to compare with.` : ""));
        return;
      }
      const counts = Object.entries(raw.changes);
      this.changes.append(`Since ${this.stepName(this.before.raw.step)}: `);
      if (!counts.length && !raw.gone.length) this.changes.append("no chunk changed.");
      for (const [letter, count] of counts) {
        this.changes.append(el("button", { type: "button", "data-change": letter, title: "Goes to the next of them", onclick: () => this.next(letter) },
          el("span", { class: "sign", "aria-hidden": "true" }, MARKS[letter]), ` ${count} ${this.data.changes[letter]}`));
      }
      const more = raw.more.gone ? [` and ${raw.more.gone} more`] : [];
      const gone = raw.gone.map(([address, bytes, chunks, mapped]) => `${mapped ? "the mapped chunk" : `the heap with ${chunks} chunks at`} ${address} (${told(bytes)})`);
      if (gone.length) this.changes.append(el("span", {}, ` Gone: ${gone.slice(0, 6).join(", ")}${gone.length > 6 ? ` and ${gone.length - 6} more` : ""}${more}.`));
    }

    /* The next chunk that changed so, behind the chosen one, in all heaps. */
    next(letter) {
      const found = this.found(this.page.selected);
      let number = found ? found.region.base + found.place : -1;
      for (let tried = 0; tried < this.moment.count; tried += 1) {
        number = (number + 1) % this.moment.count;
        const at = this.moment.at(number);
        if (at.region.change(at.place) === letter) {
          this.pick(key(at.region.address(at.place)));
          return;
        }
      }
    }

    alarms() {
      const { raw } = this.moment;
      this.flawed = raw.flaws.map((flaw) => (flaw.at ? this.moment.where(big(flaw.at)) : null)).filter(Boolean);
      if (!raw.flaws.length) {
        this.flaws.replaceChildren(el("p", { class: "muted" }, raw.checked ? `Of ${raw.checked} invariants of ptmalloc that the lab checked, all hold.` : "No invariant was checked."));
        return;
      }
      const more = raw.more.flaws ? el("p", {}, `… and ${raw.more.flaws} more`) : null;
      this.flaws.replaceChildren(el("div", { class: "alarm", role: "note" },
        el("p", { class: "title" }, `⚠ ${raw.flaws.length + (raw.more.flaws || 0)} of what must hold of this heap does not, or could not be read`),
        el("ul", {}, raw.flaws.map((flaw) => this.flaw(flaw))), more));
    }

    flaw(flaw) {
      const at = flaw.at ? el("button", { type: "button", class: "chunk", onclick: () => this.pick("chunk:" + flaw.at) }, flaw.at) : null;
      return el("li", {}, el("b", {}, flaw.what), flaw.arena === null ? "" : ` (arena ${flaw.arena})`, flaw.why ? `: ${flaw.why}` : "", at ? [" at ", at] : null,
        flaw.glibc ? el("span", { class: "muted" }, ` glibc: ${flaw.glibc}`) : null, " ", this.evidence(this.moment.raw.file, flaw.line));
    }

    evidence(file, line) {
      const link = this.page.evidence(file, line);
      const text = `${file.split("/").slice(-2).join("/")}:${line}`;
      return link ? el("a", { href: link }, text) : el("span", { class: "muted", title: `${file}, line ${line}` }, text);
    }

    /* ---- what is pointed at and chosen */

    found(name) {
      const match = CHUNK.exec(name || "");
      return match && this.moment ? this.moment.find(BigInt(match[1])) : null;
    }

    /* Where an address is that is in no chunk. */
    spot(name) {
      const match = CHUNK.exec(name || "");
      return match ? this.moment.where(BigInt(match[1])) : null;
    }

    near(name) {
      if (!this.region || this.hovered === name) return;
      this.hovered = name;
      const found = this.found(name);
      this.lists.near(name);
      this.map.mark(this.map.chosen, found && found.region === this.region ? found.place : -1);
      this.read.textContent = found ? this.facts.line(found.region, found.place) : "";
      this.paintStrips();
    }

    pick(name) {
      const found = this.found(name);
      if (found && found.region !== this.region) this.heap(found.region, false);
      this.page.select(found ? key(found.region.address(found.place)) : name);
    }

    select(name) {
      if (!this.region) return;
      const found = this.found(name);
      const there = found || this.spot(name);
      if (there && there.region !== this.region) this.heap(there.region, false);
      this.map.range = this.ranged(name);
      this.map.mark(found ? found.place : -1, this.map.near);
      if (found) this.map.reveal(found.region.at[found.place]);
      else if (there) this.map.reveal(there.position);
      this.map.over();
      const listed = found && !found.region.stretches ? this.moment.listed(found.region.base + found.place) : null;
      this.lists.choose(found ? key(found.region.address(found.place)) : "", listed);
      this.paintStrips();
      this.tell(name, found);
    }

    /* A page or a mapping that another picture has chosen, as positions of the heap that is shown. */
    ranged(name) {
      const spot = name && !this.found(name) ? this.spot(name) : null;
      if (spot) return spot.region === this.region ? [spot.position, spot.position + 16] : null;
      const match = /^(?:page:(0x[0-9a-f]{1,16})|vma:(0x[0-9a-f]{1,16})-(0x[0-9a-f]{1,16}))$/.exec(name || "");
      if (!match || this.region.mapped) return null;
      const from = BigInt(match[1] || match[2]);
      const to = match[3] ? BigInt(match[3]) : from + 4096n;
      const range = [from, to].map((address) => Number(address - this.region.start));
      return range[1] > 0 && range[0] < this.region.length ? range : null;
    }

    tell(name, found) {
      if (found) {
        this.details.replaceChildren(el("h4", {}, found.region.stretches ? "The chosen stretch" : "The chosen chunk"),
          el("dl", {}, this.facts.rows(found.region, found.place).flatMap(([title, says]) => [el("dt", {}, title), el("dd", {}, says)])));
        return;
      }
      const why = name.startsWith("chunk:") ? `No chunk of this process has ${name.slice(6)} here.` : "Choose a chunk in the map or in a list: its size, flags, links and neighbours are shown here.";
      this.details.replaceChildren(el("h4", {}, "The chosen chunk"), el("p", { class: "muted" }, why));
    }
  }

  lab.picture("heap", (host, data, page) => { new Picture(host, data, page); });
})();
