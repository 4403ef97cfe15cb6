"""Checks of an encoder of yours: is it safe to explain?"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.attr.enumerated import ExactShapleyTaylor, LayerExactShapleyTaylor
from captum_pairwise.estimators.coalitions import all_coalitions, shapley_taylor
from captum_pairwise.games.checks import refuse_training
from captum_pairwise.games.sides import LayerOptions
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.twin import make_twin, refuse_other_twin
from captum_pairwise.network.agreement import is_close
from captum_pairwise.network.layer_view import LayerView, record_output, view_layer
from captum_pairwise.network.layers import replace_output
from captum_pairwise.network.module_hooks import list_hook_ids
from captum_pairwise.network.output_axis import run_and_find_axis
from captum_pairwise.network.proofs import make_two_examples, prove_encoder
from captum_pairwise.players.layouts import LayoutNames, parse_layouts
from captum_pairwise.testing.battery import EXEMPT, FAILS, PASSES, Outcome, Report
from captum_pairwise.testing.trial import CheckFailed, DoesNotApply, expect

N_PLAYERS = 3  # of each image, for the comparison with brute force
EXACT = 1e-4  # of the largest credit, in float32: exact values against brute force


@dataclass(frozen=True)
class ModelTrial:
    """An encoder under test.

    Attributes:
        encoder: the encoder.
        images: a batch of two different examples.
        layer: a module of it, or None.
        layout: the axes of the layer's output, or None.
        output_layout: the axes of the encoder's output, or None.
    """

    encoder: nn.Module
    images: Tensor
    layer: nn.Module | None
    layout: str | None
    output_layout: str | None

    @cached_property
    def model(self) -> SimilarityWrapper:
        """The similarity of two images by this encoder."""
        return SimilarityWrapper(self.encoder, layout=self.output_layout)

    def require_layer(self) -> nn.Module:
        """The layer, for checks that need one."""
        if self.layer is None:
            raise DoesNotApply("no layer was given")
        return self.layer

    def view(self) -> LayerView:
        """The encoder seen from the layer."""
        return view_layer(self.encoder, self.require_layer(), self.images)


def check_model(
    encoder: nn.Module,
    example: Tensor,
    *,
    layer: nn.Module | None = None,
    layout: str | None = None,
    output_layout: str | None = None,
) -> Report:
    """Find out if an encoder is safe to explain, and report what was found: print the result.

    It runs the encoder about 150 times on single images.

    Args:
        encoder: a module that maps a batch of inputs to embeddings or to a map.
        example: inputs for it, `[B, ...]`: images, signals, or token ids `[B, T]`; one or more.
        layer: a module of the encoder to explain; token ids need one, such as the embedding.
        layout: the axes of the layer's output, as for the layer methods; None finds them.
        output_layout: the axes of the encoder's output, as for `cp.SimilarityWrapper`; None finds them.

    Raises:
        ValueError: the example is no batch of inputs, or a layout is unknown.

    >>> from torch import nn
    >>> encoder = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> print(check_model(encoder, torch.rand(1, 3, 16, 16), layer=encoder[1]))
    passes          evaluation mode
    passes          batch first and deterministic: embeddings [1, 4]
    passes          layout: output [1, 4, 7, 7], channels on axis 1, 7 × 7 players
    passes          layer has an effect
    passes          exact tail: affine, one matrix product
    passes          brute force: 3 + 3 players
    passes          twin for Captum's layer classes

    See also `cp.SimilarityWrapper` and `check_method`.
    """
    layouts: LayoutNames = (layout, output_layout)
    parse_layouts(layouts)
    if not isinstance(example, Tensor) or example.dim() < 2 or len(example) == 0:
        raise ValueError(f"Expected an example [B, ...] with at least one input, got {type(example).__name__}. Pass a batch.")
    trial = ModelTrial(encoder, make_two_examples(example.detach()), layer, layout, output_layout)
    return Report(tuple(_run_model_check(name, check, trial) for name, check in MODEL_CHECKS.items()))


def _run_model_check(name: str, check: Callable[[ModelTrial], str], trial: ModelTrial) -> Outcome:
    try:
        with torch.no_grad():
            return Outcome(name, PASSES, check(trial))
    except DoesNotApply as reason:
        return Outcome(name, EXEMPT, str(reason))
    except CheckFailed as failure:
        return Outcome(name, FAILS, str(failure))
    except Exception as error:  # any error of the model is a failure, too
        return Outcome(name, FAILS, str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")


def _check_mode(trial: ModelTrial) -> str:
    refuse_training(trial.encoder)
    return ""


def _check_batch(trial: ModelTrial) -> str:
    prove_encoder(trial.encoder, trial.layer, trial.images)
    return f"embeddings {list(trial.model.embed_query(trial.images[:1]).shape)}"


def _check_layout(trial: ModelTrial) -> str:
    view = trial.view()
    options = LayerOptions("query", None, 0, None, trial.layout)
    axis = options.get_channel_axis(view.output, view.proof.layer_axis)
    side = options.make_side(view.output[:1], axis, trial.images[:1], lambda images: view.output[1:])
    players = " × ".join(map(str, side.players.shape))
    return f"output {[1, *view.output.shape[1:]]}, channels on axis {axis}, {players} players"


def _check_effect(trial: ModelTrial) -> str:
    own, other = _record_layer(trial).split(1)
    unchanged = is_close(_run_replaced(trial, 0, own), _run_replaced(trial, 0, other), tolerance=0.0)
    expect(not unchanged, "Expected other embeddings for another output of the layer, got the same. Take an earlier layer.")
    return ""


def _check_tail(trial: ModelTrial) -> str:
    view = trial.view()
    share = torch.rand(view.output[:1].shape, generator=torch.Generator().manual_seed(0), device="cpu", dtype=torch.float32)
    rows = torch.lerp(view.output[:1], view.output[1:], share.to(view.output))
    is_exact = is_close(view.tail.run(rows, 0), _run_replaced(trial, 0, rows))
    expect(is_exact, "Expected the tail to give the encoder's output for mixed features, got another. Pass a SplitEncoder.")
    if view.tail.is_affine:
        return "affine, one matrix product"
    if view.tail.reruns_prefix:
        return "the whole encoder runs for every coalition; a SplitEncoder would run the tail only"
    return "the encoder runs from the layer on" if view.tail.reruns else "cut out of the encoder"


def _check_brute_force(trial: ModelTrial) -> str:
    if trial.layer is None and not trial.images.is_floating_point():
        raise DoesNotApply("token ids need a layer")
    present = trial.images if trial.layer is None else _record_layer(trial)
    ids = torch.arange(present[0].numel(), device=present.device) * N_PLAYERS // present[0].numel()
    mask, absent = ids.reshape(1, *present.shape[1:]), present.flip(0)  # each image is the baseline of the other
    coalitions = all_coalitions(N_PLAYERS, present.device)
    u, w = (torch.cat([_embed_mixed(trial, k, torch.where(z[mask], present[k], absent[k])) for z in coalitions]).double() for k in range(2))
    values = F.cosine_similarity(u[None], w[:, None], dim=-1)  # the query's players are the lower bits
    expected = shapley_taylor(values.flatten())[2][:N_PLAYERS, N_PLAYERS:]
    pairs, largest = _explain_exactly(trial, mask, absent)[0], float(values.max() - values.min())
    worst = float((pairs - expected).abs().max())
    tolerance = max(EXACT, 100 * torch.finfo(pairs.dtype).eps) * largest
    expect(worst <= tolerance, f"Expected the pairs of brute force, got a difference of {worst:.1e}; values differ by {largest:.1e}.")
    return f"{N_PLAYERS} + {N_PLAYERS} players"


def _check_twin(trial: ModelTrial) -> str:
    try:
        twin = make_twin(trial.encoder)
    except ValueError as error:
        raise DoesNotApply(str(error)) from error
    refuse_other_twin(trial.encoder, twin, list_hook_ids(twin), trial.images)
    return ""


def _record_layer(trial: ModelTrial) -> Float[Tensor, "2 ..."]:
    """The layer's output for each example, which runs alone."""
    return torch.cat([record_output(trial.encoder, trial.require_layer(), images) for images in trial.images.split(1)])


