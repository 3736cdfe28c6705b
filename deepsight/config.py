"""The configuration of one run: what is trained, on what, how, and how it is measured.

Everything but `RunConfig.runtime` is part of a run's identity: two runs with equal values are the same experiment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from deepsight.data.config import DataConfig
from deepsight.errors import UserError
from deepsight.files import digest_of_json
from deepsight.limits import Count, Depth, Length, Seed, Threads, Width
from deepsight.objective_specs import resolved_objectives
from deepsight.plug_ins import ArchitectureSpec, LoggerSpec, ProbeSpec, architectures
from deepsight.registry import Spec
from deepsight.validation import Strict, validated

SCHEMA = 2
"""Raised when an equal configuration would no longer mean an equal run."""

USUAL_FEED_FORWARD = 4
"""How many times as wide as the residual stream a feed-forward layer is inside, where a run does not say it."""


class ModelConfig(Strict):
    """The network.

    Attributes:
        architecture: a registered architecture, such as `deepsight` or `baseline`; one with parameters of its own is
            a mapping with its `name` and them.
        width: of the residual stream.
        layers: [encoder, decoder], or one number where there is one stack.
        heads: of self-attention.
        cross_heads: of cross-attention; as many as `heads` when not given.
        context: tokens the model sees.
        dropout: on embeddings, attention weights and residual branches.
        feed_forward: inner width of the feed-forward layers; four times the width when not given.
        positions: `learned` embeddings are added to the tokens'; `rotary` ones turn queries and keys (Su et al., 2021).

    """

    architecture: ArchitectureSpec = "deepsight"
    width: Width
    layers: Depth | list[Depth]
    heads: Width
    cross_heads: Width | None = None
    context: Length
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    feed_forward: Width | None = None
    positions: Literal["learned", "rotary"] = "learned"

    @property
    def architecture_name(self) -> str:
        """The architecture's name, without its parameters."""
        return str(self.architecture["name"] if isinstance(self.architecture, dict) else self.architecture)

    @property
    def feed_forward_width(self) -> int:
        """Inner width of the feed-forward layers."""
        return self.feed_forward or USUAL_FEED_FORWARD * self.width

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ModelConfig:
        for key, heads in (("heads", self.heads), ("cross_heads", self.cross_heads or self.heads)):
            if self.width % heads:
                below, above = self.width // heads * heads, (self.width // heads + 1) * heads
                near = f"{below} or {above}" if below else f"{above}"
                raise UserError(f"{heads} heads do not divide the width {self.width}; nearest widths: {near}", (key,))
            if self.positions == "rotary" and self.width < 2 * heads:
                raise UserError(
                    f"rotary positions turn pairs of dimensions, and {heads} heads of the width {self.width} have one "
                    f"each; give at most {self.width // 2} heads",
                    (key,),
                )
        return self


