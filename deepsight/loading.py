"""A trained model, ready to use: network and tokenizer from a folder with a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from deepsight.architecture import Architecture
from deepsight.config import ModelConfig
from deepsight.data.tokenizers import Tokenizer, fixed_tokenizer, load_tokenizer
from deepsight.errors import UserError
from deepsight.plug_ins import architectures
from deepsight.training.checkpoint import read_checkpoint
from deepsight.training.names import CHECKPOINT_FILE, TOKENIZER_FILE
from deepsight.validation import validated


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, and the tokenizer of its text."""

    model: Architecture
    tokenizer: Tokenizer


def load_trained(folder: Path) -> Trained:
    """Return the model that a folder holds, a finished or a stopped run's or a converted one.

    Raises:
        UserError: there is no checkpoint, it is damaged, or nothing says which tokenizer belongs to it.

    """
    folder = Path(folder)
    checkpoint = read_checkpoint(folder / CHECKPOINT_FILE)
    about = checkpoint.about
    config = validated(ModelConfig, about["model"])
    with torch.device("meta"):
        model = architectures.build(config.architecture, config=config, vocabulary=about["vocabulary"])
    model.load_state_dict(checkpoint.part("model"), assign=True)
    return Trained(model.eval(), _tokenizer(folder, about["tokenizer"]))


def _tokenizer(folder: Path, name: str | None) -> Tokenizer:
    if (folder / TOKENIZER_FILE).is_file():
        return load_tokenizer(folder / TOKENIZER_FILE)
    if name is None:
        raise UserError(f"{folder}: nothing here says which tokenizer these weights belong to (no {TOKENIZER_FILE})")
    return fixed_tokenizer(name)
