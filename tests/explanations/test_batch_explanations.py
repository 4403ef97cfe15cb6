"""The results of a call: backgrounds, warnings, and what is said of them."""

import pytest
import torch
from conftest import images, tiny_encoder
from explanation_cases import encoder_of_photos, make_photo, train_a_little
from torch import nn

import captum_pairwise as cp
from captum_pairwise.explanations.batch import read_batch
from captum_pairwise.explanations.batch_explanations import MOST_MEMBERS, explain_batch
from captum_pairwise.explanations.options import Options
from captum_pairwise.results.verdict import UNREADABLE

QUERY, RETRIEVED = images(1)


def similarity(query, retrieved):
    return (query * retrieved).mean((1, 2, 3))


def test_a_black_box_is_explained():
    masks = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 1))
    why = cp.explain(similarity, QUERY, RETRIEVED, feature_mask=masks, n_samples=64)
    expected = cp.ExactShapleyTaylor(similarity).interactions((QUERY, RETRIEVED), feature_mask=masks)
    torch.testing.assert_close(why.pairs, expected.between[0])
    torch.testing.assert_close(why.query_map, expected.query_map[0])


def test_the_verdict_counts_the_background():
    gallery = [make_photo(seed=seed) for seed in range(10, 20)]
    encoder = encoder_of_photos()
    why = cp.explain(encoder, make_photo(seed=1), make_photo(seed=2), background=gallery)
    model = cp.SimilarityWrapper(encoder)
    query = encoder.transform(make_photo(seed=1))[None]
    scores = [model(query, encoder.transform(item)[None]).item() for item in gallery]
    n_lower = sum(score < why.similarity for score in scores)
    assert f"{n_lower} of the 10 images of the background" in why.verdict.sentences[0]
    members = torch.stack([encoder.transform(item) for item in gallery])
    assert f"replaced by {MOST_MEMBERS} images of the background" in why.choices
    spread = members[[round(9 * k / (MOST_MEMBERS - 1)) for k in range(MOST_MEMBERS)]]  # from the first to the last
    method = cp.LayerFactorisedInteractions(model, encoder[4])
    pair = query, encoder.transform(make_photo(seed=2))[None]
    expected = method.interactions(pair, (cp.Backgrounds(spread),) * 2)
    torch.testing.assert_close(why.interactions.without_query, expected.without_query)


def test_random_weights_are_stamped():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU()).double().eval()
    why = cp.explain(network, QUERY, RETRIEVED)
    assert "the network has random weights" in why.verdict.warnings
    assert why.verdict.trust.label == UNREADABLE
    assert "the network has random weights" not in cp.explain(train_a_little(network), QUERY, RETRIEVED).verdict.warnings


def test_stochastic_encoders_are_averaged():
    encoder = nn.Sequential(*tiny_encoder(), nn.Dropout(0.1)).train()
    model = cp.SimilarityWrapper(encoder, stochastic=True)
    batch = read_batch(model, QUERY, [RETRIEVED], ["retrieved"], None, None)
    explanation = explain_batch(batch, Options(layer="4", n_samples=60))[0]
    assert explanation.interactions.standard_error.between.min() > 0


def test_an_encoder_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="Expected the model in evaluation mode"):
        cp.explain(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double(), QUERY, RETRIEVED)
