/** Owns where the parts of the charts stand: it turns samples and runs into numbers, and touches no element. */

import { count } from "./format.js";
import { total } from "./history.js";
import { finished, left, outcome } from "./words.js";

const MINUTE_MS = 60000;
const SHORTEST_MS = 2 * MINUTE_MS;
const LABEL_PX = 110;
const MINUTES = [1, 2, 5, 10, 15, 30, 60, 120, 240, 720, 1440, 2880, 10080];
const MONTH_MINUTES = 43200;

/**
 * @typedef {import("./history.js").Sample} Sample
 * @typedef {{width: number, height: number}} Size in pixels
 * @typedef {{left: number, right: number, top: number, bottom: number}} Edge
 */

const DIGIT_PX = 7.2;
const SLOTS = 60;

/** @type {Edge} */
const PENDING_EDGE = { left: 44, right: 8, top: 10, bottom: 22 };

/** @type {Edge} */
const RUNS_EDGE = { left: 44, right: 8, top: 8, bottom: 20 };

/**
 * The edge with as much room at the left as the longest label of the grid takes.
 * @param {Edge} edge
 * @param {number[]} grid
 * @returns {Edge}
 */
function roomy(edge, grid) {
  const longest = Math.max(...grid.map((n) => count(n).length));
  return { ...edge, left: Math.max(edge.left, Math.ceil(longest * DIGIT_PX) + 12) };
}

/**
 * Round numbers from 0 up to the most, about three steps.
 * @param {number} most
 */
export function ticks(most) {
  const rough = most / 3;
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const round = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? 10 * power;
  const step = Math.max(1, round);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, at) => at * step);
}

/**
 * Round moments between two, as many as there is room for.
 * @param {number} start
 * @param {number} end
 * @param {number} width
 */
export function moments(start, end, width) {
  const minutes = (end - start) / MINUTE_MS;
  const every = MINUTES.find((n) => minutes / n <= width / LABEL_PX) ?? MONTH_MINUTES;
  const step = every * MINUTE_MS;
  const found = [];
  for (let at = Math.ceil(start / step) * step; at <= end; at += step) found.push(at);
  return found;
}

/**
 * The chart of pending entries: one area for each coloured consumer, stacked, and one for all others on top.
 * @param {Sample[]} samples
 * @param {string[]} coloured
 * @param {number} now the right end of the axis
 * @param {Size & {range?: number | null}} size and how far back it goes, in milliseconds; null: as far as there are samples
 */
export function pendingChart(samples, coloured, now, { width, height, range = null }) {
  const start = range ? now - range : Math.min(samples[0]?.at ?? now, now - SHORTEST_MS);
  const shown = thinned(since(samples, start), width);
  const most = Math.max(4, ...shown.map(total));
  const grid = ticks(most);
  const edge = roomy(PENDING_EDGE, grid);
  const inside = width - edge.left - edge.right;
  /** @param {number} at */
  const x = (at) => edge.left + ((at - start) / (now - start)) * inside;
  /** @param {number} offset in pixels, from the left */
  const momentAt = (offset) => start + ((offset - edge.left) / inside) * (now - start);
  const y = upwards(most * 1.08, height, edge);
  const labels = moments(start, now, width).filter(
    (at) => x(at) < width - 20 && x(at) > edge.left + 12,
  );
  const last = shown.at(-1);
  const points = last ? [...samples, { at: now, byConsumer: last.byConsumer }] : [];
  const areas = stacked(points, coloured).map(({ name, below, above }) => {
    /** @param {number[]} values */
    const line = (values) =>
      values.map((n, at) => `${px(Math.max(edge.left, x(points[at].at)))},${px(y(n))}`);
    return { name, points: [...line(above), ...line(below).reverse()].join(" ") };
  });
  return { start, end: now, x, y, edge, momentAt, grid, labels, areas, shown };
}

/**
 * The samples from a moment on, with the one before it: what was pending then.
 * @param {Sample[]} samples
 * @param {number} start
 */
function since(samples, start) {
  const first = samples.findIndex((one) => one.at >= start);
  if (first < 0) return samples.slice(-1);
  return samples.slice(Math.max(0, first - 1));
}

/**
 * At most one sample for a pixel: the one with the most pending, which is what a person looks for.
 * @param {Sample[]} samples
 * @param {number} width
 */
function thinned(samples, width) {
  if (samples.length <= width) return samples;
  const [start, end] = [samples[0].at, samples[samples.length - 1].at];
  /** @type {Map<number, Sample>} */
  const most = new Map();
  for (const one of samples) {
    const slot = Math.floor(((one.at - start) / (end - start)) * (width - 1));
    const known = most.get(slot);
    if (!known || total(one) >= total(known)) most.set(slot, one);
  }
  return [...most.values()];
}

/**
 * The stack of what was pending, from the bottom to the top; name null: all without a colour.
 * @param {Sample[]} points
 * @param {string[]} coloured
 */
