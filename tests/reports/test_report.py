"""The report as files: all there, the same bytes each time, nothing left over, one sentence where it cannot be."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ablations.stored import write_plan
from deepsight.errors import UserError
from reports.build import build
from reports.records import Records, read_records, summary
from reports.writing import write_report
from tests.reports import synthetic

FIGURES = [
    "loss_over_cost",
    "cost_to_reach",
    "diagnostics_future_context",
    "differences",
    "final_curves",
    "loss_curves",
]
TABLES = ["configuration_differences", "efficiency", "fairness", "ledger", "main", "pairing", "provenance", "trials"]
ENDINGS = ("csv", "md", "tex", "html")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def report(half_finished_report: Path) -> Path:
    return half_finished_report


def test_all_files_are_there(report: Path) -> None:
    names = set(contents(report))
    assert names == {
        "index.html",
        *(f"tables/{name}.{ending}" for name in (*TABLES, "failures") for ending in ENDINGS),
        *(f"figures/{name}.{ending}" for name in FIGURES for ending in ("png", "svg")),
    }


def test_another_process_gives_the_same_bytes_and_imports_no_torch(report: Path, tmp_path: Path) -> None:
    program = (
        "import sys, ablations.frames; from pathlib import Path; from tests.reports import synthetic;"
        "from reports.writing import write_report; study, trials, curves = synthetic.half_finished();"
        "write_report(study, trials, curves, synthetic.records_of(trials), Path(sys.argv[1]));"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=120)
    assert contents(tmp_path) == contents(report)


def test_a_png_has_300_dots_an_inch_and_no_date(report: Path) -> None:
    from PIL import Image

    image = Image.open(report / "figures" / "loss_curves.png")
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    assert image.width == 990
    assert "<dc:date>" not in (report / "figures" / "loss_curves.svg").read_text()


def test_what_an_earlier_report_left_goes_and_other_files_stay(report: Path, tmp_path: Path) -> None:
    shutil.copytree(report, tmp_path / "report")
    (tmp_path / "report" / "figures" / "mine.txt").write_text("stays")
    study, _, _ = synthetic.half_finished()
    write_report(study, pd.DataFrame(), pd.DataFrame(), Records(), tmp_path / "report")
    names = set(contents(tmp_path / "report"))
    assert "figures/mine.txt" in names
    assert not any(name.endswith((".png", ".svg")) for name in names)
    assert not any(f"tables/failures.{ending}" in names for ending in ENDINGS)


@pytest.mark.parametrize("make", [synthetic.four_arms, synthetic.hostile])
def test_a_study_in_which_everything_failed_or_nothing_began_has_a_page(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    study, trials, _ = make()
    failed = trials.assign(status="failed", validation_loss=math.nan)
    for frame in (failed, pd.DataFrame()):
        page = write_report(study, frame, pd.DataFrame(), Records(), tmp_path).read_text()
        assert "There is no finding yet: no trial has finished." in page


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    study, trials, curves = synthetic.four_arms(1)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the report cannot be written here"):
        write_report(study, trials, curves, Records(), tmp_path / "file" / "report")


def study_on_disk(folder: Path) -> Path:
    """A finished study as the harness leaves it, with metrics and results of two arms and three seeds."""
    study = synthetic.study_of({"baseline": {}, "arm": {"objective.n": 3}}, "baseline", 3)
    write_plan(folder, study)
    losses = {"baseline": synthetic.seed_losses(4, 0, 3), "arm": synthetic.seed_losses(4, -0.01, 3)}
    trials = synthetic.trials_of(study, losses)
    curves = synthetic.curves_of(study, trials)
    for row in trials.to_dict(orient="records"):
        place = folder / "trials" / row["trial"]
        place.mkdir(parents=True)
        (place / "config.yaml").write_text("preset: tiny\n")
        (place / "provenance.json").write_text(json.dumps({"commit": "abc", "threads": 1, "versions": {"torch": "2"}}))
        (place / "result.json").write_text(json.dumps({key: row[key] for key in row if key not in ("arm", "seed")}))
        lines = curves[curves["trial"] == row["trial"]].drop(columns=["trial", "arm", "seed"])
        rows = [json.dumps({"kind": "evaluation", **line}) for line in lines.to_dict(orient="records")]
        (place / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def test_build_reads_the_study_from_its_folder(tmp_path: Path) -> None:
    folder = study_on_disk(tmp_path)
    index = build(folder)
    assert index == folder / "report" / "index.html"
    assert {"figures/loss_curves.png", "tables/main.csv"} <= set(contents(folder / "report"))
    page = index.read_text()
    assert "exploratory" in page
    assert "versions.torch" in page
    assert "/config.yaml" in page
    found = [re.findall(r'href="([^"]+)"', file.read_text()) for file in (folder / "report" / "tables").glob("*.html")]
    links = [link for links in found for link in links]
    assert len(links) == 12  # a folder and a configuration for each trial
    assert all((folder / "report" / "tables" / link).exists() for link in links)
    assert "/metrics.jsonl" in page


def test_build_refuses_a_folder_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no study here"):
        build(tmp_path)


def test_records_are_summed_up_and_broken_ones_left_out(tmp_path: Path) -> None:
    folder = study_on_disk(tmp_path)
    study = synthetic.study_of({"baseline": {}, "arm": {"objective.n": 3}}, "baseline", 3)
    first, second, third = list(study.arms[1].trials.values())
    (folder / "trials" / first / "provenance.json").write_text('{"commit": "def", "versions": {"torch": "2"}}')
    (folder / "trials" / second / "provenance.json").write_text("{torn")
    (folder / "trials" / third / "config.yaml").unlink()
    (folder / "trials" / second / "metrics.jsonl").unlink()
    records = read_records(folder, study)
    assert len(records.provenance) == 5
    assert set(study.arms[1].trials.values()) - records.configured == {third}
    assert set(study.arms[1].trials.values()) - records.measured == {second}
    assert dict(summary(records)) == {
        "commit": "abc (4 of 5 trials); def (1 of 5 trials)",
        "threads": "1 (4 of 5 trials)",
        "versions.torch": "'2'",
    }


def test_importing_the_room_is_instant() -> None:
    program = "import sys, reports; sys.exit(any(name in sys.modules for name in ('pandas', 'scipy', 'matplotlib')))"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
