"""One pair of images as a game on the cube: what the similarity is when only some players are present."""

import abc
import os
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm.auto import tqdm

from captum_pairwise.checks import refuse_not_finite

Coalitions = Bool[Tensor, "coalitions players"] | Float[Tensor, "coalitions players"]
BYTES_PER_CHUNK = {"cpu": 2**22}
BYTES_PER_CHUNK_ELSEWHERE = 2**27
ROWS_REMEMBERED = 2**10
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass
class Evaluator:
    """Calls a function on rows, a chunk at a time.

    When memory runs out the chunk is halved and tried again.

    Attributes:
        function: one row in, one row out, in any number.
        chunk: the most rows in a call.
        description: what a progress bar says; None shows no bar.
        n_rows: rows asked for so far. A bar goes on from them, and leaves no line: an estimator may call many times.
    """

    function: Callable[[Tensor], Tensor]
    chunk: int
    description: str | None = None
    n_rows: int = 0

    def __call__(self, rows: Tensor) -> Tensor:
        """Evaluate every row."""
        results, done, before = [], 0, self.n_rows
        self.n_rows += len(rows)
        with tqdm(total=self.n_rows, initial=before, desc=self.description, leave=False, disable=self.description is None) as progress:
            while done < len(rows):
                part = rows[done : done + self.chunk]
                try:
                    results.append(self.function(part))
                except RuntimeError as error:
                    if not _is_out_of_memory(error) or len(part) == 1:
                        raise
                    self.chunk = len(part) // 2
                    continue
                done += len(part)
                progress.update(len(part))
        return torch.cat(results)


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY)


