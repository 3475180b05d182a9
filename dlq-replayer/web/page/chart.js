// The chart of letters by reason over time: bars that filter by their time, a legend that filters by reason, and the same
// figures as a table.
import { byId, el, show, svg } from "./dom.js";
import { count, letters, moment, tick } from "./format.js";
import { current, filterBy } from "./route.js";

const height = 150;
const margin = { top: 8, right: 4, bottom: 20, left: 40 };

let known = []; // reasons, in the order of their colours
let last = null; // what was drawn, for a new width

// colours gives each reason its colour, which is the same everywhere on the page.
export function colours(reasons) {
  for (const reason of reasons) if (!known.includes(reason)) known.push(reason);
}

export const colour = (reason) => `reason-${Math.max(0, known.indexOf(reason)) % 8}`;

export function watch() {
  let width = 0;
  new ResizeObserver(() => {
    const next = byId("chart").clientWidth;
    if (last && next !== width && next > 0) draw(last);
    width = next;
  }).observe(byId("chart"));
}

// draw shows the answer of /api/histogram, which is of every reason; those that the filter leaves out are not drawn.
export function draw(answer) {
  const histogram = { ...answer, reasons: answer.reasons ?? [], buckets: answer.buckets ?? [] };
  last = histogram;
  colours(histogram.reasons);
  const chosen = current().filter.class ?? [];
  const drawn = histogram.reasons.filter((reason) => chosen.length === 0 || chosen.includes(reason));
  const totals = Object.fromEntries(histogram.reasons.map((reason) => [reason, histogram.buckets.reduce((sum, bucket) => sum + (bucket.counts?.[reason] ?? 0), 0)]));
  const buckets = histogram.buckets.map((bucket, i) => ({
    start: bucket.start,
    end: histogram.buckets[i + 1]?.start ?? histogram.to,
    counts: drawn.map((reason) => [reason, bucket.counts?.[reason] ?? 0]).filter(([, n]) => n > 0),
    total: drawn.reduce((sum, reason) => sum + (bucket.counts?.[reason] ?? 0), 0),
  }));
  if (buckets.every((bucket) => bucket.total === 0)) {
    show(byId("chart"), el("p", { class: "muted" }, "Nothing to draw: no letter matches."), legend(totals, chosen));
    return;
  }
  show(byId("chart"), bars(buckets, histogram), legend(totals, chosen), table(buckets, drawn));
}

function legend(totals, chosen) {
  const toggle = (reason) => {
    const chosen = current().filter.class ?? [];
    const next = chosen.includes(reason) ? chosen.filter((other) => other !== reason) : [...chosen, reason];
    filterBy({ class: next.length > 0 ? next : undefined });
  };
  const names = [...new Set([...Object.keys(totals), ...chosen])];
  return el(
    "ul", { class: "legend", "aria-label": "Reasons: choose one to see its letters alone" },
    names.map((reason) =>
      el("li", {}, el("button", { type: "button", "aria-pressed": String(chosen.includes(reason)), "data-key": `legend ${reason}`, onclick: () => toggle(reason) },
        el("span", { class: `dot ${colour(reason)}` }), `${reason} `, el("span", { class: "muted" }, count(totals[reason])))),
    ),
  );
}

// rounded is the figure at the top of the axis: 1, 2, 4, 6 or 8 with noughts.
function rounded(n) {
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= n);
}

function bars(buckets, { from, to }) {
  const width = Math.max(280, byId("chart").clientWidth);
  const top = rounded(Math.max(...buckets.map((bucket) => bucket.total)));
  const plot = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
  const y = (n) => margin.top + plot.height * (1 - n / top);
  const step = plot.width / buckets.length;
  const label = `Letters by reason, from ${moment(from)} to ${moment(to)}. The arrow keys move between bars, Enter filters by a bar's time.`;
  const chart = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label, onkeydown: move });
  for (const n of [...new Set([0, top / 2, top])].filter(Number.isInteger)) {
    chart.append(svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y(n), y2: y(n) }), svg("text", { class: "axis", x: margin.left - 6, y: y(n) + 4, "text-anchor": "end" }, count(n)));
  }
  const [start, end] = [new Date(from), new Date(to)];
  const ticks = Math.max(1, Math.min(6, Math.floor(plot.width / 110)));
  for (let i = 0; i <= ticks; i++) {
    const at = new Date(start.valueOf() + ((end - start) * i) / ticks);
    chart.append(svg("text", { class: "axis", x: margin.left + (plot.width * i) / ticks, y: height - 4, "text-anchor": i === 0 ? "start" : i === ticks ? "end" : "middle" }, tick(at, end - start)));
  }
  const filled = buckets.map((bucket, i) => [bucket, i]).filter(([bucket]) => bucket.total > 0);
  filled.forEach(([bucket, i], n) => chart.append(bar(bucket, margin.left + step * i, step, y, n === filled.length - 1)));
  return chart;
}

// bar is one column. Of all of them one is reached by the tab key, the newest; the arrows lead on from there.
function bar(bucket, x, step, y, first) {
  const choose = () => filterBy({ since: [bucket.start], until: [bucket.end] });
  const parts = bucket.counts.map(([reason, n]) => `${reason} ${count(n)}`).join(", ");
  const group = svg("g", {
    class: "bar", role: "button", tabindex: first ? 0 : -1, "aria-label": `${moment(bucket.start)} to ${moment(bucket.end)}: ${letters(bucket.total)}, ${parts}`, "data-key": `bar ${bucket.start} ${bucket.end}`, onclick: choose,
    onkeydown: (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    },
  });
  group.append(svg("title", {}, `${moment(bucket.start)}\n${letters(bucket.total)}: ${parts}`), svg("rect", { class: "reach", x, y: margin.top, width: step, height: y(0) - margin.top }));
  const gap = step > 4 ? 1 : 0;
  let below = 0;
  for (const [reason, n] of bucket.counts) {
    const edge = Math.min(y(below + n), y(below) - 1); // one letter is seen among thousands
    group.append(svg("rect", { class: colour(reason), x: x + gap / 2, width: step - gap, y: edge, height: y(below) - edge }));
    below += n;
  }
  return group;
}

function move(event) {
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const all = [...event.currentTarget.querySelectorAll(".bar")];
  const next = all[all.indexOf(document.activeElement) + way];
  if (!next) return;
  event.preventDefault();
  for (const one of all) one.setAttribute("tabindex", one === next ? "0" : "-1");
  next.focus();
}

function table(buckets, reasons) {
  const rows = buckets.filter((bucket) => bucket.total > 0);
  return el(
    "details", { class: "figures" }, el("summary", {}, "The chart as a table"),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The chart as a table" },
      el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "From"), reasons.map((reason) => el("th", { scope: "col", class: "number" }, reason)), el("th", { scope: "col", class: "number" }, "All"))),
        el("tbody", {}, rows.map((bucket) => el("tr", {}, el("th", { scope: "row" }, moment(bucket.start)), reasons.map((reason) => el("td", { class: "number" }, count(bucket.counts.find(([name]) => name === reason)?.[1]))), el("td", { class: "number" }, count(bucket.total))))))),
  );
}
