// The page of `sottovoce label`: read an utterance aloud, listen to it, keep it, go to the next.

import * as api from "./api.js";
import { decoded } from "./audio.js";
import { askForSpeaker } from "./dialogs.js";
import { byId, counted, inSeconds, isForAnother, plain } from "./dom.js";
import { HOW_TO_RECORD } from "./keys.js";
import { inDecibels, Recordings, showProgress, showWaiting } from "./label-lists.js";
import { hush, say, sentence, tell } from "./notice.js";
import { recordButton } from "./record-button.js";
import { Recorder, whyNoMicrophone } from "./recorder.js";
import { newKey, Takes } from "./takes.js";
import { Waveform } from "./waveform.js";

const LOOK_AGAIN_MS = 3000;
const AWAY = "The page retries by itself, and no recording is lost.";

/** Builds the page in `main` and runs it. */
export async function startLabelling(main, about) {
  main.append(byId("label").content.cloneNode(true));
  new Collection(about, await Takes.open(about.collection)).begin();
}

class Collection {
  #utterance = null; // on display
  #take = null; // recorded for it, not kept yet, in the form of Takes
  #speaker = "";
  #isBusy = false;
  #wantsNext = true; // the next utterance has still to be fetched
  #isAway = false; // the server did not answer when last asked
  #timer = 0;

