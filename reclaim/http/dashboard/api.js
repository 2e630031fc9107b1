/** Owns the calls of the app's HTTP API. The key goes into a header, never into an address. */

import { span } from "./format.js";
import { store } from "./store.js";

const SHORT_MS = 10000;
const REPLAY_MS = 60000;
const LONG_MS = 225000; // nearly as long as Azure lets a request take

/** An operation that the app refused, or that did not reach it. */
export class Refused extends Error {
  /**
   * @param {number} status the HTTP status; 0: there was no whole answer
   * @param {string} code
   * @param {string} message
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/**
 * The error, if it is a refusal; any other is a fault of the page, and is thrown on.
 * @param {unknown} error
 */
export function refusal(error) {
  if (error instanceof Refused) return error;
  throw error;
}

/**
 * Call the app.
 * @param {"GET" | "POST" | "DELETE"} method
 * @param {string} path below /api/
 * @param {{query?: Record<string, string | number | null | undefined>, body?: object, waitMs?: number}} options
 * @returns {Promise<any>} what it answers
 * @throws {Refused}
 */
async function call(method, path, { query = {}, body, waitMs = SHORT_MS } = {}) {
  const answer = await send(method, addressOf(path, query), body, waitMs);
  const said = await read(answer, waitMs);
  if (answer.ok && said !== null) return said;
  throw refused(answer, said);
}

/**
 * @param {string} path
 * @param {Record<string, string | number | null | undefined>} query what is null or not there is left out
 */
function addressOf(path, query) {
  const address = new URL(`../${path}`, import.meta.url); // this file is served below /api/dashboard/
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined) address.searchParams.set(name, String(value));
  return address;
}

/**
 * @param {string} method
 * @param {URL} address
 * @param {object | undefined} body
 * @param {number} waitMs
 */
async function send(method, address, body, waitMs) {
  const headers = new Headers({ "x-functions-key": store.key ?? "" });
  if (body) headers.set("content-type", "application/json");
  let answer;
  try {
    answer = await fetch(address, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "same-origin", // where the platform signs people in, it knows them by a cookie
      redirect: "manual",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(waitMs),
    });
  } catch (error) {
    throw away(error, waitMs, "There was no answer", "There is no connection to the app");
  }
  if (answer.type === "opaqueredirect")
    throw new Refused(0, "away", "The app wants you to sign in again: reload the page");
  return answer;
}

/**
 * What an answer says; null where it is no JSON.
 * @param {Response} answer
 * @param {number} waitMs
 * @returns {Promise<any>}
 */
async function read(answer, waitMs) {
  try {
    return await answer.json();
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw away(error, waitMs, "There was no whole answer", "The connection to the app broke");
  }
}

/**
 * What an answer refuses, in the app's own words where it has any.
 * @param {Response} answer
 * @param {any} said
 */
function refused({ status, statusText }, said) {
  if (status === 401) return new Refused(401, "key", "This key is not accepted.");
  const { code, message } = said?.error ?? {};
  const plain = `The app answers ${status} ${statusText}`;
  return new Refused(status, code ?? "failed", message ?? plain);
}

/**
 * @param {unknown} error
 * @param {number} waitMs
 * @param {string} nothing what there was not in time
 * @param {string} broken what else has happened
 */
function away(error, waitMs, nothing, broken) {
  const isTimeout = error instanceof Error && error.name === "TimeoutError";
  return new Refused(0, "away", isTimeout ? `${nothing} within ${span(waitMs / 1000)}` : broken);
}

/** What the app can be asked, by the name of the operation. */
export const api = {
  /**
   * @param {string | null} target which target to tell of in full; null: the worst
   * @returns {Promise<Status>}
   */
  status: (target) => call("GET", "status", { query: { target } }),

  /**
   * @param {string} target
   * @param {string} before
   * @returns {Promise<{runs: RunReport[], next: string | null}>}
   */
  runsBefore: (target, before) => call("GET", "runs", { query: { target, limit: 100, before } }),

  /**
   * @param {{target: string, who?: string}} asked
   * @returns {Promise<{runs: RunReport[]}>}
   */
  run: (asked) => call("POST", "runs", { body: asked, waitMs: LONG_MS }),

  /**
   * @param {string} target
   * @param {string | null} before
   * @returns {Promise<{records: AuditRecord[], next: string | null}>}
   */
  audit: (target, before) => call("GET", "audit", { query: { target, limit: 20, before } }),

  /**
   * @param {string} target
   * @param {string | null} consumer only what is pending for it; null: for all
   * @param {string | null} after
   * @returns {Promise<PendingEntries>}
   */
  pending: (target, consumer, after) =>
    call("GET", "pending", { query: { target, consumer, after, limit: 20 } }),

  /**
   * Whether the key may change things, and who is signed in, where the platform signs people in.
   * @returns {Promise<{mayChange: boolean, signedIn: string | null}>}
   */
  access: async () => {
    const answer = await send("POST", addressOf("access", {}), {}, SHORT_MS);
    const said = answer.ok ? await read(answer, SHORT_MS) : null;
    return { mayChange: answer.status !== 401, signedIn: said?.signed_in ?? null };
  },

  /**
   * @param {string} target
   * @param {LetterFilter & {order: "newest" | "oldest"}} wanted
   * @param {string | null} after
   * @param {number} limit
   * @returns {Promise<LetterPage>}
   */
  deadLetters: (target, wanted, after, limit) =>
    call("GET", "dead-letters", { query: { target, ...wanted, after, limit } }),

  /**
   * @param {string} target
   * @param {LetterFilter} wanted
   * @param {string | null} after
   * @returns {Promise<LetterGroups>}
   */
  groups: (target, wanted, after) =>
    call("GET", "dead-letters/groups", { query: { target, ...wanted, order: "newest", after } }),

  /**
   * A part of a file of dead letters, with whole bodies, and where the next part begins.
   * @param {string} target
   * @param {LetterFilter & {order: "newest" | "oldest"}} wanted
   * @param {"jsonl" | "csv"} format
   * @param {string | null} after
   * @returns {Promise<{text: string, next: string | null}>}
   */
  file: async (target, wanted, format, after) => {
    const query = { target, ...wanted, format, after, limit: 100 };
    const answer = await send("GET", addressOf("dead-letters", query), undefined, REPLAY_MS);
    if (!answer.ok) throw refused(answer, await read(answer, REPLAY_MS));
    return { text: await answer.text(), next: answer.headers.get("x-reclaim-next") };
  },

  /**
   * @param {ReplayAsked & {budget_sec?: number, dry_run?: boolean}} asked
   * @returns {Promise<Replayed>}
   */
  replay: (asked) => call("POST", "dead-letters/replay", { body: asked, waitMs: REPLAY_MS }),

  /**
   * @param {LetterFilter & {target: string, ids: string, upto: string | null, who: string, why: string}} query
   * @returns {Promise<{discarded: number, done: boolean}>}
   */
  discard: (query) => call("DELETE", "dead-letters", { query: { ...query }, waitMs: LONG_MS }),

  /**
   * @param {string} target
   * @param {string | null} before
   * @returns {Promise<{lost: LostEntry[], next: string | null}>}
   */
  lostBefore: (target, before) => call("GET", "lost", { query: { target, limit: 100, before } }),

  /**
   * @param {{target: string, action: "open" | "close", reason: string, who: string}} change
   * @returns {Promise<{effect: string}>}
   */
  setCircuit: (change) => call("POST", "circuit", { body: change }),
};
