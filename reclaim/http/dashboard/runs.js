/** Owns the table of runs: one row each, and unfolded, all that is known of it. */

import { $, el, hideTable, say, sayIn, show, sign } from "./dom.js";
import { ago, count, cut, moment, span } from "./format.js";
import { store } from "./store.js";
import * as words from "./words.js";

const REASON_CHARS = 200;

/** @param {TargetStatus} target */
export function renderRuns(target) {
  const history = store.history(target.target);
  const all = history.runs;
  say("lease", target.lease ? `at work now: ${target.lease}` : "");
  $("runs-none").hidden = all.length > 0;
  for (const figure of $("runs").querySelectorAll("figure")) figure.hidden = all.length === 0;
  hideTable("runs-rows", all.length === 0);
  const runs = all.slice(0, store.runsShown);
  $("runs-older").hidden = all.length === runs.length && (history.isComplete || !all.length);
  show(
    "runs-rows",
    runs.map((run) => run.id),
    () => runs.map(runRow),
  );
  for (const [at, run] of runs.entries())
    sayIn("runs-rows", at, ":first-child", ago(run.started_at, store.now));
}

/** @param {RunReport} run */
function runRow(run) {
  const { word } = words.outcome(run);
  const why = words.why(run);
  const started = { class: "nowrap", title: moment(Date.parse(run.started_at)) };
  return el(
    "tr",
    {},
    el("td", started, ago(run.started_at, store.now)),
    el(
      "td",
      {},
      el("span", { class: "nowrap" }, sign(words.mark(run)), ` ${word}`),
      el("div", { class: "narrow" }, runDetails(run, why)),
    ),
    number(run.claimed, "claimed", "num wide"),
    number(words.finished(run), "stored or moved"),
    number(words.left(run), "left", "num wide"),
    number(run.parked, "dead"),
    number(run.lost, "lost"),
    el("td", { class: "num wide" }, span(run.seconds)),
    el("td", { class: "wide" }, runDetails(run, why)),
  );
}

/**
 * Why a run ended as it did in short; unfolded, all that is known of it.
 * @param {RunReport} run
 * @param {string} why
 */
function runDetails(run, why) {
  const began = moment(Date.parse(run.started_at));
  const id = run.run_id ? `run ${run.run_id}, ` : "";
  const all = words.why(run, Infinity);
  return el(
    "details",
    { class: "small" },
    el("summary", { class: "soft" }, el("bdi", {}, cut(why, REASON_CHARS) || "details")),
    el("p", {}, `${id}began ${began}`),
    all ? el("p", {}, el("bdi", {}, all)) : null,
  );
}

/**
 * A cell with a number; one that says nothing is soft. Where the table has no room for its head, the name stands beside it.
 * @param {number | undefined} n
 * @param {string} name
 * @param {string} kind
 */
function number(n, name, kind = "num") {
  const shown = n ? count(n) : el("span", { class: "soft" }, "0");
  return el("td", { class: kind, "data-name": name }, shown);
}
