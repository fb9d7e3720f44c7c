// What label mode shows beside the utterance: progress, coverage by intent, and the recordings made so far.

import * as api from "./api.js";
import { bar, byId, counted, el, inSeconds, plain, playButton } from "./dom.js";
import { say, sentence, tell } from "./notice.js";

const FEW = 8;
const SURE_MS = 4000;

/** A level as "−12 dB", with a real minus sign; null (digital silence) as "silent". */
export const inDecibels = (db) => (db === null ? "silent" : `${Math.round(db).toString().replace("-", "−")} dB`);

/** Shows the figures of an answer to /v1/label/next. */
export function showProgress({ num_wanted, num_recorded, num_skipped, seconds_recorded, speaker, coverage }) {
  byId("num-recorded").textContent = String(num_recorded);
  byId("of-wanted").textContent = `of ${num_wanted} recorded${num_skipped ? `, ${num_skipped} skipped` : ""}`;
  const minutes = `${(seconds_recorded / 60).toFixed(1)} minutes`;
  byId("minutes").textContent = seconds_recorded < 60 ? `${Math.round(seconds_recorded)} seconds` : minutes;
  byId("speaker").textContent = speaker ? `Speaker: ${speaker}` : "Name the speaker";
  byId("progress-bar").replaceChildren(bar(num_wanted ? num_recorded / num_wanted : 0));
  byId("coverage").replaceChildren(
    ...coverage.map(({ intent, num_recorded: has, num_wanted: wants }) =>
      el(
        "li",
        { className: has >= wants ? "complete" : "" },
        el("span", { className: "name" }, plain(intent)),
        bar(wants ? has / wants : 1),
        el("span", { className: "share" }, `${has} of ${wants}`),
      ),
    ),
  );
}

/** The recordings that the server has, newest first; each can be played and set aside. */
export class Recordings {
  #audio = new Audio();
  #url = null;
  #all = false;
  #rows = [];

  /** @param {() => Promise<void>} onchange called when one was set aside */
  constructor(onchange) {
    this.onchange = onchange;
    this.#audio.addEventListener("ended", () => this.#mark(null));
  }

  /** Throws ServerError. */
  async refresh() {
    this.#rows = await api.recorded();
    this.#draw();
  }

  pause() {
    this.#audio.pause();
    this.#mark(null);
  }

  #draw() {
    byId("no-recordings").hidden = this.#rows.length > 0;
    const shown = this.#all ? this.#rows : this.#rows.slice(0, FEW);
    const more = el("button", { type: "button", className: "plain" }, `Show all ${this.#rows.length}`);
    more.addEventListener("click", () => {
      this.#all = true;
      this.#draw();
    });
    const rest = shown.length < this.#rows.length ? [el("li", {}, more)] : [];
    byId("recordings").replaceChildren(...shown.map((row) => this.#row(row)), ...rest);
  }

  #row({ id, transcript, intent, seconds, loudest_db }) {
    const play = playButton(transcript);
    play.setAttribute("aria-pressed", "false");
    const remove = el("button", { type: "button", className: "plain", "aria-label": `Set aside: ${transcript}` }, "Set aside");
    play.addEventListener("click", () => this.#tried(() => this.#play(id, play)));
    remove.addEventListener("click", () => this.#remove(id, transcript, remove));
    const facts = `${plain(intent)} · ${inSeconds(seconds)} · ${inDecibels(loudest_db)}`;
    const words = el("p", {}, el("span", { className: "words" }, transcript), el("span", { className: "name" }, facts));
    return el("li", {}, play, words, remove);
  }

  #mark(button) {
    for (const each of byId("recordings").querySelectorAll("[aria-pressed]")) {
      each.setAttribute("aria-pressed", String(each === button));
    }
  }

  async #play(id, button) {
    const wasPlaying = button.getAttribute("aria-pressed") === "true";
    this.pause();
    if (wasPlaying) return;
    const blob = await api.recordingOf(id);
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = URL.createObjectURL(blob);
    this.#audio.src = this.#url;
    this.#mark(button);
    await this.#audio.play();
  }

  /** Asks for confirmation in place, since a recording that is set aside has to be made again. */
  async #remove(id, transcript, button) {
    if (button.dataset.sure !== "true") {
      button.dataset.sure = "true";
      button.textContent = "Really?";
      button.setAttribute("aria-label", `Really set aside: ${transcript}`);
      setTimeout(() => button.isConnected && this.#draw(), SURE_MS);
      return;
    }
    await this.#tried(async () => {
      await api.setAside(id);
      await this.refresh();
      await this.onchange();
      tell(byId("notice"), `Set aside: “${transcript}”`, "You will be asked for it again.");
    });
  }

  async #tried(act) {
    try {
      await act();
    } catch (error) {
      if (error.name === "AbortError") return; // another one was played meanwhile
      if (!(error instanceof api.ServerError)) throw error;
      say(byId("notice"), error);
    }
  }
}

/** Shows what is still in the browser: `waiting` will be sent, each of `refused` can be saved as a file or discarded. */
export function showWaiting(place, waiting, refused, lasting, discard) {
  const where = lasting ? "in this browser" : "in this page only (the browser cannot store it, so leave the page open)";
  const wait = `${counted(waiting.length, "recording is", "recordings are")} waiting ${where} until the server answers.`;
  for (const { href } of place.querySelectorAll("a[download]")) URL.revokeObjectURL(href);
  const lines = waiting.length ? [el("p", { className: "what" }, wait)] : [];
  for (const take of refused) {
    const url = URL.createObjectURL(new Blob([take.bytes], { type: "audio/wav" }));
    const save = el("a", { href: url, download: `${take.id}.wav` }, "Save as a file");
    const drop = el("button", { type: "button", className: "plain" }, "Discard");
    drop.addEventListener("click", () => discard(take));
    lines.push(el("p", {}, `“${take.transcript}” was not accepted. ${sentence(take.what)} `, save, " ", drop));
  }
  place.replaceChildren(...lines);
  place.hidden = lines.length === 0;
}
