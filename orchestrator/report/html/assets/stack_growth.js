"use strict";
/* stack_growth.js: the main stack at all checkpoints side by side, and the addresses around its lower end. */
lab.picture("stack_growth", (host, data, page) => {
  const { el, svg, bytes } = lab;
  const TALL = 440;
  const [TOP, LEFT, FOOT] = [34, 74, 48];
  const COLUMN = 26; /* pixels at least; of more checkpoints than have room, those around the one that is shown */
  const STEP = 44; /* pixels between two landmarks */

  const where = (step) => page.steps.findIndex((one) => one.index === step.index);
  const named = (step) => (where(step) < 0 ? String(step.index) : page.steps[where(step)].name);
  const width = () => Math.max(wide.clientWidth, 300);
  const limit = (step) => (step.limit === null ? (step.limit_line ? "unlimited" : "?") : bytes(step.limit));

  const summary = el("p", { class: "space-summary" });
  const wide = el("div", { class: "stack" });
  const near = el("div", { class: "stack" });
  host.append(summary, el("div", { class: "stack-parts" }, wide, near),
    el("p", { class: "muted small" },
      "Left: depth below the end of the stack, by its square root, so that the first pages can be seen beside many " +
      "megabytes; the full part of a bar is resident, of its width. Right: the same addresses one below the other, " +
      "not to scale, with the true distances between them."));
  lab.table(host, "The stack at each checkpoint as a table", ["checkpoint",
    { title: "process", number: true }, { title: "start of [stack]", mono: true }, { title: "size", number: true },
    { title: "resident", number: true }, { title: "RLIMIT_STACK", number: true },
    { title: "to the mapping below", number: true }, "mapping below", "addresses", "evidence"], data.steps.map(figure));
  let columns = [];

  function figure(step) {
    const link = (file, line, text) => {
      const href = line ? page.evidence(file, line) : null;
      return href ? el("a", { href }, text) : text;
    };
    const said = step.marks.flatMap((mark, index) => [index ? ", " : "",
      link(mark.file, mark.line, `${mark.word} ${mark.address}`)]);
    return [`${step.index} ${named(step)}`, String(step.pid), step.start, bytes(step.size),
      step.rss === null ? "?" : bytes(step.rss), link(step.limits, step.limit_line, limit(step)),
      step.below ? bytes(step.below.gap) : "", step.below ? step.below.name : "none",
      el("span", {}, said), link(step.file, step.line, `${step.file}:${step.line}`)];
  }

  /* ---- all checkpoints, by the square root of the depth */

  function shown(current) {
    const at = Math.max(data.steps.findIndex((step) => step.index === current), 0);
    const room = Math.floor((width() - LEFT) / COLUMN);
    const from = Math.max(Math.min(at - Math.floor(room / 2), data.steps.length - room), 0);
    return data.steps.slice(from, from + room);
  }

  function depth(steps) {
    const deep = Math.max(...steps.map((step) => step.size + data.gap));
    const limits = steps.map((step) => step.limit).filter((one) => one !== null && one <= 4 * deep);
    return Math.max(deep, ...limits) * 1.06;
  }

  function ticks(most) {
    const found = [];
    for (let count = 128 * 1024; count < most; count *= 4) {
      if (TALL * (Math.sqrt(count / most) - Math.sqrt((found[found.length - 1] || 0) / most)) > 14) found.push(count);
    }
    return found;
  }

  function axis(most, y, width) {
    return [0, ...ticks(most)].map((count) => [
      svg("path", { d: `M${LEFT - 4} ${y(count)}H${width}`, class: "axis" }),
      svg("text", { x: LEFT - 8, y: y(count) + 4, "text-anchor": "end", class: "muted" }, count ? bytes(count) : "end"),
    ]);
  }

  function sign(mark, x, y, wideBar) {
    if (mark.fault) return svg("path", { d: `M${x - 6} ${y - 6}l12 12m0 -12l-12 12`, class: "fault" });
    if (mark.word !== "stack pointer") return null;
    const right = x + wideBar / 2;
    return svg("path", { d: `M${right - 2} ${y}l9 -5v10z`, class: "pointer" });
  }

  function column(step, x, pitch, y, most) {
    const bar = Math.min(pitch * 0.5, 40);
    const [left, low] = [x - bar / 2, y(step.size)];
    const share = step.rss === null ? 0 : Math.min(step.rss / step.size, 1);
    const reach = step.limit !== null && step.limit <= most ? y(step.limit) : null;
    const parts = [
      svg("rect", { x: x - pitch / 2, y: 4, width: pitch, height: TOP + TALL + FOOT - 8, class: "back" }),
      svg("rect", { x: left, y: TOP, width: bar, height: low - TOP, class: "light fill-stack" }),
      svg("rect", { x: left, y: TOP, width: Math.max(bar * share, 2), height: low - TOP, class: "fill-stack" }),
      svg("rect", { x: left, y: low, width: bar, height: Math.max(y(step.size + data.gap) - low, 2), class: "guard" }),
    ];
    if (step.below && step.size + step.below.gap < most) {
      const from = y(step.size + step.below.gap);
      parts.push(svg("rect", { x: left, y: from, width: bar, class: "light fill-anon",
        height: Math.max(Math.min(y(step.size + step.below.gap + step.below.size), TOP + TALL) - from, 3) }));
    }
    if (reach !== null) parts.push(svg("path", { d: `M${x - pitch / 2 + 2} ${reach}h${pitch - 4}`, class: "limit" }));
    parts.push(...step.marks.map((mark) => sign(mark, x, y(Math.max(mark.depth, 0)), bar)),
      svg("text", { x, y: TOP + TALL + 18, "text-anchor": "middle", class: "strong" }, step.index),
      svg("text", { x, y: TOP + TALL + 34, "text-anchor": "middle", class: "muted" }, step.pid));
    const group = svg("g", { class: "column" }, svg("title", {}, told(step)), parts);
    group.dataset.index = step.index;
    group.dataset.key = `vma:${step.start}-${step.end}`;
    group.classList.toggle("same", group.dataset.key === page.selected);
    return lab.button(group, told(step), () => page.go(where(step)));
  }

  function head(step) {
    const fault = step.marks.find((mark) => mark.fault);
    return `${named(step)}, process ${step.pid}: stack of ${bytes(step.size)}, RLIMIT_STACK ${limit(step)}` +
      (fault ? `, fault at ${fault.address}` : "");
  }

  function told(step) {
    const marks = step.marks.map((mark) => `, ${mark.word} ${mark.address}`).join("");
    return `${step.index} ${named(step)}, process ${step.pid}: stack of ${bytes(step.size)}, limit ${limit(step)}${marks}`;
  }

  function hatch() {
    return svg("defs", {}, svg("pattern", { id: "stack-hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse",
      patternTransform: "rotate(45)" }, svg("path", { d: "M0 0V6", class: "hatch" })));
  }

  function overview(index) {
    const steps = shown(index);
    const most = depth(steps);
    const y = (count) => TOP + TALL * Math.sqrt(Math.min(count / most, 1));
    const pitch = Math.min((width() - LEFT) / steps.length, 70);
    const tall = TOP + TALL + FOOT;
    columns = steps.map((step, place) => column(step, LEFT + pitch * (place + 0.5), pitch, y, most));
    const kept = wide.contains(document.activeElement) && document.activeElement.dataset.index;
    wide.replaceChildren(svg("svg", { width: width(), height: tall, viewBox: `0 0 ${width()} ${tall}`, role: "group",
      "aria-label": "The stack at each checkpoint" },
    hatch(), axis(most, y, LEFT + pitch * steps.length), columns,
    svg("text", { x: 0, y: 16, class: "head" }, "Below the end of the stack"),
    svg("text", { x: LEFT - 8, y: TOP + TALL + 18, "text-anchor": "end", class: "muted" }, "checkpoint"),
    svg("text", { x: LEFT - 8, y: TOP + TALL + 34, "text-anchor": "end", class: "muted" }, "process")), legend());
    const again = kept && columns.find((one) => one.dataset.index === kept);
    if (again) again.focus();
  }

  function legend() {
    const item = (drawing, word) => el("li", {},
      svg("svg", { width: 20, height: 14, "aria-hidden": "true" }, drawing), word);
    const box = (kind) => svg("rect", { x: 1, y: 1, width: 18, height: 12, class: kind });
    return el("ul", { class: "space-legend" }, item(box("fill-stack"), "[stack]"),
      item(box("guard"), `guard gap, ${bytes(data.gap)}`), item(box("light fill-anon"), "mapping below"),
      item(svg("path", { d: "M0 7h20", class: "limit" }), "RLIMIT_STACK"),
      item(svg("path", { d: "M6 7l9 -5v10z", class: "pointer" }), "stack pointer"),
      item(svg("path", { d: "M5 2l10 10m0 -10l-10 10", class: "fault" }), "fault"));
  }

  /* ---- one checkpoint: landmarks from the stack's end down */

  function landmarks(step) {
    const [start, end] = [BigInt(step.start), BigInt(step.end)];
    const found = [{ at: end, text: "end of [stack]" }, { at: start, text: "start of [stack]", strong: true },
      { at: start - BigInt(data.gap), text: `end of the guard gap, ${data.gap / data.page} pages` },
      ...step.marks.map((mark) => ({ at: BigInt(mark.address), text: mark.word, bad: mark.fault }))];
    if (step.limit !== null && BigInt(step.limit) < end) {
      found.push({ at: end - BigInt(step.limit), text: `RLIMIT_STACK ends, ${bytes(step.limit)}`, limit: true });
    }
    if (step.below) {
      found.push({ at: BigInt(step.below.end), text: `end of ${step.below.name} ${step.below.perms}`, strong: true },
        { at: BigInt(step.below.start), text: `start of ${step.below.name}` });
    }
    found.sort((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0));
    return merged(found);
  }

  /* Landmarks of one address are one, with several lines. */
  function merged(found) {
    const kept = [];
    for (const { at, ...line } of found) {
      const last = kept[kept.length - 1];
      if (last && last.at === at) last.lines.push(line);
      else kept.push({ at, lines: [line] });
    }
    return kept;
  }

  /* What lies between two landmarks; "" where that is not known here. */
  function between(step, high, low) {
    const start = BigInt(step.start);
    if (low >= start && high <= BigInt(step.end)) return "light fill-stack";
    if (step.below && high <= BigInt(step.below.end) && low >= BigInt(step.below.start)) return "light fill-anon";
    if (low >= start - BigInt(data.gap) && high <= start) return "guard";
    return step.below && high <= BigInt(step.below.start) ? "" : "back";
  }

  function landmark(one, y, columnsAt) {
    const { address, bar, text } = columnsAt;
    const style = (line) => (line.bad ? "bad" : line.strong ? "strong" : null);
    return [
      svg("path", { d: `M${bar - 5} ${y}h44`, class: one.lines.some((line) => line.limit) ? "limit" : "edge" }),
      svg("text", { x: address, y: y + 4, "text-anchor": "end", class: "mono" }, one.at.toString(16)),
      one.lines.map((line, index) => svg("text", { x: text, y: y + 4 + 15 * index, class: style(line) },
        `${line.bad ? "✗ " : ""}${line.text}`)),
    ];
  }

  function detail(step) {
    const found = landmarks(step);
    const width = Math.max(near.clientWidth, 300);
    const columnsAt = { address: 104, bar: 114, text: 160 };
    const parts = [svg("text", { x: 0, y: 16, class: "head" }, `Around its lower end, at ${named(step)}`)];
    let y = TOP + 6;
    found.forEach((one, index) => {
      const next = found[index + 1];
      const tall = STEP + 15 * (one.lines.length - 1);
      if (next) {
        const kind = between(step, one.at, next.at);
        parts.push(svg("rect", { x: columnsAt.bar, y, width: 34, height: tall, class: kind || "back" }),
          svg("text", { x: columnsAt.text, y: y + tall - STEP / 2 + 4, class: "muted" },
            `${bytes(Number(one.at - next.at))}${kind === "back" ? " not mapped" : ""}`));
      }
      parts.push(landmark(one, y, columnsAt));
      y += tall;
    });
    return svg("svg", { width, height: y, viewBox: `0 0 ${width} ${y}`, role: "img", "aria-label": found.map((one) =>
      `${one.at.toString(16)}: ${one.lines.map((line) => line.text).join(", ")}`).join("; ") }, hatch(), parts);
  }

  function draw(place) {
    const index = page.steps[place].index;
    const step = data.steps.find((one) => one.index === index);
    overview(index);
    columns.forEach((one) => one.classList.toggle("chosen", Number(one.dataset.index) === index));
    summary.textContent = step ? head(step) : `${page.steps[place].name}: there is no stack here`;
    near.replaceChildren(...(step ? [detail(step)] : []));
  }

  page.onStep(draw);
  page.onSelect((key) => columns.forEach((one) => one.classList.toggle("same", one.dataset.key === key)));
  let drawn = host.clientWidth;
  new ResizeObserver(() => {
    if (host.clientWidth === drawn) return;
    drawn = host.clientWidth;
    draw(page.step);
  }).observe(host);
});
