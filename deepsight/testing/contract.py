"""The contract of an objective as a list of checks, and as a class that a test file inherits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from deepsight.describing import registry_of
from deepsight.errors import UserError, line_in
from deepsight.plug_ins import objectives
from deepsight.registry import Component
from deepsight.testing.inference_checks import (
    check_inference_untouched,
    check_no_leak,
    check_noise_stays_noise,
)
from deepsight.testing.objective_checks import (
    check_determinism,
    check_gradients,
    check_ignored_targets,
    check_loss,
    check_order_of_sequences,
)
from deepsight.testing.parts import check_part
from deepsight.testing.running_checks import check_checkpoint, check_configuration, check_counting
from deepsight.testing.systems import ContractError


class Check(NamedTuple):
    """One part of the contract.

    Attributes:
        title: what holds where the check passes.
        run: takes the objective as written in a configuration; it may return what is worth saying, and raises
            `ContractError` or `UserError` where the contract is broken.

    """

    title: str
    run: Callable[[object], str | None]


CHECKS = (
    Check("configuration survives YAML", check_configuration),
    Check("loss, metrics and diagnostics are finite scalars", check_loss),
    Check("gradients are finite and reach the state at every place, and every parameter", check_gradients),
    Check("ignored targets leave loss and gradients finite", check_ignored_targets),
    Check("one seed gives one result", check_determinism),
    Check("the order of sequences does not count", check_order_of_sequences),
    Check("network, trace and logits stay as they are", check_inference_untouched),
    Check("no logit depends on later tokens", check_no_leak),
    Check("training on noise stays at chance", check_noise_stays_noise),
    Check("a resumed run goes on the same", check_checkpoint),
    Check("cost can be counted before a run", check_counting),
)
"""The contract of an objective, cheap checks first."""


class Outcome(NamedTuple):
    """What became of a check: `failure` is one sentence where it did not pass."""

    title: str
    failure: str | None = None
    note: str | None = None


def outcomes(spec: Mapping[str, Any]) -> Iterator[Outcome]:
    """Run every check of an objective, one after another; the name in the spec must be known."""
    for check in CHECKS:
        yield _outcome(check.title, lambda check=check: check.run(spec), objectives[str(spec["name"])])  # type: ignore[misc]


def part_outcome(kind: str, spec: Mapping[str, Any]) -> Outcome:
    """Run the check of a component that is a part of objectives."""
    return _outcome(
        f"keeps the contract of its kind, {kind}", lambda: check_part(kind, spec), registry_of(kind)[str(spec["name"])]
    )


def _outcome(title: str, run: Callable[[], str | None], component: Component) -> Outcome:
    try:
        return Outcome(title, note=run())
    except (ContractError, UserError) as error:
        sentence = str(error)
    except Exception as error:  # noqa: BLE001 - a stranger's code may fail in any way
        place = line_in(component.file, error)
        sentence = f"{place + ': ' if place else ''}{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    named = component.file in sentence
    return Outcome(title, failure=sentence if named else f"{component.location}: {sentence}")


class ObjectiveContract:
    """Every check of the contract as a test: inherit it in a class whose name begins with Test, and name the objective.

    Attributes:
        objective: a registered name, or a mapping with `name` and parameters, as in a run's configuration.

    """

    objective: ClassVar[str | dict[str, Any]]

    def test_configuration(self) -> None:
        """The complete configuration survives YAML."""
        check_configuration(self.objective)

    def test_loss(self) -> None:
        """Loss, metrics and diagnostics are finite scalars."""
        check_loss(self.objective)

    def test_gradients(self) -> None:
        """Gradients reach the state at every place, and every own parameter."""
        check_gradients(self.objective)

    def test_ignored_targets(self) -> None:
        """Ignored targets leave loss and gradients finite."""
        check_ignored_targets(self.objective)

    def test_determinism(self) -> None:
        """One seed gives one result."""
        check_determinism(self.objective)

    def test_order_of_sequences(self) -> None:
        """The order of sequences in a batch does not count."""
        check_order_of_sequences(self.objective)

    def test_inference_untouched(self) -> None:
        """Network, trace and logits stay as they are."""
        check_inference_untouched(self.objective)

    def test_no_leak(self) -> None:
        """No logit depends on later tokens."""
        check_no_leak(self.objective)

    def test_noise_stays_noise(self) -> None:
        """Training on noise stays at chance."""
        check_noise_stays_noise(self.objective)

    def test_checkpoint(self) -> None:
        """A resumed run goes on the same."""
        check_checkpoint(self.objective)

    def test_counting(self) -> None:
        """A training step can be counted before a run, or with storage."""
        check_counting(self.objective)
