// How figures and times are written: in the reader's zone, with UTC in the title.
import { el } from "./dom.js";

const counts = new Intl.NumberFormat("en");
const full = new Intl.DateTimeFormat("en-CA", { dateStyle: "short", timeStyle: "medium", hourCycle: "h23" });
const clock = new Intl.DateTimeFormat("en-CA", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minutes = new Intl.DateTimeFormat("en-CA", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const count = (n) => counts.format(n ?? 0);

// letters is a count with its noun.
export const letters = (n) => `${count(n)} ${n === 1 ? "letter" : "letters"}`;

const zero = (text) => !text || text.startsWith("0001-");

// order compares two times. Their texts will not do: they have as many digits as it takes.
export const order = (a, b) => new Date(a) - new Date(b);

export const moment = (text) => (zero(text) ? "" : full.format(new Date(text)).replace(",", ""));

// short leaves out the day of what happened today.
export function short(text) {
  if (zero(text)) return "";
  const at = new Date(text);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : `${day.format(at)} ${minutes.format(at)}`;
}

// tick labels an axis that spans so many milliseconds.
export const tick = (at, span) => (span > 2 * 86_400_000 ? day.format(at) : span > 600_000 ? minutes.format(at) : clock.format(at));

// time is a time element, whose title is UTC.
export const time = (text, write = moment) => (zero(text) ? el("span", { class: "muted" }, "–") : el("time", { datetime: text, title: `${new Date(text).toISOString()} (UTC)` }, write(text)));

export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `about ${Math.round(seconds)} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}

export function age(text) {
  if (zero(text)) return "";
  const seconds = Math.max(0, (Date.now() - new Date(text)) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export const bytes = (n) => (n < 10_000 ? `${count(n)} bytes` : `${(n / 1024).toFixed(0)} KiB`);

// local is a moment as a datetime-local field wants it; utc is the way back.
export function local(text) {
  if (!text) return "";
  const at = new Date(text);
  return Number.isNaN(at.valueOf()) ? "" : new Date(at.valueOf() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export const utc = (field) => (field ? new Date(field).toISOString() : "");
