"""How often the intervals of scores hold the truth, and how often a comparison errs where nothing differs.

    python tests/interval_simulation.py

prints the table of docs/scores.md. Accuracies, and differences of two, are counted exactly, over every outcome of a
binomial or trinomial; F1 figures and means over seeds are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from statistics import NormalDist

import numpy as np

from sottovoce.core.types import Entity, Frame
from sottovoce.score.binomial import share_bounds
from sottovoce.score.files import GoldItem
from sottovoce.score.intervals import Difference, Floats, Scored, differences, figures
from sottovoce.score.metrics.metric import Sums
from sottovoce.score.metrics.registry import metric_named

LEVEL = 0.95
SHARES = np.linspace(0.5, 0.99, 491)
F1_SIZES = (50, 100, 200)
_log_factorial = np.vectorize(lambda n: math.lgamma(n + 1), otypes=[np.float64])


def accuracy_coverage(number: int) -> Floats:
    """For each of SHARES, the chance that the interval of an accuracy of ``number`` utterances holds it."""
    right = np.arange(number + 1)
    low, high = (np.array(ends)[:, None] for ends in zip(*(share_bounds(k, number, LEVEL) for k in right), strict=True))
    chosen = _log_factorial(number) - _log_factorial(right) - _log_factorial(number - right)
    logs = chosen[:, None] + right[:, None] * np.log(SHARES) + (number - right)[:, None] * np.log1p(-SHARES)
    held: Floats = (np.exp(logs) * ((low <= SHARES) & (high >= SHARES))).sum(axis=0)
    return held


def difference_coverage(number: int, disagreement: float) -> tuple[Floats, float]:
    """Of two systems that disagree on so large a share of the utterances, the chance that the interval of their
    difference holds it, for five true differences; and that equals are found to differ."""
    won, lost = (each.ravel() for each in np.meshgrid(np.arange(number + 1), np.arange(number + 1)))
    won, lost = won[won + lost <= number], lost[won + lost <= number]
    chosen = _log_factorial(number) - _log_factorial(won) - _log_factorial(lost) - _log_factorial(number - won - lost)
    low, high = (np.array(ends) for ends in zip(*map(_bounds, won, lost, [number] * len(won)), strict=True))
    held, found = [], math.nan
    for tilt in (0.0, 0.25, 0.5, 0.75, 0.9):
        better, worse = disagreement * (1 + tilt) / 2, disagreement * (1 - tilt) / 2
        rest = (number - won - lost) * math.log(1 - disagreement)
        chance = np.exp(chosen + won * math.log(better) + lost * math.log(worse) + rest)
        held.append(float(chance[(low <= better - worse) & (high >= better - worse)].sum()))
        if not tilt:
            found = float(chance[(low > 0) | (high < 0)].sum())
    return np.array(held), found


def _bounds(won: int, lost: int, number: int) -> tuple[float, float]:
    value = float(won - lost) / number
    return Difference(value, (won + lost) / number**2 - value**2 / number, number, True).bounds(LEVEL)


def seed_coverage(share: float, number: int, num_seeds: int, deviation: float, num_draws: int) -> float:
    """How often the interval of a mean over seeds, whose scores deviate so much, holds the mean over all seeds."""
    rng, normal = np.random.default_rng([number, num_seeds, round(1000 * deviation)]), NormalDist()
    spread = math.sqrt(1 + 1.5**2)  # of an utterance's difficulty and an answer's own chance
    ability, slope = normal.inv_cdf(share) * spread, normal.pdf(normal.inv_cdf(share)) / spread
    true = normal.cdf(ability / math.hypot(spread, deviation / slope))
    held = 0
    for _ in range(num_draws):
        of_seed = ability + deviation / slope * rng.standard_normal((num_seeds, 1))
        right = of_seed - 1.5 * rng.standard_normal(number) + rng.standard_normal((num_seeds, number)) > 0
        low, high = figures([_scored(np.stack([row, np.ones(number)], axis=1)) for row in right])[0].bounds(LEVEL)
        held += low <= true <= high
    return held / num_draws


def _scored(sums: Floats) -> Scored:
    return Scored.of(sums, lambda each: each[..., :1] / each[..., 1:2], [True])


@cache
def made_answers(share_right: float, similar: float) -> tuple[dict[str, int], tuple[Floats, Floats]]:
    """The columns and the counts of SLU-F1 of two systems, both as good, on two thousand utterances.

    An utterance has 0 to 3 entities, and is easy or hard for both. Of the entities that are not right so many have a
    similar filler; the others are missed, or given another slot.
    """
    rng, metric = np.random.default_rng(0), metric_named("slu_f1")
    rows: tuple[list[dict[str, float]], list[dict[str, float]]] = [], []

    def answered(entity: Entity, ability: float) -> list[Entity]:
        if rng.random() < ability:
            return [entity]
        if rng.random() < similar:
            return [Entity(entity.type, "ten past nine")]
        return [Entity("other", entity.filler)] if rng.random() < 0.5 else []

    for ability in rng.beta(4 * share_right, 4 * (1 - share_right), 2000):
        gold = [Entity(f"slot{n}", "ten past five") for n in range(rng.choice(4, p=(0.25, 0.4, 0.25, 0.1)))]
        item = GoldItem("", Frame("a", "b", tuple(gold)), "")
        for system in rows:
            answer = [found for entity in gold for found in answered(entity, ability)]
            system.append(dict(metric.counts(item, Frame("a", "b", tuple(answer)))))
    one, two = (np.array([list(row.values()) for row in system]) for system in rows)
    return {name: place for place, name in enumerate(rows[0][0])}, (one, two)


def f1_coverage(share_right: float, similar: float, number: int, num_draws: int) -> tuple[float, float]:
    """How often the interval of an SLU-F1 of ``number`` utterances holds that of all, and of a paired difference."""
    columns, systems = made_answers(share_right, similar)
    rng, metric, held = np.random.default_rng(number), metric_named("slu_f1"), np.zeros(2)

    def figures_of(sums: Floats) -> Floats:
        return metric.figure(Sums(columns, sums))[..., None]

    true, other = (float(figures_of(rows.sum(axis=0))[0]) for rows in systems)
    for _ in range(num_draws):
        drawn = rng.integers(0, len(systems[0]), number)
        one, two = (Scored.of(rows[drawn], figures_of, [True]) for rows in systems)
        ends = figures([one])[0].bounds(LEVEL), differences([one - two])[0].bounds(LEVEL)
        held += [low <= value <= high for (low, high), value in zip(ends, (true, true - other), strict=True)]
    return float(held[0] / num_draws), float(held[1] / num_draws)


def table(sizes: Sequence[int], num_draws: int) -> Iterator[tuple[str, float, float]]:
    """What was counted, the mean of its coverages and the lowest of them."""
    for number in sizes:
        held = accuracy_coverage(number)
        yield f"accuracy, {number} utterances", float(held.mean()), float(held.min())
    for number in (size for size in sizes if size <= 100):
        found = [difference_coverage(number, each) for each in (0.05, 0.1, 0.2, 0.3, 0.5)]
        all_held = np.concatenate([held for held, _ in found])
        yield f"difference of accuracies, {number} utterances", float(all_held.mean()), float(all_held.min())
        yield f"no false verdict of equals, {number} utterances", *_mean_and_least([1 - false for _, false in found])
    for num_seeds in (2, 3, 5):
        settings = [(share, n, dev) for share in (0.6, 0.9, 0.97) for n in (50, 300) for dev in (0.0, 0.02, 0.05)]
        seeds = [seed_coverage(share, n, num_seeds, dev, num_draws) for share, n, dev in settings]
        yield f"mean of {num_seeds} seeds", *_mean_and_least(seeds)
    for number in F1_SIZES:
        kinds = [(share, similar) for share in (0.5, 0.75, 0.9, 0.97) for similar in (0.2, 0.6)]
        pairs = [f1_coverage(*kind, number, num_draws) for kind in kinds]
        yield f"SLU-F1, {number} utterances", *_mean_and_least([score for score, _ in pairs])
        yield f"difference of SLU-F1, {number} utterances", *_mean_and_least([gain for _, gain in pairs])


def _mean_and_least(shares: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(shares)), min(shares)


def main() -> None:
    """Prints the table of docs/scores.md."""
    print("| 95 % interval of | mean coverage, % | lowest, % |\n| --- | ---: | ---: |")
    for name, mean, least in table((10, 20, 50, 100, 300, 1000), 400):
        print(f"| {name} | {100 * mean:.1f} | {100 * least:.1f} |", flush=True)


if __name__ == "__main__":
    main()
