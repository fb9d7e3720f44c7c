// The space bar as the record button: a short press toggles, holding it records until it is released.

import { isForAnother } from "./dom.js";

const HELD_MS = 400;

/** What to press, also right on phones. */
export const HOW_TO_RECORD = matchMedia("(hover: none)").matches ? "Press the button" : "Press the button or the space bar";

/**
 * @param {import("./recorder.js").Recorder} recorder
 * @param {HTMLButtonElement} button the record button; space means the same there
 * @param {() => void} start called in place of recorder.start
 */
export function spaceRecords(recorder, button, start) {
  let pressedAt = null;
  document.addEventListener("keydown", (event) => {
    if (event.code !== "Space" || button.disabled || isForAnother(event, button)) return;
    event.preventDefault();
    if (event.repeat) return;
    if (recorder.state === "recording") recorder.stop();
    else {
      pressedAt = performance.now();
      start();
    }
  });
  document.addEventListener("keyup", (event) => {
    if (event.code !== "Space") return;
    if (event.target === button) event.preventDefault(); // which would press the button as well
    const held = pressedAt !== null && performance.now() - pressedAt > HELD_MS;
    pressedAt = null;
    if (held) recorder.stop(); // also while the microphone is being opened
  });
}
