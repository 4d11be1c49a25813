"use strict";
/*
 * cost.js: the windows as bars, by the logarithm of their instructions, so that a malloc and a fork fit side by side;
 * the exact count stands at each. A window is chosen with its checkpoint.
 */
lab.picture("cost", (host, data, page) => {
  const { el, svg } = lab;
  const ROW = 20;
  const TOP = 26;
  const GAP = 12; /* pixels between two groups */
  const most = Math.max(...data.rows.map((row) => row.count), 10);
  const decades = Math.ceil(Math.log10(most));
  const place = (step) => page.steps.findIndex((one) => one.index === step);
  const number = lab.count;
  const box = el("div", { class: "cost" });
  host.append(box, el("p", { class: "muted small" }, data.says));
  lab.table(host, "The windows as a table", ["window", { title: "instructions", number: true }, "checkpoint", "evidence"],
    data.rows.map((row) => {
      const href = page.evidence(row.file, row.line);
      const text = `${row.file}:${row.line}`;
      return [row.name, number(row.count), named(row), href ? el("a", { href }, text) : text];
    }));
  let bars = [];

  function named(row) {
    const at = place(row.step);
    return at < 0 ? String(row.step) : `${row.step} ${page.steps[at].name}`;
  }

  function bar(row, y, left, room) {
    const wide = row.count ? Math.max(room * Math.log10(row.count + 1) / decades, 2) : 0;
    const group = svg("g", { class: "bar" }, svg("title", {}, `${row.name}: ${number(row.count)} instructions`),
      svg("rect", { x: 0, y, width: left + room + 90, height: ROW, class: "back" }),
      svg("text", { x: left - 8, y: y + 14, "text-anchor": "end" }, row.name),
      svg("rect", { x: left, y: y + 3, width: wide, height: ROW - 6, class: "fill" }),
      svg("text", { x: left + wide + 6, y: y + 14, class: "count" }, number(row.count)));
    group.dataset.step = row.step;
    const at = place(row.step);
    return at < 0 ? group : lab.button(group, `${row.name}: ${number(row.count)} instructions, at ${named(row)}`,
      () => page.go(at));
  }

  function paint() {
    const width = Math.max(host.clientWidth, 300);
    const left = Math.min(12 + 7 * Math.max(...data.rows.map((row) => row.name.length)), width * 0.45);
    const room = Math.max(width - left - 100, 60);
    let y = TOP;
    let before = data.rows[0].group;
    bars = data.rows.map((row) => {
      if (row.group !== before) y += GAP;
      before = row.group;
      const made = bar(row, y, left, room);
      y += ROW;
      return made;
    });
    const every = Math.ceil(decades * 44 / room);
    const lines = [];
    for (let power = 0; power <= decades; power += every) {
      const x = left + room * power / decades;
      lines.push(svg("path", { d: `M${x} ${TOP - 6}V${y}`, class: "axis" }),
        svg("text", { x, y: 12, "text-anchor": "middle", class: "muted" }, number(10 ** power)));
    }
    const kept = box.contains(document.activeElement)
      ? bars[[...box.querySelectorAll(".bar")].indexOf(document.activeElement)] : null;
    box.replaceChildren(svg("svg", { width, height: y + 4, viewBox: `0 0 ${width} ${y + 4}`, role: "group",
      "aria-label": "Instructions of each window" }, lines, bars));
    if (kept) kept.focus();
    mark(page.step);
  }

  function mark(step) {
    const index = page.steps.length ? page.steps[step].index : -1;
    bars.forEach((one) => one.classList.toggle("chosen", Number(one.dataset.step) === index));
  }

  paint();
  page.onStep(mark);
  let drawn = host.clientWidth;
  new ResizeObserver(() => {
    if (host.clientWidth === drawn) return;
    drawn = host.clientWidth;
    paint();
  }).observe(host);
});
