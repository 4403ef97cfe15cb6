import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import random_tensor
from torch import Tensor
from torch.testing import assert_close

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.games.game import CallableGame
from captum_pairwise.players.regions import Players, average, cells, grid, parse_mask
from captum_pairwise.results.credits import AXES, Credits
from captum_pairwise.results.index import NAMES, Index
from captum_pairwise.results.interactions import Interactions, project, stack_interactions
from captum_pairwise.results.renumbering import renumber_players
from captum_pairwise.results.selection import take_pair

SIZES = {"query": 6, "retrieved": 4, "players": 10}
BLOCKS = ("first_order", "between", "within_query", "within_retrieved")


def random_blocks(batch: int, seed: int) -> dict[str, Tensor]:
    blocks = {name: random_tensor(batch, *(SIZES[axis] for axis in axes), seed=seed + k) for k, (name, axes) in enumerate(AXES.items())}
    return {name: (value + value.mT).tril(-1) + (value + value.mT).triu(1) if "within" in name else value for name, value in blocks.items()}


def estimate(batch: int = 2, seed: int = 0, **fields) -> Interactions:
    """Random credits of six query players and four retrieved ones, with random standard errors."""
    blocks, errors = random_blocks(batch, seed), random_blocks(batch, seed + 10)
    return Interactions(
        n_query=SIZES["query"],
        empty=random_tensor(batch, seed=seed + 20),
        full=random_tensor(batch, seed=seed + 30),
        without_query=random_tensor(batch, seed=seed + 31),
        without_retrieved=random_tensor(batch, seed=seed + 32),
        standard_error=Credits(**errors),
        n_evaluations=torch.arange(batch) + seed,
        index=Index("banzhaf", (0.3, 0.6)),
        constant=random_tensor(batch, seed=seed + 33),
        constant_error=random_tensor(batch, seed=seed + 35),
        r2=random_tensor(batch, seed=seed + 34),
        r2_law="halves of the parts",
        **{name: blocks[name] for name in ("given_other", *BLOCKS)},
        **fields,
    )


def players_of_images(batch: int = 2) -> dict[str, Players]:
    """A 2×3 grid of the query and the cells of a 2×2 map of the retrieved image."""
    return {
        "query_players": parse_mask(grid(4, 6, 2, 3), torch.zeros(batch, 3, 4, 6), "feature_mask"),
        "retrieved_players": cells(torch.zeros(batch, 5, 2, 2), 1),
    }


def all_fields(interactions: Interactions) -> dict[str, object]:
    """Every field, including the fields of its members."""
    fields = vars(interactions)
    return fields | {name: vars(value) for name, value in fields.items() if isinstance(value, (Credits, Players))}


def assert_same(one: Interactions, other: Interactions) -> None:
    assert (one.index, one.r2_law) == (other.index, other.r2_law)
    tensors = [{name: value for name, value in all_fields(result).items() if name not in ("index", "r2_law")} for result in (one, other)]
    assert_close(*tensors, rtol=0, atol=0)


def pair_credit(interactions: Interactions, example: int, i: int, j: int) -> Tensor:
    """The expected value for `second_order`: the pair in its block."""
    n_query = interactions.n_query
    if i >= n_query:
        return (
            interactions.within_retrieved[example, i - n_query, j - n_query] if j >= n_query else pair_credit(interactions, example, j, i)
        )
    return interactions.between[example, i, j - n_query] if j >= n_query else interactions.within_query[example, i, j]


def test_second_order_holds_every_pair() -> None:
    interactions, n_players = estimate(), SIZES["players"]
    expected = [[[pair_credit(interactions, b, i, j) for j in range(n_players)] for i in range(n_players)] for b in range(2)]
    assert_close(interactions.second_order, torch.tensor(expected, dtype=torch.float64))


def test_second_order_is_symmetric_with_a_zero_diagonal() -> None:
    pairs = estimate().second_order
    assert torch.equal(pairs, pairs.mT)
    assert not pairs.diagonal(dim1=1, dim2=2).any()


def test_marginal_shares_each_pair_equally() -> None:
    interactions = estimate()
    expected = interactions.first_order.clone()
    for i in range(SIZES["players"]):
        expected[:, i] += sum(interactions.second_order[:, i, j] for j in range(SIZES["players"])) / 2
    assert_close(interactions.marginal, expected)
    assert torch.equal(torch.cat([interactions.query_marginal, interactions.retrieved_marginal], 1), interactions.marginal)
    assert interactions.query_marginal.shape[1] == interactions.n_query


