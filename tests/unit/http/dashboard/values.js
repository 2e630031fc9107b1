/** Owns what the page's tests are made of: answers of the app with whatever is changed. */

/**
 * @param {Partial<RunReport>} changes
 * @returns {RunReport}
 */
export function aRun(changes = {}) {
  const started = "2026-01-02T03:04:05.000+00:00";
  return {
    id: "1-0",
    outcome: "completed",
    reason: "",
    started_at: started,
    seconds: 0.5,
    ...changes,
  };
}

/**
 * @param {Partial<Circuit>} changes
 * @returns {Circuit}
 */
export function aCircuit(changes = {}) {
  return {
    state: "closed",
    since: null,
    seconds_left: null,
    by: null,
    who: null,
    reason: null,
    failures: 0,
    failed_probes: 0,
    limit: 50,
    window_sec: 30,
    ...changes,
  };
}

/**
 * What is pending for consumers, as a status has it.
 * @param {Record<string, number>} byConsumer
 * @param {Partial<Pending>} changes
 * @returns {Pending}
 */
export function pendingFor(byConsumer, changes = {}) {
  const named = Object.entries(byConsumer).map(([consumer, pending]) => ({
    consumer,
    pending,
    idle_ms: 0,
  }));
  const total = named.reduce((sum, one) => sum + one.pending, 0);
  return { total, consumers: named.length, by_consumer: named, oldest: null, ...changes };
}

/**
 * @param {Partial<TargetStatus>} changes
 * @returns {TargetStatus}
 */
export function aTarget(changes = {}) {
  return {
    target: "s/g",
    stream: "s",
    group: "g",
    pending: pendingFor({}),
    circuit: aCircuit(),
    lease: null,
    runs: [],
    last_tick_at: null,
    dead_letters: 0,
    dead_letter_maxlen: 1000,
    lost: { count: 0, full: false, latest: [] },
    health: "ok",
    sentence: "All is well.",
    ...changes,
  };
}

/**
 * A target in brief.
 * @param {TargetStatus} target
 * @returns {TargetInBrief}
 */
export function inBrief({
  target,
  health,
  sentence,
  pending,
  circuit,
  dead_letters,
  lost,
  last_tick_at,
}) {
  return {
    target,
    health,
    sentence,
    pending: pending?.total ?? null,
    oldest_idle_ms: pending?.oldest?.idle_ms ?? null,
    circuit: circuit?.state ?? null,
    dead_letters,
    lost: lost?.count ?? null,
    last_tick_at,
  };
}

/**
 * A status with these targets, the worst first; the first is told of in full.
 * @param {TargetStatus[]} targets
 * @param {Partial<Status>} changes
 * @returns {Status}
 */
export function aStatus(targets, changes = {}) {
  const now = "2026-01-02T03:04:05.000+00:00";
  const server = { address: "127.0.0.1:6379", kind: null, version: null, tls: false };
  const doctor = { at: now, findings: [] };
  const overview = targets.map(inBrief);
  const full = targets.slice(0, 1);
  return { version: "1", now, health: "ok", server, doctor, overview, targets: full, ...changes };
}

/**
 * @param {string[]} ids
 * @param {string | null} next
 * @returns {LetterPage}
 */
export function aPage(ids, next = null) {
  const at = "2026-01-02T03:04:05.000+00:00";
  const about = {
    entry_id: "1-0",
    reason: "failed",
    error: "x",
    traceback: "",
    consumer: "w",
    deliveries: 1,
    at,
  };
  const letters = ids.map((id) => ({ id, ...about, fields: [] }));
  return { dead_letters: letters, next, last: ids.at(-1) ?? null };
}

/**
 * @param {string[]} ids
 * @returns {LostEntry[]}
 */
export function lostEntries(...ids) {
  const at = "2026-01-02T03:04:05.000+00:00";
  return ids.map((id) => ({ id, consumer: "w", deliveries: 1, idle_ms: 1000, at }));
}

/**
 * One pass of a replay.
 * @param {Partial<Replayed>} changes
 * @returns {Replayed}
 */
export function aPass(changes = {}) {
  const none = { replayed: 0, failed: 0, retried: 0, held: 0, missing: 0, left: 0 };
  return { chosen: 0, ...none, reasons: {}, ...changes };
}
