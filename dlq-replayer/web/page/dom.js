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

// show replaces what a node holds. What had the focus has it again, if it has a data-key.
export function show(node, ...children) {
  const key = node.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  if (key) node.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
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
