"""Studies that never ran: plans and frames as `ablations` would give them, with known truths inside."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ablations.stored import StoredArm, StoredStudy
from reports.records import Records

STEPS = (0, 20, 40, 80, 120, 160, 200, 240, 280, 300)
TOKENS_A_STEP = 4096


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def study_of(
    arms: Mapping[str, Mapping[str, Any]],
    reference: str,
    seeds: int = 5,
    *,
    title: str = "Does the future loss help?",
    margin: float = 0.005,
    factors: Mapping[str, list[Any]] | None = None,
    parameters: Mapping[str, int] | None = None,
    training_parameters: Mapping[str, int] | None = None,
    flops: Mapping[str, int] | None = None,
    name: str = "demo",
) -> StoredStudy:
    stored = [
        StoredArm(
            name=arm,
            settings=dict(settings),
            trials={seed: digest(dict(settings), seed) for seed in range(seeds)},
            inference_parameters=(parameters or {}).get(arm, 1_180_672),
            training_parameters=(training_parameters or {}).get(arm, 0),
            flops_per_token=(flops or {}).get(arm, 7_000_000),
        )
        for arm, settings in arms.items()
    ]
    return StoredStudy(
        name=name,
        title=title,
        reference=reference,
        design="grid" if factors else "arms",
        seeds=list(range(seeds)),
        equivalence_margin=margin,
        factors=dict(factors or {}),
        arms=stored,
        base={"preset": "tiny", "data": {"corpus": "pydocs", "tokenizer": "bpe:2048"}, "training": {"steps": 300}},
        command="deepsight ablate demo --out runs/demo",
    )


def trials_of(study: StoredStudy, losses: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Trials in which arm `a` reached losses[a][i] with its i-th seed; NaN diverged, what is absent is pending."""
    keys = list(dict.fromkeys(key for arm in study.arms for key in arm.settings))
    rows = []
    for arm in study.arms:
        for position, (seed, trial) in enumerate(arm.trials.items()):
            values = losses.get(arm.name, ())
            loss = values[position] if position < len(values) else None
            status = "pending" if loss is None else "failed" if math.isnan(loss) else "done"
            done = status == "done"
            rows.append(
                {
                    "trial": trial,
                    "arm": arm.name,
                    "seed": seed,
                    "status": status,
                    "failure": "diverged" if status == "failed" else None,
                    "failure_message": "the loss is not finite at step 120" if status == "failed" else None,
                    "train_loss": loss - 0.1 if done else None,
                    "validation_loss": loss if done else None,
                    "bits_per_byte": loss / math.log(2) / 3.4 if done else None,
                    "inference_parameters": arm.inference_parameters,
                    "training_parameters": arm.training_parameters,
                    "flops_per_token": arm.flops_per_token,
                    "tokens": TOKENS_A_STEP * STEPS[-1] if done else None,
                    "seconds": 31.5 if done else None,
                    "peak_memory": 640 * 2**20 if done else None,
                    "initial_digest": digest("initial", arm.inference_parameters, seed) if done else None,
                    "batch_digest": digest("batches", seed) if done else None,
                    **{key: arm.settings.get(key) for key in keys},
                }
            )
    return pd.DataFrame(rows)


def curves_of(
    study: StoredStudy,
    trials: pd.DataFrame,
    collapse: Mapping[str, bool] | None = None,
    steps: Sequence[int] = STEPS,
) -> pd.DataFrame:
    """Curves that fall to each trial's loss; arms in `collapse` also carry the diagnostics of `future_context`."""
    generator = np.random.default_rng(7)
    rows = []
    for trial in trials.itertuples():
        if trial.status == "pending":
            continue
        end = trial.validation_loss if trial.status == "done" else 4.4
        reached = [step for step in steps if trial.status == "done" or step <= 120]
        for step in reached:
            share = step / steps[-1]
            loss = end + (7.6 - end) * math.exp(-5 * share) - (7.6 - end) * math.exp(-5) * share
            loss += generator.normal(0, 0.004)
            if trial.status == "done" and step == steps[-1]:
                loss = end  # the last evaluation is the trial's result
            if trial.status == "failed" and step == 120:
                loss = 40.0
            row = {
                "trial": trial.trial,
                "arm": trial.arm,
                "seed": trial.seed,
                "step": step,
                "tokens": step * TOKENS_A_STEP,
                "seconds": 0.1 * step,
                "train_loss": loss - 0.1,
                "validation_loss": loss,
                "bits_per_byte": loss / math.log(2) / 3.4,
            }
            if collapse is not None and trial.arm in collapse:
                row |= diagnostics(share, generator, collapses=collapse[trial.arm])
            rows.append(row)
    return pd.DataFrame(rows)


