/** Owns what the page says of an answer of the app: verdicts, outcomes and sentences. It touches no element. */

import { count, many, span } from "./format.js";

/** @type {Record<Shown, string>} */
export const HEALTH = {
  ok: "Healthy",
  warn: "Needs a look",
  fail: "Failing",
  away: "Cannot reach the app",
};

const TOP_REASONS = 3;

/** @type {Record<string, [Health, string]>} */
const OUTCOMES = {
  completed: ["ok", "completed"],
  nothing_pending: ["ok", "nothing pending"],
  out_of_time: ["ok", "out of time"],
  stopped: ["ok", "stopped"],
  lease_held: ["ok", "another run at work"],
  lease_lost: ["warn", "lease lost"],
  too_many_held: ["warn", "too many held"],
  group_missing: ["fail", "group missing"],
  group_gone: ["fail", "group gone"],
  dead_letters_full: ["fail", "dead letters full"],
  circuit_open: ["warn", "circuit open"],
  failed: ["fail", "failed"],
};

/** @type {Record<CircuitState, {health: Health, word: string, means: string}>} */
export const CIRCUIT = {
  closed: { health: "ok", word: "Closed", means: "Runs take over abandoned entries." },
  open: {
    health: "fail",
    word: "Open",
    means: "Nothing is taken over; entries stay pending, and none is lost.",
  },
  half_open: {
    health: "warn",
    word: "Half open",
    means: "One run tries a few entries to see whether they can be stored again.",
  },
};

/**
 * How a run ended: how bad that is, and the word for it. An outcome that this page does not know is worth a look.
 * @param {{outcome: string}} run
 * @returns {{health: Health, word: string}}
 */
export function outcome(run) {
  const [health, word] = OUTCOMES[run.outcome] ?? ["warn", run.outcome.replaceAll("_", " ")];
  return { health, word };
}

/**
 * How bad it is what a run did: also one that went well is worth a look where entries became dead letters or were lost,
 * and it failed where none fared better.
 * @param {RunReport} run
 * @returns {Health}
 */
export function mark(run) {
  const { health } = outcome(run);
  const gone = (run.parked ?? 0) + (run.lost ?? 0) + (run.lost_at_most ?? 0);
  if (!gone || health === "fail") return health;
  return finished(run) + left(run) === 0 ? "fail" : "warn";
}

/**
 * How many entries a run stored or moved.
 * @param {RunReport} run
 */
export function finished(run) {
  return (run.stored ?? 0) + (run.moved ?? 0);
}

/**
 * How many entries a run claimed and left pending.
 * @param {RunReport} run
 */
export function left(run) {
  return (run.failed ?? 0) + (run.retried ?? 0) + (run.held ?? 0) + (run.given_back ?? 0);
}

/**
 * Why a run ended as it did, and why entries were not stored: the reasons met most often.
 * @param {RunReport} run
 * @param {number} most how many reasons
 */
export function why(run, most = TOP_REASONS) {
  const ranked = Object.entries(run.reasons ?? {}).sort(([, one], [, other]) => other - one);
  const reasons = ranked
    .slice(0, most)
    .map(([reason, n]) => (n > 1 ? `${reason} (${count(n)} times)` : reason));
  const more = ranked.length - reasons.length;
  const others = more > 0 ? `and ${many(more, "other reason", "other reasons")}` : "";
  return [run.reason, ...reasons, others].filter(Boolean).join("; ");
}

/**
 * How the targets are, as a heading.
 * @param {{health: Health}[]} rows
 */
export function targetsSentence(rows) {
  const failing = rows.filter((one) => one.health === "fail").length;
  const look = rows.filter((one) => one.health === "warn").length;
  const parts = [
    failing ? `${count(failing)} failing` : "",
    look ? `${count(look)} ${look === 1 ? "needs" : "need"} a look` : "",
  ].filter(Boolean);
  return `${many(rows.length, "target")}: ${parts.join(", ") || "all healthy"}`;
}

/**
 * The verdict: of the target, or where something stands in the way of seeing it, of that.
 * @param {{health: Health, sentence: string} | null} target
 * @param {Trouble | null} trouble
 * @param {number} seenAt when the app last answered, in milliseconds; 0: never
 * @param {(ms: number) => string} clock
 * @returns {{health: Shown, word: string, sentence: string}}
 */