def test_marginal_can_be_passed() -> None:
    given = random_tensor(2, SIZES["players"])
    assert torch.equal(estimate(marginal=given).marginal, given)


def test_completeness_gap_is_the_value_minus_all_credit() -> None:
    interactions = estimate()
    unordered_pairs = interactions.second_order.triu(1).sum((1, 2))
    expected = interactions.full - interactions.constant - interactions.first_order.sum(1) - unordered_pairs
    assert_close(interactions.completeness_gap, expected)


def test_maps_are_the_two_parts_of_given_other() -> None:
    interactions = estimate()
    assert torch.equal(torch.cat([interactions.query_map, interactions.retrieved_map], 1), interactions["given_other"])
    assert interactions.query_map.shape == (2, SIZES["query"])


def test_map_gaps() -> None:
    interactions = estimate()
    query_gap, retrieved_gap = interactions.map_gaps
    assert_close(interactions.without_query + interactions.query_map.sum(1) + query_gap, interactions.full)
    assert_close(interactions.without_retrieved + interactions.retrieved_map.sum(1) + retrieved_gap, interactions.full)
    with pytest.raises(ValueError, match="Expected the similarities without each image"):
        _ = replace(interactions, without_query=None).map_gaps


@pytest.mark.parametrize("name", AXES)
def test_missing_block_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"Expected {name} to have been computed"):
        _ = Credits()[name]


@pytest.mark.parametrize("name", [name for name in BLOCKS if name != "first_order"])
def test_second_order_names_the_missing_block(name: str) -> None:
    with pytest.raises(ValueError, match=f"Expected {name} to have been computed"):
        _ = replace(estimate(), **{name: None}).second_order


@pytest.mark.parametrize("name", BLOCKS)
def test_completeness_gap_needs_all_blocks(name: str) -> None:
    interactions = replace(estimate(), marginal=None, **{name: None})
    with pytest.raises(ValueError, match="Expected marginal to have been computed"):
        _ = interactions.completeness_gap


def slow_project(signal: Tensor, between: Tensor) -> Tensor:
    batch, n_query, n_retrieved = between.shape
    rows = [[sum(signal[b, i] * between[b, i, j] for i in range(n_query)) for j in range(n_retrieved)] for b in range(batch)]
    return torch.tensor(rows, dtype=torch.float64)


def test_project_to_the_retrieved_image() -> None:
    interactions, signal = estimate(), random_tensor(2, SIZES["query"], seed=1)
    assert_close(interactions.project(signal), slow_project(signal, interactions.between))
    assert_close(project(interactions.between, signal), slow_project(signal, interactions.between))


def test_project_to_the_query() -> None:
    interactions, signal = estimate(), random_tensor(2, SIZES["retrieved"], seed=1)
    assert_close(interactions.project(signal, "retrieved->query"), slow_project(signal, interactions.between.mT))


@pytest.mark.parametrize(("direction", "side"), [("query->retrieved", "query_players"), ("retrieved->query", "retrieved_players")])
@pytest.mark.parametrize("shape", [(2, 8, 12), (2, 1, 8, 12)])
def test_project_a_mask_of_an_image(direction: str, side: str, shape: tuple[int, ...]) -> None:
    interactions, mask = estimate(**players_of_images()), random_tensor(*shape, seed=1)
    weights = average(mask, getattr(interactions, side))
    assert_close(interactions.project(mask, direction), interactions.project(weights, direction))


@pytest.mark.parametrize("players", [None, cells(torch.zeros(2, 6, 5), 2), cells(torch.zeros(2, 6), 1)], ids=["none", "tokens", "units"])
def test_project_a_mask_needs_players_in_an_image(players: Players | None) -> None:
    with pytest.raises(ValueError, match="weight for each player"):
        estimate(query_players=players).project(random_tensor(2, 8, 12))


def test_project_refuses_other_directions() -> None:
    with pytest.raises(ValueError, match=r"'query->retrieved', 'retrieved->query'.*got 'up'"):
        estimate().project(random_tensor(2, SIZES["query"]), "up")


def two_masks() -> Tensor:
    """The same grid, mirrored in the second image."""
    ids = grid(4, 6, 2, 3)
    return torch.cat([ids, ids.flip(3)])


