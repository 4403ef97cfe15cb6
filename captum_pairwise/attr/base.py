"""The base classes of the attribution methods; they document the shared arguments once."""

import abc
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Generic, Literal, overload

import torch
from captum.attr import LayerAttribution, PerturbationAttribution
from torch import Tensor

from captum_pairwise._compat import TargetType
from captum_pairwise.attr.logged import log_overloaded
from captum_pairwise.attr.randomness import average_draws, make_context
from captum_pairwise.attr.views import Delta, Maps, Matrix, Result, View, arrange_maps, arrange_pairs, compute_delta, paint_images
from captum_pairwise.files.arguments import check_count
from captum_pairwise.games.build import build_input_pairs, build_layer_pairs
from captum_pairwise.games.context import Baselines, ForwardFunc, Masks
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.layers import Layers, check_layers
from captum_pairwise.players.baselines import Baseline
from captum_pairwise.players.layouts import LayoutNames, parse_layouts
from captum_pairwise.players.regions import Players, cells
from captum_pairwise.players.volumes import default_players
from captum_pairwise.results.interactions import Interactions

DeviceIds = list[int] | None


class CompleteMethod:
    """A method whose credits have an expected sum."""

    def has_convergence_delta(self) -> bool:
        """True: `attribute` can return a convergence delta."""
        return True


class PairMethod(CompleteMethod, abc.ABC, Generic[Result]):
    """A method that estimates the games of a batch of pairs of images.

    Attributes:
        order: 1 if single parts get credit, 2 if pairs of parts do.
    """

    order: ClassVar[int]
    forward_func: ForwardFunc
    _default_samples: ClassVar[int]

    @abc.abstractmethod
    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Result:
        """Estimate the games of a batch of pairs."""

    def _explain_draws(self, build: Callable[[], Pairs], n_samples: int | None, generator: torch.Generator | None) -> Result:
        """Build and estimate the games, several times if the encoder draws at random."""
        return average_draws(self.forward_func, lambda: self._explain(build(), n_samples, generator))

    def _budget(self, n_samples: int | None, least: int = 0) -> int:
        """The budget of the user, or the default of the class, or twice the least budget of so many players if that is more.

        Raises:
            ValueError: the budget is no whole number.
        """
        return max(self._default_samples, 2 * least) if n_samples is None else check_count(n_samples, "n_samples")


