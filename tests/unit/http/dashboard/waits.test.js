/** What the page says of an entry that is pending. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { tries, whyPending } from "../../../../reclaim/http/dashboard/waits.js";

const NOW = Date.parse("2026-01-02T03:10:00.000+00:00");

/** @type {PendingEntry} */
const ENTRY = {
  id: "5-0",
  consumer: "w1",
  idle_ms: 1000,
  deliveries: 2,
  waiting: "due",
  due_in_ms: 0,
  behind: null,
  charged: 0,
  verdict: null,
  last_try_at: null,
  reason: "",
  bytes: 3,
  fields: [],
};

test("each reason to wait says what comes next", () => {
  /** @type {[Partial<PendingEntry>, string][]} */
  const said = [
    [{ waiting: "fresh" }, "Its consumer may be at work on it"],
    [{}, "The next run takes it"],
    [{ reason: "Boom" }, "The next run takes it: Boom"],
    [
      { waiting: "backing_off", due_in_ms: 179001, reason: "Boom" },
      "It is tried again in 3 min: Boom",
    ],
    [{ waiting: "held", behind: "1-0" }, "It waits behind 1-0 of its order key"],
    [{ waiting: "gone" }, "It is no longer in the stream: the next run lists it as lost"],
  ];
  for (const [entry, text] of said) assert.equal(whyPending({ ...ENTRY, ...entry }), text);
});

test("while the circuit is open no run takes what is due", () => {
  const said = whyPending({ ...ENTRY, reason: "Boom" }, true);
  assert.equal(said, "A run takes it once the circuit lets it: Boom");
});

test("how it was tried is told with what it cost", () => {
  assert.equal(tries(ENTRY, NOW), "2 deliveries, the last one to w1; not tried by us yet");
  const tried = { ...ENTRY, last_try_at: "2026-01-02T03:05:00.000+00:00", deliveries: 1 };
  const begin = "1 delivery, the last one to w1; last tried 5 min ago";
  assert.equal(
    tries({ ...tried, verdict: "fail", charged: 1 }, NOW),
    `${begin}, 1 try counts against it`,
  );
  assert.equal(
    tries({ ...tried, verdict: "retry" }, NOW),
    `${begin}, which met an outage; no try counts against it`,
  );
});
