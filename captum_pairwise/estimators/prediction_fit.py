"""The share of a game's variance that the credits predict, `r2`, on coalitions that the estimate has not seen."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import nan

import scipy
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.independent_presence import draw_present, repeat_sides, weigh_present
from captum_pairwise.games.game import EmbeddedGame, Game
from captum_pairwise.results.index import TAYLOR_INDEX
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.renumbering import map_sources

MOST_ROWS, ROWS_AT_ONCE = 1024, 64  # of one image in a table of all combinations, and of a part of this table
ROUNDING = 4  # a similarity whose standard deviation is less of its last digits does not change
Part = tuple[Float[Tensor, "..."], Float[Tensor, "..."], Float[Tensor, "..."]]  # predictions, values, and probabilities of coalitions


@dataclass(frozen=True)
class HeldOut:
    """Coalitions of one image, in which each player is present with some probability.

    Attributes:
        coalitions: the coalitions.
        embeddings: what the tower returns for them.
        weights: the weight of each in a mean; their sum is 1.
        p: the probability.
        words: the number of coalitions in words.
    """

    coalitions: Bool[Tensor, "rows players"]
    embeddings: Float[Tensor, "rows ..."]
    weights: Float[Tensor, " rows"]
    p: float
    words: str


def draw_balanced(n_players: int, n_rows: int, p: float, generator: torch.Generator) -> Bool[Tensor, "rows players"]:
    """Coalitions in which each player is present with probability `p`.

    Where `p` is ½ and the number of rows is a power of two above the number of players, they are columns of a Hadamard matrix in random
    order and with random signs: each row is uniform, and every two players are together, apart and absent equally often. The error of a
    mean square is then about half of that of independent rows.
    """
    is_balanced = p == 0.5 and n_rows > n_players and n_rows & (n_rows - 1) == 0
    if not is_balanced:
        return draw_present(n_players, n_rows, p, generator)
    chosen = 1 + torch.randperm(n_rows - 1, generator=generator, device=generator.device)[:n_players].cpu()
    signs = draw_present(n_players, 1, 0.5, generator)
    return (torch.from_numpy(scipy.linalg.hadamard(n_rows))[:, chosen] > 0) ^ signs


def draw_held_out(embed: Callable[[Tensor], Tensor], n_players: int, n_rows: int, p: float, generator: torch.Generator) -> HeldOut:
    """Coalitions that are embedded now."""
    rows = draw_balanced(n_players, n_rows, p, generator)
    return HeldOut(rows, embed(rows), _weigh_equally(n_rows), p, f"{n_rows} coalitions")


def take_enumerated(embeddings: Float[Tensor, "coalitions ..."], p: float, generator: torch.Generator) -> HeldOut:
    """All coalitions with their probabilities, or `MOST_ROWS` of them, from their embeddings in the order of `all_coalitions`."""
    n_players = len(embeddings).bit_length() - 1
    if len(embeddings) <= MOST_ROWS:
        rows = all_coalitions(n_players)
        return HeldOut(rows, embeddings, weigh_present(rows, p), p, "all coalitions")
    rows = draw_present(n_players, MOST_ROWS, p, generator)
    places = (rows.long() << torch.arange(n_players, device="cpu")).sum(1)
    return HeldOut(rows, embeddings[places.to(embeddings.device)], _weigh_equally(MOST_ROWS), p, f"{MOST_ROWS} coalitions")


def _weigh_equally(n_rows: int) -> Float[Tensor, " rows"]:
    return torch.full((n_rows,), 1 / n_rows, dtype=torch.float64, device="cpu")


def score_towers(result: Interactions, values: Float[Tensor, "query retrieved"], query: HeldOut, retrieved: HeldOut) -> Interactions:
    """The result of one pair with `r2`, from the values of all combinations of two sets of coalitions."""
    parts, words = _split_table(result, values, query, retrieved), _name_table(query, retrieved)
    return _add_fit(result, parts, words, (query.p, retrieved.p))


def _split_table(result: Interactions, values: Float[Tensor, "query retrieved"], query: HeldOut, retrieved: HeldOut) -> Iterator[Part]:
    """Yield the parts of a table of all combinations, with the predictions of the result."""
    n_query, n_retrieved = len(query.coalitions), len(retrieved.coalitions)
    none = [torch.zeros_like(side.coalitions[:1]) for side in (query, retrieved)]
    of_query = result.predict(torch.cat([query.coalitions, none[1].expand(n_query, -1)], 1))[0]
    of_retrieved = result.predict(torch.cat([none[0].expand(n_retrieved, -1), retrieved.coalitions], 1))[0]
    constant = result.predict(torch.cat(none, 1))[0]
    partners = result["between"][0] @ retrieved.coalitions.to(of_query).T
    for rows in torch.arange(n_query, device="cpu").split(ROWS_AT_ONCE):
        predicted = of_query[rows, None] + of_retrieved - constant + query.coalitions[rows].to(of_query) @ partners
        yield predicted, values[rows], query.weights[rows, None] * retrieved.weights


def _name_table(query: HeldOut, retrieved: HeldOut) -> str:
    words = query.words if query.words == retrieved.words else f"{query.words} and {retrieved.words}"
    return f"{words} of each side in all combinations"


def measure_prediction(game: Game, result: Interactions, n_rows: int, generator: torch.Generator) -> Interactions:
    """The result of one pair with `r2`, on coalitions that are evaluated now; unchanged if its credits predict nothing.

    Args:
        game: the game.
        result: the result for it.
        n_rows: the number of coalitions: of each image if it is embedded alone, otherwise of both together.
        generator: the source of randomness.
    """
    if result.first_order is None or result.between is None:
        return result
    p = _get_probabilities(result)
    split, words = _draw_table(game, p, n_rows, generator)

    def score(credits: Interactions) -> Interactions:
        return _add_fit(credits, split(credits), words, p)

    return replace(score(result), sources=map_sources(result, score))


def centre_prediction(game: Game, result: Interactions, n_rows: int, generator: torch.Generator) -> Interactions:
    """The result of one pair with the constant whose predictions are right on average.

    A Banzhaf index along a path takes its constant from the middle of the path. The similarity with all parts half present differs from
    the mean over random coalitions, which is evaluated here. Arguments are as for `measure_prediction`.
    """
    split, _ = _draw_table(game, _get_probabilities(result), n_rows, generator)
    constant = result.empty if result.constant is None else result.constant
    shift = sum((weights.to(values) * (values - predicted)).sum() for predicted, values, weights in split(result))
    return replace(result, constant=constant + shift)


def measure_pairs(game: EmbeddedGame, result: Interactions, n_rows: int, generator: torch.Generator) -> float:
    r"""The share of the variance of what both images change together that the pairs between them predict; NaN if they change nothing.

    $$1 - \frac{\sum_{AB} (g - \hat g)^2}{\sum_{AB} g^2}, \qquad g(A, B) = v(A, B) - \bar v(A, \cdot) - \bar v(\cdot, B) + \bar v$$

    over all combinations of random coalitions of each image. Pairs within an image do not count: `r2` is low without them, but this share
    is 1 if the pairs between the images are right. Arguments are as for `measure_prediction`.
    """
    query, retrieved, evaluated = _draw_sides(game, _get_probabilities(result), n_rows, generator)
    values, rounding = evaluated.double(), ROUNDING * torch.finfo(evaluated.dtype).eps * evaluated.abs().max().item()
    predicted = query.coalitions.to(values) @ result["between"][0].to(values) @ retrieved.coalitions.to(values).T
    together, residual = (table - table.mean(0) - table.mean(1, keepdim=True) + table.mean() for table in (values, values - predicted))
    if not together.square().mean() > rounding**2:
        return nan
    return (1 - residual.square().sum() / together.square().sum()).item()


def _draw_sides(
    game: EmbeddedGame, p: tuple[float, float], n_rows: int, generator: torch.Generator
) -> tuple[HeldOut, HeldOut, Float[Tensor, "query retrieved"]]:
    """Coalitions of each image that are embedded now, and the values of all combinations."""
    query = draw_held_out(game.embed_query, game.n_query, n_rows, p[0], generator)
    retrieved = draw_held_out(game.embed_retrieved, game.n_retrieved, n_rows, p[1], generator)
    return query, retrieved, game.combine(query.embeddings, retrieved.embeddings)


def _draw_table(
    game: Game, p: tuple[float, float], n_rows: int, generator: torch.Generator
) -> tuple[Callable[[Interactions], Iterable[Part]], str]:
    """A function from a result to the parts of the table of coalitions that are evaluated now, and the number of these in words."""
    if isinstance(game, EmbeddedGame):
        query, retrieved, table = _draw_sides(game, p, n_rows, generator)
        return lambda result: _split_table(result, table, query, retrieved), _name_table(query, retrieved)
    rows = draw_present(game.n_players, n_rows, repeat_sides(p, game.n_query, game.n_retrieved), generator)
    values = game.values(rows)
    return lambda result: [(result.predict(rows)[0], values, _weigh_equally(n_rows))], f"{n_rows} coalitions"


def _get_probabilities(result: Interactions) -> tuple[float, float]:
    """The probabilities of presence under which a prediction is judged."""
    return TAYLOR_INDEX.probabilities if result.index is None else result.index.probabilities


def score_enumerated(result: Interactions, values: Float[Tensor, " coalitions"]) -> Interactions:
    """The result of one pair with the exact `r2`, from the values of all coalitions of both images."""
    n_players, p = len(values).bit_length() - 1, _get_probabilities(result)
    rows, presence = all_coalitions(n_players), repeat_sides(p, result.n_query, n_players - result.n_query)
    return _add_fit(result, [(result.predict(rows)[0], values, weigh_present(rows, presence))], "all coalitions", p)


def _add_fit(result: Interactions, parts: Iterable[Part], words: str, p: tuple[float, float]) -> Interactions:
    """The result with `1 - E(v - v̂)² / Var v`; NaN if the similarity does not change by more than its rounding."""
    shift = result.full[0].double()  # differences from it are small, so that the variance loses no digits
    mean, squares, residual, largest = (torch.zeros_like(shift) for _ in range(4))
    for predicted, values, weights in parts:
        shifted, weights = values.double() - shift, weights.to(values.device)
        mean += (weights * shifted).sum()
        squares += (weights * shifted.square()).sum()
        residual += (weights * (values.double() - predicted.double()).square()).sum()
        largest = torch.maximum(largest, values.abs().max().double())
        rounding = ROUNDING * torch.finfo(values.dtype).eps * largest
    variance = squares - mean.square()
    law = f"{words}, each part present with probability {' and '.join(dict.fromkeys(f'{presence:g}' for presence in p))}"
    r2 = torch.where(variance > rounding.square(), 1 - residual / variance, torch.nan)
    return replace(result, r2=r2[None].to(result.full), r2_law=law)
