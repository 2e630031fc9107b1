/** Owns the sum of a replay's passes: one request replays for some seconds, and more follow until nothing is left. */

import { count } from "./format.js";

/** @type {[("failed" | "retried" | "held" | "missing"), string][]} */
const NOT_REPLAYED = [
  ["failed", "failed again"],
  ["retried", "could not be tried"],
  ["held", "wait for an earlier one"],
  ["missing", "were gone"],
];

export class Tally {
  chosen = 0;
  replayed = 0;
  failed = 0;
  retried = 0;
  held = 0;
  missing = 0;

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
    if (!this.chosen) this.chosen = pass.chosen;
    this.replayed += pass.replayed;
    this.failed += pass.failed;
    this.retried = pass.retried;
    this.held = pass.held;
    this.missing = pass.missing - known;
    for (const [reason, n] of Object.entries(pass.reasons))
      this.#reasons.set(reason, n + (this.#reasons.get(reason) ?? 0));
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
