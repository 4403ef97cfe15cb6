"""The cooperative game of one pair of images: the similarity when only some players are present."""

import abc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.games.checks import check_finite
from captum_pairwise.network.batching import Chunk, choose_chunk_size

Coalitions = Bool[Tensor, "coalitions players"] | Float[Tensor, "coalitions players"]
Distinct = Bool[Tensor, "distinct players"] | Float[Tensor, "distinct players"]
QueryTables = dict[Hashable, Any]  # intermediate results of estimators for the tower of the query, by a key of their own
Rows = Int[Tensor, " pairs"]
ROWS_FOR_GRADIENTS = 2**10


class Game(abc.ABC):
    """The value function `v` of one pair; `z[k]` in [0, 1] is the presence of player `k`.

    The query's players come first, then the retrieved image's. At the corners of the cube `v` is the similarity of the two images with
    every absent player replaced by its baseline (the paper's eq. 6).

    Attributes:
        n_query: the number of players of the query.
        n_retrieved: the number of players of the retrieved image.
        n_evaluations: coalitions evaluated so far; in a two-tower game, coalitions embedded by both towers together.
        chunk: the most rows in one graph for derivatives.
    """

    def __init__(self, n_query: int, n_retrieved: int, chunk: Chunk | None = None) -> None:
        if min(n_query, n_retrieved) < 0 or n_query + n_retrieved == 0:
            raise ValueError(f"Expected at least one player, got {n_query} of the query and {n_retrieved} of the retrieved image.")
        self.n_query, self.n_retrieved = n_query, n_retrieved
        self.chunk = chunk if chunk is not None else Chunk(ROWS_FOR_GRADIENTS)
        self.n_evaluations = 0

    @property
    def n_players(self) -> int:
        """The number of players of both images."""
        return self.n_query + self.n_retrieved

    @contextmanager
    def pause_counting(self) -> Iterator[None]:
        """Do not count the evaluations inside the block."""
        n_evaluations = self.n_evaluations
        try:
            yield
        finally:
            self.n_evaluations = n_evaluations

    @abc.abstractmethod
    def values(self, z: Coalitions) -> Float[Tensor, " coalitions"]:
        """The value of each row."""


@final
class CallableGame(Game):
    """A game with any function of the presences as its value, `[rows, players] -> [rows]`.

    >>> game = CallableGame(1, 1, lambda z: z[:, 0] * z[:, 1])
    >>> game.values(torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    tensor([1., 0.])
    """

    def __init__(self, n_query: int, n_retrieved: int, function: Callable[[Tensor], Tensor], chunk: Chunk | None = None) -> None:
        super().__init__(n_query, n_retrieved, chunk)
        self._function = function

    def values(self, z: Coalitions) -> Float[Tensor, " coalitions"]:
        """The value of each row."""
        self.n_evaluations += len(z)
        return check_finite(self._function(z), "the values of the game (rows are coalitions)")


class EmbeddedGame(Game, abc.ABC):
    """A game of two towers: each image is embedded without the other, and the value is a function of the two embeddings.

    Each tower is a function `[rows, its players] -> [rows, ...]`.

    Attributes:
        query_tables: intermediate results of estimators for the query's tower; consecutive games of the same query share them.
        is_affine: True if embeddings are affine in the presences, up to their norm: a coalition then costs a matrix product.
    """

    def __init__(
        self,
        n_query: int,
        n_retrieved: int,
        embed_query: Callable[[Tensor], Tensor],
        embed_retrieved: Callable[[Tensor], Tensor],
        query_tables: QueryTables | None = None,
        chunk: Chunk | None = None,
        *,
        is_affine: bool = False,
    ) -> None:
        super().__init__(n_query, n_retrieved, chunk)
        self.is_affine = is_affine
        self.query_tables = query_tables if query_tables is not None else {}
        self._embed_query, self._embed_retrieved = embed_query, embed_retrieved

    def embed_query(self, z: Coalitions) -> Float[Tensor, "coalitions ..."]:
        """The query's embedding for each row of presences of its players."""
        self.n_evaluations += len(z)
        return check_finite(self._embed_query(z), "the query embeddings (rows are coalitions)")

    def embed_retrieved(self, z: Coalitions) -> Float[Tensor, "coalitions ..."]:
        """The retrieved image's embedding for each row of presences of its players."""
        self.n_evaluations += len(z)
        return check_finite(self._embed_retrieved(z), "the retrieved embeddings (rows are coalitions)")

    @abc.abstractmethod
    def combine(self, u: Float[Tensor, "query ..."], w: Float[Tensor, "retrieved ..."]) -> Float[Tensor, "query retrieved"]:
        """The value of every embedding of the query with every embedding of the retrieved image."""


