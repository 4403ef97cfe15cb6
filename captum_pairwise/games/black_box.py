"""Games of a forward function that is opaque: both mixed tensors go through it together."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from captum_pairwise._compat import expand_additional_forward_args, expand_target, format_additional_forward_args, run_forward
from captum_pairwise.games.checks import Images, checked_values
from captum_pairwise.games.game import CallableGame, Game
from captum_pairwise.games.sides import Pairs, Request, Side, input_side, layer_side
from captum_pairwise.network.autocast import bind_autocast
from captum_pairwise.network.batching import Chunk, Evaluator, choose_chunk_size
from captum_pairwise.network.layer_view import record_output, view_layer
from captum_pairwise.network.layers import Layers, check_layers, get_single_output, record_calls, refuse_compiled, replace_output

ForwardFunc = Callable[..., Tensor]


def joint_input_pairs(forward_func: ForwardFunc, images: Images, request: Request) -> Pairs:
    """Games whose players are parts of the images."""
    _refuse_uneven(request, images)
    query, retrieved = (input_side(images[k], request, k) for k in range(2))
    return _joint_pairs(query, retrieved, request, lambda *mixed, example: _forward(forward_func, mixed, request, example))


def _refuse_uneven(request: Request, images: tuple[Tensor, ...]) -> None:
    for argument in format_additional_forward_args(request.additional_forward_args) or ():
        if isinstance(argument, Tensor) and argument.dim() and len(argument) != len(images[0]):
            raise ValueError(
                f"Expected additional_forward_args with an entry per pair, {len(images[0])} of them, got a tensor of shape "
                f"{tuple(argument.shape)}. Keep what all pairs share inside the forward function."
            )
    target = request.target
    if (isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1)) and len(target) != len(images[0]):
        raise AssertionError(f"Expected one target for all examples, or one for each of the {len(images[0])}, got {len(target)}.")


def _joint_pairs(query: Side, retrieved: Side, request: Request, evaluate: Callable[..., object]) -> Pairs:
    """Games whose value is `evaluate(query rows, retrieved rows, example=…)`."""
    evaluate = bind_autocast(evaluate)
    chunk = request.chunk_of(min(choose_chunk_size(query.present[0]), choose_chunk_size(retrieved.present[0])))

    def game(example: int) -> Game:
        n_query, n_retrieved = query.n_coordinates(example), retrieved.n_coordinates(example)
        mixers = list(product(query.mixers(example), retrieved.mixers(example)))

        def values(z: Tensor) -> Tensor:
            scores = [evaluate(q(z[:, :n_query]), r(z[:, n_query:]), example=example) for q, r in mixers]
            return torch.stack([checked_values(score, len(z)) for score in scores]).mean(0)

        return CallableGame(n_query, n_retrieved, Evaluator(values, chunk, request.description), chunk)

    return Pairs(query, retrieved, game)


def _forward(forward_func: ForwardFunc, images: tuple[Tensor, ...], request: Request, example: int) -> object:
    """Run a user's function on rows that all come from one pair of the batch, with that pair's target and arguments."""
    n_rows = len(images[0])
    arguments = format_additional_forward_args(request.additional_forward_args)
    own = tuple(a[example : example + 1] if isinstance(a, Tensor) and a.dim() else a for a in arguments or ())
    target = request.target
    if (isinstance(target, Tensor) and target.numel() > 1) or (isinstance(target, list) and len(target) > 1):
        target = target[example : example + 1]
    return run_forward(forward_func, images, expand_target(target, n_rows), expand_additional_forward_args(own, n_rows) if own else None)


def joint_layer_pairs(forward_func: ForwardFunc, layer: Layers, images: Images, request: Request) -> Pairs:
    """Games whose players are parts of two layers' outputs; the function is run whole, with both outputs replaced.

    Raises:
        ValueError: a layer does not run exactly once, or with one row per pair, as in a function that shares its encoder.
    """
    refuse_compiled(forward_func)
    _refuse_uneven(request, images)
    layers = check_layers(layer)

    def run(inputs: tuple[Tensor, ...]) -> list[Tensor]:
        outputs = _layer_outputs(forward_func, layers, inputs, request)
        return [_of_one_side(output, one, inputs[0]) for output, one in zip(outputs, layers, strict=True)]

    outputs = run(images)
    if len(outputs) == 1:
        raise ValueError(
            "Expected a layer for each image, a tuple (query layer, retrieved layer), because the forward function is no "
            "SimilarityWrapper. If one encoder embeds both images, pass `SimilarityWrapper(encoder)` instead."
        )
    query = layer_side(outputs[0], images[0], request, 0, lambda baseline: run((baseline, images[1]))[0])
    retrieved = layer_side(outputs[1], images[1], request, 1, lambda baseline: run((images[0], baseline))[1])

    def evaluate(*mixed: Tensor, example: int) -> object:
        rows = tuple(image[example : example + 1].expand(len(mixed[0]), *image.shape[1:]) for image in images)
        with ExitStack() as hooks:
            for one, output in zip(layers, mixed, strict=True):
                hooks.enter_context(replace_output(one, output))
            return _forward(forward_func, rows, request, example)

    return _joint_pairs(query, retrieved, request, evaluate)


def _layer_outputs(forward_func: ForwardFunc, layers: Sequence[nn.Module], images: tuple[Tensor, ...], request: Request) -> list[Tensor]:
    """What each layer returns for a batch, or for parts of it where memory is for no more."""
    target: Any = request.target
    arguments = format_additional_forward_args(request.additional_forward_args) or ()

    def run(part: slice) -> list[Tensor]:
        own = tuple(a[part] if isinstance(a, Tensor) and a.dim() else a for a in arguments)
        of_part = target
        if (isinstance(target, Tensor) and target.numel() > 1) or (isinstance(target, list) and len(target) > 1):
            of_part = target[part]
        with record_calls(layers) as calls:
            run_forward(forward_func, tuple(batch[part] for batch in images), of_part, own or None)
        return [get_single_output(outputs, one) for outputs, one in zip(calls, layers, strict=True)]

    found = Chunk(len(images[0]), request.notices).map_slices(run, len(images[0]))
    return [torch.cat(of_layer) for of_layer in zip(*found, strict=True)]


def _of_one_side(output: Tensor, layer: nn.Module, images: Tensor) -> Tensor:
    if len(output) != len(images):
        raise ValueError(
            f"Expected the layer ({type(layer).__name__}) to return {len(images)} rows, one per pair, got {len(output)}. If the forward "
            "function embeds both images as one batch, pass `SimilarityWrapper(encoder)` instead."
        )
    return output


def joint_image_games(
    forward_func: ForwardFunc, layer: nn.Module, images: Tensor, request: Request
) -> tuple[Side, Callable[[int], CallableGame]]:
    """Games of one image alone, for a function such as a classifier: `f(images) -> [B]`, or `[B, classes]` with a target.

    Of a module without other arguments only the tail after the layer is run.
    """
    refuse_compiled(forward_func)
    _refuse_uneven(request, (images,))
    if isinstance(forward_func, nn.Module) and request.additional_forward_args is None:
        view, network = view_layer(forward_func, layer, images, request.notices), forward_func
        side = layer_side(
            view.output, images, request, 0, lambda baseline: record_output(network, layer, baseline, request.notices), names=("images'",)
        )
        return side, _image_game(side, request, view.tail.run)

    def run(inputs: Tensor) -> Tensor:
        return _layer_outputs(forward_func, [layer], (inputs,), request)[0]

    def rerun(mixed: Tensor, example: int) -> object:
        rows = images[example : example + 1].expand(len(mixed), *images.shape[1:])
        with replace_output(layer, mixed):
            return _forward(forward_func, (rows,), replace(request, target=None), example)

    side = layer_side(run(images), images, request, 0, run, names=("images'",))
    return side, _image_game(side, request, rerun)


def _image_game(side: Side, request: Request, tail: Callable[[Tensor, int], Any]) -> Callable[[int], CallableGame]:
    """The game of each image; `tail` gives the function's whole output for rows of the layer's."""
    chunk, chosen = request.chunk_of(choose_chunk_size(side.present[0])), replace(request, additional_forward_args=None)
    run = bind_autocast(tail)

    def game(example: int) -> CallableGame:
        mixers = side.mixers(example)

        def value(mixed: Tensor) -> Tensor:
            return checked_values(_forward(lambda rows: run(rows, example), (mixed,), chosen, example), len(mixed), "output")

        evaluate = Evaluator(lambda z: torch.stack([value(mix(z)) for mix in mixers]).mean(0), chunk)
        return CallableGame(side.n_coordinates(example), 0, evaluate, chunk)

    return game
