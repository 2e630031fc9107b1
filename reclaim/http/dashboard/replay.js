/** Owns the dialog that replays dead letters: what is asked, its progress over many requests, and stopping it. */

import { act, cancels, onPress, onSubmit, target, told } from "./acts.js";
import { api, refusal } from "./api.js";
import { chosenOrAll, me, named, selected } from "./dialogs.js";
import { $, button, dialog, input, progress, say } from "./dom.js";
import { count } from "./format.js";
import { poll } from "./live.js";
import { store } from "./store.js";
import { Pace, rest, Tally } from "./tally.js";
import { whyNotReplay } from "./circuit.js";

const PASS_SEC = 5; // what is said of the progress is as old as that at most
const FIRST_PASS_SEC = 2; // so that the bar soon moves, and the rate is known
const WAIT_MS = 3000; // while another run or replay is at work on the target
const PASSING = new Set([0, 502, 503, 504]); // the app or Redis is away, or begins anew
const KEPT = "reclaim-replay";

const BUSY = "Another run or replay is at work on this target; this one waits for it.";

/** What is to be replayed. @type {WhichLetters} */
let selection = { ids: "all" };

/** The replay that is under way. @type {{isStopped: boolean} | null} */
let running = null;

/** Whether a replay is under way, or still ending. */
export function isReplaying() {
  return running !== null;
}

/**
 * Ask how these are to be replayed.
 * @param {string[] | "all"} ids
 */
export function askReplay(ids) {
  if (running) {
    told(`The replay before this one is still ending; that takes up to ${PASS_SEC} s.`);
    return;
  }
  selection = selected(ids);
  say("replay-h", `Replay ${named(ids)}`);
  say("replay-error", "");
  say("replay-count", "");
  showOptions();
  for (const id of ["limit", "rate"]) input(id).value = "";
  input("even-if-open").checked = false;
  $("replay-go").hidden = false;
  cancels("replay-dialog", "Cancel");
  heedCircuit();
  dialog("replay-dialog").showModal();
  preview();
}

function showOptions() {
  $("replay-options").hidden = false;
  $("replay-progress").hidden = true;
}

function showProgress() {
  $("replay-options").hidden = $("replay-open").hidden = true;
  $("replay-progress").hidden = false;
  progress("replay-bar").removeAttribute("value");
  cancels("replay-dialog", "Stop");
}

/** While the circuit is not closed, say so, and have the button wait until somebody wants it all the same. */
function heedCircuit() {
  const { circuit } = target();
  const isOpen = circuit !== null && circuit.state !== "closed";
  $("replay-open").hidden = !isOpen;
  if (isOpen) say("replay-open-why", whyNotReplay(circuit));
  button("replay-go").disabled = isOpen && !input("even-if-open").checked;
}

/** What the dialog asks for now. @returns {ReplayAsked} */
function asked() {
  const limit = input("limit").value;
  const rate = input("rate").value;
  return {
    target: target().target,
    ...selection,
    ...(limit ? { limit: Number(limit) } : {}),
    ...(rate ? { rate: Number(rate) } : {}),
    ...(input("even-if-open").checked ? { even_if_open: true } : {}),
    ...me(),
  };
}

/** Say how many would be replayed. If the app cannot tell, nothing is said: the replay itself will say why. */
async function preview() {
  const wanted = asked();
  const found = await api.replay({ ...wanted, dry_run: true }).catch(() => null);
  if (!found || !store.target || !$("replay-progress").hidden) return;
  if (JSON.stringify(wanted) !== JSON.stringify(asked())) return;
  const gone = found.missing ? `, ${count(found.missing)} are gone` : "";
  say("replay-count", `${count(found.chosen)} would be replayed${gone}.`);
}

async function replay() {
  const wanted = asked();
  await goOn(wanted, new Tally(wanted.ids !== "all"));
}

/**
 * Replay what is left, show how far it is, and say what came of it.
 * @param {ReplayAsked} wanted
 * @param {Tally} tally what came of it so far
 */
