// The microphone: requested when first needed, released when it is not used for a while.

import { joined, peakOf, wavBytes, wavOf } from "./audio.js";

const LET_GO_MS = 60_000;
const FORM_BYTES = 2048; // what a form adds to the file in it
const LAST_PIECE_MS = 1000;
const MARGIN_SECONDS = 0.05;

/** The microphone cannot be used; `what` and `advice` say why and what to do. */
export class MicrophoneError extends Error {
  constructor(what, advice) {
    super(what);
    Object.assign(this, { what, advice });
  }
}

/** Why this page cannot record at all, or null. */
export function whyNoMicrophone() {
  if (window.isSecureContext && navigator.mediaDevices && window.AudioWorkletNode) return null;
  if (!window.isSecureContext) {
    const port = location.port || "80";
    return new MicrophoneError(
      "Browsers allow the microphone only over https or on localhost.",
      `Forward the port with ssh -L ${port}:localhost:${port} ${location.hostname} ` +
        `and open http://localhost:${port}/, ` +
        "or put the server behind https. Files and text work without it.",
    );
  }
  return new MicrophoneError("This browser cannot record.", "Use a newer one. Files and text work without it.");
}

function explained(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new MicrophoneError(
        "The microphone was not allowed.",
        "Allow it for this page (the icon next to the address), then record again.",
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return new MicrophoneError("No microphone was found.", "Connect one, then record again.");
    case "NotReadableError":
    case "AbortError":
      return new MicrophoneError(
        "The microphone could not be opened.",
        "Another program may be using it: close that, then record again.",
      );
    default:
      return new MicrophoneError("The microphone could not be opened.", `The browser says: ${error.message}`);
  }
}

/**
 * Records takes: mono 16-bit WAV files at the rate of the browser's audio.
 *
 * `state` is idle, starting, recording or stopping. `onstate()` is called when it changes, `onlevel(peak, seconds)`
 * about twenty times a second with the peak (0..1) of the last piece, and `ontake({blob, samples, rate, seconds})` when a
 * take is finished, by `stop` or at the server's limit.
 */
export class Recorder {
  #context = null;
  #stream = null;
  #source = null;
  #node = null;
  #pieces = [];
  #numSamples = 0;
  #limit = 0;
  #letGo = 0;
  #wanted = true;

  state = "idle";
  onstate = () => {};
  onlevel = () => {};
  ontake = () => {};

  constructor(maxSeconds, maxBytes) {
    this.maxSeconds = maxSeconds;
    this.maxBytes = maxBytes;
  }

  #become(state) {
    this.state = state;
    this.onstate();
  }

  async #open() {
    const why = whyNoMicrophone();
    if (why) throw why;
    if (!this.#context) {
      const context = new AudioContext();
      try {
        await context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
      } catch (error) {
        context.close();
        throw new MicrophoneError("The page could not load its recorder.", `Is the server running? (${error.message})`);
      }
      this.#context = context;
    }
    if (this.#stream?.getAudioTracks()[0].readyState !== "live") {
      // Echo and noise filters change speech, and nothing plays while it is recorded.
      const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio });
      this.#stream.getAudioTracks()[0].addEventListener("ended", () => this.stop());
    }
    await this.#context.resume();
  }

  /** Starts a take, unless one is being made. Throws MicrophoneError. */
  async start() {
    if (this.state !== "idle") return;
    clearTimeout(this.#letGo);
    this.#wanted = true;
    this.#become("starting");
    try {
      await this.#open();
    } catch (error) {
      this.#rest();
      throw error instanceof MicrophoneError ? error : explained(error);
    }
    if (!this.#wanted) {
      this.#rest();
      return;
    }
    const { sampleRate } = this.#context;
    const seconds = Math.max(MARGIN_SECONDS, this.maxSeconds - MARGIN_SECONDS);
    this.#limit = Math.floor(Math.min(seconds * sampleRate, (this.maxBytes - FORM_BYTES - wavBytes(0)) / 2));
    this.#pieces = [];
    this.#numSamples = 0;
    this.#source = this.#context.createMediaStreamSource(this.#stream);
    this.#node = new AudioWorkletNode(this.#context, "capture", { channelCount: 1, channelCountMode: "explicit" });
    this.#node.port.onmessage = ({ data }) => (data === null ? this.#finish() : this.#take(data));
    this.#source.connect(this.#node).connect(this.#context.destination); // the node's output is silence
    this.#become("recording");
  }

  #take(piece) {
    this.#pieces.push(piece);
    this.#numSamples += piece.length;
    this.onlevel(peakOf(piece), this.#numSamples / this.#context.sampleRate);
    if (this.#numSamples >= this.#limit) this.stop();
  }

  /** Ends the take; `ontake` is called when its last samples have arrived. */
  stop() {
    if (this.state === "starting") this.#wanted = false;
    if (this.state !== "recording") return;
    this.#become("stopping");
    this.#node.port.postMessage(null);
    const node = this.#node;
    setTimeout(() => node === this.#node && this.#finish(), LAST_PIECE_MS); // a stopped audio thread sends nothing
  }

  #finish() {
    if (this.state !== "stopping") return;
    this.#source.disconnect();
    this.#node.disconnect();
    this.#node = null;
    const rate = this.#context.sampleRate;
    const samples = joined(this.#pieces, this.#limit);
    this.#pieces = [];
    this.#rest();
    this.ontake({ blob: wavOf(samples, rate), samples, rate, seconds: samples.length / rate });
  }

  /** After a take, or a failed start: releases the microphone unless it is needed soon. */
  #rest() {
    this.#letGo = setTimeout(() => this.#release(), LET_GO_MS);
    this.#become("idle");
  }

  #release() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#context?.suspend();
  }
}
