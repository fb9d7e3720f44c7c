from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from spoken_rows import tone

from sottovoce.data.audio import Samples
from sottovoce.models.features import encode_clips
from sottovoce.models.injection import input_embeddings
from sottovoce.models.load import LoadedModel

PROMPT = "<|im_start|>user\n<|AUDIO|>\nIntent:<|im_end|>\n<|im_start|>assistant\n"
BATCHES = {
    "one clip": [tone(0.7)],
    "clips of different lengths": [tone(0.31), tone(1.7, 900.0), tone(0.1, 200.0), tone(1.0)],
    "clips at and beyond the window": [tone(2.0), tone(2.6, 900.0), tone(0.5)],
}


def processed(loaded: LoadedModel, clips: Sequence[Samples]) -> dict[str, torch.Tensor]:
    inputs = loaded.processor(
        text=[PROMPT] * len(clips), audio=list(clips), sampling_rate=16_000, return_tensors="pt", padding=True
    )
    return dict(inputs)


def injected(loaded: LoadedModel, clips: Sequence[Samples], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    states = torch.cat(list(encode_clips(loaded.model, loaded.processor, clips)))
    return input_embeddings(loaded.model, {"input_ids": inputs["input_ids"], "audio_states": states})


@pytest.mark.parametrize("clips", BATCHES.values(), ids=BATCHES.keys())
@torch.inference_mode()
def test_injected_states_give_the_bits_of_qwen2_audios_own_forward(loaded: LoadedModel, clips: list[Samples]) -> None:
    inputs = processed(loaded, clips)
    own = loaded.model(**inputs).logits
    language = loaded.model.model.language_model
    embeddings, mask = injected(loaded, clips, inputs), inputs["attention_mask"]
    hidden = language(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
    assert torch.equal(loaded.model.lm_head(hidden), own)


@torch.inference_mode()
def test_injection_puts_each_state_in_its_place(loaded: LoadedModel) -> None:
    clips = BATCHES["clips of different lengths"]
    inputs = processed(loaded, clips)
    embeddings = injected(loaded, clips, inputs)
    placeholders = inputs["input_ids"] == loaded.processor.audio_token_id
    tokens = loaded.model.get_input_embeddings()(inputs["input_ids"])
    assert torch.equal(embeddings[~placeholders], tokens[~placeholders])
    for row, mask, clip in zip(embeddings, placeholders, clips, strict=True):
        (states,) = encode_clips(loaded.model, loaded.processor, [clip])
        projected = loaded.model.model.multi_modal_projector(states)
        torch.testing.assert_close(row[mask], projected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clips", BATCHES.values(), ids=BATCHES.keys())
def test_generation_from_embeddings_equals_generation_from_the_processors_inputs(
    loaded: LoadedModel, clips: list[Samples]
) -> None:
    inputs = processed(loaded, clips)
    options = {"max_new_tokens": 12, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    own = loaded.model.generate(**inputs, **options)
    ours = loaded.model.generate(
        inputs_embeds=injected(loaded, clips, inputs), attention_mask=inputs["attention_mask"], **options
    )
    assert torch.equal(own.sequences[:, inputs["input_ids"].shape[1] :], ours.sequences)
    assert all(torch.equal(one, other) for one, other in zip(own.logits, ours.logits, strict=True))


def test_a_clips_states_do_not_depend_on_its_neighbours(loaded: LoadedModel) -> None:
    clips = BATCHES["clips of different lengths"]
    together = list(encode_clips(loaded.model, loaded.processor, clips, batch_size=4))
    for clip, states in zip(clips, together, strict=True):
        (alone,) = encode_clips(loaded.model, loaded.processor, [clip])
        torch.testing.assert_close(states, alone, rtol=1e-4, atol=1e-5)


def test_25_states_a_second_in_the_order_of_the_clips_across_batches(loaded: LoadedModel) -> None:
    clips = [tone(seconds) for seconds in (1.0, 0.4, 2.0, 0.2, 1.6)]
    states = list(encode_clips(loaded.model, loaded.processor, clips, batch_size=2))
    assert [len(state) for state in states] == [25, 10, 50, 5, 40]


def test_states_come_on_the_cpu_in_the_models_dtype_without_gradients(loaded: LoadedModel) -> None:
    loaded.model.to(torch.bfloat16)
    (states,) = encode_clips(loaded.model, loaded.processor, [tone(0.5)])
    assert (states.dtype, states.device.type) == (torch.bfloat16, "cpu") and not states.requires_grad