async function goOn(wanted, tally) {
  const mine = { isStopped: false };
  running = mine;
  showProgress();
  if (!tally.done) say("replay-count", "Replaying…");
  try {
    await replayAll(wanted, tally, mine);
  } catch (error) {
    showOptions();
    say("replay-count", tally.done ? `${tally.words}.` : "");
    await poll();
    throw error;
  } finally {
    sessionStorage.removeItem(KEPT);
    running = null;
    cancels("replay-dialog", "Close");
  }
  $("replay-go").hidden = true;
  dialog("replay-dialog").close();
  store.letters.stale();
  told(tally.sentence, wanted.target);
  await poll();
}

/**
 * Ask for one pass after another, until nothing is left, a pass is in vain, or it is stopped. What is still to be
 * done is kept, so that a page that is loaded again goes on with it.
 * @param {ReplayAsked} wanted
 * @param {Tally} tally
 * @param {{isStopped: boolean}} mine
 */
async function replayAll(wanted, tally, mine) {
  const pace = new Pace(tally.done);
  for (let still = wanted; !mine.isStopped;) {
    sessionStorage.setItem(KEPT, JSON.stringify({ still, tally: tally.kept }));
    const pass = await onePass(still, tally, mine);
    if (!pass) return;
    tally.add(pass);
    showPass(tally, pass.left, pace);
    if (!pass.left || isInVain(pass)) return;
    still = rest(still, pass);
  }
}

/**
 * Whether a pass has tried some and got none of them out of the way. One that tried none had no time: it has waited for
 * another run or replay.
 * @param {Replayed} pass
 */
function isInVain({ replayed, failed, retried, held }) {
  return !(replayed + failed) && retried + held > 0;
}

/**
 * One pass; where another run or replay is at work on the target, or the app is away, after that. Null: it was stopped
 * meanwhile.
 * @param {ReplayAsked} still
 * @param {Tally} tally
 * @param {{isStopped: boolean}} mine
 * @returns {Promise<Replayed | null>}
 */
async function onePass(still, tally, mine) {
  const seconds = tally.done ? PASS_SEC : FIRST_PASS_SEC;
  while (!mine.isStopped) {
    try {
      return await api.replay({ ...still, budget_sec: seconds });
    } catch (error) {
      const { code, message, status } = refusal(error);
      const isHeld = code === "lease_held";
      if (!isHeld && !PASSING.has(status)) throw error;
      if (!isHeld) tally.takeUp();
      say("replay-count", isHeld ? BUSY : `${message}; the replay goes on when that is over.`);
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    }
  }
  return null;
}

/**
 * Show in bar and text alike how far it is.
 * @param {Tally} tally
 * @param {number} left how many are not begun
 * @param {Pace} pace
 */
function showPass(tally, left, pace) {
  const bar = progress("replay-bar");
  bar.max = Math.max(1, tally.done + left);
  bar.value = tally.done;
  say("replay-count", `${tally.words}${pace.words(tally.done, left)}.`);
}

/** Go on with a replay that was under way when the page was loaded anew. */
export async function resumeReplay() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  if (!kept || running) return;
  const tally = Tally.from(kept.tally);
  say("replay-h", `The replay of dead letters of ${kept.still.target} goes on`);
  say("replay-error", "");
  say("replay-count", `${tally.words}.`);
  dialog("replay-dialog").showModal();
  await act("replay-go", "replay-error", () => goOn(kept.still, tally));
}

function stop() {
  if (!running) return;
  running.isStopped = true;
  sessionStorage.removeItem(KEPT);
  told(`The replay is stopping; what is in work ends first, within ${PASS_SEC} s.`);
}

async function submit() {
  await act("replay-go", "replay-error", replay);
  if (store.target) heedCircuit();
}

onPress("dead-replay", () => askReplay(chosenOrAll()));
input("limit").addEventListener("change", preview);
input("even-if-open").addEventListener("change", heedCircuit);
dialog("replay-dialog").addEventListener("close", stop);
onSubmit("replay-form", submit);
