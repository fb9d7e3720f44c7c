"""All metrics, in table order. `score`, `compare`, breakdowns, reports and model cards iterate this list."""

from __future__ import annotations

from sottovoce.score.metrics import frame, labels, massive, rejection, slot_recall, slurp
from sottovoce.score.metrics.metric import Metric

METRICS: tuple[Metric, ...] = (
    *labels.METRICS,
    *frame.METRICS,
    *slurp.METRICS,
    *slot_recall.METRICS,
    *massive.METRICS,
    *rejection.METRICS,
)


def headline() -> tuple[Metric, ...]:
    """The metrics of a study's table, figure and differences. Headings and findings use the first."""
    return tuple(metric for metric in METRICS if metric.shown == "headline")


def headline_keys() -> tuple[str, ...]:
    """The keys of the headline metrics."""
    return tuple(metric.key for metric in headline())


def in_tables() -> tuple[Metric, ...]:
    """The metrics that terminal tables and model cards show, including the headline metrics."""
    return tuple(metric for metric in METRICS if metric.shown != "data")


def metric_named(key: str) -> Metric:
    """The metric with that key.

    Raises:
        KeyError: there is none.
    """
    return {metric.key: metric for metric in METRICS}[key]
