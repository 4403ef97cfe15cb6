"""One battery of checks that every attribution method is to pass."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from captum_pairwise.testing.axioms import CHECKS as AXIOMS
from captum_pairwise.testing.behaviour import CHECKS as BEHAVIOUR
from captum_pairwise.testing.model_states import CHECKS as MODELS
from captum_pairwise.testing.state import CHECKS as STATE
from captum_pairwise.testing.trial import TOLERANCE, CheckFailed, DoesNotApply, Make, Trial

Check = Callable[[Trial], None]
CHECKS: Mapping[str, Check] = {check.__name__.replace("_", " "): check for check in (*AXIOMS, *BEHAVIOUR, *MODELS, *STATE)}
PASSES, FAILS, EXEMPT = "passes", "fails", "does not apply"


@dataclass(frozen=True)
class Outcome:
    """What one check found.

    Attributes:
        check: its name, a key of `CHECKS`.
        status: `"passes"`, `"fails"` or `"does not apply"`.
        message: what went wrong, or why it does not apply.
    """

    check: str
    status: str
    message: str = ""


@dataclass(frozen=True)
class Report:
    """What the battery found of one method.

    Attributes:
        outcomes: one for every check, in order.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The outcomes of the checks that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == FAILS)

    def __str__(self) -> str:
        return "\n".join(f"{one.status:14}  {one.check}{': ' if one.message else ''}{one.message}" for one in self.outcomes)


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
    """Run the battery on one attribution method, and return what each check found.

    Args:
        make: builds the method for a `SimilarityWrapper`, whose `query_encoder.layer` is the layer to explain where it wants one.
        order: 1 if `attribute` returns a map for each of the two images, 2 if it returns pairs of their parts.
        players: the name of the argument that takes the pair of masks: `"feature_mask"`, `"layer_mask"`, or None for a method without.
        chunk: the name of the argument that bounds a forward pass, such as `"internal_batch_size"`; None for a method without.
        arguments: what else `attribute` is to be called with; a budget that covers all 1024 coalitions of 4 + 6 players.
        exempt: by the name of a check why the method does not promise it; the reason stands in the report.
        tolerance: by how much equal results may differ, relative to the largest credit, in float64; None is 1e-9.
        checks: names of checks to run; None runs all of `CHECKS`.
        thorough: let every forward pass fail in turn, not a dozen of them, and the like: for a nightly run.
        raise_failures: raise if a check fails.

    Raises:
        CheckFailed: a check failed; the message names every one, and how.
        ValueError: the order is neither 1 nor 2, or there is no check of a name.
    """
    if order not in (1, 2):
        raise ValueError(f"Expected order 1, of single parts, or 2, of pairs of parts, got {order}.")
    wanted, exempt = list(CHECKS) if checks is None else list(checks), exempt or {}
    unknown = [name for name in (*wanted, *exempt) if name not in CHECKS]
    if unknown:
        raise ValueError(f"Expected names of checks, got {unknown[0]!r}. There are: {', '.join(CHECKS)}.")
    trial = Trial(make, order, players, chunk, arguments or {}, TOLERANCE if tolerance is None else tolerance, thorough)
    report = Report(tuple(_run(name, trial, exempt) for name in wanted))
    if report.failures and raise_failures:
        raise CheckFailed("\n".join(f"{failure.check}: {failure.message}" for failure in report.failures))
    return report


def _run(name: str, trial: Trial, exempt: Mapping[str, str]) -> Outcome:
    if name in exempt:
        return Outcome(name, EXEMPT, exempt[name])
    try:
        CHECKS[name](trial)
    except DoesNotApply as reason:
        return Outcome(name, EXEMPT, str(reason))
    except CheckFailed as failure:
        return Outcome(name, FAILS, str(failure))
    except Exception as error:  # the method's own, whatever it is: a failure, too
        return Outcome(name, FAILS, f"{type(error).__name__}: {error}")
    return Outcome(name, PASSES)
