"""A study's figures and names in words, the same in tables, pages and sentences."""

from __future__ import annotations

import math
import re
from pathlib import Path

from sottovoce.report.measures import Difference, gap_closed
from sottovoce.report.results import CellResult, StudyResults
from sottovoce.train.schemes import scheme_named

UNFINISHED, FAILED = "unfinished", "failed"
NONE = "–"
_SIZES = {"pct": "{} %", "utterances": "{} clips", "seconds": "{} s", "hours": "{} h", "speakers": "{} speakers"}


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal and no % sign, or a dash."""
    return NONE if share is None or math.isnan(share) else f"{100 * share:.1f}".replace("-", "−")


def signed_points(share: float) -> str:
    """A difference of shares in percentage points, with a sign and one decimal."""
    return f"{100 * share:+.1f}".replace("-", "−")


def clips(number: int) -> str:
    """A number of recordings in words."""
    return f"{number} clip" if number == 1 else f"{number} clips"


def duration(seconds: float | None) -> str:
    """A time in words."""
    if seconds is None:
        return "not measured"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def seconds_of_answer(seconds: float) -> str:
    """A time of mostly a few seconds, to two digits."""
    return f"{seconds:.2g}" if seconds < 9.95 else f"{seconds:.0f}"


def millions(number: float) -> str:
    """A number of parameters in millions."""
    return f"{number / 1e6:,.0f}" if number >= 9.5e6 else f"{number / 1e6:.2g}"


def size_words(size: str, share: float) -> str:
    """A speech budget as the recipe gave it; ``size`` is as :class:`CellResult` has it."""
    found = re.fullmatch(r"([\d.e+-]+)([a-z]+)", size)
    return _SIZES[found[2]].format(found[1]) if found else size or f"{100 * share:.3g} %"


def line_label(results: StudyResults, scheme: str, sources: tuple[str, ...], model: str) -> str:
    """A scheme's display name, a cascade's with its recogniser; mixture and model only if there are several.

    A model that is "" is left out.
    """
    alike = [other for other in results.cells if other.scheme == scheme]
    text = scheme_named(scheme).label
    if asr := next((other.asr for other in alike if other.asr), ""):
        text += f" ({model_tail(asr)})"
    if len({other.sources for other in alike}) > 1:
        text += f" from {'+'.join(sources)}" if sources else " alone"
    if model and len({other.model_name for other in alike}) > 1:
        text += f", {model_tail(model)}"
    return text


def model_tail(model: str) -> str:
    """A model's name without the folder or owner before it."""
    return model.rstrip("/").rpartition("/")[2]


def display_path(path: str) -> str:
    """A file, folder or model as reports show it: an absolute path by its last part only, to keep the rest private."""
    return Path(path).name if Path(path).is_absolute() else path


def display_models(results: StudyResults) -> str:
    """The study's models as reports show them."""
    return ", ".join(map(display_path, results.model.split(", ")))


def label(results: StudyResults, cell: CellResult) -> str:
    """A cell's display name; with budget and seed only if the study has several of them."""
    alike = [other for other in results.cells if other.scheme == cell.scheme]
    text = line_label(results, cell.scheme, cell.sources, cell.model_name)
    if len({(other.size, other.budget_share) for other in alike}) > 1:
        text += f" {size_words(cell.size, cell.budget_share)}"
    if len({other.seed for other in alike}) > 1:
        text += f", seed {cell.seed}"
    return text


def speech_words(share: float, num_clips: int, scheme: str, size: str = "") -> str:
    """How much labelled speech was trained on, e.g. ``5 % (20 clips)``."""
    if not share and not num_clips:
        known = size == "0pct" or not scheme_named(scheme).uses_speech
        return "none" if known else size_words(size, share) if size else NONE
    text = f"{100 * share:.3g} %"
    return f"{text} ({clips(num_clips)})" if num_clips else text


def speech_used(cell: CellResult) -> str:
    """How much labelled speech a cell was trained on."""
    return speech_words(cell.budget_share, cell.num_clips, cell.scheme, cell.size)


def state_of(cell: CellResult) -> str:
    """Whether a cell is finished and, if not, whether its last run failed."""
    return "finished" if cell.finished else FAILED if cell.failed else UNFINISHED


def headline(results: StudyResults, gain: Difference | None) -> str:
    """The study's answer in one sentence.

    Args:
        results: the study.
        gain: how far the best cell's intent accuracy on speech is above text-only's, None if one is unfinished.
    """
    best = results.best
    text_only = results.text_only_for(best) if best else None
    if best is None or text_only is None or gain is None:
        return no_answer(results)
    name = label(results, best).lower()
    examples = "example" if best.num_clips == 1 else "examples"
    start = f"With {best.num_clips} spoken training {examples}, {name}"
    before, after = (percent(cell.strict("speech")["intent_accuracy"]) for cell in (text_only, best))
    if not gain.distinguishable:
        return (
            f"{start} and text-only fine-tuning cannot be told apart on {best.strict('speech')['num_scored']} "
            f"spoken test utterances: intent accuracy {after} % and {before} %."
        )
    if gain.value < 0:
        return f"{start} is worse than text-only: intent accuracy on speech falls from {before} % to {after} %."
    closed = gap_closed(best, text_only, "intent_accuracy")
    gap = "" if closed is None else f", closing {100 * closed:.0f} % of the gap to gold text"
    return f"{start} raises intent accuracy on speech from text-only’s {before} % to {after} %{gap}."


def no_answer(results: StudyResults) -> str:
    """What replaces the answer if what it needs is unfinished, or not part of the study."""
    if len(results.finished) == len(results.cells):
        return "This study has no scheme with training speech to compare with text-only."
    return f"No answer yet: {len(results.finished)} of {len(results.cells)} cells have scores."


def comparison(before: str, after: str, difference: Difference) -> str:
    """One difference of intent accuracy on speech in words; where 0 is inside its interval it is called none."""
    ends = f"{signed_points(difference.low)} to {signed_points(difference.high)}"
    size = f"{signed_points(difference.value)} points, {ends}"
    if not difference.distinguishable:
        return f"{after} and {before.lower()} cannot be told apart ({size})."
    return f"{after} is {'better' if difference.value > 0 else 'worse'} than {before.lower()} ({size})."
