"use strict";
/* compare.js: address space and heap of each side at one checkpoint, row by row on one scale. */
lab.picture("compare", (host, data) => {
  const { el, svg, bytes } = lab;
  const ROW = 26;
  const LOW = 16; // bytes at the left end of the scale
  const differences = (one) => [...one.space, ...one.heap].filter((row) => row.differs).length;
  let step = data.steps.reduce((best, one, index) => // the first of those with the most
    (differences(one) > differences(data.steps[best]) ? index : best), 0);

  const select = el("select", { onchange: () => go(select.selectedIndex) }, data.steps.map((one, index) =>
    el("option", { value: index }, `${index + 1}. ${one.name}${one.differs ? "  ≠" : ""}`)));
  const back = el("button", { type: "button", "aria-label": "Checkpoint before", onclick: () => go(step - 1) }, "←");
  const on = el("button", { type: "button", "aria-label": "Next checkpoint", onclick: () => go(step + 1) }, "→");
  const next = el("button", { type: "button", onclick: () => go(differing()) }, "Next that differs");
  const stage = el("div", { class: "compare" });
  const left = el("p", { class: "muted" });
  host.append(el("div", { class: "stepper" }, back, el("label", {}, "Checkpoint ", select), on, next), stage, left);
  const priced = el("div", { class: "compare" });
  if (data.costs.length) {
    host.prepend(priced);
    lab.table(host, "Cost in instructions", ["window", ...data.sides.map((side) => ({ title: side, number: true }))],
      data.costs.map((row) => [row.name, ...row.counts.map(number)]));
  }
  const figures = lab.table(host, "", ["row", ...data.sides.flatMap((side) =>
    [{ title: `${side}: bytes`, number: true }, { title: `${side}: resident`, number: true }, `${side}: what`])], []);

  function differing() {
    const after = data.steps.findIndex((one, index) => index > step && one.differs);
    return after >= 0 ? after : data.steps.findIndex((one) => one.differs);
  }

  function go(index) {
    step = Math.min(Math.max(index, 0), data.steps.length - 1);
    draw();
  }

  host.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target.closest("select, .scroll") || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    go(step + by);
  });

  function draw() {
    const one = data.steps[step];
    select.selectedIndex = step;
    back.setAttribute("aria-disabled", step === 0); // not disabled, which would take the focus from it
    on.setAttribute("aria-disabled", step === data.steps.length - 1);
    next.disabled = !data.steps.some((other, index) => other.differs && index !== step);
    const width = Math.max(stage.clientWidth || 1100, 320);
    stage.replaceChildren(...[["Address space", one.space], ["Chunks of malloc", one.heap]]
      .filter(([, rows]) => rows.length).map(([title, rows]) => panel(title, rows, width, one.name)));
    const missing = [[one.left, "rows of this checkpoint"], [data.left, "checkpoints"]].filter(([count]) => count);
    left.hidden = !missing.length;
    left.textContent = `Not drawn: ${missing.map(([count, what]) => `${count} ${what}`).join(", ")}. `
      + "What differs comes first; the run directories have all.";
    figures.update([...one.space, ...one.heap].map((row) => [row.name, ...row.bars.flatMap((bar) =>
      (bar ? [bar.size, bar.part === null ? "" : bar.part, bar.says] : ["", "", "not there"]))]),
      `Figures at ${one.name}`);
  }

  /* Where the columns stand: names on the left, or above the bars where it is narrow. */
  function layout(width) {
    const wide = width >= 760;
    const names = wide ? Math.min(230, width * 0.2) : 0;
    const each = (width - names) / data.sides.length;
    return { wide, names, each, label: wide ? 165 : 70, row: wide ? ROW : ROW + 18 };
  }

  function panel(title, rows, width, at) {
    const place = layout(width);
    const most = Math.max(...rows.flatMap((row) => row.bars.map((bar) => (bar ? bar.size : 0))), 4096);
    const room = place.each - place.label - 16;
    const scale = (size) => (size > LOW ? room * Math.log2(size / LOW) / Math.log2(most / LOW) : size ? 1 : 0);
    const top = 52;
    const height = top + rows.length * place.row + 8;
    const drawn = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${title} at ${at}: ${rows.filter((row) => row.differs).length} of ${rows.length} rows differ` });
    drawn.append(svg("text", { x: 0, y: 18, class: "title" }, title));
    data.sides.forEach((side, index) => {
      const x = place.names + index * place.each;
      const total = rows.reduce((sum, row) => sum + (row.bars[index] ? row.bars[index].size : 0), 0);
      drawn.append(svg("text", { x, y: place.wide ? 18 : 36, class: "head" }, `${side}  ${bytes(total)}`));
      ticks(most).forEach((size) => {
        const tick = x + scale(size);
        drawn.append(svg("line", { x1: tick, x2: tick, y1: top - 4, y2: height - 6, class: "grid" }));
        if (place.wide) drawn.append(svg("text", { x: tick, y: top - 10, class: "tick" }, bytes(size)));
      });
    });
    rows.forEach((row, index) => drawn.append(...line(row, top + index * place.row, place, scale)));
    return drawn;
  }

  /* Three marks of the scale: powers of two that are easy to read. */
  function ticks(most) {
    const all = [4096, 1 << 20, 2 ** 30].filter((size) => size <= most);
    return all.length ? all : [4096];
  }

  function line(row, y, place, scale) {
    const inner = place.wide ? 0 : 18;
    const shown = cut(row.name, place.wide ? Math.floor(place.names / 8) : 44);
    const parts = [svg("text", { x: 14, y: y + 16, class: row.differs ? "name differs" : "name" }, shown,
      svg("title", {}, row.name))];
    if (row.differs) parts.push(svg("text", { x: 0, y: y + 16, class: "mark" }, "≠"));
    row.bars.forEach((bar, index) => {
      const x = place.names + index * place.each;
      if (!bar) {
        parts.push(svg("text", { x, y: y + inner + 16, class: "absent" }, "not there"));
        return;
      }
      const wide = scale(bar.size);
      const part = bar.part === null ? bar.size : bar.part;
      parts.push(svg("rect", { x, y: y + inner + 4, width: wide, height: 16, class: `whole ${row.kind}` }));
      if (part && bar.size) {
        parts.push(svg("rect", { x, y: y + inner + 4, width: wide * (part / bar.size), height: 16, class: row.kind }));
      }
      const more = bar.part === null ? bar.says : `${bytes(bar.part)} res.`;
      const says = place.wide ? `${bytes(bar.size)}, ${more}` : bytes(bar.size);
      parts.push(svg("text", { x: x + wide + 6, y: y + inner + 16, class: row.differs ? "small differs" : "small" },
        says, svg("title", {}, bar.says)));
    });
    return parts;
  }

  function cut(text, length) {
    return text.length > length ? `${text.slice(0, Math.max(length - 1, 4))}…` : text;
  }

  /* ---- costs: the windows with a bar for each side, by the logarithm of the instructions */

  function number(count) {
    return count === null ? "–" : lab.count(count);
  }

  function change(counts) {
    if (counts.length !== 2 || counts.includes(null) || !counts[0] || counts[0] === counts[1]) return "";
    const share = 100 * (counts[1] / counts[0] - 1);
    return `, ${share > 0 ? "+" : "−"}${Math.abs(share) < 10 ? Math.abs(share).toFixed(1) : Math.round(Math.abs(share))} %`;
  }

  function costs() {
    const BAR = 13;
    const width = Math.max(priced.clientWidth || 1100, 320);
    const names = Math.min(30 + 7 * Math.max(...data.costs.map((row) => row.name.length)), width * 0.4);
    const most = Math.max(...data.costs.flatMap((row) => row.counts.map((count) => count || 0)), 10);
    const decades = Math.ceil(Math.log10(most));
    const room = width - names - 150;
    const scale = (count) => (count ? Math.max(room * Math.log10(count + 1) / decades, 1) : 0);
    const row = BAR * data.sides.length + 8;
    const top = 46;
    const height = top + data.costs.length * row + 4;
    const drawn = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Cost in instructions: ${data.costs.filter((one) => one.differs).length} of ${data.costs.length} `
        + "windows differ" });
    drawn.append(svg("text", { x: 0, y: 18, class: "title" }, "Cost in instructions"));
    for (let power = 0; power <= decades; power += Math.ceil(decades * 70 / Math.max(room, 1))) {
      const x = names + room * power / decades;
      drawn.append(svg("line", { x1: x, x2: x, y1: top - 8, y2: height - 4, class: "grid" }),
        svg("text", { x, y: top - 14, class: "tick" }, number(10 ** power)));
    }
    data.costs.forEach((one, place) => {
      const y = top + place * row;
      drawn.append(svg("text", { x: 14, y: y + row / 2 + 1, class: one.differs ? "name differs" : "name" }, one.name));
      if (one.differs) drawn.append(svg("text", { x: 0, y: y + row / 2 + 1, class: "mark" }, "≠"));
      one.counts.forEach((count, side) => {
        const low = y + side * BAR;
        const says = `${data.sides[side]} ${number(count)}${side === 1 ? change(one.counts) : ""}`;
        drawn.append(svg("rect", { x: names, y: low + 1, width: scale(count), height: BAR - 2, class: `cost-side side-${side % 4}` }),
          svg("text", { x: names + scale(count) + 6, y: low + BAR - 2, class: one.differs ? "small differs" : "small" },
            says));
      });
    });
    priced.replaceChildren(drawn);
  }

  let last = 0;
  new ResizeObserver(() => {
    if (Math.abs(stage.clientWidth - last) < 8) return;
    last = stage.clientWidth;
    if (data.costs.length) costs();
    draw();
  }).observe(stage);
  if (data.costs.length) costs();
  draw();
});
