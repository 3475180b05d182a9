// One letter, whole: why it is here, what it says, what became of it, and what ClickHouse holds for its key.
import { colour } from "./chart.js";
import { ask, open } from "./dialog.js";
import { badge, button, el, show } from "./dom.js";
import { get, letterPath } from "./api.js";
import { age, bytes, count, order, time } from "./format.js";
import { current, go, write } from "./route.js";
import * as value from "./value.js";

let shown = null; // {id, dialog}
let actions = () => []; // the buttons for a letter

export function start(buttons) {
  actions = buttons;
}

// draw opens the letter that the address names, or closes what is open.
export function draw(id) {
  if (shown?.id === id) return;
  const before = shown;
  shown = null;
  before?.dialog.close();
  if (!id) return;
  const opened = { id, dialog: open("Dead letter", { kind: "drawer", onclose: () => shown === opened && go({ letter: "" }) }) };
  shown = opened;
  load(opened);
}

// refresh reads the letter that is open again: a run may have dealt with it.
export function refresh() {
  if (shown && !shown.revealed) load(shown, "", true);
}

async function load(opened, query, quiet) {
  const { body } = opened.dialog;
  if (body.childNodes.length === 0) show(body, el("p", { class: "muted", role: "status" }, `Reading ${opened.id} …`));
  try {
    const letter = await get(letterPath(opened.id), query, { quiet });
    if (shown !== opened) return;
    opened.revealed = Boolean(query);
    show(body, whole(letter, opened));
  } catch (error) {
    if (query) throw error;
    if (shown === opened) show(body, el("p", { class: "error", role: "alert" }, error.message));
  }
}

function whole(letter, opened) {
  return [
    el("div", { class: "line" }, badge(letter.state, letter.state), el("span", { class: "mono id" }, letter.id), el("span", { class: "muted" }, `failed ${age(letter.last_failure)} ago`)),
    el("p", { class: "key mono" }, letter.key || "(no key)"),
    el("p", { class: "cause" }, el("span", { class: `dot ${colour(letter.reason)}` }), el("strong", {}, letter.reason), letter.message && `: ${letter.message}`),
    letter.flaw && el("p", { class: "banner" }, el("strong", {}, "It can never be replayed: "), letter.flaw, "."),
    el("div", { class: "actions", role: "group", "aria-label": "What to do with this letter" }, actions(letter)),
    section("Value", values(letter, opened)),
    (letter.warehouse || letter.warehouse_error) && section("Beside what ClickHouse holds for the key", warehouse(letter)),
    section("What happened", timeline(letter)),
    section("Facts", facts(letter)),
    section("Headers of the original", headers(letter)),
  ];
}

const section = (title, ...content) => el("section", { "aria-label": title }, el("h3", {}, title), ...content);

function values(letter, opened) {
  const reveal = letter.masked && actions(letter).length > 0 && button("Reveal personal data…", () =>
    ask("Reveal personal data", `The values of ${letter.id} are shown to you as they are. That you looked, when and why is kept in the audit.`, "Reveal", (reason) =>
      load(opened, new URLSearchParams({ reveal: "true", reason }))), { "data-key": "reveal" });
  const undecodable = letter.undecodable && [
    el("p", { class: "cause" }, el("strong", {}, "It cannot be decoded: "), letter.undecodable, letter.undecodable_at >= 0 && ` (at byte ${count(letter.undecodable_at)} of ${count(letter.value_bytes)})`),
    letter.hex !== undefined && value.hex(letter.hex, letter.undecodable_at, letter.value_bytes),
  ];
  return [
    letter.masked && letter.value_bytes > 0 && el("p", { class: "help" }, "What may be personal data is masked. ", reveal),
    undecodable,
    letter.value !== undefined && letter.value !== null && value.pretty(letter.value, "The decoded value"),
    !letter.undecodable && (letter.value === undefined || letter.value === null) && el("p", { class: "muted" }, letter.value_bytes > 0 ? `${bytes(letter.value_bytes)}, which are not shown.` : "It has no value: a tombstone, which deletes the key."),
  ].flat(2);
}

