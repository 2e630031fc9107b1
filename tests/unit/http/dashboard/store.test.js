/** What the page knows, and what it lets go of. */

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { LetterList, LostList, Store } from "../../../../reclaim/http/dashboard/store.js";
import { aPage, aStatus, aTarget, lostEntries, pendingFor } from "./values.js";

const NOW = Date.parse("2026-01-02T03:04:05.000+00:00");

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["Date"], now: NOW - 5000 });
});

/** @param {{items: {id: string}[]}} list */
const ids = (list) => list.items.map((one) => one.id);

/**
 * A store that has been answered, and the names of its events from now on.
 * @param {Status} status
 */
function storeOf(status) {
  const store = new Store();
  store.key = "k";
  store.answered(status);
  /** @type {string[]} */
  const events = [];
  for (const name of ["chosen", "forgotten"]) store.addEventListener(name, () => events.push(name));
  return { store, events };
}

test("the worst target is looked at first, and then the one that was chosen", () => {
  const [b, a] = [aTarget({ target: "b", health: "fail" }), aTarget({ target: "a" })];
  const { store, events } = storeOf(aStatus([b, a]));
  assert.equal(store.target?.target, "b");
  store.choose("a");
  assert.deepEqual([store.target, store.row?.target, store.wanted], [null, "a", "a"]);
  store.answered(aStatus([b, a], { targets: [a] }));
  assert.deepEqual([store.target?.target, events], ["a", ["chosen"]]);
});

test("an answer about another target than the one that is looked at is not shown as its", () => {
  const [a, b] = [aTarget({ target: "a" }), aTarget({ target: "b" })];
  const { store, events } = storeOf(aStatus([a, b]));
  store.choose("b");
  store.answered(aStatus([a, b]));
  assert.deepEqual([store.target, store.row?.target, events], [null, "b", ["chosen"]]);
});

test("a target that is gone is no longer looked at", () => {
  const { store, events } = storeOf(aStatus([aTarget({ target: "a" })]));
  store.answered(aStatus([aTarget({ target: "b" })]));
  assert.deepEqual([store.name, events], ["b", ["chosen"]]);
});

test("nothing of one target is shown as another's", () => {
  const lost = { count: 1, full: false, latest: lostEntries("9-0") };
  const { store } = storeOf(aStatus([aTarget({ target: "a" }), aTarget({ target: "b", lost })]));
  store.letters.replace(aPage(["1-0"]), "a");
  store.runsShown = 33;
  store.choose("b");
  store.answered(
    aStatus([aTarget({ target: "a" }), aTarget({ target: "b" })], {
      targets: [aTarget({ target: "b", lost })],
    }),
  );
  assert.deepEqual([ids(store.letters), store.letters.readFor, store.runsShown], [[], null, 8]);
  assert.deepEqual(ids(store.lost), ["9-0"]);
});

test("each target's past is kept apart", () => {
  const target = aTarget({ target: "a", pending: pendingFor({ w: 3 }) });
  const { store } = storeOf(aStatus([target, aTarget({ target: "b", pending: null })]));
  assert.deepEqual([store.history("a").samples.length, store.history("b").samples.length], [1, 0]);
});

test("the app's clock is used, not the browser's", () => {
  const { store } = storeOf(aStatus([aTarget()]));
  assert.deepEqual([store.skew, store.now], [5000, NOW]);
});

test("an answer is late after fifteen seconds, and the charts end with it", () => {
  const { store } = storeOf(aStatus([aTarget()]));
  mock.timers.tick(15000);
  assert.deepEqual([store.isLate, store.isLive, store.hindrance], [false, true, null]);
  assert.equal(store.knownUntil, NOW + 15000);
  mock.timers.tick(1);
  assert.deepEqual([store.isLate, store.isLive, store.knownUntil], [true, false, NOW]);
  assert.equal(store.hindrance?.message, "The app has not answered for more than 15 s");
});

test("a look that failed is told before lateness, until the next one succeeds", () => {
  const { store } = storeOf(aStatus([aTarget()]));
  store.trouble = { status: 503, code: "redis_away", message: "gone" };
  mock.timers.tick(60000);
  assert.deepEqual(
    [store.hindrance?.code, store.isLive, store.knownUntil],
    ["redis_away", false, NOW],
  );
  store.answered(aStatus([aTarget()]));
  assert.deepEqual([store.hindrance, store.isLive, store.looks], [null, true, 2]);
});

test("with the key all that was read with it is forgotten", () => {
  const { store, events } = storeOf(
    aStatus([aTarget({ target: "a", pending: pendingFor({ w: 3 }) })]),
  );
  store.forget("why");
  assert.deepEqual([store.key, store.status, store.target, store.name], [null, null, null, null]);
  assert.deepEqual([store.history("a").samples, events], [[], ["forgotten"]]);
});

test("chosen dead letters that are gone are no longer chosen, and it is told when none is left", () => {
  const list = new LetterList();
  assert.equal(list.replace(aPage(["1-0", "2-0"]), "r"), false);
  list.chosen.add("1-0").add("2-0");
  assert.equal(list.replace(aPage(["2-0", "3-0"]), "r"), false);
  assert.deepEqual([...list.chosen], ["2-0"]);
  assert.equal(list.replace(aPage(["3-0"]), "r"), true);
  assert.equal(list.replace(aPage(["3-0"]), "r"), false);
});

test("a further page of dead letters comes below, and lists none twice", () => {
  const list = new LetterList();
  list.replace(aPage(["1-0", "2-0"], "2-0"), "r");
  list.append(aPage(["2-0", "3-0"]));
  assert.deepEqual([ids(list), list.next, list.last], [["1-0", "2-0", "3-0"], null, "2-0"]);
});

test("after something was done to dead letters, none is chosen and they are read again", () => {
  const list = new LetterList();
  list.replace(aPage(["1-0"]), "r");
  list.chosen.add("1-0");
  list.stale();
  assert.deepEqual([list.chosen.size, list.readFor, ids(list)], [0, null, ["1-0"]]);
});

test("new lost entries come on top of those that are listed", () => {
  const list = new LostList();
  list.learn(lostEntries("3-0", "2-0"));
  list.append({ lost: lostEntries("2-0", "1-0"), next: "1-0" });
  list.learn(lostEntries("4-0", "3-0"));
  assert.deepEqual([ids(list), list.next], [["4-0", "3-0", "2-0", "1-0"], "1-0"]);
});

test("where lost entries may be missing in between, those before are let go", () => {
  const list = new LostList();
  list.learn(lostEntries("2-0"));
  list.append({ lost: lostEntries("1-0"), next: "1-0" });
  list.learn(lostEntries("40-0", "39-0"));
  assert.deepEqual([ids(list), list.next], [["40-0", "39-0"], null]);
});
