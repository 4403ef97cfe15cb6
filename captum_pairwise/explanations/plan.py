"""Choose the method, its parts and its budget by what the model is, and say why."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from captum_pairwise.attr.factorised import FactorisedInteractions, LayerFactorisedInteractions
from captum_pairwise.attr.integrated_hessians import IntegratedHessians, LayerIntegratedHessians
from captum_pairwise.attr.maxsim import MaxSimShapleyTaylor
from captum_pairwise.attr.sam import LayerPairwiseSAM
from captum_pairwise.attr.shapley_taylor import GaussianProcessShapleyTaylor, LayerGaussianProcessShapleyTaylor
from captum_pairwise.explanations.absent_parts import Replacement, choose_replacements
from captum_pairwise.explanations.chosen_parts import MOST_SAMPLED, Parts, choose_layers, choose_parts, join_layers, join_many_places
from captum_pairwise.explanations.layer_choice import LayerChoice
from captum_pairwise.explanations.options import Options, check_options
from captum_pairwise.games.build import build_input_pairs, build_layer_pairs, build_layer_views
from captum_pairwise.games.context import ForwardContext, ForwardFunc, Images
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.batching import MemoryNotice
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.baselines import default_baseline
from captum_pairwise.results.index import BANZHAF

# by name: the class without and with a layer
METHODS: dict[str, tuple[Any, Any]] = {
    "closed form": (None, LayerPairwiseSAM),
    "factorised": (FactorisedInteractions, LayerFactorisedInteractions),
    "path": (IntegratedHessians, LayerIntegratedHessians),
    "opaque": (GaussianProcessShapleyTaylor, LayerGaussianProcessShapleyTaylor),
}
REASONS = {
    "closed form": "the similarity is a dot product and only pooling and linear layers follow, so its indices have a closed form",
    "factorised": "each side is embedded alone, so its parts are sampled alone",
    "path": "there are many parts, for which gradients are cheaper than samples",
    "opaque": "the similarity cannot be split into two embeddings",
}
PREDICTING = {"factorised", "path", "opaque"}  # pairs by the index that predicts best; behind pooling all indices of pairs are equal
INDEX_REASON = "Pairs are Banzhaf indices at p = 0.5, the best prediction of the similarity when parts are missing at random."
MOST_WITHOUT_GRADIENTS = 64  # parts of an image; with more, gradients are tried first
PATH_TOLERANCE = 0.03  # relative error of pairs by gradients, far below the error of a rough explanation
PASSES_PER_PART, FEWEST_PASSES = 4, 100  # of the whole network
OPAQUE_SAMPLES = 1000


@dataclass(frozen=True)
class Plan:
    """The call of a method.

    Attributes:
        method: an object of one of the classes of methods.
        arguments: of its `interactions`.
        build: builds the games of the same call in a context.
        choices: the parts and the method, and why they were chosen, one sentence each.
        absent: what happens to absent parts of each image, in words such as "blurred".
        fallback: the plan that is run if the pairs of this one do not predict the similarity; None if there is no other.
    """

    method: Any
    arguments: dict[str, Any]
    build: Callable[[ForwardContext], Pairs]
    choices: tuple[str, ...]
    absent: tuple[str, str]
    fallback: "Plan | None" = None

    @property
    def last(self) -> "Plan":
        """The plan that is right for every pair, so that all have the same parts."""
        return self if self.fallback is None else self.fallback


def make_plan(forward_func: ForwardFunc, inputs: Images, options: Options) -> Plan:
    """The call that explains these inputs.

    Raises:
        ValueError: an option does not fit.
    """
    check_options(options)
    layers = choose_layers(forward_func, inputs, options)
    names = _choose_methods(forward_func, inputs, options, layers)
    replacements = _choose_replacements(forward_func, inputs, options)
    blocks = join_many_places(layers) if options.method is None else layers

    def plan(name: str) -> Plan:
        return _plan_method(forward_func, inputs, options, blocks if name == "factorised" else layers, name, replacements)

    first = plan(names[0])
    can_sample = all(choice.n_parts <= MOST_SAMPLED for choice in blocks)
    return replace(first, fallback=plan(names[1])) if len(names) > 1 and can_sample else first


def _plan_method(
    forward_func: ForwardFunc, inputs: Images, options: Options, layers: Sequence[LayerChoice], name: str, replacements: list[Replacement]
) -> Plan:
    """The call of one method, given by its name; "" is the class of the user."""
    method_class = _find_class(name, options, layers)
    parts = choose_parts(method_class, inputs, options, layers, isinstance(forward_func, SimilarityWrapper))
    baselines, absent = tuple(side.baseline for side in replacements), (replacements[0].words, replacements[1].words)
    if issubclass(method_class, LayerPairwiseSAM):  # whose default is 0 in the space of the layer
        baselines = tuple(
            default_baseline(images) if baseline is None else baseline for images, baseline in zip(inputs, baselines, strict=True)
        )
    method = _make_method(forward_func, name, method_class, parts.layer)
    functions = (build_input_pairs,) if parts.layer is None else (build_layer_pairs, parts.layer)
    build = partial(functions[0], forward_func, *functions[1:], inputs, baselines=baselines, **parts.masks)
    n_samples = _choose_budget(name, parts) if options.n_samples is None else options.n_samples
    arguments = _list_arguments(method, options, {"baselines": baselines, **parts.masks, "n_samples": n_samples})
    budget = f", {n_samples} samples" if "n_samples" in arguments else ""
    reason = f", because {REASONS[name]}" if name and options.method is None else ""
    run = [f"Method: {method_class.__name__}{budget}{reason}.", *([INDEX_REASON] if _predicts(name, method_class) else [])]
    return Plan(method, arguments, build, (parts.words, *run, f"Absent parts are {' and '.join(dict.fromkeys(absent))}."), absent)


def _make_method(forward_func: ForwardFunc, name: str, method_class: Any, layer: Layers | None) -> Any:
    """The object of the class, with the index that predicts best."""
    options: dict[str, Any] = {"index": BANZHAF} if _predicts(name, method_class) else {}
    if name == "path":
        options["tolerance"] = PATH_TOLERANCE
    return method_class(forward_func, *([] if layer is None else [layer]), **options)


def _predicts(name: str, method_class: Any) -> bool:
    """True if pairs are by the index that predicts best."""
    return name in PREDICTING or method_class is MaxSimShapleyTaylor


def _choose_replacements(forward_func: ForwardFunc, inputs: Images, options: Options) -> list[Replacement]:
    """The replacement of the absent parts of each side."""
    if options.removal is not None:
        return list(map(Replacement, options.removal.baselines, options.removal.absent))
    return choose_replacements(forward_func, inputs, options.baselines, options.background, options.seed)


def _list_arguments(method: Any, options: Options, chosen: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a method takes.

    Raises:
        ValueError: the user chose a budget, and the method has none.
    """
    known, class_name = inspect.signature(method.interactions).parameters, type(method).__name__
    if options.n_samples is not None and "n_samples" not in known:
        raise ValueError(f"Expected no n_samples, because {class_name} draws nothing, got {options.n_samples}. Leave it out.")
    wanted = {**chosen, "show_progress": options.show_progress, "generator": torch.Generator().manual_seed(options.seed)}
    return {key: value for key, value in wanted.items() if key in known and value is not None}


