"use strict";
/*
 * heap_tables.js: the figures of the heap's picture as tables: totals by state, every chunk of the heap that is shown,
 * the lists, and malloc's own numbers. The long ones are filled when they are opened.
 */
(() => {
  const { el } = lab;
  const { arenaName, hex, SAME } = lab.heap;
  const number = (title) => ({ title, number: true });
  const mono = (title) => ({ title, mono: true });
  const CHUNKS = [mono("chunk"), number("bytes"), "state", "flags", "list", "since before"];
  const LISTS = ["list", "of", number("chunks"), number("sizes"), mono("chunk addresses")];
  const SHOWN = 8; // addresses of a list
  const FLAGS = ["PREV_INUSE", "IS_MMAPPED", "NON_MAIN_ARENA"];

  function flags(word) {
    const bits = typeof word === "number" ? word % 8 : Number(BigInt(word) & 7n);
    return FLAGS.filter((_, bit) => bits & (1 << bit)).join(" ");
  }

  function* chunks(moment, region) {
    const { states, changes } = moment.data;
    for (let place = 0; place < region.count; place += 1) {
      const listed = region.stretches ? null : moment.listed(region.base + place);
      const change = region.change(place);
      yield [hex(region.address(place)), region.size(place), states[region.state(place)][0],
        region.stretches ? "" : flags(region.word(place)),
        listed ? `${listed.list.title}, ${listed.place + 1} of ${listed.list.length}` : "",
        change === SAME ? "" : changes[change]];
    }
  }

  function* lists(moment) {
    for (const list of moment.lists) {
      const some = list.members.slice(0, SHOWN).map((one) => one.address || "no address").join(" ");
      const arena = moment.raw.arenas.find((one) => one.index === list.owner);
      const owner = arena ? arenaName(arena) : String(list.owner);
      const sizes = list.size === list.largest ? list.size : `${list.size} to ${list.largest}`;
      yield [list.title, list.ofThread ? `thread ${list.owner}` : owner, list.length, list.ofThread ? sizes : "",
        some + (list.length > SHOWN ? " …" : "")];
    }
  }

  function* numbers(moment) {
    const { malloc, arenas } = moment.raw;
    const own = arenas.map((one) => [`${arenaName(one)} ${one.address}`, one.numbers]);
    for (const [of, values] of [["malloc_par", malloc.parameters], ["variables", malloc.variables], ...own]) {
      for (const [name, value] of Object.entries(values)) {
        yield [name, of, typeof value === "number" && value >= 2 ** 32 ? hex(value) : String(value)];
      }
    }
  }

  /* A table that is filled when it is opened, and again when there is something else to show. */
  class Late {
    constructor(host, columns) {
      this.table = lab.table(host, "", columns, []);
      this.rows = () => [];
      this.table.node.addEventListener("toggle", () => this.fill());
    }

    set(caption, rows) {
      this.caption = caption;
      this.rows = rows;
      this.stale = true;
      if (this.table.node.open) this.fill();
      else this.table.update([], caption);
    }

    fill() {
      if (!this.table.node.open || !this.stale) return;
      this.stale = false;
      this.table.update(this.rows(), this.caption);
    }
  }

  lab.heap.tables = (root) => {
    const host = el("div", { class: "tables" });
    root.append(host);
    const totals = lab.table(host, "", ["state", number("chunks"), number("bytes"), "size"], []);
    const every = new Late(host, CHUNKS);
    const listed = new Late(host, LISTS);
    const own = new Late(host, ["number", "of", number("value")]);
    let moment = null;
    return {
      hide: (hidden) => { host.hidden = hidden; },
      show: (shown) => {
        moment = shown;
        const rows = moment.raw.totals.map(([state, count, bytes]) =>
          [moment.data.states[state][0], count, bytes, typeof bytes === "number" ? lab.bytes(bytes) : ""]);
        totals.update(rows, "Chunks by state");
        listed.set(`Lists (${moment.lists.length})`, () => lists(moment));
        own.set("malloc's own numbers", () => numbers(moment));
      },
      region: (region) => {
        const what = region.stretches ? "Stretches" : "Chunks";
        const name = region.mapped ? "Chunks with mappings of their own" : `${what} of ${region.name}`;
        every.set(`${name} (${region.count})`, () => chunks(moment, region));
      },
    };
  };
})();
