"""The training of a study's stages: the loss, and below it the score on dev if there is one, by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from sottovoce.core.svg import INK, svg_of, without_prolog
from sottovoce.report.selection import TrainedStage
from sottovoce.train.schemes import SCHEMES

MAX_NAMED = 8  # more stages than that have no legend


def training_svg(stages: Sequence[TrainedStage], metric: str, narrow: bool = False) -> str:
    """The figure as it stands inside the page, each stage in its scheme's colour.

    Args:
        stages: at least one.
        metric: what ``dev`` is.
        narrow: for a phone.
    """
    evaluated = any(stage.dev for stage in stages)
    width, height = (4.7, 2.6) if narrow else (9.4, 2.8)
    figure = Figure(figsize=(width, height * (1 + evaluated)), layout="constrained")
    panels = figure.subplots(1 + evaluated, squeeze=False)[:, 0]
    for stage in stages:
        looks = {"color": SCHEMES[stage.scheme].colour or INK, "linewidth": 1.4, "alpha": 0.85}
        panels[0].plot(*zip(*stage.losses, strict=True), label=stage.label, **looks)
        if stage.dev:
            panels[1].plot(*zip(*stage.dev, strict=True), marker="o", markersize=4, **looks)
    _plain(panels[0], "training loss, nats a token")
    panels[0].set_yscale("log")
    if len(stages) <= MAX_NAMED:
        panels[0].legend(frameon=False, fontsize=8, labelcolor=INK)
    if evaluated:
        _plain(panels[1], f"dev {metric.replace('_', ' ')}")
    panels[-1].set_xlabel("step", fontsize=8.5, color=INK)
    return without_prolog(svg_of(figure, "Training loss and dev score by step", salt=f"training{narrow}"))


def _plain(axes: Any, name: str) -> None:
    axes.set_facecolor("none")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_ylabel(name, fontsize=8.5, color=INK)
    axes.grid(color=INK, alpha=0.12, linewidth=0.7)
    axes.tick_params(axis="both", which="both", length=0, labelsize=8.5, labelcolor=INK)
