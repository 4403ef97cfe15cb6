"""The arguments that the attribution classes share, explained once, and how a class goes from them to its result."""

import abc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

import torch
from captum.attr import LayerAttribution, PerturbationAttribution
from jaxtyping import Float
from torch import Tensor

from captum_pairwise._compat import TargetType, log_usage
from captum_pairwise.games.black_box import ForwardFunc
from captum_pairwise.games.build import input_pairs, layer_pairs
from captum_pairwise.games.checks import unpack_pair
from captum_pairwise.games.sides import Pairs, Request
from captum_pairwise.network.layers import Layers, check_layers
from captum_pairwise.players.baselines import Baseline
from captum_pairwise.players.regions import Layout, Players, default_players

Baselines = tuple[Baseline, Baseline] | None
Masks = tuple[Tensor | Layout | None, Tensor | Layout | None] | None  # functions for layers alone
Found = TypeVar("Found")
View = TypeVar("View")


def requested(
    method: object,
    target: TargetType,
    additional_forward_args: object,
    perturbations_per_eval: int | None,
    show_progress: bool,
    **by_image: object,
) -> Request:
    """What these arguments of `attribute` ask for; those with an entry per image by their names."""
    pairs: dict[str, Any] = {name: unpack_pair(value, name) for name, value in by_image.items()}
    return Request(
        target=target,
        additional_forward_args=additional_forward_args,
        chunk=perturbations_per_eval,
        description=type(method).__name__ if show_progress else None,
        **pairs,
    )


class InputMethod(PerturbationAttribution, abc.ABC):
    """A method that takes two images; `cls(forward_func)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
    """

    def __init__(self, forward_func: ForwardFunc) -> None:
        PerturbationAttribution.__init__(self, forward_func)

    def has_convergence_delta(self) -> bool:
        """Whether `attribute` can return a convergence delta: yes."""
        return True


def name_layers(method: LayerAttribution, forward_func: ForwardFunc, layer: Layers, device_ids: list[int] | None) -> None:
    """Make a method one of Captum's of this layer, or of two."""
    layers = check_layers(layer)
    if len(layers) == 2:
        LayerAttribution.__init__(method, forward_func, layers, device_ids)
    else:
        LayerAttribution.__init__(method, forward_func, layers[0], device_ids)


class LayerMethod(LayerAttribution, InputMethod, abc.ABC):
    """A method that looks at two images inside the network; `cls(forward_func, layer)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image. After it only the tail of the network is run.
        device_ids: as in Captum.
    """

    def __init__(self, forward_func: ForwardFunc, layer: Layers, device_ids: list[int] | None = None) -> None:
        name_layers(self, forward_func, layer, device_ids)


class Explanation(InputMethod, Generic[Found, View], abc.ABC):
    """A method that finds something for each pair of images, of which `attribute` returns a view."""

    @abc.abstractmethod
    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Found:
        """Find it for a batch of pairs."""

    @abc.abstractmethod
    def _view(self, found: Found, inputs: tuple[Tensor, Tensor]) -> View:
        """What `attribute` returns."""

    @abc.abstractmethod
    def _delta(self, found: Found) -> Float[Tensor, "batch ..."]:
        """All credit, less what it is to sum to."""


