// The record button: its picture, its name and the ring that shows how loud it is.

import { byId } from "./dom.js";
import { heightOf } from "./audio.js";
import { spaceRecords } from "./keys.js";
import { MicrophoneError, whyNoMicrophone } from "./recorder.js";

const NAMES = { idle: "Record", starting: "Waiting for the microphone", recording: "Stop recording", stopping: "Stopping" };

/**
 * Puts a record button for `recorder` into `host` and connects it to the space bar and the waveform.
 * @param {Element} host
 * @param {import("./recorder.js").Recorder} recorder
 * @param {import("./waveform.js").Waveform} waveform shows the take while it grows
 * @param {{onstart: () => void, onfail: (error: MicrophoneError) => void}} on
 * @returns {{button: HTMLButtonElement, start: () => Promise<void>}}
 */
export function recordButton(host, recorder, waveform, { onstart, onfail }) {
  host.prepend(byId("record-button").content.cloneNode(true));
  const button = host.querySelector(".record");
  const level = button.querySelector(".level");
  const refresh = () => {
    button.dataset.state = recorder.state;
    button.setAttribute("aria-label", NAMES[recorder.state]);
    if (recorder.state === "recording") waveform.begin();
    else level.style.setProperty("--level", "0");
  };
  const start = async () => {
    waveform.pause();
    try {
      await recorder.start();
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      onfail(error);
    }
  };
  recorder.onstate = () => {
    refresh();
    if (recorder.state === "recording") onstart();
  };
  recorder.onlevel = (peak, seconds) => {
    level.style.setProperty("--level", heightOf(peak).toFixed(3));
    level.classList.toggle("too-loud", peak >= 0.999);
    waveform.grow(peak, seconds);
  };
  button.addEventListener("click", () => (recorder.state === "idle" ? start() : recorder.stop()));
  button.disabled = whyNoMicrophone() !== null;
  spaceRecords(recorder, button, start);
  return { button, start };
}
