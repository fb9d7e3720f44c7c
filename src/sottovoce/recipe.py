"""Recipes: closed, typed YAML files with ``key=value`` overrides; unknown keys are refused with the nearest name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sottovoce.errors import UserError

SchemeName = Literal["zero_shot", "text_only", "direct_mixing", "curriculum"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Corpus(_Closed):
    """Where the utterances come from: the built-in corpus, or a manifest made by ``sottovoce prepare``."""

    builtin: Literal["home"] | None = Field(None, description="a corpus that ships with sottovoce")
    locale: str | None = Field(None, description="which language of a built-in corpus, such as en-US")
    manifest: Path | None = Field(None, description="a manifest (JSONL), relative to the working folder")
    allow_outside: bool = Field(False, description="permit recordings outside the manifest's folder")

    @model_validator(mode="after")
    def _one_source(self) -> Corpus:
        if (self.builtin is None) == (self.manifest is None):
            raise ValueError("give either builtin (with locale) or manifest")
        if self.builtin and not self.locale:
            raise ValueError("a built-in corpus needs its locale, such as en-US")
        return self


class Lora(_Closed):
    """Size of the adapter on the language model."""

    r: int = Field(16, ge=1)
    lora_alpha: int = Field(32, ge=1)
    lora_dropout: Share = 0.0
    use_dora: bool = Field(False, description="direction and size of each weight apart (DoRA)")


class StageSettings(_Closed):
    """How one stage is trained; the names are those of transformers' TrainingArguments."""

    num_train_epochs: int = Field(3, ge=1)
    learning_rate: float = Field(5e-6, gt=0)
    warmup_ratio: Share = 0.04
    speech_repeats: int = Field(1, ge=1, description="how often each clip of the speech budget occurs in one epoch")
    perturb_repeats: bool = Field(False, description="from the second on at another tempo, level, with silence, noise")


class Train(_Closed):
    """Training: the defaults are the paper's settings for a 7B model; audio tower and projector stay frozen."""

    language_model: Literal["full", "lora", "frozen"] = "full"
    projector: Literal["full", "frozen"] = "frozen"
    audio_tower: Literal["full", "lora", "frozen"] = Field(
        "frozen", description="if it is trained, every recording is encoded at every step"
    )
    lora: Lora = Lora()
    load_in_4bit: bool = Field(False, description="the frozen language model in 4 bits: QLoRA (extra `qlora`)")
    stage: StageSettings = Field(StageSettings(), description="text_only and direct_mixing: their only stage")
    first_stage: StageSettings = Field(
        StageSettings(num_train_epochs=2), description="curriculum's text-only stage, shared by all budgets"
    )
    last_stage: StageSettings = Field(
        StageSettings(num_train_epochs=1, learning_rate=3e-6, warmup_ratio=0.02),
        description="curriculum's stage with text and speech together",
    )
    per_device_train_batch_size: int = Field(128, ge=1)
    gradient_accumulation_steps: int = Field(1, ge=1)
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    bf16: bool = True
    save_steps: int = Field(50, ge=1, description="steps between checkpoints, which a stopped run goes on from")
    logging_steps: int = Field(5, ge=1)

    @model_validator(mode="after")
    def _trainable(self) -> Train:
        if {self.language_model, self.projector, self.audio_tower} == {"frozen"}:
            raise ValueError("language_model, projector and audio_tower are all frozen: nothing would be trained")
        if self.language_model == "full" and self.audio_tower == "lora":
            raise ValueError("audio_tower: lora goes with language_model: lora or frozen")
        if self.load_in_4bit and self.language_model != "lora":
            raise ValueError("load_in_4bit goes with language_model: lora")
        return self


class Decode(_Closed):
    """Greedy decoding of test utterances."""

    batch_size: int = Field(32, ge=1)
    max_new_tokens: int = Field(96, ge=1)


class SpeechUtterances(_Closed):
    """A speech budget counted in recordings."""

    utterances: int = Field(ge=1)


class SpeechSeconds(_Closed):
    """A speech budget counted in seconds of speech."""

    seconds: float = Field(gt=0)


Size = Share | Literal["all"] | SpeechUtterances | SpeechSeconds


class Recipe(_Closed):
    """One comparison of schemes at speech budgets on one corpus with one model."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")
    title: str = ""
    model: str = Field(description="`embedded`, a model id of the hub, or a folder")
    corpus: Corpus
    schemes: tuple[SchemeName, ...] = ("zero_shot", "text_only", "direct_mixing", "curriculum")
    budgets: tuple[Size, ...] = Field(
        (0.05,),
        description="shares of the training utterances that keep their speech, or {utterances: 20}, or {seconds: 600}, "
        "or all: every recording there is",
    )
    num_train_utterances: int | None = Field(None, ge=1, description="use only so many (stratified by intent)")
    num_test_utterances: int | None = Field(None, ge=1)
    train: Train = Train()
    decode: Decode = Decode()
    seed: int = 0
    out: Path = Path("runs")

    @model_validator(mode="after")
    def _something_to_do(self) -> Recipe:
        if not self.schemes:
            raise ValueError("schemes is empty")
        if len(set(self.schemes)) < len(self.schemes) or len(set(self.budgets)) < len(self.budgets):
            raise ValueError("schemes and budgets must not repeat")
        if not self.budgets and any(scheme in ("direct_mixing", "curriculum") for scheme in self.schemes):
            raise ValueError("direct_mixing and curriculum need budgets")
        return self

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.out / self.name


def load_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe.

    Args:
        path: the YAML file.
        overrides: ``key=value`` with dotted keys, such as ``train.stage.learning_rate=1e-4``; values are YAML.

    Raises:
        UserError: no such file, not YAML, an unknown key (with the nearest valid one), or a value out of range.
    """
    if not path.is_file():
        near = sorted(str(other) for other in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise UserError(f"no such recipe: {path}", f"there are: {', '.join(near)}" if near else "correct the path")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason})", "save the file as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML ({getattr(error, 'problem', error)})", "correct that line") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys to values", "see recipes/quickstart.yaml")
    for override in overrides or []:
        _apply(content, override)
    try:
        return Recipe.model_validate(_floats(content))
    except ValidationError as error:
        raise UserError(f"{path}: {_fault(error)}", "correct it, or see recipes/quickstart.yaml") from error


def _apply(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"{override!r} is not key=value", "write for example seed=1")
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise UserError(f"{override!r}: {parent} is not a group of keys")
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"{override!r}: the value is not valid YAML", "put it in quotes") from error


def _floats(value: Any) -> Any:
    """YAML 1.1 reads 5e-6 as text; turn such text into the number that everybody means."""
    if isinstance(value, dict):
        return {key: _floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_floats(inner) for inner in value]
    if isinstance(value, str) and value[:1] in "0123456789.-" and "e" in value:
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    # Of a union pydantic also names the member that was tried; the user knows only the key.
    places = [
        part for part in map(str, first["loc"]) if part != "constrained-float" and not part.startswith("literal[")
    ]
    *parents, last = places or [""]
    key = ".".join([*parents, last])
    if first["type"] != "extra_forbidden":
        message = str(first["msg"]).removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    group: Any = Recipe
    for parent in parents:
        group = group.model_fields[parent].annotation
    valid = list(group.model_fields)
    near = difflib.get_close_matches(last, valid, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(valid)}"
    return f"unknown key {key!r}; {hint}"
