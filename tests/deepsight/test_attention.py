"""Attention on the CPU against a loop in float64, and the choice of a backend."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from jaxtyping import TypeCheckError
from torch.testing import assert_close

from deepsight import attention
from deepsight.attention import attend, chosen_backend, padded_to_multiple, use_backend
from deepsight.errors import UserError
from tests.deepsight.attention_cases import Shape, attention_shapes, naive_attention, random_inputs

TOLERANCES = [(torch.float64, 1e-12), (torch.float32, 2e-6)]


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@given(shape=attention_shapes())
def test_sdpa_equals_the_loop(dtype: torch.dtype, tolerance: float, shape: Shape) -> None:
    inputs = random_inputs(shape, dtype)
    found = attend(*inputs)
    assert_close(found.double(), naive_attention(*inputs), atol=tolerance, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@given(shape=attention_shapes(causal=False))
def test_without_a_mask_every_query_sees_every_key(dtype: torch.dtype, tolerance: float, shape: Shape) -> None:
    inputs = random_inputs(shape, dtype)
    found = attend(*inputs, causal=False)
    assert_close(found.double(), naive_attention(*inputs, causal=False), atol=tolerance, rtol=0)


def test_without_a_mask_the_order_of_keys_does_not_count() -> None:
    query, key, value = random_inputs((2, 4, 4, 2, 6), torch.float64)
    order = torch.tensor([2, 0, 3, 1])
    found = attend(query, key[:, order], value[:, order], causal=False)
    assert_close(found, attend(query, key, value, causal=False), atol=1e-12, rtol=0)
    assert (attend(query, key[:, order], value[:, order]) - attend(query, key, value)).abs().max() > 1e-3


@given(shape=attention_shapes(causal=False))
def test_gradients_without_a_mask_are_those_of_the_formula(shape: Shape) -> None:
    inputs = [tensor.requires_grad_() for tensor in random_inputs(shape, torch.float64)]
    batch, queries, _, heads, width = shape
    weights = torch.randn(batch, queries, heads, width, dtype=torch.float64)
    found = torch.autograd.grad((attend(*inputs, causal=False) * weights).sum(), inputs)
    query, key, value = (tensor.transpose(1, 2) for tensor in inputs)
    mixed = (query @ key.mT / width**0.5).softmax(-1) @ value
    expected = torch.autograd.grad((mixed.transpose(1, 2) * weights).sum(), inputs)
    for left, right in zip(found, expected, strict=True):
        assert_close(left, right, atol=1e-12, rtol=0)


def test_a_query_whose_numbers_lie_apart_meets_the_fast_kernel_too() -> None:
    query, key, value = random_inputs((1, 1, 5, 2, 4), torch.float32)
    apart = torch.stack([query, query], dim=-1).select(-1, 0)
    with torch.profiler.profile() as seen:
        found = attend(apart, key, value)
    assert_close(found, attend(query, key, value), atol=0, rtol=0)
    assert any("flash" in event.name for event in seen.events())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@given(shape=attention_shapes())
def test_padding_with_the_true_scale_changes_nothing(dtype: torch.dtype, tolerance: float, shape: Shape) -> None:
    """What the xformers path does around its kernel, with torch's kernel in its place."""
    inputs = random_inputs(shape, dtype)
    width = shape[-1]
    padded = [padded_to_multiple(tensor) for tensor in inputs]
    assert all(tensor.shape[-1] % 8 == 0 and tensor.shape[-1] - width < 8 for tensor in padded)
    found = attention._sdpa(*padded, dropout=0.0, scale=width**-0.5)
    assert_close(found[..., :width], attend(*inputs), atol=tolerance, rtol=0)
    assert not found[..., width:].any()


def test_padding_without_the_true_scale_would_be_wrong() -> None:
    inputs = random_inputs((1, 5, 5, 1, 15), torch.float64)
    found = attention._sdpa(*map(padded_to_multiple, inputs), dropout=0.0)
    assert (found[..., :15] - attend(*inputs)).abs().max() > 1e-3


