/** Owns how one dead letter is shown: its line, its body that anybody may have written, and what can be done with it. */

import { told } from "./acts.js";
import { askDiscard } from "./dialogs.js";
import { el, say } from "./dom.js";
import { count, cut, dump, many, moment, visible } from "./format.js";
import { askReplay } from "./replay.js";
import { store } from "./store.js";

const PREVIEW = 1000; // characters, and at least as many bytes, that a list has of a value
const SHOWN_BYTES = 1048576;
const ERROR_CHARS = 300;

/**
 * A dead letter in the list.
 * @param {DeadLetter} letter
 * @param {() => void} onChoice is told when it is chosen or no longer
 */
export function listItem(letter, onChoice) {
  const onchange = () => {
    if (box.checked) store.letters.chosen.add(letter.id);
    else store.letters.chosen.delete(letter.id);
    onChoice();
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
  const replay = { type: "button", class: "changes", onclick: () => askReplay([letter.id]) };
  const discard = { type: "button", class: "harm changes", onclick: () => askDiscard([letter.id]) };
  const acts = el(
    "div",
    { class: "row acts" },
    el("button", replay, "Replay this one…"),
    el("button", discard, "Discard this one…"),
    copies("Copy the ID", () => letter.id),
    copies("Copy as JSON", () => asJson(letter)),
  );
  const frames = letter.traceback
    ? [el("pre", { dir: "ltr", tabindex: "0", "aria-label": "Traceback" }, letter.traceback)]
    : [];
  return [about, ...frames, el("table", {}, el("tbody", {}, ...letter.fields.map(fieldRow))), acts];
}

/**
 * A button that copies something.
 * @param {string} name
 * @param {() => string} text
 */
function copies(name, text) {
  return el("button", { type: "button", onclick: () => copy(text()) }, name);
}

/**
 * Put a text where it can be pasted from, and say so.
 * @param {string} text
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    told("Copied.");
  } catch (error) {
    told(
      `It could not be copied: ${error instanceof Error ? error.message : "the browser refuses"}`,
    );
  }
}

/**
 * A dead letter as JSON; of a value that is no text only its bytes.
 * @param {DeadLetter} letter
 */
function asJson(letter) {
  const fields = letter.fields.map(({ name, value }) => [textOf(name), textOf(value)]);
  return JSON.stringify({ ...letter, fields }, null, 2);
}

/** @param {Bytes} value */
function textOf(value) {
  const text = utf8(decoded(value));
  return text === null ? { base64: value.base64 } : text;
}

/**
 * Bytes as text; null where they are none.
 * @param {Uint8Array} bytes
 */
function utf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/**
 * A value that is a JSON object or list, set out over lines; null where it is none.
 * @param {Bytes} value
 */
function pretty(value) {
  if (value.bytes > SHOWN_BYTES || !/^\s*[[{]/.test(value.text)) return null;
  const text = utf8(decoded(value));
  try {
    return text === null ? null : visible(JSON.stringify(JSON.parse(text), null, 2));
  } catch {
    return null;
  }
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
  const set = pretty(value);
  const laid = el("button", { ...plain, onclick: () => say(shown, set ?? "") }, "As JSON");
  const more = el("button", { ...plain, onclick: whole }, `Show all ${count(value.bytes)} bytes`);
  const turned = el("button", { ...plain, onclick: turn }, "As bytes");
  const acts = [isCut ? more : null, value.bytes ? turned : null, set ? laid : null];
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
