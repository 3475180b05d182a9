// The one way to the server: JSON, the CSRF token, errors with the server's words, and what happens when the session ends.
import * as json from "./json.js";

export class APIError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let csrf = "";
let signedOut = () => {};

export function session(token, onSignedOut) {
  csrf = token;
  signedOut = onSignedOut;
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new APIError(0, "The desk does not answer: is dlq-replayer still running, and reachable from here?");
  }
  if (answer.status === 401) signedOut();
  if (answer.status === 204 || (answer.status === 202 && answer.headers.get("content-length") === "0")) return null;
  const text = await answer.text();
  let body = null;
  try {
    body = text === "" ? null : json.parse(text);
  } catch {
    // Something between here and the desk answered.
  }
  if (!answer.ok) throw new APIError(answer.status, body?.error ?? `The desk answered ${answer.status} ${answer.statusText}.`);
  return body;
}

// get reads. A quiet request is one that nobody asked for: it does not keep the session from ending.
export const get = (path, query, { signal, quiet } = {}) => call(query ? `${path}?${query}` : path, { signal, headers: quiet ? { "X-Desk-Quiet": "1" } : {} });

export const post = (path, body, signal) =>
  call(path, { method: "POST", signal, headers: { "X-CSRF-Token": csrf, "Content-Type": "application/json" }, body: json.write(body ?? {}) });

// letterPath is where a letter is read: its ID's parts are segments.
export const letterPath = (id) => `/api/letters/${id.split("/").map(encodeURIComponent).join("/")}`;
