import re
import sys
import warnings
from itertools import combinations
from math import exp, log
from statistics import median

import pytest
import torch
from conftest import images, opaque, random_game, relu_game, seeded
from formulas import relative_mse, shapley_values, value_function
from sklearn.linear_model import Lasso

import captum_pairwise as cp
from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.regression import local_surrogate as lime_module
from captum_pairwise.estimators.regression.local_surrogate import lime, uniform_coalitions
from captum_pairwise.games.build import build_input_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import CallableGame

MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 1, 3))


def departures(n_players, seed=7):
    return torch.rand(n_players, generator=seeded(seed), dtype=torch.float64)


def sample_coalitions(n_players, n_samples, generator):
    """The coalitions that `lime` evaluates."""
    return all_coalitions(n_players).flip(0) if 2**n_players <= n_samples else uniform_coalitions(n_players, n_samples, generator)


def regression(coalitions, value, distances, decay=None):
    """The design `[z_i, z_i z_j]`, the values and the kernel, for single coalitions."""
    n_players = coalitions.shape[1]
    far = [sum(d for d, is_in in zip(distances.tolist(), row.tolist(), strict=True) if not is_in) for row in coalitions]
    rate = decay if decay is not None else log(2) / median(far)
    rows = [set(row.nonzero()[:, 0].tolist()) for row in coalitions]
    pairs = list(combinations(range(n_players), 2))
    design = [[float(i in m) for i in range(n_players)] + [float(i in m and j in m) for i, j in pairs] for m in rows]
    values, weights = [value(m) for m in rows], [exp(-rate * d) for d in far]
    return (torch.tensor(numbers, dtype=torch.float64) for numbers in (design, values, weights))


def least_squares(design, values, weights):
    """The terms of weighted least squares with an intercept, without the intercept."""
    root = weights.sqrt()[:, None]
    whole = torch.cat([torch.ones_like(root), design], 1)
    return torch.linalg.lstsq(root * whole, root * values[:, None]).solution[1:, 0]


def slow_lasso(design, values, weights, alpha, rounds=3000):
    """The Lasso by coordinate descent; the intercept is the weighted mean of the residual."""
    share = weights / weights.sum()
    centred, left = design - share @ design, values - share @ values
    penalty = alpha * (centred.T @ (share * left)).abs().max()
    terms = torch.zeros(design.shape[1], dtype=torch.float64)
    for _ in range(rounds):
        for k in range(len(terms)):
            column = centred[:, k]
            pull = column @ (share * (left - centred @ terms + column * terms[k]))
            terms[k] = pull.sign() * (pull.abs() - penalty).clamp(min=0) / (share @ column.square())
    return terms


def terms_of(found):
    return torch.cat([found.first_order[0], found.second_order[0][tuple(torch.triu_indices(*found.second_order.shape[1:], 1))]])


@pytest.fixture
def tight(monkeypatch):
    monkeypatch.setattr(lime_module, "TOLERANCE", 1e-13)


@pytest.mark.parametrize("decay", [None, 0.7])
@pytest.mark.parametrize("n_samples", [60, 2**5])  # drawn, and enumerated
def test_without_a_penalty_it_is_weighted_least_squares(n_samples, decay):
    game, distances = random_game(2, 3, seed=1), departures(5)
    coalitions = sample_coalitions(5, n_samples, seeded(0))
    expected = least_squares(*regression(coalitions, value_function(game), distances, decay))
    found = lime(game, distances, n_samples, alpha=0.0, decay=decay)
    torch.testing.assert_close(terms_of(found), expected, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1e-3, 0.1])
@pytest.mark.parametrize("n_samples", [31, 2**5])
def test_with_a_penalty_it_is_the_lasso(n_samples, alpha, tight):
    game, distances = random_game(2, 3, seed=2), departures(5)
    coalitions = sample_coalitions(5, n_samples, seeded(0))
    expected = slow_lasso(*regression(coalitions, value_function(game), distances), alpha)
    found = terms_of(lime(game, distances, n_samples, alpha=alpha))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    assert alpha < 0.1 or (found == 0).any()


