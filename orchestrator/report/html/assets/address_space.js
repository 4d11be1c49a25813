"use strict";
/* address_space.js: the mappings of a process from the highest address down, at the checkpoint that is shown. */
lab.picture("address_space", (host, data, page) => {
  const { el, svg, bytes } = lab;
  const WORDS = { text: "code", rodata: "read-only", data: "data", heap: "heap", anon: "anonymous",
    stack: "stack", file: "shared file", kernel: "of the kernel", guard: "no access" };
  const PATHS = { /* in a box of 12: what became of a mapping has a shape, beside its word */
    appeared: "M6 1V11M1 6H11", went: "M2 2L10 10M10 2L2 10", grew: "M6 1L11 10H1Z", shrank: "M6 11L1 2H11Z",
    moved: "M1 4H11L8 1M11 8H1L4 11", split: "M6 11V7L2 2M6 7L10 2", merged: "M6 1V5L2 10M6 5L10 10",
    perms: "M6 1L11 6L6 11L1 6Z", touched: "M6 3A3 3 0 1 0 6 9A3 3 0 1 0 6 3Z" };
  const OPEN = ["appeared", "went", "moved", "split", "merged"];
  const TOP = 2 ** 47;
  const HEAD = 26;
  const GAP = 30;

  const summary = el("p", { class: "space-summary" });
  const problem = el("p", { class: "trouble", hidden: true });
  const stage = el("div", { class: "space" });
  const notes = el("p", { class: "small" });
  const scale = el("p", { class: "muted small" },
    "Scale: a mapping is the taller the larger it is, by the logarithm: each doubling of its size adds the same. " +
    "Gaps are cut to one height and say their size. The full part of a bar is what is resident, of its width, " +
    "to scale.");
  const whole = el("span", {}, " The strip on the left is the whole lower half of the address space, 128 TiB, to scale.");
  scale.append(whole);
  host.append(summary, problem, stage, legend(), scale, notes);
  const figures = lab.table(host, "", ["start", { title: "end", mono: true }, "perms", { title: "size", number: true },
    { title: "resident", number: true }, "kind", "mapping", "since the checkpoint before", "evidence"], []);
  let rows = [];

  function legend() {
    const box = (kind) => svg("svg", { width: 12, height: 12, "aria-hidden": "true" },
      svg("rect", { x: 1, y: 1, width: 10, height: 10, class: `fill-${kind}` }));
    return el("ul", { class: "space-legend" },
      Object.entries(WORDS).map(([kind, word]) => el("li", {}, box(kind), word)));
  }

  /* A mapping as it is drawn: from data.vmas, or a fold of many. */
  function mapping(row) {
    if (row.fold) {
      return { ...row, name: `${row.fold} mappings`, kind: "fold", perms: "", path: "", size: row.bytes, key: "" };
    }
    const [start, end, perms, name, path, kind, rss] = data.vmas[row.vma];
    const size = Number(BigInt(end) - BigInt(start));
    return { ...row, start, end, perms, name, path, kind, rss, size, key: `vma:${start}-${end}` };
  }

  function height(one) {
    return 21 + 3.4 * Math.log2(Math.max(one.size / data.page, 1));
  }

  /* Where the columns stand, in pixels, for the room that there is. */
  function columns(width) {
    if (width >= 980) {
      return { strip: 90, address: 204, bar: 212, wide: 130, text: 472, perms: 738, size: 840, rss: 920, says: 940 };
    }
    if (width >= 760) {
      return { strip: 0, address: 104, bar: 114, wide: 100, text: 300, perms: 0, size: 0, rss: 0, says: width - 240 };
    }
    return { strip: 0, address: 96, bar: 104, wide: 44, text: 156, perms: 0, size: 0, rss: 0, says: 0 };
  }

  /* ---- one row */

  function shape(mark, x, y) {
    return svg("path", { d: PATHS[mark], class: "shape", transform: `translate(${x} ${y})`,
      fill: OPEN.includes(mark) ? "none" : null, "fill-opacity": OPEN.includes(mark) ? 0 : null });
  }

  function bar(one, at, col, tall) {
    const share = one.rss === null || one.size === 0 ? 0 : Math.min(one.rss / one.size, 1);
    const box = { x: col.bar, y: at + 1, width: col.wide, height: tall - 2 };
    const parts = [svg("rect", { ...box, class: `bar light fill-${one.kind}` })];
    if (share > 0 && !one.gone) {
      parts.push(svg("rect", { ...box, width: Math.max(share * col.wide, 2), class: `fill-${one.kind}` }));
    }
    if (one.mark) parts.push(svg("rect", { ...box, class: "bar", "fill-opacity": 0 }));
    return parts;
  }

  function texts(one, middle, col) {
    const word = one.kind === "fold" ? "" : WORDS[one.kind];
    const sizes = `${bytes(one.size)}${one.rss === null ? "" : `, resident ${bytes(one.rss)}`}`;
    if (col.perms) {
      return [
        svg("text", { x: col.text, y: middle + 4, class: "name" }, one.name,
          svg("tspan", { class: "small", dx: 8, "font-weight": 400 }, word === one.name ? "" : word)),
        svg("text", { x: col.perms, y: middle + 4, class: "mono small" }, one.perms),
        svg("text", { x: col.size, y: middle + 4, class: "small", "text-anchor": "end" }, bytes(one.size)),
        svg("text", { x: col.rss, y: middle + 4, class: "small", "text-anchor": "end" },
          one.gone ? "" : one.rss === null ? "?" : bytes(one.rss)),
        ...says(one, col.says, middle),
      ];
    }
    const first = middle - (one.mark && !col.says ? 11 : 3);
    return [
      svg("text", { x: col.text, y: first, class: "name" }, one.name),
      svg("text", { x: col.text, y: first + 15, class: "small" }, `${one.perms} ${sizes}`),
      ...says(one, col.says || col.text, col.says ? middle : first + 28),
    ];
  }

  function says(one, x, middle) {
    if (!one.mark) return [];
    return [shape(one.mark, x, middle - 6),
      svg("text", { x: x + 18, y: middle + 4, class: "says" }, one.fold ? one.says : `${one.mark} ${one.says}`)];
  }

  function pins(one, at, col, tall, found) {
    if (!col.strip) return [];
    const here = found.filter((pin) => pin.row === one);
    return here.map((pin, index) => {
      const y = Math.min(Math.max(at + tall * pin.part, at + 6), at + tall - 4);
      const line = at + tall / 2 + (index - (here.length - 1) / 2) * 14;
      return svg("g", {},
        svg("path", { d: `M${col.bar + col.wide + 2} ${y}l9 -4v8z`, class: "pin" }),
        svg("path", { d: `M${col.bar + col.wide + 11} ${y}L${col.bar + col.wide + 20} ${line}`, class: "lead" }),
        svg("text", { x: col.bar + col.wide + 24, y: line + 4, class: "note" }, pin.text));
    });
  }

  function label(one) {
    const rss = one.rss === null ? "" : `, ${bytes(one.rss)} resident`;
    const mark = one.mark ? `, ${one.mark} ${one.says}` : "";
    return `${one.path || one.name}, ${one.perms || "folded"}, ${bytes(one.size)}${rss}, ${one.start} to ${one.end}${mark}`;
  }

  function drawn(one, at, col, width, found) {
    const tall = one.tall;
    const group = svg("g", { class: `row ${one.mark ? "changed" : ""} ${one.gone ? "gone" : ""}` },
      svg("title", {}, label(one)),
      svg("rect", { x: col.bar - 3, y: at, width: width - col.bar + 1, height: tall, class: "back" }),
      bar(one, at, col, tall), texts(one, at + tall / 2, col), pins(one, at, col, tall, found));
    if (one.key && !one.gone) {
      lab.button(group, label(one), () => page.select(one.key));
      group.dataset.key = one.key;
    }
    return group;
  }

  /* ---- all rows */

  /* The program's notes that are addresses, beside the mapping that each points into, or ends at. */
  function pointed(found, ones) {
    const pins = new Map();
    for (const [key, , address] of found) {
      if (!address) continue;
      const value = BigInt(address);
      const row = ones.find((one) => one.start && !one.gone && !one.fold &&
        BigInt(one.start) <= value && value < BigInt(one.end)) ||
        ones.find((one) => one.start && !one.gone && !one.fold && BigInt(one.end) === value);
      if (!row) continue;
      const part = 1 - Number(value - BigInt(row.start)) / row.size;
      const id = `${row.key} ${address}`;
      if (pins.has(id)) pins.get(id).keys.push(key);
      else pins.set(id, { row, part, keys: [key] });
    }
    return [...pins.values()].map((pin) => {
      const text = pin.keys.join(", ");
      return { ...pin, text: text.length > 16 ? `${text.slice(0, 14)}…` : text };
    });
  }

  function plan(step, col) {
    const ones = step.rows.map((row) => (row.gap ? { gap: row.gap } : mapping(row)));
    const found = pointed(step.notes, ones);
    for (const one of ones) {
      const many = found.filter((pin) => pin.row === one).length;
      const least = col.perms ? 14 * many + 4 : one.mark && !col.says ? 52 : 34;
      one.tall = one.gap ? GAP : Math.max(height(one), least);
    }
    return { ones, found };
  }

  function gapRow(one, at, col) {
    const middle = at + GAP / 2;
    const x = col.bar + col.wide / 2;
    return svg("g", {},
      svg("path", { d: `M${x} ${at + 2}V${at + GAP - 2}`, class: "gap" }),
      svg("text", { x: col.text, y: middle + 4, class: "muted small" }, `${bytes(one.gap)} not mapped`));
  }

  /* The lower half of the address space to scale, and where on it each group of neighbours lies. */
  function strip(ones, col, tall) {
    const [x, wide, bracket] = [2, 34, col.strip + 24];
    const low = (address) => HEAD + tall * (1 - Math.min(Number(BigInt(address)) / TOP, 1));
    const parts = [svg("text", { x, y: 14, class: "head" }, "TiB, to scale")];
    for (const one of ones) {
      if (one.gap || one.gone || one.fold || Number(BigInt(one.start)) >= TOP) continue;
      parts.push(svg("rect", { x, y: low(one.end) - 0.75, width: wide, class: `fill-${one.kind}`,
        height: Math.max(low(one.start) - low(one.end), 1.5) }));
    }
    for (const tick of [0, 32, 64, 96, 128]) {
      const y = HEAD + tall * (1 - tick / 128);
      const word = tick === 0 ? y - 4 : tick === 128 ? y + 18 : y + 4;
      if (tick % 128) parts.push(svg("path", { d: `M${x} ${y}h6M${x + wide} ${y}h-6`, class: "inset" }));
      parts.push(svg("text", { x: x + wide / 2, y: word, class: "address", "text-anchor": "middle" }, tick));
    }
    parts.push(svg("rect", { x, y: HEAD, width: wide, height: tall, class: "inset" }));
    for (const { top, bottom, address } of neighbours(ones)) {
      const from = low(address);
      parts.push(svg("path", { class: "lead",
        d: `M${x + wide} ${from}C${x + wide + 40} ${from} ${bracket - 40} ${(top + bottom) / 2} ${bracket} ` +
          `${(top + bottom) / 2}M${bracket + 3} ${top + 2}h-3V${bottom - 2}h3` }));
    }
    return svg("g", { "aria-hidden": "true" }, parts);
  }

  /* What lies between two gaps: its place in the picture, and an address of it. */
  function neighbours(ones) {
    const groups = [];
    let at = HEAD;
    let open = null;
    for (const one of ones) {
      if (one.gap) {
        open = null;
      } else if (open) {
        open.bottom = at + one.tall;
      } else {
        open = { top: at, bottom: at + one.tall, address: one.end };
        groups.push(open);
      }
      at += one.tall;
    }
    return groups;
  }

  function heads(col) {
    if (!col.perms) return [];
    const head = (x, text, anchor) => svg("text", { x, y: 14, class: "head", "text-anchor": anchor }, text);
    return [head(col.address, "address", "end"), head(col.bar, "full: resident"), head(col.text, "mapping"),
      head(col.perms, "perms"), head(col.size, "size", "end"), head(col.rss, "resident", "end"),
      head(col.says, "since the checkpoint before")];
  }

  function edges(ones, col) {
    const parts = [];
    let at = HEAD;
    ones.forEach((one, index) => {
      if (!one.gap) {
        const before = ones[index - 1];
        const write = (address, y) => parts.push(
          svg("text", { x: col.address, y, class: "address", "text-anchor": "end" }, address.slice(2)));
        if (!before || before.gap || before.start !== one.end) write(one.end, at + (before && !before.gap ? 12 : 6));
        write(one.start, at + one.tall + (ones[index + 1] && ones[index + 1].gap ? 3 : 4));
      }
      at += one.tall;
    });
    return parts;
  }

  function draw(index) {
    const step = data.steps[index];
    const width = Math.max(stage.clientWidth, 300);
    const col = columns(width);
    const { ones, found } = plan(step, col);
    whole.hidden = !col.strip;
    const tall = ones.reduce((sum, one) => sum + one.tall, 0);
    let at = HEAD;
    rows = ones.map((one) => {
      const group = one.gap ? gapRow(one, at, col) : drawn(one, at, col, width, found);
      at += one.tall;
      return group;
    });
    const name = page.steps[index].name;
    const picture = svg("svg", { width, height: HEAD + tall + 10, viewBox: `0 0 ${width} ${HEAD + tall + 10}`,
      role: "group", "aria-label": `Address space at ${name}` },
    heads(col), col.strip && ones.length ? strip(ones, col, tall) : [], rows, edges(ones, col));
    const focus = stage.contains(document.activeElement) && document.activeElement.dataset.key;
    stage.replaceChildren(ones.length ? picture : el("p", { class: "muted" }, empty(index)));
    mark(page.selected);
    const again = focus && rows.find((row) => row.dataset.key === focus);
    if (again) again.focus();
  }

  function empty(index) {
    return page.steps[index].kind === "exit" ? "The program has ended: there is no address space any more."
      : "There is no evidence of the mappings here.";
  }

  /* ---- words and figures */

  const by = (count) => (count === null || count === undefined ? "" : ` (${count < 0 ? "" : "+"}${bytes(count)})`);

  function words(index) {
    const step = data.steps[index];
    const { name, pid, kind } = page.steps[index];
    const { count, mapped, rss } = step.totals;
    const fresh = step.fresh && step.fresh !== "first" ? `, ${step.fresh}` : "";
    summary.textContent = `${name}${kind === "exit" ? "" : `, process ${pid}`}${fresh}` + (count === 0 ? "" :
      `: ${count} mappings, ${bytes(mapped)}${by(step.totals.mapped_by)}` +
      (rss === null ? "" : `, resident ${bytes(rss)}${by(step.totals.rss_by)}`));
    problem.hidden = !step.problem;
    problem.textContent = step.problem;
    notes.textContent = step.notes.length ? `The program's notes: ${step.notes.map(([key, value]) =>
      `${key} = ${value}`).join(", ")}` : "";
    const gone = step.rows.filter((row) => row.gone).map((row) => [row.vma, 0, row.mark, row.says]);
    const left = step.unlisted ? `, ${step.unlisted} more in ${step.file}` : "";
    figures.update([...step.list, ...gone].map((one) => figure(one, step)), `The mappings at ${name} as a table${left}`);
  }

  function figure([vma, line, mark, said], step) {
    const [start, end, perms, name, path, kind, rss] = data.vmas[vma];
    const href = line ? page.evidence(step.file, line) : null;
    const where = line ? `${step.file}:${line}` : "";
    return [el("span", { class: "mono" }, start), end, el("span", { class: "mono" }, perms),
      bytes(Number(BigInt(end) - BigInt(start))), rss === null ? "?" : bytes(rss), WORDS[kind], path || name,
      mark ? `${mark} ${said}` : "", href ? el("a", { href }, where) : where];
  }

  /* ---- what is selected: a mapping, or the one that an address lies in */

  function mark(key) {
    const address = /^(?:chunk|page|vma):(0x[0-9a-f]+)/.exec(key);
    for (const row of rows) {
      const range = /^vma:(0x[0-9a-f]+)-(0x[0-9a-f]+)$/.exec(row.dataset.key || "");
      const on = Boolean(address && range &&
        BigInt(range[1]) <= BigInt(address[1]) && BigInt(address[1]) < BigInt(range[2]));
      row.classList.toggle("chosen", on);
      if (range) row.setAttribute("aria-pressed", String(on));
    }
  }

  page.onStep((index) => {
    draw(index);
    words(index);
  });
  page.onSelect(mark);
  let width = stage.clientWidth;
  new ResizeObserver(() => {
    if (stage.clientWidth === width) return;
    width = stage.clientWidth;
    draw(page.step);
  }).observe(stage);
});
