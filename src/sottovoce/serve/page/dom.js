// Small helpers for the document. Text always goes in as text, never as markup.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} tag
 * @param {object} properties of the element; names with a dash and `role` are set as attributes
 * @param {...(Node|string|null|undefined)} children
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Fills a bar to a share (0..1); by script, since the page's policy forbids style attributes. */
export function setShare(bar, share) {
  bar.style.setProperty("--share", Math.min(1, Math.max(0, share)).toFixed(4));
  return bar;
}

/** A bar filled to a share (0..1); hidden from screen readers, since the figure is next to it. */
export function bar(share, className = "") {
  return setShare(el("span", { className: `bar ${className}`.trim(), "aria-hidden": "true" }, el("i")), share);
}

/** A small button that plays the recording of `words`. */
export function playButton(words) {
  const icon = byId("icon-play").content.cloneNode(true);
  return el("button", { type: "button", className: "round small", "aria-label": `Play: ${words}` }, icon);
}

/** A share (0..1) as "87 %"; as "<1 %" or ">99 %" if rounding would make it 0 or 100. */
export function percent(share) {
  const rounded = Math.round(100 * share);
  if (rounded === 0 && share > 0) return "<1 %";
  return rounded === 100 && share < 1 ? ">99 %" : `${rounded} %`;
}

/** Seconds with one digit, as "2.4 s". */
export const inSeconds = (seconds) => `${seconds.toFixed(1)} s`;

/** Milliseconds as "142 ms", or from a second up as "1.2 s". */
export const inMilliseconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : inSeconds(ms / 1000));

/** An intent's or slot's name as a reader sees it: alarm_set is "alarm set". */
export const plain = (name) => name.replaceAll("_", " ").trim();

/** "1 recording", "3 recordings". */
export const counted = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** Whether a key press belongs to a dialog, a text field or the focused element (other than `except`). */
export function isForAnother(event, except = null) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return true;
  if (document.querySelector("dialog[open]")) return true;
  const presses = event.code === "Space" || event.key === "Enter";
  const takers = presses ? "input, textarea, select, button, a, summary, [role=slider]" : "input, textarea, select";
  const taker = event.target.closest?.(takers);
  return Boolean(taker) && taker !== except;
}
