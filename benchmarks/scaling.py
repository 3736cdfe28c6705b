"""Memory and communication of larger models on more devices, on paper: from the models' own counts.

    python -m benchmarks.scaling

For each size: parameters, FLOPs and the activations of one sequence as `deepsight model` counts them; then, for 1 to
256 devices, what each of them holds and sends in a step of 0.5 million tokens, replicated and sharded. The machine is
assumed, and its numbers are printed: they are what a reader must replace by his own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deepsight.config import RunConfig, run_config
from deepsight.counting import Cost, cost_of

TOKENS_A_STEP = 2**19
NODE = 8
"""Devices that are joined by something faster than a network."""

DEVICES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BYTES = {"weights": 4, "gradients": 4, "AdamW's moments": 8}
"""Of a parameter in float32."""


@dataclass(frozen=True)
class Machine:
    """What is assumed of the devices.

    Attributes:
        memory: of one, bytes.
        flops: that one reaches in bfloat16, a second: a share of its peak.
        near, far: bytes a second that one device sends within a node of eight, and to others.

    """

    memory: float = 80e9
    flops: float = 0.4 * 312e12
    near: float = 240e9
    far: float = 20e9


SIZES = {
    "124M": {"width": 768, "layers": [5, 5], "heads": 12, "context": 1024},
    "1B": {"width": 2048, "layers": [9, 9], "heads": 16, "context": 2048},
    "7B": {"width": 4096, "layers": [14, 14], "heads": 32, "context": 4096},
}
"""DeepSight models; decoder layers have two attentions, so there are fewer than in a decoder-only model of the size."""


def run_of(model: dict[str, object]) -> RunConfig:
    """Return a run of one sequence at a time."""
    return run_config(
        {
            "model": {"architecture": "deepsight", **model},
            "data": {"corpus": "pydocs", "tokenizer": "gpt2"},
            "training": {"steps": 1, "batch_size": 1, "learning_rate": 1e-4},
            "evaluation": {"every": 1},
        }
    )


def held(cost: Cost, shards: int, layers: int) -> float:
    """Return the bytes of weights, gradients and moments that one device holds; sharded, also a layer that is whole."""
    everything = cost.total * sum(BYTES.values())
    if shards == 1:
        return everything
    return everything / shards + 2 * 4 * cost.inference / layers


def sent(cost: Cost, devices: int, *, sharded: bool) -> float:
    """Return the bytes that one device sends in a step, all-gathers and reductions in rings."""
    if devices == 1:
        return 0.0
    passes = 3 if sharded else 2
    return passes * 4 * cost.total * (devices - 1) / devices


def tables() -> Iterator[str]:
    """Yield the lines of the document: a heading, a sentence and a table for each size."""
    machine = Machine()
    for name, model in SIZES.items():
        config = run_of(model)
        cost = cost_of(config)
        depth = config.model.layers
        layers = depth if isinstance(depth, int) else sum(depth)
        activations = cost.training_memory - cost.total * sum(BYTES.values())
        compute = cost.training_flops_per_token * TOKENS_A_STEP / machine.flops
        layers_told = " + ".join(str(one) for one in (depth if isinstance(depth, list) else [depth]))
        yield f"## {name}: width {model['width']}, {layers_told} layers, context {model['context']}"
        yield (
            f"\n{cost.total:,} parameters, {cost.training_flops_per_token:,} training FLOPs a token, "
            f"{_size(activations)} of activations a sequence.\n"
        )
        headings = (
            "devices",
            "held, replicated",
            "held, sharded",
            "a step computes",
            "sends, replicated",
            "sends, sharded",
        )
        yield f"| {' | '.join(headings)} |"
        yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
        for devices in DEVICES:
            speed = machine.near if devices <= NODE else machine.far
            sizes = [held(cost, shards, layers) for shards in (1, devices)]
            fits = [_size(size) + ("" if size + activations <= machine.memory else " (too much)") for size in sizes]
            times = [sent(cost, devices, sharded=sharded) / speed for sharded in (False, True)]
            cells = [str(devices), *fits, f"{compute / devices:.2f} s", *(f"{time:.2f} s" for time in times)]
            yield f"| {' | '.join(cells)} |"
        yield ""


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"


def main() -> None:
    print("\n".join(tables()))


if __name__ == "__main__":
    main()
