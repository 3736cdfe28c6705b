"""The table of the published numbers beside ours, and whether the two may be compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ablations.published import DATASET, STEPS, TOKENIZER, PublishedRun, published_run
from ablations.stored import StoredArm, StoredStudy
from reports import numbers
from reports.comparisons import Comparison, decimals
from reports.frames import complete_trials
from reports.main_table import mean_of
from reports.table import Cell, Table, columns_of, number_cell
from reports.wording import listed, named

PUBLISHED_DECIMALS = 3


def published_comparison(
    study: StoredStudy, trials: pd.DataFrame, comparisons: Mapping[str, Comparison]
) -> Table | None:
    """Return the published losses beside ours, arm by arm; None for a study that repeats none.

    Ours minus the published loss is given only for an arm whose run is the published one as far as that was said. The
    difference to the reference stands on both sides: it is the claim, and may be looked at at any scale.
    """
    if study.published is None:
        return None
    trials = complete_trials(study, trials)
    runs = {arm: published_run(study.published.table, run) for arm, run in study.published.runs.items()}
    shown = [arm for arm in study.arms if arm.name in runs]
    apart = {arm.name: list(differences_to_published(arm.config, runs[arm.name])) for arm in shown}
    comparable = any(not found for found in apart.values())
    titles = ["arm", "published run", "published train loss", "train loss", "published validation loss",
              "validation loss", *(["ours minus published"] if comparable else []),
              "published difference", "difference [95 % interval]"]  # fmt: skip
    rows = [_Row(study, arm, runs, trials, comparisons.get(arm.name), apart[arm.name]) for arm in shown]
    of_losses = numbers.shared_decimals(row.validation.half_width for row in rows)
    of_differences = decimals(comparisons.values())
    return Table(
        name="published",
        caption=f"The published comparison “{study.published.table}” beside this study.",
        columns=columns_of(titles, numeric_from=2),
        rows=tuple(row.cells(of_losses, of_differences, with_distance=comparable) for row in rows),
        notes=tuple(_notes(study, apart)),
        data=pd.DataFrame([row.data() for row in rows]),
    )


def differences_to_published(config: Mapping[str, Any], run: PublishedRun) -> Iterator[str]:
    """Yield what keeps a run's configuration from being that of a published run, each as "KEY OURS, published THEIRS".

    Nothing is said of what was not published: batch size, learning rate, schedule.
    """
    model, data = config["model"], config["data"]
    layers = model["layers"] if isinstance(model["layers"], list) else [model["layers"]]
    corpus = data.get("corpus") or data["task"]
    ours_and_theirs: dict[str, tuple[Any, Any]] = {
        "corpus": (corpus.get("dataset", corpus["name"]), DATASET),
        "tokenizer": (data.get("tokenizer"), TOKENIZER),
        "steps": (config["training"]["steps"], STEPS),
        "context": (model["context"], run.context),
        "width": (model["width"], run.width),
        "layers": ("+".join(map(str, layers)), "+".join(map(str, run.layers))),
        "heads": (model["heads"], run.heads),
        "dropout": (model["dropout"], run.dropout),
    }
    if run.cross_heads is not None:
        ours_and_theirs["heads of cross-attention"] = (model["cross_heads"], run.cross_heads)
    ours_and_theirs |= _objectives(config["objective"], run)
    for key, (ours, theirs) in ours_and_theirs.items():
        if ours != theirs:
            yield f"{key} {ours}, published {theirs}"


def _objectives(specs: list[dict[str, Any]], run: PublishedRun) -> dict[str, tuple[Any, Any]]:
    names = " + ".join(str(spec["name"]) for spec in specs) or "none"
    found: dict[str, tuple[Any, Any]] = {"objective": (names, run.objective)}
    if names != run.objective or not specs:
        return found
    (spec,) = specs
    distance = spec.get("distance")
    distance = distance["name"] if isinstance(distance, dict) else distance
    asked = {
        "distance": (distance, run.distance),
        "n": (spec.get("n"), run.horizon),
        "coefficient": (spec.get("coefficient"), run.coefficient),
    }
    return found | {key: pair for key, pair in asked.items() if pair[1] is not None}


class _Row:
    """One arm of the table."""

    def __init__(
        self,
        study: StoredStudy,
        arm: StoredArm,
        runs: Mapping[str, PublishedRun],
        trials: pd.DataFrame,
        comparison: Comparison | None,
        apart: list[str],
    ) -> None:
        self.arm, self.run, self.comparison, self.apart = arm, runs[arm.name], comparison, apart
        self.train = mean_of(trials, arm.name, "train_loss")
        self.validation = mean_of(trials, arm.name, "validation_loss")
        reference = runs.get(study.reference)
        self.published_difference = (
            self.run.validation_loss - reference.validation_loss
            if reference is not None and arm.name != study.reference
            else math.nan
        )

    @property
    def distance(self) -> float:
        """Ours minus the published validation loss; NaN where the two may not be compared."""
        return self.validation.value - self.run.validation_loss if not self.apart else math.nan

    def cells(self, of_losses: int, of_differences: int, *, with_distance: bool) -> tuple[Cell, ...]:
        found = self.comparison
        difference = Cell(numbers.MISSING, key=0.0)
        if found is not None:
            text = numbers.difference(found.mean, found.low, found.high, of_differences)
            difference = Cell(text, key=found.mean)
        return (
            Cell(self.arm.name),
            Cell(self.run.name),
            number_cell(self.run.train_loss, PUBLISHED_DECIMALS),
            number_cell(self.train.value, of_losses),
            number_cell(self.run.validation_loss, PUBLISHED_DECIMALS),
            Cell(
                numbers.with_half_width(self.validation.value, self.validation.half_width, of_losses),
                key=self.validation.value,
            ),
            *([_signed(self.distance)] if with_distance else []),
            _signed(self.published_difference),
            difference,
        )

    def data(self) -> dict[str, Any]:
        return {
            "arm": self.arm.name,
            "published_run": self.run.name,
            "published_train_loss": self.run.train_loss,
            "train_loss_mean": self.train.value,
            "published_validation_loss": self.run.validation_loss,
            "validation_loss_mean": self.validation.value,
            "validation_loss_half_width": self.validation.half_width,
            "ours_minus_published": self.distance,
            "published_difference": self.published_difference,
            "difference_mean": self.comparison.mean if self.comparison else math.nan,
            "difference_low": self.comparison.low if self.comparison else math.nan,
            "difference_high": self.comparison.high if self.comparison else math.nan,
            "not_comparable_because": "; ".join(self.apart),
        }


def _signed(value: float) -> Cell:
    return Cell(numbers.fixed(value, PUBLISHED_DECIMALS, sign=True), key=value)


def _notes(study: StoredStudy, apart: Mapping[str, list[str]]) -> Iterator[str]:
    yield (
        "Published numbers are from one run with one seed each, without an interval. Differences are to "
        f"{named(study.reference)}; negative is better."
    )
    unlike = [arm for arm, found in apart.items() if found]
    if not unlike:
        yield (
            "Every run is the published one as far as that was said; batch size, learning rate and schedule were not, "
            "and are this project's."
        )
        return
    every = len(unlike) == len(apart)
    arms = "No loss here is" if every else f"The losses of {listed([named(arm) for arm in unlike])} are not"
    common = [reason for reason in apart[unlike[0]] if all(reason in apart[arm] for arm in unlike)]
    more = "; more differs by arm (in the CSV)" if any(set(apart[arm]) - set(common) for arm in unlike) else ""
    yield f"{arms} comparable with the published one{'' if every else 's'}: {'; '.join(common)}{more}."
