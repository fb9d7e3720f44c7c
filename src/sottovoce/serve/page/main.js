// Asks the server what it is and builds the page for it.

import * as api from "./api.js";
import { askForToken } from "./dialogs.js";
import { byId } from "./dom.js";
import { startLabelling } from "./label.js";
import { hush, say, tell } from "./notice.js";
import { startUnderstanding } from "./understand.js";

const AGAIN_SECONDS = 3;

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** What the server is; waits while it is starting or away. */
async function about() {
  for (;;) {
    try {
      return await api.about();
    } catch (error) {
      if (!(error instanceof api.ServerError)) throw error;
      if (error.status === 401 || !error.mayPass) {
        await new Promise((again) => say(byId("opening"), error, { again }));
      } else {
        const waitSeconds = error.waitSeconds || AGAIN_SECONDS;
        tell(byId("opening"), error.what, "The page retries by itself.");
        await wait(waitSeconds);
      }
    }
  }
}

api.onTokenWanted(askForToken);
const server = await about();
hush(byId("opening"));
document.title = `${server.title} · Sottovoce`;
byId("title").textContent = server.title;
const isLabelling = server.mode === "label";
const facts = [`Sottovoce ${server.version}`, isLabelling ? "recording" : server.model];
byId("eyebrow").textContent = facts.filter(Boolean).join(" · ");
document.body.dataset.mode = server.mode;
if (isLabelling) startLabelling(byId("main"), server);
else startUnderstanding(byId("main"), server);
