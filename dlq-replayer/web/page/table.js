// The table of letters: a page of it, which rows are chosen, and what is new since it was read.
import { badge, byId, el, show } from "./dom.js";
import { colour } from "./chart.js";
import { count, letters, order, short, time } from "./format.js";
import { current, go, write } from "./route.js";

let page = null; // what was read last: {letters, next, total, partial}
let trail = []; // the cursors of the pages before this one
let gone = new Set(); // IDs of rows that the filter no longer matches
const chosen = new Map(); // rows by ID, over all pages
let every = false; // all that match the filter are chosen, whatever chosen holds
let onChoice = () => {};
let mayAct = false;

export function start(acts, listener) {
  mayAct = acts;
  onChoice = listener;
}

// choice is what the actions are about: {every, total, rows}.
export const choice = () => ({ every, total: page?.total ?? 0, partial: page?.partial ?? false, rows: [...chosen.values()] });

export function forget() {
  chosen.clear();
  every = false;
}

// draw shows a page.
export function draw(answer, stats) {
  page = answer;
  gone = new Set();
  redraw(stats);
}

export function redraw(stats) {
  byId("letters-title").textContent = title();
  show(byId("news"));
  if (page.letters.length === 0) {
    show(byId("table"), empty(stats));
  } else {
    show(byId("table"), el("table", { class: "letters" }, el("caption", { class: "hidden" }, title()), head(), el("tbody", {}, page.letters.map(row))));
  }
  show(byId("pages"), pages());
  refresh();
}

function title() {
  return page.partial ? `At least ${letters(page.total)}: not all are read yet` : letters(page.total);
}

// update takes the same page read again: what changed is shown in its place, what is new waits to be asked for.
export function update(answer, stats) {
  if (!page || page.letters.length === 0) return draw(answer, stats);
  const now = new Map(answer.letters.map((one) => [one.id, one]));
  const shown = new Set(page.letters.map((one) => one.id));
  const first = answer.letters.findIndex((one) => shown.has(one.id));
  const newer = (one, i) => !shown.has(one.id) && (first < 0 ? order(one.last_failure, page.letters[0].last_failure) > 0 : i < first);
  const fresh = current().cursor === "" && current().order === "newest" ? answer.letters.filter(newer).length : 0;
  if (fresh < answer.letters.length || !answer.next) {
    gone = new Set(page.letters.filter((one) => !now.has(one.id) && !pushedOut(one, answer)).map((one) => one.id));
  }
  page = { ...page, letters: page.letters.map((one) => now.get(one.id) ?? one), total: answer.total, partial: answer.partial };
  for (const id of gone) chosen.delete(id);
  redraw(stats);
  if (fresh > 0) {
    const text = `${fresh}${fresh === answer.letters.length && answer.next ? " or more" : ""} new`;
    show(byId("news"), el("button", { type: "button", class: "primary", "data-key": "news", onclick: reload }, `${text} – show`));
  }
  return undefined;
}

let reload = () => {};

export function onReload(listener) {
  reload = listener;
}

// pushedOut tells whether a row is not in the answer because newer ones took its place.
function pushedOut(one, answer) {
  const last = answer.letters.at(-1);
  return Boolean(answer.next) && last !== undefined && order(one.last_failure, last.last_failure) * (current().order === "newest" ? 1 : -1) <= 0;
}

const columns = [["When", "when"], ["Reason", "reason"], ["Key and message", "what"], ["Letter", "id"], ["Group", "group"], ["Replays", "number replays"], ["State", "state"]];

function head() {
  const other = current().order === "newest" ? "oldest" : "newest";
  const heading = ([name, kind]) => {
    if (kind !== "when") return el("th", { scope: "col", class: kind }, name);
    const sorted = current().order === "newest" ? "descending" : "ascending";
    return el("th", { scope: "col", class: kind, "aria-sort": sorted },
      el("button", { type: "button", class: "sort", "data-key": "sort", title: `Show the ${other} first`, onclick: () => go({ order: other, cursor: "" }) }, name, el("span", { "aria-hidden": "true" }, sorted === "descending" ? " ↓" : " ↑")));
  };
  const all = present();
  const box = el("input", { type: "checkbox", "aria-label": "Choose every letter on this page", "data-key": "all", checked: every || (all.length > 0 && all.every((one) => chosen.has(one.id))), disabled: every, onchange: (event) => {
    for (const one of present()) event.target.checked ? chosen.set(one.id, one) : chosen.delete(one.id);
    refresh();
  } });
  return el("thead", {}, el("tr", {}, mayAct && el("th", { scope: "col", class: "box" }, box), columns.map(heading)));
}