def diagnostics(share: float, generator: np.random.Generator, *, collapses: bool) -> dict[str, float]:
    def noisy(value: float) -> float:
        return value * math.exp(generator.normal(0, 0.05))

    speed = 3.5 if collapses else 0.1
    gain = math.exp(-speed * share)
    return {
        "future_context/loss": noisy(1.8 * gain**2 + (0 if collapses else -0.9 * share)),
        "future_context/prediction_gain": noisy(gain) if collapses else math.nan,
        "future_context/target_gain": noisy(gain**1.4) if collapses else math.nan,
        "future_context/prediction_variance": noisy(gain**2),
        "future_context/target_variance": noisy(gain**2.8 if collapses else 1.0),
        "future_context/prediction_effective_rank": noisy(40 + 20 * share),
        "future_context/target_effective_rank": noisy(55 - 15 * share),
        "future_context/prediction_mean_cosine": noisy(0.05 + 0.5 * share),
        "future_context/target_mean_cosine": noisy(0.24 + 0.06 * share),
        "future_context/prediction_smallest_variance": noisy(0.3 * gain**2),
        "future_context/target_smallest_variance": noisy(0.2 * gain**2),
        "future_context/loss_over_trivial": noisy(2.2 - 1.5 * share),
        "future_context/gradient_share": noisy(0.7 * gain) if share else math.nan,
        "future_context/gradient_cosine": generator.normal(0.1 * (1 - share), 0.05) if share else math.nan,
    }


def seed_losses(base: float, effect: float, seeds: int, *, spread: float = 0.02, noise: float = 0.004) -> list[float]:
    """Losses whose seeds move together: one deviation for a seed in every arm, and a little noise of the arm's own."""
    common = np.random.default_rng(11).normal(0, spread, 64)[:seeds]
    own = np.random.default_rng(abs(int(effect * 1e6)) + 13).normal(0, noise, 64)[:seeds]
    return [float(value) for value in base + effect + common + own]


def records_of(trials: pd.DataFrame) -> Records:
    ids = frozenset(trials["trial"])
    return Records(ids, {trial: {"device": "a processor", "threads": 1} for trial in sorted(ids)}, ids)


def four_arms(seeds: int = 5) -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """The demo: one arm better, one undecided, one worse, and the published objective collapsing."""
    study = study_of(
        {
            "baseline": {"model.architecture": "baseline"},
            "DeepSight without objective": {"model.architecture": "deepsight"},
            "DeepSight, future loss as published": {"model.architecture": "deepsight", "objective.norm_affine": True},
            "DeepSight, future loss without gains": {"model.architecture": "deepsight", "objective.norm_affine": False},
        },
        "baseline",
        seeds,
        title="Does the published future loss help, against a parameter-matched decoder-only baseline?",
        parameters={"baseline": 1_190_272},
        training_parameters={"DeepSight, future loss as published": 512},
    )
    published, fixed = study.arms[2].name, study.arms[3].name
    trials = trials_of(
        study,
        {
            "baseline": seed_losses(4.012, 0, seeds),
            "DeepSight without objective": seed_losses(4.012, 0.021, seeds),
            published: seed_losses(4.012, 0.001, seeds, noise=0.012),
            fixed: seed_losses(4.012, -0.019, seeds),
        },
    )
    return study, trials, curves_of(study, trials, {published: True, fixed: False})


