"""Properties of all `Interactions`: views, projection, files, conversion to other packages."""

from dataclasses import replace

import pytest
import torch
from conftest import seeded
from game_strategies import EPS, close, games, orders_within, refusal_of, rounding
from hypothesis import given
from hypothesis import strategies as st

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.interop import from_shapiq, to_shap_matrix, to_shapiq
from captum_pairwise.players.regions import Players, grid
from captum_pairwise.results.credits import AXES, Credits
from captum_pairwise.results.interactions import DIRECTIONS, Interactions, project, stack_interactions
from captum_pairwise.results.renumbering import renumber_players

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # beartype checks random items
WITHIN = 64 * EPS  # for numbers near 1 and sums of a few dozen of them


def symmetric(square):
    return (square + square.mT).tril(-1) + (square + square.mT).tril(-1).mT


@st.composite
def credits(draw, batch, n_query, n_retrieved, dtype, names):
    """The named blocks, of normal numbers."""
    sizes = {"players": n_query + n_retrieved, "query": n_query, "retrieved": n_retrieved}
    generator = seeded(draw(st.integers(0, 2**16)))
    blocks = {}
    for name in names:
        block = torch.randn(batch, *(sizes[axis] for axis in AXES[name]), generator=generator, dtype=dtype)
        blocks[name] = symmetric(block) if name.startswith("within") else block
    return blocks


@st.composite
def interactions(draw, is_whole=False, least=0):
    """Any batch of credits: with or without blocks, errors, and players; an image may have no players."""
    batch, n_query, n_retrieved = draw(st.tuples(st.integers(1, 3), st.integers(least, 4), st.integers(least, 4)))
    dtype, whole = draw(st.sampled_from([torch.float32, torch.float64])), [name for name in AXES if name != "marginal"]
    names = st.sets(st.sampled_from(list(AXES)))
    blocks = draw(credits(batch, n_query, n_retrieved, dtype, whole if is_whole else draw(names)))
    errors = draw(credits(batch, n_query, n_retrieved, dtype, draw(names)))
    players = {}
    if draw(st.booleans()) and n_query:
        players["query_players"] = Players(grid(2, 4, 1, n_query).expand(batch, -1, -1, -1), (n_query,))
    ends = torch.randn(2, batch, generator=seeded(batch), dtype=dtype)
    return Interactions(
        n_query=n_query,
        empty=ends[0],
        full=ends[1],
        n_evaluations=torch.arange(batch),
        standard_error=Credits(**{name: block.abs() for name, block in errors.items()}) if errors else None,
        **blocks,
        **players,
    )


def assert_same(found, expected):
    """Assert that every number, type, shape and missing block is the same."""
    assert found.n_query == expected.n_query
    for name in (*AXES, "empty", "full", "n_evaluations"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None)
        assert one is None or (torch.equal(one, other) and one.dtype == other.dtype)
    assert (found.standard_error is None) == (expected.standard_error is None)
    for name in AXES if found.standard_error else ():
        one, other = getattr(found.standard_error, name), getattr(expected.standard_error, name)
        assert (one is None) == (other is None) and (one is None or torch.equal(one, other))
    for name in ("query_players", "retrieved_players"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None)
        assert one is None or (torch.equal(one.ids, other.ids) and one.shape == other.shape)


@given(found=interactions())
def test_file_keeps_every_digit(found, tmp_path_factory):
    path = tmp_path_factory.mktemp("properties") / "found.safetensors"
    found.save(path)
    assert_same(Interactions.load(path), found)


@given(found=interactions())
def test_missing_blocks_are_named(found):
    views = {
        "second_order": ("between", "within_query", "within_retrieved"),
        "completeness_gap": ("marginal",),
        "query_marginal": ("marginal",),
        "retrieved_marginal": ("marginal",),
    }
    for view, needed in views.items():
        missing = [name for name in needed if getattr(found, name) is None]
        refusal = refusal_of(lambda view=view: getattr(found, view))
        assert (refusal is None) == (not missing)
        assert refusal is None or any(name in refusal for name in missing)


