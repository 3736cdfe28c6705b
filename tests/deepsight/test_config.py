"""A run's configuration: complete forms, mistakes with their place, and what makes two runs the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.config import RunConfig, RuntimeConfig, run_config
from deepsight.errors import UserError
from deepsight.merging import merged, with_dotted_keys
from tests.runs import run_data

BASE = run_data(Path("unread"))
PUBLISHED = {
    "name": "future_context",
    "coefficient": 1.0,
    "attach": "encoder",
    "n": 11,
    "target": {"name": "input_embeddings"},
    "aggregator": {"name": "decay"},
    "merge": {"name": "equal"},
    "norm": "after",
    "norm_affine": True,
    "normaliser": {"name": "none"},
    "predictor": {"name": "none"},
    "distance": {"name": "mse"},
    "window": "trim",
}


def config(**changes: Any) -> RunConfig:
    """Return a small run; `changes` have dotted keys, written with __ for dots."""
    return run_config(merged(BASE, {key.replace("__", "."): value for key, value in changes.items()}))


def refusal(**changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        config(**changes)
    return str(caught.value)


def objective_of(written: Any, architecture: str = "deepsight") -> Any:
    data = {**BASE, "model": {**BASE["model"], "architecture": architecture}, "objective": written}
    return run_config(data).objective


@pytest.mark.parametrize("written", ["future_context", {"name": "future_context"}, ["future_context"], {}])
def test_the_published_choice_is_the_default(written: Any) -> None:
    assert objective_of(written) == [PUBLISHED]


def test_an_absent_objective_is_the_architectures_own() -> None:
    without = {key: value for key, value in BASE.items() if key != "objective"}
    assert run_config(without).objective == [PUBLISHED]
    assert run_config(merged(without, {"model.architecture": "baseline"})).objective == []


@pytest.mark.parametrize("written", ["none", None, []])
def test_no_objective(written: Any) -> None:
    assert objective_of(written) == objective_of(written, "baseline") == []


def test_parameters_alone_change_the_default_objective() -> None:
    assert objective_of({"n": 3}) == [{**PUBLISHED, "n": 3}]
    with pytest.raises(UserError, match=r"^objective: the parameters \['n'\] need an objective's name beside them"):
        objective_of({"n": 3}, "baseline")


def test_parts_are_written_by_name_or_as_a_mapping() -> None:
    assert objective_of({"aggregator": "average"}) == objective_of({"aggregator": {"name": "average"}})
    assert objective_of({"coefficient": 2})[0]["coefficient"] == 2.0


def test_several_objectives() -> None:
    found = objective_of(["future_context", {"name": "future_context", "n": 3, "coefficient": 0.5}])
    assert found == [PUBLISHED, {**PUBLISHED, "n": 3, "coefficient": 0.5}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model__widht": 3}, "model: unknown key 'widht'; did you mean 'width'? known: architecture, context,"),
        ({"model__architecture": "basline"}, "model.architecture: unknown architecture 'basline'; did you mean 'ba"),
        ({"model__heads": 3}, "model.heads: 3 heads do not divide the width 16; nearest widths: 15 or 18"),
        ({"model__cross_heads": 5}, "model.cross_heads: 5 heads do not divide the width 16; nearest widths: 15 or 20"),
        ({"model__heads": 32}, "model.heads: 32 heads do not divide the width 16; nearest widths: 32"),
        ({"model__layers": 3}, "model.layers: deepsight needs [encoder, decoder] layers, each at least 1, not 3"),
        ({"model__layers": [3]}, "model.layers: deepsight needs [encoder, decoder] layers, each at least 1, not [3]"),
        ({"model__layers": [0, 2]}, "model.layers: deepsight needs [encoder, decoder] layers"),
        ({"model__layers": [1, "x"]}, 'model.layers.1: this should be a valid integer, not "x"'),
        ({"model__feed_forward": 0}, "model.feed_forward: this should be greater than or equal to 1, not 0"),
        ({"model__feedforward": 9}, "model: unknown key 'feedforward'; did you mean 'feed_forward'?"),
        ({"model__dropout": 1.0}, "model.dropout: this should be less than 1, not 1.0"),
        (
            {"data": {"task": "path_sta", "tokenizer": "gpt2"}},
            "data.corpus: a task has tokens of its own; leave",
        ),
        ({"data": {"task": "path_sta"}}, "data.task: unknown task 'path_sta'; did you mean 'path_star'?"),
        ({"data": {"task": {"name": "path_star", "degre": 3}}}, "data.task: unknown key 'degre'; did you mean 'degree"),
        ({"data": {"task": {"name": "path_star", "degree": 0}}}, "data.task.degree: this should be greater than or"),
        ({"data__tokenizer": "gpt3"}, "data.tokenizer: unknown tokenizer 'gpt3'"),
        ({"data__corpus": "pydoc"}, "data.corpus: unknown corpus 'pydoc'; did you mean 'pydocs'? known: datasets, f"),
        ({"training__steps": 0}, "training.steps: this should be greater than or equal to 1, not 0"),
        ({"training__betas": [0.9]}, "training.betas: "),
        ({"training__precision": "bf16"}, "training.precision: unknown value 'bf16'; did you mean 'bfloat16'? known:"),
        ({"runtime__device": "gpu"}, "runtime.device: "),
        ({"objective": "future"}, "objective: unknown objective 'future'; did you mean 'future_context'? known: b"),
        ({"objective": 3}, "objective: an objective is a name, or a mapping with a name, not 3"),
        ({"objective": ["none", 3]}, "objective.0: unknown objective 'none'"),
        ({"objective__n": 0}, "objective.n: this should be greater than or equal to 1, not 0"),
        ({"objective__m": 3}, "objective: unknown key 'm'"),
        ({"objective__coefficient": "1"}, "objective.coefficient: a finite number is needed, or a schedule, not '1'"),
        ({"objective__coefficient": True}, "objective.coefficient: a finite number is needed, or a schedule, not True"),
        (
            {"objective__coefficient": float("inf")},
            "objective.coefficient: a finite number is needed, or a schedule, not inf",
        ),
        ({"objective__coefficient": {"schedule": "linear"}}, "objective.coefficient.schedule: unknown value 'linear'"),
        ({"objective__coefficient": {"share": 0}}, "objective.coefficient.share: this should be greater than 0"),
        (
            {"objective__attach": "encodr"},
            "objective.attach: unknown place 'encodr'; did you mean 'encoder'? known: dec",
        ),
        ({"objective__attach": {"layr": 1}}, "objective.attach: unknown key 'layr'; did you mean 'layer'?"),
        ({"objective__attach": {"layer": 0}}, "objective.attach.layer: this should be greater than or equal to 1"),
        ({"model__positions": "rotery"}, "model.positions: unknown value 'rotery'; did you mean 'rotary'?"),
        ({"objective__aggregator": "decai"}, "objective.aggregator: unknown aggregator 'decai'; did you mean 'decay'?"),
        ({"objective__aggregator": {"name": "decay", "x": 1}}, "objective.aggregator: unknown key 'x'; known: none"),
        ({"objective__norm": "befor"}, "objective.norm: unknown value 'befor'; did you mean 'before'? known: after,"),
        ({"objective": [{"name": "future_context", "merge": "x"}]}, "objective.0.merge: unknown merge 'x'; known: con"),
        ({"objective": ["future_context", {"name": "y"}]}, "objective.1: unknown objective 'y'"),
        ({"sed": 1}, "unknown key 'sed'; did you mean 'seed'?"),
        ({"model": None}, "the key 'model' is missing; start from a preset"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(changes: dict[str, Any], said: str) -> None:
    message = refusal(**changes)
    if isinstance(changes.get("objective"), list):
        assert message.startswith(said)
    else:
        # One component may be written without a list around it; then its place has no number.
        assert message.replace("objective.0", "objective").startswith(said)
    assert "\n" not in message


def test_the_architecture_fills_in_what_it_derives() -> None:
    assert config().model.cross_heads == 2
    assert config(model__cross_heads=4).model.cross_heads == 4
    baseline = config(model__architecture="baseline", model__layers=[2, 1], model__cross_heads=4)
    assert (baseline.model.layers, baseline.model.cross_heads) == (3, None)


@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "model.dropout": st.floats(0, 0.9),
            "model.layers": st.lists(st.integers(1, 9), min_size=2, max_size=2),
            "objective": st.sampled_from(["none", "future_context", [{"name": "future_context", "norm": "both"}]]),
            "training.gradient_clip": st.none() | st.floats(0.1, 10),
            "evaluation.windows": st.none() | st.integers(1, 9),
            "runtime.threads": st.none() | st.integers(1, 4),
            "seed": st.integers(0, 2**40),
        },
    )
)
def test_the_complete_form_reads_as_the_same_run(changes: dict[str, Any]) -> None:
    first = run_config(merged(BASE, changes))
    assert run_config(first.complete()) == first
    assert run_config(first.complete()).identity("x", {}) == first.identity("x", {})


OTHER_VALUES: dict[str, Any] = {
    "model.architecture": "baseline",
    "model.width": 32,
    "model.layers": [1, 2],
    "model.heads": 4,
    "model.cross_heads": 4,
    "model.context": 17,
    "model.dropout": 0.1,
    "model.feed_forward": 40,
    "model.positions": "rotary",
    "data.corpus": {"name": "files", "path": "another"},
    "data.tokenizer": "gpt2",
    "data.validation_fraction": 0.2,
    "objective": [{"name": "future_context", "n": 4}],
    "training.steps": 13,
    "training.batch_size": 5,
    "training.learning_rate": 2e-2,
    "training.final_learning_rate_fraction": 0.2,
    "training.warmup_steps": 3,
    "training.weight_decay": 0.2,
    "training.betas": [0.9, 0.99],
    "training.gradient_clip": None,
    "training.precision": "bfloat16",
    "training.myopic": True,
    "evaluation.every": 5,
    "evaluation.windows": None,
    "evaluation.first_position": 3,
    "seed": 1,
}
OTHER_RUNTIMES: dict[str, Any] = {
    "device": "cuda:1",
    "attention": "sdpa",
    "products": "blas",
    "threads": 2,
    "micro_batch_size": 2,
    "compile": True,
    "parallel": "sharded",
    "recompute_layers": True,
    "checkpoint_every": 3,
    "log_every": 3,
    "loggers": ["tensorboard"],
    "gradients_by_layer": True,
    "probes": ["future"],
}


def test_every_field_but_the_runtimes_is_part_of_the_identity() -> None:
    """A field that is added later must be named here."""
    fields = {key for key in with_dotted_keys(config().complete()) if not key.startswith("runtime.")}
    assert fields == set(OTHER_VALUES)
    identities = {run_config(merged(BASE, {key: value})).identity("x", {}) for key, value in OTHER_VALUES.items()}
    assert len(identities | {config().identity("x", {})}) == len(OTHER_VALUES) + 1


def test_no_field_of_the_runtime_is() -> None:
    assert set(OTHER_RUNTIMES) == set(RuntimeConfig.model_fields)
    for key, value in OTHER_RUNTIMES.items():
        changed = run_config(merged(BASE, {f"runtime.{key}": value}))
        assert getattr(changed.runtime, key) != getattr(config().runtime, key), key
        assert changed.identity("x", {}) == config().identity("x", {}), key


def test_the_text_and_plug_ins_are_part_of_the_identity() -> None:
    run = config()
    identities = {
        run.identity("x", {}),
        run.identity("y", {}),
        run.identity("x", {"p": "1"}),
        run.identity("x", {"p": "2"}),
    }
    assert len(identities) == 4
    assert all(len(identity) == 64 for identity in identities)


def test_two_ways_of_writing_one_run_have_one_identity() -> None:
    short = run_config(
        merged(BASE, {"objective": {"name": "future_context"}, "model.dropout": 0, "model.cross_heads": 2})
    )
    long = run_config(merged(BASE, {"objective": [PUBLISHED], "model.dropout": 0.0}))
    assert short.identity("x", {}) == long.identity("x", {})
    usual, own = config(model__feed_forward=4 * 16), config(model__feed_forward=None)
    assert usual == own == config()
    assert (usual.model.feed_forward, usual.model.feed_forward_width) == (None, 64)
    assert config(model__feed_forward=40).model.feed_forward_width == 40


def test_the_identity_does_not_drift() -> None:
    """Finished runs are found by it: when this changes on purpose, raise the schema number."""
    written = {
        "model": {"width": 16, "layers": [1, 1], "heads": 2, "context": 16},
        "data": {"corpus": {"name": "files", "path": "text"}, "tokenizer": "bytes"},
        "training": {"steps": 1, "batch_size": 1, "learning_rate": 1e-3},
        "evaluation": {"every": 1},
    }
    assert run_config(written).identity("x", {}) == "9a0725f53eb300d0a01e4c23966973b45e778fba3bc9d9d894ca70c75f17bb5f"


NUMBERS = [
    *(f"model__{key}" for key in ("width", "heads", "cross_heads", "context", "feed_forward")),
    *(f"training__{key}" for key in ("steps", "batch_size", "warmup_steps")),
    *(f"evaluation__{key}" for key in ("every", "windows")),
    *(f"runtime__{key}" for key in ("threads", "micro_batch_size", "checkpoint_every", "log_every")),
    "seed",
]


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_that_is_a_slip_of_the_keyboard_is_refused(key: str) -> None:
    said = refusal(**{key: 10**30})
    assert said.startswith(key.replace("__", "."))
    assert "less than" in said


def test_more_layers_than_anyone_trains_are_refused_before_they_are_built() -> None:
    assert refusal(model__layers=[1, 10**6]).startswith("model.layers.1: this should be less than or equal to 1000")
    assert refusal(model__layers=10**6, model__architecture="baseline").startswith("model.layers: this should be less")
