/** Owns the dialog that replays dead letters: what is asked, its progress over many requests, and stopping it. */

import { act, cancels, onPress, onSubmit, target, told } from "./acts.js";
import { api } from "./api.js";
import { chosenOrAll, me, named, selected } from "./dialogs.js";
import { $, button, dialog, input, progress, say } from "./dom.js";
import { count } from "./format.js";
import { poll } from "./live.js";
import { store } from "./store.js";
import { rest, Tally } from "./tally.js";
import { whyNotReplay } from "./circuit.js";

const PASS_SEC = 15;
const WATCH_MS = 1500;

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
  const mine = { isStopped: false };
  const tally = new Tally(wanted.ids !== "all");
  running = mine;
  showProgress();
  const watch = watchCount(tally, mine);
  try {
    await replayAll(wanted, tally, mine);
  } catch (error) {
    showOptions();
    await poll();
    throw error;
  } finally {
    clearInterval(watch);
    running = null;
    cancels("replay-dialog", "Close");
  }
  progress("replay-bar").value = progress("replay-bar").max;
  $("replay-go").hidden = true;
  dialog("replay-dialog").close();
  store.letters.stale();
  told(tally.sentence, wanted.target);
  await poll();
}

/**
 * Ask for one pass after another, until nothing is left, a pass does nothing, or it is stopped.
 * @param {ReplayAsked} wanted
 * @param {Tally} tally
 * @param {{isStopped: boolean}} mine
 */
async function replayAll(wanted, tally, mine) {
  const bar = progress("replay-bar");
  for (let still = wanted; !mine.isStopped;) {
    const pass = await api.replay({ ...still, budget_sec: PASS_SEC });
    tally.add(pass);
    bar.max = Math.max(1, tally.chosen);
    bar.value = tally.chosen - pass.left;
    say("replay-count", `${tally.words}.`);
    if (!pass.left || !(pass.replayed + pass.failed)) return;
    still = rest(still, pass);
  }
}

/**
 * While a pass is under way, say how many dead letters are gone since the beginning.
 * @param {Tally} tally
 * @param {{isStopped: boolean}} mine
 */
function watchCount(tally, mine) {
  const before = target().dead_letters ?? 0;
  return setInterval(async () => {
    await poll();
    if (!store.target || mine.isStopped) return;
    const gone = before - (store.target.dead_letters ?? 0);
    if (gone > tally.replayed) say("replay-count", `${count(gone)} replayed so far`);
  }, WATCH_MS);
}

function stop() {
  if (!running) return;
  running.isStopped = true;
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