SAVED = {
    "everything": lambda: estimate(**players_of_images()),
    "other players in each pair": lambda: estimate(**players_of_images() | {"query_players": Players(two_masks(), (6,))}),
    "one pair": lambda: estimate(1, **players_of_images(1)),
    "little": lambda: Interactions(
        n_query=1, empty=torch.zeros(2), full=torch.ones(2), n_evaluations=torch.ones(2).long(), between=torch.rand(2, 1, 3)
    ),
    "the same mask twice": lambda: estimate(1, **dict.fromkeys(("query_players", "retrieved_players"), cells(torch.zeros(1, 5, 2, 3), 1))),
    "parts of one tensor": lambda: replace(estimate(), **dict(zip(("full", "empty"), random_tensor(2, 2).T, strict=True))),
}


@pytest.mark.parametrize("saved", SAVED)
@pytest.mark.parametrize("as_path", [Path, str])
def test_load_returns_the_saved_interactions(saved: str, as_path: type, tmp_path: Path) -> None:
    interactions, file = SAVED[saved](), as_path(tmp_path / "pair.safetensors")
    interactions.save(file)
    assert_same(Interactions.load(file), interactions)


def rows(interactions: Interactions, example: int) -> Interactions:
    """One pair of a batch."""

    def of_pair(fields: dict[str, object]) -> dict[str, object]:
        return {name: value[example : example + 1] for name, value in fields.items() if isinstance(value, Tensor)}

    return replace(interactions, standard_error=Credits(**of_pair(vars(interactions.standard_error))), **of_pair(vars(interactions)))


def test_stacking_joins_batches() -> None:
    parts = [estimate(1, seed=0), estimate(2, seed=40)]
    joined = stack_interactions(parts)
    for example, (part, index) in enumerate([(0, 0), (1, 0), (1, 1)]):
        assert_same(rows(joined, example), rows(parts[part], index))


def test_stacking_leaves_out_missing_blocks() -> None:
    parts = [replace(estimate(1), standard_error=None, within_query=None, marginal=None)] * 2
    missing = {name for name, value in vars(stack_interactions(parts)).items() if value is None}
    assert missing == {"standard_error", "within_query", "marginal", "query_players", "retrieved_players", "sources"}


@pytest.mark.parametrize("missing", [0, 1])
def test_stacking_drops_maps_that_one_pair_lacks(missing: int) -> None:
    """The budget of a black box may be enough for the maps of one pair and not for those of another, which has more parts."""
    parts = [estimate(1, seed=0), estimate(1, seed=40)]
    errors = replace(parts[missing].standard_error, given_other=None)
    parts[missing] = replace(parts[missing], given_other=None, without_query=None, without_retrieved=None, standard_error=errors)
    joined = stack_interactions(parts)
    assert joined.given_other is None and joined.without_query is None and joined.standard_error["between"].shape == (2, 6, 4)
    with pytest.raises(ValueError, match="Raise n_samples"):
        _ = joined.query_map


@pytest.mark.parametrize("missing", [0, 1])
def test_stacking_drops_standard_errors_that_one_pair_lacks(missing: int) -> None:
    parts = [estimate(1, seed=0), estimate(1, seed=40)]
    parts[missing] = replace(parts[missing], standard_error=None)
    assert stack_interactions(parts).standard_error is None


def slow_renumber(block: Tensor, axes: tuple[str, ...], ids: dict[str, list[int]], sizes: dict[str, int]) -> Tensor:
    """Each number at its new position, one at a time."""
    larger = torch.zeros(1, *(sizes[axis] for axis in axes), dtype=block.dtype)
    for index in torch.cartesian_prod(*(torch.arange(size) for size in block.shape[1:])).reshape(-1, len(axes)).tolist():
        larger[0][tuple(ids[axis][k] for axis, k in zip(axes, index, strict=True))] = block[0][tuple(index)]
    return larger


def test_renumbering_gives_0_to_ids_without_players() -> None:
    pair, sizes = estimate(1), {"query": 8, "retrieved": 5, "players": 8 + 5}
    query, retrieved = [0, 1, 3, 4, 6, 7], [1, 2, 3, 4]
    ids = {"query": query, "retrieved": retrieved, "players": query + [8 + k for k in retrieved]}
    found = renumber_players(pair, torch.tensor(query), torch.tensor(retrieved), 8, 5)
    for name, axes in AXES.items():
        assert_close(found[name], slow_renumber(pair[name], axes, ids, sizes))
        assert_close(found.standard_error[name], slow_renumber(pair.standard_error[name], axes, ids, sizes))
    assert found.n_query == sizes["query"]
    for gap, expected in zip((found.completeness_gap, *found.map_gaps), (pair.completeness_gap, *pair.map_gaps), strict=True):
        assert_close(gap, expected)
    assert torch.equal(found.n_evaluations, pair.n_evaluations)


