"use strict";
/*
 * thread_stacks: what became of each block over the checkpoints, so that one which a later thread got again shows as
 * one line; and each block of this checkpoint, once to scale and once with its parts named.
 */
(() => {
  const { el, svg, bytes } = lab;
  const mono = (...text) => el("span", { class: "mono" }, text);
  const WIDE = 1000; // units of a bar to scale
  const SHOWN = 8; // rows that are open at first
  const short = (file) => file.replace(/^evidence\//, "");

  const link = (page, file, line) => {
    if (!file) return "–";
    const text = line ? `${short(file)}:${line}` : short(file);
    const to = page.evidence(file, line);
    return to ? el("a", { href: to }, text) : text;
  };

  const GUARDS = {
    mapping: "a mapping of its own without any right (---)", region: "a guard region inside the mapping",
    none: "none", open: "not guarded", unknown: "not known",
  };
  const swatch = (name) => el("span", { class: `ts-swatch ts-swatch-${name}`, "aria-hidden": "true" });

  /* A point of the block, as a place on a bar. */
  const along = (block, address) => WIDE * Number(BigInt(address) - BigInt(block.start)) / block.size;

  /* The block beside the largest one of this checkpoint, with the pages that are in memory. */
  function scaled(block, largest) {
    const width = WIDE * block.size / largest;
    const on = (units) => units * width / WIDE;
    const runs = block.touched ? block.touched.runs : [];
    const pages = block.size / 4096;
    return svg("svg", { class: "ts-scale", viewBox: `0 0 ${WIDE} 18`, preserveAspectRatio: "none", height: 18,
      role: "img", "aria-label": `${bytes(block.size)} to scale` },
    svg("rect", { x: 0, y: 1, width, height: 16, class: "ts-block" }),
    runs.map(([first, count]) => svg("rect", { x: on(WIDE * first / pages), y: 1,
      width: Math.max(on(WIDE * count / pages), 2), height: 16, class: "ts-touched" })),
    block.guard.size > 0 && svg("rect", { x: 0, y: 1, width: Math.max(on(WIDE * block.guard.size / block.size), 3),
      height: 16, class: "ts-guard-fill" }),
    block.sp && !block.elsewhere && svg("rect", { x: Math.max(on(along(block, block.sp)) - 1, 0), y: 0, width: 2,
      height: 18, class: "ts-sp" }));
  }

  const part = (kind, title, size, note) => el("div", { class: `ts-part ts-${kind}` },
    el("span", { class: "ts-what" }, title), el("span", { class: "ts-size" }, size),
    note && el("span", { class: "ts-note" }, note));

  /* The parts of a block in the order of addresses; how wide they are says nothing. */
  function parts(block) {
    const guard = block.guard;
    const known = block.depth !== undefined;
    const room = block.size - guard.size - block.top - (known ? block.depth : 0);
    const inMemory = block.touched ? `${block.touched.pages} pages of the block in memory` : "";
    return el("div", { class: "ts-parts" },
      guard.size > 0 ? part("guard", { mapping: "guard, ---", region: "guard region" }[guard.how]
        || `guard: ${GUARDS[guard.how]}`, bytes(guard.size)) : part("guard", "no guard", "0"),
      part("free", known ? "stack, still free" : "stack", bytes(Math.max(room, 0)), inMemory),
      known && part("use", "stack in use, and TLS", bytes(block.depth), `from the stack pointer ${block.sp}`),
      part("pthread", "struct pthread", bytes(block.top), block.pthread));
  }

  function blockRow(block, largest, page) {
    const owner = block.tid !== null ? `thread ${block.tid}`
      : `kept for a later thread: ${block.cached === 0 ? "the newest" : `number ${block.cached + 1}`} in the cache`;
    return el("section", { class: `ts-one ${block.tid !== null ? "is-used" : "is-kept"}` },
      el("h5", {}, owner, " ", el("span", { class: "ts-where" }, mono(`${block.start}–${block.end}`),
        `, ${bytes(block.size)}`),
      block.key && el("button", { type: "button", class: "ts-key", "data-key": block.key, "aria-pressed": "false",
        onclick: () => page.select(block.key) }, "show its mapping")),
      scaled(block, largest), parts(block),
      el("p", { class: "ts-says" }, block.guard.size > 0 && `Guard: ${block.guard.says}. `,
        block.elsewhere && `The stack pointer ${block.sp} is not in this block. `,
        block.flaw && el("span", { class: "trouble" }, `Not all could be read: ${block.flaw}`)));
  }

  function threadRow(thread, page) {
    const mapping = thread.mapping;
    return el("section", { class: "ts-one is-used" },
      el("h5", {}, thread.main ? `main thread ${thread.tid}` : `thread ${thread.tid}`, " ",
        el("span", { class: "ts-where" }, mapping ? [mono(`${mapping.start}–${mapping.end}`),
          `, ${bytes(mapping.size)} ${mapping.perms} ${mapping.name}`] : "its stack is not in the evidence"),
        mapping && el("button", { type: "button", class: "ts-key", "data-key": mapping.key, "aria-pressed": "false",
          onclick: () => page.select(mapping.key) }, "show its mapping")),
      mapping && el("div", { class: "ts-parts" },
        mapping.guard > 0 && part("guard", "mapping --- below it", bytes(mapping.guard)),
        thread.in_guard ? part("guard", "the stack pointer lies in the guard", thread.sp) : [
          part("free", "mapping below the stack pointer", bytes(mapping.size - mapping.below),
            mapping.touched === null ? "" : `${bytes(mapping.touched)} of the mapping in memory`),
          part("use", "from the stack pointer up", bytes(mapping.below), thread.sp)]),
      mapping && mapping.regions && el("p", { class: "ts-says" },
        "The mapping may have guard regions in it (VmFlags gu); where is not in the evidence of this checkpoint."));
  }

  /* Of many rows the first ones, and the others behind a line that opens them. */
  const few = (rows) => (rows.length <= SHOWN + 2 ? rows : [...rows.slice(0, SHOWN), el("details", { class: "ts-rest" },
    el("summary", {}, `${rows.length - SHOWN} more`), rows.slice(SHOWN))]);

  /* One row for each block, one column for each look: who had it. */
  function timeline(data, pid, step, page) {
    const looks = data.places.map((place, at) => ({ place, at }))
      .filter((one) => one.place.pid === pid && one.place.file);
    const blocks = data.blocks.filter((block) => block.pid === pid);
    if (looks.length < 2 || !blocks.length) return null;
    const heads = looks.map(({ place }) => el("th", { scope: "col", class: place.step === step ? "is-now" : null },
      el("button", { type: "button", "aria-current": place.step === step ? "step" : null,
        onclick: () => page.go(place.step) }, place.at)));
    const rows = blocks.map((block) => {
      const was = new Map(block.was.map(([at, tid, cached]) => [at, { tid, cached }]));
      let last = null; // the thread that had it, as long as it was never gone
      let kept = false; // it was seen in the cache since
      const cells = looks.map(({ place, at }, column) => {
        const one = was.get(at);
        const before = column > 0 && was.has(looks[column - 1].at);
        const again = one && one.tid !== null && last !== null && last !== one.tid;
        const how = kept ? " reused" : " same place";
        if (!one) last = null;
        kept = Boolean(one) && one.tid === null;
        if (one && one.tid !== null) last = one.tid;
        const kinds = [place.step === step && "is-now", one && before && "is-joined"].filter(Boolean);
        return el("td", { class: kinds.join(" ") || null },
          one ? el("span", { class: `ts-cell ${one.tid !== null ? "ts-owned" : "ts-kept"}${again ? " is-again" : ""}` },
            one.tid !== null ? `thread ${one.tid}` : `cache ${one.cached + 1}`,
            again && el("strong", {}, how)) : el("span", { class: "muted" }, "–"));
      });
      return el("tr", {}, el("th", { scope: "row" }, mono(block.start), ` ${bytes(block.size)}`), cells);
    });
    const caption = "Who had each block when the lab looked at glibc's lists; cache 1 is the stack that was put there "
      + "last.";
    // the caption stands above what scrolls, which is wider than a narrow page
    return el("div", {}, el("p", { class: "ts-says ts-caption", "aria-hidden": "true" }, caption),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Blocks over time" },
        el("table", { class: "ts-time" }, el("caption", { class: "unseen" }, caption),
          el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "block"), heads)), el("tbody", {}, rows))));
  }

  function figures(place, page) {
    return place.blocks.map((block) => [block.start, block.size,
      block.tid === null ? `cache ${block.cached + 1}` : block.tid,
      block.guard.size, GUARDS[block.guard.how], block.pthread, block.sp || "–",
      block.touched ? block.touched.pages : "–", block.mapping || "–", link(page, place.file, block.line)])
      .concat(place.threads.filter((one) => one.mapping).map((one) => [one.mapping.start, one.mapping.size, one.tid,
        one.mapping.guard || "–", "–", "–", one.sp,
        one.mapping.touched === null ? "–" : one.mapping.touched / 4096,
        `${one.mapping.start}-${one.mapping.end} ${one.mapping.perms} ${one.mapping.name}`, link(page, one.file, 1)]));
  }

  lab.picture("thread_stacks", (host, data, page) => {
    const select = el("select", { onchange: (event) => { pid = wanted = Number(event.target.value); draw(); } });
    const choice = el("p", { class: "ts-choice" }, el("label", {}, "Process ", select));
    const stage = el("div", {});
    host.append(choice, stage);
    let pid = data.places[0].pid;
    let wanted = null; // the process that the reader chose
    const list = lab.table(host, "Stacks", [{ title: "start", mono: true }, { title: "size", number: true },
      { title: "thread", number: true }, { title: "guard", number: true }, "guard is",
      { title: "struct pthread", mono: true }, { title: "stack pointer", mono: true },
      { title: "pages in memory", number: true }, { title: "mapping", mono: true }, "evidence"], []);

    const legend = () => el("p", { class: "ts-legend" }, swatch("guard"), "guard ", swatch("free"), "free ",
      swatch("use"), "in use ", swatch("pthread"), "struct pthread. The thin bar is to scale, with its pages in "
      + "memory dark; the parts below it are not. Stacks grow to the left, towards lower addresses.");

    function draw() {
      const place = data.places.find((one) => one.step === page.step && one.pid === pid);
      const name = page.steps[page.step].name;
      if (!place) {
        stage.replaceChildren(...[timeline(data, pid, page.step, page),
          el("p", {}, `There is no evidence of threads at ${name}.`)].filter(Boolean));
        list.update([], `Stacks at ${name}: none`);
        return;
      }
      const largest = Math.max(1, ...place.blocks.map((block) => block.size));
      const kept = place.blocks.filter((block) => block.cached !== null).length;
      const others = place.threads.filter((one) => !place.blocks.some((block) => block.tid === one.tid));
      stage.replaceChildren(...[timeline(data, pid, page.step, page),
        el("h4", {}, `At ${name}: ${place.threads.length === 1 ? "1 thread" : `${place.threads.length} threads`}`,
          place.file && (kept ? `, ${kept} kept ${kept === 1 ? "stack" : "stacks"} (${bytes(place.cache)})`
            : ", no kept stack")),
        place.remark && el("p", { class: "muted" }, `${place.remark}.`),
        place.blocks.length > 0 && legend(),
        ...few([...others.map((one) => threadRow(one, page)),
          ...place.blocks.map((block) => blockRow(block, largest, page))]),
        place.more > 0 && el("p", { class: "muted" }, `${place.more} more are in the evidence`)].filter(Boolean));
      list.update(figures(place, page), `Stacks of process ${pid} at ${name}`);
      lab.press(stage, page.selected);
    }

    page.onStep((step) => {
      const here = data.places.filter((place) => place.step === step);
      if (here.length) pid = here.some((place) => place.pid === wanted) ? wanted : here[0].pid;
      select.replaceChildren(...here.map((place) =>
        el("option", { value: place.pid, selected: place.pid === pid }, place.pid)));
      choice.hidden = here.length < 2;
      draw();
    });
    page.onSelect((key) => lab.press(stage, key));
  });
})();
