// The runs: what the server says of them, kept up to date, and how the progress of one is shown.
import { get, post } from "./api.js";
import { ask } from "./dialog.js";
import { announce, badge, button, byId, el, show } from "./dom.js";
import { age, count, letters, order } from "./format.js";

const runs = new Map(); // by ID
const watchers = new Set(); // functions that are called with each run that changed
const stopping = new Set(); // IDs of those that have been asked to stop
let operator = false;

export const words = { replayed: "Replay", replay: "Replay", repair: "Repair", repaired: "Repair", parked: "Park", park: "Park", unparked: "Unpark", unpark: "Unpark", discarded: "Discard", discard: "Discard", exported: "Export", imported: "Import" };

export function start(acts) {
  operator = acts;
}

// all returns the runs, newest first.
export const all = () => [...runs.values()].sort((a, b) => order(b.started_at, a.started_at));

// take is called with each run that the server sends.
export function take(run) {
  const before = runs.get(run.run_id);
  if (before && order(before.updated_at, run.updated_at) > 0) return;
  runs.set(run.run_id, run);
  if (run.status !== "running") stopping.delete(run.run_id);
  if (before?.status === "running" && run.status !== "running") announce(`${words[run.action] ?? run.action}: ${run.status}. ${figures(run)}`);
  strip();
  for (const watcher of watchers) watcher(run, Boolean(before) && before.status !== run.status);
}

export async function load() {
  const answer = await get("/api/runs");
  for (const run of answer.runs ?? []) take(run);
  strip();
}

// onChange calls watcher with every run that changed, and whether its status has.
export function onChange(watcher) {
  watchers.add(watcher);
}

// watch calls each with a run as it is and whenever it changes, until it is over.
export function watch(id, each) {
  const take = (run) => {
    if (run.run_id !== id) return;
    each(run);
    if (run.status !== "running") watchers.delete(take);
  };
  watchers.add(take);
  if (runs.has(id)) take(runs.get(id));
  else load().catch(() => {}); // the events bring it
}

const sum = (figure) => (typeof figure === "number" ? figure : (figure?.letters ?? 0));

// treated is how many of its letters a run has dealt with.
const treated = (run) => sum(run.done) + sum(run.parked) + sum(run.skipped) + sum(run.failed);

export function figures(run) {
  const deed = { replayed: "replayed", repair: "replayed", replay: "replayed", park: "parked", unpark: "unparked", discard: "discarded" }[run.action] ?? run.action;
  const parts = [`${count(run.done)} ${deed}`];
  if (run.total > 0) parts[0] = `${count(run.done)} of ${letters(run.total)} ${deed}`;
  if (sum(run.parked) > 0) parts.push(`${count(sum(run.parked))} parked, as they were replayed too often`);
  if (sum(run.skipped) > 0) parts.push(`${count(sum(run.skipped))} skipped`);
  if (sum(run.failed) > 0) parts.push(`${count(sum(run.failed))} failed`);
  if (run.judged > 0) parts.push(`${count(run.judged)} tried again by their consumers, of which ${run.returned > 0 ? count(run.returned) : "none"} came back`);
  else if (run.returned > 0) parts.push(`${count(run.returned)} came back`);
  return parts.join(" · ");
}

// status is how a run stands, in a word.
export const status = (run) => badge(run.status, { running: "running", done: "done", stopped: "bad", interrupted: "warn" }[run.status] ?? "quiet");

// progress shows a run: how it stands, how far it is, and what can be done about it.
export function progress(run) {
  const running = run.status === "running";
  const name = words[run.action] ?? run.action;
  return [
    el("p", { class: "line" }, status(run), el("strong", {}, name), el("span", { class: "muted" }, `by ${run.by}, ${age(run.started_at)} ago`), run.reason && el("span", {}, `“${run.reason}”`), controls(run)),
    running && (run.total > 0 ? el("progress", { max: run.total, value: Math.min(treated(run), run.total), "aria-label": `Progress of ${name}` }) : el("progress", { "aria-label": `Progress of ${name}` })),
    el("p", { class: "figures" }, figures(run)),
    run.note && el("p", { class: running ? "help" : "error" }, run.note),
  ];
}

function controls(run) {
  if (!operator) return null;
  if (run.status === "running") {
    if (!run.mine) return el("span", { class: "help end" }, `at work elsewhere (${run.from || "another replayer"}), and stopped there alone`);
    const asked = stopping.has(run.run_id);
    return button(asked ? "Stopping …" : "Stop", () => stop(runs.get(run.run_id)), { disabled: asked, class: "end", "data-key": `stop ${run.run_id}` });
  }
  if (run.status !== "stopped" && run.status !== "interrupted") return null;
  return button("Resume…", () => resume(run), { class: "end", "data-key": `resume ${run.run_id}` });
}

async function stop(run) {
  stopping.add(run.run_id);
  take(run);
  try {
    await post(`/api/runs/${encodeURIComponent(run.run_id)}/stop`);
  } catch (error) {
    announce(error.message);
    stopping.delete(run.run_id);
    take(run);
  }
}

const resume = (run) =>
  ask(`Resume the ${(words[run.action] ?? run.action).toLowerCase()}`, `It goes on where it ended: ${figures(run)}. What it did already it does not do again.`, "Resume", async (reason) => {
    await post(`/api/runs/${encodeURIComponent(run.run_id)}/resume`, { reason });
    await load();
  });

// strip shows the runs at work on every view.
function strip() {
  const at = all().filter((run) => run.status === "running");
  show(byId("working"), at.map((run) => el("div", { class: "card run", "data-run": run.run_id }, progress(run))));
}
