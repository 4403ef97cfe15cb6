"""Games of an opaque forward function: it gets both mixed tensors together."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from captum_pairwise._compat import expand_additional_forward_args, expand_target, format_additional_forward_args, run_forward
from captum_pairwise.games.checks import check_image, check_values, refuse_missing_batch, refuse_training
from captum_pairwise.games.context import ForwardContext, ForwardFunc, Images
from captum_pairwise.games.game import CallableGame, QueryTables
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.games.sides import LayerOptions, Side
from captum_pairwise.models.one_sided import OneSided
from captum_pairwise.network.autocast import bind_autocast
from captum_pairwise.network.batching import Chunk, Evaluator
from captum_pairwise.network.layer_view import record_output, view_layer
from captum_pairwise.network.layers import Layers, check_layers, get_single_output, record_calls, refuse_compiled, replace_output


def make_joint_input_pairs(forward_func: ForwardFunc, sides: Sequence[Side], context: ForwardContext) -> Pairs:
    """Games whose players are parts of the images."""
    query, retrieved = sides
    _refuse_other_lengths(context, len(query.present))
    evaluate = partial(_run_example, forward_func, context)
    refuse_missing_batch(partial(evaluate, example=0), (query.present, retrieved.present), "both images")
    return Pairs(query, retrieved, _make_game_function(sides, context, evaluate))


def _refuse_other_lengths(context: ForwardContext, n_pairs: int) -> None:
    for argument in format_additional_forward_args(context.additional_forward_args) or ():
        if isinstance(argument, Tensor) and argument.dim() and len(argument) != n_pairs:
            raise ValueError(
                f"Expected additional_forward_args with {n_pairs} entries, one per pair, got shape {tuple(argument.shape)}. Keep a tensor "
                "that all pairs share inside the forward function."
            )
    target = context.target
    if (isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1)) and len(target) != n_pairs:
        raise AssertionError(f"Expected one target for all examples, or one for each of the {n_pairs}, got {len(target)}.")


def _make_game_function(
    sides: Sequence[Side], context: ForwardContext, evaluate: Callable[..., object], name: str = "similarity"
) -> Callable[[int, QueryTables], CallableGame]:
    """The function from an example to its game, with the value `evaluate(*mixed rows of each side, example=…)`."""
    evaluate, chunk = bind_autocast(evaluate), context.make_chunk(*(side.present[0] for side in sides))

    def make_game(example: int, _: QueryTables) -> CallableGame:
        sizes = [side.count_coordinates(example) for side in sides]
        combinations = list(product(*(side.make_mixers(example) for side in sides)))

        def values(z: Tensor) -> Tensor:
            parts = z.split(sizes, 1)
            mixed = ([mix(part) for mix, part in zip(mixers, parts, strict=True)] for mixers in combinations)
            return torch.stack([check_values(evaluate(*rows, example=example), len(z), name) for rows in mixed]).mean(0)

        return CallableGame(sizes[0], sum(sizes[1:]), Evaluator(values, chunk, context.description), chunk)

    return make_game


def _slice_arguments(context: ForwardContext, part: slice) -> tuple[Any, tuple | None]:
    """The target and the additional arguments of a part of the batch."""
    target: Any = context.target
    if (isinstance(target, Tensor) and target.numel() > 1) or (isinstance(target, list) and len(target) > 1):
        target = target[part]
    arguments = format_additional_forward_args(context.additional_forward_args) or ()
    return target, tuple(a[part] if isinstance(a, Tensor) and a.dim() else a for a in arguments) or None


def _run_example(forward_func: Callable[..., object], context: ForwardContext, *rows: Tensor, example: int) -> object:
    """Run the user's function on rows that all come from one pair, with the target and the arguments of this pair."""
    target, arguments = _slice_arguments(context, slice(example, example + 1))
    n_rows = len(rows[0])
    expanded = expand_additional_forward_args(arguments, n_rows) if arguments else None
    return run_forward(forward_func, rows, expand_target(target, n_rows), expanded)


def make_joint_layer_pairs(
    forward_func: ForwardFunc, layer: Layers, images: Images, options: Sequence[LayerOptions], context: ForwardContext
) -> Pairs:
    """Games whose players are parts of two layers' outputs; the whole function runs, with both outputs replaced.

    Raises:
        ValueError: a layer does not run exactly once, or with one row per pair, as in a function that shares its encoder.
    """
    refuse_compiled(forward_func)
    _refuse_other_lengths(context, len(images[0]))
    refuse_missing_batch(partial(_run_example, forward_func, context, example=0), images, "both images")
    (query, retrieved), evaluate = _replace_outputs(forward_func, check_layers(layer), images, options, context)
    return Pairs(query, retrieved, _make_game_function((query, retrieved), context, evaluate))


