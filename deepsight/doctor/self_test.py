"""Some seconds of real work: whether attention, training, generation and files do here what they should."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from deepsight.attention import Backend, attend, obstacle, use_backend
from deepsight.building import build_model, build_objectives
from deepsight.config import run_config
from deepsight.data.of_run import source_for
from deepsight.doctor.finding import Finding
from deepsight.errors import UserError
from deepsight.files import cache_folder, read_json, write_json
from deepsight.generation import generate
from deepsight.training.device import autocast, chosen_device, chosen_precision
from deepsight.training.lock import is_locked, locked
from deepsight.training.optimizer import build_optimizer
from deepsight.training.step import accumulate_gradients

STEPS = 120
SIZE = 2048
"""Of the square matrices that are multiplied."""
PUBLISHED_ATTENTION = (50, 400, 5, 30)
"""Sequences, context, heads and their width."""
REPEATS = 20
"""Passes of which the fastest counts."""
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Largest error of attention, against float64."""

RUN = {
    "model": {"architecture": "deepsight", "width": 64, "layers": [1, 1], "heads": 4, "context": 15},
    "data": {"task": {"name": "delayed_recall", "delay": 2, "length": 16}},
    "objective": {"name": "future_context", "n": 2},
    "training": {"steps": STEPS, "batch_size": 32, "learning_rate": 3e-3, "warmup_steps": 10},
    "evaluation": {"every": STEPS},
}


def self_test(device: torch.device | None = None) -> Iterator[Finding]:
    """Yield what each check found, with the seconds that it took."""
    device = device or chosen_device("auto")
    for about, check in CHECKS.items():
        started = time.perf_counter()
        try:
            value, failed = check(device), False
        except (UserError, RuntimeError, OSError, AssertionError) as error:
            value, failed = f"failed: {str(error).strip().partition(chr(10))[0]}", True
        yield Finding(about, f"{value} ({time.perf_counter() - started:.1f} s)", failed=failed)


def attention_is_exact(device: torch.device) -> str:
    """Compare causal attention and its gradients with the formula in float64."""
    dtype = chosen_precision("auto", device)
    generator = torch.Generator().manual_seed(0)
    exact = [torch.randn(2, 33, 4, 30, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    ours = [part.detach().to(device, dtype).requires_grad_() for part in exact]
    wanted, found = _written_out(*exact), attend(*ours)
    wanted.sum().backward()  # type: ignore[no-untyped-call]
    found.sum().backward()  # type: ignore[no-untyped-call]
    gradients = [(mine.grad, true.grad) for mine, true in zip(ours, exact, strict=True)]
    pairs = [(found, wanted), *((mine, true) for mine, true in gradients if mine is not None and true is not None)]
    error = max(float((mine.detach().cpu().double() - true.detach()).abs().max()) for mine, true in pairs)
    assert error <= TOLERANCES[dtype], f"attention is {error:.1e} from its formula, more than {TOLERANCES[dtype]:.0e}"
    return f"within {error:.0e} of its formula"


def backends_are_compared(device: torch.device) -> str:
    """Time both ways to attend, where there are two, at the sizes of the published model."""
    dtype = chosen_precision("auto", device)
    batch, context, heads, width = PUBLISHED_ATTENTION
    if obstacle(device, dtype, width, gradient=True) is not None:
        return "torch's alone runs here"
    size = (batch, context, heads, width)
    parts = [torch.randn(size, device=device, dtype=dtype).requires_grad_() for _ in range(3)]
    backends: tuple[Backend, ...] = ("xformers", "sdpa")
    xformers, torchs = (_milliseconds(parts, backend) for backend in backends)
    faster = "xformers" if xformers < torchs else "sdpa"
    return f"xformers {xformers:.2f} ms a layer, torch's {torchs:.2f} ms: the faster is runtime.attention: {faster}"


def a_model_learns(device: torch.device) -> str:
    """Train a small DeepSight, and generate with and without a cache."""
    config = run_config(RUN)
    model = build_model(config).to(device)
    objectives = build_objectives(config, model.shape).to(device)
    optimizer = build_optimizer([model, objectives], config.training)
    context, size, later = config.model.context, config.training.batch_size, objectives.lookahead
    batches = source_for(config.data, show=False).batches(context=context, batch_size=size, seed=0, later=later)
    losses, started = [], time.perf_counter()
    for step in range(STEPS):
        metrics = accumulate_gradients(
            model, objectives, *batches(step).to(device), seed=0, step=step, autocast=autocast(config, device)
        )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(metrics["next_token"]))
    speed = STEPS * size * context / (time.perf_counter() - started)
    fell = sum(losses[:10]) / 10 - sum(losses[-10:]) / 10
    assert fell > 0.3, f"the loss fell by {fell:.2f} nats in {STEPS} steps"
    prompt = batches(0).inputs[:4, :4].to(device)
    cached, read_anew = (generate(model, prompt, 8, temperature=0, use_cache=use) for use in (True, False))
    share = float((cached == read_anew).double().mean())
    assert share > 0.9, f"{1 - share:.0%} of the tokens generated with a cache are others than without"
    return f"the loss fell by {fell:.2f} nats, {speed:,.0f} tokens/s"


def matrices_multiply(device: torch.device) -> str:
    """Measure how fast matrices are multiplied, in float32 and bfloat16."""
    speeds = [f"{_products_a_second(device, dtype):,.0f} in {name}" for name, dtype in _formats()]
    return f"GFLOP/s: {', '.join(speeds)}, with {torch.get_num_threads()} threads"


def files_hold(device: torch.device) -> str:
    """Write, replace, sync and lock files where packed corpora are kept."""
    place = cache_folder()
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        for number in (1, 2):
            write_json(folder / "file.json", number)
        assert read_json(folder / "file.json") == 2, "a file was not replaced"
        with locked(folder):
            assert is_locked(folder), "a lock does not hold, as on some network file systems: runs could collide"
    return "files are replaced whole, and locks hold"


CHECKS: dict[str, Callable[[torch.device], str]] = {
    "attention": attention_is_exact,
    "attention's speed": backends_are_compared,
    "training": a_model_learns,
    "matrix products": matrices_multiply,
    "files": files_hold,
}


def _written_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(query.shape[-1])
    later = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool).triu(1)
    return torch.einsum("bhqk,bkhd->bqhd", scores.masked_fill(later, -math.inf).softmax(dim=-1), value)


def _milliseconds(parts: list[Tensor], backend: Backend) -> float:
    """Return the time of attention forward and backward, the fastest of some."""
    best = math.inf
    with use_backend(backend):
        for _ in range(REPEATS):
            started = time.perf_counter()
            gradients = torch.autograd.grad(attend(*parts).sum(), parts)
            float(gradients[0].flatten()[0])  # waits for the device
            best = min(best, time.perf_counter() - started)
    return best * 1000


def _formats() -> list[tuple[str, torch.dtype]]:
    return [("float32", torch.float32), ("bfloat16", torch.bfloat16)]


def _products_a_second(device: torch.device, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """Return GFLOP/s, of the fastest of the products that fit into so many seconds."""
    one, other = (torch.randn(SIZE, SIZE, device=device).to(dtype) for _ in range(2))
    best, until = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        product = one @ other
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * SIZE**3 / best / 1e9
