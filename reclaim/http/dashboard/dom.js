/** Owns the making of elements: text goes into the page as text, never as markup. */

import { visible } from "./format.js";

/**
 * @typedef {Node | string | number} Child
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: Event) => void)>} Attributes
 */

/** @type {Record<Shown, string>} */
const SIGNS = {
  ok: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Zm-1.6 14.6-4.2-4.2 1.5-1.5 2.7 2.7 6-6 1.5 1.5Z",
  warn: "M12 2.6 1.4 21h21.2Zm1.2 15.6h-2.4v-2.3h2.4Zm0-4h-2.4V9h2.4Z",
  fail: "M7.8 2h8.4L22 7.8v8.4L16.2 22H7.8L2 16.2V7.8Zm.2 4.6L6.6 8l4 4-4 4L8 17.4l4-4 4 4 1.4-1.4-4-4 4-4L16 6.6l-4 4Z",
  away: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20Zm1.2 15.4h-2.4V15h2.4Zm0-4h-2.4c0-3 2.9-2.9 2.9-4.9 0-.9-.7-1.6-1.7-1.6s-1.7.7-1.8 1.7H7.9C8 6.2 9.7 4.7 12 4.7s4.1 1.5 4.1 3.8c0 2.9-2.9 3-2.9 4.9Z",
};

/** The colour of a sign in the tab. @type {Record<Shown, string>} */
const TAB = { ok: "#2f9e63", warn: "#d98200", fail: "#e0433f", away: "#8070c8" };

/** What each element shows was made from this. @type {WeakMap<Element, string>} */
const shownFrom = new WeakMap();

/**
 * The element with this ID, which is of this type.
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 */
export function part(id, type) {
  const node = document.getElementById(id);
  if (!(node instanceof type)) throw new TypeError(`the page has no ${type.name} "${id}"`);
  return node;
}

/**
 * The HTML element with this ID.
 * @param {string} id
 */
export function $(id) {
  return part(id, HTMLElement);
}

/** @param {string} id */
export function button(id) {
  return part(id, HTMLButtonElement);
}

/** @param {string} id */
export function input(id) {
  return part(id, HTMLInputElement);
}

/** @param {string} id */
export function dialog(id) {
  return part(id, HTMLDialogElement);
}

/** @param {string} id */
export function progress(id) {
  return part(id, HTMLProgressElement);
}

/**
 * A new HTML element. An attribute that is a function listens: `onclick` to `click`.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} attributes
 * @param {(Child | null)[]} children
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  furnish(node, attributes, children);
  return node;
}

/**
 * A new SVG element.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes} attributes
 * @param {(Child | null)[]} children
 */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  furnish(node, attributes, children);
  return node;
}

/**
 * @param {Element} node
 * @param {Attributes} attributes
 * @param {(Child | null)[]} children
 */
function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice("on".length), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      node.setAttribute(name, String(value));
  }
  for (const child of children)
    if (child !== null) node.append(child instanceof Node ? child : visible(child));
}

/**
 * Set the text of an element, unless it has it.
 * @param {string | Element} place the element or its ID
 * @param {unknown} text
 */
export function say(place, text) {
  const node = typeof place === "string" ? part(place, Element) : place;
  const shown = visible(text);
  if (node.textContent !== shown) node.textContent = shown;
}

/**
 * Replace what an element holds, but only if what it is made from has changed: a reader's selection stays where it is.
 * @param {string | Element} place the element or its ID
 * @param {unknown} from
 * @param {() => Node[]} make
 */
export function show(place, from, make) {
  const node = typeof place === "string" ? part(place, Element) : place;
  const key = JSON.stringify(from);
  if (shownFrom.get(node) === key) return;
  shownFrom.set(node, key);
  node.replaceChildren(...make());
}

/**
 * Have a screen reader say a text, once.
 * @param {string} text
 */
export function announce(text) {
  const line = el("p", {}, text);
  $("announce").append(line);
  setTimeout(() => line.remove(), 10000);
}

/** @param {Shown} health */
export function signPath(health) {
  return svg("path", { d: SIGNS[health], fill: "currentColor" });
}

/**
 * The small sign for a health.
 * @param {Shown} health
 */
export function sign(health) {
  const attributes = { class: `mini ${health}`, viewBox: "0 0 24 24", "aria-hidden": "true" };
  return svg("svg", attributes, signPath(health));
}

/**
 * A little square of a colour.
 * @param {string} fill its class
 */
export function swatch(fill) {
  const square = svg("rect", { width: "100%", height: "100%", class: fill });
  return svg("svg", { class: "swatch", "aria-hidden": "true" }, square);
}

/**
 * A bar that is filled up to a share.
 * @param {number} share from 0 to 1
 * @param {string} fill its class
 */
export function bar(share, fill) {
  const width = `${(100 * Math.min(1, share)).toFixed(1)}%`;
  return svg("svg", { "aria-hidden": "true" }, svg("rect", { width, height: "100%", class: fill }));
}

/**
 * Set the tab's title and its sign.
 * @param {Shown} health
 * @param {string} title
 */
export function mark(health, title) {
  if (document.title !== title) document.title = title;
  const path = `<path fill="${TAB[health]}" d="${SIGNS[health]}"/>`;
  const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">${path}</svg>`;
  const href = `data:image/svg+xml,${encodeURIComponent(picture)}`;
  const icon = part("icon", HTMLLinkElement);
  if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
}

/**
 * Put an item for each of these into a list. One that stays is left alone, so that what is open, focused or selected in
 * it stays so.
 * @template {{id: string}} T
 * @param {HTMLElement} list
 * @param {T[]} all
 * @param {(one: T) => HTMLElement} make
 */
export function placeItems(list, all, make) {
  const ids = new Set(all.map((one) => one.id));
  /** @type {Map<string, Element>} */
  const there = new Map();
  for (const item of list.querySelectorAll("li")) {
    const { id = "" } = item.dataset;
    if (ids.has(id)) there.set(id, item);
    else item.remove();
  }
  for (const [at, one] of all.entries()) {
    const item = there.get(one.id) ?? make(one);
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
  }
}

/** Close every dialog: what it asked was about something that is no longer looked at. */
export function closeDialogs() {
  for (const open of document.querySelectorAll("dialog")) if (open.open) open.close();
}

/**
 * Hide or show the table that has these rows, with what it is scrolled in.
 * @param {string} rows the ID of its body
 * @param {boolean} isHidden
 */
export function hideTable(rows, isHidden) {
  $(rows).closest(".scroll")?.toggleAttribute("hidden", isHidden);
}

/**
 * Set the text of one cell, which changes more often than its row.
 * @param {string} rows the ID of the table's body
 * @param {number} at
 * @param {":first-child" | ":last-child"} which
 * @param {string} text
 */
export function sayIn(rows, at, which, text) {
  const cell = $(rows).children[at]?.querySelector(`td${which}`);
  if (cell) say(cell, text);
}
