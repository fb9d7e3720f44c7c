from pathlib import Path

import pytest
from study_folder import write_lines

from sottovoce.plan.intents import IntentGain, first_intents, recordings_of
from sottovoce.report.results import CellResult
from sottovoce.score.evaluate import read_answers
from sottovoce.score.files import read_gold

# Of ten test utterances each intent's, how many are right from speech in each of two runs, and from text.
RIGHT = {"dim": ((2, 4), 9), "on": ((8, 8), 9), "off": ((7, 7), 7)}
FRAME = {"scenario": "light", "entities": []}


def row(identity: str, action: str, split: str = "test") -> dict[str, object]:
    words = {"id": identity, "locale": "en-US", "split": split, "transcript": f"{action}, number {identity}"}
    return {**words, **FRAME, "action": action}


def gains(folder: Path, recordings: dict[str, float] | None = None) -> dict[str, IntentGain]:
    rows = [row(f"{action}{number}", action) for action in RIGHT for number in range(10)]
    write_lines(folder / "gold.jsonl", rows)
    gold = read_gold(folder / "gold.jsonl")
    answers = []
    for run in (0, 1):
        both = {}
        for modality in ("speech", "text"):
            path = folder / f"{modality}{run}.jsonl"
            right = {action: text if modality == "text" else speech[run] for action, (speech, text) in RIGHT.items()}
            marked = [(each, int(str(each["id"])[-1]) < right[str(each["action"])]) for each in rows]
            write_lines(path, [{**FRAME, "id": r["id"], "action": r["action"] if ok else "no"} for r, ok in marked])
            both[modality] = read_answers(path, gold, lambda _: None)
        answers.append(both)
    found = first_intents(answers, recordings)
    assert [each.intent for each in found] == ["light_dim", "light_on", "light_off"]
    return {each.intent: each for each in found}


def test_most_to_gain_is_the_share_said_times_what_speech_loses(tmp_path: Path) -> None:
    found = gains(tmp_path)
    dim = found["light_dim"]
    assert (dim.num_test, dim.speech_accuracy, dim.text_accuracy) == (10, 0.3, 0.9)
    assert dim.gain == pytest.approx((0.9 - 0.3) / 3)
    assert 0 < dim.low < dim.gain < dim.high < 0.3
    off = found["light_off"]
    assert off.gain == 0 and off.low == pytest.approx(-off.high) and off.high > 0
    assert found["light_on"].low < 0 < found["light_on"].high  # one utterance of ten


def test_recordings_are_counted_where_the_manifest_lies(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    write_lines(manifest, [row(f"t{number}", "dim" if number < 3 else "on", "train") for number in range(6)])
    cells = [
        CellResult(name="a", scheme="curriculum", speech_ids=("t0", "t1", "t3")),
        CellResult(name="b", scheme="curriculum", speech_ids=("t0", "t4", "t5")),
    ]
    assert recordings_of(cells, manifest) == {"light_dim": 1.5, "light_on": 1.5}
    assert gains(tmp_path / "study", recordings_of(cells, manifest))["light_off"].num_recordings == 0
    assert (
        recordings_of([CellResult(name="c", scheme="curriculum", speech_ids=("t9",))], manifest) is None
    )  # not of this manifest
    assert recordings_of(cells, None) is None
