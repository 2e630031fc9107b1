/** Owns the sections that show the status: verdict, tiles, consumers, circuit, lost entries, checks. */

import { draw } from "./charts.js";
import {
  $,
  announce,
  bar,
  button,
  el,
  hideTable,
  mark,
  say,
  sayIn,
  show,
  sign,
  signPath,
  swatch,
} from "./dom.js";
import { ago, clocks, count, many, moment, seen, span } from "./format.js";
import { renderOverview } from "./overview.js";
import { renderRuns } from "./runs.js";
import { colour, consumerRows } from "./history.js";
import { store } from "./store.js";
import { tiles } from "./tiles.js";
import { renderWaiting } from "./waiting.js";
import * as words from "./words.js";
import { circuitFacts } from "./circuit.js";

const LOST_MS = 30000; // after which the list of lost entries is made anew, for its "… ago"

/** Which verdict was announced last; null: none. @type {string | null} */
let announced = null;

/** Show all that is known. */
export function render() {
  const { target, row, hindrance, status } = store;
  $("board").hidden = !row && !hindrance;
  $("page").classList.toggle("stale", hindrance !== null);
  for (const fresh of document.querySelectorAll(".fresh")) fresh.toggleAttribute("hidden", !target);
  renderVerdict(target, hindrance);
  renderPulse();
  if (status) renderOverview(status.overview);
  if (!target || !status) return;
  renderServer(status, target);
  renderTiles(target);
  renderConsumers(target);
  renderCircuit(target);
  renderWaiting();
  renderRuns(target);
  renderLost(target.lost);
  renderChecks(status.doctor);
  draw();
}

/** The key is forgotten, and nothing more is shown. */
export function clear() {
  for (const id of ["board", "pulse", "forget", "brief"]) $(id).hidden = true;
  say("server", "");
  say("foot", "");
  mark("away", "reclaim");
  announced = null;
}

/** Show how old what is shown is. */
export function renderPulse() {
  $("pulse").classList.toggle("late", !store.isLive);
  const at = store.seenAt ? clocks(store.seenAt) : "never";
  say("pulse", store.isLive ? `live, ${at}` : `not live; last seen ${at}`);
}

/**
 * @param {TargetStatus | null} target
 * @param {Trouble | null} trouble
 */
function renderVerdict(target, trouble) {
  const { health, word, sentence } = words.verdict(
    target ?? store.row,
    trouble,
    store.seenAt,
    clocks,
  );
  say("whose", store.name ?? "");
  $("verdict").className = `verdict ${health}`;
  say("word", word);
  say("sentence", sentence);
  $("brief").className = `brief small ${health}`;
  $("brief").hidden = false;
  show("brief", [health, word], () => [sign(health), el("span", {}, word)]);
  show("sign", health, () => [signPath(health)]);
  renderActs(target, trouble);
  const worst = trouble ? health : (store.status?.health ?? health);
  mark(worst, words.title(worst, trouble ? word : words.HEALTH[worst]));
  const verdict = `${store.name}:${word}`;
  if (announced === verdict) return;
  announced = verdict;
  announce(`${store.name ? `${store.name}: ` : ""}${word}. ${sentence}`);
}

/**
 * The buttons beside the verdict.
 * @param {TargetStatus | null} target
 * @param {Trouble | null} trouble
 */
function renderActs(target, trouble) {
  const isClosed = !target?.circuit || target.circuit.state === "closed";
  const mayClose = !trouble && !isClosed;
  $("verdict-close").hidden = !mayClose;
  button("run").disabled = trouble !== null || store.isRunning || !target;
  $("run").classList.toggle("main", !mayClose);
}

/**
 * @param {Status} status
 * @param {TargetStatus} target
 */
function renderServer({ server, version }, target) {
  const kind = [server.kind, server.version].filter(Boolean).join(" ");
  const about = [server.address, kind, server.tls ? "TLS" : "no TLS"];
  say("server", about.filter(Boolean).join(" · "));
  const as = target.consumer ? ` · as ${target.consumer}` : "";
  say("foot", `reclaim ${version} · ${target.stream}, group ${target.group}${as}`);
}

/** @param {TargetStatus} target */
function renderTiles(target) {
  for (const [name, { figure, more, health }] of Object.entries(tiles(target, store.now))) {
    const tile = $(`tile-${name}`);
    tile.className = `card tile ${health}`;
    for (const node of tile.querySelectorAll(".figure")) say(node, figure);
    for (const node of tile.querySelectorAll(".more")) say(node, unbroken(more));
  }
}

/**
 * The text with each number and its unit on one line.
 * @param {string} text
 */
function unbroken(text) {
  return text.replaceAll(/(\d) (?=(?:s|min|h|days)\b)/g, "$1\u00a0");
}

