/** What the tiles show. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { tiles } from "../../../../reclaim/http/dashboard/tiles.js";
import { aCircuit, aRun, aTarget, lostEntries, pendingFor } from "./values.js";

const AT = "2026-01-02T03:04:05.000+00:00";
const NOW = Date.parse(AT) + 60000;

test("the tiles have figures, and a health where a person should look", () => {
  const oldest = { consumer: "", idle_ms: 90000, deliveries: 1 };
  const target = aTarget({
    pending: pendingFor({ a: 1000, b: 234 }, { oldest }),
    circuit: aCircuit({ state: "half_open", failures: 50 }),
    runs: [aRun({ outcome: "failed", started_at: AT })],
    dead_letters: 1000,
  });
  assert.deepEqual(tiles(target, NOW), {
    pending: { figure: "1,234", more: "for 2 consumers", health: "" },
    oldest: { figure: "90 s", more: "1 delivery, nobody", health: "" },
    circuit: { figure: "Half open", more: "50 of 50 failures in 30 s", health: "warn" },
    run: { figure: "60 s ago", more: "failed, 0.5 s", health: "fail" },
    dead: { figure: "1,000", more: "kept: at most 1,000", health: "fail" },
    lost: { figure: "0", more: "none on record", health: "" },
  });
});

test("the last tick is told though runs that found nothing leave no report", () => {
  const tick = "2026-01-02T03:05:00.000+00:00";
  const { run } = tiles(aTarget({ runs: [aRun({ started_at: AT })], last_tick_at: tick }), NOW);
  assert.deepEqual([run.figure, run.more], ["5 s ago", "last report: completed, 0.5 s, 60 s ago"]);
  const of = tiles(aTarget({ last_tick_at: tick }), NOW).run;
  assert.deepEqual([of.figure, of.more], ["5 s ago", "no report is kept"]);
});

test("the last tick says what was lost in it, or became dead letters", () => {
  const { run } = tiles(aTarget({ runs: [aRun({ started_at: AT, parked: 1, lost: 5001 })] }), NOW);
  assert.equal(run.more, "completed, 1 dead letter, 5,001 lost, 0.5 s");
  assert.notEqual(run.health, "");
});

test("all lost entries that are on record are counted, and those of today are worth a look", () => {
  const latest = [{ ...lostEntries("9-0")[0], at: AT }];
  const { lost } = tiles(aTarget({ lost: { count: 5000, full: false, latest } }), NOW);
  assert.deepEqual(lost, { figure: "5,000", more: "the latest 60 s ago", health: "warn" });
  const later = tiles(aTarget({ lost: { count: 10000, full: true, latest } }), NOW + 2 * 86400000);
  assert.deepEqual([later.lost.figure, later.lost.health], ["10,000 or more", ""]);
});

test("a tile says what could not be read, and what there is none of", () => {
  const { pending, circuit, run, dead } = tiles(
    aTarget({ pending: null, circuit: null, dead_letters: null }),
    NOW,
  );
  assert.deepEqual(
    [pending.more, circuit.more, run.more, dead.figure],
    ["could not be read", "could not be read", "none on record", "–"],
  );
  assert.equal(tiles(aTarget({ dead_letters: 1 }), NOW).dead.health, "warn");
});
