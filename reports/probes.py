"""The files of what probes found: every table as CSV, every figure as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ablations.probed import Probed
from ablations.stored import StoredStudy
from deepsight.errors import UserError
from deepsight.files import write_text
from reports.figures.catalogue import probe_figures
from reports.figures.style import ArmStyle, arm_styles, distinct_labels, numbered_style
from reports.probe_tables import csv_files
from reports.writing import write_figures


def write_probes(found: Probed, out: Path, study: StoredStudy | None = None) -> list[Path]:
    """Write what probes found and return the files.

    Args:
        found: of some runs.
        out: the folder to write into.
        study: whose arms they are; None for a run alone.

    Raises:
        UserError: the files cannot be written.

    """
    out = Path(out)
    try:
        files = []
        for probe in found.probes:
            for name, text in csv_files(probe, found).items():
                write_text(out / name, text)
                files.append(out / name)
        _, drawn = write_figures(probe_figures(found, styles_of(found, study)), out)
        return [*files, *drawn]
    except OSError as error:
        raise UserError(f"{out}: what the probes found cannot be written here: {error.strerror or error}") from error


def styles_of(found: Probed, study: StoredStudy | None) -> Mapping[str, ArmStyle]:
    """Return how each arm is drawn, as in all figures of its study."""
    if study is not None:
        return arm_styles(study)
    arms = list(dict.fromkeys(found.asked["arm"]))
    labels = distinct_labels(arms)
    return {arm: numbered_style(place, label) for place, (arm, label) in enumerate(zip(arms, labels, strict=True))}
