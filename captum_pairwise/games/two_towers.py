"""Games of a `SimilarityWrapper`: each tower embeds the coalitions of its own image, or of a layer's output for it."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise._compat import select_targets
from captum_pairwise.games.checks import check_finite, check_values, name_missing_batch, promote_half
from captum_pairwise.games.context import ForwardContext, Images
from captum_pairwise.games.effects import refuse_without_effect
from captum_pairwise.games.game import ROWS_FOR_GRADIENTS, Affine, Game, QueryTables, ScoredGame, TwoTowerGame
from captum_pairwise.games.narrowing import narrow_tower
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.games.pooled_towers import pool_players
from captum_pairwise.games.sides import LayerOptions, Side
from captum_pairwise.models.embedder import Embedder
from captum_pairwise.models.heads import Head, Score
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.autocast import bind_autocast
from captum_pairwise.network.batching import Chunk, Evaluator
from captum_pairwise.network.layer_view import record_output, view_layer
from captum_pairwise.network.layers import Layers, check_layers, refuse_compiled
from captum_pairwise.network.proofs import Proof, prove_encoder
from captum_pairwise.network.tails import Tail
from captum_pairwise.results.interactions import SIDES

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
        channel_axis: the axis of the channels of a layer's output, or None.
    """

    side: Side
    embed: Callable[[Tensor, int], Tensor]
    chunk: Chunk
    description: str | None = None
    is_affine: bool = False
    channel_axis: int | None = None

    def make_functions(self, example: int) -> list[Embed]:
        """For each background, the function from presences to embeddings."""
        if self.is_affine:
            return list(self.make_affine(example))
        return [self._evaluate_chunks(lambda z, mix=mix: self.embed(mix(z), example)) for mix in self.side.make_mixers(example)]

    def make_affine(self, example: int) -> list[Affine]:
        """For each background, the embedding as an affine function of the presences: a tail of pooling is one matrix product."""
        if self._pooled is not None:
            return self._pooled[example]
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

    @cached_property
    def _pooled(self) -> list[list[Affine]] | None:
        """`make_affine` of all examples at once, if the tail averages positions; otherwise None."""
        if self.channel_axis is None or self.side.windows is not None:
            return None
        return pool_players(self.side, self._evaluate_chunks(lambda rows: self.embed(rows, 0)), self.channel_axis)

    def _evaluate_chunks(self, function: Embed) -> Evaluator:
        return Evaluator(function, self.chunk, self.description)


def make_input_towers(model: SimilarityWrapper, sides: Sequence[Side], context: ForwardContext) -> list[Tower]:
    """The towers of sides whose players are parts of the images."""
    towers = []
    for k, side in enumerate(sides):
        embedder = model.make_embedder(k)
        with name_missing_batch(embedder.encoder, (side.present,), f"{SIDES[k]} images"):
            proof = prove_encoder(embedder.encoder, None, side.present, context.is_stochastic)
            pool = _find_pooling(embedder, proof, side.present)
        embed = bind_autocast(partial(_embed_rows, lambda rows, _, run=embedder.encoder: run(rows), pool))
        towers.append(Tower(side, embed, context.make_chunk(side.present[0]), context.description))
    return towers


def _embed_rows(run: Callable[[Tensor, int], object], pool: Callable[[object], Tensor], rows: Tensor, example: int) -> Tensor:
    """The embedding of each row."""
    embeddings = pool(run(rows, example))
    if len(embeddings) != len(rows):
        raise ValueError(
            f"Expected an embedding for each of {len(rows)} rows, got {len(embeddings)}. The encoder keeps something of an earlier batch: "
            "take a layer after the module that does, or an encoder without state."
        )
    return embeddings


def _find_pooling(embedder: Embedder, proof: Proof, images: Tensor) -> Callable[[object], Tensor]:
    """The function from the encoder's output to embeddings, with the axis of the channels that the proof found.

    Raises:
        ValueError: the output of the encoder is no embedding.
    """

    def pool(output: object) -> Tensor:
        return embedder.pool(output, proof.output_axes.get(output.dim()) if isinstance(output, Tensor) else None)

    is_known = any(axis is not None and (n_axes != 3 or embedder.layout) for n_axes, axis in proof.output_axes.items())
    if not is_known:
        with torch.no_grad():
            pool(embedder.encoder(images[:1]))
    return pool


def find_encoder_layers(model: SimilarityWrapper, layer: Layers) -> list[nn.Module]:
    """The layer of each encoder that the user named; if the towers are tied, the user may name a layer of the encoder or of its twin.

    Raises:
        ValueError: a layer is in no encoder, or one layer is named for two encoders that do not share it.
    """
    refuse_compiled(model)
    layers = check_layers(layer)
    if model.is_tied:
        return [model.find_layer(layers[0]), model.find_layer(layers[-1])]
    if len(layers) == 1 and not all(layers[0] in set(encoder.modules()) for encoder in (model.query_encoder, model.retrieved_tower)):
        return [model.find_layer(layers[0])]
    return [layers[0], layers[-1]]


@dataclass(frozen=True)
class TowerView:
    """A tower seen from one of its layers, for a batch of images.

    Attributes:
        encoder: the encoder.
        layer: a module of it.
        output: the layer's output.
        channel_axis: the axis of its channels, or None if it is unknown.
        embed: `(outputs [rows, ...], example) -> embeddings [rows, channels]`.
        tail: the part of the encoder after the layer.
        proof: what is known about the encoder and the layer.
    """

    encoder: nn.Module
    layer: nn.Module
    output: Tensor
    channel_axis: int | None
    embed: Callable[[Tensor, int], Tensor]
    tail: Tail
    proof: Proof


