/** Owns what the page says of the circuit: facts, questions and what came of a change. It touches no element. */

import { ago, count, moment, span } from "./format.js";

/** What a change of the circuit came to. @type {Record<string, string>} */
export const EFFECTS = {
  opened: "The circuit is open.",
  held: "The circuit stays open until somebody closes it.",
  closed: "The circuit is closed.",
  is_open: "The circuit was open already.",
  is_closed: "The circuit was closed already.",
};

/**
 * What is worth knowing of the circuit, as names and values.
 * @param {Circuit} circuit
 * @param {number} now
 * @returns {[string, string][]}
 */
export function circuitFacts(circuit, now) {
  const { state, since } = circuit;
  /** @type {[string, string | null][]} */
  const facts = [
    [
      state === "closed" ? "Closed" : "Opened",
      since && `${moment(Date.parse(since))}, ${ago(since, now)}`,
    ],
    ["By", changedBy(circuit)],
    ["Because", circuit.reason],
    ["Until", state === "open" ? openUntil(circuit.seconds_left) : null],
    ["Failed tries", circuit.failed_probes ? count(circuit.failed_probes) : null],
  ];
  return /** @type {[string, string][]} */ (facts.filter(([, value]) => value));
}

/** @param {Circuit} circuit */
function changedBy({ by, who }) {
  if (by === "person") return who || "somebody";
  return by === "probe" ? "a run that succeeded" : by;
}

/** @param {number | null} secondsLeft */
function openUntil(secondsLeft) {
  if (secondsLeft === null) return "a person closes it";
  return secondsLeft > 0
    ? `it is tried again, in ${span(secondsLeft)}`
    : "the next run, which tries it";
}

/**
 * Why a replay should wait while the circuit is not closed.
 * @param {Circuit} circuit
 */
export function whyNotReplay({ state, by, who, reason }) {
  const opened = by === "person" ? `${who || "somebody"} opened it: ` : "";
  const because = `${opened}${reason || "no reason given"}`;
  return `The circuit is ${state.replace("_", " ")}: ${because}. A replay sends work to what it protects.`;
}

/**
 * What the dialog says that opens or closes the circuit.
 * @param {"open" | "close"} action
 * @param {boolean} isClosed whether it is closed now
 */
export function circuitQuestion(action, isClosed) {
  if (action === "close") {
    const text = "Runs take over abandoned entries again, from the next one on.";
    return { title: "Close the circuit", text, button: "Close it" };
  }
  const text =
    "Nothing is taken over until somebody closes it. Entries stay pending; consumers are not touched.";
  return isClosed
    ? { title: "Open the circuit", text, button: "Open it" }
    : { title: "Keep the circuit open", text, button: "Keep it open" };
}
