"""Checks for people who add their own objectives and parts of them; `deepsight objectives check` runs the same.

In a test file of yours::

    from deepsight.testing import ObjectiveContract

    class TestMine(ObjectiveContract):
        objective = {"name": "mine", "n": 3}
"""

from deepsight.testing.contract import CHECKS, Check, ObjectiveContract, Outcome, outcomes, part_outcome
from deepsight.testing.parts import PART_CHECKS, check_part
from deepsight.testing.running_checks import Overhead, measured_overhead
from deepsight.testing.systems import ContractError, Subject, System, systems_for

__all__ = [
    "CHECKS",
    "PART_CHECKS",
    "Check",
    "ContractError",
    "ObjectiveContract",
    "Outcome",
    "Overhead",
    "Subject",
    "System",
    "check_part",
    "measured_overhead",
    "outcomes",
    "part_outcome",
    "systems_for",
]
