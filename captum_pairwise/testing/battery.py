"""One battery of checks for every attribution method."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import captum_pairwise.testing.axioms as axioms
import captum_pairwise.testing.behaviour as behaviour
import captum_pairwise.testing.model_states as model_states
import captum_pairwise.testing.state as state
from captum_pairwise.testing.trial import TOLERANCE, CheckFailed, DoesNotApply, Make, Trial

Check = Callable[[Trial], None]
CHECKS: Mapping[str, Check] = {
    name.removeprefix("check_").replace("_", " "): check
    for module in (axioms, behaviour, model_states, state)
    for name, check in vars(module).items()
    if name.startswith("check_")
}
PASSES, FAILS, EXEMPT = "passes", "fails", "does not apply"


@dataclass(frozen=True)
class Outcome:
    """The result of one check.

    Attributes:
        check: its name, a key of `CHECKS`.
        status: `"passes"`, `"fails"` or `"does not apply"`.
        message: how it failed, or why it does not apply.
    """

    check: str
    status: str
    message: str = ""


@dataclass(frozen=True)
class Report:
    """The results of the battery for one method.

    Attributes:
        outcomes: one for every check, in order.

    >>> report = Report((Outcome("dummy players", "passes"), Outcome("linear credit", "fails", "the credits of a sum differ")))
    >>> print(report)
    passes          dummy players
    fails           linear credit: the credits of a sum differ
    >>> [outcome.check for outcome in report.failures]
    ['linear credit']

    See also `check_method` and `check_model`.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The outcomes of the checks that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == FAILS)

    def __str__(self) -> str:
        return "\n".join(f"{row.status:14}  {row.check}{': ' if row.message else ''}{row.message}" for row in self.outcomes)


def check_method(
    make: Make,
    *,
    order: int,
    players: str | None = "feature_mask",
    chunk: str | None = "perturbations_per_eval",
    arguments: Mapping[str, Any] | None = None,
    exempt: Mapping[str, str] | None = None,
    tolerance: float | None = None,
    checks: Iterable[str] | None = None,
    thorough: bool = False,
    raise_failures: bool = True,
) -> Report:
    """Run the battery on one attribution method, and return the result of each check.

    Args:
        make: builds the method for a `cp.SimilarityWrapper`; its `query_encoder.layer` is the layer to explain.
        order: 1 if `attribute` returns a map for each of the two images, 2 if it returns pairs of their parts.
        players: the name of the argument that takes the pair of masks: `"feature_mask"`, `"layer_mask"`, or None if there is none.
        chunk: the name of the argument that bounds the rows of a forward pass, such as `"internal_batch_size"`; None if there is none.
        arguments: other arguments of `attribute`, such as a budget that covers all 1024 coalitions of 4 + 6 players.
        exempt: reasons by name of a check that the method does not promise; the report repeats the reason.
        tolerance: allowed difference of equal results, relative to the largest credit, in float64; None means 1e-9.
        checks: names of checks to run; None means all of `CHECKS`.
        thorough: True lets every forward pass fail in turn, not only a dozen: for a nightly run.
        raise_failures: True raises an error if a check fails.

    Raises:
        CheckFailed: checks failed; the message names all of them, and how they failed.
        ValueError: the order is neither 1 nor 2, or the name of a check is unknown.

    >>> import captum_pairwise as cp
    >>> print(check_method(cp.ExactShapleyTaylor, order=2, checks=["renamed players", "dummy players"]))
    passes          renamed players
    passes          dummy players

    See also `Report` and `check_model`.
    """
    if order not in (1, 2):
        raise ValueError(f"Expected order 1, of single parts, or 2, of pairs of parts, got {order}.")
    names, exempt = list(CHECKS) if checks is None else list(checks), exempt or {}
    unknown = [name for name in (*names, *exempt) if name not in CHECKS]
    if unknown:
        raise ValueError(f"Expected names of checks, got {unknown[0]!r}. The names are: {', '.join(CHECKS)}.")
    trial = Trial(make, order, players, chunk, arguments or {}, TOLERANCE if tolerance is None else tolerance, thorough)
    report = Report(tuple(_run_check(name, trial, exempt) for name in names))
    if report.failures and raise_failures:
        raise CheckFailed("\n".join(f"{failure.check}: {failure.message}" for failure in report.failures))
    return report


def _run_check(name: str, trial: Trial, exempt: Mapping[str, str]) -> Outcome:
    if name in exempt:
        return Outcome(name, EXEMPT, exempt[name])
    try:
        CHECKS[name](trial)
    except DoesNotApply as reason:
        return Outcome(name, EXEMPT, str(reason))
    except CheckFailed as failure:
        return Outcome(name, FAILS, str(failure))
    except Exception as error:  # any error of the method is a failure, too
        return Outcome(name, FAILS, f"{type(error).__name__}: {error}")
    return Outcome(name, PASSES)
