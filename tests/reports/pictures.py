"""The pictures that figures are compared with, and how; `python -m tests.reports.pictures` stores those that changed.

Pictures have 100 dots an inch. A pixel is unlike the other picture where a channel of it lies more than 12 of 255
outside all that the other one has within one pixel of the place. Both ways are counted, and 10 unlike pixels let pass.
The root mean square of `matplotlib.testing.compare`, which pytest-mpl has too, is a mean over the whole picture: it
puts a heat map that is drawn twice farther from itself than nine panels from the same ones without a line.

    change                                                           root mean square   unlike pixels
    none, matplotlib 3.11.0 to 3.11.2                                      0.00               0
    none, a heat map drawn twice, which moves its layout a little          1.08               0
    one thin line of a seed missing from nine panels                       0.42              37
    the blue of one arm a little lighter                                   2.04             368
    no grid                                                                1.63             574
    the bold line of one arm missing                                       8.02             746
    one arm in another colour                                             11.05           1,450
    the legend at the right instead of the left                           26.25           4,206
    none, matplotlib 3.10: FreeType 2.6 sets other widths than 2.14     12 to 58   up to 15,000

So no measure tells a change from another FreeType, and a picture that is unlike is then no failure but a skipped test.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import __version__ as matplotlib_version
from matplotlib.figure import Figure
from matplotlib.ft2font import __freetype_version__ as freetype_version
from PIL import Image, PngImagePlugin
from scipy.ndimage import maximum_filter, minimum_filter

from reports import figures
from reports.beside import figure as beside
from reports.beside.sides import Side
from reports.figures.style import applied, arm_styles
from tests.reports import probed_models, synthetic, task_studies
from tests.reports.breakdowns import breakdowns_of
from tests.reports.drawings import attached, crossed, long_names, one_sweep, small_grid, unequal, with_tasks
from tests.reports.plan_probes import losses_of, use_of
from tests.reports.probed import probed_of

FOLDER = Path(__file__).parent / "baseline"
DOTS = 100
REACH = 1
TOLERANCE = 12
MOST_UNLIKE = 10


@dataclass(frozen=True)
class Case:
    """A figure of a study."""

    draw: Callable[..., Figure | None]
    study: Callable[..., tuple[Any, ...]]
    options: dict[str, Any] = field(default_factory=dict)

    def figure(self) -> Figure:
        """Draw it."""
        figure = self.draw(*self.study(), **self.options)
        assert figure is not None
        return figure


def of_positions(make: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    study = make()[0]
    return study, breakdowns_of(study).positions


def of_documents(make: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    study = make()[0]
    return study, breakdowns_of(study).documents


def of_look_ahead(make: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    study = make()[0]
    found = breakdowns_of(study)
    return study, found.positions, found.ahead


def of_bits(make: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    study = make()[0]
    states = probed_of(study).frames["future", "states"]
    return states, arm_styles(study), "linear", [arm.name for arm in study.arms]


def of_losses(make: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    study = make()[0]
    found = probed_of(study)
    return found.frames["future", "states"], found.frames["future", "controls"], arm_styles(study)


def of_bags(make: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    study = make()[0]
    return probed_of(study).frames["future_bag", "states"], arm_styles(study)


def of_use(make: Callable[[], tuple[Any, ...]], table: str) -> tuple[Any, ...]:
    study = make()[0]
    return use_of(study).frames["plan_use", table], arm_styles(study), [arm.name for arm in study.arms[2:]]


def of_classes(make: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    study = make()[0]
    return losses_of(study).tables("token_losses"), arm_styles(study)


def of_layers(make: Callable[[], tuple[Any, ...]], **changes: Any) -> tuple[Any, ...]:
    study = make()[0]
    return study, probed_models.layer_gradients_of(study, **changes)


def of_gradients(make: Callable[[], tuple[Any, ...]], **changes: Any) -> tuple[Any, ...]:
    study = make()[0]
    return "gradient_evidence", study, probed_models.gradient_evidence_of(study, **changes)


def of_drafts(make: Callable[[], tuple[Any, ...]], **changes: Any) -> tuple[Any, ...]:
    study = make()[0]
    return "drafting", study, probed_models.drafting_of(study, **changes)


def of_boards(make: Callable[[], tuple[Any, ...]], place: int, **changes: Any) -> tuple[Any, ...]:
    study = make()[0]
    return "board", study, probed_models.board_of(study, **changes), place


def of_both(first: tuple[Any, ...], second: tuple[Any, ...]) -> Figure | None:
    named = beside.differences(Side("A", "first", *first), Side("B", "second", *second))
    return named.figure if named else None


def long_task_names() -> tuple[Any, ...]:
    return with_tasks(long_names)


DELAY = "data.task.delay"
LENGTHS = {"rows": "data.task.degree", "columns": "data.task.length"}
HORIZONS = {"rows": "objective.n", "columns": DELAY}

CASES = {
    "paired_differences": Case(figures.paired_differences, synthetic.four_arms),
    "paired_differences_of_few_seeds": Case(figures.paired_differences, synthetic.half_finished),
    "loss_curves": Case(figures.loss_curves, synthetic.four_arms),
    "loss_curves_half_finished": Case(figures.loss_curves, synthetic.half_finished),
    "loss_curves_of_a_grid": Case(figures.loss_curves, small_grid),
    "final_curves": Case(figures.final_curves, synthetic.four_arms),
    "final_curves_of_hostile_names": Case(figures.final_curves, synthetic.hostile),
    "final_curves_of_short_names": Case(figures.final_curves, one_sweep),
    "loss_over_cost": Case(figures.loss_over_cost, unequal),
    "cost_to_reach": Case(figures.cost_to_reach, unequal),
    "cost_to_reach_of_hostile_names": Case(figures.cost_to_reach, synthetic.hostile),
    "size_and_loss": Case(figures.size_and_loss, unequal),
    "horizon_sweep": Case(figures.horizon_sweep, one_sweep),
    "horizon_sweep_of_a_grid": Case(figures.horizon_sweep, small_grid),
    "layer_splits": Case(figures.layer_splits, synthetic.grid),
    "category_sweep": Case(figures.category_sweep, attached, {"key": "objective.attach"}),
    "category_sweep_of_long_names": Case(figures.category_sweep, long_names, {"key": "objective"}),
    "factor_pair": Case(
        figures.factor_pair, crossed, {"first": "objective.aggregator", "second": "objective.distance"}
    ),
    "factor_pair_of_long_names": Case(
        figures.factor_pair, long_names, {"first": "objective", "second": "objective.attach"}
    ),
    "factor_effects": Case(figures.factor_effects, crossed),
    "factor_effects_of_long_names": Case(figures.factor_effects, long_names),
    "interactions": Case(figures.interactions, crossed),
    "interactions_of_long_names": Case(figures.interactions, long_names),
    "loss_by_position": Case(figures.loss_by_position, lambda: of_positions(synthetic.four_arms)),
    "loss_by_position_of_a_grid": Case(figures.loss_by_position, lambda: of_positions(small_grid)),
    "document_differences": Case(figures.document_differences, lambda: of_documents(synthetic.four_arms)),
    "document_differences_of_hostile_names": Case(
        figures.document_differences, lambda: of_documents(synthetic.hostile)
    ),
    "loss_by_look_ahead": Case(figures.loss_by_look_ahead, lambda: of_look_ahead(synthetic.four_arms)),
    "loss_by_look_ahead_of_short_names": Case(figures.loss_by_look_ahead, lambda: of_look_ahead(one_sweep)),
    "future_bits": Case(figures.future_bits, lambda: of_bits(synthetic.four_arms)),
    "future_bits_of_hostile_names": Case(figures.future_bits, lambda: of_bits(synthetic.hostile)),
    "future_losses": Case(figures.future_losses, lambda: of_losses(synthetic.four_arms)),
    "future_losses_of_hostile_names": Case(figures.future_losses, lambda: of_losses(synthetic.hostile)),
    "bag_gains": Case(figures.bag_gains, lambda: of_bags(synthetic.four_arms)),
    "bag_gains_of_hostile_names": Case(figures.bag_gains, lambda: of_bags(synthetic.hostile)),
    "increase_by_position": Case(figures.increase_by_position, lambda: of_use(synthetic.four_arms, "positions")),
    "increase_by_reader": Case(figures.increase_by_reader, lambda: of_use(synthetic.four_arms, "increase")),
    "attention_by_distance": Case(figures.attention_by_distance, lambda: of_use(synthetic.four_arms, "attention")),
    "loss_by_class": Case(figures.loss_by_class, lambda: of_classes(synthetic.four_arms)),
    "differences_of_two_studies": Case(of_both, lambda: (synthetic.four_arms(), synthetic.half_finished())),
    "layer_gradients": Case(figures.layer_gradients, lambda: of_layers(synthetic.four_arms)),
    "layer_gradients_of_a_deep_network": Case(
        figures.layer_gradients, lambda: of_layers(synthetic.hostile, layers=probed_models.DEEP)
    ),
    "gradient_evidence": Case(probed_models.of_probe, lambda: of_gradients(synthetic.four_arms)),
    "gradient_evidence_of_a_deep_network": Case(
        probed_models.of_probe,
        lambda: of_gradients(synthetic.hostile, layers=probed_models.DEEP, objective=probed_models.HOSTILE),
    ),
    "drafting": Case(probed_models.of_probe, lambda: of_drafts(synthetic.four_arms)),
    "drafting_of_several_objectives": Case(
        probed_models.of_probe,
        lambda: of_drafts(synthetic.hostile, objectives=("multi_token", probed_models.HOSTILE), guesses=5),
    ),
    "board_accuracies": Case(probed_models.of_probe, lambda: of_boards(synthetic.four_arms, 1)),
    "boards": Case(probed_models.of_probe, lambda: of_boards(synthetic.four_arms, 2)),
    "boards_of_hostile_names": Case(
        probed_models.of_probe, lambda: of_boards(synthetic.hostile, 2, shape=(6, 7), n=5, arms=slice(2, None))
    ),
    "task_accuracy": Case(figures.task_accuracy, with_tasks),
    "task_accuracy_of_hostile_names": Case(figures.task_accuracy, lambda: with_tasks(synthetic.hostile)),
    "task_accuracy_of_path_stars": Case(figures.task_accuracy, synthetic.planning),
    "task_curves": Case(figures.task_curves, synthetic.planning),
    "task_curves_of_hostile_names": Case(figures.task_curves, lambda: with_tasks(synthetic.hostile)),
    "task_heat_map": Case(figures.task_heat_map, task_studies.degree, LENGTHS),
    "task_heat_map_of_horizons": Case(figures.task_heat_map, task_studies.horizons, HORIZONS),
    "task_sweep": Case(figures.task_sweep, task_studies.dial, {"key": DELAY}),
    "task_sweep_of_panels": Case(figures.task_sweep, task_studies.degree, {"key": "data.task.degree"}),
    "task_sweep_of_places": Case(figures.task_sweep, task_studies.attachment, {"key": "objective.attach"}),
    "task_sweep_of_long_names": Case(figures.task_sweep, long_task_names, {"key": "objective"}),
    "learned_distributions": Case(figures.learned_distributions, task_studies.dial),
    "objective_heat_map": Case(figures.objective_heat_map, task_studies.horizons, HORIZONS),
    "objective_diagnostics": Case(figures.objective_diagnostics, synthetic.four_arms),
    "objective_diagnostics_of_a_plug_in": Case(figures.objective_diagnostics, synthetic.hostile),
}
"""Each figure once, and again with what has troubled it: long names, few seeds, many arms."""


def rendered(figure: Figure) -> Image.Image:
    """Return a figure as the report would draw it, in fewer dots."""
    buffer = io.BytesIO()
    with applied():
        figure.savefig(buffer, format="png", dpi=DOTS)
    return Image.open(buffer).convert("RGB")


def unlike(picture: Image.Image, other: Image.Image) -> int:
    """Return how many pixels of two pictures are unlike; of pictures of two sizes, all."""
    if picture.size != other.size:
        return max(picture.width * picture.height, other.width * other.height)
    first, second = (np.asarray(one).astype(int) for one in (picture, other))
    return int(_outside(first, second).sum() + _outside(second, first).sum())


def stored(name: str) -> Image.Image:
    """Return the stored picture of a case."""
    return Image.open(FOLDER / f"{name}.png")


def other_freetype(picture: Image.Image) -> str:
    """Return the FreeType a stored picture was drawn with where it is not of the installed minor version, else ""."""
    drawn_with = str(picture.info["FreeType"])
    return "" if drawn_with.split(".")[:2] == freetype_version.split(".")[:2] else drawn_with


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture with what drew it."""
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Matplotlib", matplotlib_version)
    notes.add_text("FreeType", freetype_version)
    picture.save(path, optimize=True, pnginfo=notes)


def _outside(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return which pixels have no like in another picture."""
    around = (2 * REACH + 1, 2 * REACH + 1, 1)
    low, high = minimum_filter(other, around), maximum_filter(other, around)
    return ((picture < low - TOLERANCE) | (picture > high + TOLERANCE)).any(axis=2)


def main() -> None:
    """Store the pictures that are new or unlike, and remove those that no case has."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.png"):
        if path.stem not in CASES:
            path.unlink()
            print(f"removed {path.name}")
    for name, case in CASES.items():
        path, picture = FOLDER / f"{name}.png", rendered(case.figure())
        if not path.exists() or unlike(picture, stored(name)) > MOST_UNLIKE:
            save(picture, path)
            print(f"stored {path.name}")


if __name__ == "__main__":
    main()
