/**
 * Owns what the page knows: the key, the app's last answer, each target's past, the dead letters and the lost entries.
 * It touches no element.
 */

import { span } from "./format.js";
import { History } from "./history.js";

const LATE_MS = 15000;
const RUNS_AT_FIRST = 8;

/** The dead letters that are listed, page after page, and which of them are chosen. */
export class LetterList {
  /** @type {DeadLetter[]} */
  items = [];

  /** Where the next page begins; null at the end. @type {string | null} */
  next = null;

  /** The ID of the last of all dead letters. @type {string | null} */
  last = null;

  /** @type {Set<string>} */
  chosen = new Set();

  /** For what they were read; null: they are to be read again. @type {string | null} */
  readFor = null;

  /** What those that are listed are like. @type {LetterFilter} */
  filter = {};

  /** @type {"newest" | "oldest"} */
  order = "newest";

  /** How many fit, as far as is known; null: that was not counted. @type {number | null} */
  matched = null;

  /** Whether only some of all are wanted. */
  get isFiltered() {
    return Object.keys(this.filter).length > 0;
  }

  /** How large the listed ones are, in bytes of their values. */
  get bytes() {
    const fields = this.items.flatMap((letter) => letter.fields);
    return fields.reduce((sum, field) => sum + field.value.bytes, 0);
  }

  /**
   * List these in the place of those before. Returns whether all that were chosen are gone.
   * @param {LetterPage} page
   * @param {string} readFor
   */
  replace(page, readFor) {
    this.items = page.dead_letters;
    this.next = page.next;
    this.last = page.last;
    this.readFor = readFor;
    const ids = new Set(this.items.map((letter) => letter.id));
    const before = this.chosen.size;
    for (const id of [...this.chosen]) if (!ids.has(id)) this.chosen.delete(id);
    return before > 0 && this.chosen.size === 0;
  }

  /**
   * List a further page below.
   * @param {LetterPage} page
   */
  append(page) {
    const known = new Set(this.items.map((letter) => letter.id));
    this.items = [...this.items, ...page.dead_letters.filter((one) => !known.has(one.id))];
    this.next = page.next;
  }

  /** Choose none, and read them again: something was done to them. */
  stale() {
    this.chosen.clear();
    this.readFor = this.matched = null;
  }

  /**
   * List others: those that are like this.
   * @param {LetterFilter} filter
   * @param {"newest" | "oldest"} order
   */
  want(filter, order) {
    this.filter = filter;
    this.order = order;
    this.items = [];
    this.next = null;
    this.stale();
  }
}

/** The lost entries that are listed: the latest, and those before them as far as they are known without a gap. */
export class LostList {
  /** @type {LostEntry[]} */
  items = [];

  /** Before which the earlier ones are to be read; null: before none. @type {string | null} */
  next = null;

  /**
   * Put the latest on top. Where none of them was known, others may lie in between: then those before are let go.
   * @param {LostEntry[]} latest
   */
  learn(latest) {
    const ids = new Set(latest.map((one) => one.id));
    const before = this.items.filter((one) => !ids.has(one.id));
    if (before.length < this.items.length) this.items = [...latest, ...before];
    else {
      this.items = latest;
      this.next = null;
    }
  }

  /**
   * List an earlier page below.
   * @param {{lost: LostEntry[], next: string | null}} page
   */
  append(page) {
    const known = new Set(this.items.map((one) => one.id));
    this.items = [...this.items, ...page.lost.filter((one) => !known.has(one.id))];
    this.next = page.next;
  }
}

/** What is known; events: `chosen` (another target is looked at), `narrowed` (another
 * consumer of it), `forgotten` (the key is, and all with it). */
export class Store extends EventTarget {
  /** @type {string | null} */
  key = null;

  /** Who sits here, where the platform signs people in; null: it does not. @type {string | null} */
  signedIn = null;

  /** @type {Status | null} */
  status = null;

  /** Why the last look failed; null: it did not. @type {Trouble | null} */
  trouble = null;

