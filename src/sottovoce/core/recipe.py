"""The keys of a recipe with their types; ``recipe_file`` reads one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sottovoce.core.errors import nearest

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Grammar = Literal["none", "ontology"]
NoiseSource = Literal["shipped", "budget", "spelling"]
DevMetric = Literal["intent_accuracy", "slu_f1", "loss"]
GRAMMARS: tuple[Grammar, ...] = get_args(Grammar)


def _later(default: Any, **facts: Any) -> Any:
    """A field that is written only if set, so that studies older than it keep the names of their stages."""
    return Field(default, exclude_if=lambda value: value == default, **facts)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Corpus(_Closed):
    """Where the utterances come from: the built-in corpus, or a manifest made by ``sottovoce prepare``."""

    builtin: Literal["home"] | None = Field(None, description="a corpus that ships with sottovoce")
    locale: str | None = Field(None, description="which language of a built-in corpus, such as en-US")
    manifest: Path | None = Field(None, description="a manifest (JSONL), relative to the working folder")
    allow_outside: bool = Field(False, description="permit recordings outside the manifest's folder")
    only_spoken: bool = Field(False, description="leave out training utterances that have no recording")

    @model_validator(mode="after")
    def _one_source(self) -> Corpus:
        if (self.builtin is None) == (self.manifest is None):
            raise ValueError("give either builtin (with locale) or manifest")
        if self.builtin and not self.locale:
            raise ValueError("a built-in corpus needs its locale, such as en-US")
        return self


class SpeechUtterances(_Closed):
    """A speech budget counted in recordings."""

    utterances: int = Field(ge=1, description="number of recordings")


class SpeechSeconds(_Closed):
    """A speech budget counted in seconds of speech."""

    seconds: float = Field(gt=0, description="seconds of speech")


class SpeechHours(_Closed):
    """A speech budget counted in hours of speech."""

    hours: float = Field(gt=0, description="hours of speech")


class SpeechSpeakers(_Closed):
    """A speech budget counted in speakers."""

    speakers: int = Field(ge=1, description="number of speakers, with all their recordings")


Size = Share | Literal["all"] | SpeechUtterances | SpeechSeconds | SpeechHours | SpeechSpeakers


class Source(Corpus):
    """A corpus in another language, whose text and speech are added to the training data of the target."""

    speech: Size = Field("all", description="how much of its training speech is used, written like a budget")
    num_train_utterances: int | None = Field(None, ge=1, description="use only this many (stratified by intent)")


class Noise(_Closed):
    """Recognition noise on text. Rates are shares of the words outside fillers, in the sentences that get noise."""

    rows: Share = Field(0.5, description="share of sentences that get noise, drawn again for each epoch")
    replace: Share = Field(0.1, description="share of words that are replaced")
    drop: Share = Field(0.03, description="share of words that are dropped")
    insert: Share = Field(0.01, description="share of words after which a wrong word is inserted")
    source: NoiseSource = Field(
        "shipped",
        description="where replacements come from: shipped, what the embedded model mishears; budget, what this model "
        "mishears in the budget's clips; spelling, words of the training text that sound alike",
    )
    seed: int = Field(0, description="seed for choosing sentences, words and replacements")

    @model_validator(mode="after")
    def _leaves_words(self) -> Noise:
        if self.replace + self.drop + self.insert > 1:
            raise ValueError("replace, drop and insert add up to more than 1")
        return self


class Lora(_Closed):
    """The LoRA adapter of the parts that are trained as ``lora``; names as in PEFT."""

    r: int = Field(16, ge=1, description="rank")
    lora_alpha: int = Field(32, ge=1, description="the adapter is scaled by lora_alpha / r")
    lora_dropout: Share = Field(0.0, description="dropout before the adapter")
    use_dora: bool = Field(False, description="train direction and magnitude separately (DoRA)")
    # Written only if set, so that stages of earlier studies keep their names.
    first_layer: int = Field(0, ge=0, exclude_if=lambda n: not n, description="lowest layer with an adapter, from 0")


class StageSettings(_Closed):
    """How one stage is trained; names as in transformers' TrainingArguments."""

    num_train_epochs: int = Field(3, ge=1, description="passes over the stage's mixture")
    learning_rate: float = Field(5e-6, gt=0, description="peak, reached at the end of the warm-up")
    warmup_ratio: Share = Field(0.04, description="share of the steps in which the learning rate rises from 0")
    speech_repeats: int = Field(1, ge=1, description="how often each clip of the speech budget occurs in one epoch")
    perturb_repeats: bool = Field(False, description="vary tempo and level of the repeats, and add silence and noise")
    max_speech_share: float = Field(
        1.0, gt=0, le=1, description="repeat clips less often if speech would exceed this share of an epoch"
    )


