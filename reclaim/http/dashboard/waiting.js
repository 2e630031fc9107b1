/** Owns the list of pending entries: whose they are, why they wait, and what is in them. It changes nothing. */

import { act, onPress } from "./acts.js";
import { api, refusal } from "./api.js";
import { $, el, part, placeItems, say, sign } from "./dom.js";
import { count, many, seen, span } from "./format.js";
import { store } from "./store.js";
import { WAITS, tries, whyPending } from "./waits.js";

const LOOKS = 3; // after so many looks the list is read again
const MOST = 100; // entries that are read again; more are read only by a press

/**
 * What is listed, of which target and consumer.
 * @type {{of: string, entries: PendingEntry[], isAll: boolean, next: string | null}}
 */
let listed = { of: "", entries: [], isAll: true, next: null };

/** For which target, consumer and look it was read last. */
let readFor = "";

/** What the list is of. */
function wanted() {
  return JSON.stringify([store.name, store.consumer]);
}

function isOpen() {
  return part("waiting-open", HTMLDetailsElement).open;
}

/** Read the list again, now and then, while somebody looks at it. */
export async function readWaiting() {
  const { name, looks } = store;
  const of = wanted();
  const isLong = listed.of === of && listed.entries.length > MOST;
  const occasion = isLong ? of : `${of} ${Math.floor(looks / LOOKS)}`;
  if (!name || !isOpen() || readFor === occasion) return;
  readFor = occasion;
  try {
    await read(listed.of === of ? listed.entries.length : 0);
  } catch (error) {
    say("waiting-none", `They could not be read: ${refusal(error).message}`); // the next look tries again
    $("waiting-none").hidden = false;
  }
}

/**
 * Read the list from its beginning, at least so many entries of it.
 * @param {number} least
 */
async function read(least) {
  const { name, consumer } = store;
  const of = wanted();
  if (!name) return;
  /** @type {PendingEntry[]} */
  const entries = [];
  let [isAll, next] = [true, /** @type {string | null} */ (null)];
  do {
    const page = await api.pending(name, consumer, next);
    if (wanted() !== of) return;
    entries.push(...page.entries);
    isAll &&= page.all_records;
    ({ next } = page);
  } while (next !== null && entries.length < least);
  listed = { of, entries, isAll, next };
  renderWaiting();
}

async function readMore() {
  const { name, consumer } = store;
  const { of, next } = listed;
  if (!name || of !== wanted()) return;
  const page = await api.pending(name, consumer, next);
  if (listed.of !== of || wanted() !== of) return;
  const known = new Set(listed.entries.map((one) => one.id));
  const entries = [...listed.entries, ...page.entries.filter((one) => !known.has(one.id))];
  listed = { of, entries, isAll: listed.isAll && page.all_records, next: page.next };
  renderWaiting();
}

/** List none: another target is looked at. */
export function clearWaiting() {
  listed = { of: "", entries: [], isAll: true, next: null };
  readFor = "";
  part("waiting-open", HTMLDetailsElement).open = store.consumer !== null;
  $("waiting-list").replaceChildren();
}

/** Show the list, and whose entries are in it. */
export function renderWaiting() {
  const { consumer, target } = store;
  const its = target?.pending?.by_consumer.find((one) => one.consumer === consumer) ?? null;
  say("waiting-h", consumer === null ? "Pending entries" : `Pending entries of ${consumer}`);
  say("waiting-seen", consumer === null ? "" : wordsOf(its));
  $("waiting-whose").hidden = consumer === null;
  const { entries, isAll, next } =
    listed.of === wanted() ? listed : { ...listed, entries: [], next: null };
  const isRead = listed.of === wanted();
  placeItems($("waiting-list"), entries, item);
  for (const one of entries) refresh(one);
  $("waiting-list").hidden = entries.length === 0;
  say("waiting-none", isRead ? "No entry is pending here." : "Looking…");
  $("waiting-none").hidden = entries.length > 0;
  $("waiting-more-row").hidden = next === null;
  say("waiting-shown", `${count(entries.length)} are shown, the oldest first`);
  const some =
    "So many entries have failed that not all was looked up: some may be held though they seem due.";
  say("waiting-means", isAll ? "" : some);
}

/**
 * How a consumer is.
 * @param {{pending: number, idle_ms: number | null} | null} its
 */
function wordsOf(its) {
  if (!its) return "nothing is pending for it";
  const last = its.idle_ms === null ? "" : `, last seen ${seen(its.idle_ms)}`;
  return `${many(its.pending, "entry", "entries")}${last}`;
}

/** @param {PendingEntry} entry */
function item(entry) {
  const summary = el(
    "summary",
    {},
    el("span", { class: "pill wait" }),
    el("span", { class: "what" }, el("bdi", { class: "why" })),
    el("span", { class: "mono soft" }, entry.id),
    el("span", { class: "soft small idle" }),
  );
  const body = el("div", { class: "body" }, el("p", { class: "small soft tried" }), fields(entry));
  return el("li", { "data-id": entry.id }, el("details", {}, summary, body));
}

/**
 * Have the item say how the entry is now; what is open in it stays open.
 * @param {PendingEntry} entry
 */
function refresh(entry) {
  const place = $("waiting-list").querySelector(`[data-id="${CSS.escape(entry.id)}"]`);
  if (!place) return;
  const { health, word } = WAITS[entry.waiting];
  const [pill, why, idle, tried] = [".wait", ".why", ".idle", ".tried"].map((name) =>
    place.querySelector(name),
  );
  if (!pill || !why || !idle || !tried) return;
  if (pill.textContent !== word) pill.replaceChildren(sign(health), word);
  say(why, whyPending(entry, store.target?.circuit?.state === "open"));
  say(idle, `idle ${span(Math.floor(entry.idle_ms / 1000))}`);
  say(tried, tries(entry, store.now));
}

/** @param {PendingEntry} entry */
function fields({ fields: all, bytes }) {
  const rows = all.map(({ name, value }) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, el("bdi", {}, name || "(empty name)")),
      el("td", {}, el("pre", { dir: "auto", tabindex: "0" }, value || "(empty)")),
    ),
  );
  const size = el(
    "p",
    { class: "small soft" },
    `${many(bytes, "byte")}; of each value its beginning`,
  );
  return el("div", {}, el("table", {}, el("tbody", {}, ...rows)), size);
}

/** Look at those of another consumer. */
function narrow() {
  readFor = "";
  part("waiting-open", HTMLDetailsElement).open = true;
  renderWaiting();
  readWaiting();
  $("waiting").scrollIntoView({ block: "nearest" });
}

store.addEventListener("narrowed", narrow);
$("waiting-open").addEventListener("toggle", () => {
  readFor = "";
  readWaiting();
});
onPress("waiting-all", () => store.chooseConsumer(null));
onPress("waiting-more", () => act("waiting-more", null, readMore));
