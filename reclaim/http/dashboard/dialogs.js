/** Owns three acts of a person: a run now, opening and closing the circuit, discarding dead letters. */

import { act, cancels, onPress, onSubmit, target, told } from "./acts.js";
import { api } from "./api.js";
import { $, dialog, input, progress, say } from "./dom.js";
import { many } from "./format.js";
import { poll } from "./live.js";
import { store } from "./store.js";
import { circuitQuestion, EFFECTS } from "./circuit.js";
import { ran } from "./words.js";

const WHO = "reclaim-who";
const IDS_AT_ONCE = 100;

/** What the dialog about the circuit is about. @type {"open" | "close"} */
let action = "open";

/** What is to be discarded. @type {WhichLetters} */
let selection = { ids: "all" };

/** The dead letters that are chosen, or all. @returns {string[] | "all"} */
export function chosenOrAll() {
  const { chosen } = store.letters;
  return chosen.size ? [...chosen] : "all";
}

/**
 * Which dead letters are meant. Of all, only the ones that are there when the question is asked: later ones were not
 * meant, and one that fails gets a new ID.
 * @param {string[] | "all"} ids
 * @returns {WhichLetters}
 */
export function selected(ids) {
  const { last, filter } = store.letters;
  return ids === "all" ? { ids, ...filter, ...(last ? { upto: last } : {}) } : { ids };
}

/**
 * How many are meant, in words.
 * @param {string[] | "all"} ids
 */
export function named(ids) {
  const of = `of ${target().target}`;
  const { isFiltered, matched } = store.letters;
  if (ids === "all" && isFiltered)
    return `${matched === null ? "all dead letters" : many(matched, "dead letter")} ${of} that fit`;
  const all = target().dead_letters ?? 0;
  if (ids !== "all") return `${many(ids.length, "dead letter")} ${of}`;
  return all === 1 ? `the only dead letter ${of}` : `all ${many(all, "dead letter")} ${of}`;
}

async function runNow() {
  const { target: name } = target();
  store.isRunning = true;
  say("run", "Running…");
  try {
    const { runs } = await api.run({ target: name, ...me() });
    told(ran(runs[0]), name);
  } finally {
    store.isRunning = false;
    say("run", "Run now");
    poll();
  }
}

/** Who sits here, as far as that is known. @returns {{who?: string}} */
export function me() {
  const who = store.signedIn ?? sessionStorage.getItem(WHO);
  return who ? { who } : {};
}

/** @param {"open" | "close"} wanted */
function askCircuit(wanted) {
  action = wanted;
  const { title, text, button } = circuitQuestion(wanted, target().circuit?.state === "closed");
  say("circuit-dialog-h", `${title} of ${target().target}`);
  say("circuit-dialog-p", text);
  say("circuit-go", button);
  say("circuit-error", "");
  input("reason").value = "";
  input("who").value = me().who ?? "";
  dialog("circuit-dialog").showModal();
  $("reason").focus();
}

async function setCircuit() {
  const who = input("who").value.trim();
  const reason = input("reason").value;
  const { target: name } = target();
  const { effect } = await api.setCircuit({ target: name, action, reason, who });
  sessionStorage.setItem(WHO, who);
  dialog("circuit-dialog").close();
  told(EFFECTS[effect], name);
  await poll(); // the look that may be under way was asked before the change
  await poll();
}

/**
 * Ask whether these are to be discarded; the safe answer has the focus.
 * @param {string[] | "all"} ids
 */
export function askDiscard(ids) {
  selection = selected(ids);
  say("discard-h", `Discard ${named(ids)}?`);
  say("discard-error", "");
  $("discard-progress").hidden = true;
  input("discard-why").value = "";
  input("discard-who").value = me().who ?? "";
  cancels("discard-dialog", "Keep them");
  dialog("discard-dialog").showModal();
  for (const keep of dialog("discard-dialog").querySelectorAll("button.cancel"))
    if (keep instanceof HTMLButtonElement) keep.focus();
}

async function discard() {
  const { target: name } = target();
  const who = input("discard-who").value.trim();
  const why = input("discard-why").value;
  const parts = chunks(selection);
  const bar = progress("discard-bar");
  cancels("discard-dialog", "Close");
  $("discard-progress").hidden = false;
  bar.removeAttribute("value");
  let discarded = 0;
  for (const [at, some] of parts.entries()) {
    for (let isDone = false; !isDone;) {
      const part = await api.discard({ target: name, ...some, who, why });
      discarded += part.discarded;
      isDone = part.done;
    }
    bar.max = parts.length;
    bar.value = at + 1;
  }
  sessionStorage.setItem(WHO, who);
  dialog("discard-dialog").close();
  store.letters.stale();
  told(`${many(discarded, "dead letter is", "dead letters are")} discarded.`, name);
  await poll();
}

/**
 * What one request after another discards: an address holds only so many IDs.
 * @param {WhichLetters} which
 * @returns {(LetterFilter & {ids: string, upto: string | null})[]}
 */
function chunks({ ids, upto, ...filter }) {
  if (ids === "all") return [{ ids, ...filter, upto: upto ?? null }];
  /** @type {{ids: string, upto: string | null}[]} */
  const found = [];
  for (let at = 0; at < ids.length; at += IDS_AT_ONCE)
    found.push({ ids: ids.slice(at, at + IDS_AT_ONCE).join(","), upto: null });
  return found;
}

onPress("run", () => act("run", null, runNow));
onPress("circuit-open", () => askCircuit("open"));
onPress("circuit-close", () => askCircuit("close"));
onPress("verdict-close", () => askCircuit("close"));
onSubmit("circuit-form", () => act("circuit-go", "circuit-error", setCircuit));
onPress("dead-discard", () => askDiscard(chosenOrAll()));
onSubmit("discard-form", () => act("discard-go", "discard-error", discard));
