"use strict";
/*
 * heap.js: the picture of the heap: which process and heap are shown, and what is pointed at and chosen in it. The
 * other heap_*.js are its parts.
 */
(() => {
  const { el } = lab;
  const { big, key } = lab.heap;
  const CHUNK = /^chunk:(0x[0-9a-f]{1,16})$/;
  const RANGE = /^(?:page:(0x[0-9a-f]{1,16})|vma:(0x[0-9a-f]{1,16})-(0x[0-9a-f]{1,16}))$/;
  const PAGE = 4096n;

  class Picture {
    constructor(host, data, page) {
      this.page = page;
      this.data = data;
      this.model = new lab.heap.Model(data);
      this.moment = null;
      this.region = null;
      this.flawed = []; // [{region, position}]
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
      const evidence = (file, line) => this.evidence(file, line);
      const pick = (name) => this.pick(name);
      this.told = { pick, evidence, near: (name) => this.near(name), next: (letter) => this.next(letter),
        step: (index) => this.stepName(index) };
      this.bar = el("div", { class: "bar", role: "group", "aria-label": "Process" });
      this.notes = new lab.heap.Notes(this.data, this.ink, this.told);
      this.strips = new lab.heap.Strips(this.ink, { pick: (region, position) => this.strip(region, position) });
      this.details = el("div", { class: "details", "aria-live": "polite" });
      const lists = el("div", { class: "side" });
      this.lists = new lab.heap.Lists(lists, this.told);
      this.body = el("div", { class: "body" }, this.notes.totals, this.notes.changes, this.strips.node,
        el("div", { class: "pair" }, this.middle(), this.details), el("h4", {}, "Lists"), lists);
      this.root.append(this.bar, this.notes.line, this.notes.flaws, this.body);
      this.tables = lab.heap.tables(this.root);
    }

    /* The map, what is above and below it. */
    middle() {
      const node = el("div", { class: "main" });
      this.title = el("h4", {});
      this.scale = el("span", { class: "muted" });
      const tools = el("div", { class: "tools" }, this.scale, this.buttons());
      node.append(el("div", { class: "head" }, this.title, tools));
      this.map = new lab.heap.HeapMap(node, this.ink, {
        hover: (place) => this.near(place < 0 ? "" : key(this.region.address(place))),
        pick: (place) => this.pick(key(this.region.address(place))),
        view: () => this.viewed(),
        name: (place) => this.facts.title(this.region, place),
      });
      this.read = el("p", { class: "read mono" });
      node.append(this.read, el("p", { class: "muted hint" },
        "Click into the map; then the wheel or + and − zoom, dragging or Page Up and Page Down scroll, ↑ and ↓ go to " +
        "the chunk before and behind, 0 shows all but the top. The darker left end of a chunk is its header: " +
        `${this.data.header} bytes, to scale. Where chunks are thinner than two pixels, each column is filled by the ` +
        "shares of its bytes."));
      return node;
    }

    buttons() {
      const chosen = () => (this.map.chosen >= 0 ? this.region.at[this.map.chosen] : undefined);
      return [
        ["+", "Zoom in: fewer bytes a row", () => this.map.zoom(0.5, chosen())],
        ["−", "Zoom out: more bytes a row", () => this.map.zoom(2, chosen())],
        ["↑", "Towards lower addresses", () => this.map.scroll(-4)],
        ["↓", "Towards higher addresses", () => this.map.scroll(4)],
        ["fit", "All chunks but the top", () => this.map.fit()],
      ].map(([text, label, act]) =>
        el("button", { type: "button", "aria-label": label, title: label, onclick: act }, text));
    }

    /* Draws again when colours or width change. */
    follow() {
      const again = () => {
        this.ink.fresh();
        this.strips.kept.clear();
        this.paint();
      };
      for (const query of ["(prefers-color-scheme: dark)", "print"]) {
        matchMedia(query).addEventListener("change", again);
      }
      let width = 0;
      new ResizeObserver(() => {
        const now = this.root.clientWidth;
        if (now === width) return;
        width = now;
        this.paint();
      }).observe(this.root);
    }

    paint() {
      if (!this.region) return;
      this.map.draw();
      this.notes.paint();
      this.paintStrips();
    }

    paintStrips() {
      if (!this.region) return;
      const marks = this.flawed.map((one) => ({ ...one, colour: "--fail" }));
      for (const [name, colour] of [[this.hovered, "--accent"], [this.page.selected, "--ink"]]) {
        const found = this.found(name);
        if (found) marks.push({ region: found.region, position: found.region.at[found.place], colour });
      }
      this.strips.paint(marks, [this.region, ...this.map.seen]);
    }

    /* ---- a checkpoint, a process, a heap */

    step(index) {
      const step = this.page.steps[index];
      const found = this.model.of(step.index);
      const pids = found.map((number) => this.data.moments[number].pid);
      const main = found.map((number) => this.data.moments[number]).find((one) => one.pid === one.main);
      const pid = pids.includes(this.wanted) ? this.wanted : main ? main.pid : pids[0];
      this.bar.replaceChildren(...(pids.length > 1 ? pids.map((one) => this.process(one, pid, main)) : []));
      this.read.textContent = "";
      this.flawed = [];
      if (pids.length) this.show(found[pids.indexOf(pid)]);
      else this.nothing(step.index);
    }

    process(pid, shown, main) {
      const choose = () => {
        this.wanted = pid;
        this.step(this.page.step);
      };
      return el("button", { type: "button", "aria-pressed": String(pid === shown), onclick: choose },
        `process ${pid}${main && pid === main.pid ? ", stopped here" : ""}`);
    }

    /* No evidence here: where there is some. */
    nothing(here) {
      this.moment = this.region = null;
      this.hide(true);
      this.notes.clear();
      const there = [...new Set(this.data.moments.map((one) => one.step))];
      const near = [there.filter((one) => one < here).pop(), there.find((one) => one > here)];
      const go = near.map((wanted) => [wanted, this.page.steps.findIndex((one) => one.index === wanted)])
        .filter(([, at]) => at >= 0)
        .map(([wanted, at]) =>
          el("button", { type: "button", onclick: () => this.page.go(at) }, this.stepName(wanted)));
      this.notes.line.replaceChildren("The lab did not look at the heap at this checkpoint. It did at ",
        ...(go.length > 1 ? [go[0], " and ", go[1]] : go), ".", this.notes.left);
    }

    hide(hidden) {
      this.body.hidden = hidden;
      this.tables.hide(hidden);
    }

    stepName(index) {
      const step = this.page.steps.find((one) => one.index === index);
      return step ? `${step.index} ${step.name}` : String(index);
    }

    show(number) {
      const moment = this.model.moment(number);
      const { raw, regions } = moment;
      const old = this.region && raw.pid === this.moment.raw.pid ? this.region : null;
      const before = typeof raw.before === "number" ? this.model.moment(raw.before) : null;
      this.moment = moment;
      this.region = null;
      this.facts = new lab.heap.Facts(moment, before, this.told);
      this.notes.show(moment, before);
      this.hide(!regions.length);
      if (!regions.length) return;
      this.flawed = raw.flaws.map((flaw) => (flaw.at ? moment.where(big(flaw.at)) : null)).filter(Boolean);
      this.lists.show(moment);
      this.strips.show(moment);
      this.tables.show(moment);
      const same = regions.find((one) => old && one.start === old.start && one.name === old.name);
      this.heap(same || (this.flawed.length ? this.flawed[0].region : regions[0]), Boolean(same));
      this.select(this.page.selected || "");
    }

    heap(region, keep) {
      this.region = region;
      this.strips.choose(region);
      this.title.replaceChildren(region.name, " ", el("span", { class: "muted" }, this.reach(region)));
      this.map.canvas.setAttribute("aria-label", `Map of ${region.name}: ${region.count} chunks. Plus and minus ` +
        "zoom, up and down go to the chunk before and behind.");
      const flawed = this.flawed.filter((one) => one.region === region);
      this.map.show(region, flawed.map((one) => one.position), keep);
      this.tables.region(region);
    }

    reach(region) {
      if (region.mapped) return `${lab.bytes(region.length)}, one behind the other; the gaps between are left out`;
      const { raw } = region;
      const broken = raw.tail ? "" : "; the walk breaks off";
      const guess = raw.guessed ? "; that a chunk begins at the first address is a guess" : "";
      const says = raw.trouble ? `; ${raw.trouble}` : guess;
      const reach = `${raw.start || raw.first} to ${raw.end}, ${lab.bytes(region.length)}`;
      return `${reach}, ${raw.chunks} chunks${broken}${says}`;
    }

    strip(region, position) {
      if (this.region !== region) this.heap(region, false);
      if (position !== null) this.map.centre(position);
      this.select(this.page.selected || "", true);
    }

    viewed() {
      this.scale.textContent = `${lab.bytes(this.map.bytes)} a row`;
      this.paintStrips();
    }

    evidence(file, line) {
      const link = this.page.evidence(file, line);
      const text = `${file.split("/").slice(-2).join("/")}:${line}`;
      const title = `${file}, line ${line}`;
      return link ? el("a", { href: link, title }, text) : el("span", { class: "muted", title }, text);
    }

    /* ---- what is pointed at and chosen */

    found(name) {
      const match = CHUNK.exec(name || "");
      return match && this.moment ? this.moment.find(BigInt(match[1])) : null;
    }

    /* The positions that a name is of, where it is no chunk: an address in none, a page or mapping that another picture
     * has chosen. {region, position, end}, of the heap that is shown if it has a part of it. */
    range(name) {
      const chunk = CHUNK.exec(name || "");
      const match = chunk || RANGE.exec(name || "");
      if (!match) return null;
      const from = BigInt(match[1] || match[2]);
      const to = match[3] ? BigInt(match[3]) : from + (chunk ? 16n : PAGE);
      for (const region of [this.region, ...this.moment.regions]) {
        const [position, end] = [from, to].map((address) => Number(address - region.start));
        if (!region.mapped && end > 0 && position < region.length) return { region, position, end };
      }
      return null;
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
      this.page.select(found ? key(found.region.address(found.place)) : name);
    }

    /* The next chunk that changed so, behind the chosen one, in all heaps. */
    next(letter) {
      const found = this.found(this.page.selected);
      const from = found ? found.region.base + found.place : -1;
      for (let tried = 1; tried <= this.moment.count; tried += 1) {
        const number = (from + tried) % this.moment.count;
        const { region, place } = this.moment.at(number);
        if (region.change(place) !== letter) continue;
        if (number !== from) this.pick(key(region.address(place)));
        return;
      }
    }

    /* `stay`: the map stays where it is. */
    select(name, stay) {
      if (!this.region) return;
      const found = this.found(name);
      const range = found ? null : this.range(name);
      const there = found || range;
      if (there && !stay && there.region !== this.region) this.heap(there.region, false);
      const here = there && there.region === this.region;
      this.map.range = here && range ? [range.position, range.end] : null;
      this.map.mark(here && found ? found.place : -1, this.map.near);
      this.map.over();
      if (here && !stay) this.map.reveal(found ? found.region.at[found.place] : Math.max(range.position, 0));
      const listed = found && !found.region.stretches ? this.moment.listed(found.region.base + found.place) : null;
      this.lists.choose(found ? key(found.region.address(found.place)) : "", listed);
      this.paintStrips();
      this.tell(name, found);
    }

    tell(name, found) {
      const none = name.startsWith("chunk:") ? `No chunk of this process has ${name.slice(6)} here.`
        : "Choose a chunk in the map or in a list: its size, flags, links and neighbours are shown here.";
      const rows = found ? this.facts.rows(found.region, found.place) : [];
      this.details.replaceChildren(
        el("h4", {}, found && found.region.stretches ? "The chosen stretch" : "The chosen chunk"),
        found ? el("dl", {}, rows.flatMap(([title, says]) => [el("dt", {}, title), el("dd", {}, says)]))
          : el("p", { class: "muted" }, none));
    }
  }

  lab.picture("heap", (host, data, page) => { new Picture(host, data, page); });
})();
