/** Owns finding dead letters: the search box, the groups by error, and files of what was found. */

import { act, onPress, onSubmit, told } from "./acts.js";
import { api } from "./api.js";
import { $, el, input, part, say } from "./dom.js";
import { ago, count, many, moment } from "./format.js";
import { copy } from "./letter.js";
import { listAnew, nameActs } from "./letters.js";
import { store } from "./store.js";

const GROUPS = 50;

/** The count that is under way; another one begins by taking its place. @type {object | null} */
let counting = null;

/** What the form asks for. @returns {LetterFilter} */
function asked() {
  const words = input("dead-q").value.trim();
  const by = part("dead-by", HTMLSelectElement).value;
  const since = part("dead-since", HTMLSelectElement).value;
  return { ...(words ? { [by]: words } : {}), ...(since ? { since } : {}) };
}

/** @returns {"newest" | "oldest"} */
function order() {
  return part("dead-order", HTMLSelectElement).value === "oldest" ? "oldest" : "newest";
}

/**
 * List those that are like this, and count them.
 * @param {LetterFilter} filter
 */
async function find(filter) {
  store.letters.want(filter, order());
  $("dead-clear").hidden = !store.letters.isFiltered;
  const { error_group: group } = filter;
  say("dead-only", group ? `Only the group “${group}”` : "");
  await Promise.all([listAnew(), countGroups()]);
}

/** Forget what was looked for: another target is looked at. */
export function findNothing() {
  counting = null;
  input("dead-q").value = "";
  part("dead-since", HTMLSelectElement).value = "";
  store.letters.order = order();
  $("dead-clear").hidden = true;
  for (const id of ["dead-scan", "dead-only"]) say(id, "");
  $("dead-groups-rows").replaceChildren();
  $("dead-groups-table").hidden = true;
  part("dead-groups", HTMLDetailsElement).open = false;
}

/** Count those that fit, by error, from the newest on; what is known is shown while the rest is read. */
async function countGroups() {
  const { name, letters } = store;
  const isWanted = letters.isFiltered || part("dead-groups", HTMLDetailsElement).open;
  if (!name || !isWanted) return;
  const mine = {};
  counting = mine;
  /** @type {Map<string, LetterGroup>} */
  const groups = new Map();
  let [matched, looked, others] = [0, 0, 0];
  /** @type {string | null} */
  let after = null;
  do {
    const page = await api.groups(name, letters.filter, after);
    if (counting !== mine || store.letters !== letters) return;
    matched += page.matched;
    looked += page.looked;
    others += page.others;
    for (const group of page.groups) add(groups, group);
    after = page.next;
    const of = after === null ? count(looked) : `${count(looked)} of ${count(page.count)} so far`;
    say("dead-scan", `${many(matched, "dead letter fits", "dead letters fit")}; looked at ${of}.`);
    showGroups([...groups.values()], others);
    letters.matched = matched;
    nameActs();
  } while (after !== null);
}

/**
 * @param {Map<string, LetterGroup>} groups
 * @param {LetterGroup} group
 */
function add(groups, group) {
  const key = JSON.stringify([group.reason, group.error_group]);
  const known = groups.get(key);
  if (!known) {
    groups.set(key, { ...group });
    return;
  }
  known.count += group.count;
  if (group.first < known.first) known.first = group.first;
  if (group.last > known.last) known.last = group.last;
}

/**
 * @param {LetterGroup[]} groups
 * @param {number} others how many are in groups that were too small to be named
 */
function showGroups(groups, others) {
  groups.sort((one, other) => other.count - one.count);
  const rows = groups.slice(0, GROUPS).map(groupRow);
  const rest = groups.slice(GROUPS).reduce((sum, one) => sum + one.count, others);
  if (rest)
    rows.push(
      el(
        "tr",
        {},
        el("td", {}, "smaller groups"),
        el("td", { class: "num" }, count(rest)),
        el("td"),
        el("td"),
      ),
    );
  $("dead-groups-table").hidden = rows.length === 0;
  $("dead-groups-rows").replaceChildren(...rows);
}

/** @param {LetterGroup} group */
function groupRow({ reason, error_group: error, count: n, first, last }) {
  const only = () =>
    act("dead-find-go", null, () => find({ ...asked(), reason, error_group: error }));
  const title = `from ${moment(Date.parse(first))} to ${moment(Date.parse(last))}`;
  return el(
    "tr",
    {},
    el(
      "td",
      {},
      el("span", { class: "pill" }, reason.replaceAll("_", " ")),
      " ",
      el("bdi", {}, error),
    ),
    el("td", { class: "num" }, count(n)),
    el("td", { title, class: "wide" }, `${ago(last, store.now)}, first ${ago(first, store.now)}`),
    el("td", {}, el("button", { type: "button", class: "small", onclick: only }, "Only these")),
  );
}

/**
 * Save the chosen ones, or all that fit, as a file: read in parts, with whole bodies.
 * @param {"jsonl" | "csv"} format
 */
export async function download(format) {
  const { name, letters } = store;
  if (!name) return;
  const { chosen, items, filter, order: first } = letters;
  const ids = items.filter((one) => chosen.has(one.id)).map((one) => one.entry_id);
  const wanted = { ...filter, order: first, ...(ids.length ? { entry_id: ids.join(",") } : {}) };
  const parts = [];
  /** @type {string | null} */
  let after = null;
  do {
    const page = await api.file(name, wanted, format, after);
    parts.push(page.text);
    after = page.next;
    say("dead-scan", `Reading the file: ${many(parts.length, "part")}…`);
  } while (after !== null && store.name === name);
  const type = format === "csv" ? "text/csv" : "application/x-ndjson";
  const href = URL.createObjectURL(new Blob(parts, { type }));
  const file = `dead-letters-${name.replaceAll(/[^\w.-]+/g, "-")}.${format}`;
  el("a", { href, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
  say("dead-scan", "");
  told(`The file ${file} is saved.`, name);
}

function copyIds() {
  const { chosen, items } = store.letters;
  const ids = chosen.size ? [...chosen] : items.map((one) => one.id);
  copy(ids.join("\n"));
}

onSubmit("dead-find", () => act("dead-find-go", null, () => find(asked())));
for (const id of ["dead-since", "dead-order", "dead-by"])
  $(id).addEventListener("change", () => {
    if (id !== "dead-by" || input("dead-q").value) act("dead-find-go", null, () => find(asked()));
  });
onPress("dead-clear", () => {
  input("dead-q").value = "";
  part("dead-since", HTMLSelectElement).value = "";
  act("dead-clear", null, () => find({}));
});
$("dead-groups").addEventListener("toggle", () => {
  if (part("dead-groups", HTMLDetailsElement).open) act("dead-find-go", null, countGroups);
});
onPress("dead-copy", copyIds);
onPress("dead-jsonl", () => act("dead-jsonl", null, () => download("jsonl")));
onPress("dead-csv", () => act("dead-csv", null, () => download("csv")));
onPress("discard-save", () => act("discard-save", "discard-error", () => download("jsonl")));
