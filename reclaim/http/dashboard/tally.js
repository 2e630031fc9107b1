/** Owns the sum of a replay's passes: one request replays for some seconds, and more follow until nothing is left. */

import { count, span } from "./format.js";

/** @type {[("failed" | "retried" | "held" | "missing" | "unseen"), string][]} */
const NOT_REPLAYED = [
  ["failed", "failed again"],
  ["retried", "could not be tried"],
  ["held", "wait for an earlier one"],
  ["missing", "were gone"],
  ["unseen", "were handled while the page could not see it"],
];

export class Tally {
  chosen = 0;
  replayed = 0;
  failed = 0;
  retried = 0;
  held = 0;
  missing = 0;
  unseen = 0;

  #isTakenUp = false;

  /** @type {Map<string, number>} */
  #reasons = new Map();

  /** @param {boolean} isListed whether IDs were chosen, not all */
  constructor(isListed) {
    this.isListed = isListed;
  }

  /**
   * Count what one more pass has done.
   * @param {Replayed} pass
   */
  add(pass) {
    // A listed dead letter that an earlier pass replayed is gone, and one that failed has a new ID. Neither is missing.
    const known = this.isListed ? this.replayed + this.failed : 0;
    let gone = pass.missing - known;
    if (this.#isTakenUp) {
      // What the pass did that was under way when the page was loaded anew, or lost the app, nobody was told.
      const there = this.isListed ? this.chosen - known - gone : pass.chosen - pass.missing;
      this.unseen += Math.max(0, this.chosen - this.done - there);
      gone = 0;
      this.#isTakenUp = false;
    }
    if (!this.chosen) this.chosen = pass.chosen;
    this.replayed += pass.replayed;
    this.failed += pass.failed;
    this.retried = pass.retried;
    this.held = pass.held;
    this.missing = Math.max(0, gone - (this.isListed ? this.unseen : 0));
    for (const [reason, n] of Object.entries(pass.reasons))
      this.#reasons.set(reason, n + (this.#reasons.get(reason) ?? 0));
  }

  /** What a pass did is not known: the next one tells it by what is left. */
  takeUp() {
    this.#isTakenUp = this.chosen > 0;
  }

  /** How many were tried and had an outcome. */
  get done() {
    return this.replayed + this.failed + this.unseen;
  }

  /** What has to be kept to go on with it later. */
  get kept() {
    const { isListed, chosen, replayed, failed, unseen } = this;
    return { isListed, chosen, replayed, failed, unseen, reasons: [...this.#reasons] };
  }

  /**
   * The sum that was kept.
   * @param {{isListed: boolean, chosen: number, replayed: number, failed: number, unseen: number, reasons: [string, number][]}} kept
   */
  static from({ isListed, chosen, replayed, failed, unseen, reasons }) {
    const tally = new Tally(isListed);
    Object.assign(tally, { chosen, replayed, failed, unseen });
    tally.#reasons = new Map(reasons);
    tally.takeUp();
    return tally;
  }

  /** What came of it so far, as a sentence without its full stop. */
  get words() {
    const others = NOT_REPLAYED.filter(([name]) => this[name]);
    const more = others.map(([name, word]) => `, ${count(this[name])} ${word}`);
    return `${count(this.replayed)} of ${count(this.chosen)} replayed${more.join("")}`;
  }

  /** What came of it all, and the reason that was met most often. */
  get sentence() {
    const most = [...this.#reasons].sort((one, other) => other[1] - one[1])[0];
    return `${this.words}.${most ? ` Most often: ${most[0]}` : ""}`;
  }
}

/** How fast it goes, since it was begun or taken up here. */
export class Pace {
  #began = Date.now();

  /** @param {number} before how many were done before */
  constructor(before) {
    this.before = before;
  }

  /**
   * The rate and the time left, to be said behind how far it is; nothing where nothing is left, or not known.
   * @param {number} done
   * @param {number} left
   */
  words(done, left) {
    const seconds = (Date.now() - this.#began) / 1000;
    const rate = (done - this.before) / Math.max(seconds, 0.001);
    if (!left || rate <= 0) return "";
    const shown = rate < 10 ? rate.toFixed(1) : count(Math.round(rate));
    return `; ${shown} a second, about ${span(left / rate)} left`;
  }
}

/**
 * What is still to be asked for after a pass: of a limit, the rest.
 * @param {ReplayAsked} asked
 * @param {Replayed} pass
 * @returns {ReplayAsked}
 */
export function rest(asked, pass) {
  if (!asked.limit) return asked;
  return { ...asked, limit: Math.max(1, asked.limit - pass.replayed - pass.failed) };
}
