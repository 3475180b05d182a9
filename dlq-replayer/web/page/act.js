// What is done to letters: the dialog that shows the plan first, asks why, acts, and then shows the run's progress.
import { post } from "./api.js";
import { open } from "./dialog.js";
import { button, el, fresh, show } from "./dom.js";
import { count, duration, letters } from "./format.js";
import * as json from "./json.js";
import { selection } from "./route.js";
import { masked } from "./value.js";
import * as work from "./work.js";

const actions = {
  replay: ["Replay", "replayed", "The letters go back to the topics that they came from, and the consumers try again. The letters stay here, as replayed."],
  repair: ["Repair", "repaired and replayed", "The value, the headers or both are changed, checked against the schema, and replayed as the same event. The change is kept in the audit."],
  park: ["Park", "parked", "The letters are set aside: no replay takes them until they are unparked."],
  unpark: ["Unpark", "unparked", "The letters are open again."],
  discard: ["Discard", "discarded", "The letters are given up for good: nothing takes them again, and this cannot be undone. Park them if you are not sure."],
};

let finished = () => {};

// onFinished is called when a run that was begun here is over.
export function onFinished(listener) {
  finished = listener;
}

// forLetter are the buttons of one letter. A viewer has none.
export function forLetter(letter, operator) {
  if (!operator) return [];
  const fit = { open: letter.flaw ? ["park", "discard"] : ["replay", "repair", "park", "discard"], parked: ["unpark", "discard"] }[letter.state] ?? [];
  return fit.map((action) => starter(action, () => start(action, { ids: [letter.id], total: 1, sample: letter })));
}

// forMany are the buttons of what is chosen in the table; target is asked for when one is pressed.
export const forMany = (target) => Object.keys(actions).map((action) => starter(action, () => start(action, target())));

const starter = (action, onclick) => button(`${actions[action][0]}…`, onclick, { class: action === "discard" ? "danger" : action === "replay" ? "primary" : false, "data-key": `act ${action}`, "data-action": action });

// start opens the dialog. The target is {ids, total} or {filter, total}; sample is a letter to begin a patch from.
function start(action, target) {
  const [word, past, meaning] = actions[action];
  const stop = new AbortController();
  const dialog = open(`${word} ${target.ids ? letters(target.total) : `all ${count(target.total)} that match`}`, { kind: "box wide", onclose: () => stop.abort() });
  const form = new Form(action, target, stop.signal, (runID) => follow(dialog, runID));
  dialog.body.append(el("p", {}, meaning), form.node(word, past, dialog.close));
  form.begin();
}

// follow shows a run's progress in the dialog that began it. The run goes on when the dialog is closed.
function follow(dialog, runID) {
  const closer = button("Back to the letters", dialog.close, { "data-key": "closer" });
  const note = el("p", { class: "help" }, "The run goes on if you close this or leave the page: it is under Runs.");
  const place = el("div", { class: "run" }, el("p", { role: "status" }, "Starting …"));
  show(dialog.body, place, note, el("p", { class: "buttons" }, closer));
  closer.focus();
  work.watch(runID, (run) => {
    show(place, work.progress(run));
    note.hidden = run.status !== "running";
    if (run.status !== "running") finished();
  });
}

// Form is what the dialog asks for.
class Form {
  constructor(action, target, signal, done) {
    Object.assign(this, { action, target, signal, done, plan: null, asked: 0 });
    this.result = el("div", { class: "plan", role: "status", "aria-label": "What it would do" });
    this.error = el("pre", { class: "error", role: "alert", hidden: true });
    this.reason = el("textarea", { name: "reason", rows: 2, required: true, maxlength: 1000 });
    this.patch = el("textarea", { name: "patch", rows: 7, class: "mono", spellcheck: "false", "aria-describedby": "patch-help", oninput: () => this.stale() }, skeleton(target.sample));
    this.headers = el("div", { class: "pairs" });
    this.rate = el("input", { name: "rate", type: "number", min: 0, step: "any", placeholder: "no limit", oninput: () => this.stale() });
    this.most = el("input", { name: "max_replays", type: "number", min: 1, placeholder: "3", oninput: () => this.stale() });
    this.confirm = el("input", { name: "confirm", type: "text", autocomplete: "off", spellcheck: "false", required: action === "discard", oninput: () => this.ready() });
    this.planner = button("Show what it would do", () => this.ask(), { "data-key": "planner" });
  }

  node(word, past, cancel) {
    this.past = past;
    this.word = word;
    this.phrase = el("code", {}, this.action);
    this.submit = el("button", { type: "submit", class: this.action === "discard" ? "danger" : "primary" }, word);
    const replays = this.action === "replay" || this.action === "repair";
    return el(
      "form", { onsubmit: (event) => this.act(event) },
      this.action === "repair" && this.change(),
      replays && el("details", {}, el("summary", {}, "Pace and limits"), el("div", { class: "fields" }, el("label", {}, "Letters per second at most ", this.rate), el("label", {}, "Park what was replayed so often ", this.most))),
      el("h3", {}, "What it would do"), this.result, el("p", {}, this.planner),
      el("label", { class: "wide" }, "Reason, kept in the audit ", this.reason),
      this.action === "discard" && el("label", { class: "wide" }, el("span", {}, "To confirm, type ", this.phrase), " ", this.confirm),
      this.error,
      el("p", { class: "buttons" }, this.submit, button("Cancel", cancel)),
    );
  }

