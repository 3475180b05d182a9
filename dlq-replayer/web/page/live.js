// The server's events: runs as they go on, and that letters have come or were dealt with.
import { byId, show } from "./dom.js";

const again = 5000; // milliseconds until a connection that was refused is tried again

let lost = false; // there was no connection when last heard of

// start listens. take is a run's listener; changed is called when letters changed or may have; ended when the session has;
// check when the connection is lost, as the session may be over.
export function start(listeners) {
  const { take, changed, ended, check } = listeners;
  const source = new EventSource("/api/events");
  source.addEventListener("run", (event) => take(JSON.parse(event.data)));
  source.addEventListener("letters", () => changed());
  source.addEventListener("signed-out", () => {
    source.close();
    ended();
  });
  source.addEventListener("open", () => {
    say("");
    if (lost) changed(); // what happened meanwhile is not told again
    lost = false;
  });
  source.addEventListener("error", () => {
    if (!lost) check();
    lost = true;
    say("The desk does not answer at the moment: what you see may be out of date. Trying again …");
    if (source.readyState === EventSource.CLOSED) setTimeout(() => start(listeners), again); // else the browser tries
  });
}

function say(text) {
  const line = byId("connection");
  line.hidden = text === "";
  show(line, text);
}
