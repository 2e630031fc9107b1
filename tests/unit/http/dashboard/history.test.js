/** What is known of a target's past. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  colour,
  consumerRows,
  History,
  OTHERS,
  total,
} from "../../../../reclaim/http/dashboard/history.js";
import { aRun, aTarget, pendingFor } from "./values.js";

const AT = Date.parse("2026-01-02T03:04:05.000+00:00");

/**
 * The run of this number: one a minute, each half a second long.
 * @param {number} number
 * @param {Partial<RunReport>} changes
 */
function runOf(number, changes = {}) {
  const started = new Date(AT + number * 60000).toISOString();
  return aRun({ id: `${number}-0`, started_at: started, ...changes });
}

test("a run tells what was pending when it began and when it ended", () => {
  const history = new History();
  history.learnRuns([runOf(0, { pending_before: { a: 3 }, pending_after: {} })]);
  assert.deepEqual(history.samples, [
    { at: AT, byConsumer: { a: 3 } },
    { at: AT + 500, byConsumer: {} },
  ]);
});

test("samples stand in their order, one a moment, whenever they are learnt", () => {
  const history = new History();
  for (const [at, n] of [
    [5, 1],
    [9, 2],
    [7, 3],
    [9, 4],
  ])
    history.learn(aTarget({ pending: pendingFor({ a: n }) }), at);
  assert.deepEqual(
    history.samples.map((one) => [one.at, one.byConsumer.a]),
    [
      [5, 1],
      [7, 3],
      [9, 2],
    ],
  );
});

test("of very many samples the latest 6,000 are kept", () => {
  const history = new History();
  for (let at = 1; at <= 6100; at += 1) history.learn(aTarget(), at);
  assert.deepEqual([history.samples.length, history.samples[0].at], [6000, 101]);
});

test("consumers that a status does not name are counted together", () => {
  const history = new History();
  history.learn(aTarget({ pending: pendingFor({ a: 3 }, { total: 10, consumers: 60 }) }), AT);
  assert.deepEqual(history.samples[0].byConsumer, { a: 3, [OTHERS]: 7 });
  assert.equal(total(history.samples[0]), 10);
});

test("runs are listed from the latest, each once", () => {
  const history = new History();
  history.learn(aTarget({ runs: [runOf(3), runOf(2)] }), AT);
  history.learnRuns([runOf(2), runOf(1)]);
  assert.deepEqual(
    history.runs.map((run) => run.id),
    ["3-0", "2-0", "1-0"],
  );
});

test("where runs may be missing in between, the past begins anew", () => {
  const history = new History();
  history.learn(aTarget({ runs: [runOf(1)] }), AT);
  history.isComplete = true;
  history.learn(aTarget({ runs: [runOf(40), runOf(39)] }), AT + 1);
  assert.deepEqual(
    history.runs.map((run) => run.id),
    ["40-0", "39-0"],
  );
  assert.deepEqual(
    history.samples.map((one) => one.at),
    [AT + 1],
  );
  assert.equal(history.isComplete, false);
});

test("five consumers have a colour, those that ever had most, in a lasting order", () => {
  const history = new History();
  history.learn(
    aTarget({ pending: pendingFor({ f: 1, e: 2, d: 3, c: 4, b: 5, a: 6 }, { total: 99 }) }),
    AT,
  );
  const before = history.coloured();
  history.learn(aTarget({ pending: pendingFor({ a: 1 }) }), AT + 1);
  assert.deepEqual(
    [before, history.coloured()],
    [
      ["a", "b", "c", "d", "e"],
      ["a", "b", "c", "d", "e"],
    ],
  );
  assert.deepEqual([colour(before, "c"), colour(before, "f")], ["s2", "s5"]);
});

test("the table has a row for each of twelve consumers, and one for the rest", () => {
  const named = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`w${at}`, 2]));
  const rows = consumerRows(pendingFor(named, { total: 100, consumers: 1012 }), []);
  assert.equal(rows.length, 13);
  assert.deepEqual(rows.at(-1), { consumer: "1,000 other consumers", pending: 76, idle_ms: null });
});

test("of a consumer with a colour that is among those not named, it is not known how much is pending", () => {
  const rows = consumerRows(pendingFor({ b: 1 }, { total: 5, consumers: 3 }), ["a", "b"]);
  assert.deepEqual(rows.slice(1), [
    { consumer: "a", pending: null, idle_ms: null },
    { consumer: "2 other consumers", pending: 4, idle_ms: null },
  ]);
});

test("a consumer with a colour keeps its row when nothing is pending for it any more", () => {
  assert.deepEqual(consumerRows(pendingFor({}), ["a"]), [
    { consumer: "a", pending: 0, idle_ms: null },
  ]);
  assert.deepEqual(consumerRows(null, []), []);
});
