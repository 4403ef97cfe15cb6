"""First-order LIME against ridge regression on images masked by hand, and against the package `lime`."""

import numpy as np
import pytest
import torch
from conftest import SIZES, images, pair_of_sizes, seeded, tiny_encoder
from model_cases import PROOF_ROWS

import captum_pairwise as cp
from captum_pairwise.attr import lime as recipe
from captum_pairwise.estimators.regression.local_surrogate import cosine_kernel, uniform_coalitions
from captum_pairwise.files import optional_packages

MASKS = (cp.grid(*SIZES[0], 3, 3), cp.grid(*SIZES[1], 2, 4))
PLAYERS = (9, 8)
SAMPLES = 150


def forward_of(kind):
    if kind == "two encoders":
        return cp.SimilarityWrapper(tiny_encoder(0), tiny_encoder(1))
    if kind == "callable head":
        return cp.SimilarityWrapper(tiny_encoder(), similarity=lambda u, w: (u - w).abs().sum(1).neg().exp())
    model = cp.SimilarityWrapper(tiny_encoder())
    return model if kind == "towers" else lambda query, retrieved: model(query, retrieved)


def slow_coefficients(similarity, pair, k, mask, rows, absent):
    """Ridge regression in closed form, in float64: `(Xᵀ W X + 1) β = Xᵀ W y` about the weighted means, of one image masked row by row."""
    values = []
    for row in rows:
        shown = list(pair)
        shown[k] = torch.where(row.bool()[mask] | (mask < 0), pair[k], absent)
        values.append(similarity(*shown).item())
    values, rows = torch.tensor(values, dtype=torch.float64), rows.double()
    distances = 1 - torch.nn.functional.cosine_similarity(rows, torch.ones_like(rows), dim=1)
    weights = (-((distances / 0.25) ** 2)).exp().sqrt()
    design, left = (moment - weights @ moment / weights.sum() for moment in (rows, values))
    gram = torch.einsum("s,si,sj->ij", weights, design, design) + torch.eye(rows.shape[1]).double()
    return torch.linalg.solve(gram, torch.einsum("s,si,s->i", weights, design, left)), values


