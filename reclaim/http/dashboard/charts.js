/** Owns the drawing of the two charts, and reading them by pointer, touch and keyboard. Where all stands: geometry.js. */

import { $, input, part, say, svg } from "./dom.js";
import { ago, clock, clocks, count, hourAndMinute, many, moment, span } from "./format.js";
import { pendingChart, runsChart, summed } from "./geometry.js";
import { colour, total } from "./history.js";
import { store } from "./store.js";
import { finished, left, outcome } from "./words.js";

const RUNS = 60;
const CONSUMERS = 6;
const DAY_MS = 86400000;

/**
 * A chart that can be read: how many places it has, where a place is, which one is under a pointer, and what it says.
 * @typedef {{places: number, x: (at: number) => number, at: (px: number) => number, text: (at: number) => string,
 *   top: number, bottom: number}} Readable
 */

/** What can be read now, by the name of the chart. @type {Map<string, Readable>} */
const readable = new Map();

/** Draw both charts, as wide as they are now. */
export function draw() {
  const { target } = store;
  if (!target) return;
  const history = store.history(target.target);
  drawPending(history.samples, history.coloured());
  const { runs } = history;
  const isSummed = store.range !== null;
  drawRuns(
    store.range ? summed(runs, store.now, store.range) : runs.slice(0, RUNS).reverse(),
    isSummed,
  );
}

/**
 * The chart's element and its size; null where it is not to be seen.
 * @param {string} id
 */
function canvas(id) {
  const chart = part(id, SVGSVGElement);
  const { clientWidth: width, clientHeight: height } = chart;
  return width ? { chart, width, height } : null;
}

/**
 * @param {import("./history.js").Sample[]} samples
 * @param {string[]} coloured
 */
function drawPending(samples, coloured) {
  const found = canvas("pending-chart");
  if (!found) return;
  const { chart, width, height } = found;
  const drawn = pendingChart(samples, coloured, store.knownUntil, {
    ...found,
    range: store.range,
  });
  const { start, end, x, y, edge, momentAt, grid, labels, areas, shown } = drawn;
  const isLong = end - start > DAY_MS;
  const times = labels.map((at) =>
    svg(
      "text",
      { x: x(at), y: height - 5, "text-anchor": "middle" },
      isLong ? dayOf(at) : hourAndMinute(at),
    ),
  );
  const polygons = areas.map(({ name, points }) => {
    const fill = name === null ? "s5" : colour(coloured, name);
    return svg("polygon", { class: `area ${fill}`, points });
  });
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...gridLines(grid, y, width, edge), ...times, ...polygons, mark("pending"));
  const period = span((end - start) / 1000);
  chart.setAttribute("aria-label", pendingLabel(shown, period));
  say("pending-span", `last ${period}`);
  readable.set("pending", {
    places: shown.length,
    x: (at) => Math.max(edge.left, x(shown[at].at)),
    at: (px) =>
      Math.max(
        0,
        shown.findLastIndex((one) => one.at <= momentAt(px)),
      ),
    text: (at) => sampleText(shown[at], isLong),
    top: edge.top,
    bottom: height - edge.bottom,
  });
  place("pending");
}

/** @param {number} at */
function dayOf(at) {
  return new Date(at).toLocaleDateString([], { day: "numeric", month: "short" });
}

/**
 * @param {import("./history.js").Sample[]} samples
 * @param {string} period
 */
function pendingLabel(samples, period) {
  const last = samples.at(-1);
  if (!last) return "No data yet.";
  const most = Math.max(...samples.map(total));
  return `Pending entries over the last ${period}: now ${count(total(last))}, at most ${count(most)}.`;
}

/**
 * What was pending at a moment.
 * @param {import("./history.js").Sample} sample
 * @param {boolean} isLong whether the chart goes back more than a day
 */
function sampleText(sample, isLong) {
  const consumers = Object.entries(sample.byConsumer)
    .filter(([, n]) => n)
    .sort((one, other) => other[1] - one[1])
    .slice(0, CONSUMERS)
    .map(([name, n]) => `${name} ${count(n)}`);
  const more = consumers.length ? ` (${consumers.join(", ")})` : "";
  const at = sample.at - store.skew;
  return `${isLong ? moment(at) : clocks(at)}: ${count(total(sample))} pending${more}`;
}

/**
 * @param {number[]} grid
 * @param {(n: number) => number} y
 * @param {number} width
 * @param {import("./geometry.js").Edge} edge
 */
function gridLines(grid, y, width, edge) {
  return grid.flatMap((n) => [
    svg("line", { class: "grid", x1: edge.left, x2: width - edge.right, y1: y(n), y2: y(n) }),
    svg("text", { x: edge.left - 6, y: y(n) + 4, "text-anchor": "end" }, count(n)),
  ]);
}

/**
 * @param {RunReport[]} runs the oldest first
 * @param {boolean} isSummed whether each is what runs of some time did together
 */