def test_renumbering_with_all_players_changes_nothing() -> None:
    pair = estimate(1)
    assert_same(renumber_players(pair, torch.arange(6), torch.arange(4), 6, 4), pair)


def test_renumbering_leaves_out_missing_blocks() -> None:
    pair = replace(estimate(1), standard_error=None, within_query=None, marginal=None)
    found = renumber_players(pair, torch.arange(6), torch.arange(4), 7, 4)
    assert found.standard_error is None and found.within_query is None and found.marginal is None


def test_predict_is_the_sum_of_the_credits_inside_a_coalition() -> None:
    interactions = estimate()
    coalitions = torch.rand(5, SIZES["players"]) < 0.5
    expected = torch.zeros(2, 5, dtype=torch.float64)
    for b in range(2):
        for row, coalition in enumerate(coalitions.tolist()):
            members = [player for player, is_present in enumerate(coalition) if is_present]
            pairs = sum(pair_credit(interactions, b, i, j) for i in members for j in members if i < j)
            expected[b, row] = interactions.constant[b] + interactions.first_order[b, members].sum() + pairs
    assert_close(interactions.predict(coalitions), expected)
    cross = replace(interactions, within_query=None, within_retrieved=None, marginal=None)
    zeros = torch.zeros_like(interactions.within_query), torch.zeros_like(interactions.within_retrieved)
    without = replace(interactions, within_query=zeros[0], within_retrieved=zeros[1])
    assert_close(cross.predict(coalitions), without.predict(coalitions))


def test_predict_starts_at_the_empty_value_without_a_constant() -> None:
    interactions = replace(estimate(), constant=None)
    assert_close(interactions.predict(torch.zeros(1, SIZES["players"], dtype=torch.bool))[:, 0], interactions.empty)


def test_predict_refuses_other_players() -> None:
    with pytest.raises(ValueError, match=r"Expected coalitions \[rows, 10\]"):
        estimate().predict(torch.ones(1, 6, dtype=torch.bool))


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    "coalitions", [torch.full((1, SIZES["players"]), 0.5), [[True] * SIZES["players"]], torch.ones(SIZES["players"], dtype=torch.bool)]
)
def test_predict_refuses_what_is_no_coalitions(coalitions) -> None:
    with pytest.raises(ValueError, match=r"Expected coalitions \[rows, 10\] of booleans, .* got .*Give a tensor"):
        estimate().predict(coalitions)


def test_another_index_needs_the_sample() -> None:
    interactions = estimate()
    with pytest.raises(ValueError, match="Pass index='shapley' to the method"):
        interactions.as_index("shapley")
    with pytest.raises(ValueError, match="Expected index to be one of"):
        interactions.as_index("banzaf")


def test_the_sources_follow_a_pair_out_of_its_batch_and_are_not_pickled() -> None:
    other = [estimate(1, seed=seed) for seed in (3, 4)]
    batch = replace(estimate(), sources=tuple(lambda index, pair=pair: replace(pair, index=index) for pair in other))
    assert_same(take_pair(batch, 1).as_index("shapley"), replace(other[1], index=Index("shapley")))
    assert_same(batch.as_index("shapley"), replace(stack_interactions(other), index=Index("shapley")))
    assert pickle.loads(pickle.dumps(batch)).sources is None
    renumbered = replace(estimate(1), sources=batch.sources[:1])
    ids = torch.arange(6) + 1, torch.arange(4)
    assert_same(
        renumber_players(renumbered, *ids, 7, 4).as_index("shapley"),
        replace(renumber_players(other[0], *ids, 7, 4), index=Index("shapley")),
    )


def test_how_a_map_and_the_pairs_are_related_if_at_most_two_parts_act_together() -> None:
    alone, together = random_tensor(5, seed=1), random_tensor(5, 5, seed=2).triu(1)
    game = CallableGame(2, 3, lambda z: z.double() @ alone + ((z.double() @ together) * z.double()).sum(1))
    split, halves = exact(game), torch.tensor([0.5, 0.5, 1.0, 1.0, 1.0])
    shared = split.second_order[0] * torch.where((halves[:, None] == halves), 0.5, 1.0)  # half within an image
    assert_close(split.given_other[0], split.first_order[0] + shared.sum(1))
    for name in NAMES:
        assert_close(split.as_index(name).second_order, split.second_order)
        if Index(name).is_efficient:
            assert_close(split.as_index(name).first_order[0], alone)
