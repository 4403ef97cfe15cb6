"""Games of an opaque forward function: it gets both mixed tensors together."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from captum_pairwise._compat import expand_additional_forward_args, expand_target, format_additional_forward_args, run_forward
from captum_pairwise.games.checks import check_values
from captum_pairwise.games.context import ForwardContext, ForwardFunc, Images
from captum_pairwise.games.game import CallableGame, Game, QueryTables
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.games.sides import LayerOptions, Side
from captum_pairwise.network.autocast import bind_autocast
from captum_pairwise.network.batching import Chunk, Evaluator, choose_chunk_size
from captum_pairwise.network.layer_view import record_output, view_layer
from captum_pairwise.network.layers import Layers, check_layers, get_single_output, record_calls, refuse_compiled, replace_output


def make_joint_input_pairs(forward_func: ForwardFunc, sides: Sequence[Side], context: ForwardContext) -> Pairs:
    """Games whose players are parts of the images."""
    query, retrieved = sides
    _refuse_other_lengths(context, len(query.present))
    return _make_joint_pairs(query, retrieved, context, lambda *mixed, example: _run_example(forward_func, mixed, context, example))


def _refuse_other_lengths(context: ForwardContext, n_pairs: int) -> None:
    for argument in format_additional_forward_args(context.additional_forward_args) or ():
        if isinstance(argument, Tensor) and argument.dim() and len(argument) != n_pairs:
            raise ValueError(
                f"Expected additional_forward_args with an entry per pair, {n_pairs} of them, got a tensor of shape "
                f"{tuple(argument.shape)}. Keep what all pairs share inside the forward function."
            )
    target = context.target
    if (isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1)) and len(target) != n_pairs:
        raise AssertionError(f"Expected one target for all examples, or one for each of the {n_pairs}, got {len(target)}.")


def _make_joint_pairs(query: Side, retrieved: Side, context: ForwardContext, evaluate: Callable[..., object]) -> Pairs:
    """Games with the value `evaluate(query rows, retrieved rows, example=…)`."""
    evaluate = bind_autocast(evaluate)
    chunk = context.make_chunk(min(choose_chunk_size(query.present[0]), choose_chunk_size(retrieved.present[0])))

    def make_game(example: int, _: QueryTables) -> Game:
        n_query, n_retrieved = query.count_coordinates(example), retrieved.count_coordinates(example)
        mixers = list(product(query.make_mixers(example), retrieved.make_mixers(example)))

        def values(z: Tensor) -> Tensor:
            scores = [evaluate(q(z[:, :n_query]), r(z[:, n_query:]), example=example) for q, r in mixers]
            return torch.stack([check_values(score, len(z)) for score in scores]).mean(0)

        return CallableGame(n_query, n_retrieved, Evaluator(values, chunk, context.description), chunk)

    return Pairs(query, retrieved, make_game)


def _slice_arguments(context: ForwardContext, part: slice) -> tuple[Any, tuple | None]:
    """The target and the additional arguments of a part of the batch."""
    target: Any = context.target
    if (isinstance(target, Tensor) and target.numel() > 1) or (isinstance(target, list) and len(target) > 1):
        target = target[part]
    arguments = format_additional_forward_args(context.additional_forward_args) or ()
    return target, tuple(a[part] if isinstance(a, Tensor) and a.dim() else a for a in arguments) or None


def _run_example(forward_func: ForwardFunc, rows: tuple[Tensor, ...], context: ForwardContext, example: int) -> object:
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
    layers = check_layers(layer)
    run = partial(_record_pair, forward_func, layers, context)
    outputs = run(images)
    if len(outputs) == 1:
        raise ValueError(
            "Expected a layer for each image, a tuple (query layer, retrieved layer), because the forward function is no "
            "SimilarityWrapper. If one encoder embeds both images, pass `SimilarityWrapper(encoder)` instead."
        )
    query = options[0].make_side(outputs[0], images[0], lambda baseline: run((baseline, images[1]))[0])
    retrieved = options[1].make_side(outputs[1], images[1], lambda baseline: run((images[0], baseline))[1])

    def evaluate(*mixed: Tensor, example: int) -> object:
        rows = tuple(image[example : example + 1].expand(len(mixed[0]), *image.shape[1:]) for image in images)
        with ExitStack() as hooks:
            for module, output in zip(layers, mixed, strict=True):
                hooks.enter_context(replace_output(module, output))
            return _run_example(forward_func, rows, context, example)

    return _make_joint_pairs(query, retrieved, context, evaluate)


def _record_pair(forward_func: ForwardFunc, layers: Sequence[nn.Module], context: ForwardContext, images: Images) -> list[Tensor]:
    """The output of each layer for a batch of pairs, one row per pair."""
    outputs = _record_outputs(forward_func, layers, images, context)
    for output, layer in zip(outputs, layers, strict=True):
        if len(output) != len(images[0]):
            raise ValueError(
                f"Expected the layer ({type(layer).__name__}) to return {len(images[0])} rows, one per pair, got {len(output)}. If the "
                "forward function embeds both images as one batch, pass `SimilarityWrapper(encoder)` instead."
            )
    return outputs


def _record_outputs(
    forward_func: ForwardFunc, layers: Sequence[nn.Module], images: tuple[Tensor, ...], context: ForwardContext
) -> list[Tensor]:
    """The output of each layer for a batch, or for parts of it if memory runs out."""

    def run(part: slice) -> list[Tensor]:
        target, arguments = _slice_arguments(context, part)
        with record_calls(layers) as calls:
            run_forward(forward_func, tuple(batch[part] for batch in images), target, arguments)
        return [get_single_output(outputs, layer) for outputs, layer in zip(calls, layers, strict=True)]

    parts = Chunk(len(images[0]), context.notice).map_slices(run, len(images[0]))
    return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]


def make_joint_image_games(
    forward_func: ForwardFunc, layer: nn.Module, images: Tensor, options: LayerOptions, context: ForwardContext
) -> tuple[Side, Callable[[int], CallableGame]]:
    """Games of single images, for a function such as a classifier: `f(images) -> [B]`, or `[B, classes]` with a target.

    Of a module without other arguments only the tail after the layer runs.
    """
    refuse_compiled(forward_func)
    _refuse_other_lengths(context, len(images))
    if isinstance(forward_func, nn.Module) and context.additional_forward_args is None:
        view = view_layer(forward_func, layer, images, context.notice)
        side = options.make_side(view.output, images, partial(record_output, forward_func, layer, notice=context.notice))
        return side, _make_image_game(side, context, view.tail.run)

    def run(inputs: Tensor) -> Tensor:
        return _record_outputs(forward_func, [layer], (inputs,), context)[0]

    def rerun(mixed: Tensor, example: int) -> object:
        rows = images[example : example + 1].expand(len(mixed), *images.shape[1:])
        with replace_output(layer, mixed):
            return _run_example(forward_func, (rows,), replace(context, target=None), example)

    side = options.make_side(run(images), images, run)
    return side, _make_image_game(side, context, rerun)


def _make_image_game(side: Side, context: ForwardContext, tail: Callable[[Tensor, int], Any]) -> Callable[[int], CallableGame]:
    """The function from an example to its game; `tail` returns the function's whole output for rows of the layer's."""
    chunk, target_only = context.make_chunk(choose_chunk_size(side.present[0])), replace(context, additional_forward_args=None)
    run = bind_autocast(tail)

    def make_game(example: int) -> CallableGame:
        mixers = side.make_mixers(example)

        def value(mixed: Tensor) -> Tensor:
            output = _run_example(lambda rows: run(rows, example), (mixed,), target_only, example)
            return check_values(output, len(mixed), "output")

        evaluate = Evaluator(lambda z: torch.stack([value(mix(z)) for mix in mixers]).mean(0), chunk)
        return CallableGame(side.count_coordinates(example), 0, evaluate, chunk)

    return make_game