def test_moments_give_the_same_result_as_the_full_data(tight):
    """scikit-learn's weighted fit of the full data with an intercept gives the same terms as the moments."""
    game, distances = relu_game(5, 5, seed=0), departures(10)
    coalitions = sample_coalitions(10, 500, seeded(0))
    design, values, weights = regression(coalitions, value_function(game), distances)
    share = weights / weights.sum()
    penalty = ((design - share @ design).T @ (share * (values - share @ values))).abs().max()
    whole = Lasso(1e-2 * penalty.item(), tol=1e-12, max_iter=100_000).fit(design.numpy(), values.numpy(), weights.numpy())
    found = terms_of(lime(game, distances, 500, alpha=1e-2))
    torch.testing.assert_close(found, torch.from_numpy(whole.coef_), rtol=0, atol=1e-6)


def test_terms_are_optimal_up_to_the_tolerance():
    """Optimality of the Lasso: the gradient is equal to the penalty for nonzero terms, and smaller for the others."""
    game, distances = opaque(relu_game(6, 6, seed=1)), departures(12)
    found = terms_of(lime(game, distances, 1000, alpha=0.01))
    design, values, weights = regression(sample_coalitions(12, 1000, seeded(0)), value_function(game), distances)
    share = weights / weights.sum()
    centred, left = design - share @ design, values - share @ values
    penalty = 0.01 * (centred.T @ (share * left)).abs().max()
    pull = centred.T @ (share * (left - centred @ found)) / penalty
    assert (pull.abs() < 1.1).all() and (found == 0).any()
    assert ((pull * found.sign())[found != 0] > 0.9).all()


def quadratic_game():
    """A game of two and three players with dividends of single players and pairs only."""
    single, pair = torch.randn(5, generator=seeded(3), dtype=torch.float64), torch.randn(5, 5, generator=seeded(4), dtype=torch.float64)
    pair = pair.triu(1)
    return CallableGame(2, 3, lambda z: 0.3 + z.double() @ single + ((z.double() @ pair) * z.double()).sum(1))


@pytest.mark.parametrize("n_samples", [31, 32])
def test_quadratic_game_is_exact_with_any_kernel(n_samples):
    game = quadratic_game()
    found, truth = lime(game, departures(5), n_samples, alpha=0.0), exact(game)
    torch.testing.assert_close(found.second_order, truth.second_order, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.first_order, truth.first_order, rtol=0, atol=1e-10)
    assert found.completeness_gap.abs().item() < 1e-10


def test_marginal_is_the_shapley_value_of_the_model_and_the_gap_its_error():
    game = random_game(2, 3, seed=5)
    found = lime(game, departures(5), 2**5)
    first, second = found.first_order[0], found.second_order[0].triu(1)
    model = CallableGame(2, 3, lambda z: 0.9 + z.double() @ first + ((z.double() @ second) * z.double()).sum(1))
    torch.testing.assert_close(found.marginal[0], shapley_values(model), rtol=0, atol=1e-12)
    value, modelled = value_function(game), value_function(model)
    missed = value(range(5)) - value([]) - (modelled(range(5)) - modelled([]))  # the intercept of the model cancels
    assert found.completeness_gap.item() == pytest.approx(missed, abs=1e-12) and abs(missed) > 1e-3
    assert (found.full - found.empty).item() == pytest.approx(value(range(5)) - value([]), abs=1e-12)


def test_sample_starts_with_the_full_coalition_and_is_uniform():
    drawn = uniform_coalitions(20, 5000, seeded(0))
    assert drawn[0].all() and drawn.shape == (5000, 20)
    assert ((drawn.double().mean(0) - 0.5).abs() < 5 * 0.5 / 5000**0.5).all()


