"""The figures of a study: each takes (study, trials, curves) and returns a matplotlib figure, or None without data.

Those of where the loss lies take the study and frames of its breakdowns (`ablations.breakdowns`) instead, that of
gradients by layer the study and `ablations.layer_gradients`, those of what probes found its frames (`ablations.probed`)
and the styles of arms (`reports.figures.style.arm_styles`).
"""

from reports.figures.attention_distance import attention_by_distance
from reports.figures.categories import category_sweep
from reports.figures.curves import final_curves, loss_curves, loss_over_cost
from reports.figures.diagnostics import objective_diagnostics, reporting_objectives
from reports.figures.differences import paired_differences
from reports.figures.documents import document_differences
from reports.figures.effects import factor_effects, interactions
from reports.figures.factor_pairs import factor_pair, factor_pairs
from reports.figures.horizons import horizon_sweep
from reports.figures.layer_gradients import layer_gradients
from reports.figures.layers import layer_splits
from reports.figures.learned_distributions import learned_distributions
from reports.figures.look_ahead import loss_by_look_ahead
from reports.figures.positions import loss_by_position
from reports.figures.probe_future import bag_gains, future_bits, future_losses
from reports.figures.probe_plan_use import increase_by_position, increase_by_reader
from reports.figures.probe_token_losses import loss_by_class
from reports.figures.reaching import cost_to_reach
from reports.figures.sizes import size_and_loss
from reports.figures.task_curves import task_curves
from reports.figures.task_heat_maps import objective_heat_map, task_heat_map
from reports.figures.task_lines import swept_keys
from reports.figures.task_maps import task_maps
from reports.figures.task_sweeps import task_sweep
from reports.figures.tasks import task_accuracy

__all__ = [
    "attention_by_distance",
    "bag_gains",
    "category_sweep",
    "cost_to_reach",
    "document_differences",
    "factor_effects",
    "factor_pair",
    "factor_pairs",
    "final_curves",
    "future_bits",
    "future_losses",
    "horizon_sweep",
    "increase_by_position",
    "increase_by_reader",
    "interactions",
    "layer_gradients",
    "layer_splits",
    "learned_distributions",
    "loss_by_class",
    "loss_by_look_ahead",
    "loss_by_position",
    "loss_curves",
    "loss_over_cost",
    "objective_diagnostics",
    "objective_heat_map",
    "paired_differences",
    "reporting_objectives",
    "size_and_loss",
    "swept_keys",
    "task_accuracy",
    "task_curves",
    "task_heat_map",
    "task_maps",
    "task_sweep",
]
