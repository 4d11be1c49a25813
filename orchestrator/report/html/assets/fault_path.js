"use strict";
/*
 * fault_path: for each window of the kernel's trace a tree of calls, which can be opened and closed line by line.
 * A line has the function, what it contains without a symbol, how often it came, and how long it took as a bar.
 */
(() => {
  const { el, svg } = lab;
  const mono = (...text) => el("span", { class: "mono" }, text);
  const DEEP = 4; // levels of a large tree that are open at first, besides the ways to the pages that were taken
  const SMALL = 40; // lines of a tree that is all open at first

  const micros = (value) => (value >= 1000 ? `${(value / 1000).toFixed(value >= 10000 ? 1 : 2)} ms`
    : `${value.toFixed(value >= 100 ? 0 : 1)} µs`);
  const short = (file) => file.replace(/^evidence\//, "");
  const link = (page, file, line) => {
    const text = `${short(file)}:${line}`;
    const to = page.evidence(file, line);
    return to ? el("a", { href: to }, text) : text;
  };

  /* What became of a page that was taken, as far as the page tables at the checkpoint say. */
  function became(one, window) {
    if (!one.page) return "";
    if (!window.inspected) return `for the page ${one.page}; the lab did not look into the page tables at ${window.at}`;
    if (one.is === undefined) {
      return `for the page ${one.page} of a process that the lab did not look into at ${window.at}`;
    }
    if (one.is === "frame") return `is the frame that the page tables have for ${one.page} at ${window.at}`;
    if (one.is) return `became the ${one.is} table on the way to ${one.page}`;
    return one.now ? `is not on the way to ${one.page}, which has frame ${one.now} at ${window.at}`
      : `is not on the way to ${one.page}, which has no frame at ${window.at}`;
  }

  const holdsPage = (node) => node.k === "page" || (node.c || []).some(holdsPage);
  const size = (nodes) => nodes.reduce((sum, node) => sum + 1 + size(node.c || []), 0);
  const longest = (nodes) => Math.max(0, ...nodes.map((node) => Math.max(node.t || 0, longest(node.c || []))));
  const folded = (nodes) => nodes.some((node) => (node.x > 1 && longest([node]) > 0) || folded(node.c || []));

  function bar(value, most) {
    const width = Math.max(1, 90 * value / most);
    return svg("svg", { class: "fp-bar", viewBox: "0 0 90 10", width: 90, height: 10, "aria-hidden": "true" },
      svg("rect", { x: 0, y: 4.5, width: 90, height: 1, class: "fp-rail" }),
      svg("rect", { x: 0, y: 1, width, height: 8, class: "fp-time" }));
  }

  function names(node) {
    switch (node.k) {
      case "fault": return [el("strong", {}, "page fault")];
      case "kernel fault": return [mono(`${node.n}()`),
        el("span", { class: "fp-tag" }, "for the kernel itself")];
      case "syscall": return [el("span", { class: "fp-tag" }, "system call"), mono(node.n, node.d)];
      case "page": return [el("strong", {}, node.n === "page" ? "page taken" : `${node.n} taken`)];
      case "event": return [el("span", { class: "fp-tag" }, "event"), mono(`${node.n} ${node.d || ""}`)];
      case "block": return [el("em", {}, "these calls, in this order")];
      default: return [mono(`${node.n}()`)];
    }
  }

  function about(node, window, page) {
    const each = node.e || [];
    if (!each.length) return null;
    const some = each.slice(0, 3);
    const rest = each.length > 3 ? ` and ${(node.x || each.length) - 3} more` : "";
    if (node.k === "page") {
      return el("span", { class: "fp-about" }, some.flatMap((one, at) => [at > 0 ? ", " : "", "frame ",
        key(page, `frame:${one.frame}`, one.frame)]), rest, each.length === 1 && became(each[0], window)
        ? [" ", el("span", { class: each[0].is === "frame" ? "fp-agree" : "fp-note" }, became(each[0], window))] : null,
      each.length > 1 && each.every((one) => one.is === "frame")
        ? [" ", el("span", { class: "fp-agree" }, `each is the frame of its page at ${window.at}`)] : null);
    }
    return el("span", { class: "fp-about" }, "at ", some.flatMap((one, at) => [at > 0 ? ", " : "",
      key(page, `page:${pageOf(one.address)}`, one.address)]), rest,
    each[0].ip && ` by the instruction at ${each[0].ip}`,
    node.d && node.k !== "syscall" && `, ${node.d}`);
  }

  const pageOf = (address) => lab.hex(BigInt(address) & ~0xfffn);

  const key = (page, name, text) => el("button", { type: "button", class: "fp-key mono", "data-key": name,
    "aria-pressed": "false", onclick: () => page.select(name) }, text);

  /* One line of the tree with what is below it. ``deep``: how many more levels are open; ``most``: the longest duration
     in the window. */
  function item(node, deep, most, window, page) {
    const inner = node.c || [];
    const list = el("ul", {}, inner.map((one) => item(one, deep - 1, most, window, page)),
      node.m && el("li", { class: "fp-more" }, `${node.m} more below, in the evidence`));
    const open = deep > 0 || inner.some(holdsPage);
    const line = el("span", { class: "fp-name" },
      node.x > 1 && el("span", { class: "fp-times" }, `${node.x} ×`), names(node),
      node.f && el("span", { class: "fp-flags" }, node.f.join(" ")),
      node.i && el("span", { class: "fp-inlined" }, "contains, inlined: ", el("span", { class: "mono" },
        node.i.map((one) => `${one}()`).join(" › "))),
      about(node, window, page), node.k === "page" && el("span", { class: "fp-note mono" }, node.d));
    const row = el("div", { class: "fp-line" });
    if (inner.length || node.m) {
      list.hidden = !open;
      const toggle = el("button", { type: "button", class: "fp-toggle", "aria-expanded": String(open),
        "aria-label": `${node.k === "fault" ? "page fault" : node.n || "calls"}: what is below it` });
      toggle.addEventListener("click", () => set(toggle, list, list.hidden));
      toggle.fold = (wanted) => set(toggle, list, wanted);
      row.append(toggle);
    } else {
      row.append(el("span", { class: "fp-leaf", "aria-hidden": "true" }));
    }
    row.append(line);
    if (node.t !== undefined && most > 0) {
      row.append(el("span", { class: "fp-duration" }, bar(node.t, most),
        el("span", { class: "fp-micros" }, micros(node.t))));
    }
    return el("li", { class: `fp-${node.k.replace(" ", "-")}` }, row, (inner.length || node.m) ? list : null);
  }

  function set(toggle, list, open) {
    list.hidden = !open;
    toggle.setAttribute("aria-expanded", String(open));
  }

  /* Every line of a tree for the table: depth, name, times, duration, what it was about. */
  function flat(nodes, depth, window, page, rows) {
    for (const node of nodes) {
      const each = (node.e || []).map((one) => one.frame || one.address).join(" ");
      const file = node.g ? window.graph_file : window.file;
      rows.push([`${"· ".repeat(depth)}${node.k === "block" ? "(repeated calls)" : node.n}`, node.k, node.x || 1,
        node.t === undefined ? "–" : node.t.toFixed(3), [node.d, each, node.i && `inlined: ${node.i.join(", ")}`,
          (node.f || []).join(" ")].filter(Boolean).join("; "), node.l ? link(page, file, node.l) : "–"]);
      flat(node.c || [], depth + 1, window, page, rows);
    }
    return rows;
  }

  function tree(window, emulated, page) {
    const most = longest(window.nodes);
    const deep = size(window.nodes) <= SMALL ? Infinity : DEEP;
    const root = el("ul", { class: "fp-tree" }, window.nodes.map((node) => item(node, deep, most, window, page)));
    const all = (open) => root.querySelectorAll(".fp-toggle").forEach((toggle) => toggle.fold(open));
    const counts = window.counts.map(([what, count]) => (count > 1 ? `${what} × ${count}` : what)).join(", ");
    return el("section", { class: "fp-window" },
      el("h4", {}, "window ", mono(window.number > 1 ? `${window.name} #${window.number}` : window.name),
        window.seconds !== null && el("span", { class: "fp-note" }, ` ${micros(window.seconds * 1e6)}`)),
      el("p", { class: "muted" }, counts || "nothing that is recorded happened in it", ". ", window.remark, " ",
        window.graph && most > 0 && (emulated
          ? "Durations are the guest's clock on an emulated processor, with tracing on: good to compare, not to quote."
          : "Durations include the cost of tracing."),
        folded(window.nodes) && " That of a line with a number of times is of all of them together."),
      window.problem && el("p", { class: "trouble" }, `Not all of it was recorded: ${window.problem}`),
      !window.closed && el("p", { class: "trouble" }, "The window has no end: the program did not reach it."),
      window.nodes.length > 0 && el("p", { class: "fp-all" },
        el("button", { type: "button", class: "more", onclick: () => all(true) }, "Open all"), " ",
        el("button", { type: "button", class: "more", onclick: () => all(false) }, "Close all")),
      root, window.more > 0 && el("p", { class: "muted" }, `${window.more} more are in ${short(window.file)}`));
  }

  lab.picture("fault_path", (host, data, page) => {
    const steps = [...new Set(data.windows.map((window) => window.step))];
    const jump = el("ol", { class: "fp-jump", "aria-label": "Checkpoints before which windows were recorded" },
      steps.map((step) => el("li", {}, el("button", { type: "button", "data-step": step, onclick: () => page.go(step) },
        el("span", {}, page.steps[step] ? page.steps[step].name : step),
        el("span", { class: "fp-note mono" }, data.windows.filter((one) => one.step === step).map((one) => one.name)
          .join(", "))))));
    const stage = el("div", {});
    host.append(jump, stage);
    if (data.absent.length) {
      host.append(el("p", { class: "fp-note" }, "Of the functions that were looked for this kernel has no symbol of: ",
        mono(data.absent.join(", ")), ". The compiler has inlined them, or they are not in it."));
    }
    const list = lab.table(host, "Calls", ["call", "kind", { title: "times", number: true },
      { title: "µs, all together", number: true }, "about", "evidence"], []);
    const taken = lab.table(host, "Pages taken", [{ title: "frame", mono: true }, { title: "order", number: true },
      { title: "thread", number: true }, { title: "for the page", mono: true }, "what became of it", "flags",
      "call chain, outermost first", "evidence"], []);
    for (const trouble of data.troubles) host.append(el("p", { class: "trouble" }, trouble));

    page.onStep((step) => {
      const here = data.windows.filter((window) => window.step === step);
      for (const button of jump.querySelectorAll("button")) {
        if (Number(button.dataset.step) === step) button.setAttribute("aria-current", "step");
        else button.removeAttribute("aria-current");
      }
      const name = page.steps[step].name;
      stage.replaceChildren(...(here.length ? here.map((window) => tree(window, data.emulated, page))
        : [el("p", {}, `No window of the trace ended between the checkpoint before and ${name}. `
          + "Choose one of the checkpoints above.")]));
      list.update(here.flatMap((window) => flat(window.nodes, 0, window, page, [])), `Calls before ${name}`);
      taken.update(here.flatMap((window) => window.pages.map((one) => [
        one.frame, one.order, one.thread, one.page || "–",
        became(one, window) || "–", one.gfp, one.chain.join(" › "), link(page, window.file, one.line)])),
      `Pages taken before ${name}`);
      lab.press(stage, page.selected);
    });

    page.onSelect((key) => lab.press(stage, key));
  });
})();
