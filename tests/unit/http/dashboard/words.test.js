/** What the page says of an answer of the app. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  circuitFacts,
  circuitQuestion,
  whyNotReplay,
} from "../../../../reclaim/http/dashboard/circuit.js";
import {
  checksSentence,
  left,
  mark,
  lostSentence,
  outcome,
  ran,
  targetsSentence,
  title,
  verdict,
  why,
} from "../../../../reclaim/http/dashboard/words.js";
import { aCircuit, aRun, aTarget, lostEntries } from "./values.js";

const CLOCK = () => "12:00:00";
const AT = "2026-01-02T03:04:05.000+00:00";
const NOW = Date.parse(AT) + 60000;

/** @type {[string, number, string, string][]} */
const TROUBLES = [
  ["access_denied", 500, "fail", "The app cannot use Redis"],
  ["not_trusted", 500, "fail", "The app cannot use Redis"],
  ["unsuitable", 500, "fail", "The app cannot use Redis"],
  ["redis_away", 503, "fail", "Redis does not answer"],
  ["redis_busy", 503, "fail", "Redis does not answer"],
  ["late", 0, "away", "Not live"],
  ["internal", 500, "away", "The app fails"],
  ["away", 0, "away", "Cannot reach the app"],
];

for (const [code, status, health, word] of TROUBLES)
  test(`the verdict of an answer ${status} ${code} is: ${word}`, () => {
    const found = verdict(aTarget(), { status, code, message: "why" }, 1, CLOCK);
    const sentence = "why. What is shown below was so at 12:00:00. This page keeps trying.";
    assert.deepEqual(found, { health, word, sentence });
  });

test("the verdict of a target is the app's", () => {
  const target = aTarget({ health: "warn", sentence: "1 dead letter waits." });
  const found = verdict(target, null, 1, CLOCK);
  assert.deepEqual(found, {
    health: "warn",
    word: "Needs a look",
    sentence: "1 dead letter waits.",
  });
});

test("the tab says what is worst, unless all is well", () => {
  assert.deepEqual(
    [title("ok", "Healthy"), title("fail", "Failing")],
    ["reclaim", "Failing – reclaim"],
  );
});

test("an outcome of a newer release is worth a look", () => {
  assert.deepEqual(outcome({ outcome: "not_known_yet" }), {
    health: "warn",
    word: "not known yet",
  });
  assert.deepEqual(outcome({ outcome: "failed" }), { health: "fail", word: "failed" });
});

test("what a run left pending is what it failed, put off, held and gave back", () => {
  assert.equal(left(aRun({ claimed: 9, failed: 1, retried: 2, held: 3, given_back: 4 })), 10);
  assert.equal(left(aRun()), 0);
});

test("the three reasons met most often are told, and how many others there are", () => {
  assert.equal(
    why(aRun({ reason: "stopped", reasons: { once: 1, often: 1200 } })),
    "stopped; often (1,200 times); once",
  );
  assert.equal(
    why(aRun({ reasons: { a: 1, b: 5, c: 2, d: 3, e: 1 } })),
    "b (5 times); d (3 times); c (2 times); and 2 other reasons",
  );
});

/** @type {[string, Partial<RunReport>, string][]} */
const RUNS = [
  [
    "that did its work",
    { claimed: 5, stored: 3, parked: 1, failed: 1 },
    "The run: completed, 5 claimed, 3 stored, 1 made dead letters, 1 left pending, 0.5 s.",
  ],
  [
    "of a stream used as a queue",
    { claimed: 5, stored: 5, duplicate_fields: 1, not_deleted: 2 },
    "The run: completed, 5 claimed, 5 stored, 1 with a name more than once, 2 not deleted, 0.5 s.",
  ],
  [
    "that gave entries back to their group",
    { claimed: 5, stored: 0, moved: 5 },
    "The run: completed, 5 claimed, 5 moved, 0.5 s.",
  ],
  [
    "that found nothing",
    { outcome: "nothing_pending" },
    "The run: nothing pending, nothing was idle, 0.5 s.",
  ],
  [
    "that found another at work",
    { outcome: "lease_held", reason: "somebody else has the lease" },
    "Skipped: somebody else has the lease",
  ],
  [
    "that an open circuit kept",
    { outcome: "circuit_open", reason: "a test" },
    "Nothing was taken over: the circuit is open (a test).",
  ],
  [
    "that an open circuit kept, which its reason says",
    { outcome: "circuit_open", reason: "the circuit is open for another 3 s (a test)" },
    "Nothing was taken over: the circuit is open for another 3 s (a test).",
  ],
  [
    "that opened the circuit",
    { outcome: "circuit_open", claimed: 2, failed: 2, reason: "it is down" },
    "The run: circuit open, 2 claimed, 2 left pending, 0.5 s (it is down).",
  ],
  [
    "that failed",
    { outcome: "failed", reason: "gone" },
    "The run: failed, nothing was taken over, 0.5 s (gone).",
  ],
];