def _replace_outputs(
    forward_func: ForwardFunc, layers: list[nn.Module], images: Sequence[Tensor], options: Sequence[LayerOptions], context: ForwardContext
) -> tuple[list[Side], Callable[..., object]]:
    """The sides whose values are the layers' outputs, and the function that runs the whole forward function with outputs replaced."""
    outputs = _record_outputs(forward_func, layers, images, context)
    if len(outputs) < len(images):
        raise ValueError(
            "Expected a pair (query layer, retrieved layer), because the forward function is no SimilarityWrapper, got one layer. If one "
            "encoder embeds both images, pass `SimilarityWrapper(encoder)` instead."
        )

    def record(side: int, baseline: Tensor) -> Tensor:
        return _record_outputs(forward_func, layers, (*images[:side], baseline, *images[side + 1 :]), context)[side]

    def evaluate(*mixed: Tensor, example: int) -> object:
        rows = [image[example : example + 1].expand(len(mixed[0]), *image.shape[1:]) for image in images]
        with ExitStack() as hooks:
            for module, output in zip(layers, mixed, strict=True):
                hooks.enter_context(replace_output(module, output))
            return _run_example(forward_func, context, *rows, example=example)

    return [options[k].make_side(outputs[k], images[k], partial(record, k)) for k in range(len(images))], evaluate


def _record_outputs(
    forward_func: ForwardFunc, layers: Sequence[nn.Module], images: Sequence[Tensor], context: ForwardContext
) -> list[Tensor]:
    """The output of each layer for a batch, or for parts of it if memory runs out, one row per example."""

    def run(part: slice) -> list[Tensor]:
        target, arguments = _slice_arguments(context, part)
        with record_calls(layers) as calls:
            run_forward(forward_func, tuple(batch[part] for batch in images), target, arguments)
        return [get_single_output(outputs, layer) for outputs, layer in zip(calls, layers, strict=True)]

    n_examples = len(images[0])
    parts = Chunk(n_examples, context.notice).map_slices(run, n_examples)
    recorded = [torch.cat(outputs) for outputs in zip(*parts, strict=True)]
    for output, layer in zip(recorded, layers, strict=True):
        if len(output) != n_examples:
            raise ValueError(
                f"Expected the layer ({type(layer).__name__}) to return {n_examples} rows, one per pair, got {len(output)}. If it gets "
                "both images as one batch, pass `SimilarityWrapper(encoder)` instead."
            )
    return recorded


def build_image_games(
    forward_func: ForwardFunc, layer: nn.Module, inputs: object, context: ForwardContext, options: LayerOptions
) -> tuple[Side, Callable[[int, QueryTables], CallableGame]]:
    """Games of single images, for a function such as a classifier: `f(images) -> [B]`, or `[B, classes]` with a target.

    The players are cells of a layer's output. Of a module without other arguments only the tail after the layer runs.

    Raises:
        ValueError: an argument does not fit; the message names it.
    """
    refuse_training(forward_func)
    _refuse_fixed_batch(forward_func)
    images = check_image(inputs)
    refuse_compiled(forward_func)
    _refuse_other_lengths(context, len(images))
    refuse_missing_batch(partial(_run_example, forward_func, context, example=0), (images,), "images")
    if isinstance(forward_func, nn.Module) and context.additional_forward_args is None:
        view = view_layer(forward_func, layer, images, context.notice)
        sides = [options.make_side(view.output, images, partial(record_output, forward_func, layer, notice=context.notice))]

        def evaluate(mixed: Tensor, example: int) -> object:
            return _run_example(lambda rows: view.tail.run(rows, example), context, mixed, example=example)
    else:
        sides, evaluate = _replace_outputs(forward_func, [layer], [images], [options], context)
    return sides[0], _make_game_function(sides, context, evaluate, "output")


def _refuse_fixed_batch(forward_func: ForwardFunc) -> None:
    """Refuse a similarity to a batch: it would compare the rows of one example with every image of the batch in turn."""
    if isinstance(forward_func, OneSided) and forward_func.n_fixed != 1:
        raise ValueError(f"Expected a similarity to one fixed image, got one to {forward_func.n_fixed}. Fix one image, or use LayerIGSAM.")