def test_kernel_is_one_half_at_the_median_and_constant_without_distances():
    distances = torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64)
    assert lime_module._distance_weights(distances, None).tolist() == pytest.approx([1, 0.5, 0.5**4])
    assert lime_module._distance_weights(distances, 2.0).tolist() == pytest.approx([1, exp(-2), exp(-8)])
    assert lime_module._distance_weights(0 * distances, None).tolist() == [1, 1, 1]


def test_it_converges_to_the_fit_of_all_coalitions():
    errors = []
    for seed in range(4):
        game, distances = opaque(relu_game(5, 6, seed)), departures(11)
        truth = lime(game, distances, 2**11, alpha=0.0).second_order
        errors.append([relative_mse(lime(game, distances, n, alpha=0.0, generator=seeded(seed)).second_order, truth) for n in (200, 1600)])
    few, many = torch.tensor(errors).median(0).values
    assert many < few / 4


def test_dummy_has_zero_credit_and_twins_have_equal_credit():
    game = CallableGame(2, 3, lambda z: (z[:, 0] & z[:, 1] & z[:, 2]) * 1.0 + (z[:, 0] & z[:, 1] & z[:, 3]))
    for alpha in (0.0, 1e-3):
        found = lime(game, torch.ones(5), 2**5, alpha=alpha)
        assert found.second_order[0, 4].abs().max() < 1e-6 and found.first_order[0, 4].abs() < 1e-6
        torch.testing.assert_close(found.second_order[0, 2, :2], found.second_order[0, 3, :2], rtol=0, atol=1e-4)


def test_constant_game_has_no_terms():
    found = lime(CallableGame(2, 2, lambda z: torch.full((len(z),), 0.25)), torch.zeros(4))
    assert (found.marginal == 0).all() and (found.between == 0).all() and found.completeness_gap.item() == 0


def test_budget_is_respected_and_the_result_depends_on_the_generator():
    game = random_game(3, 3, seed=0)
    first, same, other = (lime(game, departures(6), 50, generator=seeded(seed)).between for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert game.n_evaluations == 3 * (50 + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 1}, "n_samples of at least 2, got 1"),
        ({"alpha": -1.0}, "alpha and a decay of at least 0, got alpha=-1.0"),
        ({"decay": -0.5}, "got alpha=0.001 and decay=-0.5"),
        ({"decay": float("nan")}, "decay=nan"),
        ({"n_samples": 10, "alpha": 0.0}, r"determine the 21 terms.* alpha above 0"),
    ],
)
def test_undetermined_fits_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        lime(random_game(3, 3, seed=0), departures(6), **arguments)


def test_too_many_players_for_memory_are_refused_before_evaluation():
    game = CallableGame(2000, 2000, lambda z: z[:, 0] / 0)
    with pytest.raises(ValueError, match=f"8002000 terms of 4000 need {16 * 8002000**2 / 2**30:.0f} GiB"):
        lime(game, torch.ones(4000))


def test_missing_extra_is_named_before_evaluation(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"pip install 'captum-pairwise\[lime\]'"):
        lime(CallableGame(1, 1, lambda z: z[:, 0] / 0), torch.ones(2))
    assert lime(random_game(1, 1, seed=0), torch.ones(2), alpha=0.0).between.isfinite().all()  # least squares does not need the extra


