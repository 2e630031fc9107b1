/** Owns how values are written for a person: numbers, durations, moments, bytes, and text that anybody may have sent. */

const NUMBER = new Intl.NumberFormat("en");

// Controls, and marks that turn the direction of text: they act instead of being seen.
const HIDDEN = /(?![\t\n])[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

/**
 * The text with each character that acts instead of being seen written as an escape.
 * @param {unknown} text
 */
export function visible(text) {
  return String(text).replace(HIDDEN, (character) => {
    const code = character.charCodeAt(0);
    const digits = code.toString(16);
    return code > 0x7f ? `\\u${digits.padStart(4, "0")}` : `\\x${digits.padStart(2, "0")}`;
  });
}

/**
 * A number with its thousands set apart; a dash where it is not known.
 * @param {number | null | undefined} n
 */
export function count(n) {
  return n === null || n === undefined ? "–" : NUMBER.format(n);
}

/**
 * A number and its noun.
 * @param {number} n
 * @param {string} one the noun for one
 * @param {string} more the noun for any other number
 */
export function many(n, one, more = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : more}`;
}

/**
 * A duration in its largest sensible unit; a dash where it is not known.
 * @param {number | null | undefined} seconds
 */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.1) return `${Math.max(0, seconds).toFixed(3)} s`;
  if (seconds < 1) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

/**
 * How long before `now` (milliseconds) a moment was.
 * @param {string} iso
 * @param {number} now
 */
export function ago(iso, now) {
  return `${span((now - Date.parse(iso)) / 1000)} ago`;
}

/**
 * When something was last seen that has been idle for so long.
 * @param {number} idleMs
 */
export function seen(idleMs) {
  return idleMs < 2000 ? "just now" : `${span(idleMs / 1000)} ago`;
}

/**
 * The time of day, to the second.
 * @param {number} ms
 */
export function clock(ms) {
  return new Date(ms).toLocaleTimeString([], {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
}

/**
 * The time of day, to the minute.
 * @param {number} ms
 */
export function hourAndMinute(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/**
 * Day and time, here and in UTC: logs and the command line speak UTC.
 * @param {number} ms
 */
export function moment(ms) {
  const date = new Date(ms);
  const here = date.toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
  return `${here} (${date.toISOString().slice(0, 19).replace("T", " ")} UTC)`;
}

/**
 * The time of day here, and in UTC where that is another.
 * @param {number} ms
 */
export function clocks(ms) {
  const date = new Date(ms);
  const utc = `${date.toISOString().slice(11, 19)} UTC`;
  return date.getTimezoneOffset() === 0 ? utc : `${clock(ms)} (${utc})`;
}

/**
 * The text, or its beginning and an ellipsis where it is longer.
 * @param {string} text
 * @param {number} length
 */
export function cut(text, length) {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/**
 * Bytes as a table of offset, hexadecimal and ASCII, sixteen a line.
 * @param {Uint8Array} bytes
 */
export function dump(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const some = [...bytes.subarray(at, at + 16)];
    const offset = at.toString(16).padStart(6, "0");
    const digits = some.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const ascii = some.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "."));
    lines.push(`${offset}  ${digits.padEnd(47)}  ${ascii.join("")}`);
  }
  return lines.join("\n");
}