function drawRuns(runs, isSummed) {
  const found = canvas("runs-chart");
  if (!found) return;
  const { chart, width, height } = found;
  const { y, edge, grid, bars, crosses, begin, isWide, runAt, middle } = runsChart(runs, found);
  const parts = bars.map(({ fill, x, y: top, width: thick, height: high, round }) =>
    svg("rect", { class: fill, x, y: top, width: thick, height: high, rx: round || null }),
  );
  const failed = crosses.map((cross) =>
    svg("text", { ...cross, "text-anchor": "middle", class: "f-fail", "font-weight": "bold" }, "×"),
  );
  const oldest = runs[0];
  const axis = oldest
    ? [
        svg("text", { x: width - edge.right, y: height - 4, "text-anchor": "end" }, "now"),
        svg("text", { x: begin, y: height - 4 }, isWide ? ago(oldest.started_at, store.now) : ""),
      ]
    : [];
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(
    ...gridLines(grid, y, width, edge),
    ...parts,
    ...failed,
    ...axis,
    mark("runs"),
  );
  chart.setAttribute("aria-label", runsLabel(runs, isSummed));
  readable.set("runs", {
    places: runs.length,
    x: middle,
    at: runAt,
    text: (at) => runText(runs[at], isSummed),
    top: edge.top,
    bottom: height - edge.bottom,
  });
  place("runs");
}

/**
 * @param {RunReport[]} runs
 * @param {boolean} isSummed
 */
function runsLabel(runs, isSummed) {
  const done = runs.reduce((sum, run) => sum + finished(run), 0);
  const parked = runs.reduce((sum, run) => sum + (run.parked ?? 0), 0);
  const failed = runs.filter((run) => outcome(run).health === "fail").length;
  const oldest = runs[0];
  const which =
    isSummed && oldest
      ? `of the last ${span((store.now - Date.parse(oldest.started_at)) / 1000)}`
      : "";
  const among = which || `of the last ${many(runs.length, "run")}`;
  const bad = isSummed
    ? `${many(failed, "slot")} with a failed run`
    : `${many(failed, "run")} failed`;
  return `Entries ${among}: ${count(done)} stored or moved, ${count(parked)} dead letters, ${bad}.`;
}

/**
 * What a run did, or the runs of some time.
 * @param {RunReport} run
 * @param {boolean} isSummed
 */
function runText(run, isSummed) {
  const began = Date.parse(run.started_at) - store.skew;
  const until = isSummed ? ` to ${clock(began + run.seconds * 1000)}` : "";
  /** @type {[number, string][]} */
  const counts = [
    [finished(run), "stored or moved"],
    [left(run), "left pending"],
    [run.parked ?? 0, "dead letters"],
    [run.lost ?? 0, "lost"],
  ];
  const did = counts.filter(([n]) => n).map(([n, word]) => `${count(n)} ${word}`);
  const { health, word } = outcome(run);
  const ended = isSummed && health !== "fail" ? [] : [word];
  return `${moment(began)}${until}: ${[...did, ...ended].join(", ") || "nothing"}`;
}

/** @param {string} name */
function mark(name) {
  return svg("line", { class: "mark", id: `${name}-mark`, visibility: "hidden" });
}

/** Which place of a chart is being read, by its name. @type {Map<string, number>} */
const reading = new Map();

/**
 * Show what is at the place that is being read, if one is.
 * @param {string} name
 */
function place(name) {
  const chart = readable.get(name);
  const at = reading.get(name);
  const slider = input(`${name}-at`);
  if (!chart) return;
  slider.max = String(Math.max(0, chart.places - 1));
  if (at === undefined) slider.value = slider.max;
  const line = part(`${name}-mark`, SVGLineElement);
  const isRead = at !== undefined && at < chart.places;
  line.setAttribute("visibility", isRead ? "visible" : "hidden");
  const text = isRead ? chart.text(at) : "";
  say(`${name}-read`, text);
  slider.setAttribute("aria-valuetext", text || "now");
  if (!isRead) return;
  slider.value = String(at);
  for (const end of ["x1", "x2"]) line.setAttribute(end, String(chart.x(at)));
  line.setAttribute("y1", String(chart.top));
  line.setAttribute("y2", String(chart.bottom));
}

/**
 * Have a chart read by a pointer or a finger on it, and by the slider below it.
 * @param {string} name
 */
function letRead(name) {
  const svgOf = part(`${name}-chart`, SVGSVGElement);
  const slider = input(`${name}-at`);
  /** @param {PointerEvent} event */
  const pointed = (event) => {
    const chart = readable.get(name);
    if (!chart?.places) return;
    reading.set(name, chart.at(event.offsetX));
    place(name);
  };
  const leave = () => {
    reading.delete(name);
    place(name);
  };
  svgOf.addEventListener("pointermove", pointed);
  svgOf.addEventListener("pointerdown", pointed);
  svgOf.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") leave();
  });
  const atSlider = () => {
    reading.set(name, Number(slider.value));
    place(name);
  };
  slider.addEventListener("focus", atSlider);
  slider.addEventListener("input", atSlider);
  slider.addEventListener("blur", leave);
}

letRead("pending");
letRead("runs");

/** Forget what is being read: another target is looked at. */
export function readNothing() {
  reading.clear();
}

new ResizeObserver(draw).observe($("page"));
