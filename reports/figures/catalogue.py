"""All figures that a study has data for, each with the file name, title and caption it appears under."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from ablations.breakdowns import Breakdowns
from ablations.layer_gradients import LayerGradients
from ablations.probed import Probed
from ablations.stored import StoredStudy
from reports.comparisons import compare
from reports.figures.categories import category_sweep
from reports.figures.curves import final_curves, loss_curves, loss_over_cost
from reports.figures.diagnostics import diagnostic_parts, objective_diagnostics, reporting_objectives
from reports.figures.differences import paired_differences
from reports.figures.documents import document_differences
from reports.figures.effects import factor_effects, interactions
from reports.figures.factor_pairs import factor_pair, factor_pairs
from reports.figures.horizons import MOST_SWEEPS_WITH_INTERVALS, horizon_sweep
from reports.figures.layer_gradients import layer_gradient_parts, layer_gradients, pulling_objectives
from reports.figures.layers import layer_splits
from reports.figures.learned_distributions import MOST_LEARNED, learned_distributions, learning_arms
from reports.figures.look_ahead import loss_by_look_ahead
from reports.figures.panels import quantities
from reports.figures.positions import loss_by_position
from reports.figures.probe_arms import Drawing
from reports.figures.probes import probe_drawings
from reports.figures.reaching import cost_to_reach
from reports.figures.sizes import size_and_loss
from reports.figures.style import MOST_ARMS_WITH_SEEDS, ArmStyle, arm_styles
from reports.figures.sweeps import category_keys
from reports.figures.task_drawings import task_drawings
from reports.references import arms_by_task, reference_in_words
from reports.wording import listed, named


@dataclass(frozen=True)
class NamedFigure:
    """A figure under its file name (without ending), with a title and a caption that says how it is made."""

    name: str
    title: str
    caption: str
    figure: Figure


def all_figures(
    study: StoredStudy,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    breakdowns: Breakdowns | None = None,
    probed: Probed | None = None,
    gradients: LayerGradients | None = None,
) -> Iterator[NamedFigure]:
    """Yield every figure that has something to show, in the order of the page; each is drawn when it is asked for."""
    frames = (study, trials, curves)
    reference = reference_in_words(study, named(study.reference))
    paired = all(comparison.pairs.proven for comparison in compare(study, trials).values())
    word = "paired difference" if paired else "difference by seed"
    drawings: list[Drawing] = [
        # Where a study has a task, accuracy at it is the question, and the loss comes after it.
        *task_drawings(*frames),
        ("differences", f"{word.capitalize()}s", _differences_caption(study, word), paired_differences(*frames)),
        ("loss_curves", "Validation loss over training", _curves_caption(study), loss_curves(*frames)),
        ("final_curves", "The last fifth of training", _final_caption(study), final_curves(*frames)),
        ("loss_over_cost", "Validation loss over what it cost", COST_CAPTION, loss_over_cost(*frames)),
        ("cost_to_reach", "What it takes to reach the reference", _reaching_caption(reference), cost_to_reach(*frames)),
        ("size_and_loss", "Size and loss", SIZE_CAPTION, size_and_loss(*frames)),
        ("horizon_sweep", "Horizon", _horizon_caption(study), horizon_sweep(*frames)),
        (
            "learned_distributions",
            "How far objectives learned to look",
            _learned_caption(learning_arms(*frames)),
            learned_distributions(*frames),
        ),
        ("layer_splits", "Layer splits", _layers_caption(reference, word), layer_splits(*frames)),
    ]
    for first, second in factor_pairs(study):
        names = [key.removeprefix("objective.") for key in (first, second)]
        drawings.append(
            (
                f"{_file_name(first)}_and_{_file_name(second)}",
                f"{names[0].capitalize()} and {names[1]}",
                _pair_caption(reference, word),
                factor_pair(*frames, first=first, second=second),
            )
        )
    drawings += [
        ("factor_effects", "Factor effects", EFFECTS_CAPTION, factor_effects(*frames)),
        ("interactions", "Interactions", INTERACTIONS_CAPTION, interactions(*frames)),
    ]
    for key in category_keys(study):
        title = "Objectives" if key == "objective" else "Where the objective attaches"
        name = f"{_file_name(key)}_sweep"
        drawings.append((name, title, _category_caption(study), category_sweep(*frames, key=key)))
    drawings += _of_breakdowns(study, breakdowns or Breakdowns())
    yield from _named(drawings)
    yield from probe_figures(probed or Probed(), arm_styles(study))
    yield from _named(_of_gradients(study, gradients or LayerGradients()))
    # What only the A/A control has does nothing, and has nothing to show.
    controls = [arm.name for arm in study.arms if arm.control]
    for objective in reporting_objectives(curves[~curves["arm"].isin(controls)]):
        name = f"diagnostics_{_file_name(objective)}"
        parts = diagnostic_parts(study, curves, objective)
        for part in range(parts):
            figure = objective_diagnostics(*frames, objective=objective, part=part)
            if figure is not None:
                number, of = (f"_{part + 1}", f", part {part + 1} of {parts}") if parts > 1 else ("", "")
                caption = _diagnostics_caption(objective, set(quantities(curves, objective)))
                yield NamedFigure(f"{name}{number}", f"Objective {objective}{of}", caption, figure)


def probe_figures(found: Probed, styles: Mapping[str, ArmStyle]) -> Iterator[NamedFigure]:
    """Yield the figures of what probes found.

    Args:
        found: in the trials of a study, or in a run.
        styles: of each arm, in the order in which they are shown.

    """
    yield from _named(probe_drawings(found, styles))


def _named(drawings: Iterable[Drawing]) -> Iterator[NamedFigure]:
    for name, title, caption, figure in drawings:
        if figure is not None:
            yield NamedFigure(name, title, caption, figure)


def _of_gradients(study: StoredStudy, found: LayerGradients) -> Iterator[Drawing]:
    for objective in pulling_objectives(study, found.rows):
        parts = layer_gradient_parts(study, found.rows, objective)
        for part in range(parts):
            number, of = (f"_{part + 1}", f", part {part + 1} of {parts}") if parts > 1 else ("", "")
            figure = layer_gradients(study, found.rows, objective, part)
            name = f"layer_gradients_{_file_name(objective)}{number}"
            yield name, f"Where objective {objective} pulls{of}", GRADIENTS_CAPTION, figure


def _of_breakdowns(study: StoredStudy, found: Breakdowns) -> list[Drawing]:
    reference = reference_in_words(study, named(study.reference))
    return [
        (
            "loss_by_position",
            "Loss by position",
            _position_caption(reference),
            loss_by_position(study, found.positions),
        ),
        (
            "document_differences",
            "Differences by document",
            _documents_caption(reference),
            document_differences(study, found.documents),
        ),
        (
            "loss_by_look_ahead",
            "Loss by look-ahead",
            LOOK_AHEAD_CAPTION,
            loss_by_look_ahead(study, found.positions, found.ahead),
        ),
    ]


LOOK_AHEAD_CAPTION = (
    "Validation cross-entropy of each arm's heads at the end of training against how far ahead they predict; 1 is the "
    "network's own prediction. Lines at the dots are 95 % t intervals over seeds."
)
GRADIENTS_CAPTION = (
    "The objective's gradient g on the weights of each layer beside that of next-token loss, n, coefficients applied, "
    "on the same held-out sequences at every evaluation: its share ‖g‖ / (‖g‖ + ‖n‖), and the cosine of the angle "
    "between the two, below zero where they pull against each other. Means over finished trials; hatched where there "
    "is no gradient to compare. The output matrix is counted in the embedding."
)
COST_CAPTION = (
    "The curves of the whole run against what they cost: training FLOPs by the count of each arm's own network and "
    "objective, and seconds as they passed, which depend on the machine."
)
SIZE_CAPTION = (
    "Mean validation loss and its 95 % t interval over seeds, against the parameters that run at inference. No arm on "
    "the Pareto front has another that is as small and better."
)
EFFECTS_CAPTION = (
    "Each value of a factor against the first one, on the average over the other factors: the dot is the mean "
    "difference, the line its 95 % t interval over seeds, for one comparison; small marks are seeds."
)
INTERACTIONS_CAPTION = (
    "Mean validation loss for each pair of two factors' values, over the other factors; lines that run parallel say "
    "that the factors do not interact. Intervals (95 %) are without what seeds have in common (Cousineau, 2005; Morey, "
    "2008)."
)


def _file_name(text: str) -> str:
    """Return a text as a part of a file's name."""
    return re.sub("[^A-Za-z0-9]+", "_", text)[:60]


