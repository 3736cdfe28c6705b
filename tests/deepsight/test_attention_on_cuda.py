"""The xformers path: which operator takes our tensors (on a pretended A100), and what it computes (on a real GPU)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from deepsight import attention
from deepsight.attention import attend, padded_to_multiple, use_backend
from deepsight.config import ModelConfig
from deepsight.errors import UserError
from deepsight.myopia import myopic
from deepsight.plug_ins import architectures
from tests.deepsight.attention_cases import random_inputs

fmha = pytest.importorskip("xformers.ops.fmha", reason="xformers is not installed")

WIDTHS = [30, 15, 64]
"""The published head widths, of self- and cross-attention, and one that needs no padding."""
LENGTHS = [(400, 400), (1, 7), (5, 9)]
"""Training, one cached step, and several."""


@pytest.fixture
def pretended_a100(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let CUDA tensors without content exist, and xformers believe in an A100. Gradients are out of reach here."""
    monkeypatch.setattr("torch.version.cuda", "12.8")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *_: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda *_: (8, 0))
    monkeypatch.setattr("xformers.ops.fmha.common._built_with_cuda", True)
    with FakeTensorMode(), torch.no_grad():
        yield


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record what xformers is asked for."""
    calls: list[dict[str, Any]] = []
    original = fmha.memory_efficient_attention

    def recorded(query: Any, key: Any, value: Any, **named: Any) -> Any:
        calls.append({"query": query, "key": key, "value": value, **named})
        return original(query, key, value, **named)

    monkeypatch.setattr(fmha, "memory_efficient_attention", recorded)
    return calls


def on_cuda(queries: int, keys: int, width: int) -> list[torch.Tensor]:
    sizes = [(2, length, 5, width) for length in (queries, keys, keys)]
    return [torch.empty(size, device="cuda", dtype=torch.bfloat16) for size in sizes]


@pytest.mark.usefixtures("pretended_a100")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("queries", "keys"), LENGTHS)
def test_any_head_width_finds_an_operator(
    queries: int, keys: int, width: int, causal: bool, asked: list[dict[str, Any]]
) -> None:
    inputs = on_cuda(queries, keys, width)
    output = attend(*inputs, causal=causal)
    assert output.shape == inputs[0].shape
    assert (output.device.type, output.dtype) == ("cuda", torch.bfloat16)
    (call,) = asked
    assert call["scale"] == width**-0.5
    square = (
        fmha.attn_bias.LowerTriangularMask if queries == keys else fmha.attn_bias.LowerTriangularFromBottomRightMask
    )
    assert type(call["attn_bias"]) is (square if causal else type(None))
    given = fmha.Inputs(**call)
    assert fmha.cutlass.FwOp.not_supported_reasons(given) == []
    # FlashAttention is part of a CUDA build of xformers and would be preferred: only the build is missing here.
    missing = fmha.flash.FwOp.not_supported_reasons(given)
    assert [reason for reason in missing if "wasn't built" not in reason] == []


@pytest.mark.usefixtures("pretended_a100")
@pytest.mark.parametrize("width", [30, 15])
def test_without_padding_no_operator_takes_the_published_widths(width: int) -> None:
    bias = fmha.attn_bias.LowerTriangularMask()
    plain = on_cuda(400, 400, width)
    assert any("% 8" in reason for reason in fmha.cutlass.FwOp.not_supported_reasons(fmha.Inputs(*plain, bias)))
    padded = [padded_to_multiple(tensor) for tensor in plain]
    assert fmha.cutlass.FwOp.not_supported_reasons(fmha.Inputs(*padded, bias)) == []


@pytest.mark.usefixtures("pretended_a100")
@pytest.mark.parametrize("architecture", ["deepsight", "baseline"])
def test_the_published_shape_runs_through_xformers_alone(architecture: str, asked: list[dict[str, Any]]) -> None:
    layers: Any = [2, 3] if architecture == "deepsight" else 5
    config = ModelConfig(architecture=architecture, width=150, layers=layers, heads=5, cross_heads=10, context=400)
    with torch.device("meta"):
        model = architectures.build(architecture, config=config, vocabulary=97).requires_grad_(False)
    weights = {name: torch.empty(weight.shape, device="cuda") for name, weight in model.state_dict().items()}
    model.load_state_dict(weights, assign=True)
    tokens = torch.zeros(3, 400, dtype=torch.int64, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        trace = model(tokens, tokens)
    assert trace.decoder_output.shape == (3, 400, 150)
    assert trace.decoder_output.device.type == "cuda"
    # Two encoder layers, and two attentions in each of three decoder layers.
    assert len(asked) == (8 if architecture == "deepsight" else 5)
    assert all(call["query"].dtype == torch.bfloat16 for call in asked)
    assert {call["query"].shape[-1] for call in asked} == ({32, 16} if architecture == "deepsight" else {32})


@pytest.mark.usefixtures("pretended_a100")
@pytest.mark.parametrize("width", WIDTHS)
def test_myopic_attention_is_one_causal_attention_of_heads_a_little_wider(
    width: int, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without gradients, attention would be ordinary.
    monkeypatch.setattr(attention, "is_myopic", lambda: True)
    output = attend(*on_cuda(400, 400, width))
    assert (output.shape, output.dtype) == ((2, 400, 5, width), torch.bfloat16)
    (call,) = asked
    assert call["scale"] == width**-0.5
    assert call["query"].shape == call["key"].shape == call["value"].shape
    assert width + 2 <= call["query"].shape[-1] < width + 2 + 8
    assert type(call["attn_bias"]) is fmha.attn_bias.LowerTriangularMask
    assert fmha.cutlass.FwOp.not_supported_reasons(fmha.Inputs(**call)) == []


@pytest.fixture
def without_operators(pretended_a100: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let xformers be one that was built for another torch: it imports, and has nothing that runs."""
    monkeypatch.setattr("xformers.ops.fmha.common._built_with_cuda", False)
    attention._obstacles.clear()
    yield
    attention._obstacles.clear()


