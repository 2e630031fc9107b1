/** Owns the list of dead letters: reading it as it changes, and showing bodies that anybody may have written. */

import { told } from "./acts.js";
import { api, refusal } from "./api.js";
import { askDiscard } from "./dialogs.js";
import { $, el, say } from "./dom.js";
import { count, cut, dump, many, moment } from "./format.js";
import { askReplay, isReplaying } from "./replay.js";
import { store } from "./store.js";

const PAGE = 20;
const MOST_A_PAGE = 100;
const LARGE_BYTES = 200000;
const LOOKS = 3; // after so many looks the list is read again
const LOOKS_LARGE = 40; // so many where it is large
const PREVIEW = 1000; // characters, and at least as many bytes, that a list has of a value
const SHOWN_BYTES = 1048576;
const ERROR_CHARS = 300;

/** @type {LetterPage} */
const NONE = { dead_letters: [], next: null, last: null };

/** The target whose dead letters are being read; null: none. @type {string | null} */
let reading = null;

/**
 * Read the list again when the number of dead letters has changed. Read it now and then even if the number is the same:
 * other dead letters may have come in the place of some.
 */
export async function readLetters() {
  const { target } = store;
  if (!target || target.dead_letters === null || reading === target.target) return;
  const { target: name, dead_letters: total } = target;
  const readFor = JSON.stringify([name, total, period()]);
  if (store.letters.readFor === readFor) return;
  reading = name;
  try {
    const page = total ? await readAsMany(name, store.letters.items.length) : NONE;
    if (store.name === name) take(page, readFor);
  } catch (error) {
    const { message } = refusal(error); // the next look tries again
    if (store.name === name) unread(message);
  } finally {
    if (reading === name) reading = null;
  }
}

/** A number that changes when the list is to be read again though the number of dead letters is the same. */
function period() {
  return Math.floor(store.looks / (store.letters.bytes > LARGE_BYTES ? LOOKS_LARGE : LOOKS));
}

/**
 * List what was read.
 * @param {LetterPage} page
 * @param {string} readFor
 */
function take(page, readFor) {
  const isNoneChosen = store.letters.replace(page, readFor);
  if (isNoneChosen && !isReplaying() && !document.querySelector("dialog[open]"))
    told("What was chosen is gone; nothing is chosen now.");
  list();
}

/**
 * Say why they could not be read; what is listed stays.
 * @param {string} message
 */
function unread(message) {
  say("dead-none", `They could not be read: ${message}`);
  $("dead-none").hidden = false;
}

/**
 * The first page of dead letters, and the next ones until there are as many as are listed now.
 * @param {string} name
 * @param {number} listed
 */
async function readAsMany(name, listed) {
  const wanted = Math.max(PAGE, listed);
  const first = await api.deadLetters(name, null, Math.min(MOST_A_PAGE, wanted));
  const found = [...first.dead_letters];
  let { next, last } = first;
  while (next !== null && found.length < listed) {
    const limit = Math.min(MOST_A_PAGE, wanted - found.length);
    const page = await api.deadLetters(name, next, limit);
    found.push(...page.dead_letters);
    ({ next, last } = page);
  }
  return { dead_letters: found, next, last };
}

/** Read one more page. */
export async function readMoreLetters() {
  const { name, letters } = store;
  if (!name) return;
  const page = await api.deadLetters(name, letters.next, PAGE);
  if (store.letters !== letters) return;
  letters.append(page);
  list();
}

/** List none: another target is looked at. */
export function clearLetters() {
  $("dead-none").hidden = $("dead-acts").hidden = true;
  $("letters").replaceChildren();
}

/** Show the list and what goes with it. */
function list() {
  const { items, next } = store.letters;
  const total = store.target?.dead_letters ?? 0;
  placeItems($("letters"), items);
  say("dead-none", "There are none: no entry waits for a person.");
  $("dead-none").hidden = items.length > 0;
  $("dead-acts").hidden = $("letters").hidden = items.length === 0;
  $("dead-more-row").hidden = next === null || items.length >= total;
  say("dead-shown", `${count(items.length)} of ${count(total)} are shown`);
  nameActs();
}

/**
 * Put an item for each dead letter into the list. One that stays is left alone, so that what is open, focused or
 * selected in it stays so.
 * @param {HTMLElement} all
 * @param {DeadLetter[]} letters
 */
function placeItems(all, letters) {
  const ids = new Set(letters.map((letter) => letter.id));
  /** @type {Map<string, Element>} */
  const there = new Map();
  for (const item of all.querySelectorAll("li")) {
    const { id = "" } = item.dataset;
    if (ids.has(id)) there.set(id, item);
    else item.remove();
  }
  for (const [at, letter] of letters.entries()) {
    const item = there.get(letter.id) ?? listItem(letter);
    if (all.children[at] !== item) all.insertBefore(item, all.children[at] ?? null);
  }
}