def grid(seeds: int = 5) -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """Horizon × layer split × aggregator, the arm without objective and the baseline: 20 arms."""
    arms: dict[str, dict[str, Any]] = {"baseline": {"model.architecture": "baseline"}, "no future loss": {}}
    losses = {"baseline": seed_losses(4.0, 0, seeds), "no future loss": seed_losses(4.0, 0.01, seeds)}
    for horizon in (3, 11, 26):
        for layers in ([2, 2], [3, 1], [1, 3]):
            for aggregator in ("average", "decay"):
                name = f"n={horizon} layers={layers} aggregator={aggregator}"
                arms[name] = {"objective.n": horizon, "model.layers": layers, "objective.aggregator": aggregator}
                effect = -0.02 + 0.0015 * abs(horizon - 11) + 0.01 * (layers[1] - 2) - 0.004 * (aggregator == "decay")
                losses[name] = seed_losses(4.0, effect + 1e-5 * len(arms), seeds)
    study = study_of(
        arms,
        "baseline",
        seeds,
        name="horizon",
        title="Which horizon, split and aggregator?",
        factors={
            "objective.n": [3, 11, 26],
            "model.layers": [[2, 2], [3, 1], [1, 3]],
            "objective.aggregator": ["average", "decay"],
        },
    )
    trials = trials_of(study, losses)
    return study, trials, curves_of(study, trials, {name: True for name in arms if name.startswith("n=")})


def half_finished() -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """Some trials done, one diverged, one running, the rest not started; one arm without any."""
    study, _, _ = four_arms()
    names = [arm.name for arm in study.arms]
    trials = trials_of(
        study,
        {
            names[0]: seed_losses(4.012, 0, 4),
            names[1]: [*seed_losses(4.012, 0.02, 3), math.nan],
            names[2]: seed_losses(4.012, -0.01, 2),
        },
    )
    running = (trials["arm"] == names[2]) & (trials["seed"] == 2)
    trials.loc[running, "status"] = "running"
    curves = curves_of(study, trials[~running], {names[2]: True}, STEPS)
    started = curves_of(
        study, trials[running].assign(validation_loss=4.0, status="failed"), {names[2]: True}, STEPS[:5]
    )
    started = started.assign(validation_loss=started["validation_loss"].where(started["validation_loss"] < 10))
    return study, trials, pd.concat([curves, started], ignore_index=True)


HOSTILE_NAMES = (
    "<script>document.title='owned'</script>",
    "a long name of an arm that says everything there is to say about it " * 3,
    '100 % of $x_{1}$ & more \\ #1 | `code` *star* “quoted” "double" --!><img src=x onerror=alert(1)>',
    "line one\nline two\tand a tab",
)


def hostile() -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """Names that try to be markup, formulas or pages long."""
    arms: dict[str, dict[str, Any]] = {
        name: {"model.architecture": name, "objective.n": position} for position, name in enumerate(HOSTILE_NAMES)
    }
    study = study_of(arms, HOSTILE_NAMES[0], title="<b>Which</b> {{ name }}?", name="</title><script>alert(1)</script>")
    losses = {name: seed_losses(4, -0.02 * position, 5) for position, name in enumerate(HOSTILE_NAMES)}
    losses[HOSTILE_NAMES[3]][2] = math.nan
    trials = trials_of(study, losses)
    trials.loc[trials["status"] == "failed", "failure_message"] = "<img src=x onerror=alert(2)> & more"
    curves = curves_of(study, trials, dict.fromkeys(HOSTILE_NAMES[1:], True))
    return study, trials, curves.rename(columns={"future_context/loss": "<i>plug-in/../x</i>/loss"})


