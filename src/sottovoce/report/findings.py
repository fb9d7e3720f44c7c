"""Whether a study shows what Choi et al. (2025, arXiv 2509.15389) found: seen, not seen, or not decidable at its size.

Each verdict follows from 95 % intervals of differences in intent accuracy on speech, by a rule that the page states
with it. The paper's abstract names no thresholds: those below are ours. A claim is "seen" only if the whole interval
is on one side of its threshold, "not seen" only if it is on the other; otherwise it is not decidable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sottovoce.report.curves import Curves, Line, Point
from sottovoce.report.differences import PAPER, paired
from sottovoce.report.estimates import Estimate, differences
from sottovoce.report.wording import line_label, percent, signed_points, size_words
from sottovoce.score.intervals import Scored

Verdict = Literal["seen", "not seen", "not decidable"]

COMPETITIVE = 0.10  # text-only is less than this below the largest budget
SUBSTANTIAL = 0.02  # what a gain must exceed, and the most by which two schemes that meet may differ
SMALL_SHARES = (0.02, 0.05)  # "2-5 %"
SCARCE_SHARE = 0.05  # at most
LARGE_SHARE = 0.5  # at least


@dataclass(frozen=True)
class Finding:
    """One claim, whether the study shows it, why, and by which rule; ``where`` is the model or mixture, or ""."""

    claim: str
    verdict: Verdict
    reason: str
    rule: str
    where: str = ""


def findings(curves: Curves) -> list[Finding]:
    """The four claims for each model; the cross-lingual one for each mixture, and only where there are sources."""
    found = []
    for model in curves.models:
        several = model if len(curves.models) > 1 else ""
        first = next((s for s in curves.mixtures if curves.line("text_only", s, model)), ())
        lines = [line for name in PAPER if (line := curves.line(name, first, model))]
        text_only = curves.text_only(first, model)
        for check in (_competitive, _small_share, _curriculum):
            found.append(_placed(check(curves, lines, text_only), several))
        for sources in curves.mixtures:
            if sources:
                where = ", ".join(part for part in (several, f"from {'+'.join(sources)}") if part)
                found.append(_placed(_cross_lingual(curves, sources, model), where))
    return found


def _competitive(curves: Curves, lines: Sequence[Line], text_only: Point | None) -> Finding:
    claim = "Text-only fine-tuning is already competitive on speech."
    rule = (
        f"Seen if text-only is less than {_points(COMPETITIVE)} below the largest budget of at least "
        f"{100 * LARGE_SHARE:g} % speech; not seen if it is further below the largest budget of any size."
    )
    ends = [line.last for line in lines if line.last]
    best = max(ends, key=lambda point: (point.share, point.speech[0].mean), default=None)
    gain = _gain(curves, best, text_only)
    if best is None or gain is None:
        return Finding(claim, "not decidable", _MISSING, rule)
    reason = f"{_named(curves, best)} minus text-only: {_interval(gain)}."
    if gain.low > COMPETITIVE:
        return Finding(claim, "not seen", reason, rule)
    if best.share < LARGE_SHARE:
        reason += f" The study has no budget of {100 * LARGE_SHARE:g} % or more."
        return Finding(claim, "not decidable", reason, rule)
    return Finding(claim, "seen" if gain.high < COMPETITIVE else "not decidable", reason, rule)


def _small_share(curves: Curves, lines: Sequence[Line], text_only: Point | None) -> Finding:
    low, high = SMALL_SHARES
    claim = f"A small share of speech ({100 * low:g} to {100 * high:g} %) brings a substantial further gain."
    rule = (
        f"Takes curriculum, or else direct mixing, at its largest budget of {100 * low:g} to {100 * high:g} %: seen if "
        f"its gain over text-only is more than {_points(SUBSTANTIAL)}; not seen if it is less."
    )
    points = [p for line in lines for p in reversed(line.points) if low <= round(p.share, 3) <= high and p.speech]
    gain = _gain(curves, points[0], text_only) if points else None
    if gain is None:
        return Finding(claim, "not decidable", _MISSING, rule)
    reason = f"{_named(curves, points[0])} minus text-only: {_interval(gain)}."
    return Finding(claim, _above(gain, SUBSTANTIAL), reason, rule)


def _curriculum(curves: Curves, lines: Sequence[Line], text_only: Point | None) -> Finding:
    claim = "Curriculum beats direct mixing when speech is scarce; they meet as speech grows."
    rule = (
        f"When speech is scarce: takes the mean difference over all budgets of at most {100 * SCARCE_SHARE:g} %; "
        f"curriculum wins if it is above 0, and does not if it is less than {_points(SUBSTANTIAL)}. They meet if they "
        f"differ by less than {_points(SUBSTANTIAL)} at the largest budget of at least {100 * LARGE_SHARE:g} %, and do "
        "not if they differ by more. Seen if both hold; not seen if one does not."
    )
    if len(lines) < len(PAPER):
        return Finding(claim, "not decidable", _MISSING, rule)
    pairs = [(point, other) for point in lines[0].points if point.speech and (other := lines[1].at(point.size))]
    scarce = [paired(*pair, curves.samples) for pair in pairs if 0 < round(pair[0].share, 3) <= SCARCE_SHARE]
    large = [paired(*pair, curves.samples) for pair in pairs if pair[0].share >= LARGE_SHARE][-1:]
    verdicts: list[Verdict] = []
    reasons = []
    for name, leads in (("At scarce budgets", scarce), ("At the largest budget", large)):
        lead = _mean_lead(leads)
        if lead is None:
            verdicts.append("not decidable")
            reasons.append(f"{name}: no budget that both have finished.")
            continue
        if name == "At scarce budgets":
            verdicts.append("seen" if lead.low > 0 else "not seen" if lead.high < SUBSTANTIAL else "not decidable")
        else:
            apart = lead.low > SUBSTANTIAL or lead.high < -SUBSTANTIAL
            meet = lead.low > -SUBSTANTIAL and lead.high < SUBSTANTIAL
            verdicts.append("not seen" if apart else "seen" if meet else "not decidable")
        reasons.append(f"{name}, curriculum minus direct mixing: {_interval(lead)}.")
    both: Verdict = next((v for v in ("not seen", "not decidable") if v in verdicts), "seen")
    return Finding(claim, both, " ".join(reasons), rule)


def _cross_lingual(curves: Curves, sources: tuple[str, ...], model: str) -> Finding:
    claim = "Source speech and target text, with little or no target speech, adapt the model effectively."
    rule = (
        f"Takes curriculum, or else direct mixing or another scheme, with these sources, at its largest budget of at "
        f"most {100 * SCARCE_SHARE:g} %: seen if it is more than {_points(SUBSTANTIAL)} above text-only (of the target "
        "alone or, if the study has none, of this mixture); not seen if it is less."
    )
    lines = [line for line in curves.budgeted if (line.sources, line.model) == (sources, model)]
    lines.sort(key=lambda line: PAPER.index(line.scheme) if line.scheme in PAPER else len(PAPER))
    points = [p for line in lines for p in reversed(line.points) if round(p.share, 3) <= SCARCE_SHARE and p.speech]
    text_only = curves.text_only((), model) or curves.text_only(sources, model)
    gain = _gain(curves, points[0], text_only) if points else None
    if gain is None:
        return Finding(claim, "not decidable", _MISSING, rule)
    reason = f"{_named(curves, points[0])} minus text-only: {_interval(gain)}."
    return Finding(claim, _above(gain, SUBSTANTIAL), reason, rule)


_MISSING = "The study has no finished cells to decide it from."


def _placed(finding: Finding, where: str) -> Finding:
    return Finding(finding.claim, finding.verdict, finding.reason, finding.rule, where)


def _above(gain: Estimate, bound: float) -> Verdict:
    return "seen" if gain.low > bound else "not seen" if gain.high < bound else "not decidable"


def _gain(curves: Curves, point: Point | None, text_only: Point | None) -> Estimate | None:
    """The gain in intent accuracy on speech over text-only."""
    pairs = paired(point, text_only, curves.samples) if point and text_only else {}
    return differences(list(pairs.values()))[0] if pairs else None


def _mean_lead(budgets: list[dict[int, Scored]]) -> Estimate | None:
    """Of several budgets, averaged seed by seed; seeds that not all of them have are left out."""
    seeds = [seed for seed in budgets[0] if all(seed in budget for budget in budgets)] if budgets else []
    averaged = [Scored.mean([budget[seed] for budget in budgets]) for seed in seeds]
    return differences(averaged)[0] if averaged else None


def _named(curves: Curves, point: Point) -> str:
    cell = point.cells[0]
    name = line_label(curves.results, cell.scheme, cell.sources, cell.model_name)
    return f"{name} at {size_words(point.size, point.share)} speech"


def _interval(gain: Estimate) -> str:
    return f"{signed_points(gain.mean)} points ({signed_points(gain.low)} to {signed_points(gain.high)})"


def _points(share: float) -> str:
    return f"{percent(share).removesuffix('.0')} points"
