/** The sum of a replay's passes. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Pace, rest, Tally } from "../../../../reclaim/http/dashboard/tally.js";
import { aPass } from "./values.js";

test("passes add up, and the reason met most often is told", () => {
  const tally = new Tally(false);
  tally.add(
    aPass({ chosen: 2000, replayed: 1200, failed: 1, left: 799, reasons: { rare: 1, often: 1 } }),
  );
  tally.add(aPass({ chosen: 799, replayed: 700, failed: 2, retried: 97, reasons: { often: 2 } }));
  assert.equal(
    tally.sentence,
    "1,900 of 2,000 replayed, 3 failed again, 97 could not be tried. Most often: often",
  );
});

test("what could not be tried in one pass and was in the next is not told", () => {
  const tally = new Tally(false);
  tally.add(aPass({ chosen: 3, replayed: 1, retried: 1, held: 1, left: 2 }));
  assert.equal(tally.words, "1 of 3 replayed, 1 could not be tried, 1 wait for an earlier one");
  tally.add(aPass({ chosen: 2, replayed: 2 }));
  assert.equal(tally.sentence, "3 of 3 replayed.");
});

test("of a list, what earlier passes replayed or failed is not missing", () => {
  const tally = new Tally(true);
  tally.add(aPass({ chosen: 5, replayed: 2, failed: 1, left: 2 }));
  tally.add(aPass({ chosen: 1, replayed: 1, missing: 4 }));
  assert.equal(tally.words, "3 of 5 replayed, 1 failed again, 1 were gone");
});

test("what was kept goes on as if nothing had been in between", () => {
  const tally = new Tally(false);
  tally.add(
    aPass({ chosen: 60, replayed: 20, failed: 1, left: 39, reasons: { "KeyError: 'x'": 1 } }),
  );
  const later = Tally.from(JSON.parse(JSON.stringify(tally.kept)));
  later.add(aPass({ chosen: 39, replayed: 39 }));
  assert.deepEqual([later.done, later.chosen], [60, 60]);
  assert.equal(later.sentence, "59 of 60 replayed, 1 failed again. Most often: KeyError: 'x'");
});

test("what a pass did of which nobody was told is neither replayed nor gone", () => {
  const tally = new Tally(false);
  tally.add(aPass({ chosen: 30, replayed: 5, left: 25 }));
  const later = Tally.from(tally.kept);
  later.add(aPass({ chosen: 21, replayed: 10, missing: 6, left: 5 }));
  later.add(aPass({ chosen: 5, replayed: 5 }));
  assert.equal(
    later.sentence,
    "20 of 30 replayed, 10 were handled while the page could not see it.",
  );
  const listed = new Tally(true);
  listed.add(aPass({ chosen: 8, replayed: 3, left: 5 }));
  const resumed = Tally.from(listed.kept);
  resumed.add(aPass({ chosen: 3, missing: 5, replayed: 3 }));
  assert.equal(
    resumed.sentence,
    "6 of 8 replayed, 2 were handled while the page could not see it.",
  );
});

test("the pace is that of what was done here, and tells how long the rest takes", () => {
  mock.timers.enable({ apis: ["Date"], now: 0 });
  const pace = new Pace(100);
  mock.timers.tick(10000);
  assert.equal(pace.words(600, 2500), "; 50 a second, about 50 s left");
  assert.equal(pace.words(105, 100), "; 0.5 a second, about 3 min left");
  assert.deepEqual([pace.words(600, 0), pace.words(100, 5)], ["", ""]);
  mock.timers.reset();
});

test("a limit counts down, but never to none, and no limit stays none", () => {
  const asked = { target: "s/g", ids: /** @type {const} */ ("all"), limit: 10 };
  assert.equal(rest(asked, aPass({ replayed: 3, failed: 2 })).limit, 5);
  assert.equal(rest(asked, aPass({ replayed: 10 })).limit, 1);
  assert.equal(rest({ target: "s/g", ids: "all" }, aPass({ replayed: 3 })).limit, undefined);
});