  /** When the app last answered, in milliseconds; 0: never. */
  seenAt = 0;

  /** How many milliseconds the app's clock is ahead of ours. */
  skew = 0;

  /** How many looks the app has answered. */
  looks = 0;

  /** The name of the target that is looked at. @type {string | null} */
  name = null;

  /** The target that the address names, which is looked at first. @type {string | null} */
  wanted = null;

  /** The consumer whose entries are looked at; null: those of all. @type {string | null} */
  consumer = null;

  /** How far back the charts go, in milliseconds; null: as far as is known. @type {number | null} */
  range = null;

  /** How many of the target's runs are listed. */
  runsShown = RUNS_AT_FIRST;

  /** Whether a run that was asked for here is at work. */
  isRunning = false;

  letters = new LetterList();
  lost = new LostList();

  /** @type {Map<string, History>} */
  #histories = new Map();

  /** The target that is looked at, in full; null: it is not known, or not yet. */
  get target() {
    return this.status?.targets.find((one) => one.target === this.name) ?? null;
  }

  /** The target that is looked at, in brief; null: none is known. */
  get row() {
    return this.status?.overview.find((one) => one.target === this.name) ?? null;
  }

  /** The app's clock. */
  get now() {
    return Date.now() + this.skew;
  }

  /** The moment up to which the charts go: now, or where nothing is known of now, the last answer. */
  get knownUntil() {
    return this.trouble || this.isLate ? this.seenAt + this.skew : this.now;
  }

  /** Whether the last answer is too old to be taken for what is so now. */
  get isLate() {
    return this.status !== null && Date.now() - this.seenAt > LATE_MS;
  }

  /** Whether what is shown is so now, as far as is known. */
  get isLive() {
    return this.trouble === null && Date.now() - this.seenAt <= LATE_MS;
  }

  /** What stands in the way of seeing what is so now. @returns {Trouble | null} */
  get hindrance() {
    if (this.trouble || !this.isLate) return this.trouble;
    const message = `The app has not answered for more than ${span(LATE_MS / 1000)}`;
    return { status: 0, code: "late", message };
  }

  /**
   * The past of a target.
   * @param {string} name
   */
  history(name) {
    let history = this.#histories.get(name);
    if (!history) {
      history = new History();
      this.#histories.set(name, history);
    }
    return history;
  }

  /**
   * The app has answered. At first, and where the target is gone, the one is looked at of which it tells in full.
   * @param {Status} status
   */
  answered(status) {
    const at = Date.parse(status.now);
    this.status = status;
    this.trouble = null;
    this.seenAt = Date.now();
    this.skew = at - this.seenAt;
    this.looks += 1;
    for (const target of status.targets) this.history(target.target).learn(target, at);
    if (this.row) this.#learnLost();
    else this.choose(status.targets[0]?.target ?? null);
  }

  /** The target that is looked at is not configured: the worst one is to be looked at. */
  lookAtTheWorst() {
    this.name = this.wanted = null;
  }

  /**
   * Look at another target.
   * @param {string | null} name
   */
  choose(name) {
    if (this.name === name) return;
    if (this.name !== null || this.wanted !== name) this.consumer = null; // else the address named both
    this.name = this.wanted = name;
    this.runsShown = RUNS_AT_FIRST;
    this.letters = new LetterList();
    this.lost = new LostList();
    this.#learnLost();
    this.dispatchEvent(new Event("chosen"));
  }

  /**
   * Look at the entries of one consumer, or of all.
   * @param {string | null} consumer
   */
  chooseConsumer(consumer) {
    this.consumer = consumer;
    this.dispatchEvent(new Event("narrowed"));
  }

  /**
   * Forget the key and all that was read with it.
   * @param {string} message why
   */
  forget(message = "") {
    this.key = this.status = this.trouble = this.name = null;
    this.#histories.clear();
    this.dispatchEvent(new CustomEvent("forgotten", { detail: message }));
  }

  #learnLost() {
    const lost = this.target?.lost;
    if (lost) this.lost.learn(lost.latest);
  }
}

export const store = new Store();
