// How a value is shown: as JSON, as bytes with the one at which decoding failed, or beside the row in ClickHouse.
import { el } from "./dom.js";
import { bytes, count } from "./format.js";
import * as json from "./json.js";

// masked stands in the place of personal data.
export const masked = "[masked]";

const tokens = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*/g;

// pretty is JSON, coloured.
export function pretty(value, label) {
  const pre = el("pre", { class: "json mono", tabindex: 0, role: "region", "aria-label": label });
  const whole = json.write(value, 2);
  let end = 0;
  for (const token of whole.matchAll(tokens)) {
    const [all, string, colon] = token;
    const kind = colon ? "name" : string === `"${masked}"` ? "mask" : string ? "string" : all === "null" ? "null" : "number";
    pre.append(whole.slice(end, token.index), el("span", { class: kind }, string ?? all), colon ?? "");
    end = token.index + all.length;
  }
  pre.append(whole.slice(end));
  return pre;
}

// hex shows bytes, sixteen a line, with the one at failed marked. There may be more bytes than are given.
export function hex(digits, failed, total) {
  const all = digits.match(/../g) ?? [];
  const pre = el("pre", { class: "hex mono", tabindex: 0, role: "region", "aria-label": "The value's bytes" });
  for (let start = 0; start < all.length; start += 16) {
    const line = all.slice(start, start + 16);
    pre.append(el("span", { class: "offset" }, start.toString(16).padStart(8, "0")), "  ");
    for (let i = 0; i < 16; i++) pre.append(...cell(line[i] ?? "  ", start + i, failed), i === 7 ? "  " : " ");
    pre.append(" ");
    for (const [i, byte] of line.entries()) pre.append(...cell(printable(byte), start + i, failed));
    pre.append("\n");
  }
  if (failed === all.length && failed === total) pre.append(el("mark", {}, "the value ends here, too early"), "\n");
  return [pre, all.length < total && el("p", { class: "help" }, all.length === 0 ? `The value has ${bytes(total)}, which may be personal data.` : `The first ${count(all.length)} of ${bytes(total)}; the others may be personal data.`)];
}

const cell = (shown, at, failed) => (at === failed ? [el("mark", { title: `decoding failed here, at byte ${at}` }, shown)] : [shown]);

function printable(byte) {
  const code = parseInt(byte, 16);
  return code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : "·";
}

// compare shows a letter's value beside the row that ClickHouse holds: what differs first, the rest on demand.
export function compare(value, row, table) {
  const names = [...new Set([...Object.keys(value ?? {}), ...Object.keys(row)])];
  const both = names.filter((name) => value && name in value && name in row);
  const differs = both.filter((name) => same(value[name], row[name]) === false);
  const others = names.filter((name) => !differs.includes(name));
  const lines = (list) => grid(list, value ?? {}, row, table);
  return [
    differs.length > 0 && [el("p", {}, el("strong", {}, `${count(differs.length)} of ${count(both.length)} fields differ`), " between the letter and the row:"), lines(differs)],
    differs.length === 0 && both.length > 0 && el("p", {}, "No field that can be compared differs."),
    others.length > 0 && el("details", { open: both.length === 0 }, el("summary", {}, both.length === 0 ? "The row" : `The other ${count(others.length)} fields: the same, masked, or only on one side`), lines(others)),
  ].flat();
}

function grid(names, value, row, table) {
  const side = (holder, name, other) => el("td", { class: "mono" }, name in holder ? inline(holder[name]) : el("span", { class: "muted" }, `not in ${other}`));
  const line = (name) => {
    const differs = name in value && name in row && same(value[name], row[name]) === false;
    return el("tr", { class: differs ? "differs" : false }, el("th", { scope: "row", class: "mono" }, name, differs && el("span", { class: "hidden" }, " differs")), side(value, name, "the letter"), side(row, name, table));
  };
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `The letter beside the row of ${table}` },
    el("table", { class: "compare" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Field"), el("th", { scope: "col" }, "This letter"), el("th", { scope: "col" }, `ClickHouse: ${table}`))), el("tbody", {}, names.map(line))));
}

const inline = (value) => (value === masked ? el("span", { class: "mask" }, masked) : value === null ? el("span", { class: "null" }, "null") : typeof value === "string" ? value : json.write(value));

// same compares what two systems write of one value; undefined if either side is masked.
function same(a, b) {
  if (a === masked || b === masked) return undefined;
  return plain(a) === plain(b);
}

function plain(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return String(Number(value));
  const written = typeof value === "object" ? json.write(value) : String(value);
  const date = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(?:Z|[+]00:00)?$/.exec(written);
  if (date) return `${date[1]} ${date[2]}${(date[3] ?? "").replace(/\.?0+$/, "")}`;
  return /^-?\d+\.\d+$/.test(written) ? written.replace(/\.?0+$/, "") : written;
}
