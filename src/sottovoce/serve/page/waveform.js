// A recording as a waveform: bars to play and seek in, which grow while recording.

import { heightOf, peakOf } from "./audio.js";
import { byId, inSeconds } from "./dom.js";

const STEP_PIXELS = 5;
const BAR_PIXELS = 3;
const SEEK_SECONDS = 0.25;

let sounding = null; // only one recording plays at a time

/** The waveform with its play button, put into `host`. */
export class Waveform {
  #audio = new Audio();
  #url = null;
  #samples = null;
  #seconds = 0;
  #live = null;
  #heights = [];
  #frame = 0; // of the pending animation

  /** @param {Element} host @param {string} hint shown when there is no recording */
  constructor(host, hint) {
    host.append(byId("waveform").content.cloneNode(true));
    this.host = host;
    this.button = host.querySelector(".play");
    this.track = host.querySelector(".track");
    this.clock = host.querySelector(".clock");
    this.hint = host.querySelector(".hint");
    this.canvas = host.querySelector("canvas");
    this.idleHint = hint;
    this.button.addEventListener("click", () => this.toggle());
    this.track.addEventListener("pointerdown", (event) => this.#seekTo(event));
    this.track.addEventListener("pointermove", (event) => event.buttons === 1 && this.#seekTo(event));
    this.track.addEventListener("keydown", (event) => this.#seekBy(event));
    for (const name of ["play", "pause", "ended", "seeked"]) this.#audio.addEventListener(name, () => this.#refresh());
    new ResizeObserver(() => this.#measure()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    this.clear();
  }

  get isPlaying() {
    return !this.#audio.paused && !this.#audio.ended;
  }

  /** Shows the hint instead of a recording. */
  clear(hint = this.idleHint) {
    this.#hold(null, null, 0);
    this.hint.textContent = hint;
    this.clock.textContent = "";
  }

  /** Shows a recording that can be played; `samples` is null where the browser cannot read it. */
  show({ blob, samples, seconds }) {
    this.#hold(blob, samples, seconds);
    this.hint.textContent = samples ? "" : "The browser cannot draw this file.";
  }

  /** Starts to show a recording in progress. */
  begin() {
    this.clear("");
    this.#live = [];
    this.grow(0, 0);
  }

  /** Adds the peak (0..1) of the newest piece; `seconds` is the length so far. */
  grow(peak, seconds) {
    this.#live.push(heightOf(peak));
    this.clock.textContent = inSeconds(seconds);
    this.#draw();
  }

  toggle() {
    if (this.isPlaying) this.#audio.pause();
    else this.play();
  }

  /** Plays from where the playhead is, from the start where it is at the end. */
  async play() {
    if (!this.#url) return;
    if (sounding && sounding !== this) sounding.pause();
    sounding = this;
    try {
      await this.#audio.play();
    } catch (error) {
      if (error.name === "AbortError") return; // another recording took its place
      this.hint.textContent = "The browser cannot play this file.";
    }
  }

  pause() {
    this.#audio.pause();
  }

  #hold(blob, samples, seconds) {
    this.#audio.pause();
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = blob ? URL.createObjectURL(blob) : null;
    if (this.#url) this.#audio.src = this.#url;
    else this.#audio.removeAttribute("src");
    this.#samples = samples;
    this.#seconds = seconds ?? 0;
    this.#live = null;
    this.button.disabled = !blob;
    this.track.tabIndex = samples ? 0 : -1;
    this.track.setAttribute("aria-disabled", String(!samples));
    this.#measure();
    this.#refresh();
  }

  #measure() {
    const scale = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.round(clientWidth * scale);
    this.canvas.height = Math.round(clientHeight * scale);
    const numBars = Math.max(1, Math.floor(clientWidth / STEP_PIXELS));
    const each = (this.#samples?.length ?? 0) / numBars;
    this.#heights = Array.from({ length: numBars }, (_, i) =>
      this.#samples ? heightOf(peakOf(this.#samples, Math.floor(i * each), Math.floor((i + 1) * each))) : 0,
    );
    this.#draw();
  }

  #refresh() {
    cancelAnimationFrame(this.#frame); // one at a time: this is called for several events
    const playing = this.isPlaying;
    this.button.setAttribute("aria-label", playing ? "Pause" : "Play the recording");
    this.button.dataset.state = playing ? "playing" : "paused";
    this.#draw();
    if (playing) this.#frame = requestAnimationFrame(() => this.#refresh());
  }

  #draw() {
    const pen = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    const [rest, accent] = ["--wave", "--accent"].map((name) => style.getPropertyValue(name));
    const scale = window.devicePixelRatio || 1;
    const height = this.canvas.height / scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!this.#live && !this.#samples) return;
    const at = this.#seconds > 0 ? this.#audio.currentTime / this.#seconds : 0;
    const heights = this.#live ? this.#live.slice(-this.#heights.length) : this.#heights;
    heights.forEach((share, i) => {
      const long = Math.max(2, share * (height - 4));
      pen.fillStyle = this.#live || (i + 0.5) / heights.length <= at ? accent : rest;
      pen.fillRect(i * STEP_PIXELS, (height - long) / 2, BAR_PIXELS, long);
    });
    if (this.#live) return;
    if (at > 0) {
      pen.fillStyle = accent;
      pen.fillRect(Math.min(at, 1) * (heights.length * STEP_PIXELS - 2), 0, 2, height);
    }
    const now = this.#audio.currentTime;
    const isWithin = now > 0 && now < this.#seconds;
    this.clock.textContent = `${isWithin ? `${now.toFixed(1)} / ` : ""}${inSeconds(this.#seconds)}`;
    this.track.setAttribute("aria-valuemax", this.#seconds.toFixed(1));
    this.track.setAttribute("aria-valuenow", now.toFixed(1));
    this.track.setAttribute("aria-valuetext", `${now.toFixed(1)} of ${this.#seconds.toFixed(1)} seconds`);
  }

  #seekTo(event) {
    if (!this.#samples) return;
    const { left, width } = this.track.getBoundingClientRect();
    this.#audio.currentTime = Math.min(1, Math.max(0, (event.clientX - left) / width)) * this.#seconds;
  }

  #seekBy(event) {
    const direction = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    const step = direction && direction * SEEK_SECONDS;
    const to = { Home: 0, End: this.#seconds }[event.key] ?? (step && this.#audio.currentTime + step);
    if (!this.#samples || to === undefined) return;
    event.preventDefault();
    this.#audio.currentTime = Math.min(this.#seconds, Math.max(0, to));
  }
}
