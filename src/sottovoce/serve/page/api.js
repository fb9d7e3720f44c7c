// Requests to the server that served this page, and their errors.

const TOKEN_KEY = "sottovoce-token";
const PATIENCE_MS = 120_000;
const FITS_A_HEADER = /^[\x21-\x7e]+$/; // tokens have no other characters

/**
 * A failed request. `what` and `advice` are the server's own words if it gave any. `status` is 0 if there was no
 * response; `waitSeconds` is how long the server asked to wait, or 0.
 */
export class ServerError extends Error {
  constructor(status, code, what, advice, waitSeconds = 0) {
    super(what);
    Object.assign(this, { status, code, what, advice, waitSeconds });
  }

  /** Whether the same request may succeed later; after a 401, with a token. */
  get mayPass() {
    return [0, 401, 408, 429].includes(this.status) || this.status >= 500;
  }
}

let askForToken = async () => null;
let asking = null;

/** Sets the function that asks for a token: it takes whether one was refused, and resolves to the token or null. */
export function onTokenWanted(ask) {
  askForToken = ask;
}

/** Asks once, however many requests were refused. */
function newToken(refused) {
  asking ??= askUntilItFits(refused !== null).finally(() => (asking = null));
  return asking;
}

/** Refuses a token that no header can hold, since the browser would not send it. */
async function askUntilItFits(wasRefused) {
  const given = await askForToken(wasRefused);
  return given === null || FITS_A_HEADER.test(given) ? given : askUntilItFits(true);
}

async function errorOf(response) {
  const waitSeconds = Number(response.headers.get("Retry-After")) || 0;
  let error = {};
  try {
    error = (await response.json()).error ?? {};
  } catch {
    // not from this server (perhaps a proxy's page): only the status is known
  }
  const what = error.what ?? `The server answered with status ${response.status}.`;
  return new ServerError(response.status, error.code ?? "unknown", what, error.advice ?? "", waitSeconds);
}

/**
 * Sends a request, with the token if there is one; a 401 asks for a token and tries again.
 * @returns {Promise<Response>} an answer of status 2xx
 * @throws {ServerError}
 */
async function send(path, options = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const headers = { ...options.headers, ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
    let response;
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      response = await fetch(new URL(path, document.baseURI), { ...options, headers, signal, cache: "no-store" });
    } catch (error) {
      if (error.name === "TimeoutError") {
        throw new ServerError(0, "away", "The server took too long to answer.", "Try again.");
      }
      throw new ServerError(0, "away", "The server does not answer.", "Check that it is still running, then try again.");
    }
    if (response.ok) return response;
    if (response.status !== 401) throw await errorOf(response);
    if (sessionStorage.getItem(TOKEN_KEY) !== token) continue; // another request got a new one meanwhile
    const given = await newToken(token);
    if (given === null) throw await errorOf(response);
    sessionStorage.setItem(TOKEN_KEY, given);
  }
}

const json = async (path, options) => (await send(path, options)).json();

const asJson = (method, body) => ({
  method,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

function asForm(audio, name) {
  const body = new FormData();
  body.append("audio", audio, name);
  return { method: "POST", body };
}

const recordingPath = (id) => `v1/label/recording/${encodeURIComponent(id)}`;

export const about = () => json("v1/about");
export const understandText = (text) => json("v1/understand", asJson("POST", { text }));
export const understandAudio = (audio, name) => json("v1/understand", asForm(audio, name));
export const transcribe = (audio, name) => json("v1/transcribe", asForm(audio, name));

/** The utterance to read next; with `after`, the one after that id. */
export const nextUtterance = (after = null) =>
  json(after === null ? "v1/label/next" : `v1/label/next?after=${encodeURIComponent(after)}`);
export const keepRecording = (id, audio) => json(recordingPath(id), asForm(audio, "recording.wav"));
export const skipUtterance = (id) => send(`v1/label/skip/${encodeURIComponent(id)}`, { method: "POST" });
export const setAside = (id) => send(recordingPath(id), { method: "DELETE" });
export const recorded = async () => (await json("v1/label/recorded")).recordings;
export const recordingOf = async (id) => (await send(recordingPath(id))).blob();
export const nameSpeaker = (speaker) => send("v1/label/speaker", asJson("PUT", { speaker }));
