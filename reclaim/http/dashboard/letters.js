/** Owns the list of dead letters: reading it as it changes, and what can be done with it. */

import { told } from "./acts.js";
import { api, refusal } from "./api.js";
import { $, placeItems, say } from "./dom.js";
import { count } from "./format.js";
import { listItem } from "./letter.js";
import { isReplaying } from "./replay.js";
import { store } from "./store.js";

const PAGE = 20;
const MOST_A_PAGE = 100;
const LARGE_BYTES = 200000;
const LOOKS = 3; // after so many looks the list is read again
const LOOKS_LARGE = 40; // so many where it is large
const MOST_REQUESTS = 100; // for one page of a list: each looks at some thousands

/** @type {LetterPage} */
const NONE = { dead_letters: [], next: null, last: null };

/** Which dead letters of which target are being read; null: none. @type {string | null} */
let reading = null;

/**
 * Read the list again when the number of dead letters has changed. Read it now and then even if the number is the same:
 * other dead letters may have come in the place of some.
 */
export async function readLetters() {
  const { target, letters } = store;
  if (!target || target.dead_letters === null) return;
  const { target: name, dead_letters: total } = target;
  const readFor = occasion(name, total);
  const wanted = wantedOf(letters);
  const what = JSON.stringify([name, wanted]);
  if (letters.readFor === readFor || reading === what) return;
  reading = what;
  const isFirst = letters.items.length === 0; // then what is found is shown at once, and not only in the end
  /** @param {LetterPage} page */
  const show = (page) => {
    if (isStillWanted(letters, wanted)) take(page, readFor);
  };
  try {
    show(total ? await readAsMany(name, letters, isFirst ? show : null) : NONE);
  } catch (error) {
    const { message } = refusal(error); // the next look tries again
    if (isStillWanted(letters, wanted)) unread(message);
  } finally {
    if (reading === what) reading = null;
  }
}

/**
 * For what they are read: whenever that is another, they are read again. A search is made once.
 * @param {string} name
 * @param {number} total
 */
function occasion(name, total) {
  const { isFiltered, filter } = store.letters;
  return JSON.stringify(isFiltered ? filter : [name, total, period()]);
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
 * What the list asks for.
 * @param {import("./store.js").LetterList} letters
 */
function wantedOf({ filter, order }) {
  return { ...filter, order };
}

/**
 * Whether this is still the list that is shown, and asks for that.
 * @param {import("./store.js").LetterList} letters
 * @param {object} wanted
 */
function isStillWanted(letters, wanted) {
  return store.letters === letters && JSON.stringify(wantedOf(letters)) === JSON.stringify(wanted);
}

/**
 * The first page of dead letters, and the next ones until there are as many as are listed now. Where few fit, a request
 * finds few or none, and the next one goes on.
 * @param {string} name
 * @param {import("./store.js").LetterList} letters
 * @param {((page: LetterPage) => void) | null} onFound is told what is found before all is
 */
async function readAsMany(name, letters, onFound) {
  const most = Math.max(PAGE, letters.items.length);
  return readOn(name, letters, { after: null, most, onFound });
}

/**
 * @param {string} name
 * @param {import("./store.js").LetterList} letters
 * @param {{after: string | null, most: number, onFound?: ((page: LetterPage) => void) | null}} part
 * @returns {Promise<LetterPage>}
 */
async function readOn(name, letters, { after, most, onFound }) {
  const wanted = wantedOf(letters);
  /** @type {DeadLetter[]} */
  const found = [];
  /** @type {string | null} */
  let next = after;
  /** @type {string | null} */
  let last = null;
  for (let asked = 0; asked < MOST_REQUESTS; asked += 1) {
    const limit = Math.min(MOST_A_PAGE, most - found.length);
    const page = await api.deadLetters(name, wanted, next, limit);
    found.push(...page.dead_letters);
    ({ next, last } = page);
    if (next === null || found.length >= most || !isStillWanted(letters, wanted)) break;
    if (page.dead_letters.length) onFound?.({ dead_letters: [...found], next, last });
  }
  return { dead_letters: found, next, last };
}

/** Read one more page. */
export async function readMoreLetters() {
  const { name, letters } = store;
  if (!name) return;
  const wanted = wantedOf(letters);
  const page = await readOn(name, letters, { after: letters.next, most: PAGE });
  if (!isStillWanted(letters, wanted)) return;
  letters.append(page);
  list();
}

/** List none: another target is looked at. */
export function clearLetters() {
  $("dead-none").hidden = $("dead-acts").hidden = true;
  $("letters").replaceChildren();
}

/** List others than before. */
export async function listAnew() {
  $("letters").replaceChildren();
  $("dead-acts").hidden = $("dead-more-row").hidden = true;
  say("dead-none", "Looking…");
  $("dead-none").hidden = false;
  await readLetters();
}

/** Show the list and what goes with it. */
function list() {
  const { items, next, isFiltered } = store.letters;
  const total = store.target?.dead_letters ?? 0;
  placeItems($("letters"), items, (letter) => listItem(letter, nameActs));
  const fits = next === null ? "No dead letter fits." : "None fits so far.";
  say("dead-none", isFiltered ? fits : "There are none: no entry waits for a person.");
  $("dead-none").hidden = items.length > 0;
  $("dead-acts").hidden = $("letters").hidden = items.length === 0;
  $("dead-more-row").hidden = next === null || (!isFiltered && items.length >= total);
  nameActs();
}

/** Have the buttons say of how many they are, and the list how many there are. */
export function nameActs() {
  const { chosen, isFiltered, items, matched } = store.letters;
  const all = isFiltered ? `all that fit${matched === null ? "" : ` (${count(matched)})`}` : "all";
  const which = chosen.size ? `${count(chosen.size)} chosen` : all;
  say("dead-replay", `Replay ${which}…`);
  say("dead-discard", `Discard ${which}…`);
  say("dead-copy", chosen.size ? "Copy their IDs" : "Copy the listed IDs");
  const total = isFiltered ? matched : (store.target?.dead_letters ?? 0);
  const of =
    total === null
      ? `${count(items.length)} are shown`
      : `${count(items.length)} of ${count(total)} are shown`;
  say("dead-shown", of);
}