def _position_caption(reference: str) -> str:
    return (
        "Validation loss at the end of training by position in the window, in ranges that double in width, and below "
        f"it the mean difference to {reference} over seeds with its 95 % t interval (from three pairs on)."
    )


def _documents_caption(reference: str) -> str:
    return (
        f"Difference in validation loss to {reference}, document by document, each the mean over paired seeds: the dot "
        "is the median document, the thick line holds the middle half of them, the thin one nine in ten. At the right, "
        "the share of documents on which the arm is better. Documents are no seeds: this shows where a difference "
        "comes from, not how certain it is."
    )


def _reaching_caption(reference: str) -> str:
    return (
        f"What each arm needs to reach the final loss of {reference}, as a multiple of what the reference needs: "
        "geometric mean (dot) over the pairs that reach it (small marks), with the 95 % t interval of the logarithms. "
        "Left of the line is sooner."
    )


def _pair_caption(reference: str, word: str) -> str:
    return (
        f"Mean {word} in validation loss to {reference} for each pair of values; blue is better. Cells with a verdict "
        "of the main table carry it."
    )


def _differences_caption(study: StoredStudy, word: str) -> str:
    reference = reference_in_words(study, named(study.reference))
    margin = ""
    if study.equivalence_margin > 0:
        margin = f" The grey band is the margin of equivalence, ±{study.equivalence_margin:g}."
    return (
        f"Validation loss minus that of {reference}, seed by seed (small marks); the dot is the mean "
        f"{word}, the line its 95 % t interval for one comparison (from three pairs on).{margin}"
    )


