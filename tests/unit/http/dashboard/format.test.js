/** How values are written for a person. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ago,
  count,
  cut,
  dump,
  many,
  seen,
  span,
  visible,
} from "../../../../reclaim/http/dashboard/format.js";

test("characters that act instead of being seen are written as escapes", () => {
  assert.equal(
    visible("a\0b\x1b[31m\x7f\x85\u202eevil\u200f\ufeff"),
    "a\\x00b\\x1b[31m\\x7f\\u0085\\u202eevil\\u200f\\ufeff",
  );
});

test("what can be seen stays as it is, tabs and line breaks too", () => {
  const text = "שלום\t<b>é\u{1f600}\n–";
  assert.equal(visible(text), text);
});

test("a duration is written in its largest sensible unit, rounded down", () => {
  const spans = [-1, 0.0123, 0.1, 0.96, 1, 119.9, 120, 7199, 7200, 172799, 172800].map(span);
  assert.deepEqual(spans, [
    "0.000 s",
    "0.012 s",
    "0.1 s",
    "1.0 s",
    "1 s",
    "119 s",
    "2 min",
    "119 min",
    "2 h",
    "47 h",
    "2 days",
  ]);
});

test("what is not known is a dash", () => {
  assert.deepEqual(
    [span(null), span(undefined), count(null), count(undefined)],
    ["–", "–", "–", "–"],
  );
});

test("numbers have their thousands set apart, and nouns their number", () => {
  assert.equal(count(1234567), "1,234,567");
  assert.deepEqual([many(0, "run"), many(1, "run"), many(2, "run")], ["0 runs", "1 run", "2 runs"]);
  assert.equal(many(2, "delivery", "deliveries"), "2 deliveries");
});

test("the time since a moment is told by the clock that is given", () => {
  const iso = "2026-01-02T03:04:05.000+00:00";
  assert.equal(ago(iso, Date.parse(iso) + 65000), "65 s ago");
});

test("a consumer that is idle for less than two seconds was seen just now", () => {
  assert.deepEqual([seen(1999), seen(2000)], ["just now", "2 s ago"]);
});

test("only a text that is too long is cut", () => {
  assert.deepEqual([cut("abc", 3), cut("abcd", 3)], ["abc", "abc…"]);
});

test("bytes are a table of sixteen a line", () => {
  const bytes = Uint8Array.from({ length: 17 }, (_, at) => at + 0x30);
  const first = "000000  30 31 32 33 34 35 36 37 38 39 3a 3b 3c 3d 3e 3f  0123456789:;<=>?";
  assert.equal(dump(bytes), `${first}\n000010  ${"40".padEnd(47)}  @`);
  assert.equal(dump(new Uint8Array()), "");
});