/** @param {TargetStatus} target */
function renderConsumers(target) {
  const coloured = store.history(target.target).coloured();
  const rows = consumerRows(target.pending, coloured);
  const most = Math.max(1, ...rows.map((one) => one.pending ?? 0));
  $("consumers-none").hidden = rows.length > 0;
  hideTable("consumers", rows.length === 0);
  const shown = rows.map((one) => [one.consumer, one.pending, one.idle_ms === null]);
  show("consumers", [shown, coloured], () =>
    rows.map((one) => consumerRow(one, most, colour(coloured, one.consumer), target)),
  );
  for (const [at, { idle_ms }] of rows.entries())
    sayIn("consumers", at, ":last-child", idle_ms === null ? "–" : seen(idle_ms));
}

/**
 * A consumer's name; where something is pending for it, a press shows its entries.
 * @param {string} consumer
 * @param {TargetStatus} target
 */
function nameOf(consumer, target) {
  const bare = el("bdi", {}, consumer);
  const holds = target.pending?.by_consumer.some((one) => one.consumer === consumer);
  const onclick = () => store.chooseConsumer(consumer);
  const link = { type: "button", class: "link", title: "Its entries, and why they wait", onclick };
  const isOurs = consumer === target.consumer; // runs claim for it
  const ours = isOurs ? el("span", { class: "soft small" }, "ours") : null;
  return [holds ? el("button", link, bare) : bare, ours];
}

/**
 * @param {import("./history.js").ConsumerRow} row
 * @param {number} most
 * @param {string} fill
 * @param {TargetStatus} target
 */
function consumerRow({ consumer, pending }, most, fill, target) {
  const name = el("span", { class: "row" }, swatch(fill), ...nameOf(consumer, target));
  const share = el("span", { class: "bar" }, bar((pending ?? 0) / most, fill));
  return el(
    "tr",
    {},
    el("td", {}, name),
    el("td", { class: "num" }, count(pending)),
    el("td", { class: "wide" }, share),
    el("td", { class: "num soft" }),
  );
}

/** @param {TargetStatus} target */
function renderCircuit({ circuit }) {
  if (!circuit) {
    say("circuit-state", "could not be read");
    return;
  }
  const { health, word, means } = words.CIRCUIT[circuit.state];
  $("circuit-state").className = `state ${health}`;
  show("circuit-state", circuit.state, () => [sign(health), el("span", {}, word)]);
  say("circuit-means", means);
  const { failures, limit } = circuit;
  show("circuit-gauge", [failures, limit], () => [gauge(failures / limit)]);
  const within = `within the last ${span(circuit.window_sec)}`;
  say(
    "circuit-window",
    `${count(failures)} of ${many(limit, "failure")} that would open it, ${within}`,
  );
  const facts = circuitFacts(circuit, store.now);
  show("circuit-facts", facts, () =>
    facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, el("bdi", {}, value))]),
  );
  const isClosed = circuit.state === "closed";
  $("circuit-close").hidden = isClosed;
  $("circuit-open").hidden = !isClosed && circuit.by === "person";
  say("circuit-open", isClosed ? "Open the circuit…" : "Keep it open…");
}

/** @param {number} share */
function gauge(share) {
  const full = share >= 1 ? "f-fail" : "f-warn";
  return bar(share, share > 0.5 ? full : "f-ok");
}

/** @param {Lost | null} lost */
function renderLost(lost) {
  const entries = lost ? store.lost.items : [];
  say("lost-means", words.lostSentence(lost, entries.length));
  $("lost-table").hidden = !entries.length;
  $("lost-older").hidden = !lost || lost.count <= entries.length;
  show("lost-rows", [entries.length, lost, Math.floor(store.now / LOST_MS)], () =>
    entries.map(lostRow),
  );
}

/** @param {LostEntry} entry */
function lostRow(entry) {
  const found = { class: "nowrap", title: moment(Date.parse(entry.at)) };
  return el(
    "tr",
    {},
    el("td", { class: "mono" }, entry.id),
    el("td", {}, el("bdi", {}, words.lostWhose(entry))),
    el("td", { class: "num wide" }, count(entry.deliveries)),
    el("td", { class: "num wide" }, entry.idle_ms < 0 ? "–" : span(entry.idle_ms / 1000)),
    el("td", found, ago(entry.at, store.now)),
  );
}

/**
 * What the doctor found about the app as a whole and about every target; first what is not well.
 * @param {Doctor} doctor
 */
function renderChecks({ at, findings }) {
  const bad = findings.filter((one) => one.health !== "ok");
  const good = findings.filter((one) => one.health === "ok");
  say("checks-at", `looked at ${seen(store.now - Date.parse(at))}`);
  say("checks-means", words.checksSentence(bad.length, findings.length));
  show("checks-bad", bad, () => bad.map(check));
  show("checks-ok", good, () => good.map(check));
  for (const details of $("checks").querySelectorAll("details")) details.hidden = !good.length;
}

/** @param {Check} found */
function check({ health, about, what, todo }) {
  const state = el("span", {}, sign(health), el("span", { class: "unseen" }, health));
  const text = el("span", {}, el("strong", {}, el("bdi", {}, about)), ": ", el("bdi", {}, what));
  const toDo = todo ? el("span", { class: "todo" }, "To do: ", el("bdi", {}, todo)) : null;
  return el("li", { class: health }, state, text, toDo);
}
