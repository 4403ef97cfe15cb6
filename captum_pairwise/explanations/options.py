"""The choices of the user of `explain`."""

from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Any

from torch import Tensor

from captum_pairwise.explanations.removal import NamedBaselines, Removal
from captum_pairwise.games.context import Masks


@dataclass(frozen=True)
class Options:
    """The choices of the user; None leaves a choice to the model.

    Attributes:
        layer: the layer, its name, or a pair of these.
        method: the name of a method, or a class.
        n_samples: the budget.
        baselines: a pair, one for each image.
        background: the images of a gallery, inputs of the network for each side.
        feature_mask: a pair of masks over the inputs.
        threshold: the similarity from which on a pair is accepted.
        removal: the parts that are removed inside the network, if they are; the model and the inputs are then of presences.
        seed: of random numbers.
        show_progress: True for a progress bar.
    """

    layer: Any = None
    method: Any = None
    n_samples: int | None = None
    baselines: NamedBaselines = None
    background: tuple[Tensor | None, Tensor | None] = (None, None)
    feature_mask: Masks = None
    threshold: float | None = None
    removal: Removal | None = None
    seed: int = 0
    show_progress: bool = False


def check_options(options: Options) -> None:
    """Refuse options that contradict each other or have another type.

    Raises:
        ValueError: there is one.
    """
    if options.layer is not None and options.feature_mask is not None:
        raise ValueError(
            "Expected either layer= or feature_mask=, got both. The parts are places of a layer, or of the inputs: leave one out."
        )
    if options.removal is not None and (options.layer is not None or options.feature_mask is not None):
        raise ValueError(
            "Expected neither layer= nor feature_mask=, because the parts are words, patches or tokens of the network, got one. Leave it "
            "out, or pass other baselines or another method."
        )
    if isinstance(options.layer, (tuple, list)) and len(options.layer) != 2:
        raise ValueError(f"Expected one layer, or a pair (query layer, retrieved layer), got {len(options.layer)}. Pass one or two.")
    if options.threshold is not None and (not isinstance(options.threshold, Real) or not isfinite(options.threshold)):
        raise ValueError(f"Expected threshold to be a number, got {options.threshold!r}. Pass the similarity from which on you accept.")
    if not isinstance(options.seed, int):
        raise ValueError(f"Expected seed to be a whole number, got {options.seed!r}. Pass an int.")
