// Errors and information, shown where they belong, with what to do about them.

import { el } from "./dom.js";

/** The server's words as a sentence: a capital at the start, a full stop at the end. */
export function sentence(words) {
  const end = words === "" || /[.!?:…”]$/.test(words) ? "" : ".";
  return words.slice(0, 1).toUpperCase() + words.slice(1) + end;
}

/** Hides a notice. */
export function hush(place) {
  place.hidden = true;
  place.replaceChildren();
}

/**
 * Shows a notice in `place`.
 * @param {Element} place
 * @param {{what: string, advice?: string, waitSeconds?: number}} said such as a ServerError
 * @param {{kind?: "wrong"|"plain", again?: () => void, details?: string, buttons?: Node[]}} more `again` adds a
 *   button, disabled for as long as the server asked to wait
 */
export function say(place, { what, advice = "", waitSeconds = 0 }, { kind = "wrong", again, details, buttons = [] } = {}) {
  place.className = `notice ${kind}`;
  place.setAttribute("role", kind === "wrong" ? "alert" : "status");
  const actions = [...(again ? [againButton(again, waitSeconds)] : []), ...buttons];
  place.replaceChildren(
    el("p", { className: "what" }, sentence(what)),
    ...(advice ? [el("p", { className: "advice" }, sentence(advice))] : []),
    ...(details ? [el("pre", {}, details)] : []),
    ...(actions.length ? [el("div", { className: "buttons" }, ...actions)] : []),
  );
  place.hidden = false;
}

/** Shows information in `place`. */
export const tell = (place, what, advice = "") => say(place, { what, advice }, { kind: "plain" });

function againButton(again, waitSeconds) {
  const button = el("button", { type: "button", className: "again" });
  button.addEventListener("click", again);
  let left = Math.ceil(waitSeconds);
  const tick = () => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    left -= 1;
    if (left >= 0) setTimeout(tick, 1000);
  };
  tick();
  return button;
}