@pytest.mark.usefixtures("without_operators")
def test_an_xformers_that_cannot_run_is_left_alone_with_one_warning(asked: list[dict[str, Any]]) -> None:
    inputs = on_cuda(400, 400, 30)
    with pytest.warns(UserWarning, match="xformers cannot run here, torch's attention does instead") as caught:
        outputs = [attend(*inputs), attend(*inputs)]
    assert len(caught) == 1
    assert [output.shape for output in outputs] == [inputs[0].shape] * 2
    assert asked == []


@pytest.mark.usefixtures("without_operators")
def test_an_xformers_that_cannot_run_is_refused_where_it_is_asked_for() -> None:
    with (
        use_backend("xformers"),
        pytest.raises(UserError, match=r"the attention backend xformers cannot run here: .*; known: auto, sdpa"),
    ):
        attend(*on_cuda(400, 400, 30))


@pytest.mark.cuda
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("queries", "keys"), LENGTHS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-3), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("wanted", [False, True], ids=["ordinary", "myopic"])
def test_xformers_computes_what_sdpa_computes(
    queries: int, keys: int, width: int, dtype: torch.dtype, tolerance: float, causal: bool, wanted: bool
) -> None:
    """Forward and backward against SDPA in float64; float32 may go through TensorFloat-32 in the kernel."""
    if attention._obstacle("cuda", dtype, width, False, True) is not None:
        pytest.skip("xformers is installed but was built for another torch: no operator runs")
    exact = [tensor.requires_grad_() for tensor in random_inputs((2, queries, keys, 3, width), torch.float64)]
    rough = [tensor.detach().to("cuda", dtype).requires_grad_() for tensor in exact]
    weights = random_inputs((2, queries, keys, 3, width), torch.float64, seed=1)[0]
    with myopic(wanted):
        expected = attend(*exact, causal=causal)
        with use_backend("xformers"):
            found = attend(*rough, causal=causal)
    assert_close(found.double().cpu(), expected, atol=tolerance, rtol=tolerance)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), exact)
    gradients = torch.autograd.grad((found * weights.to("cuda", dtype)).sum(), rough)
    for left, right in zip(gradients, expected_gradients, strict=True):
        assert_close(left.double().cpu(), right, atol=tolerance * 5, rtol=tolerance)
