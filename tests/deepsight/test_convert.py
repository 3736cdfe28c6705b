"""Original weights under our names: nothing lost, nothing mixed up, and mistakes named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from typer.testing import CliRunner

from deepsight.architecture import Architecture
from deepsight.cli.app import app
from deepsight.config import ModelConfig
from deepsight.convert import convert, load_network, model_config, published_heads, read_original
from deepsight.errors import UserError
from deepsight.original_names import our_name
from deepsight.plug_ins import objectives
from deepsight.presets import load_run
from deepsight.trace import Shape
from deepsight.training.checkpoint import read_checkpoint
from deepsight.training.names import CHECKPOINT_FILE
from deepsight.validation import validated
from tests.reference.plain import write_folder
from tests.reference.sibling_plain import PlainSibling
from tests.reference.sibling_plain import write_folder as write_sibling_folder

SHAPE = {"vocab_size": 23, "context": 9, "width": 12, "encoder_layers": 2, "decoder_layers": 3}
HEADS = {"heads": 3, "cross_heads": 2, "n": 2, "batch": 2}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    write_folder(folder, SHAPE | HEADS, seed=3)
    write_sibling_folder(folder, SHAPE | HEADS, seed=3, mixed=0)
    return folder


@pytest.mark.parametrize(("system", "norms"), [("deepsight", 6), ("encoder_decoder", 4), ("baseline", 0)])
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
        ("ffd_ln.weight", "bridge_norm.weight"),
        ("post_sub_pos_ln.weight", "subtraction_norm.weight"),
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


SIBLING_NAMES = ("embeddings_ln", "encoder_out_ln", "ffd_ln", "post_sub_pos_ln")


def sibling_file(originals: Path, folder: Path, *kept: str) -> Path:
    """Write a sibling's weights with these of its optional norms alone."""
    left_out = set(SIBLING_NAMES) - set(kept)
    tensors = load_file(originals / "encoder_decoder.safetensors")
    file = folder / "sibling.safetensors"
    save_file({name: value for name, value in tensors.items() if name.rpartition(".")[0] not in left_out}, file)
    return file


@pytest.mark.parametrize(
    ("kept", "said", "expected", "case"),
    [
        # The published choice, recognised by the norm of the loss's target.
        (
            ("embeddings_ln", "encoder_out_ln"),
            {},
            "self_first plain False False",
            ("ORIGINAL", "YES_NO_LN", False, False),
        ),
        (("ffd_ln",), {}, "self_first plain False True", ("ORIGINAL", "YES_NO_LN", False, True)),
        (("post_sub_pos_ln",), {}, "self_first normed False False", ("ORIGINAL", "YES_LN", False, False)),
        # What no weight shows has to be said.
        ((), {"attention_order": "cross_first"}, "cross_first plain False False", ("ALT", "YES_NO_LN", False, False)),
        (
            ("embeddings_ln",),
            {"subtract_positions": "none", "add_positions": True},
            "self_first none True False",
            ("ORIGINAL", "NO", True, False),
        ),
        # Norms that are there and not used.
        (
            SIBLING_NAMES,
            {"subtract_positions": "plain", "bridge_norm": False},
            "self_first plain False False",
            ("ORIGINAL", "YES_NO_LN", False, False),
        ),
    ],
)
def test_a_sibling_is_recognised_and_computes_the_original_logits(
    originals: Path, tmp_path: Path, kept: tuple[str, ...], said: dict[str, Any], expected: str, case: tuple[Any, ...]
) -> None:
    config = convert(sibling_file(originals, tmp_path, *kept), tmp_path / "out", heads=3, cross_heads=2, sibling=said)
    assert isinstance(config.architecture, dict)
    name, *parameters = config.architecture.values()
    assert (name, " ".join(map(str, parameters))) == ("encoder_decoder", expected)
    assert config.context == SHAPE["context"]
    model = load_trained_network(tmp_path / "out")
    plain = PlainSibling(SHAPE | HEADS)
    stored = load_file(originals / "encoder_decoder.safetensors")
    plain.load_state_dict({name: value for name, value in stored.items() if not name.startswith("__")})
    with torch.no_grad():
        wanted = plain(stored["__tokens"], dict(zip(("order", "sub", "addp", "lnff"), case, strict=True)))[2]
        assert_close(model.logits(stored["__tokens"]), wanted, atol=1e-5, rtol=0)


