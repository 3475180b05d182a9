// Dialogs: the browser keeps the focus inside, the Escape key closes, and the focus goes back to where it came from.
import { button, el, fresh, refocus } from "./dom.js";

// open shows a dialog with a title and returns it; what it says goes into its .body. onclose is called once it is closed.
export function open(title, { kind = "box", onclose = () => {}, closable = true } = {}) {
  const from = document.activeElement;
  const heading = fresh("dialog");
  const body = el("div", { class: "body" });
  const node = el(
    "dialog", { class: kind, "aria-labelledby": heading },
    el("header", {}, el("h2", { id: heading, tabindex: -1 }, title), closable && button("Close", () => node.close(), { class: "close" })),
    body,
  );
  node.addEventListener("cancel", (event) => {
    if (!closable) event.preventDefault();
  });
  node.addEventListener("close", () => {
    if (!closable) {
      node.showModal(); // the browser lets Escape through when it is pressed again
      return;
    }
    node.remove();
    if (from?.isConnected && from.checkVisibility()) from.focus();
    else refocus(from?.dataset?.key);
    onclose();
  });
  document.body.append(node);
  node.showModal();
  node.querySelector("h2").focus();
  return { node, body, close: () => node.close() };
}

// ask asks for a reason, which is kept in the audit, and calls act with it; an error of act is shown, and asked again.
export function ask(title, text, word, act) {
  const dialog = open(title);
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const field = el("textarea", { rows: 2, required: true, name: "reason", maxlength: 1000 });
  const submit = el("button", { type: "submit", class: "primary" }, word);
  dialog.body.append(
    el(
      "form", {
        onsubmit: async (event) => {
          event.preventDefault();
          submit.disabled = true;
          try {
            await act(field.value.trim());
            dialog.close();
          } catch (failure) {
            error.textContent = failure.message;
            error.hidden = false;
            submit.disabled = false;
          }
        },
      },
      el("p", {}, text),
      el("label", { class: "wide" }, "Reason ", field),
      error,
      el("p", { class: "buttons" }, submit, button("Cancel", dialog.close)),
    ),
  );
  field.focus();
}
