// How many letters there are in each state, and which consumers have stopped.
import { badge, byId, el, show } from "./dom.js";
import { age, count, order, time } from "./format.js";
import { current, filterBy } from "./route.js";

const tiles = [
  ["open", "Open", "wait for somebody to deal with them"],
  ["replayed", "Replayed", "are on their topic again"],
  ["parked", "Parked", "are set aside until they are unparked"],
  ["discarded", "Discarded", "are given up for good"],
  ["undecipherable", "Undecipherable", "have a decision that this version cannot read"],
];

// draw shows the answer of /api/stats; a click on a tile filters by its state.
export function draw(stats) {
  show(
    byId("stats"),
    tiles.filter(([state]) => state !== "undecipherable" || stats.states[state] > 0).map((one) => tile(one, stats)),
    !stats.ready && el("p", { class: "muted", role: "status" }, "The dead-letter topics are still being read: the counts are not complete yet."),
  );
  stopped(stats.stopped ?? [], stats.stopped_error);
}

function tile([state, name, meaning], stats) {
  const chosen = current().filter.state ?? ["open"];
  const oldest = stats.topics.map((topic) => topic.oldest_open).filter((at) => at && !at.startsWith("0001-")).sort(order)[0];
  return el(
    "button", {
      type: "button", class: `tile ${state}`, "aria-pressed": String(chosen.includes(state)), "data-key": state, "data-state": state,
      title: `Letters that ${meaning}: show them`, onclick: () => filterBy({ state: state === "open" ? undefined : [state] }),
    },
    el("span", { class: "figure" }, count(stats.states[state])), " ", el("span", { class: "name" }, name),
    state === "open" && oldest && el("span", { class: "muted" }, ` oldest ${age(oldest)}`),
  );
}

let told = ""; // what stopped last drew: an alert that is drawn anew is read out anew

// stopped says which consumers their cap has stopped, and what to do.
function stopped(list, error) {
  const text = JSON.stringify([list, error]);
  if (text === told) return;
  told = text;
  show(
    byId("stopped"),
    error && el("p", { class: "banner quiet" }, `Whether consumers have stopped is not known: ${error}`),
    list.map((one) =>
      el(
        "section", { class: "banner alarm", role: "alert", "aria-label": "A consumer has stopped" },
        el("h2", {}, badge("stopped", "bad"), ` ${one.group} has stopped reading ${one.topic}, partition ${one.partition}`),
        el("p", {}, `At offset ${count(one.offset)}, since `, time(one.at), `: ${count(one.poison)} of its last ${count(one.window)} records were poison, the last one for ${one.reason}.`),
        el("p", {}, el("strong", {}, "What to do: "), one.advice),
        el("p", {}, el("button", { type: "button", onclick: () => filterBy({ topic: [one.topic], class: [one.reason], state: undefined }) }, "Show these letters")),
      ),
    ),
  );
}