def fitting_chunk(row: Tensor) -> int:
    """How many rows like this one to put through a network at once: small batches are fastest on a CPU, large ones on a GPU."""
    size = BYTES_PER_CHUNK.get(row.device.type, BYTES_PER_CHUNK_ELSEWHERE)
    return max(1, size // max(1, row.numel() * row.element_size()))


def memory_of(device: torch.device) -> int:
    """The bytes of memory that a device has: free ones of a GPU, all of the machine otherwise."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else sys.maxsize


class Game(abc.ABC):
    """The value function `v` of one pair: `z[k]` in [0, 1] says how present player `k` is.

    Query players come first, then the retrieved image's. At the corners of the cube `v` is the similarity of the two images with
    every absent player replaced by its baseline (the paper's eq. 6).

    Attributes:
        n_query: players of the query.
        n_retrieved: players of the retrieved image.
        n_evaluations: coalitions evaluated so far; of a two-tower game, coalitions embedded by either tower.
        chunk: the most rows whose evaluation can be remembered at once, for derivatives.
    """

    def __init__(self, n_query: int, n_retrieved: int, chunk: int = ROWS_REMEMBERED) -> None:
        if min(n_query, n_retrieved) < 0 or n_query + n_retrieved == 0:
            raise ValueError(
                f"Expected a game of at least one player, got {n_query} of the query and {n_retrieved} of the retrieved image."
            )
        self.n_query, self.n_retrieved, self.chunk = n_query, n_retrieved, chunk
        self.n_evaluations = 0

    @property
    def n_players(self) -> int:
        """Players of both images."""
        return self.n_query + self.n_retrieved

    @abc.abstractmethod
    def values(self, z: Coalitions) -> Float[Tensor, " coalitions"]:
        """The value of each row."""


@final
class CallableGame(Game):
    """A game whose value is any function of the presences, `[rows, players] -> [rows]`.

    >>> game = CallableGame(1, 1, lambda z: z[:, 0] * z[:, 1])
    >>> game.values(torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    tensor([1., 0.])
    """

    def __init__(self, n_query: int, n_retrieved: int, function: Callable[[Tensor], Tensor], chunk: int = ROWS_REMEMBERED) -> None:
        super().__init__(n_query, n_retrieved, chunk)
        self._function = function

    def values(self, z: Coalitions) -> Float[Tensor, " coalitions"]:
        """The value of each row."""
        self.n_evaluations += len(z)
        return _finite(self._function(z), "the values of the game (rows are coalitions)")


@final
class TwoTowerGame(Game):
    """A game whose value is an inner product of two embeddings, `v(z) = <query(z_q), retrieved(z_r)>`.

    Each tower is a function `[rows, its players] -> [rows, channels]`. Cosine similarity, the dot product and the negative
    squared distance have this form once a head has lifted the embeddings.

    Attributes:
        query_tables: what estimators keep of the query's tower, by names of their own; games of the same query share it.

    >>> game = TwoTowerGame(2, 1, lambda z: z, lambda z: torch.cat([z, 3 * z], 1))
    >>> game.values(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))
    tensor([4., 1.])
    """

    def __init__(
        self,
        n_query: int,
        n_retrieved: int,
        embed_query: Callable[[Tensor], Tensor],
        embed_retrieved: Callable[[Tensor], Tensor],
        query_tables: dict[Hashable, Any] | None = None,
        chunk: int = ROWS_REMEMBERED,
    ) -> None:
        super().__init__(n_query, n_retrieved, chunk)
        self.query_tables = query_tables if query_tables is not None else {}
        self._embed_query, self._embed_retrieved = embed_query, embed_retrieved

    def embed_query(self, z: Coalitions) -> Float[Tensor, "coalitions channels"]:
        """The query's embedding for each row of presences of its players."""
        self.n_evaluations += len(z)
        return _finite(self._embed_query(z), "the query embeddings (rows are coalitions)")

    def embed_retrieved(self, z: Coalitions) -> Float[Tensor, "coalitions channels"]:
        """The retrieved image's embedding for each row of presences of its players."""
        self.n_evaluations += len(z)
        return _finite(self._embed_retrieved(z), "the retrieved embeddings (rows are coalitions)")

    def values(self, z: Coalitions) -> Float[Tensor, " coalitions"]:
        """The value of each row; each tower embeds its distinct rows once."""
        u = embed_distinct(self.embed_query, z[:, : self.n_query])
        w = embed_distinct(self.embed_retrieved, z[:, self.n_query :])
        return (u * w).sum(1)


def one_image_games(game: Game) -> tuple[CallableGame, CallableGame]:
    """What the query's players do while the retrieved image is whole, and the other way round (paper eq. 2, for each image).

    Of a two-tower game each whole image is embedded once, and serves both.

    >>> query, retrieved = one_image_games(CallableGame(2, 1, lambda z: z[:, 0] + 10 * z[:, 1] * z[:, 2]))
    >>> query.values(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), retrieved.values(torch.tensor([[0.0]]))
    (tensor([ 1., 10.]), tensor([1.]))
    """
    n_query, n_retrieved = game.n_query, game.n_retrieved
    values = (
        lambda z: game.values(torch.cat([z, z.new_ones(len(z), n_retrieved)], 1)),
        lambda z: game.values(torch.cat([z.new_ones(len(z), n_query), z], 1)),
    )
    if isinstance(game, TwoTowerGame):
        u, w = game.embed_query(torch.ones(1, n_query))[0], game.embed_retrieved(torch.ones(1, n_retrieved))[0]
        values = _facing(game.embed_query, u, w), _facing(game.embed_retrieved, w, u)
    return CallableGame(n_query, 0, values[0], game.chunk), CallableGame(0, n_retrieved, values[1], game.chunk)


def _facing(embed: Callable[[Tensor], Tensor], whole: Tensor, other: Tensor) -> Callable[[Tensor], Tensor]:
    """The values of one image's players against the other's embedding; the image whole is not embedded again."""

    def values(z: Tensor) -> Tensor:
        if z.requires_grad:
            return embed(z) @ other
        found, is_partial = (whole @ other).repeat(len(z)), ~(z if z.dtype == torch.bool else z == 1).all(1)
        if is_partial.any():
            found[is_partial.to(found.device)] = embed_distinct(embed, z[is_partial]) @ other
        return found

    return values


def _finite(found: Tensor, what: str) -> Tensor:
    """What a game's function returned, NaN and infinity refused: no estimator could tell later whose they were."""
    refuse_not_finite(found[:, None], what)
    return found


@dataclass(frozen=True)
class Affine:
    """Embeddings that are affine in the presences, `u(z) = offset + z @ moves`."""

    offset: Float[Tensor, " channels"]
    moves: Float[Tensor, "players channels"]

    def __call__(self, z: Tensor) -> Float[Tensor, "rows channels"]:
        """The embedding of each row of presences."""
        return self.offset + z.to(self.moves) @ self.moves


def embed_distinct(embed: Callable[[Tensor], Tensor], z: Coalitions) -> Float[Tensor, "coalitions channels"]:
    """Embed the distinct rows of `z`, and hand each row its embedding; where derivatives are asked for, every row has its own."""
    if z.requires_grad:
        return embed(z)
    if z.shape[1] == 0:  # an image without players has one coalition
        return embed(z[:1]).expand(len(z), -1)
    distinct, row = torch.unique(z, dim=0, return_inverse=True)
    return embed(distinct)[row]