def _curves_caption(study: StoredStudy) -> str:
    if len(study.arms) > MOST_ARMS_WITH_SEEDS:
        return "Mean validation loss of each arm over its seeds. Crosses are trials that failed."
    return (
        "Thin lines are seeds, bold ones the mean of an arm; the band is the 95 % t interval of that mean over seeds "
        "(from three seeds on). Crosses are trials that failed."
    )


def _final_caption(study: StoredStudy) -> str:
    if len(study.arms) > MOST_ARMS_WITH_SEEDS:
        return "The same means, where the arms part."
    return (
        "The same lines, where the arms part. The bands hold the variation between seeds, which the paired differences "
        "remove: bands may overlap where a difference is certain."
    )


def _horizon_caption(study: StoredStudy) -> str:
    return (
        "Mean validation loss against the horizon n, one line a combination of the other factors, each seed thin where "
        f"there is one line only. Up to {MOST_SWEEPS_WITH_INTERVALS} lines carry 95 % t intervals over seeds."
        f"{_band(study)}"
    )


def _learned_caption(count: int) -> str:
    text = (
        "The distribution over 1 … n tokens ahead that the objective had learned by the end of training, one panel an "
        "arm; a line is a trial. It began on the dotted line. Where the arm's task has a delay, the dashed line is "
        "there."
    )
    return text + (f" Shown are the first {MOST_LEARNED} of {count} arms." if count > MOST_LEARNED else "")


def _band(study: StoredStudy) -> str:
    """Say what the band is; where arms learned several tasks there is none, because the reference is of one of them."""
    one = len(arms_by_task(study)) == 1
    return f" The band is the reference {named(study.reference)} with its interval." if one else ""


def _category_caption(study: StoredStudy) -> str:
    return (
        "Mean validation loss (dots) with its 95 % t interval over seeds, one row a value; one colour is one "
        "combination of the other factors, and where there is one only, thin lines join the runs of each seed."
        f"{_band(study)}"
    )


def _layers_caption(reference: str, word: str) -> str:
    return (
        f"Mean {word} in validation loss to {reference} for each split of the layers into encoder and decoder; blue is "
        "better. Cells with a verdict of the main table carry it."
    )


SIGNS = {
    "gain": "gains near zero",
    "variance": "variances near zero",
    "effective rank": "an effective rank near one",
    "mean cosine": "a mean cosine near one",
}
"""What shows that an objective is met without predicting anything."""


def _diagnostics_caption(objective: str, shown: set[str]) -> str:
    text = (
        f"What {objective} reported at each evaluation: thin lines are trials, bold ones the mean of an arm. Where a "
        "quantity falls over decades the axis is logarithmic and the mean geometric."
    )
    signs = [sign for name, sign in SIGNS.items() if name in shown]
    if signs:
        text += f" Signs that it is met without predicting anything: {listed(signs, most=len(signs))}."
    if "loss over trivial" in shown:
        text += " A loss at that of the best constant answer (the line at 1) has learned nothing more than it."
    if "gradient share" in shown:
        text += (
            " The share of the gradient is the objective's, by norm, of what reaches the states that it reads; a "
            "cosine below zero pulls against the rest."
        )
    return text
