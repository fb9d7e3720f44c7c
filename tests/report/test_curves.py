import pytest
from made_curves import made_curves, with_seeds


def test_cells_that_differ_in_the_seed_alone_are_one_point() -> None:
    curves = made_curves(with_seeds({"text_only": 0.6, "curriculum-10pct": 0.8, "curriculum-2pct": 0.7}))
    line = curves.line("curriculum", (), "embedded")
    assert line is not None
    assert [(point.size, point.share, point.num_clips) for point in line.points] == [
        ("2pct", 0.02, 20),
        ("10pct", 0.1, 100),
    ]
    assert [len(point.finished) for point in line.points] == [3, 3]
    assert line.points[0].speech[0].mean == pytest.approx(0.7)
    assert line.points[0].speech[0].num_seeds == 3
    assert line.points[0].gap[0].mean == pytest.approx(0.22)
    assert curves.best is line.points[1]


def test_text_only_is_where_a_line_without_sources_starts() -> None:
    curves = made_curves(
        {
            "zero_shot": (0.1, 0.1),
            "text_only": (0.6, 0.9),
            "curriculum-5pct": (0.7, 0.9),
            "speech_only-5pct": (0.3, 0.2),
        }
    )
    starts = {line.scheme: line.start.scheme if line.start else None for line in curves.budgeted}
    assert starts == {"curriculum": "text_only", "speech_only": "zero_shot"}
    assert [point.num_clips for point in curves.budgeted[0].drawn] == [0, 50]


def test_with_sources_a_line_has_cells_of_its_own_at_0() -> None:
    curves = made_curves(
        {"text_only": (0.5, 0.9), "text_only-from-en": (0.55, 0.9), "curriculum-from-en-0pct": (0.65, 0.9),
         "curriculum-from-en-5pct": (0.7, 0.9), "direct_mixing-from-en-5pct": (0.7, 0.9)}
    )  # fmt: skip
    curriculum, direct = curves.budgeted
    assert [point.size for point in curriculum.drawn] == ["0pct", "5pct"]
    assert [point.size for point in direct.drawn] == ["5pct"]
    assert curves.mixtures == ((), ("en",))
    text_only = curves.text_only(("en",), "embedded")
    assert text_only is not None and text_only.speech[0].mean == 0.55


def test_models_are_lines_of_their_own_by_the_name_s_tail() -> None:
    models = ("embedded", "Qwen/Qwen2-Audio-7B")
    curves = made_curves({"text_only": (0.5, 0.9), "text_only-Qwen2-Audio-7B": (0.7, 0.9)}, models)
    assert [line.model for line in curves.lines] == list(models)


def test_an_unfinished_seed_leaves_a_point_of_the_others() -> None:
    curves = made_curves(
        {
            "text_only": (0.6, 0.9),
            "curriculum-5pct": (0.7, 0.9),
            "curriculum-5pct-seed1": None,
            "curriculum-10pct": None,
        }
    )
    five, ten = curves.budgeted[0].points
    assert (len(five.finished), len(five.cells), five.speech[0].num_seeds) == (1, 2, 1)
    assert ten.speech == ()
    assert curves.budgeted[0].last is five
