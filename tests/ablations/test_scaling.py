"""A study on another preset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablations.study import Study
from ablations.study_files import built_in_names, kept_text, read_study, study_file
from deepsight.errors import UserError
from tests.ablations.studies import write_study

STUDY: dict[str, Any] = {
    "name": "wide",
    "base": {"preset": "deepsight-paper", "objective": {"name": "future_context", "n": 5}, "training": {"steps": 40}},
    "factors": {"objective.n": [3, 26]},
    "arms": {"narrow": {"model": {"width": 100, "dropout": 0.1}}, "plain": None},
    "reference": "plain",
    "scales": {
        "tiny": {
            "base": {"training.warmup_steps": 7},
            "factors": {"objective": {"n": [2, 4]}},
            "arms": {"narrow": {"model.width": 32}},
        },
        "small": None,
    },
}


def read(tmp_path: Path, preset: str | None, **changes: Any) -> Study:
    return read_study(write_study(tmp_path / "study.yaml", {**STUDY, **changes}), preset)


def test_what_is_written_for_a_preset_is_laid_over_base_arms_and_factors(tmp_path: Path) -> None:
    study = read(tmp_path, "tiny")
    assert study.name == "wide-tiny"
    assert study.base == {
        "preset": "tiny",
        "objective": {"name": "future_context", "n": 5},
        "training": {"steps": 40, "warmup_steps": 7},
    }
    assert study.factors == {"objective.n": [2, 4]}
    assert study.arms == {"narrow": {"model": {"width": 32, "dropout": 0.1}}, "plain": {}}


def test_a_preset_of_which_nothing_more_is_said_replaces_that_of_the_base(tmp_path: Path) -> None:
    study, own = read(tmp_path, "small"), read(tmp_path, None)
    assert study.base == {**own.base, "preset": "small"}
    assert (study.arms, study.factors) == (own.arms, own.factors)


@pytest.mark.parametrize("name", [name for name in built_in_names() if read_study(study_file(name)).scales])
def test_what_is_kept_of_a_scaled_study_is_all_of_it(name: str, tmp_path: Path) -> None:
    file = study_file(name)
    kept = tmp_path / "study.yaml"
    for preset in ("small", "tiny"):
        kept.write_text(kept_text(file, preset), encoding="utf-8")
        assert read_study(kept) == read_study(file, preset)
        # A worker on a cluster reads the kept file, and is still told the preset.
        assert read_study(kept, preset) == read_study(kept)
        assert kept_text(kept, preset) == kept.read_text(encoding="utf-8")
    assert kept_text(file) == file.read_text(encoding="utf-8")


def test_its_own_preset_changes_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "deepsight-paper") == read(tmp_path, None)


def test_a_study_that_names_no_scales_runs_on_any_preset(tmp_path: Path) -> None:
    assert read(tmp_path, "gpt2-124m", scales={}).base["preset"] == "gpt2-124m"


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("tinny", {}, "unknown preset 'tinny'; did you mean 'tiny'"),
        ("baseline-paper", {}, "this study is not written for the preset 'baseline-paper'"),
        (None, {"scales": {"tiny": {"arms": {"narow": {}}}}}, "scales.tiny.arms.narow: the study has no arm 'narow'; "
         "did you mean 'narrow'"),
        (None, {"scales": {"tiny": {"factors": {"objective.m": [1]}}}}, "the study has no factor 'objective.m'"),
        (None, {"scales": {"tiny": {"arm": {}}}}, "scales.tiny: unknown key 'arm'"),
        ("tiny", {"base": {"seed": 1}}, "base: this study stands on no preset that 'tiny' could replace"),
        (None, {"scales": {"smal": {}}}, "scales: unknown preset 'smal'; did you mean 'small'"),
        (None, {"scales": {"tiny": 3}}, "scales.tiny"),
        (None, {"scales": 3}, "scales"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(preset: str | None, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, preset, **changes)
    assert str(caught.value).startswith(str(tmp_path / "study.yaml"))
    assert message in str(caught.value)
