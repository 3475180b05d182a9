// The list of runs.
import { byId, el, show } from "./dom.js";
import { moment, time } from "./format.js";
import * as json from "./json.js";
import * as work from "./work.js";

// draw shows the runs as they are known.
export function draw() {
  const runs = work.all();
  if (runs.length === 0) {
    show(byId("list-runs"), el("div", { class: "empty" }, el("p", {}, el("strong", {}, "No runs yet:"), " nothing was done to a letter within the time that decisions are kept.")));
    return;
  }
  const open = new Set([...byId("list-runs").querySelectorAll("details[open]")].map((node) => node.dataset.run));
  show(byId("list-runs"), el("ul", { class: "runs" }, runs.map((run) => el("li", { class: "card run", "data-run": run.run_id }, el("h2", { class: "hidden" }, `${work.words[run.action] ?? run.action} of ${moment(run.started_at)}`), work.progress(run), more(run, open.has(run.run_id))))));
}

function more(run, open) {
  return el(
    "details", { open, "data-run": run.run_id }, el("summary", { "data-key": `more ${run.run_id}` }, "Details"),
    el("dl", { class: "facts" },
      [["Run", el("span", { class: "mono" }, run.run_id)], ["From", run.from], ["Began", time(run.started_at)], ["Last change", time(run.updated_at)]].filter(([, content]) => content).map(([name, content]) => el("div", {}, el("dt", {}, name), el("dd", {}, content)))),
    run.order && el("pre", { class: "json mono", tabindex: 0, role: "region", "aria-label": "What was asked for" }, json.write(run.order, 2)),
  );
}
