// What the page shows is in the address, after the #, so that a view can be shared, reloaded and gone back from, and no
// server or proxy logs it: a filter may name a person's key.

// filterNames are the filters that the API takes, in the order of chips.
export const filterNames = ["topic", "class", "state", "key", "event_id", "schema", "group", "replay", "since", "until", "partition", "from_offset", "to_offset", "header", "where"];

const views = ["letters", "runs", "audit"];

// parse reads an address: {view, letter, cursor, order, filter}, where filter has a list of values by name.
export function parse(hash) {
  const [view, query = ""] = hash.replace(/^#/, "").split("?");
  const given = new URLSearchParams(query);
  const filter = {};
  for (const name of filterNames) {
    const values = given.getAll(name).filter((value) => value !== "");
    if (values.length > 0) filter[name] = values;
  }
  return { view: views.includes(view) ? view : "letters", letter: given.get("letter") ?? "", cursor: given.get("cursor") ?? "", order: given.get("order") === "oldest" ? "oldest" : "newest", filter };
}

// filterQuery is the filter as a query of the API.
export function filterQuery(filter, without = "") {
  const query = new URLSearchParams();
  for (const name of filterNames) {
    if (name !== without) for (const value of filter[name] ?? []) query.append(name, value);
  }
  return query;
}

// write is the way back from parse.
export function write(route) {
  const query = filterQuery(route.filter);
  if (route.order === "oldest") query.set("order", "oldest");
  if (route.cursor) query.set("cursor", route.cursor);
  if (route.letter) query.set("letter", route.letter);
  const text = query.toString();
  return `#${route.view}${text ? `?${text}` : ""}`;
}

export const current = () => parse(location.hash);

// go changes what is shown; what the change does not name stays.
export function go(change) {
  const next = write({ ...current(), ...change });
  if (next !== location.hash) location.hash = next;
}

// filterBy changes the filter and begins again on the first page.
export const filterBy = (change) => go({ view: "letters", cursor: "", filter: { ...current().filter, ...change } });

const allStates = ["open", "replayed", "parked", "discarded", "undecipherable"];

// selection is a filter as the object that plans and runs take. It names the states that the table shows: without any, the
// server takes those that suit the action.
export function selection(filter) {
  const first = (name) => filter[name]?.[0];
  const header = (text) => ({ name: text.slice(0, Math.max(0, text.indexOf("="))), value: text.slice(text.indexOf("=") + 1) });
  const states = filter.state?.includes("all") ? allStates : (filter.state ?? ["open"]);
  const wanted = {
    topics: filter.topic, reasons: filter.class, keys: filter.key, event_ids: filter.event_id, groups: filter.group, replays: filter.replay, states,
    schemas: filter.schema?.map(Number), partitions: filter.partition?.map(Number), headers: filter.header?.map(header),
    since: first("since"), until: first("until"), where: first("where"),
  };
  if (filter.from_offset || filter.to_offset) wanted.offsets = { from: Number(first("from_offset") ?? 0), to: Number(first("to_offset") ?? -1) };
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== undefined));
}
