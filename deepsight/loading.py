"""A trained model, ready to use: network and tokenizer from a folder with a checkpoint, and what can draft for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from deepsight.architecture import Architecture
from deepsight.config import ModelConfig
from deepsight.data.tokenizers import Tokenizer, fixed_tokenizer, load_tokenizer
from deepsight.errors import UserError
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import architectures
from deepsight.speculative import Drafting
from deepsight.training.checkpoint import Checkpoint, read_checkpoint
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
    return _trained(Path(folder), read_checkpoint(Path(folder) / CHECKPOINT_FILE))


def load_with_drafting(folder: Path) -> tuple[Trained, Drafting]:
    """Return the model that a folder holds, and the first of its run's objectives that can draft tokens.

    Raises:
        UserError: as for `load_trained`; or none of the objectives can draft, or the checkpoint does not name them.

    """
    checkpoint = read_checkpoint(Path(folder) / CHECKPOINT_FILE)
    trained = _trained(Path(folder), checkpoint)
    if "objective" not in checkpoint.about:
        raise UserError(
            f"{folder}: this checkpoint does not say which objectives its run had, as those of earlier versions and "
            "converted ones do not; train again to decode with their heads"
        )
    with torch.device("meta"):
        objectives = Objectives(checkpoint.about["objective"], trained.model.shape, seed=0)
    for label, part in objectives.parts.items():
        place = objectives.places[label]
        if hasattr(part, "drafter") and place is not None:
            part.load_state_dict(checkpoint.part(f"objective.parts.{label}"), assign=True)
            return trained, Drafting(part.eval(), place)
    raise UserError(
        f"{folder}: none of this run's objectives ({', '.join(objectives.parts) or 'it has none'}) can draft tokens; "
        "train with multi_token or sequential_modules for that"
    )


def _trained(folder: Path, checkpoint: Checkpoint) -> Trained:
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
