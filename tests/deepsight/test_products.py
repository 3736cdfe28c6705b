"""Products by oneDNN are those of torch, forward and backward, and are chosen where they are faster."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from deepsight import products
from deepsight.layers import Linear
from deepsight.loss import linear_cross_entropy
from deepsight.loss_in_parts import WORDS_AT_ONCE
from deepsight.products import chosen_products, linear, multiplies_faster, use_products

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}
"""Sums of some hundred products in float32, in another order."""


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("FEWEST_OPERATIONS", "FEWEST_ROWS", "FEW_ROWS"):
        monkeypatch.setattr(products, limit, 0)


def with_gradients(hidden: Tensor, weight: Tensor, back: Tensor) -> list[Tensor]:
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    found = linear(hidden, weight)
    found.backward(back)
    assert hidden.grad is not None
    assert weight.grad is not None
    return [found.detach(), hidden.grad, weight.grad]


@pytest.mark.usefixtures("any_size")
@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 5), time=st.integers(1, 40), inputs=st.integers(1, 33), outputs=st.integers(1, 33),
    threads=st.sampled_from([1, 2]), seed=st.integers(0, 99),
)  # fmt: skip
def test_product_and_gradients_are_torchs(
    batch: int, time: int, inputs: int, outputs: int, threads: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden, weight, back = (
        torch.randn(size, generator=generator)
        for size in ((batch, time, inputs), (outputs, inputs), (batch, time, outputs))
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with use_products("onednn"):
            ours = with_gradients(hidden, weight, back)
        with use_products("blas"):
            torchs = with_gradients(hidden, weight, back)
    finally:
        torch.set_num_threads(before)
    for mine, theirs in zip(ours, torchs, strict=True):
        assert mine.shape == theirs.shape
        assert_close(mine, theirs, **TOLERANCE)


@pytest.mark.usefixtures("any_size")
def test_onednn_is_asked_for_rows_that_it_divides_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    convolution = F.conv2d
    monkeypatch.setattr(F, "conv2d", lambda x, w: asked.append(tuple(x.shape)) or convolution(x, w))
    weight = torch.randn(3, 5)
    with use_products("onednn"):
        linear(torch.randn(4, 12, 5), weight)
        linear(torch.randn(51, 5), weight)
        linear(torch.randn(15, 5), weight)  # no divisor of 16 or more
        linear(torch.randn(67, 5), weight)  # prime
    assert asked == [(16, 5, 3, 1), (17, 5, 3, 1)]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 70), inputs=st.integers(1, 33), outputs=st.integers(1, 33), large=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_products_of_few_rows_are_torchs(rows: int, inputs: int, outputs: int, large: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = (rows, inputs), (outputs, inputs), (rows, outputs)
    hidden, weight, back = (torch.randn(size, generator=generator) for size in sizes)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(products, "LARGE_WEIGHT", 0 if large else 10**9)
        with use_products("onednn"):
            ours = with_gradients(hidden, weight, back)
    with use_products("blas"):
        torchs = with_gradients(hidden, weight, back)
    assert ours[0].is_contiguous()
    for mine, theirs in zip(ours, torchs, strict=True):
        assert_close(mine, theirs, **TOLERANCE)


def test_nothing_times_something_is_nothing() -> None:
    with use_products("onednn"):
        assert linear(torch.empty(0, 5), torch.randn(3, 5)).shape == (0, 3)
        assert linear(torch.empty(2, 0, 5), torch.randn(3, 5)).shape == (2, 0, 3)


def test_small_products_and_other_types_are_left_to_torch() -> None:
    large, weight = torch.randn(2048, 64), torch.randn(64, 64)
    with use_products("onednn"):
        assert multiplies_faster(large, weight)
        assert not multiplies_faster(large[:128], weight)
        assert not multiplies_faster(large.double(), weight.double())
        assert not multiplies_faster(large.to("meta"), weight.to("meta"))
        with torch.autocast("cpu", torch.bfloat16):
            assert not multiplies_faster(large, weight)
            assert linear(large, weight).dtype == torch.bfloat16
    with use_products("blas"):
        assert not multiplies_faster(large, weight)


@pytest.mark.parametrize(
    ("vendor", "capability", "wanted"),
    [("AuthenticAMD", "AVX512", "onednn"), ("AuthenticAMD", "AVX2", "blas"), ("GenuineIntel", "AVX512", "blas")],
)
def test_auto_is_onednn_on_amd_with_avx512(
    monkeypatch: pytest.MonkeyPatch, vendor: str, capability: str, wanted: str
) -> None:
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        pytest.skip("this torch has no MKL or no oneDNN")
    monkeypatch.setattr(products.machine, "is_amd", lambda: vendor == "AuthenticAMD")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    products._looked_up.cache_clear()
    try:
        assert chosen_products() == wanted
        with use_products("blas"):
            assert chosen_products() == "blas"
        with use_products("onednn"):
            assert chosen_products() == "onednn"
        assert chosen_products() == wanted
    finally:
        products._looked_up.cache_clear()


def test_a_linear_layer_uses_it_also_where_nothing_is_computed() -> None:
    layer = Linear(64, 64)
    hidden = torch.randn(4, 512, 64)
    with use_products("onednn"):
        assert_close(layer(hidden), hidden @ layer.weight.T, **TOLERANCE)
        mode = FakeTensorMode()
        states, weight = (mode.from_tensor(part) for part in (hidden, layer.weight.detach()))
        with mode:
            assert linear(states, weight).shape == (4, 512, 64)


@pytest.mark.usefixtures("any_size")
def test_training_takes_the_loss_in_parts_where_onednn_multiplies() -> None:
    hidden = torch.randn(64, 16, requires_grad=True)
    weight = torch.randn(2 * WORDS_AT_ONCE + 7, 16, requires_grad=True)
    targets = torch.randint(len(weight), (64,))
    with use_products("onednn"):
        parts = linear_cross_entropy(hidden, weight, targets)
        assert "_CrossEntropy" in type(parts.grad_fn).__name__
        with torch.no_grad():
            assert_close(linear_cross_entropy(hidden, weight, targets), parts.detach(), **TOLERANCE)
    with use_products("blas"):
        other = linear_cross_entropy(hidden, weight, targets)
        assert "_CrossEntropy" not in type(other.grad_fn).__name__
    assert_close(parts, other, **TOLERANCE)


COMPILED = """
import torch
from deepsight import products
from deepsight.building import build_model
from deepsight.config import run_config
from deepsight.merging import merged
from deepsight.presets import expanded

products.machine.is_amd = lambda: True
model = {"architecture": "deepsight", "width": 128, "layers": [1, 1], "heads": 4, "context": 64}
network = build_model(run_config(merged(expanded({"preset": "tiny"}), {"model": model})))
tokens = torch.zeros(8, 64, dtype=torch.long)
for wanted in ("auto", "onednn", "blas"):
    torch._dynamo.reset()
    with products.use_products(wanted):
        print(torch._dynamo.explain(network)(tokens, tokens).graph_break_count)
"""


def test_a_network_compiles_whole() -> None:
    # In a process of its own: here types are checked, which cannot be compiled.
    answer = subprocess.run([sys.executable, "-c", COMPILED], check=True, capture_output=True, text=True)
    assert answer.stdout.split() == ["0", "0", "0"]