class Train(_Closed):
    """Training. The defaults are the paper's settings for a 7B model, with audio tower and projector frozen."""

    language_model: Literal["full", "lora", "frozen"] = Field("full", description="how the language model is trained")
    projector: Literal["full", "frozen"] = Field("frozen", description="how the projector is trained")
    audio_tower: Literal["full", "lora", "frozen"] = Field(
        "frozen",
        description="how the audio tower is trained; unless frozen, recordings are encoded again at every step",
    )
    lora: Lora = Field(Lora(), description="the LoRA adapter")
    load_in_4bit: bool = Field(False, description="load the frozen language model in 4 bits: QLoRA (extra `qlora`)")
    stage: StageSettings = Field(StageSettings(), description="for schemes with one stage, such as text_only")
    first_stage: StageSettings = Field(
        StageSettings(num_train_epochs=2), description="curriculum's text-only stage, shared by all budgets"
    )
    last_stage: StageSettings = Field(
        StageSettings(num_train_epochs=1, learning_rate=3e-6, warmup_ratio=0.02),
        description="curriculum's stage with text and speech together",
    )
    noise: Noise = Field(Noise(), description="recognition noise on the text of schemes that use it")
    per_device_train_batch_size: int = Field(128, ge=1, description="rows per forward pass")
    gradient_accumulation_steps: int = Field(1, ge=1, description="batches per optimizer step, over all processes")
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = Field("cosine", description="after the warm-up")
    weight_decay: float = Field(0.0, ge=0, description="weight decay of AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    gradient_checkpointing: Literal["auto", True, False] = Field(
        "auto", description="recompute layers in the backward pass; auto: on a GPU with too little memory otherwise"
    )
    bf16: bool = Field(True, description="compute in bfloat16 where the hardware has it, else in float32")
    save_steps: int = Field(50, ge=1, description="steps between checkpoints, which a stopped run resumes from")
    logging_steps: int = Field(5, ge=1, description="steps between lines of the training log")
    eval_strategy: Literal["no", "epoch", "steps"] = _later(
        "no", description="when a stage is scored on dev utterances: never, after each epoch, or every eval_steps"
    )
    eval_steps: int = _later(50, ge=1, description="steps between evaluations, with eval_strategy: steps")
    load_best_model_at_end: bool = _later(False, description="keep a stage's best weights on dev, not its last")
    metric_for_best_model: DevMetric = _later(
        "intent_accuracy", description="what best means; intent_accuracy and slu_f1 are strict scores"
    )
    early_stopping_patience: int = _later(
        0, ge=0, description="a stage stops after this many evaluations in a row without a better score; 0: never"
    )
    report_to: tuple[Literal["tensorboard", "wandb", "swanlab"], ...] = _later(
        ("tensorboard",), description="where training logs go; wandb and swanlab must be installed"
    )

    @property
    def selects(self) -> bool:
        """Whether a stage's weights depend on dev utterances."""
        return self.load_best_model_at_end or self.early_stopping_patience > 0

    @model_validator(mode="after")
    def _trainable(self) -> Train:
        if {self.language_model, self.projector, self.audio_tower} == {"frozen"}:
            raise ValueError("language_model, projector and audio_tower are all frozen: nothing would be trained")
        if self.language_model == "full" and self.audio_tower == "lora":
            raise ValueError("audio_tower: lora needs language_model: lora or frozen")
        if self.load_in_4bit and self.language_model != "lora":
            raise ValueError("load_in_4bit needs language_model: lora")
        parts = (self.language_model, self.projector, self.audio_tower)
        if self.lora.first_layer and parts != ("lora", "frozen", "frozen"):
            raise ValueError("lora.first_layer needs language_model: lora, and a frozen projector and audio_tower")
        if self.selects and self.eval_strategy == "no":
            raise ValueError("load_best_model_at_end and early_stopping_patience need eval_strategy: epoch or steps")
        return self


