// The filter's form and its chips. What they say is in the address; this only reads it from there and writes it there.
import { byId, el, show } from "./dom.js";
import { local, moment, utc } from "./format.js";
import { current, filterBy, filterNames, go } from "./route.js";

const words = {
  topic: "topic", class: "reason", state: "state", key: "key", event_id: "event", schema: "schema", group: "group", replay: "run", since: "since", until: "before",
  partition: "partition", from_offset: "from offset", to_offset: "to offset", header: "header", where: "where",
};
const inMore = ["schema", "replay", "partition", "from_offset", "to_offset", "header"];
const times = ["since", "until"];

// start makes the form work. The choices are what /api/me knows.
export function start(me) {
  const form = byId("filter");
  choices(form.elements.topic, me.topics);
  choices(form.elements.class, me.reasons);
  choices(form.elements.group, me.groups);
  if (matchMedia("(max-width: 70rem)").matches) byId("filters").open = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go({ view: "letters", cursor: "", filter: read(form) });
  });
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    go({ view: "letters", cursor: "", filter: {} });
  });
}

// learn adds choices that came up later, such as the reason of a new letter.
export function learn(name, values) {
  choices(byId("filter").elements[name], values);
}

function choices(select, values) {
  const have = [...select.options].map((option) => option.value);
  for (const value of values ?? []) if (value && !have.includes(value)) select.append(el("option", { value }, value));
}

// read is the form as a filter. A select shows several values, which other parts of the page may choose, as one option.
function read(form) {
  const filter = {};
  for (const name of filterNames) {
    const field = form.elements[name];
    const text = field.value.trim();
    if (text === "") continue;
    const before = current().filter[name] ?? [];
    if (field.tagName === "SELECT" && text === before.join(", ")) filter[name] = before;
    else if (times.includes(name)) filter[name] = [local(before[0]) === text ? before[0] : utc(text)]; // the field leaves out what is less than a second
    else filter[name] = [text];
  }
  return filter;
}

// draw brings form and chips in line with the address.
export function draw(filter) {
  const form = byId("filter");
  for (const name of filterNames) {
    const field = form.elements[name];
    const values = filter[name] ?? [];
    const text = times.includes(name) ? local(values[0]) : values.join(", ");
    if (field.tagName === "SELECT") choices(field, [text]);
    if (field.value !== text) field.value = text;
  }
  if (inMore.some((name) => filter[name])) byId("more").open = true;
  const set = filterNames.filter((name) => filter[name]);
  byId("filter-count").textContent = set.length === 0 ? "" : `${set.length} set`;
  show(byId("chips"), set.map((name) => chip(name, filter[name])));
}

function chip(name, values) {
  const text = `${words[name]}: ${times.includes(name) ? moment(values[0]) : values.join(", ")}`;
  return el("li", {}, el("button", { type: "button", class: "chip", "data-key": `chip ${name}`, title: "Take this filter away", "aria-label": `Take the filter away, ${text}`, onclick: () => filterBy({ [name]: undefined }) }, text, el("span", { "aria-hidden": "true" }, " ×")));
}

// refuse shows what the server says of the filter; of an expression it says where.
export function refuse(text) {
  const error = byId("where-error");
  error.hidden = text === "";
  error.textContent = text;
  byId("filter").elements.where.toggleAttribute("aria-invalid", text !== "" && Boolean(current().filter.where));
  if (text !== "") byId("filters").open = true;
}
