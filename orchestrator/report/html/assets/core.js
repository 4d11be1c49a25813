"use strict";
/*
 * core.js: what every page of the lab has. `lab.picture` registers how a picture is drawn; for each case on the page
 * a `page` object joins its pictures: the checkpoint that is shown, the thing that is selected, and the evidence.
 * Text reaches the page as text nodes and attributes only.
 */
const lab = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  const ROWS = 500;
  const painters = new Map();
  const pages = [];
  let active = null;

  function fill(node, attrs, children) {
    for (const [name, value] of Object.entries(attrs || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) {
        node.addEventListener(name.slice(2), value);
      } else {
        node.setAttribute(name, value === true ? "" : String(value));
      }
    }
    for (const child of children.flat(Infinity)) {
      if (child === null || child === undefined || child === false) continue;
      node.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
    return node;
  }

  const el = (tag, attrs, ...children) => fill(document.createElement(tag), attrs, children);
  const svg = (tag, attrs, ...children) => fill(document.createElementNS(SVG, tag), attrs, children);

  /* 135168 -> "132 KiB", as the lab's other reports say it. */
  function bytes(count) {
    if (count < 0) return "-" + bytes(-count);
    if (count < 1024) return count ? `${count} B` : "0";
    let power = 0;
    let value = count;
    while (value >= 1024 && power < UNITS.length) {
      value /= 1024;
      power += 1;
    }
    return `${Number.isInteger(value) ? value : value.toFixed(1)} ${UNITS[power - 1]}`;
  }

  /* 1093016 -> "1 093 016", without breaks. */
  function count(number) {
    return number.toLocaleString("en").replaceAll(",", "\u00a0");
  }

  /* An address as "0x…", from such a text, a number or a BigInt. */
  function hex(address) {
    return "0x" + BigInt(address).toString(16);
  }

  /* Makes something drawn a button: focus, Enter and Space, a click. */
  function button(node, label, act) {
    fill(node, { tabindex: "0", role: "button", "aria-label": label }, []);
    node.addEventListener("click", act);
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      act(event);
    });
    return node;
  }

  /* ---- tables */

  function cell(value, column, index) {
    const attrs = { class: [column.number && "number", column.mono && "mono"].filter(Boolean).join(" ") || null };
    return index === 0 ? el("th", { scope: "row", ...attrs }, value) : el("td", attrs, value);
  }

  /*
   * The figures of a picture: rows of strings, numbers or nodes under columns, each a title or
   * {title, number: true, mono: true}. Gives {node, update(rows, caption)}.
   */
  function table(host, caption, columns, rows) {
    const heads = columns.map((one) => (typeof one === "string" ? { title: one } : one));
    const summary = el("summary", {});
    const body = el("tbody", {});
    const more = el("button", { type: "button", class: "more" });
    const titles = heads.map((one) => el("th", { scope: "col", class: one.number ? "number" : null }, one.title));
    const box = el("div", { class: "scroll", tabindex: "0", role: "region" },
      el("table", {}, el("thead", {}, el("tr", {}, titles)), body));
    const node = el("details", { class: "figures" }, summary, box, more);
    let waiting = [];

    function next() {
      const some = waiting.splice(0, ROWS);
      body.append(...some.map((row) => el("tr", {}, row.map((value, index) => cell(value, heads[index], index)))));
      more.hidden = waiting.length === 0;
      more.textContent = `Show ${Math.min(ROWS, waiting.length)} more of ${waiting.length}`;
    }

    function update(found, title) {
      summary.textContent = title;
      box.setAttribute("aria-label", title);
      waiting = [...found];
      body.replaceChildren();
      next();
    }

    more.addEventListener("click", next);
    update(rows, caption);
    host.append(node);
    return { node, update };
  }

  /* ---- a case: its checkpoints, what is selected, its evidence */

  class Page {
    constructor(section, data) {
      this.section = section;
      this.steps = data.steps;
      this.step = Math.min(data.first, Math.max(data.steps.length - 1, 0));
      this.selected = "";
      this.files = data.evidence;
      this.listeners = { step: [], select: [] };
      this.drawn = false;
      this.buttons = [];
    }

    go(index) {
      const step = Math.min(Math.max(index, 0), this.steps.length - 1);
      if (step === this.step || this.steps.length === 0) return;
      this.step = step;
      this.show();
      this.listeners.step.forEach((told) => told(step));
    }

    onStep(told) {
      this.listeners.step.push(told);
      if (this.steps.length) told(this.step);
    }

    select(key) {
      this.selected = key === this.selected ? "" : key;
      this.listeners.select.forEach((told) => told(this.selected));
    }

    onSelect(told) {
      this.listeners.select.push(told);
      if (this.selected) told(this.selected);
    }

    /* "#e-…" of a line of evidence that is embedded, else null; line 0 is the file. */
    evidence(path, line) {
      const file = this.files[path];
      if (!file) return null;
      if (!line) return `#${file.anchor}`;
      return file.lines.some(([from, to]) => from <= line && line <= to) ? `#${file.anchor}-${line}` : null;
    }

    bar() {
      const nav = this.section.querySelector("nav.steps");
      if (!nav || this.steps.length === 0) return;
      const button = (text, label, go) =>
        el("button", { type: "button", "aria-label": label, onclick: () => this.go(go()) }, text);
      this.back = button("←", "Checkpoint before", () => this.step - 1);
      this.on = button("→", "Next checkpoint", () => this.step + 1);
      this.told = el("span", { class: "unseen", "aria-live": "polite" });
      this.buttons = this.steps.map((step, index) =>
        el("button", { type: "button", onclick: () => this.go(index) },
          el("span", { class: "number" }, step.index), step.name));
      nav.append(this.back, this.on, el("ol", {}, this.buttons.map((one) => el("li", {}, one))), this.told);
      this.show();
    }

    show() {
      if (!this.buttons.length) return;
      this.buttons.forEach((one, index) => {
        if (index === this.step) one.setAttribute("aria-current", "step");
        else one.removeAttribute("aria-current");
      });
      this.back.disabled = this.step === 0;
      this.on.disabled = this.step === this.steps.length - 1;
      const list = this.buttons[0].closest("ol");
      const one = this.buttons[this.step];
      list.scrollLeft = one.offsetLeft - list.offsetLeft - (list.clientWidth - one.offsetWidth) / 2;
      this.told.textContent = `Checkpoint ${this.step + 1} of ${this.steps.length}: ${this.steps[this.step].name}`;
    }

    draw() {
      if (this.drawn) return;
      this.drawn = true;
      this.bar();
      for (const figure of this.section.querySelectorAll("figure[data-picture]")) {
        const host = figure.querySelector(".host");
        const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
        try {
          painters.get(figure.dataset.picture)(host, data, this);
        } catch (error) { /* it costs this picture only */
          console.error(figure.dataset.picture, error);
          host.append(el("p", { class: "trouble" }, `This picture could not be drawn: ${error.message}`));
        }
      }
    }
  }

  /* ---- the document */

  function start() {
    for (const section of document.querySelectorAll("[data-case]")) {
      const data = JSON.parse(section.querySelector("script.case-data").textContent);
      const page = new Page(section, data);
      pages.push(page);
      const use = () => { active = page; };
      section.addEventListener("pointerdown", use);
      section.addEventListener("focusin", use);
      if (section.tagName !== "DETAILS" || section.open) page.draw();
      else section.addEventListener("toggle", () => { if (section.open) { use(); page.draw(); } });
    }
    active = pages[0] || null;
    addEventListener("hashchange", reveal);
    addEventListener("keydown", key);
    reveal();
  }

  /* A link into something that is closed opens it. */
  function reveal() {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
    }
    target.scrollIntoView();
  }

  /* Whether arrow keys mean something else there: typing, or scrolling a wide table. */
  function busy(node) {
    if (!(node instanceof Element)) return false;
    const box = node.closest(".scroll");
    return Boolean(node.closest("input, select, textarea")) || Boolean(box && box.scrollWidth > box.clientWidth);
  }

  function key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || busy(event.target) || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (!active || !active.drawn) return;
    event.preventDefault();
    active.go(active.step + step);
  }

  document.addEventListener("DOMContentLoaded", start);
  /* Which of the buttons in host that stand for a thing show that it is the chosen one. */
  function press(host, key) {
    for (const one of host.querySelectorAll("[data-key]")) {
      one.setAttribute("aria-pressed", String(one.dataset.key === key));
    }
  }

  return { el, svg, bytes, count, hex, button, press, table, pages, picture: (name, paint) => painters.set(name, paint) };
})();
