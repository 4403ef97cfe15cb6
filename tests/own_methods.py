"""The battery for every public attribution class of this package."""

import inspect
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, final

import torch
from captum.attr import Attribution, LayerAttribution
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.testing.battery import Report, check_method

WINDOWS = {"sliding_window_shapes": 4, "strides": 4}  # the pixels of a cell of the tiny model's layer
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "LayerVESM": {"relu_attributions": False},
    "PairwiseSBSM": WINDOWS,
    "SBSM": WINDOWS,
    "SuperpixelLime": {"n_samples": 100},
}
TOLERANCES = {"PairwiseLime": 1e-4, "SuperpixelLime": 1e-4}  # a Lasso solved up to a tolerance; a fit in float32
BY_ID = "it draws coalitions by the ids of their players, and never all of them"
EXEMPT: Mapping[str, Mapping[str, str]] = {
    "LayerVESM": {
        "dummy players": "it shows the layer's activations, not Shapley values",
        "linear credit": "its weights are not linear in the embeddings",
    },
    "PairwiseLime": {"linear credit": "a Lasso is not linear"},
    "PairwiseSBSM": {
        "swapped images": "it shares out the weight of each query part, but not of each retrieved part",
        "dummy players": "it shares out every weight, even a tiny one",
        "linear credit": "shares are not linear, and rises of the similarity are cut off below 0",
    },
    "SBSM": {"linear credit": "falls of the similarity are cut off below 0"},
    "SuperpixelLime": {"renamed players": BY_ID, "dummy players": f"{BY_ID}, so a dummy's coefficient has a sampling error"},
}
CHUNKS = ("perturbations_per_eval", "internal_batch_size")
MASKS = ("feature_mask", "layer_mask")


def list_own_classes() -> list[type[Attribution]]:
    """Every public attribution class, sorted by name."""
    public = (getattr(cp, name) for name in sorted(cp.__all__))
    return [item for item in public if isinstance(item, type) and issubclass(item, Attribution)]


def check_own_class(cls: type[Attribution], checks: Iterable[str] | None = None, thorough: bool = False) -> Report:
    """The battery's report on a public class, without raising."""
    parameters = inspect.signature(cls.attribute).parameters
    return check_method(
        partial(make_own_method, cls),
        order=getattr(cls, "order", 1),
        players=next((name for name in MASKS if name in parameters), None),
        chunk=next((name for name in CHUNKS if name in parameters), None),
        arguments=ARGUMENTS.get(cls.__name__),
        exempt=EXEMPT.get(cls.__name__),
        tolerance=TOLERANCES.get(cls.__name__),
        checks=checks,
        thorough=thorough,
        raise_failures=False,
    )


def make_own_method(cls: type[Attribution], model: cp.SimilarityWrapper) -> Attribution:
    """The method of a public class for a model whose `query_encoder.layer` is explained."""
    layers: list[Any] = [model.query_encoder.layer] if issubclass(cls, LayerAttribution) else []
    return (LayerIGCAMForPairs if cls is cp.LayerIGCAM else cls)(model, *layers)


@final
class LayerIGCAMForPairs(LayerAttribution):
    """`LayerIGCAM`, which explains networks of one image, for each image of a pair while the other image is fixed."""

    def attribute(self, inputs: tuple[Tensor, Tensor], *, return_convergence_delta: bool = False, **arguments: Any) -> Any:
        """A map of each image."""
        maps, deltas = ([], []), ([], [])
        layer_mask, baselines = arguments.pop("layer_mask"), arguments.pop("baselines", None)
        for number in range(len(inputs[0])):
            pair = query, retrieved = tuple(batch[number : number + 1] for batch in inputs)
            networks = self.forward_func.given_retrieved(retrieved), self.forward_func.given_query(query)
            for side, network in enumerate(networks):
                baseline = None if baselines is None else baselines[side][number : number + 1]
                options = {"layer_mask": layer_mask[side], "return_convergence_delta": True, **arguments}
                credit, delta = cp.LayerIGCAM(network, self.layer).attribute(pair[side], baseline, **options)
                maps[side].append(credit)
                deltas[side].append(delta)
        credits = tuple(map(torch.cat, maps))
        return (credits, torch.stack(list(map(torch.cat, deltas)), 1)) if return_convergence_delta else credits

    def has_convergence_delta(self) -> bool:
        """Always true."""
        return True
