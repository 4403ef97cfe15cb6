from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
from conftest import images, opaque, random_game, random_tensor, relu_game, seeded, tiny_encoder
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise import interop
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.files import optional_packages
from captum_pairwise.games.build import build_input_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import CallableGame
from captum_pairwise.results.index import parse_index
from captum_pairwise.results.interactions import stack_interactions

shapiq = pytest.importorskip("shapiq", reason="conversions to and from shapiq need it: pip install 'captum-pairwise[interop]'")

GAMES = [random_game(3, 2, seed=1), relu_game(3, 2, seed=2)]


INDICES = interop.SHAPIQ_NAMES.items()
indices = pytest.mark.parametrize(("name", "in_shapiq"), INDICES)
# of the exact computer of shapiq, at the empty coalition
pytestmark = pytest.mark.filterwarnings("ignore:CHII is not defined", "ignore:invalid value encountered", "ignore:divide by zero")


def batch(name="shapley-taylor"):
    return stack_interactions([exact(game, index=parse_index(name)) for game in GAMES])


def assert_same_values(found, expected, tolerance=1e-12):
    """The baseline and the values of every player and of every pair in both orders are equal."""
    n_players = expected.n_players
    asked = [*((i,) for i in range(n_players)), *((i, j) for i in range(n_players) for j in range(n_players) if i != j)]
    assert [found[key] for key in asked] == pytest.approx([expected[key] for key in asked], abs=tolerance)
    assert (found.index, found.max_order, found.min_order, found.n_players) == (expected.index, 2, 0, n_players)
    assert [found[()], found.baseline_value] == pytest.approx([expected.baseline_value] * 2, abs=tolerance)


@indices
def test_values_equal_the_exact_computer_of_shapiq(name, in_shapiq):
    for found, game in zip(interop.to_shapiq(batch(name)), GAMES, strict=True):
        assert_same_values(found, shapiq.ExactComputer(interop.as_shapiq_game(game))(in_shapiq, order=2), tolerance=1e-8)
        assert found.estimated and found.index == in_shapiq


def test_the_budget_is_told():
    interactions = batch()
    assert [value.estimation_budget for value in interop.to_shapiq(interactions)] == interactions.n_evaluations.tolist()


@indices
def test_there_and_back_loses_only_what_shapiq_does_not_store(name, in_shapiq):
    interactions = batch(name)
    back = interop.from_shapiq(interop.to_shapiq(interactions), n_query=3)
    assert back.full.isnan().all() and back.completeness_gap.isnan().all() and back.index == interactions.index
    lost = {"full"} | {"banzhaf": {"empty"}, "co-moebius": {"constant"}}.get(name, set())
    for block in ("empty", "full", "first_order", "marginal", "between", "within_query", "within_retrieved", "n_evaluations"):
        if block in lost:
            assert getattr(back, block).isnan().all()
        else:
            assert_close(getattr(back, block), getattr(interactions, block), rtol=0, atol=1e-12)
    assert back.n_query == 3
    everything = torch.rand(6, 5, generator=seeded(0), dtype=torch.float64) < 0.5
    if name != "co-moebius":
        assert_close(back.predict(everything), interactions.predict(everything), rtol=0, atol=1e-12)


@indices
def test_exact_values_of_shapiq_are_those_of_the_package(name, in_shapiq):
    exact_values = [shapiq.ExactComputer(interop.as_shapiq_game(game))(in_shapiq, order=2) for game in GAMES]
    found, expected = interop.from_shapiq(exact_values, n_query=3), batch(name)
    for block in ("first_order", "between", "within_query", "within_retrieved"):
        assert_close(found[block], expected[block], rtol=0, atol=1e-8)
    assert found.n_evaluations.tolist() == [0, 0] and found.index == parse_index(name)
    if found.index.is_efficient:
        assert_close(found.full, expected.full, rtol=0, atol=1e-8)
        assert found.completeness_gap.abs().max() < 1e-8
    else:
        assert found.full.isnan().all()


def test_credit_that_shapiq_cannot_name_is_refused():
    lime = replace(batch(), index=None)
    with pytest.raises(ValueError, match="credit of an interaction index, got credit of another kind"):
        interop.to_shapiq(lime)
    for p in (0.3, (0.5, 0.6)):
        with pytest.raises(ValueError, match=r"'banzhaf' at p = 0.5.*got p = \(0"):
            interop.to_shapiq(exact(GAMES[0], index=parse_index("banzhaf", p)))


def test_what_shapiq_leaves_out_is_0():
    sparse = {"index": "STII", "max_order": 2, "n_players": 3, "baseline_value": 0.5, "estimated": False}
    found = interop.from_shapiq([shapiq.InteractionValues({(1,): 2.0, (0, 2): 3.0}, min_order=1, **sparse)], n_query=1)
    assert found.first_order.tolist() == [[0, 2, 0]] and found.between.tolist() == [[[0, 3]]]
    assert found.within_retrieved.tolist() == [[[0, 0], [0, 0]]] and (found.empty, found.full) == (0.5, 5.5)


@pytest.mark.parametrize("approximator", ["SVARMIQ", "SHAPIQ"])
def test_shapiqs_approximators_are_exact_where_they_see_every_coalition(approximator):
    game = random_game(3, 2, seed=3)
    method = getattr(shapiq, approximator)(n=5, max_order=2, index="STII", random_state=0)
    assert_same_values(method.approximate(2**5, interop.as_shapiq_game(game)), *interop.to_shapiq(exact(game)))


