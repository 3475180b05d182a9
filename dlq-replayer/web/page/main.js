// Puts the parts together: who is signed in, what the address asks for, and what has changed on the server.
import * as act from "./act.js";
import { get, post, session } from "./api.js";
import * as audit from "./audit.js";
import * as chart from "./chart.js";
import * as detail from "./detail.js";
import { open } from "./dialog.js";
import { announce, badge, button, byId, el, show } from "./dom.js";
import * as filters from "./filters.js";
import { count, letters } from "./format.js";
import * as live from "./live.js";
import { current, filterQuery, go, write } from "./route.js";
import * as runs from "./runs.js";
import * as stats from "./stats.js";
import * as table from "./table.js";
import * as work from "./work.js";

let numbers = null; // the newest answer of /api/stats
let asked = ""; // what the table shows the answer to
let reading = new AbortController(); // ends a reading that nobody waits for any more

const query = (extra) => {
  const { filter, order, cursor } = current();
  const wanted = filterQuery(filter);
  for (const [name, value] of Object.entries({ order, cursor, limit: "50", ...extra })) if (value) wanted.set(name, value);
  return wanted;
};

// readLetters reads the page that the address names, and the chart beside it.
async function readLetters() {
  reading.abort();
  reading = new AbortController();
  const { signal } = reading;
  byId("table").setAttribute("aria-busy", "true");
  readChart(signal);
  try {
    const page = await get("/api/letters", query(), { signal });
    filters.refuse("");
    table.draw(page, numbers);
    announce(letters(page.total));
  } catch (error) {
    if (error.name === "AbortError") return;
    filters.refuse(error.message);
    show(byId("table"), el("p", { class: "empty" }, error.status === 400 ? "The filter cannot be used: see what is said there." : error.message));
    show(byId("pages"));
  }
  byId("table").removeAttribute("aria-busy");
}

async function readChart(signal, quiet) {
  try {
    const wanted = filterQuery(current().filter, "class"); // the legend offers every reason
    wanted.set("buckets", "60");
    const histogram = await get("/api/histogram", wanted, { signal, quiet });
    filters.learn("class", histogram.reasons);
    chart.draw(histogram);
  } catch (error) {
    if (error.name !== "AbortError") show(byId("chart"), el("p", { class: "muted" }, error.status === 400 ? "Nothing to draw." : error.message));
  }
}

let statsAsked = 0;

async function readStats() {
  const asked = ++statsAsked;
  const answer = await get("/api/stats");
  if (asked !== statsAsked) return; // a newer answer is on its way
  numbers = answer;
  stats.draw(numbers);
}

// refresh reads again what is on the page, without moving it: letters have come or were dealt with.
async function refresh() {
  await readStats();
  const { view, filter } = current();
  if (view === "audit") await audit.load(true);
  detail.refresh();
  if (view !== "letters") {
    asked = "";
    return;
  }
  if (Date.now() < outcomeUntil) {
    await readLetters();
    return;
  }
  if (filter.where || filter.header) { // takes too long to be done each second
    show(byId("news"), button("The letters have changed – read them again", readLetters, { "data-key": "news" }));
    return;
  }
  const { signal } = reading;
  readChart(signal, true);
  const wanted = query().toString();
  const page = await get("/api/letters", wanted, { signal, quiet: true });
  if (wanted === query().toString()) table.update(page, numbers);
}

// outcomeUntil is until when changes are taken to be the outcome of a run that was begun here: the server hears of a run's
// last letters a moment after its end. They are shown by reading the page anew, while what others do only marks rows.
let outcomeUntil = 0;

// reread shows what a run of this page has left.
function reread() {
  outcomeUntil = Date.now() + 5000;
  readStats().catch((error) => announce(error.message));
  detail.refresh();
  table.forget();
  if (current().view === "letters") readLetters();
  else asked = "";
}

let busy = false;
let again = false;

// changed refreshes at most once at a time, and not while nobody looks.
async function changed() {
  again = true;
  if (busy || document.hidden) return;
  busy = true;
  while (again) {
    again = false;
    try {
      await refresh();
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 401) announce(error.message);
    }
  }
  busy = false;
}

