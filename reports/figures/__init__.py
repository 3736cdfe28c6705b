"""The figures of a study: each takes (study, trials, curves) and returns a matplotlib figure, or None without data."""

from reports.figures.categories import category_sweep
from reports.figures.curves import final_curves, loss_curves
from reports.figures.diagnostics import objective_diagnostics, reporting_objectives
from reports.figures.differences import paired_differences
from reports.figures.horizons import horizon_sweep
from reports.figures.layers import layer_splits

__all__ = [
    "category_sweep",
    "final_curves",
    "horizon_sweep",
    "layer_splits",
    "loss_curves",
    "objective_diagnostics",
    "paired_differences",
    "reporting_objectives",
]