@given(found=interactions(is_whole=True))
def test_views_match_their_definitions(found):
    second, n_query = found.second_order, found.n_query
    assert torch.equal(second, second.mT) and not second.diagonal(dim1=1, dim2=2).any()
    assert torch.equal(second[:, :n_query, n_query:], found.between)
    assert torch.equal(torch.cat([found.query_marginal, found.retrieved_marginal], 1), found.marginal)
    within = WITHIN * torch.finfo(second.dtype).eps / EPS
    close(found.marginal, found.first_order + second.sum(2) / 2, within)
    close(found.completeness_gap, found.full - found.empty - found.first_order.sum(1) - second.sum((1, 2)) / 2, 10 * within)


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(found=interactions(is_whole=True, least=1), seed=st.integers(0, 2**16), factor=st.sampled_from([0.0, -2.0, 2.0**40]))
def test_projection_is_linear(direction, found, seed, factor):
    is_forward = direction == DIRECTIONS[0]
    n_source = found.between.shape[1 if is_forward else 2]
    signal = torch.randn(len(found.full), n_source, generator=seeded(seed), dtype=found.full.dtype)
    carried = found.project(signal, direction)
    matrix = found.between if is_forward else found.between.mT
    close(carried, (signal[:, :, None] * matrix).sum(1), WITHIN * torch.finfo(signal.dtype).eps / EPS)
    assert torch.equal(found.project(factor * signal, direction), factor * carried)
    assert torch.equal(project(matrix, signal), carried)


@given(found=interactions(is_whole=True, least=1))
def test_mask_over_one_player_is_a_weight_of_it(found):
    if found.query_players is not None:
        for player in range(found.n_query):
            mask = (found.query_players.ids[:, 0] == player).float()
            weight = torch.zeros(found.n_query).index_fill(0, torch.tensor(player), 1.0).expand(len(mask), -1)
            assert torch.equal(found.project(mask), found.project(weight))


@given(found=interactions(), more=st.integers(0, 3), data=st.data())
def test_players_without_elements_have_zero_credit(found, more, data):
    sizes = found.n_query, found.between.shape[2] if found.between is not None else 0
    if found.between is None:
        return
    ids = [torch.tensor(sorted(data.draw(st.permutations(range(n + more)))[:n]), dtype=torch.long) for n in sizes]
    pair = stack_interactions([found])
    first = {name: getattr(pair, name)[:1] for name in (*AXES, "empty", "full", "n_evaluations") if getattr(pair, name) is not None}
    placed = renumber_players(Interactions(n_query=sizes[0], **first), *ids, sizes[0] + more, sizes[1] + more)
    assert torch.equal(placed.between[0][ids[0]][:, ids[1]], found.between[0])
    assert placed.between.shape == (1, sizes[0] + more, sizes[1] + more)
    assert placed.between.count_nonzero() == found.between[:1].count_nonzero()


@given(table=games(most=5, least=2), data=st.data())
def test_shapiq_round_trip(table, data):
    pytest.importorskip("shapiq", reason="an outside implementation: pip install 'captum-pairwise[oracles]'")
    found = exact(table.game())
    values = to_shapiq(found)
    back = [refusal_of(lambda: from_shapiq(values, table.n_query)), min(table.n_query, table.n_retrieved) > 0]
    assert (back[0] is None) == back[1]
    if back[1]:
        returned = from_shapiq(values, table.n_query)
        assert torch.equal(returned.second_order, found.second_order) and torch.equal(returned.first_order, found.first_order)
        assert torch.equal(returned.empty, found.empty) and returned.full.isnan().all()
    order = data.draw(orders_within(table))
    assert values[0][tuple(order[:2])] == found.second_order[0, order[0], order[1]].item()


@given(table=games())
def test_shap_matrix_sums_to_the_value(table):
    found = exact(table.game())
    matrix, within = to_shap_matrix(found), table.n_players**2 * rounding(table)
    close(matrix.sum(2), found.marginal, within)
    close(matrix.sum((1, 2)), found.full - found.empty, within)
    refusal = refusal_of(lambda: to_shap_matrix(replace(found, within_query=None)))
    assert refusal is not None and "within_query" in refusal
