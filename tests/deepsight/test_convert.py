"""Original weights under our names: nothing lost, nothing mixed up, and mistakes named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from deepsight.convert import convert, load_network, model_config, our_name, read_original
from deepsight.errors import UserError
from deepsight.training.checkpoint import read_checkpoint
from deepsight.training.names import CHECKPOINT_FILE
from tests.reference.plain import write_folder

SHAPE = {"vocab_size": 23, "context": 9, "width": 12, "encoder_layers": 2, "decoder_layers": 3}
HEADS = {"heads": 3, "cross_heads": 2, "n": 2, "batch": 2}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    write_folder(folder, SHAPE | HEADS, seed=3)
    return folder


@pytest.mark.parametrize(("system", "norms"), [("deepsight", 6), ("baseline", 0)])
def test_every_tensor_has_a_place_of_its_own(originals: Path, system: str, norms: int) -> None:
    file = originals / f"{system}.safetensors"
    stored = {name: tensor for name, tensor in load_file(file).items() if not name.startswith("__")}
    network, found_norms = read_original(file)
    assert len(found_norms) == norms
    assert len(network) == len(stored) - norms
    content = sorted(tensor.sum().item() for tensor in stored.values())
    assert sorted(tensor.sum().item() for tensor in (*network.values(), *found_norms.values())) == content


def test_the_shape_is_read_off_the_weights(originals: Path) -> None:
    network, _ = read_original(originals / "deepsight.safetensors")
    config = model_config(network, heads=3, cross_heads=None)
    assert (config.architecture, config.layers, config.width, config.context) == ("deepsight", [2, 3], 12, 9)
    assert (config.heads, config.cross_heads) == (3, 3)
    baseline, _ = read_original(originals / "baseline.safetensors")
    assert model_config(baseline, heads=2, cross_heads=None).layers == 5
    with pytest.raises(UserError, match=r"^heads: 5 heads do not divide the width 12"):
        model_config(network, heads=5, cross_heads=None)


@pytest.mark.parametrize(
    ("original", "ours"),
    [
        ("decoder_feed_forward.weight", "bridge.weight"),
        ("decoder_transformer_blocks.1.decoder_feed_forward.linear.weight", "decoder.1.feed_forward.expand.weight"),
        ("decoder_transformer_blocks.0.encoder_cross_ln.weight", "decoder.0.encoder_norm.weight"),
        ("encoder_transformer_blocks.10.ln2.weight", "encoder.10.feed_forward_norm.weight"),
        ("transformer_blocks.3.multi_attn_head.residual_proj.weight", "blocks.3.attention.output.weight"),
        ("ln.weight", "final_norm.weight"),
    ],
)
def test_names(original: str, ours: str) -> None:
    assert our_name(original) == ours


@pytest.mark.parametrize("name", ["lnn.weight", "encoder_transformer_blocks.x.ln1.weight", "ln1.weight", "weight"])
def test_a_name_of_no_original_model_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match="belongs to no original model that can be converted"):
        our_name(name)


def test_the_written_checkpoint_computes_the_original_logits(originals: Path, tmp_path: Path) -> None:
    file = originals / "deepsight.safetensors"
    config = convert(file, tmp_path / "out", heads=3, cross_heads=2)
    checkpoint = read_checkpoint(tmp_path / "out" / CHECKPOINT_FILE)
    assert checkpoint.about["model"] == config.model_dump(mode="json")
    model = load_network(checkpoint.part("model"), config)
    stored = load_file(file)
    assert_close(model.logits(stored["__tokens"]), stored["__logits"], atol=1e-5, rtol=0)
    norms = checkpoint.part("objective")
    assert torch.equal(norms["parts.future_context.encoder_norm.bias"], stored["encoder_out_ln.bias"])


def test_what_cannot_be_converted(originals: Path, tmp_path: Path) -> None:
    file = originals / "deepsight.safetensors"
    with pytest.raises(UserError, match="the shape is not a published one, so --heads must say"):
        convert(file, tmp_path / "out")
    with pytest.raises(UserError, match="there is no such file"):
        convert(tmp_path / "nothing", tmp_path / "out", heads=3)
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        convert(tmp_path / "text", tmp_path / "out", heads=3)
    save_file({"ln.weight": torch.ones(3)}, tmp_path / "part")
    with pytest.raises(UserError, match=r"the original weights lack 'embedding\.token\.weight'"):
        convert(tmp_path / "part", tmp_path / "out")
    lacking = {name: tensor for name, tensor in load_file(file).items() if name != "ln.weight"}
    save_file(lacking, tmp_path / "lacking")
    with pytest.raises(UserError, match=r"final_norm\.weight has shape None, expected \(12,\)"):
        convert(tmp_path / "lacking", tmp_path / "out", heads=3)
    save_file({**lacking, "more.weight": torch.ones(3)}, tmp_path / "more")
    with pytest.raises(UserError, match=r"more: the tensor 'more\.weight' belongs to no original model"):
        convert(tmp_path / "more", tmp_path / "out", heads=3)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="this is not empty; choose a new folder"):
        convert(file, originals, heads=3)
