"""The decoding loop of our own against transformers' ``generate``, and what it saves, in counts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from lively import enlivened, ids_of_transformers, steps_of
from spoken_rows import mixed_rows, speech_row, text_row

from sottovoce.data.collate import end_of_turn_id
from sottovoce.decode.batches import generate
from sottovoce.decode.constraints import ANY_TEXT, AnyText
from sottovoce.decode.greedy import greedy
from sottovoce.decode.prefix_reader import first_logits, supports_steps
from sottovoce.models.load import LoadedModel
from sottovoce.models.packed_attention import TOKEN_STEP


@pytest.fixture
def lively(loaded: LoadedModel) -> LoadedModel:
    return enlivened(loaded)


@dataclass
class Lengths(AnyText):
    """Answers that end after so many tokens, the first one's number being the first row's."""

    lengths: list[int]
    begun: int = 0

    def new_state(self) -> Any:
        self.begun += 1
        return Length(self.lengths[self.begun - 1])


@dataclass
class Length(AnyText):
    left: int
    ended: bool = False

    def advance(self, token: int) -> None:
        self.left -= 1
        self.ended = self.left == 0


@dataclass
class Scripted(AnyText):
    """Answers in which the tokens of ``script`` are forced and a free one stands at each None."""

    script: list[int | None]
    ended: bool = False
    at: int = 0
    chosen: list[int] = field(default_factory=list)

    def new_state(self) -> Any:
        return replace(self, chosen=[])

    def advance(self, token: int) -> None:
        self.at += 1
        self.ended = self.at == len(self.script)

    def forced(self) -> list[int]:
        tokens: list[int] = []
        while not self.ended and self.script[self.at] is not None:
            tokens.append(self.script[self.at] or 0)
            self.advance(tokens[-1])
        return tokens


def test_the_loop_gives_the_tokens_of_transformers_generate(lively: LoadedModel) -> None:
    rows = mixed_rows(lively)
    expected = ids_of_transformers(lively, rows, 14)
    states = [ANY_TEXT.new_state() for _ in rows]
    assert greedy(lively, lively.model, rows, states, 14) == expected
    for row, alone in zip(rows, expected, strict=True):  # batches of one
        assert greedy(lively, lively.model, [row], states[:1], 14) == [alone]
    assert len({tuple(ids) for ids in expected}) == len(rows)


def test_rows_whose_answer_has_ended_leave_the_batch(lively: LoadedModel) -> None:
    rows = [text_row(lively, word) for word in ("on", "light", "hall on", "put it on", "dim it", "go", "den", "stop")]
    end = end_of_turn_id(lively.processor.tokenizer)
    lively.model.lm_head.register_forward_hook(lambda _, __, logits: logits.index_fill(-1, torch.tensor([end]), -1e9))
    whole = ids_of_transformers(lively, rows, 9)
    lengths = [1, 2, 2, 9, 3, 4, 4, 9]
    form = Lengths(lengths)
    with steps_of(lively) as steps:
        found = greedy(lively, lively.model, rows, [form.new_state() for _ in rows], 9)
    assert found == [ids[:length] for ids, length in zip(whole, lengths, strict=True)]
    # One of eight is too few to be taken out; with the next two, three are, then one of five is not, and so on.
    assert [num_rows for num_rows, _ in steps[-9:]] == [8, 8, 5, 5, 2, 2, 2, 2, 2]
    assert [places for _, places in steps[-8:]] == [1] * 8


def test_the_end_of_turn_ends_an_answer_and_takes_its_row_out(lively: LoadedModel) -> None:
    rows, end = mixed_rows(lively), end_of_turn_id(lively.processor.tokenizer)
    often = ids_of_transformers(lively, rows, 8)[0][3]  # which is made the end of turn
    with torch.no_grad():
        weights = lively.model.lm_head.weight
        weights[[end, often]] = weights[[often, end]]
    expected = ids_of_transformers(lively, rows, 8)
    assert expected[0][-1] == end and len(expected[0]) <= 4 and max(map(len, expected)) == 8
    with steps_of(lively) as steps:
        assert greedy(lively, lively.model, rows, [ANY_TEXT] * 4, 8) == expected
    assert steps[1][0] == 4 and steps[4][0] < 4


def test_what_all_prompts_begin_with_is_read_once(lively: LoadedModel) -> None:
    opening = text_row(lively, "x").prompt_ids[:40]
    rows = [replace(row, prompt_ids=opening + row.prompt_ids) for row in mixed_rows(lively)]
    expected = ids_of_transformers(lively, rows, 6)
    with steps_of(lively) as steps:
        assert greedy(lively, lively.model, rows, [ANY_TEXT] * 4, 6) == expected
    assert steps[0][0] == 1 and steps[0][1] >= 40 and steps[1][0] == 4
    alone = [steps[0][1] + places for _, places in steps[1:2]]
    assert alone[0] < 16 + max(len(row.prompt_ids) for row in rows)
    # Of prompts that are one and the same the last token is left for each row.
    same = [rows[0]] * 5
    assert greedy(lively, lively.model, same, [ANY_TEXT] * 5, 6) == [expected[0]] * 5


def test_a_beginning_is_shared_no_further_than_the_first_placeholder(lively: LoadedModel) -> None:
    opening = text_row(lively, "y").prompt_ids[:40]
    heard = [speech_row(lively, 1.3, pitch) for pitch in (300.0, 600.0, 1200.0, 2400.0)]
    rows = [replace(row, prompt_ids=opening + row.prompt_ids) for row in heard]
    with steps_of(lively) as steps:
        found = greedy(lively, lively.model, rows, [ANY_TEXT] * 4, 6)
    assert found == ids_of_transformers(lively, rows, 6)
    assert len({tuple(ids) for ids in found}) > 1
    assert steps[0] == (1, rows[0].prompt_ids.index(lively.processor.audio_token_id))


def test_forced_tokens_cost_no_step_of_their_own(lively: LoadedModel) -> None:
    rows = mixed_rows(lively)
    script = [20, 21, 22, None, 30, 31, 32, 33, None, None, 40, 41]
    form = Scripted(script)
    with steps_of(lively) as steps:
        found = greedy(lively, lively.model, rows, [form.new_state() for _ in rows], 20)
    num_read = sum(len(row.prompt_ids) + 3 for row in rows)  # without padding, in one sequence
    assert steps == [(1, -(-num_read // TOKEN_STEP) * TOKEN_STEP), (4, 5), (4, 1)]
    for ids, row in zip(found, rows, strict=True):
        assert [a for a, b in zip(ids, script, strict=True) if b is not None] == [t for t in script if t is not None]
        for place in (3, 8, 9):  # what is chosen is what the model finds likeliest after all that stands before
            before = replace(row, prompt_ids=row.prompt_ids + ids[:place])
            assert ids[place] == int(first_logits(lively, lively.model, [before])[0].argmax())


def test_rows_with_forced_tokens_stand_beside_rows_without(lively: LoadedModel) -> None:
    rows = mixed_rows(lively)
    scripts: list[list[int | None]] = [
        [None] * 6,
        [None, 20, 21, None, None, 22],
        [None, None, 30, 31, 32, None],
        [40] * 6,
    ]
    with steps_of(lively) as steps:
        found = greedy(lively, lively.model, rows, [Scripted(script) for script in scripts], 20)
    alone = [
        greedy(lively, lively.model, [row], [Scripted(script)], 20)[0]
        for row, script in zip(rows, scripts, strict=True)
    ]
    assert found == alone and found[0] == ids_of_transformers(lively, rows[:1], 6)[0]
    assert [places for _, places in steps[1:]] == [3, 4, 1, 1, 1]


def test_a_row_with_many_forced_tokens_does_not_make_its_neighbours_wait(lively: LoadedModel) -> None:
    rows = mixed_rows(lively) * 2
    scripts: list[list[int | None]] = [[None, 20, 21, 22, 23, None, None], *([[None] * 7] * 7)]
    with steps_of(lively) as steps:
        found = greedy(lively, lively.model, rows, [Scripted(script) for script in scripts], 20)
    assert [places for _, places in steps[-6:]] == [1] * 6
    assert found[0] == greedy(lively, lively.model, rows[:1], [Scripted(scripts[0])], 20)[0]
    assert found[1:] == [ids[:7] for ids in ids_of_transformers(lively, rows, 7)[1:]]


def test_an_answer_is_no_longer_than_asked_for_forced_tokens_included(lively: LoadedModel) -> None:
    rows = mixed_rows(lively)[:2]
    found = greedy(lively, lively.model, rows, [Scripted([None, 20, 21, 22, None]) for _ in rows], 3)
    assert [ids[1:] for ids in found] == [[20, 21]] * 2


def test_a_window_over_the_row_is_left_to_transformers(lively: LoadedModel) -> None:
    assert supports_steps(lively.family, lively.model)
    assert not supports_steps(replace(lively.family, packs=False), lively.model)
    config = lively.model.get_submodule(lively.family.text_model).config
    config.sliding_window = 8
    assert not supports_steps(lively.family, lively.model)
    config.sliding_window, config.layer_types = None, ["full_attention", "sliding_attention"]
    assert not supports_steps(lively.family, lively.model)


@pytest.mark.slow
def test_the_embedded_model_answers_as_by_transformers_generate() -> None:
    from sottovoce.data.collate import tokenize
    from sottovoce.data.corpora.home import home_manifest
    from sottovoce.data.manifest import read_manifest
    from sottovoce.data.prompts import slu_example
    from sottovoce.models.load import load_model

    loaded = load_model("embedded", bf16=False)
    utterances = [u for u in read_manifest(home_manifest("en-US")) if u.split == "test"][:12]
    rows = [tokenize(slu_example(u, "text"), loaded.processor, None) for u in utterances]
    expected = ids_of_transformers(loaded, rows, 24)
    assert greedy(loaded, loaded.model, rows, [ANY_TEXT] * 12, 24) == expected
    assert len(set(generate(loaded, loaded.model, rows, 24))) > 3