class Prompt(_Closed):
    """What stands in every prompt behind what was said: in training, decoding, serving and export alike."""

    instruction: str = Field("", description="replaces the built-in `Intent and slots as JSON:`")
    list_labels: bool = Field(
        False, description="lists the intents and slot types of the training utterances before the instruction"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Prompt:
        if self.instruction and not self.instruction.strip():
            raise ValueError("instruction is blank")
        return self


class Decode(_Closed):
    """Greedy decoding of test utterances."""

    batch_size: int = Field(32, ge=1, description="utterances decoded at once")
    max_new_tokens: int = Field(96, ge=1, description="longer answers are cut; must be enough for the right ones")
    grammar: Grammar = Field(
        "none", description="ontology: allow only the intents and slot types of the training utterances"
    )
    confidence: bool = Field(False, description="also measure how confident the model is of each intent")


class Recipe(_Closed):
    """One comparison: schemes x speech budgets x seeds x mixtures x models, tested on the speech of one corpus."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", description="name of the study's folder in out")
    title: str = Field("", description="title of the report")
    model: str = Field("", description="`embedded`, a model id of the hub, or a folder")
    models: tuple[str, ...] = Field((), description="several models, in place of model")
    start_from: Path | None = _later(
        None, description="an earlier run (STUDY/cells/CELL) of the same model, whose weights every scheme starts from"
    )
    corpus: Corpus = Field(description="the target: its test speech is scored, its training speech is budgeted")
    sources: dict[str, Source] = Field({}, description="corpora in other languages, under names you choose")
    mixtures: tuple[tuple[str, ...], ...] = Field(
        (), description="which sources are combined with the target, such as `[[], [en]]`; default: all of them"
    )
    synthetic_speech: Path | None = Field(None, description="a folder of synthetic recordings, named by utterance id")
    schemes: tuple[str, ...] = Field(
        ("zero_shot", "text_only", "cascade", "direct_mixing", "curriculum"),
        description="names of schemes, listed in docs/study.md",
    )
    asr: str = Field(
        "",
        description="the recogniser of the scheme cascade: `embedded` (default), a hub id or folder that transformers "
        'can load, or a JSONL file of transcripts, rows `{"id": ..., "text": ...}`',
    )
    budgets: tuple[Size, ...] = Field(
        (0.05,),
        description="shares of the training utterances that keep their speech, or `{utterances: 20}`, "
        "`{seconds: 600}`, `{hours: 1.5}` or `{speakers: 3}`, or `all`: every recording there is",
    )
    num_train_utterances: int | None = Field(None, ge=1, description="use only this many (stratified by intent)")
    num_dev_utterances: int | None = _later(
        None, ge=1, description="evaluate during training on only this many (stratified by intent)"
    )
    num_test_utterances: int | None = Field(None, ge=1, description="test on only this many (stratified by intent)")
    train: Train = Field(Train(), description="how the model is trained")
    prompt: Prompt = _later(Prompt(), description="what the model is asked")
    decode: Decode = Field(Decode(), description="how the model is decoded")
    seed: int = Field(0, description="seed for choosing utterances, and for training unless seeds is given")
    seeds: tuple[int, ...] = Field((), description="each draws its own speech budgets and trains its own cells")
    out: Path = Field(Path("runs"), description="folder for study folders")

    @model_validator(mode="after")
    def _something_to_do(self) -> Recipe:
        if not self.schemes:
            raise ValueError("schemes is empty")
        for axis in ("schemes", "budgets", "seeds", "models", "mixtures"):
            values = getattr(self, axis)
            if len(set(values)) < len(values):
                raise ValueError(f"{axis} must not repeat")
        if bool(self.model) == bool(self.models):
            raise ValueError("give either model or models")
        for name in (name for mixture in self.mixtures for name in mixture):
            if name not in self.sources:
                raise ValueError(f"mixtures names {name!r}; {nearest(name, self.sources)}")
        for name in self.sources:
            if not re.fullmatch(r"[A-Za-z0-9_]+", name) or name in ("main", "synthetic"):
                raise ValueError(f"sources: {name!r} cannot name a source; use letters, digits and _, such as en")
        return self

    @property
    def all_models(self) -> tuple[str, ...]:
        return self.models or (self.model,)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        return self.seeds or (self.seed,)

    @property
    def all_mixtures(self) -> tuple[tuple[str, ...], ...]:
        """The sources of each mixture."""
        return self.mixtures or (tuple(self.sources),)

    def of_model(self, name: str) -> Recipe:
        """The same recipe with only this model."""
        return self.model_copy(update={"model": name, "models": ()})

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.out / self.name