def load_trained_network(folder: Path) -> Architecture:
    """Return the network of a converted checkpoint, as `deepsight generate` reads it."""
    checkpoint = read_checkpoint(folder / CHECKPOINT_FILE)
    return load_network(checkpoint.part("model"), validated(ModelConfig, checkpoint.about["model"]))


def test_a_siblings_norms_are_those_of_its_loss(originals: Path, tmp_path: Path) -> None:
    file = sibling_file(originals, tmp_path, "embeddings_ln", "encoder_out_ln")
    convert(file, tmp_path / "out", heads=3, cross_heads=2)
    norms = read_checkpoint(tmp_path / "out" / CHECKPOINT_FILE).part("objective.parts.embedding")
    stored = load_file(file)
    loss = objectives.build("embedding", shape=Shape(5, 12, 9, 3))
    loss.load_state_dict(norms)
    assert torch.equal(loss.get_parameter("target_norm.bias"), stored["embeddings_ln.bias"])
    assert torch.equal(loss.get_parameter("encoder_norm.weight"), stored["encoder_out_ln.weight"])


def test_a_sibling_that_reads_no_next_position_has_one_for_each_row(originals: Path, tmp_path: Path) -> None:
    file = sibling_file(originals, tmp_path, "embeddings_ln")
    config = convert(file, tmp_path / "out", heads=3, sibling={"subtract_positions": "none"})
    assert config.context == SHAPE["context"] + 1


def test_a_siblings_mistakes(originals: Path, tmp_path: Path) -> None:
    file = sibling_file(originals, tmp_path)
    # Nothing tells these weights from a DeepSight's of a context longer by one.
    assert convert(file, tmp_path / "deepsight", heads=3).architecture == "deepsight"
    with pytest.raises(UserError, match="attention_order: unknown value 'cross'; did you mean 'cross_first'"):
        convert(file, tmp_path / "out", heads=3, sibling={"attention_order": "cross"})
    with pytest.raises(UserError, match=r"subtraction_norm\.weight has shape None, expected \(12,\)"):
        convert(file, tmp_path / "out", heads=3, sibling={"subtract_positions": "normed"})
    with pytest.raises(
        UserError, match="these weights are a baseline's, with one stack of layers, and not of encoder_"
    ):
        convert(originals / "baseline.safetensors", tmp_path / "out", heads=3, sibling={"add_positions": True})


@pytest.mark.parametrize(
    "name", ["deepsight-paper", "encoder-decoder-paper", "baseline-paper", "smaller-baseline-paper"]
)
def test_the_published_shapes_know_their_heads(name: str) -> None:
    model = load_run(name).model
    unknown = model.model_copy(update={"heads": 1, "cross_heads": 1, "context": 7})
    assert published_heads(unknown) == (model.heads, model.cross_heads)
    assert published_heads(unknown.model_copy(update={"width": 151})) is None


def test_the_command_says_what_a_sibling_was_taken_for(originals: Path, tmp_path: Path) -> None:
    file = sibling_file(originals, tmp_path, "embeddings_ln", "encoder_out_ln")
    shape = [str(file), str(tmp_path / "out"), "--heads", "3", "--cross-heads", "2"]
    options = [
        "--attention-order",
        "cross_first",
        "--subtract-positions",
        "none",
        "--add-positions",
        "--no-bridge-norm",
    ]
    answer = CliRunner().invoke(app, ["convert", *shape, *options])
    assert answer.exit_code == 0, answer.output
    said = " ".join(answer.stdout.split())
    assert "out: encoder_decoder, 2+3 layers, width 12, context 9" in said
    assert "attention_order cross_first, subtract_positions none, add_positions True, bridge_norm False" in said
    assert load_trained_network(tmp_path / "out").config.heads == 3
