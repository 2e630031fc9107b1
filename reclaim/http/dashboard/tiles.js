/** Owns the tiles: for each a figure, a line below it, and how bad it is. It touches no element. */

import { ago, count, many, span } from "./format.js";
import { CIRCUIT, mark, outcome } from "./words.js";

const DAY_MS = 86400000;
const ROUND_MS = 1000; // a run writes when it looked a little after it began

/**
 * The tiles, by name: a figure, a line below it, and how bad it is.
 * @param {TargetStatus} target
 * @param {number} now
 * @returns {Record<string, {figure: string, more: string, health: Health | ""}>}
 */
export function tiles(target, now) {
  return {
    pending: pendingTile(target.pending),
    oldest: oldestTile(target.pending?.oldest),
    circuit: circuitTile(target.circuit),
    run: runTile(target, now),
    dead: deadTile(target),
    lost: lostTile(target.lost, now),
  };
}

/**
 * @param {Pending | null} pending
 * @returns {Tile}
 */
function pendingTile(pending) {
  if (!pending) return { figure: "–", more: "could not be read", health: "" };
  const more = pending.total ? `for ${many(pending.consumers, "consumer")}` : "nothing waits";
  return { figure: count(pending.total), more, health: "" };
}

/**
 * @param {Oldest | null | undefined} oldest
 * @returns {Tile}
 */
function oldestTile(oldest) {
  if (!oldest) return { figure: "–", more: "", health: "" };
  const deliveries = many(oldest.deliveries, "delivery", "deliveries");
  const more = `${deliveries}, ${oldest.consumer || "nobody"}`;
  return { figure: span(oldest.idle_ms / 1000), more, health: "" };
}

/**
 * @param {Circuit | null} circuit
 * @returns {Tile}
 */
function circuitTile(circuit) {
  if (!circuit) return { figure: "–", more: "could not be read", health: "" };
  const { health, word } = CIRCUIT[circuit.state];
  const failures = `${count(circuit.failures)} of ${count(circuit.limit)} failures`;
  const more = `${failures} in ${span(circuit.window_sec)}`;
  return { figure: word, more, health: health === "ok" ? "" : health };
}

/**
 * When a run last did its work. Of the runs that found nothing few leave a report: so the report may be an older one.
 * @param {TargetStatus} target
 * @param {number} now
 * @returns {Tile}
 */
function runTile({ runs: [run], last_tick_at: tick }, now) {
  if (!run) {
    const more = tick ? "no report is kept" : "none on record";
    return { figure: tick ? ago(tick, now) : "–", more, health: "" };
  }
  const { word } = outcome(run);
  const health = mark(run);
  const isLater = tick !== null && Date.parse(tick) > Date.parse(run.started_at) + ROUND_MS;
  const when = isLater ? `, ${ago(run.started_at, now)}` : "";
  const more = `${isLater ? "last report: " : ""}${word}${cost(run)}, ${span(run.seconds)}${when}`;
  const figure = ago(isLater ? tick : run.started_at, now);
  return { figure, more, health: health === "ok" ? "" : health };
}

/**
 * What a run could not keep: dead letters and lost entries.
 * @param {RunReport} run
 */
function cost({ parked, lost }) {
  const dead = parked ? `, ${many(parked, "dead letter")}` : "";
  return lost ? `${dead}, ${count(lost)} lost` : dead;
}

/**
 * @param {Lost | null} lost
 * @param {number} now
 * @returns {Tile}
 */
function lostTile(lost, now) {
  if (!lost) return { figure: "–", more: "could not be read", health: "" };
  const [latest] = lost.latest;
  if (!latest) return { figure: count(lost.count), more: "none on record", health: "" };
  const isRecent = now - Date.parse(latest.at) < DAY_MS;
  const figure = `${count(lost.count)}${lost.full ? " or more" : ""}`;
  return { figure, more: `the latest ${ago(latest.at, now)}`, health: isRecent ? "warn" : "" };
}

/**
 * @param {TargetStatus} target
 * @returns {Tile}
 */
function deadTile({ dead_letters: dead, dead_letter_maxlen: most }) {
  const more = `kept: at most ${count(most)}`;
  if (!dead) return { figure: count(dead), more, health: "" };
  return { figure: count(dead), more, health: dead >= most ? "fail" : "warn" };
}
