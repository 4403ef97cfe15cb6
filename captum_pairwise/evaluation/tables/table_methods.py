"""The columns of the tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from captum_pairwise.evaluation.tables import image_methods, layer_methods
from captum_pairwise.evaluation.tables.explanation import Found, View
from captum_pairwise.evaluation.tables.image_pair import Subject
from captum_pairwise.evaluation.tables.settings import Settings

AGNOSTIC, DEPENDENT, CONTROL = "model agnostic", "architecture dependent", "control"


@dataclass(frozen=True)
class Entrant:
    """A column.

    Attributes:
        title: its head.
        family: the best of each family is set in bold, as in the paper.
        explain: from a pair, the settings and a source of randomness, what the method says.
        needs: a package that is imported when it is used, and the extra that has it.
    """

    title: str
    family: str
    explain: Callable[[Subject, Settings, torch.Generator], Found]
    needs: tuple[str, str] | None = None


def _nothing(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """A map that knows nothing."""
    first, second = (View(torch.rand(1, *subject.query.shape[2:], generator=generator).to(subject.query)) for _ in range(2))
    return Found(first, second if subject.masks is not None else None)


ENTRANTS = {
    "sbsm": Entrant("SBSM", AGNOSTIC, image_methods.windows),
    "pshap": Entrant("PSHAP", AGNOSTIC, image_methods.pixels),
    "lime": Entrant("LIME", AGNOSTIC, image_methods.local_models, ("sklearn", "lime")),
    "kshap": Entrant("KSHAP", AGNOSTIC, image_methods.kernels),
    "factorised": Entrant("factorised", AGNOSTIC, image_methods.towers),
    "vesm": Entrant("VESM", DEPENDENT, layer_methods.similar_features),
    "gcam": Entrant("GCAM", DEPENDENT, layer_methods.mean_gradients),
    "sam": Entrant("SAM", DEPENDENT, layer_methods.activations),
    "igsam": Entrant("IG-SAM", DEPENDENT, layer_methods.gradients),
    "ksam": Entrant("KSAM", DEPENDENT, layer_methods.kernels),
    "layer_factorised": Entrant("factorised, layer", DEPENDENT, layer_methods.towers),
    "random": Entrant("random", CONTROL, _nothing),
}


def chosen(names: Sequence[str]) -> list[str]:
    """Which columns these names ask for, in the order of the table; prints what `all` leaves out.

    Raises:
        ValueError: a name is unknown, or needs a package that is not there.
    """
    missing = {name: one.needs for name, one in ENTRANTS.items() if one.needs is not None and find_spec(one.needs[0]) is None}
    for name in names:
        if name != "all" and name not in ENTRANTS:
            raise ValueError(f"Expected methods among {[*ENTRANTS, 'all']}, got {name!r}.")
        if name in missing:
            raise ValueError(f"Expected {missing[name][0]} for {name}: pip install 'captum-pairwise[{missing[name][1]}]'.")
    wanted = [name for name in ENTRANTS if name in names or "all" in names]
    for name, (package, extra) in missing.items():
        if name in wanted:
            print(f"Left out: {ENTRANTS[name].title}, which needs {package}: pip install 'captum-pairwise[{extra}]'.")
    return [name for name in wanted if name not in missing]
