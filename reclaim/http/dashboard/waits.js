/** Owns what the page says of an entry that is pending: why it waits, and how it was tried. It touches no element. */

import { ago, many, span } from "./format.js";

/** @type {Record<Wait, {health: Health, word: string}>} */
export const WAITS = {
  fresh: { health: "ok", word: "at work" },
  due: { health: "ok", word: "due" },
  backing_off: { health: "warn", word: "waiting" },
  held: { health: "warn", word: "held" },
  gone: { health: "fail", word: "gone" },
};

/**
 * Why an entry is still pending, and what comes next.
 * @param {PendingEntry} entry
 * @param {boolean} isOpen whether the circuit is open
 */
export function whyPending({ waiting, due_in_ms: dueInMs, behind, reason }, isOpen = false) {
  const failed = reason ? `: ${reason}` : "";
  /** @type {Record<Wait, string>} */
  const said = {
    fresh: "Its consumer may be at work on it",
    due: `${isOpen ? "A run takes it once the circuit lets it" : "The next run takes it"}${failed}`,
    backing_off: `It is tried again in ${span(Math.ceil(dueInMs / 1000))}${failed}`,
    held: `It waits behind ${behind ?? "an earlier one"} of its order key${failed}`,
    gone: "It is no longer in the stream: the next run lists it as lost",
  };
  return said[waiting];
}

/**
 * How an entry was delivered and tried.
 * @param {PendingEntry} entry
 * @param {number} now
 */
export function tries({ consumer, deliveries, charged, verdict, last_try_at: lastTryAt }, now) {
  const delivered = `${many(deliveries, "delivery", "deliveries")}, the last one to ${consumer || "nobody"}`;
  if (!lastTryAt) return `${delivered}; not tried by us yet`;
  const counted = charged
    ? `${many(charged, "try counts", "tries count")} against it`
    : "no try counts against it";
  const outage = verdict === "retry" ? "which met an outage; " : "";
  return `${delivered}; last tried ${ago(lastTryAt, now)}, ${outage}${counted}`;
}