def test_a_width_that_fits_is_not_copied() -> None:
    tensor = torch.zeros(1, 2, 3, 16)
    assert padded_to_multiple(tensor) is tensor


@given(shape=attention_shapes())
def test_gradients_equal_those_of_the_loop(shape: Shape) -> None:
    inputs = [tensor.requires_grad_() for tensor in random_inputs(shape, torch.float64)]
    batch, queries, keys, heads, width = shape
    weights = torch.randn(batch, queries, heads, width, dtype=torch.float64)
    found = torch.autograd.grad((attend(*inputs) * weights).sum(), inputs)
    # The loop takes floats out of tensors, so the derivative is that of the same formula on whole matrices.
    query, key, value = (tensor.transpose(1, 2) for tensor in inputs)
    ahead = torch.ones(queries, keys, dtype=torch.bool).triu(keys - queries + 1)
    scores = (query @ key.mT / width**0.5).masked_fill(ahead, -torch.inf)
    expected = torch.autograd.grad(((scores.softmax(-1) @ value).transpose(1, 2) * weights).sum(), inputs)
    for left, right in zip(found, expected, strict=True):
        assert_close(left, right, atol=1e-12, rtol=0)


def test_dropout_drops_weights_and_keeps_their_mean() -> None:
    query, key, _ = random_inputs((1, 3, 3, 1, 8), torch.float64)
    value = torch.ones_like(query)
    torch.manual_seed(0)
    means = torch.stack([attend(query, key, value, dropout=0.5)[0, 0, 0, 0] for _ in range(2000)])
    # The first query sees one key, kept (and doubled) or dropped.
    assert set(means.tolist()) == {0.0, 2.0}
    assert means.mean().item() == pytest.approx(1.0, abs=0.1)


def test_annotated_shapes_are_checked_while_tests_run() -> None:
    query, key, value = random_inputs((1, 3, 3, 2, 8), torch.float32)
    with pytest.raises(TypeCheckError, match="key"):
        attend(query, key[..., :4], value)


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), "sdpa"), ((8, 0), "xformers"), ((8, 6), "sdpa"), ((9, 0), "sdpa")]
)
def test_the_backend_follows_the_device(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(attention, "_xformers_is_installed", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda *_: capability)
    assert chosen_backend(torch.device("cpu")) == "sdpa"
    assert chosen_backend(torch.device("cuda")) == expected
    with use_backend("sdpa"):
        assert chosen_backend(torch.device("cuda")) == "sdpa"
    with use_backend("xformers"):
        assert chosen_backend(torch.device("cuda")) == "xformers"
    assert chosen_backend(torch.device("cuda")) == expected


def test_that_xformers_does_not_run_on_a_cpu_is_no_reason_to_warn() -> None:
    """Its import alone warns, on standard error: a process of its own."""
    asked = "import torch; from deepsight.attention import obstacle as o; "
    asked += "print(o(torch.device('cpu'), torch.float32, 30, gradient=True))"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "it runs on CUDA only, not on cpu\n"
    assert answer.stderr == ""


def test_without_xformers_cuda_uses_sdpa_and_forcing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_xformers_is_installed", lambda: False)
    monkeypatch.setattr(attention, "_is_a100", lambda device: True)
    assert chosen_backend(torch.device("cuda")) == "sdpa"
    with pytest.raises(UserError, match="xformers is not installed; known: auto, sdpa"), use_backend("xformers"):
        pass


def test_forcing_xformers_on_a_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_xformers_is_installed", lambda: True)
    inputs = random_inputs((1, 2, 2, 1, 8), torch.float32)
    with use_backend("xformers"), pytest.raises(UserError, match="runs on CUDA only, not on cpu"):
        attend(*inputs)
    attend(*inputs)  # the force ends with its block, even after an error
