"""A study at another scale: its base on another preset, with what the study says of its arms there."""

from __future__ import annotations

from typing import Any

from ablations.study import Scale, Study
from deepsight.errors import UserError, suggestion
from deepsight.merging import merged
from deepsight.presets import preset as preset_data


def scaled(study: Study, preset: str) -> Study:
    """Return a study on another preset, called `NAME-PRESET`.

    The preset replaces the one that the study's base stands on; what the base changes in it stays. Where the study says
    for which presets it is written (`scales`), what it says of this one is laid over base, arms and factors.

    Raises:
        UserError: there is no such preset, the study stands on none, or is not written for this one.

    """
    preset_data(preset)
    if "preset" not in study.base:
        raise UserError(f"this study stands on no preset that {preset!r} could replace", ("base",))
    if preset == study.base["preset"]:
        return study
    if study.scales and preset not in study.scales:
        known = [study.base["preset"], *study.scales]
        raise UserError(f"this study is not written for the preset {preset!r}{suggestion(preset, known)}")
    scale = study.scales.get(preset, Scale())
    base = merged({key: value for key, value in study.base.items() if key != "preset"}, scale.base)
    arms: dict[str, dict[str, Any]] = {
        name: merged(changes, scale.arms.get(name, {})) for name, changes in study.arms.items()
    }
    return study.model_copy(
        update={
            "name": f"{study.name}-{preset}",
            "base": {"preset": preset, **base},
            "arms": arms,
            "factors": {**study.factors, **scale.factors},
            "scales": {},
        }
    )
