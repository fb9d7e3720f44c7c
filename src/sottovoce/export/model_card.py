"""The README.md of an exported model: its training data, scheme and scores, and how to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sottovoce.core.progress import Say
from sottovoce.core.recipe import Recipe
from sottovoce.core.types import MODALITIES
from sottovoce.data.manifest import read_manifest
from sottovoce.models.embedded import EMBEDDED, HUB_AUDIO, HUB_LANGUAGE
from sottovoce.report.results import CellResult, StudyResults, read_study
from sottovoce.report.wording import label, speech_used
from sottovoce.score.evaluate import read_answers, score_report
from sottovoce.score.files import read_gold
from sottovoce.score.metrics.registry import in_tables
from sottovoce.study.layout import CellFolder
from sottovoce.study.runs import instruction_in


def model_card(run: Path, recipe: Recipe, say: Say) -> str:
    """The card of a decoded run, in Markdown with the hub's YAML header.

    Raises:
        UserError: a file of the study is damaged.
    """
    study = CellFolder(run).study
    results = read_study(study.path)
    cell = next(cell for cell in results.cells if cell.name == run.name)
    locales = sorted({u.locale for u in read_manifest(study.gold, allow_outside=True)})
    embedded = recipe.model == EMBEDDED
    header = {
        "library_name": "transformers",
        "license": "apache-2.0" if embedded else "other",
        "base_model": [HUB_AUDIO, HUB_LANGUAGE] if embedded else [Path(recipe.model).name or recipe.model],
        "language": sorted({locale.split("-")[0] for locale in locales}),
        "tags": ["spoken-language-understanding", "intent-classification", "slot-filling", "sottovoce"],
    }
    licence = (
        "Whisper base is MIT; SmolLM2-135M-Instruct and the code that joins them are Apache-2.0."
        if embedded
        else f"The licence of {recipe.model} applies; the training data may restrict it further."
    )
    return "\n".join(
        [
            "---",
            yaml.safe_dump(header, sort_keys=False).rstrip(),
            "---",
            f"# {results.title}: {label(results, cell).lower()}",
            "",
            "An audio language model that answers a command with its intent and slots as JSON. It is "
            f"{'the embedded model of sottovoce' if embedded else recipe.model}, "
            f"fine-tuned with the scheme {cell.scheme}.",
            "",
            *_training(results, cell, recipe, locales),
            "",
            *_scores(run, results, recipe, say),
            "",
            *_use(instruction_in(study.path), locales[0] if embedded else ""),
            "",
            f"Licence: {licence}",
            "",
        ]
    )


def _training(results: StudyResults, cell: CellResult, recipe: Recipe, locales: list[str]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in cell.versions.items())
    return [
        "## Training",
        "",
        f"- Data: {results.corpus} ({', '.join(locales)}), {results.num_train} utterances; "
        f"manifest sha256 `{cell.data.get('sha256', '')}`",
        f"- Speech: {speech_used(cell)}",
        f"- Stages: {', '.join(cell.stages or ()) or 'none'}; language model: {recipe.train.language_model}"
        f"{' on 4-bit weights, here merged into the full-precision weights' if recipe.train.load_in_4bit else ''}, "
        f"projector: {recipe.train.projector}, audio tower: {recipe.train.audio_tower}",
        f"- Seed {cell.seed}; {versions}",
    ]


def _scores(run: Path, results: StudyResults, recipe: Recipe, say: Say) -> list[str]:
    files = CellFolder(run)
    held = f"Answers were restricted by the grammar in `{files.study.ontology.name}`, which the code below omits."
    gold, metrics = read_gold(files.study.gold), in_tables()
    lines = [
        "## Scores",
        "",
        f"{results.num_test} test utterances, strict (a missing or unreadable answer counts as wrong), with 95 % "
        "intervals over utterances.",
        *(["", held] * (recipe.decode.grammar == "ontology")),
        "",
        "| answered from | " + " | ".join(metric.heading for metric in metrics) + " |",
        "| --- |" + " ---: |" * len(metrics),
    ]
    for source in MODALITIES:
        report = score_report(read_answers(files.predictions(source), gold, say), (), with_intervals=True)
        strict, bounds = report["strict"], report["intervals"]["strict"]
        cells = [f"{each.text(strict[each.key])} {each.bounds(bounds[each.key])}" for each in metrics]
        lines.append(f"| {'gold text' if source == 'text' else source} | " + " | ".join(cells) + " |")
    return lines


def _use(instruction: str, locale: str) -> list[str]:
    """How transformers loads the folder; ``locale`` is for the embedded model, whose code is saved with its weights."""
    code, language = (", trust_remote_code=True", f', language="{locale}"') if locale else ("", "")
    example: dict[str, Any] = {
        "role": "user",
        "content": [{"type": "audio", "audio": "clip.wav"}, {"type": "text", "text": instruction}],
    }
    return [
        "## Use",
        "",
        "```python",
        "import soundfile",
        "from transformers import AutoModelForMultimodalLM, AutoProcessor",
        "",
        f'model = AutoModelForMultimodalLM.from_pretrained(FOLDER, dtype="auto"{code})',
        f"processor = AutoProcessor.from_pretrained(FOLDER{code})",
        f"chat = [{example!r}]",
        "prompt = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)",
        'samples, rate = soundfile.read("clip.wav", dtype="float32")  # mono, 16 kHz',
        'inputs = processor(text=prompt, audio=[samples], audio_kwargs={"sampling_rate": rate}, return_tensors="pt"'
        f"{language})",
        'inputs["input_features"] = inputs["input_features"].to(model.dtype)',
        "answer = model.generate(**inputs)[0, inputs.input_ids.shape[1]:]",
        "print(processor.tokenizer.decode(answer, skip_special_tokens=True))",
        "```",
    ]
