"use strict";
/*
 * page_tables: the bits of an address above, and below them, column by column, the table that each index picks an
 * entry of: at the checkpoint before and at this one. What changed between the two is marked.
 */
(() => {
  const { el, svg, bytes } = lab;
  const mono = (...text) => el("span", { class: "mono" }, text);
  const NAMES = {
    pgd: "page global directory", p4d: "page 4th-level directory", pud: "page upper directory",
    pmd: "page middle directory", pte: "page table",
  };
  const KINDS = {
    anon: "anonymous memory", file: "a file's page", shmem: "shared memory (tmpfs)", zero: "the shared zero page",
    ksm: "merged by KSM", other: "no memory of a process or file",
  };
  const BITS = { pgd: 39, p4d: 39, pud: 30, pmd: 21, pte: 12 };

  const link = (page, file, line) => {
    const text = `${file.replace(/^evidence\//, "")}:${line}`;
    const to = page.evidence(file, line);
    return to ? el("a", { href: to }, text) : text;
  };

  /* The lowest bit of a level's index: the pgd's depends on how many levels there are. */
  const lowest = (level, levels) => (level === "pgd" && levels.length === 5 ? 48 : BITS[level]);

  const binary = (number, digits) => number.toString(2).padStart(digits, "0");

  /* A table as a column of its 512 entries, those in use marked, and an arrow at the one that is looked up. */
  function strip(table, index, present) {
    const height = 96;
    const at = (entry) => 1 + (entry / 512) * (height - 2);
    const used = [];
    for (let digit = 0; digit < 128; digit += 1) {
      const four = parseInt(table.used[127 - digit], 16);
      for (let bit = 0; bit < 4; bit += 1) if (four >> bit & 1) used.push(digit * 4 + bit);
    }
    const size = { viewBox: `0 0 34 ${height}`, width: 34, height };
    const shown = svg("svg", { class: "pt-strip", ...size, "aria-hidden": "true" },
      svg("rect", { x: 10, y: .5, width: 16, height: height - 1, class: "pt-table" }),
      used.map((entry) => svg("line", { x1: 11, x2: 25, y1: at(entry), y2: at(entry), class: "pt-used" })),
      svg("path", { d: `M1 ${at(index) - 4} L9 ${at(index)} L1 ${at(index) + 4} Z`, class: "pt-index" }),
      present && svg("path", { d: `M26 ${at(index)} H34`, class: "pt-out" }));
    return { shown, count: used.length };
  }

  function flags(entry, before) {
    const now = entry.bits || [];
    const were = before && before.state === entry.state ? before.bits || [] : now;
    const chip = (text, mark) => el("li", { class: mark ? `pt-flag is-${mark}` : "pt-flag" },
      { added: "+", gone: "−" }[mark], { noexec: "NX (noexec)" }[text] || text,
      mark === "gone" && el("span", { class: "unseen" }, " (no longer set)"));
    return el("ul", { class: "pt-flags" }, now.map((one) => chip(one, were.includes(one) ? "" : "added")),
      were.filter((one) => !now.includes(one)).map((one) => chip(one, "gone")));
  }

  /* What became of an entry: "" as before, else one word. */
  function change(entry, before) {
    if (!before || !entry) return "";
    if (before.state !== entry.state) {
      if (entry.state === "present") return before.state === "no table" ? "new, with its table" : "new";
      if (entry.state === "no table") return "gone, with its table";
      return before.state === "no table" ? "its table is new" : "gone";
    }
    return before.value === entry.value && before.address === entry.address ? "" : "changed";
  }

  const SAYS = {
    "no table": "no table here: the level above has no entry for it",
    empty: "empty: not present",
    "not present": "not present: swapped out, in migration, PROT_NONE or a marker",
  };

  function cell(data, level, entry, before) {
    const word = change(entry, before);
    const kind = `is-${entry.state.replace(" ", "-")}${word ? " is-changed" : ""}`;
    const attrs = { class: `pt-cell ${kind}`, role: "listitem" };
    const head = el("div", { class: "pt-head" }, el("abbr", { title: NAMES[level] }, level.toUpperCase()),
      mono(`[${entry.index}]`), word && el("span", { class: "pt-word" }, word));
    if (entry.state === "no table") {
      return el("div", attrs, head, el("p", { class: "pt-says" }, SAYS[entry.state]));
    }
    const table = data.tables[entry.table];
    const { shown, count } = strip(table, entry.index, entry.state === "present");
    return el("div", attrs, head, el("div", { class: "pt-body" }, shown, el("div", {},
      el("p", { class: "pt-value mono" }, entry.value),
      entry.state === "present" ? flags(entry, before) : el("p", { class: "pt-says" }, SAYS[entry.state]),
      entry.state === "not present" && (entry.bits || []).length > 0 &&
        el("p", { class: "pt-says" }, `pte marker: ${entry.bits.join(" ")}`),
      entry.to && el("p", { class: "pt-to" }, "→ ", mono(entry.to)))),
      el("p", { class: "pt-foot" }, "entry at ", mono(entry.address),
        `, table with ${count} in use`));
  }

  function frameCell(frame, before, page, wide) {
    if (!frame) {
      return el("div", { class: "pt-cell pt-frame is-empty", role: "listitem" },
        el("div", { class: "pt-head" }, "frame"),
        el("p", { class: "pt-says" }, "no page frame: an access faults"));
    }
    const word = before === undefined ? "" : !before ? "new" : before.frame !== frame.frame ? "another frame" :
      before.refcount !== frame.refcount || before.mapcount !== frame.mapcount ? "counts changed" : "";
    const key = `frame:${frame.frame}`;
    const kind = `k-${frame.kind}${word ? " is-changed" : ""}`;
    return el("div", { class: `pt-cell pt-frame ${wide} ${kind}`, role: "listitem" },
      el("div", { class: "pt-head" }, "frame",
        el("button", { type: "button", class: "pt-key mono", "data-key": key, "aria-pressed": "false",
          onclick: () => page.select(key) }, frame.frame), word && el("span", { class: "pt-word" }, word)),
      el("p", { class: "pt-kind" }, KINDS[frame.kind] || frame.kind),
      frame.size > 4096 && el("p", {}, `huge: one entry maps ${bytes(frame.size)}`),
      frame.refcount !== undefined && el("p", {}, `mapcount ${frame.mapcount}, refcount ${frame.refcount}`),
      frame.refcount !== undefined && frame.size > 4096 && el("p", { class: "muted" },
        `as the struct page of frame ${frame.of || frame.frame} has them; a huge page is also counted as a whole`),
      frame.refcount === undefined && el("p", { class: "muted" }, "its counts are not in the evidence"),
      el("p", { class: "pt-foot" }, "the byte lies at ", mono(frame.physical)));
  }

  /* Levels that a huge page leaves out are the frame's. */
  const wide = (levels, entries) => `pt-span-${levels.length - entries.length + 1}`;

  /* The address's bits, above the columns that they choose an entry in. */
  function bitsRow(address, levels, walk, entries) {
    const value = BigInt(address);
    const below = entries.length < levels.length && walk.complete ? lowest(levels[entries.length - 1], levels) : 12;
    const cells = entries.map((entry) => {
      const low = lowest(entry.level, levels);
      return el("div", { class: "pt-bits" }, el("span", { class: "pt-range" }, `bits ${low + 8}–${low}`),
        mono(binary(entry.index, 9)), el("span", { class: "pt-index-of" }, `= ${entry.index}`));
    });
    const offset = value & ((1n << BigInt(below)) - 1n);
    cells.push(el("div", { class: `pt-bits ${wide(levels, entries)}` },
      el("span", { class: "pt-range" }, `bits ${below - 1}–0`),
      mono(`0x${offset.toString(16)}`), el("span", { class: "pt-index-of" }, "offset in the page")));
    return el("div", { class: `pt-row pt-columns-${levels.length + 1}`, "aria-hidden": "true" }, cells);
  }

  function read(data, place, index) {
    const [frame, ...rest] = data.walks[place.walks[index]];
    const entries = [];
    const lines = [];
    for (let at = 0; at < rest.length; at += 2) {
      entries.push(data.entries[rest[at]]);
      lines.push(rest[at + 1]);
    }
    const missing = entries.find((entry) => entry.state !== "present");
    return { entries, lines, frame: frame === null ? null : data.frames[frame], complete: !missing, missing };
  }

  const brief = (walk) => (walk.frame ? walk.frame.frame : `no ${walk.missing.level}`);

  lab.picture("page_tables", (host, data, page) => {
    const pids = [...new Set(data.places.map((place) => place.pid))];
    let chosen = data.first;
    let pid = data.places[0].pid;
    let wanted = null; // the process that the reader chose

    const option = (one, index) => el("option", { value: index, selected: index === chosen },
      one.kind === "note" ? `${one.names.join(", ")} = ${one.address} (reported at ${one.at})`
        : `${one.address} ${one.names[0]}`);
    const options = (kind) => data.addresses.map((one, index) => one.kind === kind && option(one, index));
    const notes = options("note").filter(Boolean);
    const address = el("select", { onchange: (event) => { chosen = Number(event.target.value); draw(); } },
      notes.length > 0 && el("optgroup", { label: "reported by the program" }, notes),
      el("optgroup", { label: "first page of each mapping" }, options("area")));
    const process = el("select", { onchange: (event) => { pid = wanted = Number(event.target.value); draw(); } },
      pids.map((one) => el("option", { value: one }, one)));
    const history = el("ol", { class: "pt-history", "aria-label": "What the walk ends with at each checkpoint" });
    const stage = el("div", { class: "pt-stage", "aria-live": "off" });
    host.append(
      el("p", { class: "pt-controls" }, el("label", {}, "Address ", address),
        pids.length > 1 && el("label", {}, "Process ", process),
        data.more > 0 && el("span", { class: "muted" }, `${data.more} more mappings are not in the list`)),
      history, stage);
    const list = lab.table(host, "Entries of the walk", ["checkpoint", "level", { title: "index", number: true },
      { title: "entry at", mono: true }, { title: "value", mono: true }, "bits", "leads to", "evidence"], []);
    for (const trouble of data.troubles) host.append(el("p", { class: "trouble" }, trouble));

    /* The last look at this process up to the checkpoint that is shown. */
    function current() {
      const own = data.places.filter((place) => place.pid === pid && place.step <= page.step);
      return own.length ? own[own.length - 1] : null;
    }

    function drawHistory(now) {
      const own = data.places.filter((place) => place.pid === pid);
      let last = "";
      history.replaceChildren(...own.map((place) => {
        const walk = read(data, place, chosen);
        const text = brief(walk);
        const differs = last !== "" && last !== text;
        last = text;
        return el("li", {}, el("button", { type: "button", "aria-current": place === now ? "step" : null,
          class: differs ? "is-changed" : null, onclick: () => page.go(place.step) },
        el("span", { class: "pt-at" }, place.at),
        el("span", { class: walk.frame ? "mono" : "mono pt-none" }, `${differs ? "≠ " : ""}${text}`)));
      }));
    }

    function row(title, place, walk, other) {
      const cells = walk.entries.map((entry, level) =>
        cell(data, entry.level, entry, other && other.entries[level] && other.entries[level].level === entry.level
          ? other.entries[level] : null));
      cells.push(frameCell(walk.frame, other ? other.frame : undefined, page, wide(place.levels, walk.entries)));
      const area = place.areas[chosen];
      const mapping = area === null ? null : data.areas[area];
      return el("section", {}, el("h4", { class: "pt-title" }, title, " ", el("span", { class: "pt-mapping" },
        mapping ? ["in ", el("button", { type: "button", class: "pt-key", "data-key": mapping.key,
          "aria-pressed": "false", onclick: () => page.select(mapping.key) }, mapping.text), `, ${bytes(mapping.size)}`]
          : "in no mapping")),
      place.broken && el("p", { class: "trouble" }, `the tables are not whole: ${place.broken}`),
      el("div", { class: `pt-row pt-columns-${place.levels.length + 1}`, role: "list" }, cells));
    }

    function figures(place, walk) {
      return walk.entries.map((entry, level) => [place.at, entry.level, entry.index, entry.address || "–",
        entry.value || "–", entry.state === "present" ? entry.bits.join(" ") : SAYS[entry.state], entry.to || "–",
        walk.lines[level] ? link(page, place.file, walk.lines[level]) : "–"]).concat(walk.frame
        ? [[place.at, "frame", "–", "–", walk.frame.frame, KINDS[walk.frame.kind] || walk.frame.kind,
          walk.frame.refcount === undefined ? "–" : [`mapcount ${walk.frame.mapcount}`,
            `refcount ${walk.frame.refcount}`, `page flags ${walk.frame.flags}`].join(", "),
          walk.frame.line ? link(page, place.file, walk.frame.line) : "–"]] : []);
    }

    function draw() {
      const now = current();
      const shown = data.addresses[chosen];
      drawHistory(now);
      if (!now) {
        stage.replaceChildren(el("p", {}, `The lab had not looked into process ${pid} up to this checkpoint. `
          + "The checkpoints at which it did are above."));
        list.update([], "Entries of the walk: none at this checkpoint");
        return;
      }
      const walk = read(data, now, chosen);
      const before = now.before === null ? null : data.places[now.before];
      const other = before && read(data, before, chosen);
      stage.replaceChildren(
        now.step !== page.step && el("p", { class: "trouble" },
          `The lab did not look inside at ${page.steps[page.step].name}: this is the last look before it.`) || "",
        bitsRow(shown.address, now.levels, walk, walk.entries),
        other ? row(`before, at ${before.at}:`, before, other, null)
          : el("p", { class: "muted" }, `Nothing to compare with: ${now.remark}.`),
        row(`${other ? "now" : "this"}, at ${now.at}:`, now, walk, other));
      list.update([...(other ? figures(before, other) : []), ...figures(now, walk)],
        `Entries of the walk of ${shown.address}${other ? ` at ${before.at} and` : ""} at ${now.at}`);
      lab.press(stage, page.selected);
    }

    page.onStep((step) => {
      const here = data.places.filter((place) => place.step === step);
      if (here.length) pid = here.some((place) => place.pid === wanted) ? wanted : here[0].pid;
      process.value = String(pid);
      draw();
    });
    page.onSelect((key) => {
      const [, found] = /^(?:page|vma):(0x[0-9a-f]+)/.exec(key) || [];
      const of = (address) => BigInt(address) >> 12n;
      const index = found === undefined ? -1 : data.addresses.findIndex((one) => of(one.address) === of(found));
      const now = current();
      const there = now && now.areas[chosen] !== null && data.areas[now.areas[chosen]].key === key;
      if (index >= 0 && !there) {
        chosen = index;
        address.value = String(index);
        draw();
      }
      lab.press(stage, key);
    });
  });
})();
