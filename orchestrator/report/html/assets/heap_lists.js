"use strict";
/*
 * heap_lists.js: the lists of free chunks: each thread's cache, and of each arena its bins and its top. Every chunk of
 * a list is a button; hovering, focusing and pressing it is the same as doing so to the chunk in the map.
 */
(() => {
  const { el } = lab;
  const { amount, arenaName, big, key } = lab.heap;
  const FIRST = 10; // chunks of a list that are shown at once
  const MORE = 200;
  const OPEN = 30; // lists up to which all groups are open

  const short = (address) => "…" + address.slice(-5);

  class Lists {
    /* `told`: {near(key), pick(key), evidence(line)}. */
    constructor(host, told) {
      this.told = told;
      this.node = el("div", { class: "heap-lists" });
      this.buttons = new Map(); // key -> its buttons
      host.append(this.node);
    }

    show(moment) {
      this.buttons.clear();
      this.groups = [...caches(moment), ...bins(moment)];
      const open = moment.lists.length <= OPEN;
      this.node.replaceChildren(...this.groups.map((group) => this.group(group, open)));
      const { more } = moment.raw;
      const left = ["arenas", "threads", "lists"].filter((what) => more[what]).map((what) => `${more[what]} more ${what}`);
      if (left.length) this.node.append(el("p", { class: "muted" }, `${left.join(", ")} are not shown.`));
    }

    group(group, open) {
      const section = el("section", {});
      const body = el("div", { class: "lists" });
      if (!group.rows.length) {
        return el("section", {}, el("p", { class: "group" }, el("b", {}, group.name), " ",
          el("span", { class: "muted" }, group.says)));
      }
      const mark = el("span", { class: "mark", "aria-hidden": "true" });
      const head = el("button", { type: "button", class: "group", onclick: () => group.open(body.hidden) },
        mark, el("b", {}, group.name), " ", el("span", { class: "muted" }, group.says));
      group.open = (wanted) => {
        body.hidden = !wanted;
        section.classList.toggle("open", wanted);
        mark.textContent = wanted ? "▾" : "▸";
        head.setAttribute("aria-expanded", String(wanted));
        if (wanted && !body.childElementCount) body.append(...group.rows.map((row) => this.row(row)));
      };
      group.open(open || group.rows.length <= 2);
      section.append(head, body);
      return section;
    }

    row(row) {
      const nodes = el("ol", {});
      row.node = nodes;
      row.upto = Math.min(FIRST, row.chunks.length);
      this.fill(row, -1);
      row.box = el("div", { class: "list" + (row.broken ? " broken" : "") },
        el("span", { class: "name" }, row.name, " ", el("span", { class: "muted" }, row.says)), nodes,
        row.broken ? el("p", { class: "trouble" }, row.broken) : null);
      return row.box;
    }

    /* The list's first chunks, and those around one that lies behind them. */
    fill(row, around) {
      const places = [...row.chunks.keys()].slice(0, row.upto);
      if (around >= row.upto) places.push(...range(around - 2, around + 3, row.upto, row.chunks.length));
      for (const [name, buttons] of this.buttons) {
        this.buttons.set(name, buttons.filter((one) => one.list !== row));
      }
      const items = [];
      let last = -1;
      for (const place of places) {
        if (place !== last + 1) items.push(el("li", { class: "muted" }, `… ${place - last - 1} …`));
        items.push(el("li", {}, this.button(row, place)));
        last = place;
      }
      const left = row.length - 1 - last;
      if (left > 0) items.push(el("li", {}, this.more(row, left)));
      row.node.replaceChildren(...items);
    }

    more(row, left) {
      if (last(row) >= row.chunks.length - 1) return el("span", { class: "muted" }, `${left} more`);
      return el("button", { type: "button", class: "next", onclick: () => {
        row.upto = Math.min(row.upto + MORE, row.chunks.length);
        this.fill(row, -1);
      } }, `${left} more`);
    }

    button(row, place) {
      const { address, number } = row.chunks[place];
      if (!address) return el("span", { class: "stray" }, "no address");
      const name = "chunk:" + address;
      const label = `${address}, ${place + 1} of ${row.length} in ${row.name}${number < 0 ? ", in no heap" : ""}`;
      const button = el("button", {
        type: "button", class: "chunk" + (number < 0 ? " stray" : ""), title: label, "aria-label": label,
        "aria-pressed": String(this.chosen === name), onclick: () => this.told.pick(name),
        onpointerenter: () => this.told.near(name), onpointerleave: () => this.told.near(""),
        onfocus: () => this.told.near(name), onblur: () => this.told.near(""),
      }, short(address));
      this.buttons.set(name, [...(this.buttons.get(name) || []), { button, list: row }]);
      return button;
    }

    /* Marks the chunk that is pointed at. */
    near(name) {
      for (const { button } of this.buttons.get(this.hovered) || []) button.classList.remove("near");
      this.hovered = name;
      for (const { button } of this.buttons.get(name) || []) button.classList.add("near");
    }

    /* Marks the chosen chunk, and shows it in its list: `found` is {list, place}, or null. */
    choose(name, found) {
      for (const { button } of this.buttons.get(this.chosen) || []) button.setAttribute("aria-pressed", "false");
      this.chosen = name;
      for (const group of found ? this.groups : []) {
        for (const row of group.rows.filter((one) => one.list === found.list)) {
          group.open(true);
          if (found.place >= row.upto) this.fill(row, found.place);
          const box = row.box.parentElement;
          box.scrollTop = Math.min(box.scrollTop, row.box.offsetTop);
          box.scrollTop = Math.max(box.scrollTop, row.box.offsetTop + row.box.offsetHeight - box.clientHeight);
        }
      }
      for (const { button } of this.buttons.get(name) || []) button.setAttribute("aria-pressed", "true");
    }
  }

  function range(from, to, low, high) {
    const found = [];
    for (let at = Math.max(from, low); at < Math.min(to, high); at += 1) found.push(at);
    return found;
  }

  const last = (row) => row.upto - 1;
  const chunks = (count) => (count === 1 ? "1 chunk" : `${count} chunks`);
  const sum = (lists) => lists.reduce((total, list) => total + list.length, 0);

  function broken(list) {
    if (!list.broken) return "";
    const { at, why, back } = list.broken;
    const other = back.length ? `; its other end leads to ${back.filter(Boolean).join(", ")}` : "";
    return `⚠ it can be followed no further${at ? ` at ${at}` : ""}: ${why}${other}`;
  }

  function sizes(least, most) {
    return least === most ? amount(least) : `${amount(least)} to ${amount(most)}`;
  }

  /* The sizes of the chunks that are in a bin. */
  function measured(list) {
    const found = list.members.filter((one) => one.number >= 0).map((one) => list.moment.at(one.number));
    const all = found.map(({ region, place }) => region.size(place)).filter((size) => typeof size === "number");
    return all.length ? sizes(all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))) : "";
  }

  function asRow(list) {
    return {
      list, name: list.title, length: list.length, broken: broken(list),
      get chunks() { return list.members; },
      get says() {
        return list.ofThread ? `${sizes(list.size, list.largest)}, count ${list.count}` : measured(list);
      },
    };
  }

  function caches(moment) {
    return moment.raw.threads.filter((thread) => thread.state !== "none").map((thread) => {
      const lists = moment.lists.filter((list) => list.ofThread && list.owner === thread.tid);
      const whose = thread.arena === null ? "" : `, allocates from ${arenaName(arenaOf(moment, thread.arena))}`;
      return { name: `tcache of thread ${thread.tid}`, says: `${thread.state}, ${chunks(sum(lists))}${whose}`,
        rows: lists.map(asRow) };
    });
  }

  function arenaOf(moment, index) {
    return moment.raw.arenas.find((arena) => arena.index === index) || { main: index === 0, index };
  }

  function bins(moment) {
    return moment.raw.arenas.map((arena) => {
      const lists = moment.lists.filter((list) => !list.ofThread && list.owner === arena.index);
      const rows = lists.map(asRow);
      const top = arena.top ? moment.find(big(arena.top)) : null;
      if (top && !top.region.stretches && top.region.address(top.place) === big(arena.top)) {
        rows.unshift({ name: "top", says: amount(top.region.size(top.place)), length: 1,
          chunks: [{ number: top.region.base + top.place, address: key(top.region.address(top.place)).slice(6) }] });
      }
      const size = lab.bytes(Number(arena.numbers.system_mem || 0));
      const says = `${size} from the kernel, ${chunks(sum(lists))} in bins${users(moment, arena)}`;
      return { name: arenaName(arena), says, rows };
    });
  }

  /* The threads that allocate from an arena. */
  function users(moment, arena) {
    const tids = moment.raw.threads.filter((thread) => thread.arena === arena.index).map((thread) => thread.tid);
    if (!tids.length) return "";
    const some = tids.slice(0, 6).join(", ") + (tids.length > 6 ? " …" : "");
    return `, of ${tids.length > 1 ? "threads" : "thread"} ${some}`;
  }

  lab.heap.Lists = Lists;
})();
