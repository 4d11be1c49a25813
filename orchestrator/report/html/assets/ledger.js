"use strict";
/*
 * ledger.js: filters of the ledger's rows, arrow keys from cell to cell, and the evidence behind a cell.
 */
(() => {
  const { el } = lab;

  function start() {
    const table = document.querySelector("table.ledger");
    const source = document.getElementById("ledger-data");
    if (!table || !source) return;
    const data = JSON.parse(source.textContent);
    filters(table, data);
    keys(table);
    dialog(table, data);
  }

  /* ---- which rows are shown */

  function filters(table, data) {
    const text = document.getElementById("filter-text");
    const splits = document.getElementById("filter-splits");
    const verdicts = [...document.querySelectorAll(".filter-verdict")];
    const count = document.getElementById("filter-count");
    const rows = [...table.querySelectorAll("tr.row")];
    const haystack = new Map(rows.map((row) => [row, words(row, data).toLowerCase()]));

    function apply() {
      const wanted = new Set(verdicts.filter((one) => one.checked).map((one) => one.value));
      const parts = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const holds = wanted.has(row.dataset.verdict) && (!splits.checked || row.hasAttribute("data-splits"))
          && parts.every((part) => haystack.get(row).includes(part));
        row.hidden = !holds;
        shown += holds ? 1 : 0;
      }
      for (const body of table.tBodies) body.hidden = !body.querySelector("tr.row:not([hidden])");
      count.textContent = `${shown} of ${rows.length} claims`;
    }

    for (const one of [text, splits, ...verdicts]) one.addEventListener("input", apply);
    document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
    addEventListener("keydown", (event) => {
      const typing = event.target instanceof Element && event.target.closest("input, dialog");
      if (event.key !== "/" || typing) return;
      event.preventDefault();
      text.focus();
    });
    apply();
  }

  /* What a search looks through: the row, its topic, and what its expectations say. */
  function words(row, data) {
    const claim = data.claims[row.dataset.claim];
    const proofs = (claim ? claim.proofs : []).map((one) =>
      [one.scenario, one.id, one.at, ...one.forms.flatMap((form) => [form.when, form.because])].join(" "));
    const topic = row.closest("tbody").querySelector("tr.topic");
    return [row.querySelector("th").textContent, topic.textContent, ...proofs].join(" ");
  }

  /* ---- one cell has the focus; arrow keys give it on */

  function keys(table) {
    const buttons = (row) => [...row.querySelectorAll("button")];
    const rows = () => [...table.querySelectorAll("tr.row:not([hidden])")].filter((row) => buttons(row).length);
    let current = table.querySelector("tr.row button");
    if (current) current.tabIndex = 0;

    function give(button) {
      if (!button) return;
      current.tabIndex = -1;
      current = button;
      current.tabIndex = 0;
      current.focus();
      current.scrollIntoView({ block: "nearest", inline: "nearest" });
    }

    table.addEventListener("focusin", (event) => {
      if (event.target.tagName !== "BUTTON") return;
      current.tabIndex = -1;
      current = event.target;
      current.tabIndex = 0;
    });
    table.addEventListener("keydown", (event) => {
      const row = current.closest("tr");
      const all = rows();
      const mine = buttons(row);
      const at = mine.indexOf(current);
      const line = all.indexOf(row);
      const column = (place) => (all[place] ? buttons(all[place])[at] : null);
      const to = {
        ArrowLeft: () => mine[at - 1], ArrowRight: () => mine[at + 1], Home: () => mine[0],
        End: () => mine[mine.length - 1], ArrowUp: () => column(line - 1), ArrowDown: () => column(line + 1),
        PageUp: () => column(Math.max(0, line - 8)), PageDown: () => column(Math.min(all.length - 1, line + 8)),
      }[event.key];
      if (!to || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      give(to());
    });
  }

  /* ---- the evidence of a cell */

  function dialog(table, data) {
    const box = document.getElementById("evidence");
    table.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-pair]");
      if (!button) return;
      box.querySelector(".content").replaceChildren(...content(button, data, box));
      box.showModal();
      box.scrollTop = 0;
    });
    box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  }

  function content(button, data, box) {
    const name = button.closest("tr").dataset.claim;
    const claim = data.claims[name];
    const [kernel, release, glibc, userland] = data.pairs[Number(button.dataset.pair)];
    const found = claim.proofs.filter((proof) => proof.results[button.dataset.pair]);
    const close = el("button", { type: "button", onclick: () => box.close() }, "Close");
    const title = el("h2", { id: "evidence-title" }, `${name} on ${kernel} with glibc ${glibc}`);
    const parts = [
      el("div", { class: "bar" }, title, close), el("p", {}, code(claim.statement)),
      el("p", { class: "muted" }, `Linux ${release || "?"}, glibc ${glibc} (${userland}); `,
        `${found.length} ${found.length === 1 ? "finding" : "findings"}`),
    ];
    if (!found.length) parts.push(el("p", {}, "Nothing that proves it was run on this pair."));
    return parts.concat(found.map((proof) => finding(proof, proof.results[button.dataset.pair], data)));
  }

  function finding(proof, [word, form, message, run, operands], data) {
    const how = form === null ? null : proof.forms[form];
    const signs = { confirmed: ["✓", "is-pass"], differs: ["≈", "is-differs"], refuted: ["≠", "is-refuted"],
      failed: ["✗", "is-fail"], error: ["!", "is-warn"] };
    const [sign, style] = signs[word] || ["–", "is-none"];
    const line = (label, ...children) => el("p", {}, el("span", { class: "muted" }, `${label} `), ...children);
    return el("article", { class: "finding" },
      el("h3", {}, el("span", { class: `badge ${style}`, "data-mark": sign }, word), " ",
        el("code", {}, proof.id), ` of ${proof.scenario}${proof.at ? ` at ${proof.at}` : ""}`),
      data.texts[message] ? el("p", {}, el("strong", {}, data.texts[message])) : null,
      how ? el("p", {}, code(how.because)) : null,
      how && how.when ? line("This form holds when", el("code", {}, how.when)) : null,
      how && how.source.length ? line("Source:", how.source.map(link)) : null,
      how ? line("Level of evidence:", how.levels || "none") : null,
      operands ? (operands.length ? values(proof, operands, data) : null)
        : line("Values and evidence:", "left out, as the page is large enough; run.json of the run has them"),
      line("Run:", el("code", {}, data.texts[run] || "the ledger was read from a file that names no run")));
  }

  /* Text in which `names` are code. */
  function code(text) {
    const parts = text.split("`");
    if (parts.length % 2 === 0) return text;
    return parts.map((part, place) => (place % 2 ? el("code", {}, part) : part));
  }

  function link([text, url]) {
    return url.startsWith("https://") ? el("a", { href: url, rel: "noopener noreferrer" }, text) : text;
  }

  function values(proof, operands, data) {
    const rows = operands.map(([text, value, lines]) => el("tr", {},
      el("th", { scope: "row" }, el("code", {}, data.texts[text])),
      el("td", {}, el("code", {}, data.texts[value])),
      el("td", {}, lines.map(([file, number, shown]) => el("code", { class: "evidence-line" },
        `${data.texts[file]}${number ? `:${number}` : ""} ${data.texts[shown]}`)))));
    return el("details", { open: operands.length <= 4 },
      el("summary", {}, "Values, and the evidence they came from"),
      el("table", {}, el("caption", { class: "unseen" }, `Values of ${proof.id}`),
        el("thead", {}, el("tr", {}, ["Part", "Value", "Evidence"].map((one) => el("th", { scope: "col" }, one)))),
        el("tbody", {}, rows)));
  }

  document.addEventListener("DOMContentLoaded", start);
})();
