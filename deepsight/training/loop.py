"""Training a run in its folder: build or resume, step, measure, record, finish."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepsight.attention import use_backend
from deepsight.building import build_model, build_objectives, weight_digests
from deepsight.config import RunConfig
from deepsight.data.batches import BatchDigest
from deepsight.data.source import Source
from deepsight.evaluation.breakdown import Breakdown
from deepsight.evaluation.losses import evaluate
from deepsight.evaluation.player import NetworkPlayer
from deepsight.evaluation.probes.asking import ask_at_the_end
from deepsight.evaluation.probes.probe import Subject
from deepsight.files import digest_of_json
from deepsight.myopia import myopic
from deepsight.objective import Preparation
from deepsight.products import use_products
from deepsight.ranks import ALONE, Ranks
from deepsight.training.device import autocast, peak_memory, prepare
from deepsight.training.gradients import GradientRecord
from deepsight.training.names import BREAKDOWN_FILE, INITIAL_WEIGHTS_FILE, RESULT_FILE
from deepsight.training.optimizer import build_optimizer, learning_rate
from deepsight.training.parallel import check_shareable, shared_by
from deepsight.training.recomputing import recompute_layers
from deepsight.training.record import NoRecord, Record, Row
from deepsight.training.speed import Speed
from deepsight.training.state import Progress, RunState, is_kept
from deepsight.training.step import accumulate_gradients

SHARES = ("/gradient_share", "/gradient_cosine")
"""Metrics of a training step that an evaluation records too."""


class DivergedError(ArithmeticError):
    """The loss is no longer a finite number."""


class Trainer:
    """One run: everything that lives from the first step to the last.

    Args:
        config: of the run.
        source: what it learns from.
        folder: the run's own; a checkpoint in it is resumed.
        on_row: told of every row that is recorded.
        alive: called at every step and every batch of an evaluation.
        ranks: the processes that train the run together; each has a trainer, and the leading one writes.

    Raises:
        UserError: processes cannot share the batch, or cannot do what the run asks for in the way that they share it.

    """

    def __init__(
        self,
        config: RunConfig,
        source: Source,
        folder: Path,
        on_row: Callable[[Row], None] = lambda _: None,
        alive: Callable[[], None] = lambda: None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config, self.source, self.folder = config, source, Path(folder)
        self.alive, self.ranks = alive, ranks
        self.record = (Record if ranks.leads else NoRecord)(self.folder, config, on_row)
        check_shareable(config, ranks)
        self.device = prepare(config)
        self.autocast = autocast(config, self.device)
        self.model = build_model(config).to(self.device)
        self.objectives = build_objectives(config, self.model.shape).to(self.device)
        self.objectives.prepare(Preparation(self.model, lambda: source.token_counts().to(self.device), config.seed))
        if config.runtime.recompute_layers:
            recompute_layers(self.model)
        # Before weights are in shards.
        begins = ranks.leads and not is_kept(self.folder)
        self._initial_weights = weight_digests(self.model, self.objectives) if begins else {}
        self.parallel = shared_by(ranks, config.runtime.parallel, self.model, self.objectives, self.device)
        if config.runtime.compile:
            self.parallel.compile()
        self.optimizer = build_optimizer([self.model, self.objectives], config.training)
        self.state = RunState(self.folder, self.parallel, self.optimizer)
        self.speed = Speed(config, self.device, ranks.size)
        context, size, later = config.model.context, config.training.batch_size, self.objectives.lookahead
        self.batches = source.batches(context=context, batch_size=size, seed=config.seed, later=later)
        self.windows = source.windows(context=context, count=config.evaluation.windows, later=later)
        self.token_bytes = torch.as_tensor(source.token_bytes(), dtype=torch.float32, device=self.device)
        # Losses of steps since the last look; read in one go, since each reading waits for the device.
        self._unread: list[dict[str, Tensor]] = []
        self._shares: Row = {}

    @property
    def progress(self) -> Progress:
        """Where the run stands."""
        return self.state.progress

    def run(self, stop: Callable[[], bool] = lambda: False) -> Row | None:
        """Train to the end and return the result, or None where `stop` asked to end early (a checkpoint is left).

        Raises:
            DivergedError: a loss is not finite.
            DamagedError: the checkpoint, or the metrics before it, are not what was written.
            UserError: a logger cannot begin.

        """
        resumed = self.state.restore()
        self.record.begin(self.progress.rows)
        self.gradients = self._gradient_record(self.progress.step if resumed else None)
        with (
            contextlib.closing(self.record),
            use_backend(self.config.runtime.attention),
            use_products(self.config.runtime.products),
            myopic(self.config.training.myopic),
        ):
            if not resumed:
                self.record.document(INITIAL_WEIGHTS_FILE, self._initial_weights)
                self._evaluate()
            digest = BatchDigest(self.progress.batches)
            while self.progress.step < self.config.training.steps:
                self.alive()
                if self.ranks.any_of(stop()):
                    self._save(finished=False)
                    return None
                self._step(digest)
            result = self._finish()
        if self.gradients is not None:
            self.gradients.close()
        return result

    def _gradient_record(self, step: int | None) -> GradientRecord | None:
        if not (self.config.runtime.gradients_by_layer and self.ranks.leads):
            return None
        return GradientRecord(
            self.folder, self.config, self.model, self.objectives, self.source, self.device, self.alive, step
        )

    def _step(self, digest: BatchDigest) -> None:
        config, progress = self.config, self.progress
        started = time.perf_counter()
        batch = self.batches(progress.step)
        digest.update(batch.inputs)
        rate = learning_rate(progress.step, config.training)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        last, runtime = progress.step + 1 == config.training.steps, config.runtime
        look = (progress.step + 1) % runtime.log_every == 0
        measure = last or (progress.step + 1) % config.evaluation.every == 0
        share_done = progress.step / config.training.steps
        self.objectives.progress(share_done)
        metrics = accumulate_gradients(
            self.model,
            self.objectives,
            *batch.to(self.device),
            seed=config.seed,
            step=progress.step,
            coefficients=self.objectives.coefficients(share_done),
            micro_batch_size=runtime.micro_batch_size,
            autocast=self.autocast,
            watch=look or measure,
            parallel=self.parallel,
        )
        limit = config.training.gradient_clip
        norm = self.parallel.clipped(math.inf if limit is None else limit)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.objectives.after_step(self.model)
        self._unread.append({name: value for name, value in metrics.items() if name.endswith(("next_token", "/loss"))})
        progress.step += 1
        progress.tokens += batch.inputs.numel()
        progress.batches = digest.hexdigest()
        save = not last and runtime.checkpoint_every is not None and progress.step % runtime.checkpoint_every == 0
        if look or measure or save:
            self._read_losses()
        progress.seconds += time.perf_counter() - started
        named = {name: float(value) for name, value in metrics.items()} if look or measure else {}
        self._shares = {name: value for name, value in named.items() if name.endswith(SHARES)}
        if look and not math.isfinite(float(norm)):
            raise DivergedError(f"the norm of the gradient was not finite at step {progress.step}")
        if look:
            named |= self.speed.since_last(progress.tokens, progress.seconds)
            self._record("train", loss=named.pop("next_token"), learning_rate=rate, gradient_norm=float(norm), **named)
        if measure:
            self._evaluate()
        if save:
            self._save(finished=False)

    def _read_losses(self) -> None:
        if not self._unread:
            return
        for name in {name: None for row in self._unread for name in row}:
            losses = torch.stack([row[name] for row in self._unread if name in row]).double().cpu()
            if not torch.isfinite(losses).all():
                raise DivergedError(f"{self._named(name)} was not finite by step {self.progress.step}")
            if name == "next_token":
                self.progress.loss_sum += float(losses.sum())
                self.progress.loss_count += len(losses)
        self._unread.clear()

    def _named(self, metric: str) -> str:
        label, _, name = metric.partition("/")
        if label in self.objectives.parts:
            return f"the {name} of {self.objectives.described(label)}"
        return "the training loss" if metric == "next_token" else metric

    def _evaluate(self) -> None:
        progress = self.progress
        batch_size = self.config.runtime.micro_batch_size or self.config.training.batch_size
        breakdown = None
        if progress.step == self.config.training.steps:
            breakdown = Breakdown(self.windows, batch_size)
        found = evaluate(
            self.model,
            self.objectives,
            self.windows,
            batch_size=batch_size,
            token_bytes=self.token_bytes,
            device=self.device,
            autocast=self.autocast,
            first_position=self.config.evaluation.first_position,
            alive=self.alive,
            breakdown=breakdown,
        )
        bad = [name for name, value in found.items() if not math.isfinite(value)]
        if bad:
            raise DivergedError(f"{self._named(bad[0])} was not finite at step {progress.step}")
        with self.parallel.whole_outside_layers():
            found |= self.windows.measures(NetworkPlayer(self.model, batch_size, self.autocast, self.alive))
        # What the training step before this evaluation said of the gradient.
        found |= self._shares
        train_loss = progress.loss_sum / progress.loss_count if progress.loss_count else None
        progress.loss_sum, progress.loss_count = 0.0, 0
        progress.last = {"train_loss": train_loss, **found}
        self._record("evaluation", **progress.last)
        if breakdown is not None:
            self.record.document(BREAKDOWN_FILE, breakdown.content())
        if self.gradients is not None:
            self.gradients.measure(progress.step, progress.tokens)

    def _record(self, kind: str, **values: Any) -> None:
        progress = self.progress
        row = {"kind": kind, "step": progress.step, "tokens": progress.tokens, "seconds": progress.seconds, **values}
        progress.rows += 1
        self.record.add(row)

    def _about(self) -> dict[str, Any]:
        return {
            "model": self.config.model.model_dump(mode="json"),
            "vocabulary": self.config.data.vocabulary,
            "tokenizer": self.config.data.tokenizer,
            "objective": self.config.objective,
        }

    def _save(self, *, finished: bool) -> None:
        self._read_losses()
        self.record.sync()
        if self.gradients is not None:
            self.gradients.sync()
        self.state.save(self._about(), finished=finished)

    def _finish(self) -> Row:
        self._save(finished=True)
        progress = self.progress
        initial = self.folder / INITIAL_WEIGHTS_FILE
        result = {
            "status": "done",
            "step": progress.step,
            **progress.last,
            "tokens": progress.tokens,
            "seconds": progress.seconds,
            "peak_memory": peak_memory(self.device),
            "initial_digest": digest_of_json(initial.read_text(encoding="utf-8")),
            "batch_digest": progress.batches,
            "data_digest": self.source.digest,
        }
        if self.ranks.leads:
            subject = Subject(self.config, self.model, self.objectives, self.source, self.device)
            ask_at_the_end(self.folder, self.config.runtime.probes, subject, self.alive)
        self.record.document(RESULT_FILE, result)
        return result