def make_tower_views(
    model: SimilarityWrapper,
    layer: Layers,
    images: Images,
    options: Sequence[LayerOptions],
    context: ForwardContext,
    needs_norm: bool = True,
) -> list[TowerView]:
    """Both towers seen from the layers that the user named; without `needs_norm` the embeddings may have another norm."""
    views = []
    for k, module in enumerate(find_encoder_layers(model, layer)):
        embedder = model.make_embedder(k)
        with name_missing_batch(embedder.encoder, (images[k],), f"{options[k].name} images"):
            view = view_layer(embedder.encoder, module, images[k], context.notice, context.is_stochastic, needs_norm)
            pool = _find_pooling(embedder, view.proof, images[k])
        embed = bind_autocast(partial(_embed_rows, view.tail.run, pool))
        axis = options[k].get_channel_axis(view.output, view.proof.layer_axis)
        views.append(TowerView(embedder.encoder, module, view.output, axis, embed, view.tail, view.proof))
    return views


def make_layer_towers(
    model: SimilarityWrapper, layer: Layers, images: Images, options: Sequence[LayerOptions], context: ForwardContext
) -> list[Tower]:
    """The towers of sides whose players are cells of a layer's output; the network after the layer is their `embed`."""
    views, towers = make_tower_views(model, layer, images, options, context, needs_norm=not model.head.frozen_norm), []
    reruns = [view for view in views if view.tail.reruns_prefix]
    if reruns:
        warnings.warn(
            f"{type(reruns[0].encoder).__name__} could not be split after the layer ({type(reruns[0].layer).__name__}), so the whole "
            "network is run for every coalition. Pass `SplitEncoder(features, tail)` as the encoder to run only the tail.",
            stacklevel=2,
        )
    for k, view in enumerate(views):
        side = options[k].make_side(
            view.output, view.channel_axis, images[k], partial(record_output, view.encoder, view.layer, notice=context.notice)
        )
        chunk = context.make_chunk(side.present[0])
        towers.append(Tower(side, view.embed, chunk, context.description, view.tail.is_affine, view.channel_axis))
        if options[k].mask is not None or not view.proof.has_effect:
            embed = Evaluator(lambda rows, view=view: view.embed(rows, 0), chunk)
            refuse_without_effect(view.encoder, view.layer, side, embed, options[k].name)
            view.proof.has_effect = view.proof.has_effect or options[k].mask is None
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
            lifted = _lift_towers(head, (head.lift_query, head.lift_retrieved), (u, w), dtype)
            return TwoTowerGame(*sizes, *lifted, tables, chunk, is_affine=query.is_affine and retrieved.is_affine)
        members = _stack_members(u, "query"), _stack_members(w, "retrieved")
        combine = None if head.combine is None else partial(_average_combined, head.combine)
        return ScoredGame(*sizes, *members, partial(_average_scores, head.score), tables, chunk, combine)

    return Pairs(query.side, retrieved.side, make_game)


def _lift_towers(
    head: Head, lifts: tuple[Embed, Embed], towers: tuple[list[Embed], list[Embed]], dtype: torch.dtype
) -> tuple[Embed, Embed]:
    """Embeddings of both towers ready for an inner product; in coordinates of the query's span, if it is narrow and the head allows it.

    Whether the query has coordinates does not depend on the retrieved image, because games with the same query share its embeddings.
    """
    query, retrieved = map(narrow_tower, towers) if head.frozen_norm is not None else (None, None)  # norms and products are kept
    if query is None:
        return _average_lifted(towers[0], lifts[0], "query", dtype), _average_lifted(towers[1], lifts[1], "retrieved", dtype)
    embed_retrieved = _average_lifted(towers[1] if retrieved is None else retrieved.functions, lifts[1], "retrieved", dtype)
    turn = query.basis.T if retrieved is None else retrieved.basis @ query.basis.T

    def embed_turned(z: Tensor) -> Tensor:
        embeddings = embed_retrieved(z)
        return embeddings @ turn.to(embeddings)

    return _average_lifted(query.functions, lifts[0], "query", dtype), embed_turned


def _average_lifted(functions: Sequence[Embed], lift: Embed, name: str, dtype: torch.dtype) -> Embed:
    """Embeddings ready for an inner product, the mean over the backgrounds, because the product is bilinear."""

    def embed(z: Tensor) -> Tensor:
        mean = torch.stack([lift(_check_embeddings(function(z), name)) for function in functions]).mean(0)
        return mean.to(torch.promote_types(mean.dtype, dtype))

    return embed


def _check_embeddings(embeddings: Tensor, name: str) -> Tensor:
    return promote_half(check_finite(embeddings, f"the {name} embeddings (rows are coalitions)"))


def _stack_members(functions: list[Embed], name: str) -> Embed:
    """Embeddings `[rows, backgrounds, ...]`, because a head without a bilinear form compares each background alone."""
    return lambda z: torch.stack([_check_embeddings(function(z), name) for function in functions], 1)


def _average_scores(score: Score, u: Tensor, w: Tensor) -> Float[Tensor, " rows"]:
    """The similarity of each row, the mean over the backgrounds of both images."""
    members = product(u.unbind(1), w.unbind(1))
    return torch.stack([check_values(score(*embeddings), len(u)) for embeddings in members]).mean(0)


def _average_combined(combine: Score, u: Tensor, w: Tensor) -> Float[Tensor, "query retrieved"]:
    """The similarity of all combinations, the mean over the backgrounds of both images."""
    members = list(product(u.unbind(1), w.unbind(1)))
    return sum((combine(*embeddings) for embeddings in members[1:]), combine(*members[0])) / len(members)