def _find_class(name: str, options: Options, choices: Sequence[LayerChoice]) -> Any:
    """The class of a name, or the user's class."""
    if not name:
        return options.method
    method_class = METHODS[name][bool(choices)]
    if method_class is None:
        raise ValueError(f"Expected a layer for method={name!r}. Pass layer=, or another method.")
    return method_class


def _choose_methods(forward_func: ForwardFunc, inputs: Images, options: Options, choices: Sequence[LayerChoice]) -> tuple[str, ...]:
    """The names of the methods to try in this order; "" is a class of the user.

    Raises:
        ValueError: the user named a method that does not exist.
    """
    if isinstance(options.method, str):
        if options.method not in METHODS:
            raise ValueError(
                f"Expected method to be one of {list(METHODS)} or a class of this package, got {options.method!r}. Pass one of these."
            )
        return (options.method,)
    if options.method is None:
        return _list_methods(forward_func, inputs, choices, options.n_samples is not None)
    if not inspect.isclass(options.method) or getattr(options.method, "order", None) != 2:
        actual = getattr(options.method, "__name__", type(options.method).__name__)
        raise ValueError(f"Expected method to be one of {list(METHODS)} or a class for pairs of parts, got {actual}. Pass one of these.")
    return ("",)


def _list_methods(forward_func: ForwardFunc, inputs: Images, choices: Sequence[LayerChoice], has_budget: bool) -> tuple[str, ...]:
    """The names of the methods to try in this order: for many parts gradients, then coalitions; else one method."""
    if not isinstance(forward_func, SimilarityWrapper):
        return ("opaque",)
    head, n_parts = forward_func.head, [choice.n_parts for choice in choices]
    if head.lift_query is None:  # paths would need the derivatives of the head
        return ("factorised",)
    is_large = min(n_parts, default=0) > MOST_WITHOUT_GRADIENTS
    is_affine = bool(choices) and (head.frozen_norm is False or is_large) and _has_affine_tails(forward_func, inputs, choices)
    if is_affine and head.frozen_norm is False:
        return ("closed form",)
    is_sampled = has_budget or not is_large or (is_affine and max(n_parts) <= MOST_SAMPLED)
    return ("factorised",) if is_sampled else ("path", "factorised")


def _has_affine_tails(model: SimilarityWrapper, inputs: Images, choices: Sequence[LayerChoice]) -> bool:
    """True if only pooling and linear layers follow both layers."""
    if model.is_stochastic:  # closed forms do not average over draws
        return False
    needs_norm, firsts = not model.head.frozen_norm, (inputs[0][:1], inputs[1][:1])
    views = build_layer_views(model, join_layers(choices), firsts, None, MemoryNotice(), needs_norm=needs_norm)[1]
    return all(view.tail.is_affine for view in views)


def _choose_budget(name: str, parts: Parts) -> int | None:
    """The number of samples; None is the default of the class."""
    if name == "factorised" and parts.layer is None:
        n_parts = max((int(mask.max()) + 1 for mask in parts.masks["feature_mask"] if mask is not None), default=0)
        return max(FEWEST_PASSES, PASSES_PER_PART * n_parts)
    return OPAQUE_SAMPLES if name == "opaque" and parts.layer is None else None
