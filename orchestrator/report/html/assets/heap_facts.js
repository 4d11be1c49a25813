"use strict";
/*
 * heap_facts.js: what is known of one chunk, in words: its size and flags, its list and its links, its neighbours, what
 * it was at the checkpoint before, and where all this stands in the evidence.
 */
(() => {
  const { el } = lab;
  const { amount, big, hex, key, MARKS, SAME } = lab.heap;
  const FLAGS = [[1, "PREV_INUSE"], [2, "IS_MMAPPED"], [4, "NON_MAIN_ARENA"]];

  /* "48 B (0x30)" */
  function sized(size) {
    return typeof size === "number" ? `${amount(size)} (${hex(size)})` : size;
  }

  class Facts {
    /* `told`: {pick(key), evidence(file, line) -> node}. */
    constructor(moment, before, told) {
      this.moment = moment;
      this.before = before; // the moment before, null where there is none to compare with
      this.told = told;
      this.data = moment.data;
    }

    name(state) { return this.data.states[state] ? this.data.states[state][0] : state; }

    /* What a chunk is, in short. */
    title(region, place) {
      const holds = region.state(place) === "u" && !region.stretches ? this.moment.holds(region.address(place)) : "";
      return this.name(region.state(place)) + (holds && `: ${holds}`);
    }

    /* One line, for the chunk under the pointer. */
    line(region, place) {
      const at = `${hex(region.address(place))}  ${amount(region.size(place))}`;
      if (region.stretches) return `${at}: ${this.inside(region, place)}`;
      const listed = this.moment.listed(region.base + place);
      const list = listed ? `, ${listed.list.title}, ${listed.place + 1} of ${listed.list.length}` : "";
      const change = region.change(place);
      return `${at} ${this.title(region, place)}${list}${change === SAME ? "" : `   ${this.changed(change)}`}`;
    }

    changed(change) { return `${MARKS[change]} ${this.data.changes[change]}`; }

    inside(region, place) {
      const [chunks, ...states] = region.stretches[place];
      const parts = [];
      for (let at = 0; at < states.length; at += 2) parts.push(`${lab.bytes(states[at + 1])} ${this.name(states[at])}`);
      return `${chunks} chunks begin here; ${parts.join(", ")}`;
    }

    /* All of it: [[name, node or text]]. */
    rows(region, place) {
      if (region.stretches) {
        return [["Stretch", hex(region.address(place))], ["Size", sized(region.size(place))],
          ["Inside", this.inside(region, place)]];
      }
      const address = region.address(place);
      const size = region.size(place);
      const state = region.state(place);
      return [
        ["Chunk", el("span", { class: "mono" }, hex(address))],
        ["Memory", el("span", {}, el("span", { class: "mono" }, hex(address + BigInt(this.data.header))),
          state === "p" ? "" : `, usable ${amount(this.usable(region, place, size))}`)],
        ["Size", `${sized(size)}; size word ${hex(region.word(place))}`],
        ["Flags", flags(region.word(place))],
        ["State", this.data.states[state][1] + (this.moment.holds(address) && `: ${this.moment.holds(address)}`)],
        ...this.links(region.base + place, address),
        ["Before it", this.neighbour(region, place - 1)],
        ["Behind it", this.neighbour(region, place + 1)],
        ...this.was(region, place, address),
        ["In", `${region.name}, chunk ${place + 1} of ${region.count}`],
        ["Evidence", this.told.evidence(this.moment.raw.file, region.line(place))],
      ];
    }

    usable(region, place, size) {
      if (region.mapped) return region.mapped[place][6];
      return Math.max(size - this.data.overhead, 0);
    }

    chunk(address, says) {
      const pick = () => this.told.pick(key(address));
      return el("button", { type: "button", class: "chunk", onclick: pick }, hex(address), says ? ` ${says}` : "");
    }

    neighbour(region, place) {
      if (place < 0) return el("span", { class: "muted" }, "nothing: it is the first");
      if (place >= region.count) return el("span", { class: "muted" }, "nothing: it is the last");
      const says = `${amount(region.size(place))} ${this.title(region, place)}`;
      return this.chunk(region.address(place), says);
    }

    /* Its list, and what it leads to. Where a list breaks off, its last chunk's link is not told. */
    links(number, address) {
      const found = this.moment.listed(number);
      if (!found) return [];
      const { list, place } = found;
      const of = list.ofThread ? `of thread ${list.owner}` : `of ${this.arena(list.owner)}`;
      const rows = [["List", el("span", {}, `${list.title} ${of}, ${place + 1} of ${list.length} `,
        this.told.evidence(this.moment.raw.file, list.line))]];
      const next = list.members[place + 1];
      if (next || (place + 1 === list.length && !list.broken)) {
        const end = list.doubly ? "the bin itself" : "nothing: it is the last";
        const stored = list.doubly ? "" : this.stored(list, address, next);
        rows.push([list.ofThread ? "next" : "fd", el("span", {}, this.member(next, end), stored)]);
      }
      if (list.doubly) rows.push(["bk", this.member(list.members[place - 1], "the bin itself")]);
      return rows;
    }

    member(one, otherwise) {
      if (!one) return otherwise;
      return one.number < 0 ? one.address || "no address" : this.chunk(big(one.address));
    }

    arena(index) {
      const arena = this.moment.raw.arenas.find((one) => one.index === index);
      return arena ? lab.heap.arenaName(arena) : `arena ${index}`;
    }

    /* How a singly linked list's link stands in memory: glibc keeps it as position >> 12 ^ link (PROTECT_PTR). */
    stored(list, address, next) {
      const header = BigInt(this.data.header);
      const position = address + header;
      const link = next ? big(next.address) + (list.ofThread ? header : 0n) : 0n;
      if (!this.moment.raw.malloc.protected) {
        return el("div", { class: "muted" }, "as it is: this glibc does not protect links");
      }
      const kept = `${hex(link)} XOR ${hex(position)} >> 12 = ${hex((position >> 12n) ^ link)}`;
      return el("div", { class: "muted" }, "protected: ", el("span", { class: "mono" }, kept));
    }

    /* What was there at the checkpoint before. */
    was(region, place, address) {
      if (!this.before) return [];
      const change = region.change(place);
      if (change === SAME) return [["Since before", "the same"]];
      const found = this.before.find(address);
      if (!found) return [["Since before", `${this.changed(change)}; it was in no heap`]];
      const at = found.region.address(found.place);
      const listed = this.before.listed(found.region.base + found.place);
      const size = amount(found.region.size(found.place));
      const old = [at === address ? "" : `in ${hex(at)}, `, `${size} ${this.name(found.region.state(found.place))}`,
        listed ? `, ${listed.list.title}` : ""].join("");
      return [["Since before", `${this.changed(change)}; it was ${old}`]];
    }
  }

  function flags(word) {
    const bits = typeof word === "number" ? word % 8 : Number(BigInt(word) & 7n);
    return el("span", { class: "flags" }, FLAGS.map(([bit, name]) =>
      el("span", { class: bits & bit ? "set" : "clear" }, `${name} ${bits & bit ? 1 : 0}`)));
  }

  lab.heap.Facts = Facts;
})();
