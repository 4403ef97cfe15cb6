"""The share of the variance that credits predict, against all coalitions and against least squares."""

import weakref
from dataclasses import replace
from math import isnan

import pytest
import torch
from conftest import relu_game, seeded
from test_tower_regression import multiply_towers
from torch import Tensor
from torch.testing import assert_close

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.prediction_fit import centre_prediction, draw_balanced, measure_pairs, measure_prediction
from captum_pairwise.estimators.regression.tower_regression import regress_tower
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.sampled_tower import TowerOptions
from captum_pairwise.games.game import CallableGame, Game, TwoTowerGame
from captum_pairwise.results.index import parse_index
from captum_pairwise.results.interactions import Interactions

BANZHAF = parse_index("banzhaf", (0.3, 0.6))
indices = pytest.mark.parametrize("index", [BANZHAF, parse_index("shapley-taylor"), parse_index("faith-shap")], ids=str)


def explained_share(game: Game, result: Interactions, p: tuple[float, float]) -> Tensor:
    """`1 - E(v - v̂)² / Var v`, coalition by coalition."""
    rows = all_coalitions(game.n_players)
    values, predicted = game.values(rows).tolist(), result.predict(rows)[0].tolist()
    weights = []
    for row in rows.tolist():
        weight = 1.0
        for player, is_present in enumerate(row):
            presence = p[0] if player < game.n_query else p[1]
            weight *= presence if is_present else 1 - presence
        weights.append(weight)
    mean = sum(w * v for w, v in zip(weights, values, strict=True))
    variance = sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True))
    missed = sum(w * (v - g) ** 2 for w, v, g in zip(weights, values, predicted, strict=True))
    return torch.tensor(1 - missed / variance, dtype=torch.float64)


@indices
@pytest.mark.parametrize("within", [True, False])
def test_an_enumerated_game_has_the_exact_share(index, within) -> None:
    game = relu_game(4, 3, 0)
    result = factorise(game, 2**4, TowerOptions(index=index, within=within))
    assert_close(result.r2[0], explained_share(game, result, index.probabilities), rtol=0, atol=1e-12)
    assert result.r2_law.startswith("all coalitions of each side in all combinations, each part present with probability")


@indices
def test_an_opaque_game_has_the_exact_share(index) -> None:
    game = CallableGame(4, 3, relu_game(4, 3, 0).values)
    result = exact(game, index=index)
    assert_close(result.r2[0], explained_share(game, result, index.probabilities), rtol=0, atol=1e-12)


def test_banzhaf_predicts_best_under_its_own_law() -> None:
    result = exact(relu_game(5, 4, 1), index=parse_index("banzhaf"))
    shares = {name: result.as_index(name).r2.item() for name in ("shapley-taylor", "k-sii", "faith-shap", "chaining", "moebius")}
    assert result.r2.item() > max(shares.values())


def test_the_closed_form_of_the_banzhaf_share() -> None:
    """`[p(1-p) Σ h² + p²(1-p)² Σ g²] / Var v` with pairs between the images alone, and `Var v` from the moments of the towers."""
    game, p = relu_game(4, 3, 2), 0.5
    result = factorise(game, 2**4, TowerOptions(index=parse_index("banzhaf", p)))
    slopes = result.first_order[0] + p * torch.cat([result.between[0].sum(1), result.between[0].sum(0)])
    explained = p * (1 - p) * slopes.square().sum() + (p * (1 - p)) ** 2 * result.between.square().sum()
    u, w = game.embed_query(all_coalitions(4)), game.embed_retrieved(all_coalitions(3))
    moments = u.T @ u / len(u), w.T @ w / len(w)
    variance = (moments[0] * moments[1]).sum() - (u.mean(0) @ w.mean(0)).square()
    assert_close(result.r2[0], explained / variance, rtol=0, atol=1e-12)


@indices
@pytest.mark.parametrize("as_towers", [True, False])
def test_coalitions_held_out_measure_the_share(index, as_towers) -> None:
    game = relu_game(5, 4, 3)
    opaque = game if as_towers else CallableGame(5, 4, game.values)
    result = exact(game, index=index)
    n_rows = 1024 if as_towers else 4096  # of each tower, or of both
    measured = measure_prediction(opaque, result, n_rows, seeded(1))
    assert_close(measured.r2, result.r2, rtol=0, atol=0.05 * (1 - result.r2).item())
    assert f"{n_rows} coalitions" in measured.r2_law and measured.as_index("shapley").r2_law == measured.r2_law


def test_balanced_coalitions_are_balanced() -> None:
    rows = draw_balanced(11, 16, 0.5, seeded(0)).double()
    assert_close(rows.mean(0), torch.full((11,), 0.5).double())
    together = rows.T @ rows / 16
    assert_close(together - torch.diag(together.diagonal()), torch.full((11, 11), 0.25).double().fill_diagonal_(0))
    biased = draw_balanced(11, 4096, 0.3, seeded(0)).double()
    assert (biased.mean(0) - 0.3).abs().max() < 0.05