  constructor(about, takes) {
    this.takes = takes;
    this.notice = byId("notice");
    this.waveform = new Waveform(byId("strip"), `${HOW_TO_RECORD} and read it aloud`);
    this.recorder = new Recorder(about.max_seconds, about.max_bytes);
    this.recordings = new Recordings(() => this.#refreshProgress());
    this.recorder.ontake = (take) => this.#hold(take);
    this.record = recordButton(byId("strip"), this.recorder, this.waveform, {
      onstart: () => {
        this.recordings.pause();
        hush(this.notice);
        this.#enable();
      },
      onfail: (error) => {
        say(this.notice, error);
        this.#enable();
      },
    });
    byId("keep").addEventListener("click", () => this.#once(() => this.#keep()));
    byId("again").addEventListener("click", () => this.record.start());
    byId("skip").addEventListener("click", () => this.#once(() => this.#skip()));
    byId("speaker").addEventListener("click", () => this.#once(() => this.#nameSpeaker()));
    document.addEventListener("keydown", (event) => this.#press(event));
    window.addEventListener("online", () => this.#catchUp());
  }

  async begin() {
    this.#enable();
    if (whyNoMicrophone()) say(this.notice, whyNoMicrophone());
    await this.#catchUp();
    if (!this.#speaker && !this.#wantsNext) await this.#once(() => this.#nameSpeaker());
  }

  /** Fetches the next utterance if needed, then sends waiting takes; retries later while the server is away. */
  async #catchUp() {
    clearTimeout(this.#timer);
    if (this.#isBusy) {
      this.#timer = setTimeout(() => this.#catchUp(), LOOK_AGAIN_MS); // a take that is being kept is not sent twice
      return;
    }
    try {
      if (this.#wantsNext) await this.#next();
      if (this.#isAway) hush(this.notice);
      this.#isAway = false;
      const { numSent, problem } = await this.#sendWaiting();
      if (problem) this.#lookAgain(problem);
      if (numSent) {
        await this.recordings.refresh();
        await this.#refreshProgress();
        tell(this.notice, `${counted(numSent, "waiting recording was", "waiting recordings were")} sent.`);
      }
    } catch (error) {
      this.#away(error);
    }
  }

  /** Shows that the next utterance has to wait, and schedules a retry. */
  #away(error) {
    if (!(error instanceof api.ServerError)) throw error;
    if (this.#wantsNext) this.#display(null, "Waiting for the server …");
    this.#isAway = true;
    if (error.mayPass && this.notice.hidden) tell(this.notice, error.what, AWAY);
    this.#lookAgain(error);
  }

  /** Retries by itself if that can help; without a token it would only reopen the dialog again and again. */
  #lookAgain(error) {
    clearTimeout(this.#timer);
    if (error.mayPass && error.status !== 401) {
      this.#timer = setTimeout(() => this.#catchUp(), Math.max(LOOK_AGAIN_MS, 1000 * error.waitSeconds));
    } else say(this.notice, error, { again: () => this.#catchUp() });
  }

  /**
   * Sends the waiting takes one after the other, in one tab at a time.
   * @returns {Promise<{numSent: number, problem: ?api.ServerError}>} `problem` is why some of them still wait
   */
  async #sendWaiting() {
    const send = async () => {
      let [numSent, problem] = [0, null];
      for (const take of await this.takes.all("waiting")) {
        try {
          await api.keepRecording(take.id, blobOf(take));
          await this.takes.delete(take.key);
          numSent += 1;
        } catch (error) {
          if (!(error instanceof api.ServerError)) throw error;
          if (!error.mayPass) await this.takes.put({ ...take, state: "refused", what: error.what });
          else problem = error;
          if (error.status === 0 || error.status === 401) break; // the others would fail as well
        }
      }
      return { numSent, problem };
    };
    try {
      return await (navigator.locks ? navigator.locks.request("sottovoce-send", send) : send());
    } finally {
      await this.#showWaiting();
    }
  }

  async #showWaiting() {
    const [waiting, refused] = [await this.takes.all("waiting"), await this.takes.all("refused")];
    showWaiting(byId("waiting"), waiting, refused, this.takes.lasting, async (take) => {
      await this.takes.delete(take.key);
      await this.#showWaiting();
    });
  }

  /** Fetches and shows the next utterance that has no waiting take. */
  async #next(after = null) {
    this.#wantsNext = true;
    const waiting = new Set((await this.takes.all("waiting")).map((take) => take.id));
    const seen = new Set();
    let next = await api.nextUtterance(after);
    while (next.utterance && waiting.has(next.utterance.id) && !seen.has(next.utterance.id)) {
      seen.add(next.utterance.id);
      next = await api.nextUtterance(next.utterance.id);
    }
    this.#wantsNext = false;
    this.#show(next.utterance && waiting.has(next.utterance.id) ? { ...next, utterance: null } : next);
    await this.recordings.refresh();
    await this.#restoreDraft();
  }

  async #refreshProgress() {
    if (this.#utterance) showProgress(await api.nextUtterance());
    else await this.#next();
  }

  #show(next) {
    showProgress(next);
    this.#speaker = next.speaker;
    if (!next.utterance) {
      const isDone = next.num_recorded >= next.num_wanted;
      this.#display(null, isDone ? "Everything is recorded. Thank you." : "Nothing more to read for now.");
      return;
    }
    this.#display(next.utterance, next.utterance.transcript, plain(next.utterance.intent), next.utterance.reason);
    if (!document.querySelector("dialog[open]")) byId("utterance").focus({ preventScroll: true });
  }

  #display(utterance, words, intent = "", reason = "") {
    this.#utterance = utterance;
    this.#take = null;
    this.waveform.clear(utterance ? undefined : "");
    byId("reading").dataset.state = utterance ? "reading" : "nothing";
    byId("intent").textContent = intent;
    byId("reason").textContent = reason;
    byId("utterance").textContent = words;
    this.#stress("keep");
    this.#enable();
  }

  /** Restores a take that was made before the page was closed. */
  async #restoreDraft() {
    const draft = (await this.takes.all("draft")).find((take) => take.id === this.#utterance?.id);
    if (!draft || this.recorder.state !== "idle") return;
    this.#take = draft;
    this.waveform.show({ blob: blobOf(draft), seconds: draft.seconds, ...(await decoded(blobOf(draft))) });
    tell(this.notice, "This was recorded before the page was closed.", "Listen to it, then keep it or record again.");
    this.#enable();
  }

  /** Holds a new take for the utterance on display. */
  async #hold(take) {
    const { id, transcript } = this.#utterance;
    const before = this.#take;
    this.waveform.show(take);
    const bytes = await take.blob.arrayBuffer();
    const draft = { key: newKey(id), id, transcript, bytes, seconds: take.seconds, state: "draft" };
    await this.takes.put(draft);
    this.#stress("keep");
    if (before) await this.takes.delete(before.key);
    this.#take = draft;
    this.#enable();
    byId("said-aloud").textContent = `Recorded ${inSeconds(take.seconds)}. Enter keeps it, R records again.`;
  }

  async #keep() {
    if (!this.#take || this.recorder.state !== "idle") return;
    this.waveform.pause();
    const take = { ...this.#take, state: "waiting" };
    await this.takes.put(take); // first to the disk, then to the server
    try {
      const kept = await api.keepRecording(take.id, blobOf(take));
      await this.takes.delete(take.key);
      const what = `Kept: ${inSeconds(kept.seconds)}, ${inDecibels(kept.loudest_db)} at its loudest.`;
      tell(this.notice, what, kept.notes.map(sentence).join(" "));
    } catch (error) {
      if (!(error instanceof api.ServerError)) throw error;
      if (!error.mayPass) {
        await this.takes.put(this.#take); // a draft again: it can be listened to
        this.#stress("again");
        say(this.notice, { what: `Not kept. ${sentence(error.what)}`, advice: error.advice });
        return;
      }
      const where = this.takes.lasting ? "The recording is stored in this browser" : "The recording is stored in this page";
      tell(this.notice, error.what, `${where} and will be sent when the server answers again.`);
      await this.#showWaiting();
      if (error.status === 401) {
        this.#wantsNext = true;
        throw error; // to be reported, since asking for the next one would open the dialog again
      }
      this.#lookAgain(error);
    }
    await this.#next();
  }

  async #skip() {
    if (!this.#utterance || this.recorder.state !== "idle") return;
    const { id, transcript } = this.#utterance;
    await api.skipUtterance(id);
    if (this.#take) await this.takes.delete(this.#take.key);
    tell(this.notice, `Skipped: “${transcript}”`);
    await this.#next();
  }

  async #nameSpeaker() {
    const speaker = await askForSpeaker(this.#speaker);
    if (speaker === null) return;
    await api.nameSpeaker(speaker);
    this.#speaker = speaker;
    await this.#refreshProgress();
  }

  #press(event) {
    if (isForAnother(event, this.record.button) || event.repeat) return;
    const act = { enter: "keep", r: "again", s: "skip", p: "play" }[event.key.toLowerCase()];
    if (!act || (act === "keep" && !this.#take)) return;
    event.preventDefault(); // Enter would press the record button as well
    if (act === "play") this.waveform.toggle();
    else byId(act).click();
  }

  /** Runs one action at a time, and shows its error. */
  async #once(act) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.#enable();
    try {
      await act();
    } catch (error) {
      if (this.#wantsNext) this.#away(error);
      else if (error instanceof api.ServerError) say(this.notice, error);
      else throw error;
    } finally {
      this.#isBusy = false;
      this.#enable();
    }
  }

  /** Highlights the likely next step. */
  #stress(button) {
    for (const each of ["keep", "again"]) byId(each).classList.toggle("primary", each === button);
  }

  /** Enables only what can be done now. */
  #enable() {
    const isIdle = this.recorder.state === "idle" && !this.#isBusy;
    const hasUtterance = this.#utterance !== null;
    this.record.button.disabled = !hasUtterance || this.#isBusy || whyNoMicrophone() !== null;
    byId("keep").disabled = byId("again").disabled = !isIdle || !this.#take;
    byId("skip").disabled = !isIdle || !hasUtterance;
  }
}

const blobOf = (take) => new Blob([take.bytes], { type: "audio/wav" });