function row(one) {
  const address = write({ ...current(), letter: one.id });
  const box = el("input", { type: "checkbox", "aria-label": `Choose ${one.id}`, "data-key": `box ${one.id}`, checked: every || chosen.has(one.id), disabled: every || gone.has(one.id), onchange: (event) => {
    event.target.checked ? chosen.set(one.id, one) : chosen.delete(one.id);
    refresh();
  } });
  const stand = () => (gone.has(one.id) ? el("span", { class: "badge quiet", title: "It does not match the filter any more: somebody has dealt with it" }, "changed") : badge(one.state, one.state));
  const open = (event) => {
    if (event.target.closest("a, input, label, button") || String(getSelection()) !== "") return;
    event.currentTarget.querySelector("a").click();
  };
  return el(
    "tr", { class: gone.has(one.id) ? "gone" : false, "data-id": one.id, onclick: open },
    mayAct && el("td", { class: "box" }, box),
    el("td", { class: "when" }, time(one.last_failure, short)),
    el("td", { class: "reason" }, el("span", { class: `dot ${colour(one.reason)}` }), one.reason),
    el("td", { class: "what" }, el("a", { href: address, class: "mono", "data-key": `row ${one.id}` }, one.key || "(no key)"), el("span", { class: "message" }, one.flaw || one.message), el("span", { class: "meta" }, el("span", { class: `dot ${colour(one.reason)}` }), `${one.reason} `, stand())),
    el("td", { class: "id mono" }, one.id.split("/").map((part, i) => (i > 0 ? ["/", el("wbr"), part] : part))),
    el("td", { class: "group" }, one.group),
    el("td", { class: "number replays" }, count(one.replays)),
    el("td", { class: "state" }, stand()),
  );
}

// present are the rows that can be chosen.
const present = () => page.letters.filter((one) => !gone.has(one.id));

// refresh shows what is chosen without drawing the table anew.
function refresh() {
  const all = present();
  for (const box of byId("table").querySelectorAll("tbody input")) {
    const id = box.closest("tr").dataset.id;
    box.checked = every || chosen.has(id);
    box.disabled = every || gone.has(id);
  }
  const top = byId("table").querySelector("thead input");
  if (top) {
    top.checked = every || (all.length > 0 && all.every((one) => chosen.has(one.id)));
    top.disabled = every;
  }
  onChoice();
}

export function chooseEvery(on) {
  forget();
  every = on;
  refresh();
}

function pages() {
  const { cursor } = current();
  const turn = (to, steps) => {
    trail = steps;
    go({ cursor: to });
    byId("letters-title").scrollIntoView({ block: "start" });
  };
  if (!cursor) trail = [];
  const known = !cursor || trail.length > 0;
  const from = trail.length * 50 + 1;
  return [
    cursor && el("button", { type: "button", "data-key": "first", onclick: () => turn("", []) }, "First page"),
    cursor && trail.length > 0 && el("button", { type: "button", "data-key": "previous", onclick: () => turn(trail.at(-1), trail.slice(0, -1)) }, "Previous"),
    page.letters.length > 0 && known && el("span", { class: "muted" }, `${count(from)}–${count(from + page.letters.length - 1)} of ${page.partial ? "at least " : ""}${count(page.total)}`),
    page.next && el("button", { type: "button", "data-key": "next", onclick: () => turn(page.next, [...trail, current().cursor]) }, page.partial ? "Go on searching" : "Next"),
  ];
}

// empty says what it means that there is nothing to see.
function empty(stats) {
  const { filter, cursor } = current();
  const names = Object.keys(filter);
  const say = (first, second, ...more) => el("div", { class: "empty" }, el("p", {}, el("strong", {}, first), " ", second), more);
  if (page.partial && page.next) return say("Nothing found yet:", "the search has not read every letter. Go on searching below.");
  if (stats && !stats.ready) return say("Still reading the dead-letter topics.", "Letters appear here as they are read.");
  if (stats?.letters === 0) return say("No dead letters:", "everything that arrived was taken by its consumer, or the letters have expired.");
  if (names.length === 0) return say("No open dead letters:", "every letter has been dealt with. The tiles above show what became of them.");
  if (cursor) return say("Nothing more:", "the letters of this page have been dealt with or have expired. Go back to the first page.");
  return say("No letter matches this filter.", "Only open letters are shown unless the filter names another state.", el("button", { type: "button", onclick: () => go({ filter: {}, cursor: "" }) }, "Clear the filter"));
}
