"""Games of a `SimilarityWrapper`: each tower embeds the coalitions of its own image, or of a layer's output for it."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from captum_pairwise._compat import select_targets
from captum_pairwise.games.checks import check_finite, check_values, promote_half
from captum_pairwise.games.context import ForwardContext, Images
from captum_pairwise.games.game import ROWS_FOR_GRADIENTS, Affine, CallableGame, Game, QueryTables, TwoTowerGame, embed_distinct
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.games.sides import LayerOptions, Side
from captum_pairwise.models.heads import Head, Score, pool
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.autocast import bind_autocast
from captum_pairwise.network.batching import Chunk, Evaluator
from captum_pairwise.network.layer_view import record_output, view_layer
from captum_pairwise.network.layers import Layers, check_layers, refuse_compiled

Embed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Tower:
    """A side of a batch of pairs, and the network that embeds its mixed tensors.

    Attributes:
        side: the side.
        embed: `(mixed [rows, ...], example) -> embeddings [rows, channels]`.
        chunk: the most rows in one forward pass.
        description: the text of the progress bar, or None.
        is_affine: True if `embed` is an affine function of the mixed tensors.
    """

    side: Side
    embed: Callable[[Tensor, int], Tensor]
    chunk: Chunk
    description: str | None = None
    is_affine: bool = False

    def make_functions(self, example: int) -> list[Embed]:
        """For each background, the function from presences to embeddings."""
        if self.is_affine:
            return list(self.make_affine(example))
        return [self._evaluate_chunks(lambda z, mix=mix: self.embed(mix(z), example)) for mix in self.side.make_mixers(example)]

    def make_affine(self, example: int) -> list[Affine]:
        """For each background, the embedding as an affine function of the presences: a tail of pooling is one matrix product."""
        no_players = self.side.present.new_zeros(1, len(self.side.ids(example)))
        functions = []
        for mix in self.side.make_mixers(example):
            absent = mix(no_players)
            constant = self.embed(torch.zeros_like(absent), example)
            # the change of each player alone, minus the constant: the difference of two near embeddings would lose digits
            embed_change = self._evaluate_chunks(lambda z, mix=mix, absent=absent: self.embed(mix(z) - absent, example))
            moves = embed_change(torch.eye(no_players.shape[1], dtype=torch.float32, device=no_players.device)) - constant
            functions.append(Affine(promote_half(self.embed(absent, example)[0]), promote_half(moves)))
        return functions

    def _evaluate_chunks(self, function: Embed) -> Evaluator:
        return Evaluator(function, self.chunk, self.description)


def make_input_towers(model: SimilarityWrapper, sides: Sequence[Side], context: ForwardContext) -> list[Tower]:
    """The towers of sides whose players are parts of the images."""
    encoders = (model.query_encoder, model.retrieved_encoder)  # up to date since the call began; an update for each chunk would cost 2 ms
    return [_make_tower(side, lambda rows, _, run=run: run(rows), context) for side, run in zip(sides, encoders, strict=True)]


def _make_tower(side: Side, run: Callable[[Tensor, int], object], context: ForwardContext, is_affine: bool = False) -> Tower:
    embed = bind_autocast(lambda rows, example: pool(run(rows, example)))
    return Tower(side, embed, context.make_chunk(side.present[0]), context.description, is_affine)


def find_encoder_layers(model: SimilarityWrapper, layer: Layers) -> tuple[tuple[nn.Module, nn.Module], list[nn.Module]]:
    """Both encoders, and the layer of each that the user named."""
    refuse_compiled(model)
    layers = check_layers(layer)
    if model.is_tied:  # the user may name the layer of either tower, for either image
        layers = [model.tower_layers(layers[0])[0], model.tower_layers(layers[-1])[1]]
    elif len(layers) == 1:
        layers = model.tower_layers(layers[0])
    return (model.query_encoder, model.retrieved_encoder), layers


def make_layer_towers(
    model: SimilarityWrapper, layer: Layers, images: Images, options: Sequence[LayerOptions], context: ForwardContext
) -> list[Tower]:
    """The towers of sides whose players are cells of a layer's output; the network after the layer is their `embed`."""
    encoders, layers = find_encoder_layers(model, layer)
    views = [view_layer(encoders[k], layers[k], images[k], context.notice) for k in range(2)]
    reruns = [k for k in range(2) if views[k].tail.reruns_prefix]
    if reruns:
        pool(views[reruns[0]].tail.run(views[reruns[0]].output[:1], 0))  # a wrong output is refused before the warning
        warnings.warn(
            f"{type(encoders[reruns[0]]).__name__} could not be split after the layer ({type(layers[reruns[0]]).__name__}), so the whole "
            "network is run for every coalition. Pass `SplitEncoder(features, tail)` as the encoder to run only the tail.",
            stacklevel=2,
        )
    towers = []
    for k, view in enumerate(views):
        side = options[k].make_side(view.output, images[k], partial(record_output, encoders[k], layers[k], notice=context.notice))
        towers.append(_make_tower(side, view.tail.run, context, view.tail.is_affine))
    return towers


def make_tower_pairs(head: Head, towers: Sequence[Tower], context: ForwardContext) -> Pairs:
    """The games of two towers: an inner product where the head has this form."""
    query, retrieved = towers
    select_targets(query.side.present.new_zeros(len(query.side.present)), context.target)  # Captum's own error for a target
    chunk = Chunk(min([ROWS_FOR_GRADIENTS, *(tower.chunk.size for tower in towers if not tower.is_affine)]), context.notice)
    dtype = torch.promote_types(query.side.present.dtype, retrieved.side.present.dtype)  # one tower may be more precise

    def make_game(example: int, tables: QueryTables) -> Game:
        sizes = query.side.count_coordinates(example), retrieved.side.count_coordinates(example)
        u, w = query.make_functions(example), retrieved.make_functions(example)
        if head.lift_query is not None and head.lift_retrieved is not None:
            lifted = _average_lifted(u, head.lift_query, "query", dtype), _average_lifted(w, head.lift_retrieved, "retrieved", dtype)
            return TwoTowerGame(*sizes, *lifted, tables, chunk)
        return CallableGame(*sizes, lambda z: _average_scores(u, w, head.score, z, sizes[0]), chunk)

    return Pairs(query.side, retrieved.side, make_game)


def _average_lifted(functions: list[Embed], lift: Embed, name: str, dtype: torch.dtype) -> Embed:
    """Embeddings ready for an inner product, the mean over the backgrounds, because the product is bilinear."""

    def embed(z: Tensor) -> Tensor:
        mean = torch.stack([lift(_check_embeddings(function(z), name)) for function in functions]).mean(0)
        return mean.to(torch.promote_types(mean.dtype, dtype))

    return embed


def _check_embeddings(embeddings: Tensor, name: str) -> Tensor:
    return promote_half(check_finite(embeddings, f"the {name} embeddings (rows are coalitions)"))


def _average_scores(u: list[Embed], w: list[Embed], score: Score, z: Tensor, n_query: int) -> Tensor:
    """The similarities by a head without a bilinear form; each tower still embeds its distinct rows once."""
    queries = [_check_embeddings(embed_distinct(function, z[:, :n_query]), "query") for function in u]
    retrieved = [_check_embeddings(embed_distinct(function, z[:, n_query:]), "retrieved") for function in w]
    return torch.stack([check_values(score(*embeddings), len(z)) for embeddings in product(queries, retrieved)]).mean(0)
