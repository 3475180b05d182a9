// The list of what was done, by whom and why.
import { get } from "./api.js";
import { badge, byId, el, show } from "./dom.js";
import { time } from "./format.js";
import * as json from "./json.js";

let entries = [];
let next = "";

// load reads the newest entries.
export const load = (quiet) => more("", quiet);

async function more(cursor, quiet) {
  const query = new URLSearchParams({ limit: "100" });
  if (cursor) query.set("cursor", cursor);
  const answer = await get("/api/audit", query, { quiet });
  entries = cursor ? [...entries, ...answer.entries] : answer.entries;
  next = answer.next;
  draw();
}

function draw() {
  if (entries.length === 0) {
    show(byId("list-audit"), el("div", { class: "empty" }, el("p", {}, el("strong", {}, "Nothing yet:"), " no letter was decided on or revealed within the time that decisions are kept.")));
    return;
  }
  const heads = [["When", "when"], ["Who", "who"], ["What", "what"], ["Letter or run", "about"], ["Reason", "why"], ["From", "from"]];
  show(
    byId("list-audit"),
    el("table", { class: "audit" }, el("caption", { class: "hidden" }, "The audit, newest first"), el("thead", {}, el("tr", {}, heads.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)))), el("tbody", {}, entries.map(row))),
    next && el("p", { class: "pages" }, el("button", { type: "button", "data-key": "older", onclick: () => more(next) }, "Older ones")),
  );
}

function row(entry) {
  const about = (kind) => (entry.letter ? el("a", { class: "mono", href: `#audit?letter=${encodeURIComponent(entry.letter)}`, "data-key": `audit ${kind} ${entry.letter} ${entry.at}` }, entry.letter) : el("span", { class: "mono muted" }, entry.run_id ? `run ${entry.run_id}` : ""));
  const detail = entry.detail && (typeof entry.detail === "string" ? entry.detail : json.write(entry.detail, 2));
  return el(
    "tr", {},
    el("td", { class: "when" }, time(entry.at)), el("td", { class: "who" }, entry.by), el("td", { class: "what" }, badge(entry.what, entry.what)), el("td", { class: "about" }, about("column")),
    el("td", { class: "why" }, entry.reason, entry.note && el("p", { class: "help" }, entry.note), detail && el("details", {}, el("summary", {}, "More"), el("pre", { class: "mono" }, detail)), el("span", { class: "meta small" }, about("line"), ` by ${entry.by}${entry.from ? ` from ${entry.from}` : ""}`)),
    el("td", { class: "from" }, entry.from),
  );
}