def test_shapiqs_permutations_are_exact_where_no_three_players_act_together():
    second = random_tensor(6, 6, seed=0)
    game = CallableGame(3, 3, lambda z: 2 + torch.einsum("ri,ij,rj->r", z.double(), second, z.double()))
    method = shapiq.PermutationSamplingSTII(n=6, max_order=2, random_state=0)
    assert_same_values(method.approximate(200, interop.as_shapiq_game(game)), *interop.to_shapiq(exact(game)))


def test_an_estimate_of_shapiq_keeps_its_gap_unknown():
    values = shapiq.SVARMIQ(n=5, max_order=2, index="STII", random_state=0).approximate(24, interop.as_shapiq_game(GAMES[0]))
    found = interop.from_shapiq([values], n_query=2)
    assert found.completeness_gap.isnan().all() and found.between.shape == (1, 2, 3) and found.n_evaluations.item() <= 24


def test_the_game_of_two_images_is_one_of_shapiq():
    """A network with parameters that require gradients; coalitions are integers; v(∅) is the similarity of the blurred images."""
    model, pair = cp.SimilarityWrapper(tiny_encoder()), images(1)
    masks = (cp.grid(12, 12, 2, 1), cp.grid(12, 12, 1, 2))
    game = interop.as_shapiq_game(next(build_input_pairs(model, pair, ForwardContext(), feature_mask=masks).games()))
    assert isinstance(game, shapiq.Game) and game.n_players == 4
    values = game(torch.tensor([[0] * 4, [1] * 4]).numpy())
    assert_close(torch.from_numpy(values), torch.cat([model(*map(cp.blur_baseline, pair)), model(*pair)]).detach(), rtol=0, atol=1e-12)
    found = interop.from_shapiq([shapiq.ExactComputer(game)("STII", order=2)], n_query=2)
    assert_close(found.between, cp.ExactShapleyTaylor(model).attribute(pair, feature_mask=masks), rtol=0, atol=1e-12)


def test_shapiq_counts_as_evaluations():
    game = random_game(2, 2, seed=0)
    shapiq.ExactComputer(interop.as_shapiq_game(game))("STII", order=2)
    assert game.n_evaluations == 2**4


def test_half_of_each_pair_stands_at_either_place():
    interactions = batch()
    matrix = interop.to_shap_matrix(interactions)
    assert_close(matrix, matrix.mT)
    assert_close(matrix.sum(2), interactions.marginal)
    assert_close(matrix.sum((1, 2)), interactions.full - interactions.empty)
    assert_close(matrix.diagonal(dim1=1, dim2=2), interactions.first_order)


@pytest.mark.slow
def test_shap_agrees():
    shap = pytest.importorskip("shap", reason="an outside implementation to compare with: pip install 'captum-pairwise[oracles]'")
    game = random_game(3, 3, seed=4)
    masker = shap.maskers.Independent(np.zeros((1, 6)))
    explainer = shap.ExactExplainer(lambda z: game.values(torch.tensor(z > 0.5)).numpy(), masker)
    expected = explainer(np.ones((1, 6)), interactions=2)
    assert_close(interop.to_shap_matrix(exact(game)), torch.from_numpy(expected.values), rtol=0, atol=1e-12)


@pytest.mark.parametrize("convert", [interop.to_shapiq, interop.to_shap_matrix])
def test_pairs_that_nobody_computed_are_not_made_up(convert):
    partial = factorise(GAMES[1], 20)
    with pytest.raises(ValueError, match="within_query and within_retrieved to have been computed"):
        convert(partial)
    convert(replace(partial, within_query=torch.zeros(1, 3, 3).double(), within_retrieved=torch.zeros(1, 2, 2).double()))


def shapiq_values(index="STII", max_order=2, n_players=4):
    return shapiq.ExactComputer(opaque_values, n_players=n_players)(index, order=max_order)


def opaque_values(z):
    return opaque(relu_game(2, z.shape[1] - 2, seed=0)).values(torch.tensor(z)).numpy()


REFUSED = {
    "another index": (lambda: [shapiq_values("kADD-SHAP")], 2, "got 'kADD-SHAP'"),
    "Banzhaf values": (lambda: [shapiq_values("BII")], 2, "'FBII'.*got 'BII'"),
    "two indices": (lambda: [shapiq_values("k-SII"), shapiq_values("STII")], 2, r"one index .* got \['STII', 'k-SII'\]"),
    "another order": (lambda: [shapiq_values(max_order=3)], 2, "got 'STII', 3"),
    "Shapley values": (lambda: [shapiq_values("SV", 1)], 2, "max_order=2"),
    "pairs alone": (
        lambda: [shapiq.InteractionValues({(0, 1): 1.0}, index="STII", max_order=2, min_order=2, n_players=2)],
        1,
        "got 'STII', 2, 2",
    ),
    "different sizes": (lambda: [shapiq_values(), shapiq_values(n_players=3)], 2, r"got .* and \[3, 4\]"),
    "nobody retrieved": (lambda: [shapiq_values()], 4, "n_query=4"),
    "nothing": (lambda: [], 2, "non-empty list"),
    "values that are not in a list": (shapiq_values, 2, "list of shapiq.InteractionValues.* got InteractionValues"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_values_are_refused(case, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # test the messages of the package, not of jaxtyping
    values, n_query, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence):
        interop.from_shapiq(values(), n_query)


def test_the_message_names_the_extra_without_shapiq(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(optional_packages, "import_module", missing)
    interop._make_game_class.cache_clear()
    for call in (lambda: interop.to_shapiq(batch()), lambda: interop.as_shapiq_game(GAMES[0])):
        with pytest.raises(ImportError, match=r"captum-pairwise\[interop\]"):
            call()
