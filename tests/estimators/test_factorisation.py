from statistics import mean, median

import pytest
import torch
from conftest import looked_up, random_tensor, relu_game, relu_tower, seeded
from formulas import relative_mse

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.sampled_tower import FITS, TowerOptions
from captum_pairwise.games.game import TwoTowerGame

SEEDS = range(6)
both_fits = pytest.mark.parametrize("fit", FITS[:2])


def decaying_tower(n_players, seed):
    """A tower with random interactions of every order, in players that are -1 or 1. Each further player reduces them by the factor 0.4."""
    coalitions = all_coalitions(n_players).double()
    coefficients = random_tensor(2**n_players, 8, seed=seed) * 0.4 ** coalitions.sum(1, keepdim=True)
    signs = 1 - 2 * ((coalitions @ (1 - coalitions).T) % 2)  # (-1)^{|T \\ S|} = Π_{l∈T} x_l
    return looked_up(signs.T @ coefficients)


def decaying_game(n_query, n_retrieved, seed):
    return TwoTowerGame(n_query, n_retrieved, decaying_tower(n_query, 2 * seed), decaying_tower(n_retrieved, 2 * seed + 1))


@pytest.mark.slow
@both_fits
@pytest.mark.parametrize(("n_samples", "least_accurate"), [(100, 4e-2), (250, 1.6e-2), (1000, 3.2e-3), (4000, 8e-4)])
def test_accuracy_on_random_relu_towers(n_samples, least_accurate, fit):
    errors = []
    for seed in SEEDS:
        game = relu_game(8, 7, seed)
        truth = exact(relu_game(8, 7, seed)).between
        errors.append(relative_mse(factorise(game, n_samples, TowerOptions(fit), generator=seeded(seed)).between, truth))
        assert game.n_evaluations <= 2 * (n_samples + 2)
    assert median(errors) <= least_accurate


@both_fits
def test_each_tower_respects_the_budget_and_embeds_distinct_rows(fit):
    rows = {"query": [], "retrieved": []}
    game = relu_game(12, 9, seed=0)
    towers = {"query": game._embed_query, "retrieved": game._embed_retrieved}

    def counted(name):
        return lambda z: rows[name].append(z) or towers[name](z)

    factorise(TwoTowerGame(12, 9, counted("query"), counted("retrieved")), 120, TowerOptions(fit))
    for name in rows:
        embedded = torch.cat(rows[name])
        assert len(embedded) == len(embedded.unique(dim=0)) <= 120 + 2


@both_fits
def test_the_towers_draw_their_coalitions_independently(fit):
    """Equal draws in both towers would be correlated; the standard errors assume independent ones."""
    rows = {"query": [], "retrieved": []}
    embed = relu_tower(9, 1)
    game = TwoTowerGame(9, 9, lambda z: rows["query"].append(z) or embed(z), lambda z: rows["retrieved"].append(z) or embed(z))
    factorise(game, 100, TowerOptions(fit))
    query, retrieved = ({tuple(row) for row in torch.cat(parts).int().tolist()} for parts in rows.values())
    assert len(query) == len(retrieved) == 102 and len(query & retrieved) < 60  # 11 are the same by design


@both_fits
def test_budget_for_all_coalitions_is_exact(fit):
    game = relu_game(6, 5, seed=1)
    found, truth = factorise(game, 2**6 - 2, TowerOptions(fit)), exact(relu_game(6, 5, seed=1))
    for name in ("empty", "full", "without_query", "without_retrieved", "first_order", "marginal", "given_other", "between"):
        torch.testing.assert_close(getattr(found, name), getattr(truth, name), rtol=0, atol=1e-12)
    for name in ("marginal", "given_other", "between"):
        assert (found.standard_error[name] == 0).all()
    assert found.within_query is None


def test_eight_and_seven_players_are_exact_from_384_embeddings():
    game, truth = relu_game(8, 7, seed=0), exact(relu_game(8, 7, seed=0))
    found = factorise(game, 256)
    torch.testing.assert_close(found.between, truth.between, rtol=0, atol=1e-12)
    assert found.n_evaluations.item() == game.n_evaluations == 384


