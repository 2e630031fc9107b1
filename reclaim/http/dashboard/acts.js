/** Owns what all acts of a person have in common: a button at rest meanwhile, and a line that says what came of it. */

import { refusal } from "./api.js";
import { $, announce, button, dialog, say } from "./dom.js";
import { clock } from "./format.js";
import { store } from "./store.js";

/**
 * Say what came of an act, at the lower edge of what is in sight.
 * @param {string} text
 * @param {string | null} name the target to which it was done
 */
export function told(text, name = store.name) {
  const whose = name ? `${name}: ` : "";
  say("said-text", `${clock(Date.now())}, ${whose}${text}`);
  $("said").hidden = false;
  announce(`${whose}${text}`);
  document.dispatchEvent(new Event("told"));
}

/**
 * Do something that takes a while, with its button at rest. If the app refuses it, that is said where it was asked.
 * @param {string} id the button's ID
 * @param {string | null} where the ID of the dialog's line for errors
 * @param {() => Promise<void>} work
 */
export async function act(id, where, work) {
  const pressed = button(id);
  pressed.disabled = true;
  if (where) say(where, "");
  try {
    await work();
  } catch (error) {
    const { status, message } = refusal(error);
    if (status === 401) store.forget(message);
    else if (where && $(where).closest("dialog")?.open) say(where, message);
    else told(`That did not work: ${message}`);
  } finally {
    pressed.disabled = false;
    if (document.activeElement === document.body) focus(pressed);
  }
}

/**
 * Put the focus back to where it was, or to the content.
 * @param {HTMLButtonElement} pressed
 */
function focus(pressed) {
  const place = pressed.checkVisibility() ? pressed : $("main");
  place.focus({ preventScroll: true });
}

/**
 * The target that is looked at, to which a person does something.
 * @returns {TargetStatus}
 */
export function target() {
  if (!store.target) throw new Error("no target is looked at");
  return store.target;
}

/**
 * Set the word on a dialog's button that leaves it.
 * @param {string} id the dialog's ID
 * @param {string} word
 */
export function cancels(id, word) {
  for (const cancel of dialog(id).querySelectorAll(".cancel")) say(cancel, word);
}

/**
 * Do this when a form is submitted, in the place of sending it anywhere.
 * @param {string} id the form's ID
 * @param {() => void} work
 */
export function onSubmit(id, work) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    work();
  });
}

/**
 * Do this when a button is pressed.
 * @param {string} id
 * @param {() => void} work
 */
export function onPress(id, work) {
  button(id).addEventListener("click", work);
}

for (const cancel of document.querySelectorAll("dialog .cancel"))
  cancel.addEventListener("click", () => cancel.closest("dialog")?.close());

onPress("said-done", () => {
  $("said").hidden = true;
  $("main").focus({ preventScroll: true });
});