// draw shows what the address names.
function draw() {
  const route = current();
  for (const view of ["letters", "runs", "audit"]) {
    byId(`view-${view}`).hidden = view !== route.view;
    byId(`nav-${view}`).href = write({ ...route, view, letter: "" }); // who comes back finds the filter again
    if (view === route.view) byId(`nav-${view}`).setAttribute("aria-current", "page");
    else byId(`nav-${view}`).removeAttribute("aria-current");
  }
  byId("working").hidden = route.view === "runs"; // they are in the list
  if (route.view === "letters") {
    const wanted = query().toString();
    filters.draw(route.filter);
    if (numbers) stats.draw(numbers);
    if (wanted !== asked) {
      if (filterQuery(route.filter).toString() !== lastFilter) table.forget(); // all that matched the filter are not these
      lastFilter = filterQuery(route.filter).toString();
      asked = wanted;
      readLetters();
    }
  }
  if (route.view === "runs") {
    runs.draw();
    work.load().then(runs.draw).catch((error) => announce(error.message));
  }
  if (route.view === "audit") audit.load().catch((error) => show(byId("list-audit"), el("p", { class: "error", role: "alert" }, error.message)));
  detail.draw(route.letter);
}

let lastFilter = "";

// toolbar shows what is chosen and what can be done with it.
function toolbar() {
  const bar = byId("actions");
  const { every, total, rows } = table.choice();
  bar.hidden = !every && rows.length === 0;
  if (bar.hidden) return;
  const target = () => (every ? { filter: current().filter, total } : { ids: rows.map((row) => row.id), total: rows.length });
  show(
    bar,
    el("span", { class: "chosen" }, every ? `All ${count(total)} that match the filter` : `${letters(rows.length)} chosen`),
    !every && total > rows.length && button(`Choose all ${count(total)} that match`, () => table.chooseEvery(true), { "data-key": "every", class: "link" }),
    button("Choose none", () => table.chooseEvery(false), { "data-key": "none", class: "link" }),
    act.forMany(target),
  );
}

// expired says that the session is over. The address stays, and signing in leads back to it.
function expired() {
  if (document.querySelector("dialog.expired")) return;
  const dialog = open("You have been signed out", { kind: "box expired", closable: false });
  const link = el("a", { class: "primary", href: `/sign-in${location.hash}` }, "Sign in again");
  dialog.body.append(el("p", {}, "Your session has expired, or was ended elsewhere. Runs that you have started go on. After signing in you are back at this view, with its filter."), el("p", { class: "buttons" }, link));
  link.focus();
}

async function signOut() {
  try {
    await post("/sign-out");
    location.assign("/sign-in");
  } catch (error) {
    announce(error.message);
  }
}

async function start() {
  const kept = sessionStorage.getItem("desk.return");
  sessionStorage.removeItem("desk.return");
  if (kept && !location.hash) history.replaceState(null, "", kept);
  session("", expired);
  const me = await get("/api/me");
  session(me.csrf, expired);
  const operator = me.role === "operator";
  show(byId("who"), me.name, " ", badge(me.role, me.role));
  byId("who").title = me.version ? `revstream ${me.version}` : "";
  byId("sign-out").addEventListener("click", signOut);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // what comes after the # is the view
    byId("main").focus();
  });
  chart.colours(me.reasons ?? []);
  filters.start(me);
  work.start(operator);
  detail.start((letter) => act.forLetter(letter, operator));
  table.start(operator, toolbar);
  table.onReload(() => (current().cursor ? go({ cursor: "" }) : readLetters()));
  chart.watch();
  act.onFinished(reread);
  work.onChange((run, turned) => {
    if (current().view === "runs") runs.draw();
    if (turned && run.status !== "running") changed();
  });
  addEventListener("hashchange", draw);
  document.addEventListener("visibilitychange", () => again && changed());
  await readStats().catch((error) => announce(error.message));
  draw();
  work.load().catch((error) => announce(error.message));
  setInterval(() => document.hidden || readStats().catch(() => {}), 30_000); // no event tells of consumers, and letters grow old
  live.start({ take: work.take, changed, ended: expired, check: () => get("/api/me", "", { quiet: true }).catch(() => {}) });
}

start().catch((error) => show(byId("main"), el("p", { class: "banner alarm", role: "alert" }, error.message)));
