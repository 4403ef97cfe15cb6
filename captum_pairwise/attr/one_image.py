"""What the first-order attribution classes share: each image is explained on its own, the other one being whole (paper eq. 2)."""

import abc

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise._compat import TargetType, log_usage
from captum_pairwise.attr.base import Baselines, GameMethod, LayerMethod, Masks
from captum_pairwise.interactions import Interactions
from captum_pairwise.pairs import input_pairs, layer_pairs
from captum_pairwise.players import Players, paint

CreditsOfBoth = tuple[Interactions, Interactions]
Maps = tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch ..."]]
MapsAndDelta = tuple[Maps, Float[Tensor, "batch 2"]]


class InputFirstOrder(GameMethod, abc.ABC):
    """A first-order method whose players are parts of the images; `cls(forward_func)`."""

    @torch.no_grad()
    def credits(
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
    ) -> CreditsOfBoth:
        """One credit per player (`marginal`) of the query, and of the retrieved image, with the gap and, if known, standard errors.

        Arguments as for `attribute`.
        """
        request = self._request(
            target, additional_forward_args, perturbations_per_eval, show_progress, baselines=baselines, feature_mask=feature_mask
        )
        pairs = input_pairs(self.forward_func, inputs, request)
        return pairs.explain_images(lambda game: self._estimate(game, n_samples, generator))

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
    ) -> Maps | MapsAndDelta:
        """The credit of the parts of each image while the other image is whole, one tensor per image, shaped like it.

        As in Captum every scalar carries the whole credit of its player; `credits` has one number per player.

        Args:
            inputs: `(query, retrieved)`, two batches of as many examples.
            baselines: what an absent part shows, a pair as for the pairwise classes; None is the 25×25 box blur of each image.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: likewise; a tensor has an entry per pair.
            feature_mask: a pair of integer masks as for the pairwise classes; None gives images superpixels, and makes every scalar
                of other inputs a player. What never leaves (-1) has credit 0.
            n_samples: the budget: coalitions evaluated of each image. One that covers them all is exact. None is the default that
                the class names.
            perturbations_per_eval: the most coalitions in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta [B, 2]`: for each image, the credit of its players less what the image adds
                to the similarity over its baseline.
            show_progress: show a progress bar.
            generator: the source of randomness; one seeded with 0 if None. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        credits = self.credits(
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
        query, retrieved = (_painted(*of_image) for of_image in zip(credits, inputs, strict=True))
        return ((query, retrieved), _delta(credits)) if return_convergence_delta else (query, retrieved)


class LayerFirstOrder(LayerMethod, GameMethod, abc.ABC):
    """A first-order method whose players are cells of a layer's output; `cls(forward_func, layer)`."""

    @torch.no_grad()
    def credits(
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
    ) -> CreditsOfBoth:
        """One credit per player (`marginal`) of the query, and of the retrieved image, with the gap and, if known, standard errors.

        Arguments as for `attribute`.
        """
        by_image = {"baselines": baselines, "layer_baselines": layer_baselines, "layer_mask": layer_mask}
        request = self._request(target, additional_forward_args, perturbations_per_eval, show_progress, **by_image)
        pairs = layer_pairs(self.forward_func, self.layer, inputs, request)
        return pairs.explain_images(lambda game: self._estimate(game, n_samples, generator))

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
    ) -> Maps | MapsAndDelta:
        """The credit of the cells of each layer output while the other image is whole, one map per image, `[B, 1, H, W]`.

        Args:
            inputs: `(query, retrieved)`, two batches of as many examples.
            baselines: what an absent part shows, a pair as for the pairwise classes; the layer's output for them is taken. None is the
                25×25 box blur of each image.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: likewise; a tensor has an entry per pair.
            n_samples: the budget: coalitions evaluated of each image. One that covers them all is exact. None is the default that
                the class names.
            perturbations_per_eval: the most coalitions in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta [B, 2]`: for each image, the sum of its map less what the image adds to the
                similarity over its baseline.
            show_progress: show a progress bar.
            layer_baselines: like `baselines`, in the space of the layer's output; takes their place.
            layer_mask: a pair of integer masks over the layer's output; the result is then `[B, 1, n]`. None makes every cell a player.
            generator: the source of randomness; one seeded with 0 if None. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        credits = self.credits(
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
        query, retrieved = (_map(of_image) for of_image in credits)
        return ((query, retrieved), _delta(credits)) if return_convergence_delta else (query, retrieved)


def _players(credits: Interactions) -> Players:
    return next(players for players in (credits.query_players, credits.retrieved_players) if players is not None)


def _painted(credits: Interactions, images: Tensor) -> Float[Tensor, "batch ..."]:
    """Every scalar of the images with the credit of its player."""
    return paint(credits["marginal"], _players(credits).ids).expand_as(images).contiguous()


def _map(credits: Interactions) -> Float[Tensor, "batch 1 ..."]:
    """The credits laid out as their players are."""
    return credits["marginal"].reshape(-1, 1, *_players(credits).shape)


def _delta(credits: CreditsOfBoth) -> Float[Tensor, "batch 2"]:
    return torch.stack([-of_image.completeness_gap for of_image in credits], 1)
