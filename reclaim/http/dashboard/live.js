/** Owns the loop that reads the status every three seconds, and once a minute while the tab is hidden. */

import { api, refusal } from "./api.js";
import { store } from "./store.js";

const POLL_MS = 3000;
const HIDDEN_MS = 60000;
const MOST_PAGES = 25; // about 2,000 runs are kept

/** What is told of the loop; events: `looked` (whatever came of it), `read` (more of the past is known). */
export const live = new EventTarget();

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** @type {Promise<void> | null} */
let polling = null;

/** Which target the look that is under way asks for; null: the worst. @type {string | null} */
let asked = null;

/** Look now, and again in three seconds, whatever comes of it; one look at a time. @returns {Promise<void>} */
export function poll() {
  clearTimeout(timer);
  if (polling && asked !== store.wanted) return polling.then(poll);
  polling ??= look().finally(() => {
    polling = null;
    if (store.key) timer = setTimeout(poll, document.hidden ? HIDDEN_MS : POLL_MS);
  });
  return polling;
}

async function look() {
  const { key } = store;
  asked = store.wanted;
  if (!key) return;
  try {
    const status = await api.status(asked);
    if (store.key !== key) return; // forgotten meanwhile
    store.answered(status);
  } catch (error) {
    const refused = refusal(error);
    if (store.key !== key) return;
    if (refused.status === 401) {
      store.forget(refused.message);
      return;
    }
    if (refused.status === 400 && asked) {
      if (store.wanted === asked) store.lookAtTheWorst();
      await look();
      return;
    }
    store.trouble = refused;
  }
  live.dispatchEvent(new Event("looked"));
}

/** Read the runs before those that are known of the target. */
export async function readOlderRuns() {
  const { name } = store;
  if (!name) return;
  const history = store.history(name);
  const oldest = history.runs.at(-1);
  if (!oldest) return;
  const page = await api.runsBefore(name, oldest.id);
  history.learnRuns(page.runs);
  if (page.next === null) history.isComplete = true;
}

/** Read as many runs as the charts show, page after page; each page is shown when it is there. */
export async function readRange() {
  const { name, range } = store;
  if (!name || !range) return;
  const history = store.history(name);
  for (let pages = 0; pages < MOST_PAGES && !history.isComplete; pages += 1) {
    const oldest = history.runs.at(-1);
    if (!oldest || Date.parse(oldest.started_at) < store.now - range) return;
    await readOlderRuns();
    if (store.name !== name || store.range !== range) return;
    live.dispatchEvent(new Event("read"));
  }
}

/**
 * Wait for a reading, and have what was read shown. If the app refuses it, nothing is said: nobody asked for it.
 * @param {Promise<void>} reading
 */
export async function quietly(reading) {
  try {
    await reading;
    live.dispatchEvent(new Event("read"));
  } catch (error) {
    refusal(error);
  }
}

store.addEventListener("forgotten", () => clearTimeout(timer));

live.addEventListener("looked", () => {
  const { target } = store;
  if (!target || store.history(target.target).wasReadBack) return;
  store.history(target.target).wasReadBack = true;
  quietly(readOlderRuns().then(readRange));
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});
