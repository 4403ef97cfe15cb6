"""The battery over every public attribution class of this package, found by their names in `captum_pairwise`."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, final

import torch
from captum.attr import Attribution, LayerAttribution
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.testing.battery import Report, check_method

WINDOWS = {"sliding_window_shapes": 4, "strides": 4}  # the cells of the battery's layer
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "LayerVESM": {"relu_attributions": False},
    "PairwiseSBSM": WINDOWS,
    "SBSM": WINDOWS,
    "SuperpixelLime": {"n_samples": 100},
}
TOLERANCES = {"PairwiseLime": 1e-4, "SuperpixelLime": 1e-4}  # a Lasso solved to a tolerance; a fit in float32
BY_NUMBER = "it draws coalitions by the numbers of their players, and never all of them"
EXEMPT: Mapping[str, Mapping[str, str]] = {
    "LayerVESM": {
        "dummy players": "it shows what the layer shows, and is no Shapley value",
        "linear credit": "its weights are not linear in the embeddings, of which it sees nothing else",
    },
    "PairwiseLime": {"linear credit": "a Lasso is not linear"},
    "PairwiseSBSM": {
        "swapped images": "it shares out the weight of each query part, and not of each retrieved one",
        "dummy players": "it shares out weight, however little there is",
        "linear credit": "shares are not linear, and rises of the similarity are cut off below 0",
    },
    "SBSM": {"linear credit": "falls of the similarity are cut off below 0"},
    "SuperpixelLime": {"renamed players": BY_NUMBER, "dummy players": f"{BY_NUMBER}: a dummy's coefficient is sampled, too"},
}
CHUNKS = ("perturbations_per_eval", "internal_batch_size")
MASKS = ("feature_mask", "layer_mask")


def own_classes() -> Iterator[type[Attribution]]:
    """Every public attribution class, by name."""
    public = (getattr(cp, name) for name in sorted(cp.__all__))
    return (one for one in public if isinstance(one, type) and issubclass(one, Attribution))


def check_own(cls: type[Attribution], checks: Iterable[str] | None = None, thorough: bool = False) -> Report:
    """What the battery finds of a class; nothing is raised."""
    made = OfEachImage if cls is cp.LayerIGCAM else cls
    taken = inspect.signature(cls.attribute).parameters
    return check_method(
        partial(_of_layer, made) if issubclass(cls, LayerAttribution) else made,
        order=getattr(cls, "order", 1),
        players=next((name for name in MASKS if name in taken), None),
        chunk=next((name for name in CHUNKS if name in taken), None),
        arguments=ARGUMENTS.get(cls.__name__),
        exempt=EXEMPT.get(cls.__name__),
        tolerance=TOLERANCES.get(cls.__name__),
        checks=checks,
        thorough=thorough,
        raise_failures=False,
    )


def _of_layer(made: Callable[..., Attribution], model: cp.SimilarityWrapper) -> Attribution:
    return made(model, model.query_encoder.layer)


@final
class OfEachImage(LayerAttribution):
    """`LayerIGCAM`, which explains networks of one image, of each image of a pair while the other is fixed."""

    def attribute(self, inputs: tuple[Tensor, Tensor], return_convergence_delta: bool = False, **arguments: Any) -> Any:
        """A map of each image."""
        pairs = zip(*(batch.split(1) for batch in inputs), strict=True)
        found = [self._of_pair(pair, number, arguments) for number, pair in enumerate(pairs)]
        maps = tuple(torch.cat([of_pair[side][0] for of_pair in found]) for side in range(2))
        deltas = torch.stack([torch.cat([delta for _, delta in of_pair]) for of_pair in found])
        return (maps, deltas) if return_convergence_delta else maps

    def _of_pair(self, pair: tuple[Tensor, Tensor], number: int, arguments: Mapping[str, Any]) -> list[tuple[Tensor, Tensor]]:
        sides = (self.forward_func.given_retrieved(pair[1]), self.forward_func.given_query(pair[0]))
        masks, baselines = arguments["layer_mask"], arguments.get("baselines", (None, None))
        rest = {name: value for name, value in arguments.items() if name not in ("layer_mask", "baselines")}
        found = []
        for network, image, baseline, mask in zip(sides, pair, baselines, masks, strict=True):
            start = None if baseline is None else baseline[number : number + 1]
            method = cp.LayerIGCAM(network, self.layer)
            found.append(method.attribute(image, start, layer_mask=mask, return_convergence_delta=True, **rest))
        return found

    def has_convergence_delta(self) -> bool:
        """Yes."""
        return True
