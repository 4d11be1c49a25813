"use strict";
/*
 * heap_notes.js: what is said of a whole moment above its map: what does not hold, the totals by state, which are the
 * legend too, and what changed since the checkpoint before.
 */
(() => {
  const { el } = lab;
  const { MARKS } = lab.heap;
  const GONE = 6; // of what is gone, as many are named

  const bytes = (value) => (typeof value === "number" ? lab.bytes(value) : value);

  class Notes {
    /* `told`: {pick(key), next(letter), evidence(file, line) -> node, step(index) -> name}. */
    constructor(data, ink, told) {
      this.data = data;
      this.ink = ink;
      this.told = told;
      this.line = el("p", { class: "note" });
      this.flaws = el("div", { class: "flaws" });
      this.totals = el("ul", { class: "legend" });
      this.changes = el("p", { class: "changes" });
    }

    clear() {
      for (const node of [this.flaws, this.totals, this.changes]) node.replaceChildren();
    }

    show(moment, before) {
      this.moment = moment;
      this.clear();
      this.say();
      if (moment.raw.trouble) return;
      this.alarm();
      this.legend();
      if (moment.raw.whole) this.change(before);
    }

    /* How many later looks at a heap the page does not have. */
    get left() {
      const count = this.data.left_out;
      return count ? ` ${count} later looks at a heap are not on this page; lab inspect RUN heap has them.` : "";
    }

    say() {
      const { raw, regions } = this.moment;
      this.line.replaceChildren();
      if (raw.trouble) this.line.append(`The heap of process ${raw.pid} can't be shown: ${raw.trouble}`);
      else if (!regions.length) this.line.append(`Process ${raw.pid} has no heap yet.`);
      else this.line.append(`Process ${raw.pid}, glibc ${raw.malloc.glibc || "of unknown version"}.`);
      if (raw.whole === false) {
        this.line.append(" There are more chunks than the page can hold: each heap is drawn as stretches of memory, " +
          "filled by the shares of their bytes. ", el("code", {}, "lab inspect RUN heap"), " has every chunk.");
      }
      this.line.append(this.left);
    }

    /* ---- what does not hold */

    alarm() {
      const { flaws, more, checked } = this.moment.raw;
      if (!flaws.length) {
        const says = checked ? `Of ${checked} invariants of ptmalloc that the lab checked, all hold.`
          : "No invariant of ptmalloc was checked.";
        this.flaws.append(el("p", { class: "muted" }, says));
        return;
      }
      const count = flaws.length + (more.flaws || 0);
      this.flaws.append(el("div", { class: "alarm", role: "note" },
        el("p", { class: "title" }, `⚠ ${count} of what must hold of this heap does not, or could not be read`),
        el("ul", {}, flaws.map((flaw) => this.flaw(flaw))), more.flaws ? el("p", {}, `and ${more.flaws} more`) : null));
    }

    flaw(flaw) {
      const pick = () => this.told.pick("chunk:" + flaw.at);
      return el("li", {}, el("b", {}, flaw.what), flaw.arena === null ? "" : ` (arena ${flaw.arena})`,
        flaw.why ? `: ${flaw.why}` : "",
        flaw.at ? [" at ", el("button", { type: "button", class: "chunk", onclick: pick }, flaw.at)] : null,
        flaw.glibc ? el("span", { class: "muted" }, ` glibc: ${flaw.glibc}`) : null, " ",
        this.told.evidence(this.moment.raw.file, flaw.line));
    }

    /* ---- totals */

    legend() {
      this.totals.append(...this.moment.raw.totals.map(([state, chunks, size]) => {
        const [short, means] = this.data.states[state];
        return el("li", { title: means }, el("canvas", { "data-state": state }), el("b", {}, short), ` ${chunks}`,
          el("span", { class: "muted" }, ` ${bytes(size)}`));
      }));
      this.paint();
    }

    paint() {
      for (const canvas of this.totals.querySelectorAll("canvas")) {
        const context = lab.heap.sized(canvas, 30, 18);
        this.ink.chunk(context, canvas.dataset.state, 0, 0, 30, 18, 5, context.ratio);
      }
    }

    /* ---- changes */

    change(before) {
      const { raw } = this.moment;
      if (!before) {
        const says = `There is no earlier look at process ${raw.pid} to compare with.`;
        this.changes.append(el("span", { class: "muted" }, says));
        return;
      }
      const counts = Object.entries(raw.changes);
      this.changes.append(`Since ${this.told.step(before.raw.step)}: `);
      if (!counts.length && !raw.gone.length) this.changes.append("no chunk changed.");
      this.changes.append(...counts.map(([letter, count]) => this.counted(letter, count)));
      if (raw.gone.length) this.changes.append(el("span", {}, this.gone()));
    }

    counted(letter, count) {
      const attrs = { type: "button", title: "Goes to the next of them", onclick: () => this.told.next(letter) };
      const sign = el("span", { class: "sign", "aria-hidden": "true" }, MARKS[letter]);
      return el("button", attrs, sign, ` ${count} ${this.data.changes[letter]}`);
    }

    gone() {
      const { gone, more } = this.moment.raw;
      const named = gone.slice(0, GONE).map(([address, size, chunks, mapped]) =>
        `${mapped ? "the mapped chunk" : `the heap of ${chunks} chunks at`} ${address} (${bytes(size)})`);
      const left = gone.length - named.length + (more.gone || 0);
      return `Gone: ${named.join(", ")}${left ? ` and ${left} more` : ""}.`;
    }
  }

  lab.heap.Notes = Notes;
})();