@pytest.mark.parametrize("backgrounds", [None, cp.Backgrounds(images(3, seed=5)[0])])
def test_distance_is_the_mean_squared_difference_of_the_masked_images(model, backgrounds, monkeypatch):
    """The distance is the mean squared difference over all values of both images, averaged over backgrounds."""
    seen = []
    kernel = lime_module._distance_weights
    monkeypatch.setattr(lime_module, "_distance_weights", lambda distances, decay: seen.append(distances) or kernel(distances, decay))
    pair = images(2)
    cp.PairwiseLime(model).interactions(pair, baselines=(backgrounds, 0.5), feature_mask=MASKS)
    coalitions = sample_coalitions(7, 20_000, seeded(0))
    for example, distances in enumerate(seen):
        for row, distance in zip(coalitions[::9], distances[::9], strict=True):
            members = cp.blur_baseline(pair[0])[example : example + 1] if backgrounds is None else backgrounds.images
            members = cp.mean_colour(pair[0], MASKS[0])[example : example + 1] if backgrounds is None else members
            of_query = [((pair[0][example] - member) * ~row[MASKS[0][0]]).square().sum() for member in members]
            of_retrieved = ((pair[1][example] - 0.5) * ~row[4 + MASKS[1][0]]).square().sum()
            expected = (torch.stack(of_query).mean() + of_retrieved) / (2 * 3 * 12 * 12)
            assert distance.item() == pytest.approx(expected.item(), abs=1e-12)


def test_elements_that_are_always_present_add_no_distance(model):
    ids = MASKS[0].clone()
    ids[..., :3] = -1
    pair = images(1)
    mask = (ids, MASKS[1])
    found = build_input_pairs(model, pair, ForwardContext(), (0.0, None), mask).measure_changes(0)
    for player in range(4):
        own = pair[0][0][:, ids[0, 0] == player]
        assert found[player].item() == pytest.approx(own.square().sum().item() / (2 * 3 * 12 * 12), abs=1e-12)


def test_absent_parts_have_their_mean_colour(model):
    pair = images(2)
    flat = tuple(cp.mean_colour(batch, mask) for batch, mask in zip(pair, MASKS, strict=True))
    for example in range(2):
        for player in range(4):
            own = pair[0][example][:, MASKS[0][0, 0] == player]
            assert torch.allclose(flat[0][example][:, MASKS[0][0, 0] == player], own.mean(1, keepdim=True))
    found = cp.PairwiseLime(model).interactions(pair, feature_mask=MASKS)
    torch.testing.assert_close(found.empty, model(*flat), rtol=0, atol=1e-12)
    given = cp.PairwiseLime(model).interactions(pair, baselines=flat, feature_mask=MASKS)
    torch.testing.assert_close(given.between, found.between, rtol=0, atol=1e-12)
    blurred = cp.PairwiseLime(model).interactions(pair, baselines=(cp.blur_baseline(pair[0]), None), feature_mask=MASKS)
    torch.testing.assert_close(blurred.empty, model(cp.blur_baseline(pair[0]), flat[1]), rtol=0, atol=1e-12)


def test_towers_and_opaque_similarities_give_the_same_result(model):
    found, opaque_one = (
        cp.PairwiseLime(forward).interactions(images(2), feature_mask=MASKS, n_samples=100) for forward in (model, lambda q, r: model(q, r))
    )
    torch.testing.assert_close(found.second_order, opaque_one.second_order, rtol=0, atol=1e-10)
    assert opaque_one.n_evaluations.tolist() == [101, 101]
    assert (found.n_evaluations <= 2**4 + 2**3).all()


def test_progress_bar(model, capsys):
    cp.PairwiseLime(model).attribute(images(1), feature_mask=MASKS)
    assert capsys.readouterr().err == ""
    cp.PairwiseLime(model).attribute(images(1), feature_mask=MASKS, show_progress=True)
    assert "PairwiseLime" in capsys.readouterr().err


@pytest.mark.parametrize(("rounds", "is_done"), [(3, False), (10_000, True)])
def test_a_lasso_that_does_not_converge_warns_in_words_of_its_arguments(rounds, is_done, monkeypatch):
    monkeypatch.setattr(lime_module, "ROUNDS", rounds)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        lime(random_game(4, 3, 0), torch.ones(7), n_samples=60, alpha=1e-3)
    messages = [str(warning.message) for warning in warned]
    expected = f"The Lasso of LIME has 28 terms and did not converge in {rounds} rounds, .* Raise n_samples or alpha"
    assert messages == [] if is_done else len(messages) == 1 and re.match(expected, messages[0])
