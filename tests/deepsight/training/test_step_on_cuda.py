"""On a GPU a training step waits for nothing: no number is read back, so that the next one is queued meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepsight.building import build_model, build_objectives
from deepsight.training.device import autocast
from deepsight.training.optimizer import build_optimizer
from deepsight.training.parallel import Alone
from deepsight.training.step import accumulate_gradients
from tests.runs import run_of

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_a_step_waits_for_no_number(tmp_path: Path) -> None:
    config, device = run_of(tmp_path), torch.device("cuda")
    model = build_model(config).to(device)
    objectives = build_objectives(config, model.shape).to(device)
    optimizer = build_optimizer([model, objectives], config.training)
    parallel = Alone(model, objectives)
    tokens = torch.randint(257, (config.training.batch_size, config.model.context + 1), device=device)
    seen = torch.cuda.get_sync_debug_mode()
    try:
        for step in range(4):
            # What is chosen once, such as an attention kernel, may wait in the first steps.
            torch.cuda.set_sync_debug_mode("error" if step > 1 else "default")
            accumulate_gradients(
                model, objectives, tokens[:, :-1], tokens[:, 1:].clone(), seed=0, step=step,
                autocast=autocast(config, device), parallel=parallel,
            )  # fmt: skip
            parallel.clipped(1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        # Whoever waited above would have failed as this does.
        with pytest.raises(RuntimeError, match="synchroniz"):
            tokens[0, 0].item()
    finally:
        torch.cuda.set_sync_debug_mode(seen)