def planning(seeds: int = 5) -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """A path-star study: the reference copies what it is shown, one arm plans in every seed, one in some."""
    study = study_of(
        {
            "next token": {"objective": "none"},
            "teacherless": {"objective": "teacherless"},
            "bag of words": {"objective": "bag_of_words"},
        },
        "next token",
        seeds,
        title="Which objective solves path-star graphs?",
    )
    names = [arm.name for arm in study.arms]
    losses = {name: seed_losses(0.4, -0.1 * place, seeds) for place, name in enumerate(names)}
    trials = trials_of(study, losses)
    some = [step if seed % 2 else None for seed, step in enumerate([0, 240, 0, 280, 0, 120, 0, 240])]
    jumps = {names[0]: [None] * 8, names[1]: [80, 120, 120, 160, 40, 120, 80, 200], names[2]: some}
    return study, without_text(trials), with_jumps(without_text(curves_of(study, trials)), jumps)


def without_text(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of trials whose loss is over the tokens of answers, which have no bytes."""
    return frame.drop(columns="bits_per_byte")


def with_jumps(curves: pd.DataFrame, jumps: Mapping[str, Sequence[int | None]], chance: float = 0.2) -> pd.DataFrame:
    """Curves with the metrics of a path-star graph; arm `a` finds the path with seed i from step jumps[a][i] on."""
    generator = np.random.default_rng(3)
    found = pd.Series(
        [(step := jumps[row.arm][row.seed]) is not None and row.step >= step for row in curves.itertuples()],
        index=curves.index,
    )
    noise = generator.normal(0, 0.004, (3, len(curves)))
    learned = np.minimum(curves["step"] / 60, 1)
    return curves.assign(
        **{
            "task:full_path/accuracy": np.where(found, 0.985 + noise[0], chance * learned + noise[0]).clip(0, 1),
            "task:full_path/chance": chance,
            "task:first_hop/accuracy": np.where(found, 0.988 + noise[1], chance + noise[1]).clip(0, 1),
            "task:first_hop/chance": chance,
            "task:full_path_forced/accuracy": (0.05 + 0.94 * learned + noise[2]).clip(0, 1),
            "task:effective_rank/value": 20 + 12 * found + 4 * learned,
        }
    )


def several_tasks(seeds: int = 5) -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """The study of path-star graphs, with four arms on larger graphs, and one alone on a third task.

    Losses of the larger graphs are far higher, so that no difference between tasks can be taken for one within a task.
    """
    arms: dict[str, dict[str, Any]] = {
        "next token": {"data.task.degree": 2},
        "bag of words": {"data.task.degree": 2, "objective": "bag_of_words"},
        "large, multi-token": {"data.task.degree": 5, "objective": "multi_token"},
        "large, next token": {"data.task.degree": 5},
        "large, dropout": {"data.task.degree": 5, "model.dropout": 0.2},
        "large, bag of words": {"data.task.degree": 5, "objective": "bag_of_words"},
        "lonely": {"data.task.degree": 9, "objective": "teacherless"},
    }
    study = study_of(arms, "next token", seeds, title="Which objective solves which path-star graphs?", name="tasks")
    study = learning(study, {name: settings["data.task.degree"] for name, settings in arms.items()})
    offsets = {"next token": 0.0, "bag of words": -0.1, "large, multi-token": 1.9, "large, next token": 2.0,
               "large, dropout": 2.0005, "large, bag of words": 2.1, "lonely": 5.0}  # fmt: skip
    losses = {name: seed_losses(0.4, offset, seeds) for name, offset in offsets.items()}
    trials = trials_of(study, losses)
    every = [40, 80, 120, 160, 80, 120, 40, 200]
    jumps = {name: [None] * 8 for name in arms} | {"bag of words": every, "large, multi-token": every, "lonely": every}
    return study, without_text(trials), with_jumps(without_text(curves_of(study, trials)), jumps)


def learning(study: StoredStudy, degrees: Mapping[str, int]) -> StoredStudy:
    """Return the study with resolved configurations in which each arm learned path-star graphs of some degree."""

    def config(arm: StoredArm) -> dict[str, Any]:
        objective = arm.settings.get("objective", "none")
        return {
            "data": {"task": {"name": "path_star", "degree": degrees[arm.name], "length": 4}},
            "objective": [] if objective == "none" else [{"name": objective}],
        }

    arms = [arm.model_copy(update={"config": config(arm)}) for arm in study.arms]
    return study.model_copy(update={"arms": arms})