def part_means(image, mask):
    """Each part of one image in its own mean colour, a part at a time."""
    shown = image.clone()
    for part in mask.unique():
        if part >= 0:
            inside = (mask == part).expand_as(image)
            shown[inside] = image[inside].reshape(3, -1).mean(1, keepdim=True).expand(3, int(inside.sum()) // 3).flatten()
    return shown


def rounding(values):
    """The rounding error of a fit: Captum casts the differences, the weights and the design to float32, and scikit-learn solves in it."""
    return 8 * torch.finfo(torch.float32).eps * (values - values[0]).abs().max().item()


def assert_painted(found, mask, coefficients, values):
    """Every channel of one image carries the coefficient of its part, within the precision of the fit."""
    expected = torch.cat([coefficients, torch.zeros(1, dtype=torch.float64)])[mask]
    torch.testing.assert_close(found.double(), expected.expand_as(found), rtol=0, atol=rounding(values))


@pytest.mark.parametrize("kind", ["towers", "two encoders", "opaque", "callable head"])
def test_coefficients_equal_a_ridge_on_masked_images(kind):
    forward, pair = forward_of(kind), pair_of_sizes()
    found = cp.SuperpixelLime(forward).attribute(pair, feature_mask=MASKS, n_samples=SAMPLES)
    for k in range(2):
        assert found[k].shape == pair[k].shape and found[k].is_contiguous()
        rows = uniform_coalitions(PLAYERS[k], SAMPLES, seeded(0))
        for example in range(2):
            one = tuple(batch[example : example + 1] for batch in pair)
            expected, values = slow_coefficients(forward, one, k, MASKS[k], rows, part_means(one[k], MASKS[k]))
            assert_painted(found[k][example : example + 1], MASKS[k], expected, values)


@pytest.mark.parametrize("k", [0, 1], ids=["query", "retrieved"])
def test_the_package_lime_agrees(k, monkeypatch):
    """The package `lime` gives the same coefficients with its own draws."""
    reason = "an outside implementation to compare with: pip install 'captum-pairwise[oracles]'"
    explainer = pytest.importorskip("lime.lime_image", reason=reason).LimeImageExplainer(random_state=0)
    model, pair, mask = cp.SimilarityWrapper(tiny_encoder()), pair_of_sizes(1), MASKS[k]
    one_sided = (model.given_retrieved(pair[1]), model.given_query(pair[0]))[k]
    seen = []

    def classify(photos):
        with torch.no_grad():
            seen.append(one_sided(torch.from_numpy(photos).permute(0, 3, 1, 2)))
        return seen[-1][:, None].numpy()

    expected = explainer.explain_instance(
        pair[k][0].permute(1, 2, 0).numpy(),
        classify,
        labels=(0,),
        top_labels=None,
        num_samples=SAMPLES,
        segmentation_fn=lambda photo: mask[0, 0].numpy(),
        random_seed=0,
    )
    rows = np.random.RandomState(0).randint(0, 2, SAMPLES * PLAYERS[k]).reshape(SAMPLES, PLAYERS[k])
    rows[0] = 1
    monkeypatch.setattr(recipe, "uniform_coalitions", lambda n_players, *_: torch.from_numpy(rows[:, :n_players]).bool())
    nobody_else = torch.zeros_like(MASKS[1 - k])  # the other image is one part, which takes the first column
    found = cp.SuperpixelLime(model).attribute(pair, feature_mask=(mask, nobody_else)[:: 1 - 2 * k], n_samples=SAMPLES)[k]
    coefficients = torch.zeros(PLAYERS[k], dtype=torch.float64)
    for part, coefficient in expected.local_exp[0]:
        coefficients[part] = coefficient
    assert_painted(found, mask, coefficients, torch.cat(seen))


def test_draws_are_the_grand_coalition_and_then_uniform():
    drawn = uniform_coalitions(40, 5000, seeded(3))
    assert drawn[0].all() and (drawn.double().mean() - 0.5).abs() < 5 / (4 * drawn.numel()) ** 0.5
    assert torch.equal(drawn, uniform_coalitions(40, 5000, seeded(3)))


def test_weights_follow_the_cosine_distance():
    drawn = uniform_coalitions(12, 50, seeded(0))
    drawn[-1] = False
    distances = 1 - torch.nn.functional.cosine_similarity(drawn.double(), torch.ones(50, 12).double(), dim=1)
    assert distances[-1] == 1
    torch.testing.assert_close(cosine_kernel(drawn), (-((distances / 0.25) ** 2)).exp().sqrt(), rtol=0, atol=1e-12)


def test_absent_parts_show_the_baseline(model):
    pair = pair_of_sizes(1)
    found = cp.SuperpixelLime(model).attribute(pair, (0.3, cp.blur_baseline(pair[1])), feature_mask=MASKS, n_samples=SAMPLES)
    for k, absent in enumerate((torch.full_like(pair[0], 0.3), cp.blur_baseline(pair[1]))):
        expected, values = slow_coefficients(model, pair, k, MASKS[k], uniform_coalitions(PLAYERS[k], SAMPLES, seeded(0)), absent)
        assert_painted(found[k], MASKS[k], expected, values)


def test_images_of_a_batch_may_have_different_parts(model):
    """An id that an image does not use has no pixels. Pixels with id -1 are always present and get no credit."""
    ids = MASKS[0].repeat(2, 1, 1, 1)
    ids[1, 0, :3] = -1
    pair = pair_of_sizes()
    found = cp.SuperpixelLime(model).attribute(pair, feature_mask=(ids, MASKS[1]), n_samples=SAMPLES)[0]
    assert (found[1, :, :3] == 0).all() and (found[0] != 0).all()
    used = ids[1].unique()
    used = used[used >= 0]
    renumbered = torch.where(ids[1:] < 0, -1, torch.searchsorted(used, ids[1:].clamp(min=0)))
    one, rows = tuple(batch[1:] for batch in pair), uniform_coalitions(len(used), SAMPLES, seeded(0))
    expected, values = slow_coefficients(model, one, 0, renumbered, rows, part_means(one[0], renumbered))
    assert_painted(found[1:], renumbered, expected, values)


def test_a_target_and_arguments_reach_an_opaque_function(model):
    pair, factors = pair_of_sizes(), torch.tensor([1.0, 4.0], dtype=torch.float64)

    def forward(query, retrieved, factor):
        return torch.stack([torch.zeros(len(query)).double(), model(query, retrieved) * factor], 1)

    arguments = {"feature_mask": MASKS, "n_samples": SAMPLES}
    found = cp.SuperpixelLime(forward).attribute(pair, target=1, additional_forward_args=factors, **arguments)
    for one, plain in zip(found, cp.SuperpixelLime(model).attribute(pair, **arguments), strict=True):
        torch.testing.assert_close(one, plain * factors[:, None, None, None].float(), rtol=0, atol=1e-8)
    with pytest.raises(AssertionError):
        cp.SuperpixelLime(model).attribute(pair, target=0, **arguments)


def test_the_generator_seeds_and_global_randomness_is_left_alone(model):
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()
    runs = [
        cp.SuperpixelLime(model).attribute(pair_of_sizes(1), feature_mask=MASKS, n_samples=SAMPLES, generator=generator)
        for generator in (None, seeded(0), seeded(0), seeded(1))
    ]
    assert torch.equal(torch.random.get_rng_state(), before[0]) and np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(runs[0][0], runs[1][0])  # each image of its own draws if no generator goes on
    for k in range(2):
        assert torch.equal(runs[1][k], runs[2][k]) and not torch.equal(runs[1][k], runs[3][k])


def test_each_distinct_coalition_is_embedded_once_and_each_whole_image():
    encoder, rows = tiny_encoder(), []
    encoder[0].register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    cp.SuperpixelLime(cp.SimilarityWrapper(encoder)).attribute(pair_of_sizes(1), feature_mask=MASKS, n_samples=SAMPLES)
    distinct = [len(uniform_coalitions(n, SAMPLES, seeded(0)).unique(dim=0)) for n in PLAYERS]  # everybody among them
    assert sum(rows) == sum(distinct) + 2 + PROOF_ROWS  # nobody's of each image, for the gap


def test_without_a_mask_images_get_superpixels(model):
    photos = tuple(torch.nn.functional.interpolate(batch, (48, 40), mode="bilinear") for batch in images(1))
    found = cp.SuperpixelLime(model).attribute(photos, n_samples=40)
    for one, photo in zip(found, photos, strict=True):
        parts = cp.superpixels(photo)
        for part in parts.unique():
            assert one[:, :, (parts == part)[0, 0]].unique().numel() == 1
        assert one.unique().numel() > parts.max() / 2


def test_half_precision_under_autocast_is_near(model):
    arguments = {"baselines": (0, 0), "feature_mask": MASKS, "n_samples": SAMPLES}  # of which the similarity sees much
    exact = cp.SuperpixelLime(model).attribute(pair_of_sizes(), **arguments)
    low, pair = cp.SimilarityWrapper(tiny_encoder().float()), tuple(batch.half() for batch in pair_of_sizes())
    with torch.autocast("cpu", torch.bfloat16):
        found = cp.SuperpixelLime(low).attribute(pair, **arguments)
    for one, truth in zip(found, exact, strict=True):
        assert one.dtype == torch.float32 and (one - truth).norm() < 0.05 * truth.norm()


def test_without_scikit_learn_the_error_names_the_extra(model, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(optional_packages, "import_module", missing)
    with pytest.raises(ImportError, match=r"captum-pairwise\[lime\]"):
        cp.SuperpixelLime(model).attribute(pair_of_sizes(1), feature_mask=MASKS)
