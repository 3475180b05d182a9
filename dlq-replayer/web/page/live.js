// The server's events: runs as they go on, and that letters have come or were dealt with.
import { byId, show } from "./dom.js";

// start listens. take is a run's listener; changed is called when letters changed or may have; ended when the session has.
export function start({ take, changed, ended, check }) {
  const source = new EventSource("/api/events");
  const line = byId("connection");
  let lost = false;
  const say = (text) => {
    line.hidden = text === "";
    show(line, text);
  };
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
    if (!lost) check(); // the session may be over
    lost = true;
    say("The desk does not answer at the moment: what you see may be out of date. Trying again …");
    if (source.readyState === EventSource.CLOSED) setTimeout(() => start({ take, changed, ended, check }), 5000);
  });
}
