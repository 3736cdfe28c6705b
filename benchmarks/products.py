"""What multiplies matrices faster on this CPU, MKL or oneDNN, and what that makes of next-token cross-entropy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measuring import Comparison, in_turn, speed
from benchmarks.options import Options
from deepsight.loss import linear_cross_entropy
from deepsight.products import linear, use_products

INNER = 4
"""How much wider than a layer its feed-forward is inside."""


def run(options: Options) -> Iterator[Comparison]:
    """Time forward and backward passes of a feed-forward map and of the loss; where there is a CPU only."""
    if options.device != "cpu":
        return
    for shape in options.shapes:
        rows, width = shape.batch * shape.context, shape.decoder_only_width
        hidden = torch.randn(rows, width, requires_grad=True)
        inner = torch.randn(INNER * width, width, requires_grad=True)
        output = torch.randn(shape.vocabulary, width, requires_grad=True)
        targets = torch.randint(shape.vocabulary, (rows,))
        seconds = in_turn(_jobs({"product": functools.partial(linear, hidden, inner)}), options.repeats)
        what = f"({rows} × {width}) · ({width} × {INNER * width}) and back"
        yield speed("products", shape.name, what, seconds, "product, oneDNN", "product, MKL")
        losses = {
            "loss": functools.partial(linear_cross_entropy, hidden, output, targets),
            "full logits": functools.partial(_of_full_logits, hidden, output, targets),
        }
        seconds = in_turn(_jobs(losses), options.repeats)
        for peer in ("loss, MKL", "full logits, MKL"):
            yield speed("products", shape.name, "next-token loss and back", seconds, "loss, oneDNN", peer)


def _of_full_logits(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ weight.T, targets)


def _jobs(values: Mapping[str, Callable[[], Tensor]]) -> dict[str, Callable[[], None]]:
    return {
        f"{name}, {said}": functools.partial(_passes, value, products)
        for name, value in values.items()
        for said, products in (("oneDNN", "onednn"), ("MKL", "blas"))
    }


def _passes(value: Callable[[], Tensor], products: str) -> None:
    with use_products(products):  # type: ignore[arg-type]
        value().sum().backward()  # type: ignore[no-untyped-call]