for (const [name, changes, sentence] of RUNS)
  test(`a run ${name} is told as: ${sentence}`, () => assert.equal(ran(aRun(changes)), sentence));

test("a run that went well is marked where entries died or were lost", () => {
  /** @type {[Partial<RunReport>, Health][]} */
  const runs = [
    [{ claimed: 9, stored: 9 }, "ok"],
    [{ claimed: 9, stored: 8, parked: 1 }, "warn"],
    [{ claimed: 9, stored: 9, lost: 1 }, "warn"],
    [{ claimed: 60, parked: 60 }, "fail"],
    [{ lost_at_most: 3 }, "fail"],
    [{ outcome: "failed", parked: 1, stored: 1 }, "fail"],
  ];
  for (const [changes, health] of runs) assert.equal(mark(aRun(changes)), health);
});

test("the heading of the targets says how many need somebody", () => {
  /** @param {Health[]} healths */
  const rows = (...healths) => healths.map((health) => ({ health }));
  assert.equal(targetsSentence(rows("ok", "ok")), "2 targets: all healthy");
  assert.equal(
    targetsSentence(rows("fail", "warn", "warn", "ok")),
    "4 targets: 1 failing, 2 need a look",
  );
});

test("of an open circuit it is told who opened it, why and until when", () => {
  const person = aCircuit({ state: "open", since: AT, by: "person", who: "Ada", reason: "a test" });
  const facts = circuitFacts(person, NOW);
  assert.deepEqual(facts.slice(1), [
    ["By", "Ada"],
    ["Because", "a test"],
    ["Until", "a person closes it"],
  ]);
  assert.match(facts[0].join(" "), /^Opened .*60 s ago$/);
  const until = (/** @type {number} */ seconds) =>
    circuitFacts({ ...person, seconds_left: seconds }, NOW).at(-1)?.[1];
  assert.deepEqual(
    [until(5), until(0)],
    ["it is tried again, in 5 s", "the next run, which tries it"],
  );
});

test("of a circuit that was never open there is nothing to tell", () => {
  assert.deepEqual(circuitFacts(aCircuit(), NOW), []);
});

test("a replay is warned of a circuit that is not closed", () => {
  const opened = whyNotReplay(
    aCircuit({ state: "open", by: "person", who: "Ada", reason: "a test" }),
  );
  assert.equal(
    opened,
    "The circuit is open: Ada opened it: a test. A replay sends work to what it protects.",
  );
  const half = whyNotReplay(aCircuit({ state: "half_open", by: "failures" }));
  assert.equal(
    half,
    "The circuit is half open: no reason given. A replay sends work to what it protects.",
  );
});

test("the question about the circuit names what will be done", () => {
  const buttons = [
    circuitQuestion("close", false),
    circuitQuestion("open", true),
    circuitQuestion("open", false),
  ];
  assert.deepEqual(
    buttons.map((one) => one.button),
    ["Close it", "Open it", "Keep it open"],
  );
});

test("lost entries are counted, and the list says that it is only of the latest", () => {
  assert.match(lostSentence({ count: 0, full: false, latest: [] }, 0), /^There are none/);
  assert.match(
    lostSentence({ count: 1, full: false, latest: lostEntries("1-0") }, 1),
    /^1 entry was .* it was pending; its fields .*prevent that\.$/,
  );
  assert.match(
    lostSentence({ count: 30, full: false, latest: [] }, 20),
    /^30 entries were .* they were pending; their .*prevent that\. The latest 20:$/,
  );
  assert.match(
    lostSentence({ count: 10_000, full: true, latest: [] }, 20),
    /prevent that\. The record is full: earlier ones are no longer on it\. The latest 20:$/,
  );
  assert.equal(lostSentence(null, 0), "Could not be read.");
});

test("checks that are not well are counted", () => {
  const sentences = [checksSentence(0, 9), checksSentence(1, 9), checksSentence(2, 9)];
  assert.deepEqual(sentences, [
    "All 9 checks are well.",
    "1 of 9 checks needs a look.",
    "2 of 9 checks need a look.",
  ]);
});
