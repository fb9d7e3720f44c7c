"""Answers of a model through transformers alone: its processor, its forward with audio features, its generate.

None of this project's training or decoding code is involved, so these are the answers that a user of the exported
folder gets. As a program it reads requests from standard input, to run in a fresh process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from sottovoce.data.audio import SAMPLING_RATE, load_audio

OWN_CODE = "own-code"


def plain_answers(model: Any, processor: Any, requests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Greedy answers, one request at a time.

    Args:
        model: in evaluation mode.
        processor: its processor.
        requests: ``prompt``, with one audio token if ``audio`` (the path of a recording) is not None; and ``options``
            of the processor for a recording.

    Returns:
        For each request ``text``, and ``logit``, the largest at the answer's first position.
    """
    answers = []
    for request in requests:
        audio = {} if request["audio"] is None else {"audio": [load_audio(Path(request["audio"]))]}
        options = {"audio_kwargs": {"sampling_rate": SAMPLING_RATE}, **request["options"]} if audio else {}
        inputs = processor(text=[request["prompt"]], return_tensors="pt", **audio, **options).to(model.device)
        if "input_features" in inputs:
            inputs["input_features"] = inputs["input_features"].to(model.dtype)
        with torch.inference_mode():
            out = model.generate(**inputs, return_dict_in_generate=True, output_logits=True)
        ids = out.sequences[0, inputs["input_ids"].shape[1] :]
        text = processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        answers.append({"text": text, "logit": float(out.logits[0].max())})
    return answers


def main() -> None:
    """Answers a JSON list of requests on standard input by a JSON list.

    The command line gives the folder, the attention implementation (each rounds differently) and, to load the code
    saved with the weights, ``own-code``.
    """
    from transformers import AutoModelForMultimodalLM, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    (folder, attention, *code), requests = sys.argv[1:], json.load(sys.stdin)
    trusted = code == [OWN_CODE]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForMultimodalLM.from_pretrained(
        folder, dtype="auto", attn_implementation=attention, trust_remote_code=trusted
    )
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=trusted)
    print(json.dumps(plain_answers(model.to(device).eval(), processor, requests)))


if __name__ == "__main__":
    main()
