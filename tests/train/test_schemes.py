from __future__ import annotations

import pytest

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Noise, StageSettings, Train
from sottovoce.data.mixture import SYNTHETIC, Mixture, Part
from sottovoce.train.schemes import SCHEMES, Stage, scheme_named, uses_speech
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


def stages_of(scheme: str, train: Train | None = None, sources: tuple[str, ...] = ()) -> list[Stage]:
    return scheme_named(scheme).stages(train or Train(), sources)


def seen(scheme: str, sources: tuple[str, ...] = ()) -> list[list[tuple[str, str, str, float]]]:
    """Of each stage what is seen: modality, of what, corpus, share."""
    return [[(p.modality, p.of, p.corpus, p.share) for p in s.mixture] for s in stages_of(scheme, sources=sources)]


ALL_TEXT, ALL_SPEECH = ("text", "all", "main", 1.0), ("speech", "budget", "main", 1.0)
EN_TEXT, EN_SPEECH = ("text", "all", "en", 1.0), ("speech", "budget", "en", 1.0)


def test_the_papers_schemes_come_first() -> None:
    assert list(SCHEMES)[: len(PAPER)] == list(PAPER)


def test_an_unknown_scheme_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'text_only'"):
        scheme_named("textonly")


def test_what_the_further_schemes_see() -> None:
    assert seen("speech_only") == [[ALL_SPEECH]]
    assert seen("reverse_curriculum") == [[ALL_TEXT, ALL_SPEECH], [ALL_TEXT]]
    assert seen("curriculum_replay") == [[ALL_TEXT], [("text", "all", "main", 0.25), ALL_SPEECH]]
    synthetic = ("speech", "all", SYNTHETIC, 1.0)
    assert seen("synthetic_curriculum") == [[ALL_TEXT], [ALL_TEXT, synthetic], [ALL_TEXT, ALL_SPEECH]]
    shares = [stage[1][3] for stage in seen("ramp")[1:]]
    assert seen("ramp")[0] == [ALL_TEXT] and shares == [1 / 3, 2 / 3, 1.0]


def test_a_source_language_joins_text_and_speech() -> None:
    assert seen("text_only", ("en",)) == [[ALL_TEXT, EN_TEXT]]
    assert seen("direct_mixing", ("en",)) == [[ALL_TEXT, EN_TEXT, ALL_SPEECH, EN_SPEECH]]
    assert seen("curriculum", ("en",)) == [[ALL_TEXT, EN_TEXT], [ALL_TEXT, EN_TEXT, ALL_SPEECH, EN_SPEECH]]
    assert seen("source_first", ("en",)) == [[EN_TEXT, EN_SPEECH], [ALL_TEXT, ALL_SPEECH]]
    three = [[EN_TEXT, EN_SPEECH], [ALL_TEXT], [ALL_TEXT, EN_TEXT, ALL_SPEECH, EN_SPEECH]]
    assert seen("source_then_curriculum", ("en",)) == three
    assert {name for name, scheme in SCHEMES.items() if scheme.needs_sources} == {
        "source_first", "source_then_curriculum",
    }  # fmt: skip


@pytest.mark.parametrize("scheme", PAPER)
def test_by_default_a_scheme_is_trained_as_in_the_paper(scheme: str) -> None:
    found = [
        (s.mixture, s.settings.num_train_epochs, s.settings.learning_rate, s.settings.warmup_ratio)
        for s in stages_of(scheme, Train())
    ]
    assert found == PAPER[scheme]


@pytest.mark.parametrize(("scheme", "hears"), [(name, name in ("direct_mixing", "curriculum")) for name in PAPER])
def test_only_mixing_schemes_hear_speech(scheme: str, hears: bool) -> None:
    assert uses_speech(stages_of(scheme, Train())) == hears


def test_what_a_scheme_says_of_itself() -> None:
    assert [name for name, scheme in SCHEMES.items() if not scheme.is_trained] == ["zero_shot"]
    text_alone = ["zero_shot", "text_only", "cascade", "text_only_noisy"]
    assert [name for name, scheme in SCHEMES.items() if not scheme.uses_speech] == text_alone


