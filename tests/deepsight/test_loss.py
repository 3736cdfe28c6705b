"""Cross-entropy without all logits: equal to the plain one, and it really holds less."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from deepsight import loss, loss_in_parts
from deepsight.loss import linear_cross_entropy, next_token_loss
from deepsight.products import use_products
from deepsight.trace import IGNORED
from tests.memory import allocations, peak_bytes
from tests.models import random_trace, small_model

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def _operator(*arguments: Tensor) -> Tensor:
    with use_products("blas"):
        return linear_cross_entropy(*arguments)


PATHS: dict[str, Loss] = {
    "torch's operator": _operator,
    "our chunks": loss._in_chunks,
    "parts of the vocabulary": loss_in_parts.cross_entropy_in_parts,
}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "ROWS_AT_ONCE", 8)
    monkeypatch.setattr(loss, "ROWS_AT_ONCE_ON_CPU", 8)
    monkeypatch.setattr(loss_in_parts, "WORDS_AT_ONCE", 8)
    monkeypatch.setattr(loss_in_parts, "POSITIONS_AT_ONCE", 16)


def naive(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Add up -log softmax one position at a time, in float64."""
    counted = [row for row in range(len(targets)) if targets[row] != IGNORED]
    total = torch.zeros((), dtype=torch.float64)
    for row in counted:
        logits = weight.double() @ hidden[row].double()
        total = total + torch.logsumexp(logits, 0) - logits[targets[row]]
    return total / len(counted)


def random_case(positions: int, width: int, vocabulary: int, ignored: set[int], dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(positions)
    hidden = torch.randn(positions, width, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(vocabulary, width, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randint(vocabulary, (positions,), generator=generator)
    targets[[row for row in ignored if row < positions - 1]] = IGNORED  # the last one always counts
    return [hidden, weight, targets]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@given(
    positions=st.integers(1, 40),
    width=st.integers(1, 9),
    vocabulary=st.integers(1, 30),
    ignored=st.sets(st.integers(0, 39)),
)
def test_value_and_gradients_equal_the_plain_ones(
    path: str, dtype: torch.dtype, tolerance: float, positions: int, width: int, vocabulary: int, ignored: set[int]
) -> None:
    hidden, weight, targets = random_case(positions, width, vocabulary, ignored, dtype)
    gradients = []
    values = []
    for function in (PATHS[path], naive):
        inputs = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
        value = function(*inputs, targets)
        # A factor, as a coefficient would be.
        gradients.append(torch.autograd.grad(value * 3.0, inputs))
        values.append(value.double())
    assert_close(*values, atol=tolerance, rtol=tolerance)
    for found, expected in zip(*gradients, strict=True):
        assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_evaluation_takes_our_chunks_and_agrees() -> None:
    hidden, weight, targets = random_case(30, 4, 7, {2, 3}, torch.float64)
    with torch.no_grad():
        assert_close(
            linear_cross_entropy(hidden, weight, targets).double(), naive(hidden, weight, targets), atol=1e-12, rtol=0
        )


def test_an_older_torch_takes_our_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case(30, 4, 7, {2, 3}, torch.float64)
    monkeypatch.setattr(loss, "_torch_options", lambda device_type: None)
    monkeypatch.setattr(F, "linear_cross_entropy", None, raising=False)
    assert_close(linear_cross_entropy(*case), loss._in_chunks(*case), atol=0, rtol=0)


@pytest.mark.parametrize("path", [path for path in PATHS if path != "parts of the vocabulary"])  # for float32 alone
def test_bfloat16_autocast_stays_near_and_gives_float32(path: str) -> None:
    hidden, weight, targets = random_case(64, 16, 50, set(), torch.float32)
    hidden.requires_grad_()
    expected = F.cross_entropy(hidden @ weight.T, targets)
    inputs = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = PATHS[path](*inputs, targets)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=0.02)
    gradients = torch.autograd.grad(value, inputs)
    assert [gradient.dtype for gradient in gradients] == [torch.float32] * 2
    assert_close(gradients[0], torch.autograd.grad(expected, hidden)[0], atol=0.02, rtol=0.05)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("training", [True, False])
def test_logits_of_all_positions_are_never_held(path: str, training: bool) -> None:
    positions, width, vocabulary = 512, 8, 1000
    hidden, weight, targets = random_case(positions, width, vocabulary, {5}, torch.float32)
    inputs = [hidden.requires_grad_(training), weight.requires_grad_(training)]

    def run() -> None:
        with torch.set_grad_enabled(training):
            value = PATHS[path](*inputs, targets)
        if training:
            value.backward()

    all_logits = 4 * positions * vocabulary
    assert max(allocations(run)) <= all_logits / 16
    assert peak_bytes(run) <= all_logits / 8


def test_the_plain_way_would_hold_them() -> None:
    hidden, weight, targets = random_case(512, 8, 1000, set(), torch.float32)
    assert max(allocations(lambda: F.cross_entropy(hidden @ weight.T, targets))) == 4 * 512 * 1000


def test_a_trace_gives_the_mean_over_positions_that_count() -> None:
    model = small_model(dtype=torch.float64)
    trace = random_trace(model, batch=3)
    trace.targets[0, :4] = IGNORED
    logits = model.logits(trace.tokens)
    expected = F.cross_entropy(logits.flatten(0, 1), trace.targets.flatten(), ignore_index=IGNORED)
    assert_close(next_token_loss(trace).double(), expected, atol=1e-12, rtol=0)
