from pathlib import Path

import pytest
from made_curves import made_curves

from sottovoce.core.errors import UserError
from sottovoce.report.published import published_for
from sottovoce.report.results import StudyResults


def study(corpus: str, model: str = "embedded") -> StudyResults:
    results = made_curves({"text_only": (0.6, 0.9)}, (model,)).results
    return StudyResults(**{**vars(results), "corpus": corpus})


@pytest.mark.parametrize(
    ("corpus", "number"), [("slurp en-US", 9), ("Speech-MASSIVE fr-FR", 7), ("speech_massive_fr fr-FR", 7)]
)
def test_the_studys_own_corpus_has_its_published_figures(corpus: str, number: int) -> None:
    published = published_for(study(corpus))
    assert len(published) == number
    assert all(each.source and 0.6 < each.figures["intent_accuracy"] < 0.9 for each in published)


@pytest.mark.parametrize(
    "corpus", ["home en-US", "slurp fr-FR", "speech_massive_fr de-DE", "slurp_mine en-US", "my slurp en-US"]
)
def test_another_corpus_has_none(corpus: str) -> None:
    assert published_for(study(corpus)) == ()


def test_the_papers_figures_and_those_of_the_studys_model_are_drawn() -> None:
    drawn = [each for each in published_for(study("slurp en-US", "Qwen/Qwen2-Audio-7B-Instruct")) if each.drawn]
    assert [(each.model, *each.figures.values()) for each in drawn] == [
        ("7B model", 0.8813, 0.7675), ("Qwen2-Audio-7B-Instruct", 0.8426, pytest.approx(0.7009))
    ]  # fmt: skip


def test_a_users_own_figures_are_drawn_beside_any_study(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- {model: ours 2024, source: internal, intent_accuracy: 71.5}\n")
    [own] = published_for(study("home en-US"), path)
    assert (own.model, own.figures, own.drawn) == ("ours 2024", {"intent_accuracy": 0.715}, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file of published figures"),
        ("- {model: [", "not YAML"),
        ("- {model: a, source: b, intent: 3}", "unknown key '0.intent'"),
        ("- {model: a, source: b, slu_f1: 300}", "0.slu_f1: "),
        ("model: a", "should be a valid list"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=said) as error:
        published_for(study("home en-US"), path)
    assert "\n" not in str(error.value)
