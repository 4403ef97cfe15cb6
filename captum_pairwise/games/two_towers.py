"""Games of a `SimilarityWrapper`: each tower embeds its own coalitions, of parts of the image or of a layer's output."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor, nn

from captum_pairwise._compat import select_targets
from captum_pairwise.games.checks import Images, at_least_float32, checked_values, refuse_not_finite
from captum_pairwise.games.game import ROWS_REMEMBERED, Affine, CallableGame, Game, TwoTowerGame, embed_distinct
from captum_pairwise.games.sides import Pairs, Request, Side, input_side, layer_side
from captum_pairwise.models.heads import Score, pool
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.autocast import bind_autocast
from captum_pairwise.network.batching import Chunk, Evaluator, choose_chunk_size
from captum_pairwise.network.layer_view import LayerView, record_output, view_layer
from captum_pairwise.network.layers import Layers, check_layers, refuse_compiled

Embed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Tower:
    """A side of a batch of pairs, and how its mixed tensors are embedded.

    Attributes:
        side: the players.
        embed: `(mixed [rows, ...], example) -> embeddings [rows, channels]`.
        chunk: the most rows in one forward pass.
        is_affine: whether `embed` is an affine function of the mixed tensors.
    """

    side: Side
    embed: Callable[[Tensor, int], Tensor]
    chunk: Chunk
    is_affine: bool = False

    def functions(self, example: int, request: Request) -> list[Embed]:
        """For each background, the function from presences to embeddings."""
        if self.is_affine:
            return list(self.affine(example, request))
        return [self._in_chunks(lambda z, mix=mix: self.embed(mix(z), example), request) for mix in self.side.mixers(example)]

    def affine(self, example: int, request: Request) -> list[Affine]:
        """For each background, the embedding as an affine function of the presences: a tail of pooling is one matrix product."""
        empty = self.side.present.new_zeros(1, len(self.side.ids(example)))
        found = []
        for mix in self.side.mixers(example):
            nobody = mix(empty)
            constant = self.embed(torch.zeros_like(nobody), example)
            # each player's change alone, less the constant: the difference of two near embeddings would lose digits
            move = self._in_chunks(lambda z, mix=mix, nobody=nobody: self.embed(mix(z) - nobody, example), request)
            moves = move(torch.eye(empty.shape[1], device=empty.device)) - constant
            found.append(Affine(at_least_float32(self.embed(nobody, example)[0]), at_least_float32(moves)))
        return found

    def _in_chunks(self, function: Embed, request: Request) -> Evaluator:
        return Evaluator(function, self.chunk, request.description)


def input_towers(model: SimilarityWrapper, images: Images, request: Request) -> tuple[Tower, Tower]:
    """Towers whose players are parts of the images."""
    query, retrieved = (input_side(images[k], request, k) for k in range(2))
    # the door has brought a twin up to date; to do so at each chunk would cost 2 ms
    runs = [bind_autocast(lambda rows, run=run: pool(run(rows))) for run in (model.query_encoder, model.retrieved_encoder)]
    chunks = [request.chunk_of(choose_chunk_size(side.present[0])) for side in (query, retrieved)]
    return Tower(query, lambda rows, _: runs[0](rows), chunks[0]), Tower(retrieved, lambda rows, _: runs[1](rows), chunks[1])


def encoders_and_layers(model: SimilarityWrapper, layer: Layers) -> tuple[tuple[nn.Module, nn.Module], list[nn.Module]]:
    """Both encoders, and the layer of each that a user meant."""
    refuse_compiled(model)
    layers = check_layers(layer)
    if model.is_tied:  # either tower's layer may be named, for either image
        layers = [model.tower_layers(layers[0])[0], model.tower_layers(layers[-1])[1]]
    elif len(layers) == 1:
        layers = model.tower_layers(layers[0])
    return (model.query_encoder, model.retrieved_encoder), layers


def layer_towers(model: SimilarityWrapper, layer: Layers, images: Images, request: Request) -> tuple[Tower, Tower]:
    """Towers whose players are cells of a layer's output; the rest of the network after it is their `embed`."""
    encoders, layers = encoders_and_layers(model, layer)
    views = [view_layer(encoders[k], layers[k], images[k], request.notices) for k in range(2)]
    reruns = [k for k in range(2) if views[k].tail.reruns_prefix]
    if reruns:
        warnings.warn(
            f"{type(encoders[reruns[0]]).__name__} could not be split after the layer ({type(layers[reruns[0]]).__name__}), so the whole "
            "network is run for every coalition. Pass `SplitEncoder(features, tail)` as the encoder to run only the tail.",
            stacklevel=2,
        )
    query, retrieved = (_layer_tower(views[k], encoders[k], layers[k], images[k], request, k) for k in range(2))
    return query, retrieved


