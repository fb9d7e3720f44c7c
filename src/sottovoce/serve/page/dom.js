// Small helpers around the document. Text always goes in as text, never as markup.

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

/** Lets a bar reach a share (0..1) of its full length; set by script, since the page allows no style attributes. */
export function setShare(bar, share) {
  bar.style.setProperty("--share", Math.min(1, Math.max(0, share)).toFixed(4));
  return bar;
}

/** A bar whose filled part is a share (0..1); it repeats a figure that stands beside it, so it is hidden from readers. */
export function bar(share, className = "") {
  return setShare(el("span", { className: `bar ${className}`.trim(), "aria-hidden": "true" }, el("i")), share);
}

/** The small button that plays the recording of some words. */
export function playButton(words) {
  const icon = byId("icon-play").content.cloneNode(true);
  return el("button", { type: "button", className: "round small", "aria-label": `Play: ${words}` }, icon);
}

/** A share (0..1) as "87 %"; what rounds to nothing or to all and is neither, as "<1 %" and ">99 %". */
export function percent(share) {
  const rounded = Math.round(100 * share);
  if (rounded === 0 && share > 0) return "<1 %";
  return rounded === 100 && share < 1 ? ">99 %" : `${rounded} %`;
}

/** Seconds with one digit, as "2.4 s". */
export const inSeconds = (seconds) => `${seconds.toFixed(1)} s`;

/** Milliseconds as "142 ms", from a second on as "1.2 s". */
export const inMilliseconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : inSeconds(ms / 1000));

/** An intent's or slot's name as a reader sees it: alarm_set is "alarm set". */
export const plain = (name) => name.replaceAll("_", " ").trim();

/** "1 recording", "3 recordings". */
export const counted = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** Is this key press for a dialog, for what is being typed, or for what has the focus (other than `except`)? */
export function isForAnother(event, except = null) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return true;
  if (document.querySelector("dialog[open]")) return true;
  const presses = event.code === "Space" || event.key === "Enter";
  const takers = presses ? "input, textarea, select, button, a, summary, [role=slider]" : "input, textarea, select";
  const taker = event.target.closest?.(takers);
  return Boolean(taker) && taker !== except;
}