export function stacked(points, coloured) {
  const layers = [];
  let below = points.map(() => 0);
  for (const name of [...coloured, null]) {
    const pending = points.map((one) =>
      name === null ? without(one, coloured) : (one.byConsumer[name] ?? 0),
    );
    if (!pending.some(Boolean)) continue;
    const above = below.map((n, at) => n + pending[at]);
    layers.push({ name, below, above });
    below = above;
  }
  return layers;
}

/**
 * How many entries of a sample are pending for consumers without a colour.
 * @param {Sample} sample
 * @param {string[]} coloured
 */
function without(sample, coloured) {
  return Object.entries(sample.byConsumer)
    .filter(([name]) => !coloured.includes(name))
    .reduce((sum, [, n]) => sum + n, 0);
}

/**
 * The chart of runs: a bar for each, the latest at the right end; a cross above one that failed.
 * @param {RunReport[]} runs the oldest first
 * @param {Size} size
 */
export function runsChart(runs, { width, height }) {
  const most = Math.max(4, ...runs.map((run) => Math.max(run.claimed ?? 0, settled(run))));
  const grid = ticks(most);
  const edge = roomy(RUNS_EDGE, grid);
  const y = upwards(most, height, edge);
  const step = Math.min(28, (width - edge.left - edge.right) / Math.max(1, runs.length));
  const thick = Math.max(2, step - 3);
  const begin = width - edge.right - runs.length * step;
  const bars = [];
  const crosses = [];
  for (const [at, run] of runs.entries()) {
    const x = begin + at * step;
    bars.push(...barsOf(run, y).map((bar) => ({ ...bar, x: px(x), width: px(thick) })));
    if (outcome(run).health === "fail") crosses.push({ x: x + thick / 2, y: y(0) - 5 });
  }
  const isWide = runs.length * step > LABEL_PX;
  /** @param {number} offset in pixels, from the left */
  const runAt = (offset) =>
    Math.min(runs.length - 1, Math.max(0, Math.floor((offset - begin) / step)));
  const middle = (at = 0) => begin + at * step + thick / 2;
  return { y, edge, grid, bars, crosses, begin: Math.max(edge.left, begin), isWide, runAt, middle };
}

/**
 * The runs of a range added up, in slots of the same length: a bar for each. An empty slot is a run that did nothing.
 * @param {RunReport[]} runs
 * @param {number} now
 * @param {number} range in milliseconds
 * @returns {RunReport[]} the oldest first
 */
export function summed(runs, now, range) {
  const slot = range / SLOTS;
  const start = now - range;
  /** @type {RunReport[]} */
  const slots = Array.from({ length: SLOTS }, (_, at) => {
    const began = new Date(start + at * slot).toISOString();
    return { id: "", outcome: "completed", reason: "", started_at: began, seconds: slot / 1000 };
  });
  for (const run of runs) {
    const at = Math.floor((Date.parse(run.started_at) - start) / slot);
    if (slots[at]) slots[at] = added(slots[at], run);
  }
  return slots;
}

/** @type {("claimed" | "stored" | "moved" | "parked" | "lost" | "failed" | "retried" | "held" | "given_back")[]} */
const COUNTS = [
  "claimed",
  "stored",
  "moved",
  "parked",
  "lost",
  "failed",
  "retried",
  "held",
  "given_back",
];

/**
 * @param {RunReport} sum
 * @param {RunReport} run
 * @returns {RunReport}
 */
function added(sum, run) {
  const made = { ...sum };
  for (const name of COUNTS) made[name] = (sum[name] ?? 0) + (run[name] ?? 0);
  if (outcome(run).health === "fail") made.outcome = run.outcome;
  return made;
}

/** @param {RunReport} run */
function settled(run) {
  return finished(run) + left(run) + (run.parked ?? 0) + (run.lost ?? 0);
}

/**
 * The parts of a run's bar, from the bottom to the top; a low one in grey where there is nothing to show.
 * @param {RunReport} run
 * @param {(n: number) => number} y
 */
function barsOf(run, y) {
  /** @type {[number, string][]} */
  const parts = [
    [finished(run), "f-ok"],
    [left(run), "f-warn"],
    [run.parked ?? 0, "f-fail"],
    [run.lost ?? 0, "f-lost"],
  ];
  const bars = [];
  let base = 0;
  for (const [n, fill] of parts) {
    const top = y(base + n);
    if (n) bars.push({ fill, y: px(top), height: px(Math.max(1.5, y(base) - top)), round: 1.5 });
    base += n;
  }
  return bars.length ? bars : [{ fill: "f-none", y: px(y(0) - 3), height: "3", round: 0 }];
}

/**
 * A scale that begins at the lower edge with 0, and has `most` at the upper one.
 * @param {number} most
 * @param {number} height
 * @param {Edge} edge
 * @returns {(n: number) => number}
 */
function upwards(most, height, edge) {
  return (n) => height - edge.bottom - (n / most) * (height - edge.top - edge.bottom);
}

/** @param {number} n */
function px(n) {
  return n.toFixed(1);
}
