"""What a network has said of an image is not asked again."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from captum_pairwise.games.game import Game, TwoTowerGame


def content_digest(tensor: Tensor) -> bytes:
    """What tells the content of a tensor from any other."""
    return hashlib.blake2b(tensor.detach().cpu().contiguous().numpy().tobytes(), digest_size=16).digest()


@dataclass
class Remembered:
    """A function of rows whose distinct rows are computed once.

    Attributes:
        function: one row in, one row out, in any number.
    """

    function: Callable[[Tensor], Tensor]
    _known: dict[bytes, Tensor] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """How many rows were computed so far."""
        return len(self._known)

    def __call__(self, rows: Tensor) -> Tensor:
        """What the function says of every row."""
        keys = [content_digest(row) for row in rows]
        new = {key: number for number, key in enumerate(keys) if key not in self._known}
        if new:
            found = self.function(rows[torch.tensor(list(new.values()), device=rows.device)])
            self._known |= dict(zip(new, found, strict=True))
        return torch.stack([self._known[key] for key in keys])


@dataclass(frozen=True)
class RememberedPair:
    """The game of one pair of images, of each of which a coalition is embedded once, whoever asks.

    Attributes:
        game: the game.
        query: what the query's tower remembers.
        retrieved: what the other tower remembers.
    """

    game: TwoTowerGame
    query: Remembered
    retrieved: Remembered

    @property
    def n_passes(self) -> int:
        """How many coalitions were embedded."""
        return self.query.n_rows + self.retrieved.n_rows


def remembered_pair(game: Game) -> RememberedPair:
    """A game that asks another one for each coalition of an image once.

    Raises:
        ValueError: the game does not know its towers.
    """
    if not isinstance(game, TwoTowerGame):
        raise ValueError(f"Expected a game of two towers, got a {type(game).__name__}.")
    query, retrieved = Remembered(game.embed_query), Remembered(game.embed_retrieved)
    towers = (lambda z: query(z.bool())), (lambda z: retrieved(z.bool()))  # or one and true would be two coalitions
    return RememberedPair(TwoTowerGame(game.n_query, game.n_retrieved, *towers, chunk=game.chunk), query, retrieved)
