"use strict";
/*
 * heap_model.js: the data of the heap's picture (heap.py, heap_code.py) as chunks and lists. Nothing here draws.
 *
 * A Region is memory that is drawn in one piece: a walk of chunks, or all chunks with mappings of their own one behind
 * the other. Positions in it are bytes from its beginning, as numbers; addresses are BigInt.
 */
lab.heap = (() => {
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const VALUES = new Uint8Array(128);
  [...DIGITS].forEach((digit, value) => { VALUES[digit.charCodeAt(0)] = value; });
  const SAME = "=";
  const FENCE = 16; // bytes of a last fencepost, whose size is 0

  /* The numbers of a text of heap_code.py. */
  function* numbers(text) {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < text.length; i += 1) {
      const digit = VALUES[text.charCodeAt(i)];
      value += (digit & 31) * scale;
      if (digit & 32) {
        scale *= 32;
      } else {
        yield value;
        value = 0;
        scale = 1;
      }
    }
  }

  /* How many of a sorted array's first `count` values are at most `value`. */
  function atMost(sorted, count, value) {
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sorted[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  const big = (text) => (text ? BigInt(text) : 0n);
  const EXACT = 64 * 1024; // chunks below are told to the byte
  const amount = (value) => (typeof value !== "number" ? value : value < EXACT ? `${value} B` : lab.bytes(value));
  const hex = (address) => "0x" + address.toString(16);
  const key = (address) => "chunk:" + hex(address);

  class Region {
    constructor(name, start, lead, rest) {
      this.name = name;
      this.start = start;
      this.lead = lead; // bytes before the first chunk
      this.rest = rest; // bytes behind the last one
      this.base = 0; // the number of its first chunk among all of the moment
      this.at = new Float64Array(0); // where each chunk begins
      this.count = 0;
      this.length = lead + rest;
      this.mapped = null;
      this.stretches = null;
    }

    /* The place of the chunk at a position; -1 where there is none. */
    place(position) {
      const place = atMost(this.at, this.count, position) - 1;
      return place >= 0 && position < this.at[place] + this.span(place) ? place : -1;
    }

    /* How much of the picture a chunk takes. */
    span(place) {
      return (place + 1 < this.count ? this.at[place + 1] : this.length - this.rest) - this.at[place];
    }

    position(address) {
      return Number(address - this.start);
    }

    /* [state, share of its bytes] of a chunk. */
    mix(place) {
      return [[this.state(place), 1]];
    }

    address(place) {
      return this.mapped ? big(this.mapped[place][0]) : this.start + BigInt(this.at[place]);
    }
  }

  /* A walk of chunks. `kinds`: [[size word, state, change]]. */
  class Walk extends Region {
    constructor(raw, name, kinds, text) {
      super(name, big(raw.first) - BigInt(raw.lead), raw.lead, raw.rest);
      this.raw = raw;
      this.kinds = kinds;
      this.count = raw.text === undefined ? 0 : raw.chunks;
      this.kind = new Uint32Array(this.count);
      this.at = new Float64Array(this.count);
      let position = raw.lead;
      let place = 0;
      for (const kind of text === undefined ? [] : numbers(text)) {
        this.kind[place] = kind;
        this.at[place] = position;
        position += this.size(place);
        place += 1;
      }
      if (place && this.size(place - 1) === 0) {
        position += FENCE;
        this.rest = Math.max(this.rest - FENCE, 0);
      }
      this.length = position + this.rest;
    }

    word(place) { return this.kinds[this.kind[place]][0]; }
    size(place) { const word = this.word(place); return word - (word % 8); }
    state(place) { return this.kinds[this.kind[place]][1]; }
    change(place) { return this.kinds[this.kind[place]][2]; }

    line(place) {
      const [begins, lines] = this.raw.lines;
      return lines[atMost(begins, begins.length, place) - 1];
    }
  }

  /* A walk of too many chunks: stretches of equal length instead. */
  class Stretches extends Region {
    constructor(raw, name) {
      super(name, big(raw.first) - BigInt(raw.lead), raw.lead, raw.rest);
      this.raw = raw;
      this.stretches = raw.stretches;
      this.count = raw.stretches.length;
      this.at = Float64Array.from(raw.stretches, (_, place) => raw.lead + place * raw.stretch);
      this.length = raw.lead + raw.span + raw.rest;
    }

    mix(place) {
      const parts = this.stretches[place];
      const found = [];
      for (let at = 1; at < parts.length; at += 2) found.push([parts[at], parts[at + 1] / this.raw.stretch]);
      return found;
    }

    size(place) { return this.span(place); }
    state(place) { return this.stretches[place][1] || "u"; }
    change() { return SAME; }
    line() { return this.raw.line; }
  }

  /* Chunks with mappings of their own, each as long as its mapping; the gaps between them are left out. */
  class MappedChunks extends Region {
    constructor(rows) {
      super("chunks with mappings of their own", 0n, 0, 0);
      this.mapped = rows;
      this.count = rows.length;
      this.at = new Float64Array(this.count);
      rows.forEach((row, place) => {
        this.at[place] = this.length;
        this.length += Math.max(Number(big(row[3]) - big(row[2])), FENCE);
      });
    }

    position(address) {
      const place = this.mapped.findIndex((row) => big(row[2]) <= address && address < big(row[3]));
      return place < 0 ? -1 : this.at[place] + Number(address - big(this.mapped[place][2]));
    }

    word(place) { return this.mapped[place][1]; }
    size(place) { const word = this.word(place); return typeof word === "number" ? word - (word % 8) : word; }
    state() { return "m"; }
    change(place) { return this.mapped[place][4]; }
    line(place) { return this.mapped[place][5]; }
  }

  function arenaName(arena) {
    return arena.main ? "main_arena" : `arena ${arena.index}`;
  }

  /* One list: what it is of, its chunks as {number} (among all of the moment) or {address} that no walk has. */
  class List {
    constructor(row, moment) {
      const more = typeof row[row.length - 1] === "object" ? row[row.length - 1] : {};
      [this.kind, this.owner, this.index, this.length, this.text, this.line, this.size, this.largest, this.count] = row;
      if (this.kind !== "tcache") this.size = this.largest = this.count = undefined;
      this.strangers = more.strangers || [];
      this.broken = more.broken || null;
      this.moment = moment;
      const single = ["tcache", "fastbin"].includes(this.kind);
      this.title = this.kind === "unsorted" ? "unsorted bin" : `${this.kind}${single ? "" : " bin"} ${this.index}`;
    }

    get members() {
      if (!this.found) {
        let last = 0;
        let strange = 0;
        this.found = [];
        for (const code of numbers(this.text)) {
          if (code === 0) {
            this.found.push({ number: -1, address: this.strangers[strange] });
            strange += 1;
            continue;
          }
          const twice = code - 1;
          last += twice % 2 ? -Math.floor(twice / 2) : twice / 2;
          const address = this.moment.addressOf(last);
          this.found.push({ number: last, address: address === null ? "" : hex(address) });
        }
      }
      return this.found;
    }

    get ofThread() { return this.kind === "tcache"; }
    get doubly() { return !["tcache", "fastbin"].includes(this.kind); }
  }

  /* One process at one checkpoint. */
  class Moment {
    constructor(data, raw) {
      this.data = data;
      this.raw = raw;
      this.regions = raw.trouble ? [] : this.made();
      this.lists = (raw.lists || []).map((row) => new List(row, this));
    }

    made() {
      const { data, raw } = this;
      const counts = new Map();
      const regions = raw.regions.map((one) => {
        const arena = raw.arenas[one.arena];
        const number = (counts.get(one.arena) || 0) + 1;
        counts.set(one.arena, number);
        const several = raw.regions.filter((other) => other.arena === one.arena).length > 1;
        const name = arenaName(arena) + (several ? `, heap ${number}` : "");
        const region = one.stretches ? new Stretches(one, name) : new Walk(one, name, data.kinds, data.texts[one.text]);
        region.arena = arena;
        return region;
      });
      if (raw.mapped.length) regions.push(new MappedChunks(raw.mapped));
      let base = 0;
      for (const region of regions) {
        region.base = base;
        base += region.stretches ? 0 : region.count;
      }
      this.count = base;
      this.walked = regions.filter((region) => !region.stretches && region.count);
      this.bases = this.walked.map((region) => region.base);
      return regions;
    }

    /* What the program did not ask for itself: whose cache lies in a chunk in use, by the chunk's address. */
    holds(address) {
      if (!this.held) {
        this.held = new Map();
        for (const { tcache, tid } of this.raw.threads) {
          if (tcache) this.held.set(big(tcache) - BigInt(this.data.header), `tcache of thread ${tid}`);
        }
      }
      return this.held.get(address) || "";
    }

    /* The region and place of a chunk by its number. */
    at(number) {
      const region = this.walked[atMost(this.bases, this.bases.length, number) - 1];
      return region && number < region.base + region.count ? { region, place: number - region.base } : null;
    }

    addressOf(number) {
      const found = this.at(number);
      return found ? found.region.address(found.place) : null;
    }

    /* The chunk that an address lies in; null if there is none. */
    find(address) {
      for (const region of this.regions) {
        const position = region.position(address);
        const place = position < 0 ? -1 : region.place(position);
        if (place >= 0) return { region, place };
      }
      return null;
    }

    /* The region and position of an address, in a chunk or not; null if no region has it. */
    where(address) {
      for (const region of this.regions) {
        const position = region.position(address);
        if (position >= 0 && position < region.length) return { region, position };
      }
      return null;
    }

    /* The list that a chunk is in, and its place there; null: in none. The first list that has it counts. */
    listed(number) {
      if (!this.places) {
        this.places = new Map();
        for (const list of this.lists) {
          list.members.forEach((one, place) => {
            if (one.number >= 0 && !this.places.has(one.number)) this.places.set(one.number, { list, place });
          });
        }
      }
      return this.places.get(number) || null;
    }
  }

  /* All moments of a run, each decoded when it is first asked for. */
  class Model {
    constructor(data) {
      this.data = data;
      this.decoded = new Map();
    }

    /* The numbers of the moments of a checkpoint. */
    of(step) {
      return this.data.moments.map((_, number) => number).filter((number) => this.data.moments[number].step === step);
    }

    moment(number) {
      if (!this.decoded.has(number)) this.decoded.set(number, new Moment(this.data, this.data.moments[number]));
      return this.decoded.get(number);
    }
  }

  return { Model, amount, atMost, big, hex, key, arenaName, SAME };
})();