class InputExplanation(Explanation[Found, View], abc.ABC):
    """A method whose players are parts of the images; `cls(forward_func)`."""

    _baseline: Baseline = None  # where the user gives none
    _players: Callable[[Tensor], Players] = staticmethod(default_players)  # likewise a mask

    @torch.no_grad()
    def interactions(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Masks = None,
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        generator: torch.Generator | None = None,
    ) -> Found:
        """All that was found, batched, with standard errors where they are known, and the gap; arguments as for `attribute`.

        `Interactions` of the pair, or of a first-order class two: of the query's players, and of the retrieved image's.
        """
        by_image = {"baselines": baselines, "feature_mask": feature_mask}
        request = requested(self, target, additional_forward_args, perturbations_per_eval, show_progress, **by_image)
        pairs = input_pairs(self.forward_func, inputs, replace(request.by_default(self._baseline), players=self._players))
        return self._explain(pairs, n_samples, generator)

    @log_usage()
    @torch.no_grad()
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Masks = None,
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        return_convergence_delta: bool = False,
        show_progress: bool = False,
        *,
        generator: torch.Generator | None = None,
    ) -> View | tuple[View, Float[Tensor, "batch ..."]]:
        """The credits that the class names: of every pair of parts, or (first order) of the parts of each image.

        Pairs come as `[B, *query_players, *retrieved_players]`. First order is a tensor for each image, shaped like it; as in Captum every
        scalar carries the whole credit of its player.

        Args:
            inputs: `(query, retrieved)`, two batches of as many examples.
            baselines: what an absent part shows: a pair, one per image, each None, a number, a tensor like the images (or one example),
                `Backgrounds`, or a function of the images and their mask. None is the 25×25 box blur of each image, and 0 for what is not
                an image `[B, C, H, W]`, where the class names no other.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: likewise; a tensor has an entry per pair.
            feature_mask: a pair of integer masks broadcastable to the images, ids counted per image from 0, -1 for what never leaves; an id
                that an image does not use has credit 0. None gives images superpixels, or the players that the class names, and makes
                every scalar of other inputs a player.
            n_samples: the budget: coalitions evaluated (first order: of each image); for the factorised estimator embeddings per tower. One
                that covers them all is exact. None is the default that the class names.
            perturbations_per_eval: the most coalitions in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta`: all credit, that of single players and of pairs within an image included, less
                `v(N) - v(∅)`, `[B]`; of first order `[B, 2]`, for each image less what it adds to the similarity over its baseline.
            show_progress: show a progress bar.
            generator: the source of randomness; one seeded with 0 if None. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        found = self.interactions(
            inputs,
            baselines,
            target,
            additional_forward_args,
            feature_mask,
            n_samples,
            perturbations_per_eval,
            show_progress,
            generator=generator,
        )
        view = self._view(found, inputs)
        return (view, self._delta(found)) if return_convergence_delta else view


class LayerExplanation(LayerMethod, Explanation[Found, View], abc.ABC):
    """A method whose players are cells of a layer's output; `cls(forward_func, layer)`."""

    @torch.no_grad()
    def interactions(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
        generator: torch.Generator | None = None,
    ) -> Found:
        """All that was found, as `interactions` of the methods without a layer; arguments as for `attribute`."""
        by_image = {"baselines": baselines, "layer_baselines": layer_baselines, "layer_mask": layer_mask}
        request = requested(self, target, additional_forward_args, perturbations_per_eval, show_progress, **by_image)
        return self._explain(layer_pairs(self.forward_func, self.layer, inputs, request), n_samples, generator)

    @log_usage()
    @torch.no_grad()
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        return_convergence_delta: bool = False,
        show_progress: bool = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
        generator: torch.Generator | None = None,
    ) -> View | tuple[View, Float[Tensor, "batch ..."]]:
        """The credits that the class names: of every pair of cells, or (first order) of the cells of each image.

        Pairs of two maps come as `[B, H, W, H', W']`. First order is a map for each image, `[B, 1, H, W]`, or `[B, 1, n]` with a mask.

        Args:
            inputs: `(query, retrieved)`, two batches of as many examples; token ids `[B, T]` too.
            baselines: what an absent part shows: a pair, one per image, each None, a number, a tensor like the images (or one example),
                `Backgrounds`, or a function of the images and None. None is the 25×25 box blur of each image, and 0 for what is no image
                `[B, C, H, W]`; token ids need one of ids. The layer's output for them is taken.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: likewise; a tensor has an entry per pair.
            n_samples: the budget, as for the method without a layer; None is the default that the class names.
            perturbations_per_eval: the most coalitions in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta`, `[B]` or of first order `[B, 2]`, as for the method without a layer.
            show_progress: show a progress bar.
            layer_baselines: like `baselines`, in the space of the layer's output; takes their place.
            layer_mask: a pair, each an integer mask broadcastable to the layer's output, or a function that lays its tokens out as a map:
                it gets their positions `[1, T, 1]` and returns those that play as `[1, 1, H, W]` (`cp.token_grid`, or what is known as
                a `reshape_transform`); the others never leave. None makes every cell a player: the positions of `[B, C, H, W]`, the tokens
                of `[B, T, C]`, the units of `[B, C]`.
            generator: the source of randomness; one seeded with 0 if None. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        found = self.interactions(
            inputs,
            baselines,
            target,
            additional_forward_args,
            n_samples,
            perturbations_per_eval,
            show_progress,
            layer_baselines=layer_baselines,
            layer_mask=layer_mask,
            generator=generator,
        )
        view = self._view(found, inputs)
        return (view, self._delta(found)) if return_convergence_delta else view
