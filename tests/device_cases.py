"""Calls of functions and of options that the battery does not have, with all tensors on a device."""

from collections.abc import Callable

import torch
from conftest import images, random_tensor, tiny_encoder
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import metrics

BLOCKS = ("first_order", "marginal", "given_other", "between", "within_query", "within_retrieved")
WINDOWS = {"sliding_window_shapes": 6, "strides": 3}


def list_calls(device: torch.device) -> dict[str, Callable[[], object]]:
    """The calls by name; each returns tensors, or containers of tensors."""
    encoder = tiny_encoder().float().to(device)
    model = cp.SimilarityWrapper(encoder)
    pair = query, retrieved = tuple(batch.float().to(device) for batch in images())
    maps, values = random_tensor(2, 12, 12).float().to(device), random_tensor(2, seed=2).float().to(device)
    labels = (random_tensor(2, 12, 12, seed=1) > 0).to(device)
    credit = cp.LayerFactorisedShapleyTaylor(model, encoder[4]).interactions(pair)
    masks = cp.grid(12, 12, 2, 2), cp.patches(12, 12, 5)  # on the CPU, for images on any device
    backgrounds = cp.Backgrounds(images(3, seed=5)[0].float().to(device)), 0.5

    def get_blocks(interactions: cp.Interactions) -> list[Tensor]:
        errors = [] if interactions.standard_error is None else [getattr(interactions.standard_error, name) for name in BLOCKS]
        return [block for block in [*(getattr(interactions, name) for name in BLOCKS), *errors] if block is not None]

    def compare(query: Tensor, retrieved: Tensor) -> Tensor:
        return nn.functional.cosine_similarity(encoder(query).flatten(1), encoder(retrieved).flatten(1))

    def factorise(n_samples: int, **options: object) -> list[Tensor]:
        return get_blocks(cp.LayerFactorisedShapleyTaylor(model, encoder[2], **options).interactions(pair, n_samples=n_samples))

    return {
        "the similarity": lambda: [cp.SimilarityWrapper(encoder, similarity=name)(*pair) for name in ("cosine", "dot", "euclidean")],
        "given_gallery": lambda: model.given_gallery(retrieved)(query),
        "margins": lambda: model.given_gallery(retrieved).margins()(query),
        "given_query": lambda: model.given_query(query)(retrieved),
        "project_attention of a layer": lambda: cp.project_attention(model, encoder[4], pair, maps),
        "project_attention of pixels": lambda: cp.project_attention(model, None, pair, maps, n_steps=2),
        "project_attention of parts": lambda: cp.project_attention(model, None, pair, maps[:, 0, :4], n_steps=2, feature_mask=masks),
        "project_attention_through": lambda: cp.project_attention_through(model, [encoder[2], encoder[4]], pair, maps),
        "a projection with a recipe": lambda: cp.project_attention_through(model, [encoder[4]], pair, maps, recipe=cp.OBJECT_RECIPE),
        "counterfactual": lambda: cp.counterfactual(cp.LayerIGSAM(model, encoder[4]), query, retrieved, query + 0.1),
        "default superpixels": lambda: cp.KernelShapley(model).attribute(pair, n_samples=400),
        "the mean colour": lambda: cp.SBSM(model).attribute(pair, **WINDOWS, baselines=(cp.mean_colour, cp.mean_colour)),
        "backgrounds": lambda: cp.KernelShapley(model).attribute(pair, feature_mask=masks, baselines=backgrounds),
        "opaque function": lambda: get_blocks(cp.KernelShapleyTaylor(compare).interactions(pair, feature_mask=masks)),
        "opaque process": lambda: get_blocks(cp.GaussianProcessShapleyTaylor(compare).interactions(pair, n_samples=90, feature_mask=masks)),
        "opaque windows": lambda: cp.PairwiseSBSM(compare).interactions(pair, **WINDOWS).project(maps),
        "opaque gradients": lambda: get_blocks(
            cp.IntegratedHessians(compare, within=True).interactions(pair, n_steps=2, feature_mask=masks)
        ),
        "chains": lambda: factorise(100, fit="chains"),
        "process": lambda: factorise(100, fit="process", within=True),
        "tolerance": lambda: factorise(200, tolerance=0.1),
        "permutations": lambda: get_blocks(cp.LayerShapleyTaylorSampling(model, encoder[4]).interactions(pair, n_samples=1000)),
        "the paper's sampling": lambda: get_blocks(
            cp.LayerKernelShapleyTaylor(model, encoder[4], sampling="paper-direct").interactions(pair, n_samples=1000)
        ),
        "Hessians with smooth ReLUs": lambda: get_blocks(
            cp.LayerIntegratedHessians(model, encoder[2], within=True, softplus_beta=10.0).interactions(pair, n_steps=2)
        ),
        "Interactions.project": lambda: credit.project(maps),
        "censor": lambda: metrics.censor(query, labels, retrieved),
        "deletion_curve": lambda: metrics.deletion_curve(model, pair, maps).values,
        "insertion_curve": lambda: metrics.insertion_curve(model, pair, maps).values,
        "faithfulness": lambda: metrics.faithfulness(model, pair, maps),
        "second_order_faithfulness": lambda: metrics.second_order_faithfulness(model, pair, maps, (labels, labels)),
        "label_propagation": lambda: vars(metrics.label_propagation(maps, labels)),
        "inefficiency": lambda: metrics.inefficiency(maps, values, values[:1].expand(2)),
        "most_important": lambda: metrics.most_important(maps, 20),
        "to_pixels": lambda: metrics.to_pixels(maps, (7, 9)),
    }


def list_tensors(result: object) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    if isinstance(result, Tensor):
        return [result]
    items = result.values() if isinstance(result, dict) else result if isinstance(result, (tuple, list)) else ()
    return [tensor for item in items for tensor in list_tensors(item)]
