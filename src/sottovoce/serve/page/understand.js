// The page of `sottovoce serve`: record, drop or type an utterance and see its frame.

import * as api from "./api.js";
import { decoded, peakOf, wavOf } from "./audio.js";
import { byId, el, counted, inSeconds, plain } from "./dom.js";
import { showFailure, showFrame, showPending, spoken } from "./frame.js";
import { History } from "./history.js";
import { HOW_TO_RECORD } from "./keys.js";
import { hush, say, sentence } from "./notice.js";
import { recordButton } from "./record-button.js";
import { Recorder, whyNoMicrophone } from "./recorder.js";
import { Waveform } from "./waveform.js";

const SILENT_PEAK = 0.001; // -60 dB: a muted microphone
const MEGABYTE = 1_000_000;

/** Builds the page in `main` and runs it. `about` is the server's response to /v1/about. */
export function startUnderstanding(main, about) {
  main.append(byId("understand").content.cloneNode(true));
  const canRecord = whyNoMicrophone() === null;
  const hint = canRecord ? `${HOW_TO_RECORD} and speak` : "Drop a recording here";
  const waveform = new Waveform(byId("strip"), hint);
  const recorder = new Recorder(about.max_seconds, about.max_bytes);
  let onDisplay = null; // the entry that the result shows
  let number = 0;

  const history = new History((entry, play) => {
    display(entry);
    showFrame(entry, about);
    history.mark(entry);
    if (play) waveform.play();
  });

  /** Shows an entry in the result and the waveform. */
  function display(entry) {
    onDisplay = entry;
    if (recorder.state !== "idle") return; // the waveform shows the take that is being made
    if (entry.recording) waveform.show(entry.recording);
    else waveform.clear();
  }

  /** Sends an entry and shows its answer. */
  async function ask(entry) {
    display(entry);
    showPending(entry);
    try {
      entry.answer = await answerTo(entry);
    } catch (error) {
      if (!(error instanceof api.ServerError)) throw error;
      if (onDisplay === entry) showFailure(entry, error, () => ask(entry));
      return;
    }
    entry.at = new Date();
    entry.number = number++;
    entry.transcript = entry.answer.transcript ?? undefined;
    const hasWords = entry.text !== undefined || entry.transcript !== undefined;
    if (!hasWords && about.transcripts) entry.saidNote = "Transcribing …";
    if (onDisplay === entry) {
      showFrame(entry, about);
      byId("said-aloud").textContent = spoken(entry);
    }
    history.add(entry);
    history.mark(onDisplay);
    if (!hasWords && about.transcripts) await writeDown(entry);
  }

  async function answerTo(entry) {
    if (entry.text !== undefined) return api.understandText(entry.text);
    const { blob, name } = entry.recording;
    try {
      return await api.understandAudio(blob, name);
    } catch (error) {
      // The browser can read formats that the server cannot: send the samples that it decoded.
      if (error.status !== 415 || !entry.recording.samples || entry.recording.isWav) throw error;
      const { samples, rate } = entry.recording;
      Object.assign(entry.recording, { blob: wavOf(samples, rate), name: "recording.wav", isWav: true });
      return api.understandAudio(entry.recording.blob, entry.recording.name);
    }
  }

  async function writeDown(entry) {
    try {
      entry.transcript = (await api.transcribe(entry.recording.blob, entry.recording.name)).transcript;
    } catch (error) {
      if (!(error instanceof api.ServerError)) throw error;
      entry.saidNote = `${entry.label}. No transcript. ${sentence(error.what)}`;
    }
    if (onDisplay === entry) showFrame(entry, about);
    history.mark(onDisplay);
  }

  function fail(entry, what, advice) {
    display(entry);
    showPending(entry);
    showFailure(entry, { what, advice });
  }

  recorder.ontake = (take) => {
    const recording = { ...take, name: "recording.wav", isWav: true };
    const entry = { label: `A recording of ${inSeconds(take.seconds)}`, recording };
    if (peakOf(take.samples) < SILENT_PEAK) {
      fail(entry, "Nothing was heard.", "Check that the right microphone is chosen and not muted, then record again.");
    } else ask(entry);
  };
  const record = recordButton(byId("strip"), recorder, waveform, {
    onstart: () => hush(byId("microphone")),
    onfail: (error) => say(byId("microphone"), error, { again: () => record.start() }),
  });
  if (!canRecord) say(byId("microphone"), whyNoMicrophone(), { kind: "plain" });

  async function askFile(file) {
    if (recorder.state !== "idle") return;
    const entry = { label: file.name, recording: { blob: file, name: file.name, samples: null, seconds: null } };
    if (file.size > about.max_bytes) {
      const [size, most] = [file.size, about.max_bytes].map((bytes) => `${(bytes / MEGABYTE).toFixed(1)} MB`);
      fail(entry, `${file.name} is ${size}; the server accepts at most ${most}.`, "Send a shorter recording.");
      return;
    }
    showPending(entry);
    Object.assign(entry.recording, await decoded(file));
    await ask(entry);
  }

  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) askFile(target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
  byId("type").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("text").value.trim();
    if (text) ask({ text, label: text });
    else byId("text").focus();
  });
  takeDrops(byId("ask"), askFile);
  listNames(byId("known"), byId("known-intents"), about.intents, "intent");
  listNames(byId("known-slots"), byId("slot-names"), about.slots, "slot");
}

/** Files may be dropped anywhere; `place` shows where they go. */
function takeDrops(place, take) {
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && place.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("dropping");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

function listNames(details, place, names, one) {
  details.hidden = names.length === 0;
  details.querySelector("summary").textContent = `${counted(names.length, one)} known`;
  place.append(...names.map((name) => el("span", {}, plain(name))));
}
