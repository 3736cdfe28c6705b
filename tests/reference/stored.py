"""The stored values of the original DeepSight and its baseline, where they are present."""

from __future__ import annotations

import pytest

from tests.reference.folder import Case, Reference, reference_folder

FOLDER = reference_folder()
_PRESENT = (FOLDER / "deepsight.json").is_file()
CASES: list[Case] = Reference.read(FOLDER).cases if _PRESENT else []
needs_values = pytest.mark.skipif(
    not _PRESENT, reason="no reference values: set DEEPSIGHT_REFERENCE to the folder that holds them"
)
