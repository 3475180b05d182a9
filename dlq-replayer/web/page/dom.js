// How elements are made. What comes from outside only ever becomes text.

const svgNames = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

// el makes an element: attributes that are null or false are left out, those that begin with "on" are listeners.
export const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);

// svg does so for an SVG element.
export const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(svgNames, name), attributes, children);

export const byId = (id) => document.getElementById(id);

// refocus gives the focus to what has a data-key now, or to what it would be in: it must not be lost.
export function refocus(key) {
  const again = key && [...document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)].find((one) => one.checkVisibility());
  const dialogs = document.querySelectorAll("dialog[open]"); // what lies beneath one of them cannot have it
  (again ?? [...dialogs].at(-1)?.querySelector("h2") ?? byId("main")).focus({ preventScroll: !again });
}

// show makes a node hold the children. What is there already stays, with its scroll, its being open and its listeners, and
// so is not torn away from under a click: listeners must not rely on what their element does not show. The focus stays, too.
export function show(node, ...children) {
  const focused = node.contains(document.activeElement) && document.activeElement !== node ? document.activeElement : null;
  reconcile(node, [...el("div", {}, children).childNodes]);
  if (focused && !focused.isConnected) refocus(focused.dataset.key);
}

function reconcile(parent, next) {
  next.forEach((node, i) => {
    const old = parent.childNodes[i];
    if (!old) parent.append(node);
    else if (!keep(old, node)) old.replaceWith(node);
  });
  while (parent.childNodes.length > next.length) parent.lastChild.remove();
}

// keep makes old be as node, if only what it holds has changed, and says whether it is.
function keep(old, node) {
  if (old.isEqualNode(node)) return true;
  if (old.tagName !== node.tagName || !(old instanceof Element)) return false;
  if (old instanceof HTMLDetailsElement) node.open = old.open;
  if (!old.cloneNode(false).isEqualNode(node.cloneNode(false))) return false;
  reconcile(old, [...node.childNodes]);
  return true;
}

// announce tells a screen reader something that the eye sees elsewhere.
export function announce(text) {
  byId("announcer").textContent = text;
}

export const button = (text, onclick, attributes = {}) => el("button", { type: "button", onclick, ...attributes }, text);

// badge is a word in a colour of its own; the word alone says it too.
export const badge = (text, kind) => el("span", { class: `badge ${kind}` }, text);

let counter = 0;

// fresh makes an ID that nothing else on the page has.
export const fresh = (prefix) => `${prefix}-${++counter}`;
