/* What the app answers, as the dashboard reads it. reclaim/http/openapi.json describes it in full. */

type Health = "ok" | "warn" | "fail";

/** A health, or `away`: the app itself cannot be reached. */
type Shown = Health | "away";

type CircuitState = "closed" | "open" | "half_open";

interface Status {
  version: string;
  now: string;
  health: Health;
  server: { address: string; kind: string | null; version: string | null; tls: boolean };
  doctor: Doctor;
  overview: TargetInBrief[];
  targets: TargetStatus[];
}

/** One target in a line; null is what could not be read. */
interface TargetInBrief {
  target: string;
  health: Health;
  sentence: string;
  pending: number | null;
  oldest_idle_ms: number | null;
  circuit: CircuitState | null;
  dead_letters: number | null;
  lost: number | null;
  last_tick_at: string | null;
}

/** One target; null is what could not be read. */
interface TargetStatus {
  target: string;
  stream: string;
  group: string;
  consumer?: string;
  pending: Pending | null;
  circuit: Circuit | null;
  lease: string | null;
  runs: RunReport[];
  last_tick_at: string | null;
  dead_letters: number | null;
  dead_letter_maxlen: number;
  lost: Lost | null;
  health: Health;
  sentence: string;
}

interface Pending {
  total: number;
  consumers: number;
  by_consumer: { consumer: string; pending: number; idle_ms: number | null }[];
  oldest: Oldest | null;
}

/** Why an entry is still pending. */
type Wait = "fresh" | "due" | "backing_off" | "held" | "gone";

interface PendingEntry {
  id: string;
  consumer: string;
  idle_ms: number;
  deliveries: number;
  waiting: Wait;
  due_in_ms: number;
  behind: string | null;
  charged: number;
  verdict: string | null;
  last_try_at: string | null;
  reason: string;
  bytes: number;
  fields: { name: string; value: string }[];
}

interface PendingEntries {
  entries: PendingEntry[];
  all_records: boolean;
  next: string | null;
}

interface Oldest {
  consumer: string;
  idle_ms: number;
  deliveries: number;
}

interface Circuit {
  state: CircuitState;
  since: string | null;
  seconds_left: number | null;
  by: string | null;
  who: string | null;
  reason: string | null;
  failures: number;
  failed_probes: number;
  limit: number;
  window_sec: number;
}

/** A run's report. A count that an older release did not know is missing. */
interface RunReport {
  id: string;
  run_id?: string;
  outcome: string;
  reason: string;
  started_at: string;
  seconds: number;
  claimed?: number;
  stored?: number;
  moved?: number;
  parked?: number;
  lost?: number;
  duplicate_fields?: number;
  not_deleted?: number;
  lost_at_most?: number;
  failed?: number;
  retried?: number;
  held?: number;
  given_back?: number;
  reasons?: Record<string, number>;
  pending_before?: Record<string, number> | null;
  pending_after?: Record<string, number> | null;
}

interface Lost {
  count: number;
  full: boolean;
  latest: LostEntry[];
}

interface LostEntry {
  id: string;
  consumer: string;
  deliveries: number;
  idle_ms: number;
  at: string;
  /** An older release does not tell it. */
  at_most?: number | null;
}

interface Doctor {
  at: string;
  findings: Check[];
}

interface Check {
  health: Health;
  about: string;
  what: string;
  todo: string;
}

/** Anybody's bytes; the text is their beginning, made harmless. */
interface Bytes {
  text: string;
  base64: string;
  bytes: number;
}

interface Field {
  name: Bytes;
  value: Bytes;
}

interface DeadLetter {
  id: string;
  entry_id: string;
  reason: string;
  error: string;
  consumer: string;
  deliveries: number;
  at: string;
  traceback: string;
  fields: Field[];
}

/** What dead letters are to be like; they fit all that is said. */
interface LetterFilter {
  reason?: string;
  error?: string;
  error_group?: string;
  consumer?: string;
  since?: string;
  text?: string;
  entry_id?: string;
}

interface LetterGroup {
  reason: string;
  error_group: string;
  count: number;
  first: string;
  last: string;
}

interface LetterGroups {
  count: number;
  looked: number;
  matched: number;
  groups: LetterGroup[];
  others: number;
  next: string | null;
}

/** What a person did. */
interface AuditRecord {
  id: string;
  what: string;
  who: string;
  door: string;
  place: string;
  why: string;
  meant: Record<string, unknown>;
  begun_at: string;
  outcome: string;
  error: string;
  counts: Record<string, unknown> | null;
}

interface LetterPage {
  count?: number;
  looked?: number;
  dead_letters: DeadLetter[];
  next: string | null;
  last: string | null;
}

/** Which dead letters are meant; of all, those that fit, up to one ID. */
interface WhichLetters extends LetterFilter {
  ids: string[] | "all";
  upto?: string;
}

interface ReplayAsked extends WhichLetters {
  target: string;
  limit?: number;
  rate?: number;
  even_if_open?: boolean;
  who?: string;
}

interface Replayed {
  chosen: number;
  replayed: number;
  failed: number;
  retried: number;
  held: number;
  missing: number;
  left: number;
  reasons: Record<string, number>;
}

/* What the page makes of it. */

/** Why the app's answer is not there. */
interface Trouble {
  status: number;
  code: string;
  message: string;
}

interface Tile {
  figure: string;
  more: string;
  health: Health | "";
}
