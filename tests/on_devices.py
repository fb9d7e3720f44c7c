"""Models on a device of the test's choice, whatever the machine has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sottovoce.models.load import LoadedModel, load_model


def loaded_on(device: torch.device, folder: Path, bf16: bool = False, load_in_4bit: bool = False) -> LoadedModel:
    """The model of a folder, on that device, in float32 if not told otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        if device.type == "cpu":
            patch.setattr(torch.cuda, "is_available", lambda: False)
        return load_model(str(folder), bf16=bf16, load_in_4bit=load_in_4bit)
