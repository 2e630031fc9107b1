/** Owns what is known of one target's past: its runs, and how many entries were pending for whom at which moment. */

import { many } from "./format.js";

const SAMPLES = 6000; // a week of the runs that are kept, and an hour of looks
const COLOURS = 5;
const ROWS = 12;

/** The name under which the consumers are counted that a status or a report does not name. */
export const OTHERS = "other consumers";

/**
 * @typedef {{at: number, byConsumer: Record<string, number>}} Sample
 * @typedef {{consumer: string, pending: number | null, idle_ms: number | null}} ConsumerRow
 */

/**
 * How many entries are pending in a sample.
 * @param {Sample} sample
 */
export function total(sample) {
  return Object.values(sample.byConsumer).reduce((sum, n) => sum + n, 0);
}

/**
 * How many entries are pending for consumers that are not among those named.
 * @param {Pending} pending
 * @param {{pending: number}[]} named
 */
function unnamed(pending, named = pending.by_consumer) {
  return pending.total - named.reduce((sum, one) => sum + one.pending, 0);
}

export class History {
  /** Whether runs before those of the status were read. */
  wasReadBack = false;

  /** Whether there is no run before those that are known. */
  isComplete = false;

  /** @type {Map<string, RunReport>} */
  #runs = new Map();

  /** What was pending, by the moment. @type {Map<number, Record<string, number>>} */
  #pending = new Map();

  /** The samples in their order; null: they are to be put in order again. @type {Sample[] | null} */
  #samples = null;

  /** Moments and what was pending then, the oldest first. @returns {Sample[]} */
  get samples() {
    if (this.#samples) return this.#samples;
    const all = [...this.#pending].map(([at, byConsumer]) => ({ at, byConsumer }));
    this.#samples = all.sort((one, other) => one.at - other.at).slice(-SAMPLES);
    if (all.length > SAMPLES) {
      this.#pending.clear();
      for (const { at, byConsumer } of this.#samples) this.#pending.set(at, byConsumer);
    }
    return this.#samples;
  }

  /** All known runs, the latest first. */
  get runs() {
    return [...this.#runs.values()].sort(
      (one, other) => Date.parse(other.started_at) - Date.parse(one.started_at),
    );
  }

  /**
   * Learn from a status. Where none of its runs is known, runs may be missing in between: then the past is begun anew.
   * @param {TargetStatus} target
   * @param {number} at
   */
  learn(target, at) {
    if (this.#runs.size && target.runs.length && !target.runs.some((run) => this.#runs.has(run.id)))
      this.#forget();
    this.learnRuns([...target.runs].reverse());
    if (!target.pending) return;
    const named = target.pending.by_consumer.map((one) => [one.consumer, one.pending]);
    this.#sample(at, Object.fromEntries([...named, [OTHERS, unnamed(target.pending)]]));
  }

  /**
   * Learn of runs, and of what was pending before and after each.
   * @param {RunReport[]} runs
   */
  learnRuns(runs) {
    for (const run of runs) {
      this.#runs.set(run.id, run);
      const began = Date.parse(run.started_at);
      if (Number.isNaN(began)) continue;
      if (run.pending_before) this.#sample(began, run.pending_before);
      const ended = began + Math.max(1, Math.round(run.seconds * 1000));
      if (run.pending_after) this.#sample(ended, run.pending_after);
    }
  }

  /** The consumers that have a colour of their own: those for whom most was ever pending, in a lasting order. */
  coloured() {
    /** @type {Map<string, number>} */
    const most = new Map();
    for (const { byConsumer } of this.samples)
      for (const [name, n] of Object.entries(byConsumer))
        if (name !== OTHERS) most.set(name, Math.max(n, most.get(name) ?? 0));
    return [...most]
      .sort((one, other) => other[1] - one[1] || one[0].localeCompare(other[0]))
      .slice(0, COLOURS)
      .map(([name]) => name)
      .sort();
  }

  #forget() {
    this.#runs.clear();
    this.#pending.clear();
    this.#samples = null;
    this.isComplete = this.wasReadBack = false;
  }

  /**
   * @param {number} at
   * @param {Record<string, number>} byConsumer
   */
  #sample(at, byConsumer) {
    if (this.#pending.has(at)) return;
    this.#pending.set(at, byConsumer);
    this.#samples = null;
  }
}

/**
 * The class of a consumer's colour.
 * @param {string[]} coloured
 * @param {string} name
 */
export function colour(coloured, name) {
  return coloured.includes(name) ? `s${coloured.indexOf(name)}` : "s5";
}

/**
 * The rows of the table of consumers: first the consumers for whom most is pending, then the others with a colour in
 * the chart, and all the rest as one row.
 * @param {Pending | null} pending
 * @param {string[]} coloured
 * @returns {ConsumerRow[]}
 */
export function consumerRows(pending, coloured) {
  const known = (pending?.by_consumer ?? []).slice(0, ROWS);
  const others = (pending?.consumers ?? 0) - known.length;
  const names = new Set(known.map((one) => one.consumer));
  const rest = coloured
    .filter((name) => !names.has(name))
    .map((consumer) => ({ consumer, pending: others ? null : 0, idle_ms: null }));
  if (!pending || !others) return [...known, ...rest];
  const consumer = many(others, "other consumer");
  return [...known, ...rest, { consumer, pending: unnamed(pending, known), idle_ms: null }];
}
