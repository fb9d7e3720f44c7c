// Finds the entities' fillers in an utterance.

const WRITTEN_WITHOUT_SPACES = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Thai}/u;

function patternOf(filler) {
  const words = filler.trim().split(/\s+/).map((word) => word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  const pattern = words.join("\\s+");
  if (WRITTEN_WITHOUT_SPACES.test(filler)) return new RegExp(pattern, "giu");
  return new RegExp(`(?<![\\p{L}\\p{N}])${pattern}(?![\\p{L}\\p{N}])`, "giu");
}

/**
 * Splits a text at its fillers; longer fillers are placed first, and none overlap.
 * @param {string} text
 * @param {{type: string, filler: string}[]} entities
 * @returns {{parts: {text: string, type: string|null}[], missing: {type: string, filler: string}[]}} `missing` are the
 *   entities whose filler is not in the text
 */
export function cutAtFillers(text, entities) {
  const spans = [];
  const missing = [];
  for (const entity of [...entities].sort((a, b) => b.filler.length - a.filler.length)) {
    const found = entity.filler.trim() === "" ? [] : [...text.matchAll(patternOf(entity.filler))];
    const free = found
      .map((match) => ({ from: match.index, to: match.index + match[0].length, type: entity.type }))
      .find(({ from, to }) => spans.every((span) => to <= span.from || span.to <= from));
    if (free) spans.push(free);
    else missing.push(entity);
  }
  const parts = [];
  let at = 0;
  for (const { from, to, type } of spans.sort((a, b) => a.from - b.from)) {
    if (from > at) parts.push({ text: text.slice(at, from), type: null });
    parts.push({ text: text.slice(from, to), type });
    at = to;
  }
  if (at < text.length) parts.push({ text: text.slice(at), type: null });
  return { parts, missing };
}
