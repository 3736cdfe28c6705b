"""A folder that `transformers` loads: weights, configuration, generation configuration, tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedModel

from deepsight.architecture import Architecture
from deepsight.files import new_folder
from deepsight.huggingface.gpt2 import as_gpt2, fits_gpt2
from deepsight.huggingface.model import DeepSightConfig, DeepSightForCausalLM
from deepsight.huggingface.tokenizer import as_transformers
from deepsight.loading import load_trained


def export(folder: Path, out: Path) -> PreTrainedModel:
    """Write the model of a run's folder as one of `transformers`; the folder `out` appears whole or not at all.

    Args:
        folder: of a finished or stopped run, or of converted weights.
        out: a new or empty folder.

    Returns:
        The model as written.

    Raises:
        UserError: there is no model, `transformers` cannot hold it, or `out` is not empty.

    """
    trained = load_trained(folder)
    end_of_text = trained.tokenizer.end_of_text if trained.tokenizer.end_of_text >= 0 else None
    model = as_pretrained(trained.model, end_of_text)
    with new_folder(out) as unfinished:
        model.save_pretrained(unfinished)
        as_transformers(trained.tokenizer, trained.model.config.context).save_pretrained(unfinished)
    return model


def as_pretrained(model: Architecture, end_of_text: int | None) -> PreTrainedModel:
    """Return a network as a model of `transformers`: a plain GPT-2 where it is one, else one of our class.

    Raises:
        UserError: `transformers` cannot hold it.

    """
    if fits_gpt2(model):
        exported: PreTrainedModel = as_gpt2(model, end_of_text)
    else:
        with torch.device("meta"):
            exported = DeepSightForCausalLM(DeepSightConfig.of(model, end_of_text))
        exported.network = model
    exported.generation_config = GenerationConfig(
        bos_token_id=end_of_text, eos_token_id=end_of_text, pad_token_id=end_of_text
    )
    return exported.eval()
