"""Properties of every attribution class on equal images, images equal to their baselines, and images with few players."""

import inspect

import pytest
import torch
from captum.attr import Attribution, LayerAttribution
from conftest import images, tiny_encoder
from game_strategies import EPS
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from own_methods import ARGUMENTS, list_own_classes

import captum_pairwise as cp

pytestmark = [
    pytest.mark.filterwarnings("ignore:No window lowers", "ignore:No pair of windows", "ignore:.*could not be split"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
CLASSES = [cls for cls in list_own_classes() if cls is not cp.LayerIGCAM]  # of a network of one image
OF_PAIRS = [cls for cls in CLASSES if cls.order == 2]
WITH_MASKS = [cls for cls in CLASSES if cls not in (cp.LayerVESM, cp.SBSM, cp.LayerIGSAM, cp.LayerIGCAM)]
GIVING_CREDIT = [cls for cls in CLASSES if cls is not cp.LayerVESM]  # which takes no baselines
SIMILARITIES = st.sampled_from(["dot", "cosine", "euclidean"])
BILINEAR_ALONE = (cp.LayerPairwiseSAM, cp.LayerSAM)
CELLS, PIXELS, LAST = 3, 4, 4  # of the tiny encoder: cells of a side, pixels over each, the last layer
SIDE = CELLS * PIXELS
WITHIN = {cp.PairwiseLime: 1e-3, cp.SuperpixelLime: 1e-3}  # of a Lasso solved to 1e-5 of the square, and a fit in float32


def takes(cls, name):
    return name in inspect.signature(cls.attribute).parameters


def make_method(cls: type[Attribution], similarity: str, seed: int):
    assume(similarity != "euclidean" or cls not in BILINEAR_ALONE)
    model = cp.SimilarityWrapper(tiny_encoder(seed), similarity=similarity)
    return cls(model, model.query_encoder[LAST]) if issubclass(cls, LayerAttribution) else cls(model)


def attribute_pair(cls, pair, masks=None, similarity="dot", seed=0, **arguments):
    """The result of a class as a tuple, with these players if the class takes masks."""
    method = make_method(cls, similarity, seed)
    name = next((one for one in ("feature_mask", "layer_mask") if takes(cls, one)), None)
    chosen = {name: masks if name == "feature_mask" else tuple(mask[..., ::PIXELS, ::PIXELS] for mask in masks)} if name and masks else {}
    found = method.attribute(pair, **{**ARGUMENTS.get(cls.__name__, {}), **chosen, **arguments})
    return found if isinstance(found, tuple) else (found,)


@st.composite
def masks(draw, least=1, gaps=False):
    """A random mask of one image: each cell, a block of pixels, gets any player; with `gaps` also -1, and some ids stay unused."""
    n_players = draw(st.integers(least, 3))
    numbers = draw(st.permutations(range(n_players + 2)))[:n_players] if gaps else list(range(n_players))
    owners = draw(st.lists(st.sampled_from([*numbers, -1] if gaps else numbers), min_size=CELLS**2, max_size=CELLS**2))
    owners[0] = numbers[0]  # somebody plays
    return torch.tensor(owners).view(1, 1, CELLS, CELLS).repeat_interleave(PIXELS, 2).repeat_interleave(PIXELS, 3)


FEWER = settings(max_examples=max(1, settings().max_examples // 2))  # a network is slower than a table
ONE = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.long)


@pytest.mark.parametrize("cls", CLASSES)
@FEWER
@given(query=masks(), similarity=SIMILARITIES, seed=st.integers(0, 99))
def test_identical_images_get_identical_credit(cls, query, similarity, seed):
    """With the same players both images have equal credit; pairs are symmetric."""
    image = images(2, seed)[0]
    found = attribute_pair(cls, (image, image.clone()), (query, query), similarity, seed)
    if cls is cp.PairwiseSBSM:
        assert all(not one.any() or one.isfinite().all() for one in found)
        return
    mirrored = (found[0].mT,) if cls in OF_PAIRS and found[0].dim() == 3 else found[::-1]
    if cls in OF_PAIRS and found[0].dim() == 5:
        mirrored = (found[0].permute(0, 3, 4, 1, 2),)
    largest = max(one.abs().max().item() for one in found)
    for one, other in zip(found, mirrored, strict=True):
        assert one.isfinite().all()
        assert (one - other).abs().max() <= WITHIN.get(cls, 2**20 * EPS) * max(largest, 1.0)


@pytest.mark.parametrize("cls", GIVING_CREDIT)
@FEWER
@given(query=masks(), retrieved=masks(), similarity=SIMILARITIES, seed=st.integers(0, 99))
def test_images_equal_to_their_baselines_get_no_credit(cls, query, retrieved, similarity, seed):
    pair = images(2, seed)
    for one in attribute_pair(cls, pair, (query, retrieved), similarity, seed, baselines=pair):
        assert one.abs().max() <= 2**10 * EPS  # of similarities near 1: the differences of equal numbers


@pytest.mark.parametrize("cls", WITH_MASKS)
@FEWER
@given(similarity=SIMILARITIES, seed=st.integers(0, 99), batch=st.integers(1, 2))
def test_one_player_in_each_image(cls, similarity, seed, batch):
    found = attribute_pair(cls, images(batch, seed), (ONE, ONE), similarity, seed)
    assert all(one.isfinite().all() and len(one) == batch for one in found)
    if cls in OF_PAIRS:
        assert found[0].shape == (batch, 1, 1)
    else:
        assert all(len(one.flatten(1).unique(dim=1)[0]) == 1 for one in found)


@pytest.mark.parametrize("cls", [cls for cls in OF_PAIRS if takes(cls, "baselines") and cls not in (cp.PairwiseSBSM, cp.PairwiseLime)])
@FEWER
@given(seed=st.integers(0, 99))
def test_one_player_in_each_image_gets_the_joint_effect(cls, seed):
    """`φ = v(both) - v(query alone) - v(retrieved alone) + v(neither)`, for any index that is complete and gives single players theirs."""
    model, (query, retrieved) = cp.SimilarityWrapper(tiny_encoder(seed), similarity="dot"), images(1, seed)
    without = tuple(batch * 0.3 for batch in images(1, seed + 100))
    with torch.no_grad():
        if issubclass(cls, LayerAttribution) or "Hessian" not in cls.__name__:
            due = model(query, retrieved) - model(query, without[1]) - model(without[0], retrieved) + model(*without)
            arguments = {} if "Hessian" not in cls.__name__ else {"weight": "taylor"}
            method = cls(model, model.query_encoder[LAST], **arguments) if issubclass(cls, LayerAttribution) else cls(model, **arguments)
            name = "feature_mask" if takes(cls, "feature_mask") else "layer_mask"
            mask = ONE if name == "feature_mask" else ONE[..., ::PIXELS, ::PIXELS]
            found = method.attribute((query, retrieved), baselines=without, **{name: (mask, mask)})
            assert (found[:, 0, 0] - due).abs().max() <= 2**12 * EPS * max(1.0, due.abs().max().item())


@pytest.mark.parametrize("cls", WITH_MASKS)
@FEWER
@given(query=masks(gaps=True), retrieved=masks(gaps=True), seed=st.integers(0, 99))
def test_unused_ids_get_no_credit_and_change_nothing(cls, query, retrieved, seed):
    pair, both = images(1, seed), (query, retrieved)
    used = [[one for one in mask.unique().tolist() if one >= 0] for mask in both]
    dense = tuple(torch.full_like(mask, -1) for mask in both)
    for mask, ids, one in zip(both, used, dense, strict=True):
        for number, player in enumerate(ids):
            one[mask == player] = number
    found, expected = attribute_pair(cls, pair, both, seed=seed), attribute_pair(cls, pair, dense, seed=seed)
    assert all(one.isfinite().all() for one in found)
    if cls in OF_PAIRS:
        # PairwiseSBSM: means over up to SIDE**2 pixels of each image, added in an order that depends on the number of ids
        rtol = 2 * SIDE**2 * EPS if cls is cp.PairwiseSBSM else 0.0
        torch.testing.assert_close(found[0][:, used[0]][:, :, used[1]], expected[0], rtol=rtol, atol=0)
        assert found[0].count_nonzero() == expected[0].count_nonzero()
    elif issubclass(cls, LayerAttribution):
        for one, other, ids in zip(found, expected, used, strict=True):
            assert torch.equal(one[..., ids], other) and one.count_nonzero() == other.count_nonzero()
    else:
        for one, other, mask in zip(found, expected, both, strict=True):
            assert torch.equal(one, other) and not one[(mask < 0).expand_as(one)].any()