def _run_replaced(trial: ModelTrial, example: int, output: Tensor) -> object:
    """The output of the whole encoder for one example, with the layer's output replaced."""
    with replace_output(trial.require_layer(), output):
        return trial.encoder(trial.images[example : example + 1])


def _embed_mixed(trial: ModelTrial, example: int, mixed: Tensor) -> Float[Tensor, "1 channels"]:
    """The embedding of a mixed example, or of an example with a mixed output of the layer."""
    if trial.layer is None:
        return trial.model.embed_query(mixed)
    _, axis = run_and_find_axis(trial.encoder, trial.images[:1])
    return trial.model.make_embedder(0).pool(_run_replaced(trial, example, mixed), axis)


def _explain_exactly(trial: ModelTrial, mask: Tensor, absent: Tensor) -> Float[Tensor, "1 query retrieved"]:
    pair, baselines, masks = trial.images.split(1), absent.split(1), (mask, mask)
    if trial.layer is None:
        method = ExactShapleyTaylor(trial.model)
        return method.interactions((pair[0], pair[1]), (baselines[0], baselines[1]), feature_mask=masks)["between"]
    layer_method = LayerExactShapleyTaylor(trial.model, trial.layer, layout=trial.layout)
    space = {"layer_baselines": (baselines[0], baselines[1]), "layer_mask": masks}
    return layer_method.interactions((pair[0], pair[1]), **space)["between"]


MODEL_CHECKS: dict[str, Callable[[ModelTrial], str]] = {
    "evaluation mode": _check_mode,
    "batch first and deterministic": _check_batch,
    "layout": _check_layout,
    "layer has an effect": _check_effect,
    "exact tail": _check_tail,
    "brute force": _check_brute_force,
    "twin for Captum's layer classes": _check_twin,
}
