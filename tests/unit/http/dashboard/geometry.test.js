/** Where the parts of the charts stand. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  moments,
  pendingChart,
  runsChart,
  stacked,
  summed,
  ticks,
} from "../../../../reclaim/http/dashboard/geometry.js";
import { aRun } from "./values.js";

const MINUTE = 60000;
const NOW = 100 * MINUTE;
const SIZE = { width: 652, height: 132 };

test("ticks are round numbers, about three steps up to the most", () => {
  assert.deepEqual(ticks(4), [0, 2, 4]);
  assert.deepEqual(ticks(100), [0, 50, 100]);
  assert.deepEqual(ticks(7777), [0, 5000]);
  assert.deepEqual(ticks(1), [0, 1]);
});

test("moments are round, and as many as there is room for", () => {
  assert.deepEqual(
    moments(NOW - 4 * MINUTE - 1, NOW, 600),
    [96, 97, 98, 99, 100].map((n) => n * MINUTE),
  );
  assert.deepEqual(
    moments(NOW - 90 * MINUTE, NOW, 330),
    [30, 60, 90].map((n) => n * MINUTE),
  );
  assert.equal(moments(NOW - 1e6 * MINUTE, NOW, 330).length > 3, true);
});

test("what is pending is stacked, coloured consumers first, the others on top", () => {
  /** @type {import("../../../../reclaim/http/dashboard/history.js").Sample[]} */
  const points = [
    { at: 1, byConsumer: { a: 1, x: 4 } },
    { at: 2, byConsumer: { a: 2, b: 3, y: 5 } },
  ];
  assert.deepEqual(stacked(points, ["a", "b", "c"]), [
    { name: "a", below: [0, 0], above: [1, 2] },
    { name: "b", below: [1, 2], above: [1, 5] },
    { name: null, below: [1, 5], above: [5, 10] },
  ]);
});

test("the chart goes from the first sample to now, with 0 at its lower edge", () => {
  const samples = [{ at: NOW - 10 * MINUTE, byConsumer: { a: 100 } }];
  const chart = pendingChart(samples, ["a"], NOW, SIZE);
  assert.deepEqual([chart.x(chart.start), chart.x(chart.end)], [44, 644]);
  assert.deepEqual([chart.y(0), chart.y(108)], [110, 10]);
  assert.equal(chart.momentAt(344), NOW - 5 * MINUTE);
  assert.deepEqual(chart.areas, [
    { name: "a", points: "44.0,17.4 644.0,17.4 644.0,110.0 44.0,110.0" },
  ]);
});

test("a chart without a sample has an axis of two minutes and no area", () => {
  const chart = pendingChart([], [], NOW, SIZE);
  assert.deepEqual([chart.end - chart.start, chart.areas, chart.grid], [2 * MINUTE, [], [0, 2, 4]]);
});

test("a run's bar is stacked from what it stored, left and parked, at the right end", () => {
  const { bars, crosses } = runsChart(
    [aRun({ claimed: 10, stored: 5, failed: 4, parked: 1 })],
    SIZE,
  );
  assert.deepEqual(
    bars.map((bar) => [bar.fill, bar.x, bar.y, bar.height]),
    [
      ["f-ok", "616.0", "60.0", "52.0"],
      ["f-warn", "616.0", "18.4", "41.6"],
      ["f-fail", "616.0", "8.0", "10.4"],
    ],
  );
  assert.deepEqual(crosses, []);
});

test("a run that failed has a cross, and one with nothing to show a low grey bar", () => {
  const { bars, crosses, begin } = runsChart([aRun({ outcome: "failed" }), aRun()], SIZE);
  assert.deepEqual(
    bars.map((bar) => [bar.fill, bar.x, bar.y, bar.height]),
    [
      ["f-none", "588.0", "109.0", "3"],
      ["f-none", "616.0", "109.0", "3"],
    ],
  );
  assert.deepEqual([crosses, begin], [[{ x: 600.5, y: 107 }], 588]);
});

test("lost entries are a part of a run's bar", () => {
  const { bars } = runsChart([aRun({ stored: 5, lost: 5 })], SIZE);
  assert.deepEqual(
    bars.map((bar) => bar.fill),
    ["f-ok", "f-lost"],
  );
});

test("labels up to ten million have room beside the chart", () => {
  for (const most of [999, 20000, 1000000, 10000000]) {
    const { edge, grid } = pendingChart(
      [{ at: NOW - MINUTE, byConsumer: { a: most } }],
      ["a"],
      NOW,
      SIZE,
    );
    const longest = Math.max(...grid.map((n) => n.toLocaleString("en").length));
    assert.equal(edge.left - 6 >= longest * 7, true, `${most}: ${edge.left}`);
  }
});

test("a range shows what was pending when it began, and the most of each pixel", () => {
  const samples = Array.from({ length: 5000 }, (_, at) => ({
    at: at * 1000,
    byConsumer: { a: at === 4000 ? 99 : 1 },
  }));
  const range = 3000 * 1000;
  const chart = pendingChart(samples, ["a"], 5000 * 1000, { ...SIZE, range });
  assert.equal(chart.start, 2000 * 1000);
  assert.equal(chart.shown.length <= SIZE.width, true);
  assert.equal(
    chart.shown.some((one) => one.byConsumer.a === 99),
    true,
  );
  const [none] = pendingChart([samples[0]], ["a"], 5000 * 1000, { ...SIZE, range: 1000 }).shown;
  assert.equal(none.at, 0);
});

test("the runs of a range are added up in sixty slots", () => {
  /** @param {number} minutes */
  const at = (minutes) => new Date(NOW - minutes * MINUTE).toISOString();
  const slots = summed(
    [
      aRun({ started_at: at(0.5), stored: 2, parked: 1 }),
      aRun({ started_at: at(0.2), stored: 3, outcome: "failed" }),
      aRun({ started_at: at(59.5), lost: 4 }),
      aRun({ started_at: at(61), stored: 9 }),
    ],
    NOW,
    60 * MINUTE,
  );
  assert.equal(slots.length, 60);
  assert.deepEqual(
    [slots[59].stored, slots[59].parked, slots[59].outcome, slots[0].lost],
    [5, 1, "failed", 4],
  );
  assert.equal(
    slots.reduce((sum, one) => sum + (one.stored ?? 0), 0),
    5,
  );
});

test("a bar is found under a pointer, and the nearest beside the bars", () => {
  const { runAt } = runsChart([aRun(), aRun()], SIZE);
  assert.deepEqual([runAt(0), runAt(600), runAt(630), runAt(900)], [0, 0, 1, 1]);
});

test("many runs share the width", () => {
  const { bars, isWide } = runsChart(
    Array.from({ length: 60 }, () => aRun({ stored: 1 })),
    SIZE,
  );
  assert.deepEqual(
    [bars[0].x, bars[0].width, bars.at(-1)?.x, isWide],
    ["44.0", "7.0", "634.0", true],
  );
});
