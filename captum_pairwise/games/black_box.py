"""Games of an opaque forward function: it gets both mixed tensors together."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from captum_pairwise.games.checks import check_image, check_values, name_missing_batch, refuse_training
from captum_pairwise.games.context import ForwardContext, ForwardFunc, Images
from captum_pairwise.games.game import CallableGame, QueryTables
from captum_pairwise.games.joint_layers import replace_outputs
from captum_pairwise.games.joint_rows import refuse_other_lengths, run_example
from captum_pairwise.games.joint_slots import prove_joint
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.games.sides import LayerOptions, Side
from captum_pairwise.models.one_sided import OneSided
from captum_pairwise.network.autocast import bind_autocast
from captum_pairwise.network.batching import Evaluator
from captum_pairwise.network.layer_view import record_output, view_layer
from captum_pairwise.network.layers import Layers, check_layers, refuse_compiled


def make_joint_input_pairs(forward_func: ForwardFunc, sides: Sequence[Side], context: ForwardContext) -> Pairs:
    """Games whose players are parts of the images."""
    query, retrieved = sides
    refuse_other_lengths(context, len(query.present))
    evaluate, images = partial(run_example, forward_func, context), [side.present for side in sides]
    with name_missing_batch(partial(evaluate, example=0), images, "both images"):
        prove_joint(forward_func, [], images, context)
    return Pairs(query, retrieved, _make_game_function(sides, context, evaluate))


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


def make_joint_layer_pairs(
    forward_func: ForwardFunc, layer: Layers, images: Images, options: Sequence[LayerOptions], context: ForwardContext
) -> Pairs:
    """Games whose players are parts of two layers' outputs; the whole function runs, with both outputs replaced.

    One layer may be named for both images if it runs twice, once for each.

    Raises:
        ValueError: a layer returns no output of one image alone, or no row per pair.
    """
    refuse_compiled(forward_func)
    refuse_other_lengths(context, len(images[0]))
    with name_missing_batch(partial(run_example, forward_func, context, example=0), images, "both images"):
        (query, retrieved), evaluate = replace_outputs(forward_func, check_layers(layer), images, options, context)
    return Pairs(query, retrieved, _make_game_function((query, retrieved), context, evaluate))


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
    refuse_other_lengths(context, len(images))
    with name_missing_batch(partial(run_example, forward_func, context, example=0), (images,), "images"):
        side, evaluate = _make_image_side(forward_func, layer, images, context, options)
    return side, _make_game_function([side], context, evaluate, "output")


def _make_image_side(
    forward_func: ForwardFunc, layer: nn.Module, images: Tensor, context: ForwardContext, options: LayerOptions
) -> tuple[Side, Callable[..., object]]:
    """The side of the images, and the function that runs the network on rows of it."""
    if not isinstance(forward_func, nn.Module) or context.additional_forward_args is not None:
        sides, evaluate = replace_outputs(forward_func, [layer], [images], [options], context)
        return sides[0], evaluate
    view = view_layer(forward_func, layer, images, context.notice, context.is_stochastic)
    axis = options.get_channel_axis(view.output, view.proof.layer_axis)
    side = options.make_side(view.output, axis, images, partial(record_output, forward_func, layer, notice=context.notice))

    def run_tail(mixed: Tensor, example: int) -> object:
        return run_example(lambda rows: view.tail.run(rows, example), context, mixed, example=example)

    return side, run_tail


def _refuse_fixed_batch(forward_func: ForwardFunc) -> None:
    """Refuse a similarity to a batch: it would compare the rows of one example with every image of the batch in turn."""
    if isinstance(forward_func, OneSided) and forward_func.n_fixed != 1:
        raise ValueError(f"Expected a similarity to one fixed image, got one to {forward_func.n_fixed}. Fix one image, or use LayerIGSAM.")
