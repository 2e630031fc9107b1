/** Owns the overview: all targets, the worst first, with a box that finds them by name. */

import { $, el, input, say, sign } from "./dom.js";
import { ago, count, span } from "./format.js";
import { store } from "./store.js";
import { CIRCUIT, HEALTH, targetsSentence } from "./words.js";

const MANY = 6; // from so many on there is a box to find one

/** What each row shows. @type {WeakMap<Element, string>} */
const shown = new WeakMap();

/**
 * Show the targets, where there are several.
 * @param {TargetInBrief[]} rows the worst first
 */
export function renderOverview(rows) {
  $("targets-nav").hidden = rows.length < 2;
  if (rows.length < 2) return;
  say("targets-h", targetsSentence(rows));
  $("targets-find").hidden = rows.length < MANY;
  const wanted = input("targets-filter").value.trim().toLowerCase();
  const found = rows.filter((one) => one.target.toLowerCase().includes(wanted));
  say("targets-none", `No target has “${wanted}” in its name.`);
  $("targets-none").hidden = found.length > 0;
  $("targets-table").hidden = found.length === 0;
  placeRows($("targets"), found);
}

/** Bring the row of the target that is looked at into sight, within the table. */
export function revealChosen() {
  const table = $("targets-table");
  const button = table.querySelector('button[aria-current="true"]');
  const row = button?.closest("tr");
  if (!row) return;
  const { offsetTop: top, offsetHeight: height } = row;
  const header = table.querySelector("thead")?.offsetHeight ?? 0;
  if (top < table.scrollTop + header) table.scrollTop = top - header;
  else if (top + height > table.scrollTop + table.clientHeight)
    table.scrollTop = top + height - table.clientHeight;
}

/**
 * Put a row for each target into the table. A row that stays where it is is left alone, so that the focus stays too.
 * @param {HTMLElement} body
 * @param {TargetInBrief[]} rows
 */
function placeRows(body, rows) {
  const focused = document.activeElement;
  const there = known(body);
  for (const [at, one] of rows.entries()) {
    const row = there.get(one.target) ?? el("tr", { "data-name": one.target });
    if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null);
    fill(row, one);
  }
  while (body.children.length > rows.length) body.lastElementChild?.remove();
  const isMoved = focused !== document.activeElement && body.contains(focused);
  if (isMoved && focused instanceof HTMLElement) focused.focus({ preventScroll: true });
}

/**
 * The rows that are there, by target.
 * @param {HTMLElement} body
 */
function known(body) {
  return new Map([...body.querySelectorAll("tr")].map((row) => [row.dataset.name ?? "", row]));
}

/**
 * Show a target in its row.
 * @param {HTMLElement} row
 * @param {TargetInBrief} one
 */
function fill(row, one) {
  const isLive = store.isLive && !store.trouble;
  const tick = one.last_tick_at ? ago(one.last_tick_at, store.now) : "–";
  const what = JSON.stringify([one, isLive, tick]);
  if (shown.get(row) !== what) {
    shown.set(row, what);
    const button = row.querySelector("button") ?? choice(one.target);
    button.replaceChildren(sign(one.health), el("span", {}, one.target));
    row.replaceChildren(
      el("th", { scope: "row" }, button, worry(one)),
      ...cells(one, isLive, tick),
    );
  }
  row.querySelector("button")?.setAttribute("aria-current", String(one.target === store.name));
}

/**
 * What else is wrong with a target, for a screen that has no room for its columns.
 * @param {TargetInBrief} one
 */
function worry({ lost, circuit }) {
  const some = [
    lost ? `${count(lost)} lost` : "",
    circuit && circuit !== "closed" ? `circuit ${CIRCUIT[circuit].word.toLowerCase()}` : "",
  ].filter(Boolean);
  return some.length ? el("div", { class: "narrow soft" }, some.join(", ")) : null;
}

/**
 * @param {TargetInBrief} one
 * @param {boolean} isLive whether that is so now, as far as is known
 * @param {string} tick
 */
function cells(one, isLive, tick) {
  const word = HEALTH[one.health].toLowerCase();
  const idle = one.oldest_idle_ms === null ? "–" : span(one.oldest_idle_ms / 1000);
  const circuit = one.circuit ? CIRCUIT[one.circuit].word.toLowerCase() : "–";
  return [
    el(
      "td",
      { class: "health" },
      isLive ? word : `was ${one.health === "warn" ? "in need of a look" : word}`,
    ),
    el("td", { class: "num" }, count(one.pending)),
    el("td", { class: "num wide" }, idle),
    el("td", { class: "wide" }, circuit),
    el("td", { class: "num" }, count(one.dead_letters)),
    el("td", { class: "num wide" }, count(one.lost)),
    el("td", { class: "num wide" }, tick),
  ];
}

/** @param {string} name */
function choice(name) {
  return el("button", { type: "button", class: "choice", onclick: () => store.choose(name) });
}

input("targets-filter").addEventListener("input", () =>
  renderOverview(store.status?.overview ?? []),
);
