// The requests of this session, newest first; kept in memory only.

import { byId, el, plain, playButton } from "./dom.js";
import { hasNoFrame } from "./frame.js";

const MOST = 50; // recordings are held in memory
const CLOCK = { hour: "2-digit", minute: "2-digit" };

/** The list; `show(entry, play)` is called when one is chosen. */
export class History {
  #entries = [];
  #shown = null;

  constructor(show) {
    this.show = show;
  }

  add(entry) {
    this.#entries = [entry, ...this.#entries.filter((each) => each !== entry)].slice(0, MOST);
    this.mark(entry);
  }

  /** Marks the entry on display, and redraws the list. */
  mark(entry) {
    this.#shown = entry;
    byId("no-history").hidden = this.#entries.length > 0;
    const list = byId("history");
    const hadFocus = list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    list.replaceChildren(...this.#entries.map((each) => this.#row(each)));
    if (hadFocus) list.querySelector(`[data-key="${hadFocus}"]`)?.focus();
  }

  #row(entry) {
    const { answer } = entry;
    const words = (entry.text ?? entry.transcript) || entry.label;
    const intent = hasNoFrame(answer) ? "no frame" : plain(answer.intent);
    const choose = el(
      "button",
      { type: "button", className: "plain entry", "aria-current": String(entry === this.#shown) },
      el("span", { className: "words" }, words),
      el("span", { className: "name" }, answer.status === "abstained" ? `${intent}, not sure` : intent),
      el("time", { dateTime: entry.at.toISOString() }, entry.at.toLocaleTimeString([], CLOCK)),
    );
    choose.dataset.key = `show-${entry.number}`;
    choose.addEventListener("click", () => this.show(entry, false));
    if (!entry.recording) return el("li", {}, choose);
    const play = playButton(words);
    play.dataset.key = `play-${entry.number}`;
    play.addEventListener("click", () => this.show(entry, true));
    return el("li", {}, choose, play);
  }
}
