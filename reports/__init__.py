"""From finished trials to statistics, tables, figures and one page; reads what a study left on disk, never trains.

``reports.build(folder)`` writes the report of a study; its parts can be used from a notebook:
``from reports import comparisons, figures, tables``. Importing this package loads nothing heavy.
"""

from reports.build import build

__all__ = ["build"]