class InputMethod(PairMethod[Result], PerturbationAttribution, Generic[Result, View]):
    """A method whose players are parts of the images; `cls(forward_func)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
    """

    _default_baseline: Baseline = None
    _players: Callable[[Tensor], Players] = staticmethod(default_players)  # divides images without a mask

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
    ) -> Result:
        """All results, batched, with standard errors where they are known, and the gap; arguments as for `attribute`.

        `Interactions` of the pair; a first-order class returns two: of the query's players, and of the retrieved image's.
        """
        description = type(self).__name__ if show_progress else None
        context = make_context(self.forward_func, target, additional_forward_args, perturbations_per_eval, description)
        defaults = {"default_baseline": self._default_baseline, "players": self._players}
        build = partial(build_input_pairs, self.forward_func, inputs, context, baselines, feature_mask, **defaults)
        return self._explain_draws(build, n_samples, generator)

    @overload
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Masks = None,
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        return_convergence_delta: Literal[False] = False,
        show_progress: bool = False,
        *,
        generator: torch.Generator | None = None,
    ) -> View: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: Literal[True], **options: Any
    ) -> tuple[View, Delta]: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: bool, **options: Any
    ) -> View | tuple[View, Delta]: ...
    @log_overloaded
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
    ) -> Matrix | Maps | tuple[Matrix | Maps, Delta]:
        """The credits of the class, in units of the similarity: of every pair of parts, or (first order) of the parts of each image.

        Pairs have shape `[B, *query_players, *retrieved_players]`. First order is a tensor for each image, shaped like it; as in Captum
        every scalar carries the whole credit of its player.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length.
            baselines: the values of absent parts: a pair, one per image, each None, a number, a tensor like the images (or one example),
                `Backgrounds`, or a function of the images, or of the images and their mask. None is the 25×25 box blur of each image, and 0
                for inputs that are not images `[B, C, H, W]`, unless the class has another default.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: as in Captum, for such a function; a tensor has an entry per pair.
            feature_mask: a pair of integer masks broadcastable to the images, ids counted per image from 0, -1 for elements that never
                leave; an id that an image does not use has credit 0. None divides images into superpixels, or into the players that the
                class describes, and makes every scalar of other inputs a player.
            n_samples: the budget: coalitions evaluated (first order: for each image); for the factorised estimator embeddings per tower. A
                budget that covers them all is exact. None is the default of the class. Second-order methods that draw coalitions of both
                images spend about a fifth of it on the heat maps of `interactions`, unless the rest would be too little for the pairs.
            perturbations_per_eval: the most coalitions in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta`: the sum of all credits, including single players and pairs within an image,
                minus `v(N) - c`, `[B]`. The constant `c` of the index is `v(∅)` for indices that sum to the gain. For first order
                `[B, 2]`, each sum minus the gain of that image over its baseline.
            show_progress: show a progress bar.
            generator: the source of randomness; None is one seeded with 0. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        budget = (n_samples, perturbations_per_eval, show_progress)
        result = self.interactions(inputs, baselines, target, additional_forward_args, feature_mask, *budget, generator=generator)
        view = arrange_pairs(result) if isinstance(result, Interactions) else paint_images(result, inputs)
        return (view, compute_delta(result)) if return_convergence_delta else view


class LayerPairAttribution(LayerAttribution):
    """A method that explains two images at the output of a layer; `cls(forward_func, layer)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder; or a pair, one for each image. After it only the tail of the network is run.
        device_ids: as in Captum.
        layout: the axes of the layer's output: `"NCHW"`, `"NHWC"`, `"NTC"`, `"NCT"` or `"NCDHW"`, or a pair of these, one for each image.
            None finds out which axis holds the channels by the modules that made it, and asks if it cannot.
    """

    def __init__(self, forward_func: ForwardFunc, layer: Layers, device_ids: DeviceIds = None, *, layout: LayoutNames = None) -> None:
        layers = check_layers(layer)
        parse_layouts(layout)
        self.layout = layout
        if len(layers) == 2:
            LayerAttribution.__init__(self, forward_func, layers, device_ids)
        else:
            LayerAttribution.__init__(self, forward_func, layers[0], device_ids)


class LayerMethod(PairMethod[Result], LayerPairAttribution, PerturbationAttribution, Generic[Result, View]):
    """A method whose players are cells of a layer's output; `cls(forward_func, layer)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder; or a pair, one for each image. After it only the tail of the network is run.
        device_ids: as in Captum.
    """

    _divide: Callable[[Tensor, int], Players] = staticmethod(cells)  # makes the players of an output without a mask

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
    ) -> Result:
        """All results, as `interactions` of the methods without a layer; arguments as for `attribute`."""
        description = type(self).__name__ if show_progress else None
        context = make_context(self.forward_func, target, additional_forward_args, perturbations_per_eval, description)
        space = (baselines, layer_baselines, layer_mask, self.layout)
        build = partial(build_layer_pairs, self.forward_func, self.layer, inputs, context, *space, divide=self._divide)
        return self._explain_draws(build, n_samples, generator)

    @overload
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        return_convergence_delta: Literal[False] = False,
        show_progress: bool = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
        generator: torch.Generator | None = None,
    ) -> View: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: Literal[True], **options: Any
    ) -> tuple[View, Delta]: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: bool, **options: Any
    ) -> View | tuple[View, Delta]: ...
    @log_overloaded
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
    ) -> Matrix | Maps | tuple[Matrix | Maps, Delta]:
        """The credits of the class, in units of the similarity: of every pair of cells, or (first order) of the cells of each image.

        Pairs of two maps have shape `[B, H, W, H', W']`. First order is a map for each image, `[B, 1, H, W]`, or `[B, 1, n]` with a mask.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length; token ids `[B, T]` too.
            baselines: the values of absent parts: a pair, one per image, each None, a number, a tensor like the images (or one example),
                `Backgrounds`, or a function of the images. None is the 25×25 box blur of each image, and 0 for inputs that are
                not images `[B, C, H, W]`; token ids need a baseline of ids. The layer's output for them is used.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: as in Captum, for such a function; a tensor has an entry per pair.
            n_samples: the budget, as for the method without a layer; None is the default of the class.
            perturbations_per_eval: the most coalitions in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta`, `[B]` or for first order `[B, 2]`, as for the method without a layer.
            show_progress: show a progress bar.
            layer_baselines: like `baselines`, in the space of the layer's output; replaces them.
            layer_mask: a pair, each an integer mask broadcastable to the layer's output, or a function that lays its tokens out as a map:
                it gets their positions `[1, T, 1]` and returns those that play as `[1, 1, H, W]` (`cp.token_grid`, or a function known as
                `reshape_transform`); the others never leave. None makes every cell a player: the positions of a map, a volume or a
                sequence, or the units of `[B, C]`.
            generator: the source of randomness; None is one seeded with 0. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        budget = (n_samples, perturbations_per_eval, show_progress)
        space = {"layer_baselines": layer_baselines, "layer_mask": layer_mask}
        result = self.interactions(inputs, baselines, target, additional_forward_args, *budget, **space, generator=generator)
        view = arrange_pairs(result) if isinstance(result, Interactions) else arrange_maps(result)
        return (view, compute_delta(result)) if return_convergence_delta else view
