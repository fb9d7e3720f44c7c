"""Every family that can be trained, on a tiny random model of its real class: the same checks for each."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lively import enlivened, ids_of_transformers
from spoken_rows import speech_row, text_row, tone, utterance
from tiny_audio_flamingo import AUDIO_FLAMINGO, MUSIC_FLAMINGO
from tiny_gemma3n import GEMMA3N
from tiny_glm_asr import GLM_ASR
from tiny_granite_speech import GRANITE_SPEECH
from tiny_omni import QWEN2_5_OMNI, QWEN3_OMNI
from tiny_parts import Tiny, audio_part_in_full
from tiny_phi4_multimodal import PHI4_MULTIMODAL
from tiny_qwen3_asr import QWEN3_ASR
from tiny_voxtral import VOXTRAL
from tiny_whisper_lm import WHISPER_LM

from sottovoce.core.errors import UserError
from sottovoce.core.recipe import Train
from sottovoce.core.types import Entity, Frame
from sottovoce.data.collate import IGNORED, Row, collate_prompts, collate_training, end_of_turn_id
from sottovoce.data.prompts import messages_of, slu_example
from sottovoce.decode import batches as decoding
from sottovoce.decode.batches import generate
from sottovoce.decode.constraints import ANY_TEXT
from sottovoce.decode.greedy import greedy
from sottovoce.decode.ontology import GrammarForm, ontology_of
from sottovoce.decode.parse import parse_answer
from sottovoce.decode.prefix_reader import supports_steps
from sottovoce.models.audio_state_cache import AudioStateCache
from sottovoce.models.families.registry import FAMILIES
from sottovoce.models.injection import answer_loss, bare, input_embeddings
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.models.lower_states import LowerStates
from sottovoce.study.preflight import PROOFS, prove
from sottovoce.study.resources.activations import RowSize, saved_activations
from sottovoce.study.resources.memory import forecast_memory
from sottovoce.train.parts import part_of, reencodes_audio, with_weights
from sottovoce.train.sharding import audio_part_apart, decoder_layers
from sottovoce.train.weights import save_weights

TINY = [
    VOXTRAL, QWEN2_5_OMNI, AUDIO_FLAMINGO, GRANITE_SPEECH, GLM_ASR, QWEN3_OMNI, MUSIC_FLAMINGO, PHI4_MULTIMODAL,
    GEMMA3N, WHISPER_LM,
]  # fmt: skip
GENERIC = [QWEN3_ASR]
UNDIVIDED = ("phi4_multimodal", "gemma3n", "qwen3_asr")  # no training of upper layers alone
SECONDS = (0.5, 1.3)
CLOSE = {"rtol": 2e-4, "atol": 2e-4}


@dataclass(frozen=True)
class Case:
    tiny: Tiny
    folder: Path
    loaded: LoadedModel
    rows: list[Row]


@pytest.fixture(scope="module", params=TINY + GENERIC, ids=lambda tiny: tiny.model_type)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bf16_everywhere: None) -> Case:
    """A tiny model with a row of text, two of speech and one more of text; tests leave it as it is."""
    folder = tmp_path_factory.mktemp(request.param.model_type)
    request.param.build(folder)
    loaded = load_model(str(folder), bf16=False)
    rows = [
        text_row(loaded, "light on"),
        speech_row(loaded, SECONDS[0]),
        text_row(loaded, "please put the light on in the hall"),
        speech_row(loaded, SECONDS[1], 700.0),
    ]
    return Case(request.param, folder, loaded, rows)


def loss_of(model: Any, rows: list[Row], pad_id: int) -> float:
    with torch.inference_mode():
        return float(answer_loss(model, collate_training(rows, pad_id))[0])


def logits_of(loaded: LoadedModel, ids: torch.Tensor, states: torch.Tensor | None) -> torch.Tensor:
    """What training sees of a row, (length, vocabulary)."""
    batch = {"input_ids": ids} | ({} if states is None else {"audio_states": states})
    embeddings = input_embeddings(loaded.model, batch)
    return loaded.family.logits(loaded.model, loaded.family.hidden_states(loaded.model, ids, embeddings))[0]


def test_every_registered_family_is_here() -> None:
    here = {FAMILIES[tiny.model_type].model_type for tiny in TINY}
    assert here == {family.model_type for family in FAMILIES.values()} - {"qwen2_audio"}


@torch.inference_mode()
def test_injected_features_give_the_logits_of_the_familys_own_forward(case: Case) -> None:
    loaded, example = case.loaded, slu_example(utterance("not shown"), "speech")
    prompt = loaded.processor.apply_chat_template(messages_of(example), add_generation_prompt=True, tokenize=False)
    heard = []
    for seconds in (*SECONDS, 2.6):  # the last is longer than a window of two seconds
        row, clip = speech_row(loaded, seconds, 300.0), tone(seconds, 300.0)
        ids = torch.tensor([row.prompt_ids])
        own = case.tiny.own_inputs(loaded, prompt, clip)
        if "input_ids" in own:
            assert own["input_ids"].tolist() == [row.prompt_ids]
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)} | own
        heard.append(logits_of(loaded, ids, row.audio_states))
        torch.testing.assert_close(heard[-1], loaded.model(**inputs).logits[0], **CLOSE)
    row = speech_row(loaded, SECONDS[0], 1500.0)
    other = logits_of(loaded, torch.tensor([row.prompt_ids]), row.audio_states)
    assert (other[-1] - heard[0][-1]).abs().max() > 10 * CLOSE["atol"]  # it listens


def test_audio_tokens_a_second(case: Case) -> None:
    found = [len(row.audio_states) for row in case.rows if row.audio_states is not None]
    assert found == list(case.tiny.tokens)


def test_text_and_speech_prompts_differ_in_the_audio_only(case: Case) -> None:
    processor = case.loaded.processor
    written, spoken = (
        processor.apply_chat_template(
            messages_of(slu_example(utterance("HEARD"), modality)), add_generation_prompt=True
        )
        for modality in ("text", "speech")
    )
    before, after = written.split("HEARD")
    assert spoken.startswith(before) and spoken.endswith(after)
    audio = spoken[len(before) : len(spoken) - len(after)]
    ids = processor.tokenizer(audio.strip(), add_special_tokens=False).input_ids
    assert processor.audio_token_id in ids and len(ids) <= 3  # at most a begin and an end around it, and blank lines


def test_labels_decode_to_the_answer(case: Case) -> None:
    tokenizer, example = case.loaded.processor.tokenizer, slu_example(utterance("light on"), "text")
    end = tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer))
    for labels in collate_training(case.rows, case.loaded.pad_id)["labels"]:
        assert tokenizer.decode(labels[labels != IGNORED]) == example.answer + end


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_training_reaches_the_language_model_alone(case: Case, kind: str, tmp_path: Path) -> None:
    family, rows, pad_id = case.loaded.family, case.rows, case.loaded.pad_id
    loaded = replace(case.loaded, model=copy.deepcopy(case.loaded.model))
    train = Train(language_model=kind, bf16=False)
    model = with_weights(loaded, train, None)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    batches = [[rows[0], rows[2]], [rows[1], rows[3]], rows] if kind == "lora" else [rows]
    for batch in batches:
        model.zero_grad()
        total, _ = answer_loss(model, collate_training(batch, pad_id))
        assert torch.isfinite(total)
        total.backward()  # type: ignore[no-untyped-call]
        reached = {name for name, p in trained.items() if p.grad is not None and p.grad.abs().max() > 0}
        assert reached and all(p.grad is None for p in model.parameters() if not p.requires_grad)
        if kind == "lora":
            assert {name.split(".")[-4] for name in reached} == set(case.tiny.only_lora)
    for part in (family.audio_tower, family.projector):
        assert not any(p.requires_grad for p in bare(model).get_submodule(part).parameters())
    if kind == "lora":
        assert all("lora_" in name and f".{family.text_model}.layers." in name for name in trained)
    with torch.no_grad():
        for parameter in trained.values():
            parameter -= 0.02 * parameter.grad if parameter.grad is not None else 0.0
    save_weights(model, tmp_path)
    again = with_weights(load_model(str(case.folder), bf16=False), train, tmp_path)
    after = loss_of(model.eval(), rows, pad_id)
    assert loss_of(again.eval(), rows, pad_id) == after != loss_of(case.loaded.model, rows, pad_id)


def test_a_rows_loss_depends_neither_on_padding_nor_on_neighbours(case: Case) -> None:
    pad_id = case.loaded.pad_id
    alone = [loss_of(case.loaded.model, [row], pad_id) for row in case.rows]
    assert loss_of(case.loaded.model, case.rows, pad_id) == pytest.approx(sum(alone), rel=1e-5)
    pair = loss_of(case.loaded.model, [case.rows[3], case.rows[0]], pad_id)
    assert pair == pytest.approx(alone[3] + alone[0], rel=1e-5)
    assert max(map(len, case.rows)) - min(map(len, case.rows)) >= 16  # else there would be no padding


def test_a_batch_is_answered_as_its_rows_one_by_one(case: Case) -> None:
    loaded, rows = case.loaded, case.rows
    together = generate(loaded, loaded.model, rows, 4)
    assert together == [generate(loaded, loaded.model, [row], 4)[0] for row in rows]
    assert len(set(together)) > 1


def test_answers_are_those_of_transformers_generate(case: Case) -> None:
    """Token by token; where rows end at different lengths, and for batches of one."""
    loaded, rows = enlivened(replace(case.loaded, model=copy.deepcopy(case.loaded.model))), case.rows
    if not loaded.family.packs:
        assert not supports_steps(loaded.family, loaded.model)
        return
    assert supports_steps(loaded.family, loaded.model)
    expected = ids_of_transformers(loaded, rows, 12)
    assert greedy(loaded, loaded.model, rows, [ANY_TEXT] * len(rows), 12) == expected
    assert greedy(loaded, loaded.model, rows[3:], [ANY_TEXT], 12) == expected[3:]
    assert len({tuple(ids) for ids in expected}) > 1


def test_answers_can_be_held_to_an_ontology(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Frame("light", "on", (Entity("room", "x"),)), Frame("light", "off"), Frame("music", "play")]
    form = GrammarForm(ontology_of(frames), case.loaded.processor.tokenizer)
    texts = generate(case.loaded, case.loaded.model, case.rows, 70, form)
    for text in texts:
        frame = parse_answer("u", text).frame
        assert text.startswith('{"scenario": "') and (frame is None or frame.intent in {f.intent for f in frames})
    monkeypatch.setattr(decoding, "supports_steps", lambda *_: False)
    assert generate(case.loaded, case.loaded.model, case.rows, 70, form) == texts


@torch.inference_mode()
def test_decoding_sees_the_logits_that_training_sees(case: Case) -> None:
    """Prompts padded on the left through ``generate``, against rows padded on the right through the training path."""
    loaded, rows = case.loaded, case.rows
    batch = collate_prompts(rows, loaded.pad_id)
    embeddings = input_embeddings(loaded.model, batch)
    with loaded.family.generating(loaded.model, batch["input_ids"]):
        out = loaded.model.generate(
            inputs_embeds=embeddings, attention_mask=batch["attention_mask"], max_new_tokens=1, do_sample=False,
            output_logits=True, return_dict_in_generate=True, pad_token_id=loaded.pad_id,
        )  # fmt: skip
    for row, found in zip(rows, out.logits[0], strict=True):
        seen = logits_of(loaded, torch.tensor([row.prompt_ids]), row.audio_states)[-1]
        torch.testing.assert_close(found, seen, **CLOSE)


def test_a_saved_model_gives_the_same_loss(case: Case, tmp_path: Path) -> None:
    others = shutil.ignore_patterns("*.safetensors", "config.json")
    shutil.copytree(case.folder, tmp_path, ignore=others, dirs_exist_ok=True)
    case.loaded.model.save_pretrained(tmp_path)
    again = load_model(str(tmp_path), bf16=False)
    rows = [text_row(again, "light on"), speech_row(again, SECONDS[0])]
    assert loss_of(again.model, rows, again.pad_id) == loss_of(case.loaded.model, case.rows[:2], case.loaded.pad_id)


def test_in_bfloat16_speech_is_heard_and_answered(case: Case) -> None:
    loaded = load_model(str(case.folder))
    rows = [text_row(loaded, "light on"), speech_row(loaded, SECONDS[0])]
    states = rows[1].audio_states
    assert states is not None and (states.dtype == torch.bfloat16 or not states.is_floating_point())
    assert loss_of(loaded.model, rows, loaded.pad_id) == pytest.approx(
        loss_of(case.loaded.model, case.rows[:2], case.loaded.pad_id), rel=0.1
    )
    assert len(generate(loaded, loaded.model, rows, 2)) == 2


# --- all at once, as before a training


def test_the_preflight_proofs_hold(case: Case) -> None:
    examples = [
        slu_example(utterance("never shown"), "text" if row.audio_states is None else "speech") for row in case.rows
    ]
    held = list(
        prove(load_model(str(case.folder), bf16=False), Train(language_model="lora", bf16=False), examples, case.rows)
    )
    assert [proof.name for proof in held] == list(PROOFS)


def test_memory_is_forecast_from_the_configuration(case: Case) -> None:
    settings = Train(language_model="lora", per_device_train_batch_size=2)
    if not case.loaded.family.model_class:
        with pytest.raises(UserError, match="is not registered"):
            forecast_memory(str(case.folder), settings, RowSize(48, 16))
        return
    memory = forecast_memory(str(case.folder), settings, RowSize(48, 16))
    model = with_weights(load_model(str(case.folder)), settings, None)
    assert memory.weights == sum(parameter.nbytes for parameter in model.parameters())
    assert memory.gradients == sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    assert memory.activations > 0


def test_what_a_trained_audio_part_keeps_is_forecast(case: Case) -> None:
    if not case.loaded.family.model_class:
        return
    loaded, row = load_model(str(case.folder)), RowSize(48, 16, SECONDS[1])
    settings = Train.model_validate({**audio_part_in_full(loaded), "per_device_train_batch_size": 2})
    memory = forecast_memory(str(case.folder), settings, row)
    if case.tiny.model_type == "whisper_lm":  # how many tokens it hears is not known from a configuration
        assert "known only after transcribing it" in memory.uncounted
        return
    loaded.model.set_attn_implementation("sdpa")
    clip = loaded.family.training_inputs(loaded.model, loaded.processor, tone(SECONDS[1]), "en-US")
    real = saved_activations(loaded.family, with_weights(loaded, settings, None), 2, row, True, clip).num_bytes
    if case.tiny.model_type == "qwen3_omni_moe":  # its tower makes a tensor of a list of numbers that lie in tensors
        assert "data is not allocated" in memory.uncounted and memory.activations < real
    else:
        assert memory.activations == pytest.approx(real, rel=0.06) and not memory.uncounted


def test_audio_heard_anew_enters_as_audio_that_was_kept_and_reaches_its_part(case: Case) -> None:
    loaded = load_model(str(case.folder), bf16=False)
    settings = Train.model_validate({**audio_part_in_full(loaded), "bf16": False})
    assert reencodes_audio(loaded.family, settings)
    clips = [None, tone(SECONDS[0]), None, tone(SECONDS[1], 700.0)]
    parts = (loaded.model, loaded.processor)
    heard = [None if clip is None else loaded.family.training_inputs(*parts, clip, "en-US") for clip in clips]
    rows = [replace(row, audio_inputs=inputs) for row, inputs in zip(case.rows, heard, strict=True)]
    model = with_weights(loaded, settings, None)
    loss, _ = answer_loss(model, collate_training(rows, loaded.pad_id))
    if case.tiny.model_type != "whisper_lm":  # whose likeliest tokens are kept, and expected embeddings trained on
        assert float(loss.detach()) == pytest.approx(loss_of(case.loaded.model, case.rows, loaded.pad_id), rel=1e-4)
    loss.backward()
    moving = {
        part_of(loaded.family, name) for name, p in model.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert "audio_tower" in moving and "language_model" not in moving


def test_sharding_finds_the_decoder_layers_and_leaves_the_audio_part_out(case: Case) -> None:
    model, family = case.loaded.model, case.loaded.family
    assert len(decoder_layers(model)) == model.config.get_text_config().num_hidden_layers
    names = [name for name, _ in model.named_parameters()]
    with audio_part_apart(model):
        left = [name for name, _ in model.named_parameters()]
        assert left and all(part_of(family, name) == "language_model" for name in left)
    assert [name for name, _ in model.named_parameters()] == names


def test_states_are_kept_under_the_audio_parts_own_weights(case: Case, tmp_path: Path) -> None:
    files = partial(AudioStateCache, case.loaded, 16, root=tmp_path)
    states = {str(n): row.audio_states for n, row in enumerate(case.rows) if row.audio_states is not None}
    files().write(states)
    found = files().read(states)
    assert found.keys() == states.keys() and all(torch.equal(found[key], states[key]) for key in states)
    family = case.loaded.family
    for part, own in ((family.audio_tower, False), (family.projector, False), ("lm_head", True)):
        weights = (p for p in case.loaded.model.get_submodule(part).parameters() if p.is_floating_point())
        if (weight := next(weights, None)) is None:  # a projector without any
            continue
        before = weight.detach().clone()
        weight.data += 1
        assert (files().read(states).keys() == states.keys()) == own, part
        weight.data = before
    assert files().read(states).keys() == states.keys()


def test_lower_layers_are_computed_apart_or_refused(case: Case) -> None:
    """The same loss from what the first layer makes of each row; a family of which that does not hold is refused."""
    loaded, rows = case.loaded, case.rows
    try:
        kept = LowerStates(1).of(loaded, rows)
    except UserError as error:
        assert "first_layer: 0" in str(error)
        assert case.tiny.model_type in UNDIVIDED
        return
    assert case.tiny.model_type not in UNDIVIDED
    with torch.no_grad():
        whole, _ = answer_loss(loaded.model, collate_training(rows, loaded.pad_id))
        upper, _ = answer_loss(loaded.model, collate_training(kept, loaded.pad_id), first_layer=1)
    torch.testing.assert_close(upper, whole, **CLOSE)
