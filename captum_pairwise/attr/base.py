"""The arguments that the attribution classes share, and the view of `Interactions` that `attribute` of the pairwise ones returns."""

import abc

import torch
from captum.attr import LayerAttribution, PerturbationAttribution
from jaxtyping import Float
from torch import Tensor

from captum_pairwise._compat import TargetType, log_usage
from captum_pairwise.baselines import Baseline
from captum_pairwise.game import Game
from captum_pairwise.interactions import Interactions
from captum_pairwise.joint_games import ForwardFunc
from captum_pairwise.layers import Layers, layers_of
from captum_pairwise.masking import Request
from captum_pairwise.pairs import input_pairs, layer_pairs

Baselines = tuple[Baseline, Baseline] | None
Masks = tuple[Tensor | None, Tensor | None] | None
Attribution = Float[Tensor, "batch ..."]
AttributionAndDelta = tuple[Attribution, Float[Tensor, " batch"]]


def both(value: object, name: str) -> tuple:
    """A pair, one entry per image, from an argument that may be None for both.

    Raises:
        ValueError: it is neither.
    """
    if value is None:
        return (None, None)
    if not isinstance(value, tuple) or len(value) != 2:
        raise ValueError(f"Expected {name} to be a pair (for the query, for the retrieved image), got {type(value).__name__}.")
    return value


def attribution(interactions: Interactions, with_delta: bool) -> Attribution | AttributionAndDelta:
    """The pairs between the images laid out as their players are, `[B, *query_players, *retrieved_players]`."""
    between, query, retrieved = interactions["between"], interactions.query_players, interactions.retrieved_players
    if query is not None and retrieved is not None:
        between = between.reshape(len(between), *query.shape, *retrieved.shape)
    return (between.contiguous(), -interactions.completeness_gap) if with_delta else between.contiguous()


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

    def _request(
        self,
        target: TargetType,
        additional_forward_args: object,
        perturbations_per_eval: int | None,
        show_progress: bool,
        **by_image: Baselines | Masks,
    ) -> Request:
        """What these arguments of `attribute` ask for; those with an entry per image by their names."""
        return Request(
            target=target,
            additional_forward_args=additional_forward_args,
            chunk=perturbations_per_eval,
            description=type(self).__name__ if show_progress else None,
            **{name: both(value, name) for name, value in by_image.items()},
        )


class LayerMethod(LayerAttribution, InputMethod, abc.ABC):
    """A method that looks at two images inside the network; `cls(forward_func, layer)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image. After it only the tail of the network is run.
        device_ids: as in Captum.
    """

    def __init__(self, forward_func: ForwardFunc, layer: Layers, device_ids: list[int] | None = None) -> None:
        layers = layers_of(layer)
        if len(layers) == 2:
            LayerAttribution.__init__(self, forward_func, layers, device_ids)
        else:
            LayerAttribution.__init__(self, forward_func, layers[0], device_ids)


class GameMethod(InputMethod, abc.ABC):
    """A method that estimates credits of a game."""

    @abc.abstractmethod
    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        """Estimate one game."""


class InputInteractions(InputMethod, abc.ABC):
    """A method that credits parts of the images and pairs of them; `cls(forward_func)`."""

    @abc.abstractmethod
    def _explain(self, inputs: object, request: Request, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        """Estimate a batch of pairs."""

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
    ) -> Interactions:
        """Credits of single players and of pairs, batched, with standard errors and the gap; arguments as for `attribute`."""
        request = self._request(
            target, additional_forward_args, perturbations_per_eval, show_progress, baselines=baselines, feature_mask=feature_mask
        )
        return self._explain(inputs, request, n_samples, generator)

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
    ) -> Attribution | AttributionAndDelta:
        """The credit of every pair between the images, `[B, *query_players, *retrieved_players]`.

        Args:
            inputs: `(query, retrieved)`, two batches of as many examples.
            baselines: what an absent part shows: a pair, one per image, each None, a number, a tensor like the images (or one example),
                `Backgrounds`, or a function of the images and the mask of their players, as `mean_colour`. None is, unless the class says
                otherwise, the 25×25 box blur of each image, and 0 for what is not an image `[B, C, H, W]`.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: likewise; a tensor has an entry per pair.
            feature_mask: a pair of integer masks broadcastable to the images, ids counted per image from 0, -1 for what never leaves; an id
                that an image does not use has credit 0. None gives images superpixels, and makes every scalar of other inputs a player.
            n_samples: the budget: coalitions evaluated; of a two-tower model, embeddings per tower. One that covers them all is exact. None
                is the default that the class names.
            perturbations_per_eval: the most coalitions in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta [B]`: all credit, that of single players and of pairs within an image
                included, less `v(N) - v(∅)`.
            show_progress: show a progress bar.
            generator: the source of randomness; one seeded with 0 if None. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        interactions = self.interactions(
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
        return attribution(interactions, return_convergence_delta)


class InputPairwise(InputInteractions, GameMethod, abc.ABC):
    """A method that estimates pairwise credits of the game of each pair, whose players are parts of the images; `cls(forward_func)`."""

    def _explain(self, inputs: object, request: Request, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        pairs = input_pairs(self.forward_func, inputs, request)
        return pairs.explain(lambda game: self._estimate(game, n_samples, generator))


class LayerPairwise(LayerMethod, GameMethod, abc.ABC):
    """A pairwise method whose players are cells of a layer's output; `cls(forward_func, layer)`."""

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
    ) -> Interactions:
        """Credits of single players and of pairs, batched, with standard errors and the gap; arguments as for `attribute`."""
        by_image = {"baselines": baselines, "layer_baselines": layer_baselines, "layer_mask": layer_mask}
        request = self._request(target, additional_forward_args, perturbations_per_eval, show_progress, **by_image)
        pairs = layer_pairs(self.forward_func, self.layer, inputs, request)
        return pairs.explain(lambda game: self._estimate(game, n_samples, generator))

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
    ) -> Attribution | AttributionAndDelta:
        """The credit of every pair of cells of the two layer outputs; maps give `[B, H, W, H', W']`.

        Args:
            inputs: `(query, retrieved)`, two batches of as many examples.
            baselines: what an absent part shows: a pair, one per image, each None, a number, a tensor like the images (or one example), or
                `Backgrounds`. None is the 25×25 box blur of each image, and 0 for what is not an image `[B, C, H, W]`. The layer's
                output for them is taken.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: likewise; a tensor has an entry per pair.
            n_samples: the budget: coalitions evaluated; of a two-tower model, embeddings per tower. One that covers them all is exact. None
                is the default that the class names.
            perturbations_per_eval: the most coalitions in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta [B]`: all credit, that of single players and of pairs within an image
                included, less `v(N) - v(∅)`.
            show_progress: show a progress bar.
            layer_baselines: like `baselines`, in the space of the layer's output; takes their place.
            layer_mask: a pair of integer masks broadcastable to the layer's output. None makes every cell a player: the positions of
                `[B, C, H, W]`, the tokens of `[B, T, C]`, the units of `[B, C]`.
            generator: the source of randomness; one seeded with 0 if None. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        interactions = self.interactions(
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
        return attribution(interactions, return_convergence_delta)