@final
class TwoTowerGame(EmbeddedGame):
    """A game whose value is an inner product of two embeddings `[rows, channels]`, `v(z) = <query(z_q), retrieved(z_r)>`.

    Cosine similarity, the dot product and the negative squared distance have this form once a head has lifted the embeddings.

    >>> game = TwoTowerGame(2, 1, lambda z: z, lambda z: torch.cat([z, 3 * z], 1))
    >>> game.values(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))
    tensor([4., 1.])
    """

    def values(self, z: Coalitions) -> Float[Tensor, " coalitions"]:
        """The value of each row; each tower embeds its distinct rows once."""
        u = embed_distinct(self.embed_query, z[:, : self.n_query])
        w = embed_distinct(self.embed_retrieved, z[:, self.n_query :])
        return (u * w).sum(1)

    def combine(self, u: Float[Tensor, "query channels"], w: Float[Tensor, "retrieved channels"]) -> Float[Tensor, "query retrieved"]:
        """The value of every embedding of the query with every embedding of the retrieved image."""
        return u @ w.T


@final
class ScoredGame(EmbeddedGame):
    """A game whose value is any function of two embeddings, `v(z) = score(query(z_q), retrieved(z_r))`, such as MaxSim of tokens.

    A forward pass costs far more than a score. So each tower embeds a coalition once, and the score compares it with all coalitions of the
    other image. `combine` does that faster than `score`, if it is given.

    >>> game = ScoredGame(2, 1, lambda z: z, lambda z: 3 * z, lambda u, w: (u * w).amax(1))
    >>> game.values(torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]]))
    tensor([3., 0.])
    """

    def __init__(
        self,
        n_query: int,
        n_retrieved: int,
        embed_query: Callable[[Tensor], Tensor],
        embed_retrieved: Callable[[Tensor], Tensor],
        score: Callable[[Tensor, Tensor], Tensor],
        query_tables: QueryTables | None = None,
        chunk: Chunk | None = None,
        combine: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(n_query, n_retrieved, embed_query, embed_retrieved, query_tables, chunk)
        self._score, self._combine = score, combine

    def values(self, z: Coalitions) -> Float[Tensor, " coalitions"]:
        """The value of each row; each tower embeds its distinct rows once."""
        query, retrieved = z[:, : self.n_query], z[:, self.n_query :]
        if z.requires_grad:
            return self._score(self.embed_query(query), self.embed_retrieved(retrieved))
        (query, query_rows), (retrieved, retrieved_rows) = find_distinct(query), find_distinct(retrieved)
        return self._score_rows(self.embed_query(query), self.embed_retrieved(retrieved), query_rows, retrieved_rows)

    def combine(self, u: Float[Tensor, "query ..."], w: Float[Tensor, "retrieved ..."]) -> Float[Tensor, "query retrieved"]:
        """The value of every embedding of the query with every embedding of the retrieved image."""
        if self._combine is not None:
            return check_finite(self._combine(u, w), "the values of the game (rows are coalitions of the query)")
        pairs = torch.arange(len(u) * len(w), device="cpu")
        return self._score_rows(u, w, pairs // len(w), pairs % len(w)).view(len(u), len(w))

    def _score_rows(self, u: Tensor, w: Tensor, query_rows: Rows, retrieved_rows: Rows) -> Float[Tensor, " pairs"]:
        """The scores of pairs of rows, in chunks that fit into memory."""

        def score(part: slice) -> Tensor:
            return self._score(u[query_rows[part]], w[retrieved_rows[part]])

        if u.requires_grad or w.requires_grad:
            return score(slice(None))
        chunk = Chunk(min(map(choose_chunk_size, (u[0], w[0]))), self.chunk.notice)
        scores, done = score(slice(1)).new_empty(len(query_rows)), 0
        for values in chunk.map_slices(score, len(query_rows)):
            scores[done : done + len(values)] = values  # thousands of small tensors between large ones would scatter the memory
            done += len(values)
        return check_finite(scores, "the values of the game (rows are coalitions)")


def make_one_image_games(game: Game) -> tuple[CallableGame, CallableGame]:
    """The game of the query's players with the whole retrieved image, and the reverse (paper eq. 2, for each image).

    A two-tower game embeds each whole image once for both.

    >>> query, retrieved = make_one_image_games(CallableGame(2, 1, lambda z: z[:, 0] + 10 * z[:, 1] * z[:, 2]))
    >>> query.values(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), retrieved.values(torch.tensor([[0.0]]))
    (tensor([ 1., 10.]), tensor([1.]))
    """
    n_query, n_retrieved = game.n_query, game.n_retrieved
    values = (
        lambda z: game.values(torch.cat([z, z.new_ones(len(z), n_retrieved)], 1)),
        lambda z: game.values(torch.cat([z.new_ones(len(z), n_query), z], 1)),
    )
    if isinstance(game, EmbeddedGame):
        query, retrieved = (torch.ones(1, n, dtype=torch.float32, device="cpu") for n in (n_query, n_retrieved))
        u, w = game.embed_query(query), game.embed_retrieved(retrieved)
        values = (
            _compare_with(game.embed_query, u, lambda rows: game.combine(rows, w)[:, 0]),
            _compare_with(game.embed_retrieved, w, lambda rows: game.combine(u, rows)[0]),
        )
    return CallableGame(n_query, 0, values[0], game.chunk), CallableGame(0, n_retrieved, values[1], game.chunk)


def _compare_with(embed: Callable[[Tensor], Tensor], whole: Tensor, score: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The values of one image's players by the scores of its embeddings; the whole image is not embedded again."""

    def values(z: Tensor) -> Tensor:
        if z.requires_grad:
            return score(embed(z))
        scores, is_partial = score(whole).repeat(len(z)), ~(z if z.dtype == torch.bool else z == 1).all(1)
        if is_partial.any():
            distinct, rows = find_distinct(z[is_partial])
            scores[is_partial.to(scores.device)] = score(embed(distinct))[rows.to(scores.device)]
        return scores

    return values


@dataclass(frozen=True)
class Affine:
    """Embeddings that are affine in the presences, `u(z) = offset + z @ moves`."""

    offset: Float[Tensor, "..."]
    moves: Float[Tensor, "players ..."]

    def __call__(self, z: Tensor) -> Float[Tensor, "rows ..."]:
        """The embedding of each row of presences."""
        return self.offset + torch.tensordot(z.to(self.moves), self.moves, 1)


def embed_distinct(embed: Callable[[Tensor], Tensor], z: Coalitions) -> Float[Tensor, "coalitions channels"]:
    """Embed the distinct rows of `z`, and return the embedding of every row; rows that require gradients are all embedded."""
    if z.requires_grad:
        return embed(z)
    distinct, rows = find_distinct(z)
    return embed(distinct)[rows]


def find_distinct(z: Coalitions) -> tuple[Distinct, Int[Tensor, " coalitions"]]:
    """The distinct rows of `z`, and for each row the number of its distinct row."""
    if z.shape[1] == 0:  # an image without players has one coalition
        return z[:1], torch.zeros(len(z), dtype=torch.long, device=z.device)
    return torch.unique(z, dim=0, return_inverse=True)
