// The two questions that the page may have to ask first: the token, and who speaks.

import { byId } from "./dom.js";

/** Opens a dialog with one field; resolves to what was entered, or to null where it was closed. */
function ask(dialog, value) {
  const field = dialog.querySelector("input");
  field.value = value;
  dialog.returnValue = "";
  dialog.showModal();
  field.select();
  return new Promise((resolve) => {
    const closed = () => resolve(dialog.returnValue === "given" && field.value.trim() ? field.value.trim() : null);
    dialog.addEventListener("close", closed, { once: true });
  });
}

/** The token to send; `refused` says that the one sent before was not accepted. */
export function askForToken(refused) {
  byId("token-refused").hidden = !refused;
  return ask(byId("token-dialog"), "");
}

/** The name of who speaks. */
export const askForSpeaker = (speaker) => ask(byId("speaker-dialog"), speaker);
