/** Owns the list of what people did: replays, discards, runs by hand, changes of the circuit. */

import { act, onPress } from "./acts.js";
import { api, refusal } from "./api.js";
import { $, el, show } from "./dom.js";
import { ago, count, moment } from "./format.js";
import { store } from "./store.js";

const LOOKS = 10; // after so many looks the list is read again

/** What is listed, of which target. @type {{name: string | null, records: AuditRecord[], next: string | null}} */
let listed = { name: null, records: [], next: null };

/** For which look it was read last. */
let readAt = "";

/** Read the latest again, now and then, and when something was done here. @param {boolean} isDone */
export async function readAudit(isDone = false) {
  const { name, looks } = store;
  const at = JSON.stringify([name, Math.floor(looks / LOOKS)]);
  if (!name || (at === readAt && !isDone)) return;
  readAt = at;
  try {
    const page = await api.audit(name, null);
    if (store.name === name) take(name, page);
  } catch (error) {
    refusal(error); // nobody asked for it, and the next look tries again
  }
}

/**
 * List the latest, and below them the earlier ones that are listed already, unless others may lie in between. What was
 * under way and is done has a record of a new ID: of those that are as late as the latest, only these count.
 * @param {string} name
 * @param {{records: AuditRecord[], next: string | null}} page
 */
function take(name, page) {
  const earliest = page.records.at(-1)?.id;
  const before = listed.name === name ? listed.records : [];
  const at = before.findIndex((one) => one.id === earliest);
  const kept = at < 0 ? [] : before.slice(at + 1);
  if (kept.length > 0) listed = { name, records: [...page.records, ...kept], next: listed.next };
  else listed = { name, ...page };
  renderAudit();
}

/** Show it anew: for its "… ago" too. */
export function renderAudit() {
  const { name, records, next } = listed;
  const rows = name === store.name ? records : [];
  $("audit-none").hidden = rows.length > 0;
  $("audit-table").hidden = rows.length === 0;
  $("audit-older").hidden = rows.length === 0 || next === null;
  show("audit-rows", [rows, Math.floor(store.now / 30000)], () => rows.map(recordRow));
}

/** @param {AuditRecord} record */
function recordRow(record) {
  const { who, door, place, what, why, begun_at: at, outcome, error } = record;
  const from = [door, place].filter(Boolean).join(" from ");
  return el(
    "tr",
    {},
    el("td", { title: moment(Date.parse(at)) }, ago(at, store.now)),
    el("td", { title: from }, el("bdi", {}, who)),
    el(
      "td",
      {},
      what.replaceAll("_", " "),
      el("div", { class: "soft small" }, el("bdi", {}, meant(record))),
    ),
    el("td", { class: "wide" }, el("bdi", {}, why)),
    el(
      "td",
      {},
      outcome,
      error ? `: ${error}` : "",
      el("div", { class: "soft small" }, counts(record)),
    ),
  );
}

/**
 * To what it was done, in words.
 * @param {AuditRecord} record
 */
function meant({ meant: what }) {
  return Object.entries(what)
    .filter(([, value]) => value !== null && value !== false && value !== "")
    .map(
      ([name, value]) =>
        `${name.replaceAll("_", " ")} ${typeof value === "object" ? JSON.stringify(value) : value}`,
    )
    .join(", ");
}

/** @param {AuditRecord} record */
function counts({ counts: some }) {
  return Object.entries(some ?? {})
    .filter(([, n]) => typeof n === "number" && n > 0)
    .map(([name, n]) => `${count(Number(n))} ${name.replaceAll("_", " ")}`)
    .join(", ");
}

async function readEarlier() {
  const { name, next } = listed;
  if (!name || !next) return;
  const page = await api.audit(name, next);
  if (listed.name !== name || store.name !== name) return;
  listed = { name, records: [...listed.records, ...page.records], next: page.next };
  renderAudit();
}

onPress("audit-older", () => act("audit-older", null, readEarlier));