export function verdict(target, trouble, seenAt, clock) {
  if (trouble) {
    const last = seenAt ? `What is shown below was so at ${clock(seenAt)}.` : "";
    const message = trouble.message.replace(/\.?$/, ".");
    return { ...troubleWord(trouble), sentence: `${message} ${last} This page keeps trying.` };
  }
  if (!target) return { health: "away", word: HEALTH.away, sentence: "" };
  return { health: target.health, word: HEALTH[target.health], sentence: target.sentence };
}

/**
 * @param {Trouble} trouble
 * @returns {{health: Shown, word: string}}
 */
function troubleWord(trouble) {
  if (["access_denied", "not_trusted", "unsuitable"].includes(trouble.code))
    return { health: "fail", word: "The app cannot use Redis" };
  if (trouble.code.startsWith("redis")) return { health: "fail", word: "Redis does not answer" };
  if (trouble.code === "late") return { health: "away", word: "Not live" };
  return { health: "away", word: trouble.status ? "The app fails" : HEALTH.away };
}

/**
 * The tab's title: what is worst among all targets, or the trouble.
 * @param {Shown} worst
 * @param {string} word
 */
export function title(worst, word) {
  return worst === "ok" ? "reclaim" : `${word} – reclaim`;
}

/**
 * What came of a run that a person asked for.
 * @param {RunReport} report
 */
export function ran(report) {
  if (report.outcome === "lease_held") return `Skipped: ${report.reason}`;
  const counts = runCounts(report);
  if (report.outcome === "circuit_open" && !counts.length) {
    const isSaid = report.reason.startsWith("the circuit is open");
    return `Nothing was taken over: ${isSaid ? report.reason : `the circuit is open (${report.reason})`}.`;
  }
  const isDone = ["completed", "nothing_pending"].includes(report.outcome);
  const did = counts.join(", ") || (isDone ? "nothing was idle" : "nothing was taken over");
  const because = report.reason ? ` (${report.reason})` : "";
  return `The run: ${outcome(report).word}, ${did}, ${span(report.seconds)}${because}.`;
}

/** @param {RunReport} report */
function runCounts(report) {
  /** @type {[number | undefined, string][]} */
  const counts = [
    [report.claimed, "claimed"],
    [report.stored, "stored"],
    [report.moved, "moved"],
    [report.parked, "made dead letters"],
    [report.lost, "lost"],
    [report.duplicate_fields, "with a name more than once"],
    [report.not_deleted, "not deleted"],
    [report.lost_at_most, "more lost at most"],
    [left(report), "left pending"],
  ];
  return counts.filter(([n]) => n).map(([n, word]) => `${count(n)} ${word}`);
}

/**
 * Who had a lost entry; of many that are gone with their group only a number is known.
 * @param {LostEntry} entry
 */
export function lostWhose(entry) {
  if (entry.at_most) return `at most ${count(entry.at_most)} from here on, gone with their group`;
  return entry.consumer || "nobody";
}

/**
 * What the page says above the lost entries.
 * @param {Lost | null} lost
 * @param {number} shown how many are listed
 */
export function lostSentence(lost, shown) {
  if (!lost) return "Could not be read.";
  if (lost.count === 0)
    return "There are none: no entry was trimmed or deleted while it was pending.";
  const entries = many(lost.count, "entry was", "entries were");
  const pending = lost.count === 1 ? "it was pending; its" : "they were pending; their";
  const full = lost.full ? " The record is full: earlier ones are no longer on it." : "";
  const latest = lost.count > shown ? ` The latest ${count(shown)}:` : "";
  return (
    `${entries} trimmed from the stream or deleted while ${pending} fields are gone.` +
    ` A longer stream (MAXLEN) or faster consumers prevent that.${full}${latest}`
  );
}

/**
 * How many of the doctor's checks are not well.
 * @param {number} bad
 * @param {number} all
 */
export function checksSentence(bad, all) {
  if (!bad) return `All ${many(all, "check")} are well.`;
  return `${count(bad)} of ${many(all, "check")} ${bad === 1 ? "needs" : "need"} a look.`;
}
