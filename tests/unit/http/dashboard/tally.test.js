/** The sum of a replay's passes. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { rest, Tally } from "../../../../reclaim/http/dashboard/tally.js";
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

test("a limit counts down, but never to none, and no limit stays none", () => {
  const asked = { target: "s/g", ids: /** @type {const} */ ("all"), limit: 10 };
  assert.equal(rest(asked, aPass({ replayed: 3, failed: 2 })).limit, 5);
  assert.equal(rest(asked, aPass({ replayed: 10 })).limit, 1);
  assert.equal(rest({ target: "s/g", ids: "all" }, aPass({ replayed: 3 })).limit, undefined);
});