class TrainingConfig(Strict):
    """Optimisation: AdamW with linear warm-up and cosine decay.

    Attributes:
        steps: optimiser steps.
        batch_size: sequences per step, over all micro-batches.
        learning_rate: at the end of the warm-up.
        final_learning_rate_fraction: share of it that is left at the last step.
        warmup_steps: steps of linear warm-up.
        weight_decay: on matrices only; gains and biases are left alone.
        betas: of AdamW.
        gradient_clip: largest global gradient norm; null for none.
        precision: float32, or bfloat16 autocast; auto is bfloat16 on CUDA and float32 elsewhere.
        myopic: the loss at a position teaches that position alone: no gradient of it reaches earlier ones (Wu et al.,
            2024, arXiv 2404.00859; see `deepsight.myopia`).

    """

    steps: Count
    batch_size: Length
    learning_rate: float = Field(gt=0.0)
    final_learning_rate_fraction: float = Field(default=0.1, ge=0.0, le=1.0)
    warmup_steps: int = Field(default=0, ge=0, le=10**12)
    weight_decay: float = Field(default=0.1, ge=0.0)
    betas: list[Annotated[float, Field(ge=0.0, lt=1.0)]] = Field(default=[0.9, 0.95], min_length=2, max_length=2)
    gradient_clip: float | None = Field(default=1.0, gt=0.0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    myopic: bool = False


class EvaluationConfig(Strict):
    """Measurement on fixed validation windows.

    Attributes:
        every: steps between evaluations; the last step is always evaluated.
        windows: how many windows of one context each, spread evenly over the validation split; null for all.
        first_position: positions of a window before this one (from 0) do not count, so that architectures which
            predict only later positions are compared at the same ones.

    """

    every: Count
    windows: Count | None = None
    first_position: int = Field(default=0, ge=0)


def _each_once(specs: list[Spec]) -> list[Spec]:
    names = [spec["name"] for spec in specs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the probe {twice!r} is named twice; a run keeps what one of each name found")
    return specs


class RuntimeConfig(Strict):
    """How a run is carried out on this machine; no part of its identity.

    Attributes:
        device: auto is CUDA where there is one.
        attention: auto is xformers on an A100 and torch's scaled dot-product attention elsewhere.
        products: who multiplies float32 matrices on a CPU, torch's BLAS or oneDNN; auto is oneDNN on AMD with AVX-512,
            where it is faster (`deepsight bench products`).
        threads: of torch on the CPU; null leaves torch's choice.
        micro_batch_size: sequences that go through the network at once; gradients are accumulated over them.
        compile: run the network through torch.compile.
        parallel: what several processes (torchrun) do; replicated gives each a whole network (DDP), sharded a shard of
            every weight (FSDP2), and auto is replicated.
        recompute_layers: keep of each layer its input alone and compute the rest again in the backward pass (activation
            checkpointing): a third more time for much less memory, with the same numbers.
        checkpoint_every: steps between checkpoints; null for one at the end only.
        log_every: steps between logged training losses.
        loggers: who else is told of every recorded row, such as `tensorboard`, `trackio` or
            `{name: wandb, mode: offline}` (each needs the extra of its name).
        gradients_by_layer: at every evaluation also measure each objective's gradient in every layer beside that of
            next-token loss, on held-out sequences, and keep it in `gradients.jsonl`; it moves nothing else.
        probes: what the trained model is asked at the end of the run; `deepsight evaluate` asks it later.

    """

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    attention: Literal["auto", "sdpa", "xformers"] = "auto"
    products: Literal["auto", "blas", "onednn"] = "auto"
    threads: Threads | None = None
    micro_batch_size: Length | None = None
    compile: bool = False
    parallel: Literal["auto", "replicated", "sharded"] = "auto"
    recompute_layers: bool = False
    checkpoint_every: Count | None = None
    log_every: Count = 10
    loggers: list[LoggerSpec] = []
    gradients_by_layer: bool = False
    probes: Annotated[list[ProbeSpec], AfterValidator(_each_once)] = []

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, written: Any) -> Any:
        """Read what earlier versions wrote: `tensorboard: true` was the one logger."""
        if not isinstance(written, dict) or "tensorboard" not in written:
            return written
        content = dict(written)
        wanted = content.pop("tensorboard")
        return {"loggers": ["tensorboard"], **content} if wanted is True else content


class RunConfig(Strict):
    """A complete run. `objective` is a list of complete components, empty for next-token prediction alone."""

    model: ModelConfig
    data: DataConfig
    objective: Annotated[list[Spec], BeforeValidator(resolved_objectives)]
    training: TrainingConfig
    evaluation: EvaluationConfig
    seed: Seed = 0
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _some_position_counts(self) -> RunConfig:
        first, context = self.evaluation.first_position, self.model.context
        if first >= context:
            place = ("evaluation", "first_position")
            raise UserError(f"a context of {context} has no position {first}; the last is {context - 1}", place)
        return self

    @property
    def sequence_length(self) -> int:
        """Input tokens of a training sequence: the context of text, and what a task's sequences have."""
        return self.model.context if self.data.task is None else self.data.build_task().length - 1

    def complete(self) -> dict[str, Any]:
        """Return plain data from which the same configuration can be read again."""
        return self.model_dump(mode="json")

    def identity(self, corpus_fingerprint: str, plugins: Mapping[str, str]) -> str:
        """Return the SHA-256 that names this run: its configuration less `runtime`, its text, and its plug-ins' code.

        Args:
            corpus_fingerprint: of the corpus, so that a changed text is another run.
            plugins: component → digest of the plug-in file that defines it.

        """
        content = self.model_dump(mode="json", exclude={"runtime"})
        # Keys that are younger than the schema; without them a run is the one that it was.
        if self.model.feed_forward is None:
            del content["model"]["feed_forward"]
        if not self.training.myopic:
            del content["training"]["myopic"]
        return digest_of_json(
            {"schema": SCHEMA, "run": content, "corpus": corpus_fingerprint, "plugins": dict(plugins)}
        )


def run_config(data: Mapping[str, Any]) -> RunConfig:
    """Return a complete configuration from plain data (presets already expanded).

    The architecture normalises its own part, and where `objective` is absent, or has parameters but no name, the
    architecture's default objective is meant: the published future loss on `deepsight`, none on `baseline`.

    Raises:
        UserError: with the dotted path of what does not fit and the nearest valid thing.

    """
    content = dict(data)
    model = _model_config(content.get("model"))
    content["model"] = model.model_dump(mode="json")
    content["objective"] = _with_default(content.get("objective", {}), architectures[model.architecture_name].factory)
    return validated(RunConfig, content)


def _model_config(written: Any) -> ModelConfig:
    if written is None:
        raise UserError("the key 'model' is missing; start from a preset, or give its width, layers, heads and context")
    try:
        model = validated(ModelConfig, written)
        architecture: Any = architectures[model.architecture_name].factory
        normalised: ModelConfig = architecture.normalised(model)
    except UserError as error:
        raise error.within("model") from None
    if normalised.feed_forward == USUAL_FEED_FORWARD * normalised.width:
        # Two ways to write one network.
        normalised = normalised.model_copy(update={"feed_forward": None})
    return normalised


def _with_default(objective: Any, architecture: Any) -> Any:
    if not isinstance(objective, Mapping) or "name" in objective:
        return objective
    default = architecture.default_objective
    if default is None:
        if objective:
            raise UserError(
                f"the parameters {sorted(objective)} need an objective's name beside them: "
                "this architecture has none by default",
                ("objective",),
            )
        return "none"
    return {"name": default, **objective}
