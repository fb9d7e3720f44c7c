from __future__ import annotations

import pytest

from sottovoce.data.mixture import Mixture, Part
from sottovoce.recipe import StageSettings, Train
from sottovoce.train.schemes import SCHEMES, uses_speech
from sottovoce.train.stage import plan_stages

TEXT: Mixture = (Part("text", of="all"),)
TEXT_AND_SPEECH: Mixture = (Part("text", of="all"), Part("speech", of="budget"))
# scheme -> of each stage: what is seen, epochs, learning rate, warm-up
PAPER: dict[str, list[tuple[Mixture, int, float, float]]] = {
    "zero_shot": [],
    "text_only": [(TEXT, 3, 5e-6, 0.04)],
    "direct_mixing": [(TEXT_AND_SPEECH, 3, 5e-6, 0.04)],
    "curriculum": [(TEXT, 2, 5e-6, 0.04), (TEXT_AND_SPEECH, 1, 3e-6, 0.02)],
}


def test_there_are_no_other_schemes() -> None:
    assert SCHEMES.keys() == PAPER.keys()


@pytest.mark.parametrize("scheme", PAPER)
def test_by_default_a_scheme_is_trained_as_in_the_paper(scheme: str) -> None:
    found = [
        (s.mixture, s.settings.num_train_epochs, s.settings.learning_rate, s.settings.warmup_ratio)
        for s in SCHEMES[scheme](Train())
    ]
    assert found == PAPER[scheme]


@pytest.mark.parametrize(("scheme", "hears"), [(name, name in ("direct_mixing", "curriculum")) for name in PAPER])
def test_only_mixing_schemes_hear_speech(scheme: str, hears: bool) -> None:
    assert uses_speech(SCHEMES[scheme](Train())) == hears


def test_each_stage_takes_its_own_settings() -> None:
    settings = {
        name: StageSettings(num_train_epochs=n) for n, name in enumerate(("stage", "first_stage", "last_stage"), 4)
    }
    epochs = {name: [s.settings.num_train_epochs for s in SCHEMES[name](Train(**settings))] for name in PAPER}
    assert epochs == {"zero_shot": [], "text_only": [4], "direct_mixing": [4], "curriculum": [5, 6]}


def test_speech_repeats_are_of_the_stage_that_hears_speech() -> None:
    train = Train(stage=StageSettings(speech_repeats=2), last_stage=StageSettings(speech_repeats=5))
    assert SCHEMES["direct_mixing"](train)[0].mixture[1].repeats == 2
    assert SCHEMES["curriculum"](train)[1].mixture[1].repeats == 5
    assert SCHEMES["curriculum"](train)[1].mixture[1].perturbed is False
    assert {part.repeats for scheme in PAPER for stage in SCHEMES[scheme](train) for part in stage.mixture[:1]} == {1}


def test_perturbed_repeats_do_not_change_what_hears_no_speech() -> None:
    plain, perturbed = (
        Train(stage=StageSettings(speech_repeats=2, perturb_repeats=perturb)) for perturb in (False, True)
    )
    stages = {scheme: [SCHEMES[scheme](train) for train in (plain, perturbed)] for scheme in PAPER}
    assert stages["direct_mixing"][1][0].mixture[1].perturbed
    keys = {s: [plan_stages(part, [["k"]] * len(part), "root") for part in both] for s, both in stages.items()}
    names = {scheme: [[plan.key for plan in plans] for plans in both] for scheme, both in keys.items()}
    assert names["text_only"][0] == names["text_only"][1]
    assert names["direct_mixing"][0] != names["direct_mixing"][1]