def _layer_tower(view: LayerView, encoder: nn.Module, layer: nn.Module, images: Tensor, request: Request, k: int) -> Tower:
    side = layer_side(view.output, images, request, k, lambda baseline: record_output(encoder, layer, baseline, request.notices))
    run = bind_autocast(view.tail.run)
    chunk = request.chunk_of(choose_chunk_size(side.present[0]))
    return Tower(side, lambda outputs, example: pool(run(outputs, example)), chunk, view.tail.is_affine)


def tower_pairs(model: SimilarityWrapper, query: Tower, retrieved: Tower, request: Request) -> Pairs:
    """The games of two towers: an inner product where the head has that form."""
    select_targets(query.side.present.new_zeros(len(query.side.present)), request.target)  # Captum's own error for a target
    chunk = Chunk(min([ROWS_REMEMBERED, *(tower.chunk.size for tower in (query, retrieved) if not tower.is_affine)]), request.notices)
    first_alike = [0]  # where each run of equal queries begins
    for example in range(1, len(query.side.present)):
        first_alike.append(first_alike[-1] if query.side.is_same(example - 1, example) else example)

    @lru_cache(maxsize=1)  # tables are large: only those of the query seen last are kept
    def tables(first: int) -> dict:
        return {}

    def game(example: int) -> Game:
        head, sizes = model.head, (query.side.n_coordinates(example), retrieved.side.n_coordinates(example))
        u, w = query.functions(example, request), retrieved.functions(example, request)
        if head.lift_query is not None and head.lift_retrieved is not None:
            dtype = torch.promote_types(query.side.present.dtype, retrieved.side.present.dtype)  # one tower may be more precise
            lifted = _mean_lifted(u, head.lift_query, "query", dtype), _mean_lifted(w, head.lift_retrieved, "retrieved", dtype)
            return TwoTowerGame(*sizes, *lifted, tables(first_alike[example]), chunk)
        return CallableGame(*sizes, lambda z: _mean_score(u, w, head.score, z, sizes[0]), chunk)

    return Pairs(query.side, retrieved.side, game)


def _mean_lifted(functions: list[Embed], lift: Embed, name: str, dtype: torch.dtype) -> Embed:
    """Embeddings ready for an inner product; those of a background distribution are averaged, as the product is bilinear."""

    def embed(z: Tensor) -> Tensor:
        mean = torch.stack([lift(_checked_embeddings(function(z), name)) for function in functions]).mean(0)
        return mean.to(torch.promote_types(mean.dtype, dtype))

    return embed


def _checked_embeddings(embeddings: Tensor, name: str) -> Tensor:
    refuse_not_finite(embeddings, f"the {name} embeddings (rows are coalitions)")
    return at_least_float32(embeddings)


def _mean_score(u: list[Embed], w: list[Embed], score: Score, z: Tensor, n_query: int) -> Tensor:
    """The similarities by a head that has no bilinear form; each tower still embeds its distinct rows once."""
    queries = [_checked_embeddings(embed_distinct(function, z[:, :n_query]), "query") for function in u]
    retrieved = [_checked_embeddings(embed_distinct(function, z[:, n_query:]), "retrieved") for function in w]
    return torch.stack([checked_values(score(*towers), len(z)) for towers in product(queries, retrieved)]).mean(0)
