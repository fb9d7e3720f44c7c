// The page's two dialogs: the token, and who is speaking.

import { byId } from "./dom.js";

/** Opens a dialog with one field; resolves to the input, or to null if it was closed. */
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

/** Asks for the token; `refused` says that the last one was not accepted. */
export function askForToken(refused) {
  byId("token-refused").hidden = !refused;
  return ask(byId("token-dialog"), "");
}

/** Asks for the speaker's name. */
export const askForSpeaker = (speaker) => ask(byId("speaker-dialog"), speaker);