  change() {
    const add = () => {
      const entry = pair(() => this.stale());
      this.headers.append(entry);
      entry.querySelector("input").focus();
    };
    return el(
      "div", {},
      el("label", { class: "wide" }, "Change of the value: a JSON merge patch ", this.patch),
      el("p", { class: "help", id: "patch-help" }, "It names the fields that change; null takes a value away. ", el("code", {}, "{}"), " leaves the value as it is."),
      el("p", { class: "label" }, "Headers to set; an empty value takes the header away"), this.headers, el("p", {}, button("Add a header", add)),
    );
  }

  begin() {
    this.stale();
    (this.action === "repair" ? this.patch : this.reason).focus();
    this.patch.setSelectionRange(4, 4); // within the braces
    if (this.action !== "repair") this.ask();
  }

  // stale: the plan is not of what the form says now.
  stale() {
    this.plan = null;
    this.asked++;
    this.planner.hidden = false;
    show(this.result, el("p", { class: "muted" }, "Ask first what it would do: nothing is written by that."));
    this.ready();
  }

  ready() {
    const acts = (this.plan?.done ?? 0) + (this.plan?.parked ?? 0);
    const phrase = `${this.action} ${this.plan?.done ?? ""}`.trim();
    this.phrase.textContent = phrase;
    this.submit.textContent = this.plan ? `${this.word} ${letters(this.plan.done)}` : this.word;
    this.submit.disabled = acts === 0 || (this.action === "discard" && this.confirm.value.trim() !== phrase);
  }

  order() {
    const order = { action: this.action, selection: this.target.ids ? { ids: this.target.ids } : selection(this.target.filter) };
    if (this.rate.value) order.rate = Number(this.rate.value);
    if (this.most.value) order.max_replays = Number(this.most.value);
    if (this.action === "repair") order.change = { patch: parsePatch(this.patch.value), headers: pairs(this.headers) };
    return order;
  }

  async ask() {
    this.fail("");
    const asked = ++this.asked;
    show(this.result, el("p", {}, "Reading the letters …"));
    try {
      const plan = await post("/api/plan", this.order(), this.signal);
      if (asked !== this.asked) return; // the form says something else by now
      this.plan = plan;
      this.planner.hidden = true;
      show(this.result, outcome(plan, this.past, this.order().rate));
    } catch (error) {
      if (error.name === "AbortError" || asked !== this.asked) return;
      show(this.result, el("p", { class: "muted" }, "There is no plan yet."));
      this.planner.hidden = false;
      this.fail(error.message);
    }
    this.ready();
  }

  async act(event) {
    event.preventDefault();
    this.submit.disabled = true;
    try {
      const { run_id: runID } = await post("/api/runs", { ...this.order(), reason: this.reason.value.trim() });
      this.done(runID);
    } catch (error) {
      this.fail(error.message);
      this.submit.disabled = false;
    }
  }

  fail(text) {
    this.error.textContent = text;
    this.error.hidden = text === "";
  }
}

// outcome is a plan in words.
function outcome(plan, past, rate) {
  const parts = Object.entries(plan.reasons ?? {}).flatMap(([topic, reasons]) => Object.entries(reasons).map(([reason, n]) => [topic, reason, n]));
  const skipped = plan.skipped ?? [];
  return [
    el("p", { class: "sum" }, el("strong", {}, `${letters(plan.done)} would be ${past}`), plan.parked > 0 && `, ${count(plan.parked)} parked instead, as they were replayed too often`,
      skipped.length > 0 && `, ${count(skipped.reduce((sum, one) => sum + one.letters, 0))} skipped`, ".", rate > 0 && plan.done > 0 && ` It takes ${duration(plan.seconds_at_rate ?? plan.done / rate)}.`),
    parts.length > 0 && el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Topic"), el("th", { scope: "col" }, "Reason"), el("th", { scope: "col", class: "number" }, "Letters"))),
      el("tbody", {}, parts.map(([topic, reason, n]) => el("tr", {}, el("td", { class: "mono" }, topic), el("td", {}, reason), el("td", { class: "number" }, count(n)))))),
    skipped.length > 0 && el("ul", { class: "skipped" }, skipped.map((one) => el("li", {}, `${letters(one.letters)} skipped: ${one.why}`, one.first && el("span", { class: "muted mono small" }, ` such as ${one.first}`)))),
  ];
}

// skeleton is a patch to begin with: the fields that the message names, as they are.
function skeleton(letter) {
  const fields = Object.entries(letter?.value ?? {}).filter(([name, value]) => value !== masked && new RegExp(`\\b${name}\\b`).test(letter.message));
  return fields.length === 0 ? "{\n  \n}" : json.write(Object.fromEntries(fields), 2);
}

function parsePatch(text) {
  let patch;
  try {
    patch = json.parse(text.trim() || "{}");
  } catch (error) {
    throw new Error(`The patch is not JSON: ${error.message}`);
  }
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) throw new Error('The patch must be a JSON object, such as {"country": "DE"}');
  return patch;
}

function pair(changed) {
  const [name, value] = [fresh("header"), fresh("header")];
  const node = el("div", { class: "pair" }, el("label", { for: name }, "Name"), el("input", { id: name, type: "text", spellcheck: "false", oninput: changed }), el("label", { for: value }, "Value"), el("input", { id: value, type: "text", spellcheck: "false", oninput: changed }));
  node.append(button("Remove", () => {
    node.remove();
    changed();
  }));
  return node;
}

const pairs = (holder) => Object.fromEntries([...holder.children].map((node) => [...node.querySelectorAll("input")].map((input) => input.value.trim())).filter(([name]) => name !== ""));