/** Have the buttons say of how many they are. */
function nameActs() {
  const n = store.letters.chosen.size;
  say("dead-replay", n ? `Replay ${n} chosen…` : "Replay all…");
  say("dead-discard", n ? `Discard ${n} chosen…` : "Discard all…");
}

/** @param {DeadLetter} letter */
function listItem(letter) {
  const onchange = () => {
    if (box.checked) store.letters.chosen.add(letter.id);
    else store.letters.chosen.delete(letter.id);
    nameActs();
  };
  const label = `Choose dead letter ${letter.id}`;
  const box = el("input", { type: "checkbox", "aria-label": label, onchange });
  const body = el("div", { class: "body" });
  const ontoggle = () => {
    if (details.open && !body.firstChild) body.append(...bodyOf(letter));
  };
  const details = el("details", { ontoggle }, summary(letter), body);
  return el("li", { "data-id": letter.id }, el("span", { class: "pick" }, box), details);
}

/** @param {DeadLetter} letter */
function summary({ reason, error, entry_id: entry, at }) {
  return el(
    "summary",
    {},
    el("span", { class: "pill" }, reason.replaceAll("_", " ")),
    el("span", { class: "what" }, el("bdi", {}, cut(error, ERROR_CHARS))),
    el("span", { class: "mono soft" }, entry),
    el("span", { class: "soft small", title: at }, moment(Date.parse(at))),
  );
}

/** @param {DeadLetter} letter */
function bodyOf(letter) {
  const about = el(
    "p",
    { class: "small soft" },
    `dead letter ${letter.id}, of the consumer `,
    el("bdi", {}, letter.consumer || "nobody"),
    `, ${many(letter.deliveries, "delivery", "deliveries")}`,
  );
  const replay = { type: "button", onclick: () => askReplay([letter.id]) };
  const discard = { type: "button", class: "harm", onclick: () => askDiscard([letter.id]) };
  const acts = el(
    "div",
    { class: "row acts" },
    el("button", replay, "Replay this one…"),
    el("button", discard, "Discard this one…"),
  );
  const frames = letter.traceback
    ? [el("pre", { dir: "ltr", tabindex: "0", "aria-label": "Traceback" }, letter.traceback)]
    : [];
  return [about, ...frames, el("table", {}, el("tbody", {}, ...letter.fields.map(fieldRow))), acts];
}

/** @param {Field} field */
function fieldRow({ name, value }) {
  const size = el("div", { class: "soft small" }, many(value.bytes, "byte"));
  const head = el("th", { scope: "row" }, el("bdi", {}, name.text || "(empty name)"), size);
  return el("tr", {}, head, el("td", {}, valueBox(value)));
}

/**
 * A field's value: as text, all of it or its beginning, or as bytes.
 * @param {Bytes} value
 */
function valueBox(value) {
  const isCut = value.bytes > PREVIEW && [...value.text].length >= PREVIEW;
  const beginning = isCut ? `${value.text}…` : value.text;
  const shown = el("pre", { dir: "auto", tabindex: "0" }, beginning || "(empty)");
  const whole = () => say(shown, wholeText(value));
  let isHex = false;
  const turn = () => {
    isHex = !isHex;
    if (isHex) say(shown, hexadecimal(value));
    else if (isCut) whole();
    else say(shown, value.text);
    say(turned, isHex ? "As text" : "As bytes");
  };
  const plain = { type: "button", class: "plain" };
  const more = el("button", { ...plain, onclick: whole }, `Show all ${count(value.bytes)} bytes`);
  const turned = el("button", { ...plain, onclick: turn }, "As bytes");
  const acts = [isCut ? more : null, value.bytes ? turned : null];
  return el("div", { class: "value" }, shown, el("div", { class: "row acts" }, ...acts));
}

/** @param {Bytes} value */
function wholeText(value) {
  const bytes = decoded(value);
  return new TextDecoder().decode(bytes.subarray(0, SHOWN_BYTES)) + rest(bytes.length);
}

/** @param {Bytes} value */
function hexadecimal(value) {
  return dump(decoded(value).subarray(0, SHOWN_BYTES)) + rest(value.bytes);
}

/** @param {Bytes} value */
function decoded(value) {
  return Uint8Array.from(atob(value.base64), (character) => character.charCodeAt(0));
}

/**
 * What is said below a value of so many bytes that not all of it is shown.
 * @param {number} bytes
 */
function rest(bytes) {
  if (bytes <= SHOWN_BYTES) return "";
  return `\n… the first ${count(SHOWN_BYTES)} of ${count(bytes)} bytes`;
}
