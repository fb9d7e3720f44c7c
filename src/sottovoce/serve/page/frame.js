// Shows a frame: the utterance with its fillers marked, the intent, the entities, the confidence and the latency.

import { bar, byId, counted, el, inMilliseconds, inSeconds, percent, plain, setShare } from "./dom.js";
import { cutAtFillers } from "./fillers.js";
import { hush, say } from "./notice.js";

const NUM_OTHERS = 3;

/** Whether an answer has no frame: it could not be read, or there is no intent. */
export const hasNoFrame = ({ status }) => ["unreadable", "no_speech", "out_of_scope"].includes(status);

/** The utterance with its fillers marked, each under the name of its slot. */
export function marked(words, entities) {
  const { parts, missing } = cutAtFillers(words, entities);
  const nodes = parts.map(({ text, type }) =>
    type === null ? text : el("span", { className: "filler" }, el("small", {}, plain(type)), el("mark", {}, text)),
  );
  return { nodes, missing };
}

/** The line above the frame: the typed text, the transcript, or what is known so far. */
function showSaid(entry) {
  const said = byId("said");
  const words = entry.text ?? entry.transcript;
  said.classList.toggle("words", words !== undefined);
  if (words === undefined) said.replaceChildren(entry.saidNote ?? entry.label);
  else if (words === "") said.replaceChildren("No words were heard.");
  else said.replaceChildren(...marked(words, entry.answer?.entities ?? []).nodes);
}

function showEntities(entry) {
  const words = entry.text ?? entry.transcript;
  const missing = words ? cutAtFillers(words, entry.answer.entities).missing : [];
  const chips = entry.answer.entities.map((entity) => {
    const unsaid = missing.includes(entity);
    const where = entry.text === undefined ? "not in the transcript" : "not in the text";
    return el(
      "li",
      { className: unsaid ? "chip missing" : "chip" },
      el("span", { className: "name" }, plain(entity.type)),
      el("span", {}, entity.filler),
      unsaid ? el("span", { className: "unsaid" }, where) : null,
    );
  });
  const none = el("li", { className: "soft" }, "No entities");
  byId("entities").replaceChildren(...(chips.length || hasNoFrame(entry.answer) ? chips : [none]));
}

function showLikely({ confidence, intent, intents }, abstainBelow) {
  const row = (name, share, className) =>
    el(
      "li",
      { className },
      el("span", { className: "name" }, name),
      bar(share),
      el("span", { className: "share" }, percent(share)),
    );
  const rows = [];
  if (confidence !== null) {
    const first = row("Confidence", confidence, "first");
    if (abstainBelow > 0) {
      first.querySelector(".name").append(el("small", {}, `${percent(abstainBelow)} needed`));
      first.querySelector(".bar").append(setShare(el("b", {}), abstainBelow));
    }
    rows.push(first);
  }
  const others = intents.filter((each) => each.intent !== intent).slice(0, NUM_OTHERS);
  byId("likely").replaceChildren(...rows, ...others.map((each) => row(plain(each.intent), each.probability, "")));
}

function latencyOf({ milliseconds, batch_size: size }) {
  const { total, computed, queued } = milliseconds;
  const waited = queued >= 1 ? `, ${inMilliseconds(queued)} waiting` : "";
  const together = size > 1 ? `, in a batch with ${counted(size - 1, "other")}` : "";
  return `${inMilliseconds(total)}, of which ${inMilliseconds(computed)} computing${waited}${together}`;
}

function noticesOf(answer, about) {
  const notices = [];
  if (answer.status === "abstained") {
    const than = about.abstain_below > 0 ? `, below the required ${percent(about.abstain_below)}` : "";
    const sure = answer.confidence === null ? "" : `: ${percent(answer.confidence)}${than}`;
    notices.push(`Not confident enough to answer${sure}. The best guess is above.`);
  }
  if (answer.status === "no_speech") notices.push("No words were heard in this recording, so there is nothing to understand.");
  if (answer.status === "out_of_scope") notices.push("The model answers that this is out of its scope.");
  if (answer.status === "unknown_label") notices.push("The answer names an intent or a slot that training did not have.");
  if (answer.status === "unreadable") notices.push("The model's answer could not be read as a frame. It was:");
  if (answer.cut) {
    const of = answer.seconds === null ? "" : ` of ${inSeconds(answer.seconds)}`;
    notices.push(`The model only hears the first ${inSeconds(about.window_seconds)}${of}.`);
  }
  return notices.join(" ");
}

/** One line for screen readers: what the frame says. */
export function spoken({ answer }) {
  if (answer.status === "no_speech") return "No words were heard.";
  if (answer.status === "out_of_scope") return "This is out of the model's scope.";
  if (answer.status === "unreadable") return "The model's answer could not be read as a frame.";
  const entities = answer.entities.map(({ type, filler }) => `${plain(type)}: ${filler}`);
  const sure = answer.confidence === null ? [] : [`confidence ${percent(answer.confidence)}`];
  const doubt = answer.status === "abstained" ? "Not sure, best guess " : "";
  return `${doubt}${[plain(answer.intent), ...entities, ...sure].join(", ")}`;
}

/** Shows that an entry is being understood. */
export function showPending(entry) {
  const result = byId("result");
  result.dataset.state = "pending";
  result.setAttribute("aria-busy", "true");
  showSaid(entry);
  byId("intent").replaceChildren(el("span", { className: "scenario" }, "Understanding …"));
  for (const id of ["entities", "likely", "latency"]) byId(id).replaceChildren();
  hush(byId("notice"));
}

/** Shows an entry with its `answer`, and again when its transcript arrives. */
export function showFrame(entry, about) {
  const { answer } = entry;
  const result = byId("result");
  result.dataset.state = answer.status;
  result.setAttribute("aria-busy", "false");
  showSaid(entry);
  const intent = byId("intent");
  if (hasNoFrame(answer)) intent.replaceChildren("No frame");
  else intent.replaceChildren(el("span", { className: "scenario" }, plain(answer.scenario)), " ", plain(answer.action));
  showEntities(entry);
  const notices = noticesOf(answer, about);
  const details = answer.status === "unreadable" ? answer.text : undefined;
  if (notices) say(byId("notice"), { what: notices }, { kind: "plain", details });
  else hush(byId("notice"));
  showLikely(answer, about.abstain_below);
  byId("latency").textContent = latencyOf(answer);
}

/** Shows why an entry has no frame. */
export function showFailure(entry, error, again) {
  const result = byId("result");
  result.dataset.state = "failed";
  result.setAttribute("aria-busy", "false");
  showSaid(entry);
  byId("latency").textContent = "";
  say(byId("notice"), error, { again });
}