function warehouse({ value: decoded, warehouse: held, warehouse_error: failure }) {
  if (failure) return el("p", { class: "banner quiet" }, `ClickHouse could not be asked: ${failure}`);
  if (!held.row) return el("p", {}, `The table ${held.table} holds no row for this key: nothing of it has arrived yet, or it was deleted.`);
  return value.compare(decoded, held.row, held.table);
}

const deeds = { replayed: "Replayed", parked: "Parked", unparked: "Unparked", discarded: "Discarded", revealed: "Personal data revealed", exported: "Exported", imported: "Imported" };

// timeline puts failures and decisions in the order in which they happened.
function timeline(letter) {
  const failures = letter.failures?.length > 0 ? letter.failures : [letter];
  const failed = (one) => {
    const other = one.id && one.id !== letter.id;
    return [one.last_failure, "failed", el("strong", {}, one.attempts > 1 ? `Failed, attempt ${one.attempts}` : "Failed"), ` ${one.reason}: ${one.message} (${[one.stage, one.group, one.version].filter(Boolean).join(", ")}) `,
      other ? el("a", { href: write({ ...current(), letter: one.id }) }, one.id) : el("span", { class: "muted" }, "this letter")];
  };
  const decided = (one) => [one.at, one.decision, el("strong", {}, deeds[one.decision] ?? `A decision that cannot be read: ${one.decision}`), one.patched && " with a patch", one.by && ` by ${one.by}`, one.from && ` from ${one.from}`, one.why && `: ${one.why}`,
    one.replay_id && el("span", { class: "muted mono small" }, ` run ${one.replay_id}`)];
  const events = [...failures.map(failed), ...(letter.decisions ?? []).map(decided)];
  const first = failures.map((one) => one.last_failure).sort(order)[0];
  if (letter.first_failure && order(letter.first_failure, first) < 0) events.push([letter.first_failure, "failed", el("strong", {}, "First failed"), el("span", { class: "muted" }, " that letter is not there any more")]);
  events.sort((a, b) => order(a[0], b[0]));
  return el("ol", { class: "timeline" }, events.map(([at, kind, ...content]) => el("li", { class: kind }, time(at), el("span", {}, content.flat().filter(Boolean)))));
}

function facts(letter) {
  const { original } = letter;
  const filter = (name, text) => text && el("a", { class: "mono", title: "Show the letters that have the same", href: write({ ...current(), view: "letters", letter: "", cursor: "", filter: { [name]: [String(text)], state: ["all"] } }) }, String(text));
  const rows = [
    ["Event ID", filter("event_id", letter.event_id)],
    ["Correlation ID", letter.correlation_id && el("span", { class: "mono" }, letter.correlation_id)],
    ["Schema", filter("schema", letter.schema)],
    ["Failed in", [letter.stage, letter.group, letter.version].filter(Boolean).join(", ")],
    ["Attempts", count(letter.attempts)],
    ["Replayed", letter.replays > 0 && [`${count(letter.replays)} times, the last time by run `, filter("replay", letter.replay_id)]],
    ["First failure", time(letter.first_failure)],
    ["Last failure", time(letter.last_failure)],
    ["Original", original && (original.offset < 0 ? `meant for ${original.topic}, never on it` : `${original.topic}, partition ${original.partition}, offset ${original.offset}`)],
    ["Original's time", original && time(original.timestamp)],
    ["Size", bytes(letter.value_bytes ?? letter.bytes ?? 0)],
  ];
  return el("dl", { class: "facts" }, rows.filter(([, content]) => content).map(([name, content]) => el("div", {}, el("dt", {}, name), el("dd", {}, ...[content].flat()))));
}

function headers({ headers: list }) {
  if (!list?.length) return el("p", { class: "muted" }, "None.");
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Headers" },
    el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Name"), el("th", { scope: "col" }, "Value"))), el("tbody", {}, list.map((header) => el("tr", {}, el("th", { scope: "row", class: "mono" }, header.name), el("td", { class: "mono" }, header.value))))));
}
