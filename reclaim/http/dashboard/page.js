/** Owns the page as a whole: the gate with its key, and who is told when something is known, chosen or forgotten. */

import { act, onPress, onSubmit } from "./acts.js";
import { api, refusal } from "./api.js";
import { readAudit, renderAudit } from "./audit.js";
import { clear, render, renderPulse } from "./board.js";
import { $, announce, closeDialogs, input, say } from "./dom.js";
import { clearLetters, readLetters, readMoreLetters } from "./letters.js";
import { readNothing } from "./charts.js";
import { findNothing } from "./find.js";
import { live, poll, quietly, readOlderRuns, readRange } from "./live.js";
import { revealChosen } from "./overview.js";
import { resumeReplay } from "./replay.js";
import { store } from "./store.js";
import { clearWaiting, readWaiting } from "./waiting.js";

const KEY = "reclaim-key";
const MORE_RUNS = 25;

/** Whether the page was shown as late. */
let wasLate = false;

/** Show what is known. */
function refresh() {
  wasLate = store.isLate;
  render();
}

/** Show the gate. @param {string} message why */
function lock(message) {
  sessionStorage.clear();
  closeDialogs();
  clear();
  $("gate").hidden = false;
  say("gate-error", message);
  input("key").value = "";
  $("key").focus();
}

/** Take the key that was typed, if the app does; if it cannot say, the board tells why. */
async function enter() {
  const key = input("key").value.trim();
  const isSendable = /^[!-~]+$/.test(key);
  const refused = "This is no key: it has characters that cannot be sent in a header.";
  say("gate-error", isSendable ? "" : refused);
  if (!isSendable) return;
  store.key = key;
  try {
    await api.status(null);
  } catch (error) {
    const { status, message } = refusal(error);
    if (status === 401) {
      store.forget(message);
      return;
    }
  }
  sessionStorage.setItem(KEY, key);
  input("key").value = "";
  begin();
}

/**
 * The target that the address names, as a link in an alert does, and a consumer of it; null: none.
 * @returns {{name: string | null, consumer: string | null}}
 */
function named() {
  const [, name, consumer] = /^#target=([^&]+)(?:&consumer=(.+))?$/.exec(location.hash) ?? [];
  try {
    return {
      name: name ? decodeURIComponent(name) : null,
      consumer: consumer ? decodeURIComponent(consumer) : null,
    };
  } catch {
    return { name: null, consumer: null }; // no such name can have been meant
  }
}

/** Have the address name the target and the consumer that are looked at, so that a reload and a link show the same. */
function nameTarget() {
  const { name, consumer } = store;
  const there = named();
  if (!name || (there.name === name && there.consumer === consumer)) return;
  const of = consumer === null ? "" : `&consumer=${encodeURIComponent(consumer)}`;
  const target = encodeURIComponent(name).replaceAll("%2F", "/");
  history.replaceState(null, "", `#target=${target}${of}`);
}

/**
 * Go to a part of the page without naming it in the address, which names the target.
 * @param {MouseEvent} event
 */
function goTo(event) {
  const link = event.target instanceof Element ? event.target.closest('a[href^="#"]') : null;
  if (!link) return;
  event.preventDefault();
  const place = $(link.getAttribute("href")?.slice(1) ?? "");
  place.tabIndex = -1;
  place.scrollIntoView();
  place.focus({ preventScroll: true });
}

/**
 * Have the charts go so far back.
 * @param {MouseEvent} event
 */
function chooseRange(event) {
  const chosen = event.target instanceof HTMLButtonElement ? event.target : null;
  if (!chosen) return;
  const { range } = chosen.dataset;
  store.range = range ? Number(range) : null;
  for (const one of $("ranges").querySelectorAll("button"))
    one.setAttribute("aria-pressed", String(one === chosen));
  refresh();
  quietly(readRange());
}

/**
 * Hide what a key that only reads may not do, and ask nobody for a name whom the platform has signed in. Where the app
 * cannot say, nothing is hidden.
 */
async function heedAccess() {
  let isReading = false;
  try {
    const { mayChange, signedIn } = await api.access();
    isReading = !mayChange;
    store.signedIn = signedIn;
  } catch (error) {
    refusal(error);
  }
  $("page").classList.toggle("reading", isReading);
  $("reads").hidden = !isReading;
  for (const id of ["who", "discard-who"]) input(id).readOnly = store.signedIn !== null;
}

function begin() {
  const there = named();
  store.wanted = there.name;
  store.consumer = there.consumer;
  heedAccess();
  $("gate").hidden = true;
  $("pulse").hidden = $("forget").hidden = false;
  $("main").focus({ preventScroll: true });
  poll();
}

/** Once a second: how old what is shown is, and whether it has become too old. */
function tick() {
  if (!store.key || !store.status) return;
  if (!document.hidden && store.isLate !== wasLate) refresh();
  else renderPulse();
}

async function listOlderRuns() {
  store.runsShown += MORE_RUNS;
  const { target } = store;
  if (target) {
    const history = store.history(target.target);
    if (history.runs.length < store.runsShown && !history.isComplete) await readOlderRuns();
  }
  refresh();
}

async function listEarlierLost() {
  const { name, lost } = store;
  if (!name) return;
  const page = await api.lostBefore(name, lost.next);
  if (store.lost !== lost) return;
  lost.append(page);
  refresh();
}

live.addEventListener("read", refresh);
live.addEventListener("looked", () => {
  refresh();
  if (store.trouble) return;
  readLetters(); // not waited for: however long it takes, the status goes on
  readWaiting();
  readAudit();
  renderAudit();
  resumeReplay();
});
document.addEventListener("told", () => readAudit(true));
store.addEventListener("chosen", () => {
  $("said").hidden = true;
  closeDialogs();
  clearLetters();
  clearWaiting();
  findNothing();
  readNothing();
  nameTarget();
  refresh();
  revealChosen();
  poll();
});
store.addEventListener("narrowed", nameTarget);
window.addEventListener("hashchange", () => {
  const { name, consumer } = named();
  if (!name || !store.status?.overview.some((one) => one.target === name)) return;
  store.choose(name);
  if (store.consumer !== consumer) store.chooseConsumer(consumer);
});
document.addEventListener("click", goTo);
$("ranges").addEventListener("click", chooseRange);
store.addEventListener("forgotten", (event) => {
  lock(event instanceof CustomEvent ? event.detail : "");
});

onSubmit("gate-form", enter);
onPress("forget", () => {
  store.forget();
  announce("The key is forgotten.");
});
onPress("dead-more", () => act("dead-more", null, readMoreLetters));
onPress("runs-older", () => act("runs-older", null, listOlderRuns));
onPress("lost-older", () => act("lost-older", null, listEarlierLost));
setInterval(tick, 1000);

store.key = sessionStorage.getItem(KEY);
if (store.key) begin();
else lock("");