def test_noisy_text_has_noise_of_its_own_in_each_epoch() -> None:
    noise = Noise(rows=0.25, source="spelling")
    train = Train(noise=noise, stage=StageSettings(num_train_epochs=4), first_stage=StageSettings(num_train_epochs=2))
    (alone,) = stages_of("text_only_noisy", train, ("en",))
    assert alone.mixture == tuple(
        Part("text", of="all", repeats=4, corpus=name, noise=noise) for name in ("main", "en")
    )
    first, last = stages_of("curriculum_noisy", train)
    assert first.mixture == (Part("text", of="all", repeats=2, noise=noise),)
    assert [stage.settings.num_train_epochs for stage in (alone, first)] == [1, 1]
    assert last == stages_of("curriculum", train)[1]
    assert [uses_speech(stages_of(name, train)) for name in ("text_only_noisy", "curriculum_noisy")] == [False, True]


def test_noise_from_the_budget_is_refused_where_no_speech_is_heard() -> None:
    train = Train(noise=Noise(source="budget"))
    with pytest.raises(UserError, match=r"cannot come from the speech budget; set .* to shipped or spelling"):
        stages_of("text_only_noisy", train)
    assert stages_of("curriculum_noisy", train)[0].mixture[0].noise == train.noise


def test_a_stage_with_other_noise_has_another_name() -> None:
    def name(**noise: float) -> str:
        stages = stages_of("text_only_noisy", Train(noise=Noise(source="spelling", **noise)))
        return plan_stages(stages, [["k"]], "root")[0].key

    names = {name(), name(rows=0.4), name(replace=0.2), name(drop=0.1), name(insert=0.1), name(seed=1)}
    assert len(names) == 6 and name() in names


def test_each_stage_takes_its_own_settings() -> None:
    settings = {
        name: StageSettings(num_train_epochs=n) for n, name in enumerate(("stage", "first_stage", "last_stage"), 4)
    }
    epochs = {name: [s.settings.num_train_epochs for s in stages_of(name, Train(**settings))] for name in PAPER}
    assert epochs == {"zero_shot": [], "text_only": [4], "direct_mixing": [4], "curriculum": [5, 6]}


def test_speech_repeats_are_of_the_stage_that_hears_speech() -> None:
    train = Train(stage=StageSettings(speech_repeats=2), last_stage=StageSettings(speech_repeats=5))
    assert stages_of("direct_mixing", train)[0].mixture[1].repeats == 2
    assert stages_of("curriculum", train)[1].mixture[1].repeats == 5
    assert stages_of("curriculum", train)[1].mixture[1].perturbed is False
    assert {part.repeats for scheme in PAPER for stage in stages_of(scheme, train) for part in stage.mixture[:1]} == {1}


def test_a_limit_of_speech_holds_for_the_targets_repeats_alone() -> None:
    def limits(train: Train) -> list[float | None]:
        return [part.max_rows_share for part in stages_of("direct_mixing", train, ("en",))[0].mixture]

    assert limits(Train(stage=StageSettings(max_speech_share=0.3))) == [None, None, 0.3, None]
    assert limits(Train(stage=StageSettings(max_speech_share=1.0))) == [None] * 4


def test_perturbed_repeats_do_not_change_what_hears_no_speech() -> None:
    plain, perturbed = (
        Train(stage=StageSettings(speech_repeats=2, perturb_repeats=perturb)) for perturb in (False, True)
    )
    stages = {scheme: [stages_of(scheme, train) for train in (plain, perturbed)] for scheme in PAPER}
    assert stages["direct_mixing"][1][0].mixture[1].perturbed
    keys = {s: [plan_stages(part, [["k"]] * len(part), "root") for part in both] for s, both in stages.items()}
    names = {scheme: [[plan.key for plan in plans] for plans in both] for scheme, both in keys.items()}
    assert names["text_only"][0] == names["text_only"][1]
    assert names["direct_mixing"][0] != names["direct_mixing"][1]