def test_a_constant_game_has_no_share() -> None:
    result = exact(CallableGame(2, 2, lambda z: torch.ones(len(z), dtype=torch.float64)))
    assert result.r2.isnan().all()


def test_rounding_is_no_variance() -> None:
    """A similarity that is constant up to the last digit of float32: no share of it can be explained."""
    game = CallableGame(2, 2, lambda z: 0.7 * (1 + torch.finfo(torch.float32).eps * z[:, 0].float()))
    assert exact(game).r2.isnan().all()
    assert exact(CallableGame(2, 2, lambda z: 0.7 * (1 + 1e-5 * z[:, 0].float()))).r2.isfinite().all()


def test_the_regression_of_fixlip_is_the_product_of_two_regressions() -> None:
    game = relu_game(6, 5, 0)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    embed = {"query": game._embed_query, "retrieved": game._embed_retrieved}
    for name in embed:

        def record(rows: Tensor, name: str = name) -> Tensor:
            if len(rows) == 25:
                seen[name] = rows, embed[name](rows)
            return embed[name](rows)

        setattr(game, f"_embed_{name}", record)
    result = factorise(game, 25, TowerOptions(fit="regression", index=parse_index("banzhaf")))
    constant, first, pairs = multiply_towers(*(regress_tower(*seen[name]) for name in embed))
    assert_close(result.between[0], pairs)
    assert_close(result.first_order[0], first)
    assert_close(result.constant[0], constant)


def test_the_regression_has_no_other_index() -> None:
    with pytest.raises(ValueError, match="Expected index='banzhaf' with fit='regression'"):
        TowerOptions(fit="regression")
    result = factorise(relu_game(6, 5, 0), 25, TowerOptions(fit="regression", index=parse_index("banzhaf")))
    with pytest.raises(ValueError, match="Expected a result that keeps its sample"):
        result.as_index("faith-shap")


def test_a_result_keeps_no_embeddings_that_were_held_out() -> None:
    game, seen = relu_game(7, 6, 0), []
    embed = game._embed_query

    def record(rows: Tensor) -> Tensor:
        embeddings = embed(rows)
        seen.extend([weakref.ref(embeddings)] if len(rows) == 32 else [])
        return embeddings

    game._embed_query = record
    result = factorise(game, 20, TowerOptions(held_out=32, index=BANZHAF))
    del game
    assert len(seen) == 1 and seen[0]() is None
    assert result.as_index("faith-shap").r2 is not None


def make_linear_towers() -> TwoTowerGame:
    """A game whose pairs between the images are its only changes that need both."""
    query, retrieved = (torch.randn(n, 3, generator=seeded(n), dtype=torch.float64) for n in (5, 4))
    return TwoTowerGame(5, 4, lambda z: z.double() @ query + 1, lambda z: z.double() @ retrieved - 2)


@pytest.mark.parametrize("factor", [1.0, 0.8, 0.0, -1.0])
def test_pairs_of_linear_towers_predict_all_that_needs_both_images(factor) -> None:
    game = make_linear_towers()
    result = factorise(game, 2**5, TowerOptions(index=BANZHAF))
    scaled = replace(result, between=factor * result.between)
    assert_close(measure_pairs(game, scaled, 64, seeded(0)), 1 - (1 - factor) ** 2, rtol=0, atol=1e-9)


def test_images_that_change_nothing_together_have_no_share() -> None:
    """The embedding of one image does not change but for rounding."""
    game = make_linear_towers()
    constant = TwoTowerGame(5, 4, game.embed_query, lambda z: 1.0 + 1e-17 * game.embed_retrieved(z))
    result = factorise(game, 2**5, TowerOptions(index=BANZHAF))
    assert isnan(measure_pairs(constant, result, 64, seeded(0)))


def test_the_credit_of_parts_and_the_constant_do_not_matter_for_what_needs_both_images() -> None:
    game = relu_game(5, 4, 0)
    result = factorise(game, 2**5, TowerOptions(index=BANZHAF))
    other = replace(result, first_order=result.first_order + 5, constant=result.constant - 1)
    shares = [measure_pairs(game, one, 64, seeded(0)) for one in (result, other)]
    assert shares[0] == shares[1] < 1


def test_a_prediction_is_centred_on_all_combinations() -> None:
    """The constant does not depend on the one before, and is that of the exact index up to the error of the sample."""
    game = relu_game(5, 4, 1)
    result = factorise(game, 2**5, TowerOptions(index=parse_index("banzhaf", 0.5)))
    shifted = replace(result, constant=result.constant + 3)
    centred = [centre_prediction(game, one, 4096, seeded(2)) for one in (result, shifted)]
    assert_close(centred[0].constant, centred[1].constant)
    spread = (result.predict(all_coalitions(9)) - game.values(all_coalitions(9))).std()
    assert (centred[0].constant - result.constant).abs() < 0.2 * spread  # far less than that of one coalition
