/** Owns the loop that reads the status every three seconds, and once a minute while the tab is hidden. */

import { api, refusal } from "./api.js";
import { store } from "./store.js";

const POLL_MS = 3000;
const HIDDEN_MS = 60000;

/** What is told of the loop; events: `looked` (whatever came of it), `read` (more of the past is known). */
export const live = new EventTarget();

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/** @type {Promise<void> | null} */
let polling = null;

/** Look now, and again in three seconds, whatever comes of it; one look at a time. */
export function poll() {
  clearTimeout(timer);
  polling ??= look().finally(() => {
    polling = null;
    if (store.key) timer = setTimeout(poll, document.hidden ? HIDDEN_MS : POLL_MS);
  });
  return polling;
}

async function look() {
  const { key } = store;
  if (!key) return;
  try {
    const status = await api.status();
    if (store.key !== key) return; // forgotten meanwhile
    store.answered(status);
  } catch (error) {
    const refused = refusal(error);
    if (store.key !== key) return;
    if (refused.status === 401) {
      store.forget(refused.message);
      return;
    }
    store.trouble = refused;
  }
  live.dispatchEvent(new Event("looked"));
}

/** Read the runs before those that are known of the target. */
export async function readOlderRuns() {
  const { target } = store;
  if (!target) return;
  const history = store.history(target.target);
  const oldest = history.runs.at(-1);
  if (!oldest) return;
  const page = await api.runsBefore(target.target, oldest.id);
  history.learnRuns(page.runs);
  if (page.next === null) history.isComplete = true;
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

store.addEventListener("chosen", () => {
  const { name } = store;
  if (name && !store.history(name).isComplete) quietly(readOlderRuns());
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});