@both_fits
def test_first_order_is_always_exact(fit):
    found, truth = factorise(relu_game(10, 9, 1), 60, TowerOptions(fit)), exact(relu_game(10, 9, 1))
    torch.testing.assert_close(found.first_order, truth.first_order, rtol=0, atol=1e-12)


@both_fits
def test_dummy_has_zero_credit(fit):
    """For chains its steps are 0. The process has to learn this, so its credit is within its error."""
    embed = relu_tower(9, 1)
    game = TwoTowerGame(10, 10, lambda z: embed(z[:, :9]), lambda z: embed(z[:, :9]))
    found = factorise(game, 60, TowerOptions(fit))
    credits = torch.cat([found.between[0, 9], found.between[0, :, 9], found.marginal[0, [9, 19]]])
    if fit == "chains":
        assert credits.abs().max() < 1e-12
    else:
        errors = found.standard_error
        assert credits.abs().max() < found.between.abs().max() / 20
        within = torch.cat([errors.between[0, 9], errors.between[0, :, 9], errors.marginal[0, [9, 19]]])
        assert (credits.abs() <= 3 * within).all()


def test_credit_is_complete_at_any_budget():
    """The process reproduces its data, including the full and the empty image."""
    for n_samples in (20, 60, 300):
        found = factorise(relu_game(11, 10, 0), n_samples)
        assert torch.cat([found.completeness_gap, *found.map_gaps]).abs().max() < 1e-9


@both_fits
def test_bilinear_game_is_exact_with_few_coalitions(fit):
    """Steps do not depend on the coalition, so one chain is exact, and so is a process that has learned this."""
    moves = torch.randn(10, 3, generator=seeded(0), dtype=torch.float64)
    game = TwoTowerGame(10, 10, lambda z: 1 + z.double() @ moves, lambda z: z.double() @ moves.flip(0))
    n_samples, tolerance = (18, 1e-12) if fit == "chains" else (40, 1e-4)
    torch.testing.assert_close(factorise(game, n_samples, TowerOptions(fit)).between[0], moves @ moves.flip(0).T, rtol=0, atol=tolerance)


@pytest.mark.slow
@both_fits
def test_it_converges(fit):
    errors = []
    for seed in SEEDS:
        truth = exact(relu_game(12, 11, seed)).between
        errors.append([relative_mse(factorise(relu_game(12, 11, seed), n, TowerOptions(fit)).between, truth) for n in (60, 240, 960)])
    small, medium, large = torch.tensor(errors).median(0).values
    assert medium < small and large < medium / 4  # at least as fast as independent samples


@pytest.mark.slow
@pytest.mark.parametrize("make_game", [relu_game, decaying_game])
@pytest.mark.parametrize(("players", "n_samples"), [((8, 7), 60), ((11, 10), 120)])
def test_two_standard_errors_cover_the_truth(make_game, players, n_samples):
    covered = {"between": [], "marginal": [], "given_other": []}
    for seed in range(6):
        truth = exact(make_game(*players, seed))
        found = factorise(make_game(*players, seed), n_samples, generator=seeded(seed))
        for name, shares in covered.items():
            shares.append(((found[name] - truth[name]).abs() <= 2 * found.standard_error[name]).double().mean().item())
    for shares in covered.values():
        assert 0.88 <= mean(shares) <= 0.995  # 0.954 for normal errors; the mean of six games is uncertain by 0.03


def test_jackknife_errors_of_chains_cover_the_truth():
    within = []
    for seed in SEEDS:
        truth, found = (
            exact(relu_game(12, 11, seed)),
            factorise(relu_game(12, 11, seed), 300, TowerOptions("chains"), generator=seeded(seed)),
        )
        for name in ("between", "marginal", "given_other"):
            within.append(((found[name] - truth[name]).abs() <= 2 * found.standard_error[name]).double().mean().item())
    assert mean(within) >= 0.9


@pytest.mark.slow
def test_chains_are_unbiased():
    """The error of the mean of many independent estimates decreases as expected for unbiased ones."""
    truth = exact(relu_game(7, 6, seed=2)).between
    game = relu_game(7, 6, seed=2)
    estimates = torch.stack([factorise(fresh_game(game), 50, TowerOptions("chains"), generator=seeded(seed)).between for seed in range(60)])
    noise = estimates.std(0) / len(estimates) ** 0.5
    score = (estimates.mean(0) - truth) / noise
    assert score.square().mean() < 2  # 1 for an unbiased estimator


