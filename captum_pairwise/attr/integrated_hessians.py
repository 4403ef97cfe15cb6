"""Integrated Hessians of two images."""

from functools import partial
from typing import Any, Literal, final, overload

import torch
from torch import Tensor

from captum_pairwise._compat import TargetType
from captum_pairwise.attr.base import DeviceIds
from captum_pairwise.attr.gradient import GradientMethod, LayerGradientMethod
from captum_pairwise.attr.hessian_method import N_STEPS, TOLERANCE, HessianMethod
from captum_pairwise.attr.logged import log_overloaded
from captum_pairwise.attr.randomness import make_context
from captum_pairwise.attr.views import Delta, Matrix, arrange_pairs, compute_delta
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.games.build import build_input_pairs, build_layer_pairs
from captum_pairwise.games.context import Baselines, ForwardFunc, Masks
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.layouts import LayoutNames
from captum_pairwise.results.index import Probability
from captum_pairwise.results.interactions import Interactions


@final
class IntegratedHessians(HessianMethod):
    r"""The interaction of every part of one image with every part of the other, by second derivatives along a path (paper eq. 15).

    $$\Gamma_{ij} = \int_0^1 \int_0^1 \alpha \beta \, \frac{\partial^2 v}{\partial z_i \partial z_j}(\alpha \beta) \, d\alpha \, d\beta$$

    The path blends all parts together from the baselines to the images. The mixed derivative of two towers is a product of one Jacobian of
    each, so pairs between the images take `n_steps` Jacobians, by forward or reverse mode, and no Hessian; any other forward function takes
    Hessian–vector products. Without `within`, `marginal` holds the integrated gradients, and the completeness gap belongs to them: it says
    nothing about the pairs, which have no expected sum. The heat maps are integrated gradients of one image with the other whole, as of
    `LayerIGSAM`.

    All points have every part blended alike. A network that is not smooth there, as many trained transformers, has other pairs than its
    coalitions: `explain` measures this, and the factorised estimator has no such bias.

    A network of ReLUs is linear almost everywhere: pairs *within* an image, and the players' own credit, then miss the change at
    its kinks, and the whole index is far from complete. Pairs between the images do not need second derivatives of a tower. The
    option `softplus_beta` replaces every ReLU by a softplus: the explained network is then another function, with another similarity.

    Args:
        forward_func: a `SimilarityWrapper`, or any twice differentiable callable `f(query, retrieved) -> [B]`.
        weight: `"hessian"`, the paper's: each entry is $\Gamma_{ij} + \Gamma_{ji}$, which for pooled features and a dot product is half of
            the Shapley–Taylor index, the rest being the parts' own. `"taylor"`, the continuous Shapley–Taylor index, equal to the discrete
            one there, and near it under cosine similarity. `"independent"`, a path for each image, $(\int J_a)^\top \int J_b$, as exCLIP
            and xsbert; they freeze the norms of a cosine: take `similarity="dot"`, and divide by the norms of both embeddings.
        index: the continuous form of another index, instead of `weight`. `"shapley-taylor"`, `"k-sii"` and `"faith-shap"` sum to the
            similarity; `"shapley"`, `"chaining"`, `"banzhaf"`, `"moebius"` and `"co-moebius"` do not, and have the credit of single parts
            without `within` too.
        p: of `"banzhaf"`, the presence at which the derivatives are taken, or one for each image.
        within: also integrate the pairs within each image, and every part's own credit, by Hessian–vector products.
        softplus_beta: replace every ReLU by `log(1 + exp(beta x)) / beta` for the call (Janizek et al. 2021); None leaves them.
        tolerance: the root-mean-square error of the pairs, relative to the pairs, where a `SimilarityWrapper` has more than 64 parts in
            each image: the product of the two Jacobians is then taken in as few directions of the embedding as this error needs, which the
            standard error of the pairs measures. None takes all directions; pairs within an image always do.

    >>> similarity = IntegratedHessians(lambda query, retrieved: query[:, 0] * retrieved[:, 0], weight="taylor")
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]]))).round()  # half of it with weight="hessian"
    tensor([[[6.]]])

    See also `LayerIntegratedHessians`, and `project_attention`, which needs no matrix.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        *,
        weight: str = "hessian",
        index: str | None = None,
        p: Probability = 0.5,
        within: bool = False,
        softplus_beta: float | None = None,
        tolerance: float | None = TOLERANCE,
    ) -> None:
        GradientMethod.__init__(self, forward_func)
        self._set_options(weight, index, p, within, softplus_beta, tolerance)

    @differentiable()
    def interactions(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = N_STEPS,
        method: str = "gauss",
        internal_batch_size: int | None = None,
        *,
        feature_mask: Masks = None,
        n_samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Interactions:
        """All results, batched, with standard errors of random draws, and the gap; arguments as for `attribute`."""
        context = make_context(self.forward_func, target, additional_forward_args, internal_batch_size)
        build = partial(build_input_pairs, self.forward_func, inputs, context, baselines, feature_mask)
        return self._integrate(build, n_steps, method, n_samples, generator)

    @overload
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = N_STEPS,
        method: str = "gauss",
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[False] = False,
        *,
        feature_mask: Masks = None,
        n_samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Matrix: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: Literal[True], **options: Any
    ) -> tuple[Matrix, Delta]: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: bool, **options: Any
    ) -> Matrix | tuple[Matrix, Delta]: ...
    @log_overloaded
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = N_STEPS,
        method: str = "gauss",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        feature_mask: Masks = None,
        n_samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Matrix | tuple[Matrix, Delta]:
        """The pairs between the images, `[B, *query_players, *retrieved_players]`.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length.
            baselines: the start of the path, as for the other pairwise methods; None is the 25×25 box blur of each image.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: as in Captum, for such a function; a tensor has an entry per pair.
            n_steps: the number of points on the path; with `"expected"`, only for the integrated gradients.
            method: `"gauss"`, nodes made for the weight; or `"expected"`, the paper's: points drawn at random, with standard errors, for a
                weight that has a density along one path.
            internal_batch_size: the most points in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta [B]`, the sum of all credits minus `v(N) - v(∅)`: of the whole index, or without
                `within` of the integrated gradients, taken at `n_steps` Gauss–Legendre nodes.
            feature_mask: a pair of integer masks over the images, as for the other pairwise methods; None gives images superpixels.
            n_samples: the number of points to draw with `"expected"`; 1000 if None.
            generator: the source of randomness; None is one seeded with 0. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        integral, draws = (n_steps, method, internal_batch_size), {"n_samples": n_samples, "generator": generator}
        result = self.interactions(inputs, baselines, target, additional_forward_args, *integral, feature_mask=feature_mask, **draws)
        return (arrange_pairs(result), compute_delta(result)) if return_convergence_delta else arrange_pairs(result)


@final
class LayerIntegratedHessians(HessianMethod, LayerGradientMethod):
    """The interaction of every cell of one image with every cell of the other: `IntegratedHessians` in feature space (second-order IG-SAM).

    Args:
        forward_func: a `SimilarityWrapper`, or any twice differentiable callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image. After it only the tail of the network is run.
        device_ids: as in Captum.
        weight: as for `IntegratedHessians`, and so are `index`, `p`, `within` and `softplus_beta`.
        index: the name of another index, instead of `weight`.
        p: of `"banzhaf"`, the presence of the cells.
        within: also integrate the pairs within each image.
        softplus_beta: the sharpness of the softplus that replaces each ReLU, or None.
        tolerance: the relative error of pairs of more than 64 cells, or None for none.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.Softplus())
    >>> method = LayerIntegratedHessians(SimilarityWrapper(encoder), encoder[0], weight="taylor")
    >>> method.attribute((torch.rand(2, 3, 9, 9), torch.rand(2, 3, 7, 7))).shape
    torch.Size([2, 4, 4, 3, 3])

    See also `LayerIGSAM` and `project_attention`.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: DeviceIds = None,
        *,
        weight: str = "hessian",
        index: str | None = None,
        p: Probability = 0.5,
        within: bool = False,
        softplus_beta: float | None = None,
        tolerance: float | None = TOLERANCE,
        layout: LayoutNames = None,
    ) -> None:
        LayerGradientMethod.__init__(self, forward_func, layer, device_ids, layout=layout)
        self._set_options(weight, index, p, within, softplus_beta, tolerance)

    @differentiable()
    def interactions(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = N_STEPS,
        method: str = "gauss",
        internal_batch_size: int | None = None,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
        n_samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Interactions:
        """All results, as `interactions` of the method without a layer; arguments as for `attribute`."""
        context = make_context(self.forward_func, target, additional_forward_args, internal_batch_size)
        space = (baselines, layer_baselines, layer_mask, self.layout)
        build = partial(build_layer_pairs, self.forward_func, self.layer, inputs, context, *space)
        return self._integrate(build, n_steps, method, n_samples, generator)

    @overload
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = N_STEPS,
        method: str = "gauss",
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[False] = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
        n_samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Matrix: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: Literal[True], **options: Any
    ) -> tuple[Matrix, Delta]: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: bool, **options: Any
    ) -> Matrix | tuple[Matrix, Delta]: ...
    @log_overloaded
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = N_STEPS,
        method: str = "gauss",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
        n_samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Matrix | tuple[Matrix, Delta]:
        """The pairs between the images, `[B, H, W, H', W']`.

        Arguments and errors are as for the method without a layer, except that `baselines`, `layer_baselines` and `layer_mask` are as for
        the other layer methods: the path starts at the layer's output for the baselines, and every cell is a player.
        """
        integral, draws = (n_steps, method, internal_batch_size), {"n_samples": n_samples, "generator": generator}
        masks = {"layer_baselines": layer_baselines, "layer_mask": layer_mask}
        result = self.interactions(inputs, baselines, target, additional_forward_args, *integral, **masks, **draws)
        return (arrange_pairs(result), compute_delta(result)) if return_convergence_delta else arrange_pairs(result)
