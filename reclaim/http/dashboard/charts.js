/** Owns the drawing of the two charts. Where everything stands is decided in geometry.js. */

import { part, say, svg } from "./dom.js";
import { ago, clock, count, hourAndMinute, many, span } from "./format.js";
import { PENDING_EDGE, pendingChart, RUNS_EDGE, runsChart } from "./geometry.js";
import { colour, total } from "./history.js";
import { store } from "./store.js";
import { finished, outcome } from "./words.js";

const RUNS = 60;
const CONSUMERS = 6;

/**
 * What the chart of pending entries shows now, for the pointer.
 * @type {{samples: import("./history.js").Sample[], x: (at: number) => number, momentAt: (px: number) => number} | null}
 */
let plot = null;

/** Draw both charts, as wide as they are now. */
export function draw() {
  const { target } = store;
  if (!target) return;
  const history = store.history(target.target);
  drawPending(history.samples, history.coloured());
  drawRuns(history.runs.slice(0, RUNS).reverse());
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
  const { start, end, x, y, momentAt, grid, labels, areas } = pendingChart(
    samples,
    coloured,
    store.knownUntil,
    found,
  );
  const times = labels.map((at) =>
    svg("text", { x: x(at), y: height - 5, "text-anchor": "middle" }, hourAndMinute(at)),
  );
  const polygons = areas.map(({ name, points }) => {
    const fill = name === null ? "s5" : colour(coloured, name);
    return svg("polygon", { class: `area ${fill}`, points });
  });
  const mark = svg("line", {
    class: "mark",
    id: "pending-mark",
    y1: PENDING_EDGE.top,
    y2: height - PENDING_EDGE.bottom,
    visibility: "hidden",
  });
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...gridLines(grid, y, width, PENDING_EDGE), ...times, ...polygons, mark);
  const period = span((end - start) / 1000);
  chart.setAttribute("aria-label", pendingLabel(samples, period));
  say("pending-span", `last ${period}`);
  plot = { samples, x, momentAt };
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

/** @param {RunReport[]} runs the oldest first */
function drawRuns(runs) {
  const found = canvas("runs-chart");
  if (!found) return;
  const { chart, width, height } = found;
  const { y, grid, bars, crosses, begin, isWide } = runsChart(runs, found);
  const parts = bars.map(({ fill, x, y: top, width: thick, height: high, round }) =>
    svg("rect", { class: fill, x, y: top, width: thick, height: high, rx: round || null }),
  );
  const failed = crosses.map((cross) =>
    svg("text", { ...cross, "text-anchor": "middle", class: "f-fail", "font-weight": "bold" }, "×"),
  );
  const oldest = runs[0];
  const axis = oldest
    ? [
        svg("text", { x: width - RUNS_EDGE.right, y: height - 4, "text-anchor": "end" }, "now"),
        svg("text", { x: begin, y: height - 4 }, isWide ? ago(oldest.started_at, store.now) : ""),
      ]
    : [];
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...gridLines(grid, y, width, RUNS_EDGE), ...parts, ...failed, ...axis);
  chart.setAttribute("aria-label", runsLabel(runs));
}

/** @param {RunReport[]} runs */
function runsLabel(runs) {
  const done = runs.reduce((sum, run) => sum + finished(run), 0);
  const parked = runs.reduce((sum, run) => sum + (run.parked ?? 0), 0);
  const failed = runs.filter((run) => outcome(run).health === "fail").length;
  return (
    `Entries of the last ${many(runs.length, "run")}: ${count(done)} stored or moved, ${count(parked)} dead letters,` +
    ` ${many(failed, "run")} failed. The table below has the figures.`
  );
}

/**
 * Say what was pending at the moment under the pointer.
 * @param {PointerEvent} event
 */
function pointed(event) {
  if (!plot?.samples.length) return;
  const at = plot.momentAt(event.offsetX);
  const sample = plot.samples.findLast((one) => one.at <= at) ?? plot.samples[0];
  const mark = part("pending-mark", SVGLineElement);
  for (const end of ["x1", "x2"]) mark.setAttribute(end, String(plot.x(sample.at)));
  mark.setAttribute("visibility", "visible");
  const consumers = Object.entries(sample.byConsumer)
    .filter(([, n]) => n)
    .sort((one, other) => other[1] - one[1])
    .slice(0, CONSUMERS)
    .map(([name, n]) => `${name} ${count(n)}`);
  const more = consumers.length ? ` (${consumers.join(", ")})` : "";
  say("pending-read", `${clock(sample.at - store.skew)}: ${count(total(sample))} pending${more}`);
}

const pending = part("pending-chart", SVGSVGElement);
pending.addEventListener("pointermove", pointed);
pending.addEventListener("pointerleave", () => {
  say("pending-read", "");
  document.getElementById("pending-mark")?.setAttribute("visibility", "hidden");
});

new ResizeObserver(draw).observe(part("page", HTMLElement));