def fresh_game(game):
    """The same game without stored results of its query."""
    return TwoTowerGame(game.n_query, game.n_retrieved, game._embed_query, game._embed_retrieved)


@both_fits
def test_result_depends_on_the_generator_with_seed_0_by_default(fit):
    options = TowerOptions(fit)
    first, same, other = (factorise(relu_game(9, 9, 0), 60, options, generator=seeded(seed)).between for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(first, factorise(relu_game(9, 9, 0), 60, options).between)


@both_fits
def test_float32_is_near_float64(fit):
    double = relu_game(9, 8, seed=0)
    single = TwoTowerGame(9, 8, lambda z: double.embed_query(z).float(), lambda z: double.embed_retrieved(z).float())
    expected = factorise(double, 100, TowerOptions(fit)).between
    torch.testing.assert_close(factorise(single, 100, TowerOptions(fit)).between.double(), expected, rtol=0, atol=1e-5)


def test_tolerance_stops_early_and_is_reached():
    game, truth = relu_game(14, 13, 0), exact(relu_game(14, 13, 0)).between
    found = factorise(game, 4000, TowerOptions(tolerance=0.1))
    assert found.n_evaluations.item() == game.n_evaluations < 2 * 4000 / 4
    assert found.standard_error.between.norm() <= 0.1 * found.between.norm()
    assert relative_mse(found.between, truth) ** 0.5 < 2 * 0.1
    whole = factorise(relu_game(14, 13, 0), 60, TowerOptions(tolerance=1e-9))
    assert whole.n_evaluations.item() == 2 * 62  # never more than the budget


def test_pairs_within_an_image():
    truth = exact(relu_game(11, 10, 3))
    found = factorise(relu_game(11, 10, 3), 600, TowerOptions(within=True))
    for name in ("within_query", "within_retrieved"):
        assert relative_mse(found[name], truth[name]) < 0.05
        assert torch.equal(found[name], found[name].mT) and (found[name].diagonal(dim1=1, dim2=2) == 0).all()
    enumerated = factorise(relu_game(6, 5, 3), 64, TowerOptions(within=True))
    torch.testing.assert_close(enumerated.second_order, exact(relu_game(6, 5, 3)).second_order, rtol=0, atol=1e-12)


@both_fits
def test_games_with_the_same_query_share_its_tower(fit):
    query, tables, evaluations = relu_tower(9, 0), {}, []
    for seed in (1, 2, 3):
        retrieved = relu_tower(8, seed)
        shared = factorise(TwoTowerGame(9, 8, query, retrieved, tables), 60, TowerOptions(fit))
        alone = factorise(TwoTowerGame(9, 8, query, retrieved), 60, TowerOptions(fit))
        for name in ("empty", "full", "first_order", "marginal", "given_other", "between"):
            assert torch.equal(getattr(shared, name), getattr(alone, name))
        evaluations.append(shared.n_evaluations.item())
    assert evaluations == [124, 62, 62]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fit": "spline"}, "Expected fit to be one of"),
        ({"tolerance": 0.0}, "Expected a tolerance above 0"),
        ({"tolerance": "small"}, "Expected a tolerance above 0, .* got 'small'"),
        ({"fit": "chains", "within": True}, "Expected fit='process' with within=True"),
        ({"fit": "chains", "tolerance": 0.1}, "Expected fit='process' with within=True or a tolerance"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_invalid_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TowerOptions(**arguments)


@both_fits
def test_too_small_budget_is_refused(fit):
    with pytest.raises(ValueError, match="Expected n_samples of at least 18 for 10 players"):
        factorise(relu_game(10, 10, 0), 17, TowerOptions(fit))


def test_large_budgets_use_chains(monkeypatch):
    monkeypatch.setattr("captum_pairwise.estimators.towers.sampled_tower.MOST_FOR_PROCESS", 100)
    found = factorise(relu_game(10, 10, 0), 200)
    assert torch.equal(found.between, factorise(relu_game(10, 10, 0), 200, TowerOptions("chains")).between)
    with pytest.raises(ValueError, match="Expected at most 100 embeddings"):
        factorise(relu_game(10, 10, 0), 200, TowerOptions(within=True))
