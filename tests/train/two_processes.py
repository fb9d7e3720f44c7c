"""How two processes are started, and what each of them does: ``MODEL OUT KIND STAGES`` on the command line, and after
it at which step both are killed, if they are; or ``study RECIPE``, which is the command.

Every even batch is written and every odd one spoken, so that one process reads all text and the other hears all speech.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from spoken_rows import speech_row, text_row

import sottovoce.models.load as load_module
import sottovoce.train.stage as module
from sottovoce.cli.main import main
from sottovoce.core.recipe import Lora, StageSettings, Train
from sottovoce.data.collate import Row
from sottovoce.models.load import LoadedModel, load_model
from sottovoce.train.schemes import Stage
from sottovoce.train.trainer import AnswerTrainer

BATCH = 2
NUM_STEPS, LEARNING_RATE = 3, 1e-2  # of each stage
CONFIGS = Path(__file__).parents[2] / "recipes" / "accelerate"


def launched(*arguments: str, config: str | None = None, dies: bool = False) -> str:
    """Starts two processes, plainly or with a shipped configuration, and returns what they said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    if config:
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / config)]
        command += ["--num_processes", "2", "--main_process_port", "0"]
    settings = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=400, env={**os.environ, **settings}
    )
    assert bool(done.returncode) == dies, done.stderr[-3000:]
    return done.stderr


def rows_of(loaded: LoadedModel) -> list[Row]:
    texts = [
        text_row(loaded, words) for words in ("light on", "put the light on", "the hall, please", "on", "more light")
    ]
    clips = [speech_row(loaded, 0.4 + 0.2 * number, 300.0 + 100 * number) for number in range(4)]
    rows = []
    for start in range(0, 4, BATCH):
        rows += [*texts[start : start + BATCH], *clips[start : start + BATCH]]
    return [*rows, texts[4]]  # the last step is not whole


def train(model: Path, out: Path, kind: str, projector: str = "full", num_stages: int = 1) -> Path:
    """Stages of two accumulated batches a step, by however many processes there are; the last one's weights.

    Args:
        kind: how the language model is trained, ``lora`` or ``full``; ``+bf16`` behind it, if in bfloat16, and
            ``+again``, if layers are computed again in the backward pass.
    """
    language_model, *others = kind.split("+")
    bf16, again = "bf16" in others, "again" in others
    stage = Stage("text+speech", (), StageSettings(num_train_epochs=1, learning_rate=LEARNING_RATE))
    module.training_order = lambda num_rows, num_epochs, seed: list(range(num_rows))
    settings = Train.model_validate(
        {
            "language_model": language_model, "projector": projector, "bf16": bf16, "gradient_checkpointing": again,
            "per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 2, "lora": Lora(r=4), "save_steps": 1,
        }
    )  # fmt: skip
    for plan in module.plan_stages([stage] * num_stages, [["rows"]] * num_stages, "root"):
        loaded = load_model(str(model), bf16=bf16)
        weights = module.run_stage(loaded, plan, rows_of(loaded), settings, out, seed=0)
    return weights


def die_at(last: int) -> None:
    step = AnswerTrainer.training_step

    def dying(self: AnswerTrainer, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step + 1 == last:
            os._exit(9)
        return step(self, *args, **kwargs)

    AnswerTrainer.training_step = dying  # type: ignore[method-assign]


def shard_on_cpus() -> None:
    """accelerate turns to FSDP on GPUs only: tells it to do so here."""
    create = AnswerTrainer.create_accelerator_and_postprocess

    def sharding(self: AnswerTrainer) -> None:
        create(self)
        self.accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
        self.accelerator.state.distributed_type = DistributedType.FSDP
        self.is_fsdp_enabled = True

    AnswerTrainer.create_accelerator_and_postprocess = sharding  # type: ignore[method-assign]


def without_compiler() -> None:
    """DeepSpeed would compile a shortcut through shared memory; without it tensors go through gloo."""
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


if __name__ == "__main__":
    load_module.computes_bf16 = lambda: True  # as in the process that compares (tests/conftest.py)
    sharded = [name for name in ("FSDP", "DEEPSPEED") if os.environ.get(f"ACCELERATE_USE_{name}") == "true"]
    if sharded == ["FSDP"]:
        shard_on_cpus()
    if importlib.util.find_spec("deepspeed"):
        without_compiler()
    if sys.argv[1] == "study":
        sys.exit(main())
    source, out, kind, num_stages = sys.argv[1:5]
    if len(sys.argv) > 5:
        die_at(int(sys.argv[5]))
    train(Path(source), Path(out), kind, "frozen" if sharded else "full", int(num_stages))
