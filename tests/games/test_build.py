"""Games of images and of layers: each value is the similarity of images that were masked by hand."""

from itertools import product

import pytest
import torch
from conftest import images, random_tensor, seeded, tiny_encoder
from model_cases import PROOF_ROWS
from torch import nn

import captum_pairwise as cp
from captum_pairwise.games.build import build_input_pairs, build_layer_pairs, find_wrapper
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.network.layers import replace_output

MASK = cp.grid(12, 12, 2, 2)
MASKS = (MASK, cp.grid(12, 12, 1, 3))


def coalitions(n_players, n_rows=12):
    return torch.rand(n_rows, n_players, generator=seeded(5)) < 0.5


def mask_players(image, baseline, ids, present):
    """Replace the parts of the absent players, one after the other."""
    result = image.clone()
    for player, is_present in enumerate(present.tolist()):
        if not is_present:
            result = torch.where(ids == player, baseline, result)
    return result


def values_by_hand(similarity, pair, baselines, masks, z, example):
    """`v(S)` of each coalition of one pair, images masked by hand."""
    n_query = int(masks[0].max()) + 1
    one = [batch[example : example + 1] for batch in pair]
    other = [batch[example : example + 1] for batch in baselines]
    rows = [
        similarity(mask_players(one[0], other[0], masks[0], row[:n_query]), mask_players(one[1], other[1], masks[1], row[n_query:]))
        for row in z
    ]
    return torch.cat(rows)


@pytest.mark.parametrize("kind", ["tied", "two encoders", "callable head", "plain callable"])
def test_input_games_equal_the_similarity_of_masked_images(kind, similarity):
    first, second = tiny_encoder(0), tiny_encoder(1)
    forward = {
        "tied": cp.SimilarityWrapper(first, similarity=similarity),
        "two encoders": cp.SimilarityWrapper(first, second, similarity=similarity),
        "callable head": cp.SimilarityWrapper(first, similarity=lambda u, w: (u - w).abs().sum(1).neg().exp()),
        "plain callable": lambda q, r: (q * r).mean((1, 2, 3)),
    }[kind]
    pair = images(2)
    baselines = tuple(cp.blur_baseline(batch) for batch in pair)
    z = coalitions(4 + 3)
    for example, game in enumerate(build_input_pairs(forward, pair, ForwardContext(), feature_mask=MASKS).games()):
        by_hand = values_by_hand(forward, pair, baselines, MASKS, z, example)
        for presences in (z, z.double()):  # picked, and mixed
            torch.testing.assert_close(game.values(presences), by_hand, rtol=0, atol=1e-12)


def similarity_with_layer(encoder, layer, pair, head):
    """A function of the layer's two outputs: the encoder re-run on the images with the output replaced."""

    def embed(image, output):
        with replace_output(layer, output):
            return encoder(image).mean((2, 3))

    return lambda x, y: head(embed(pair[0], x), embed(pair[1], y))


@pytest.mark.parametrize("index", [0, 2, 4])
def test_layer_games_equal_the_similarity_of_masked_outputs(index):
    encoder, pair = tiny_encoder(), images(2)
    model, layer = cp.SimilarityWrapper(encoder), encoder[index]
    features = encoder[: index + 1]
    outputs = [features(batch) for batch in pair]
    absent = [features(cp.blur_baseline(batch)) for batch in pair]
    ids = torch.arange(outputs[0][0, 0].numel()).reshape(1, 1, *outputs[0].shape[2:])
    z = coalitions(2 * ids.numel())
    for example, game in enumerate(build_layer_pairs(model, layer, pair, ForwardContext()).games()):
        one = [batch[example : example + 1] for batch in pair]
        head = similarity_with_layer(encoder, layer, one, nn.functional.cosine_similarity)
        by_hand = values_by_hand(head, outputs, absent, (ids, ids), z, example)
        for presences in (z, z.double()):  # picked, and mixed
            torch.testing.assert_close(game.values(presences), by_hand, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["wrapper", "plain callable"])
def test_each_image_has_its_own_layer_baseline(kind):
    first, second, pair, baselines = tiny_encoder(0), tiny_encoder(1), images(1), (0.25, -1.5)
    model = cp.SimilarityWrapper(first, second)
    forward = model if kind == "wrapper" else lambda query, retrieved: model(query, retrieved)
    whole = (torch.zeros(1, 1, 5, 5, dtype=torch.long),) * 2
    options = {"layer_baselines": baselines, "layer_mask": whole}
    game = next(build_layer_pairs(forward, (first[2], second[2]), pair, ForwardContext(), **options).games())
    u, w = (
        [tower[3:](maps).mean((2, 3)) for maps in (torch.full_like(shown, baseline), shown)]
        for tower, baseline, shown in zip((first, second), baselines, (first[:3](pair[0]), second[:3](pair[1])), strict=True)
    )
    by_hand = torch.cat([nn.functional.cosine_similarity(u[query], w[retrieved]) for query in (0, 1) for retrieved in (0, 1)])
    z = torch.cartesian_prod(torch.arange(2), torch.arange(2)).bool()
    torch.testing.assert_close(game.values(z), by_hand, rtol=0, atol=1e-12)


class Untraceable(nn.Module):
    """Its control flow depends on the data, so `torch.fx` cannot follow it."""

    def __init__(self, features, tail):
        super().__init__()
        self.features, self.tail = features, tail

    def forward(self, x):
        x = self.features(x)
        return self.tail(x) if x.sum() > -1e9 else x


@pytest.mark.parametrize("method", [cp.LayerFactorisedShapleyTaylor, cp.LayerExactShapleyTaylor])
def test_traced_split_and_rerun_tails_agree(method):
    features, tail = tiny_encoder()[:2], tiny_encoder()[2:]
    pair, masks = images(2), (cp.grid(5, 5, 2, 2), cp.grid(5, 5, 2, 3))
    found = []
    for encoder in (nn.Sequential(features, tail), cp.SplitEncoder(features, tail)):
        found.append(method(cp.SimilarityWrapper(encoder), features).interactions(pair, layer_mask=masks))
    model = cp.SimilarityWrapper(Untraceable(features, tail))
    found.append(method(model, features).interactions(pair, layer_mask=masks))
    for other in found[1:]:
        torch.testing.assert_close(other.between, found[0].between, rtol=0, atol=1e-12)
        torch.testing.assert_close(other.marginal, found[0].marginal, rtol=0, atol=1e-12)


def test_a_pair_of_layers_of_a_plain_callable():
    first, second = tiny_encoder(0), tiny_encoder(1)
    model, layers = cp.SimilarityWrapper(first, second), (first[2], second[4])

    def hand_written(query, retrieved):
        return nn.functional.cosine_similarity(first(query).mean((2, 3)), second(retrieved).mean((2, 3)))

    masks = (cp.grid(5, 5, 2, 2), cp.grid(3, 3, 1, 3))
    found, wrapped = (
        cp.LayerExactShapleyTaylor(f, layers).interactions(images(2), layer_mask=masks, n_samples=2**7) for f in (hand_written, model)
    )
    torch.testing.assert_close(found.second_order, wrapped.second_order, rtol=0, atol=1e-12)


def test_a_shared_encoder_runs_once_for_each_image_or_is_refused():
    encoder = tiny_encoder()

    def siamese(query, retrieved):
        return nn.functional.cosine_similarity(encoder(query).mean((2, 3)), encoder(retrieved).mean((2, 3)))

    def stacked(query, retrieved):
        u, w = encoder(torch.cat([query, retrieved])).mean((2, 3)).chunk(2)
        return nn.functional.cosine_similarity(u, w)

    masks = (cp.grid(3, 3, 1, 2),) * 2
    expected = cp.LayerExactShapleyTaylor(cp.SimilarityWrapper(encoder), encoder[4]).attribute(images(2), layer_mask=masks)
    for forward in (siamese, lambda query, retrieved: siamese(retrieved, query)):  # the query runs first, or second
        for layer in (encoder[4], (encoder[4], encoder[4])):
            pairs = cp.LayerExactShapleyTaylor(forward, layer).attribute(images(2), layer_mask=masks)
            torch.testing.assert_close(pairs, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="SimilarityWrapper"):
        cp.LayerExactShapleyTaylor(stacked, encoder[4]).attribute(images(2))
    with pytest.raises(ValueError, match="SimilarityWrapper"):
        cp.LayerExactShapleyTaylor(stacked, (encoder[4], encoder[4])).attribute(images(2))


def test_the_network_runs_once_and_the_tail_for_coalitions():
    encoder = tiny_encoder()
    rows = {index: 0 for index in (0, 2, 4)}
    for index in rows:
        encoder[index].register_forward_hook(lambda m, i, o, index=index: rows.__setitem__(index, rows[index] + len(o)))
    cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(encoder), encoder[2]).attribute(images(1), n_samples=100)
    # each image and its baseline, once the proof, and twice the whole network with another output of the layer to check the split
    assert rows[0] == rows[2] == 2 * 2 + PROOF_ROWS + 2
    # the tails: coalitions with the whole image and no player, 64 held out, two rows each that check the split, once two for the effect
    assert rows[4] == 2 * (100 + 2 + 64) + 2 * (2 + 2) + 2 * 2 + PROOF_ROWS + 2


def test_backgrounds_average_the_game():
    pair, members = images(1), (images(3, seed=9)[0], images(2, seed=9)[1])
    baselines = tuple(cp.Backgrounds(batch) for batch in members)
    z = coalitions(7)
    callable_head = cp.SimilarityWrapper(tiny_encoder(), similarity=lambda u, w: (u - w).abs().sum(1).neg().exp())
    for forward in (cp.SimilarityWrapper(tiny_encoder()), callable_head, lambda q, r: (q * r).mean((1, 2, 3)) ** 2):
        game = next(build_input_pairs(forward, pair, ForwardContext(), baselines=baselines, feature_mask=MASKS).games())
        each = [values_by_hand(forward, pair, (q[None], r[None]), MASKS, z, 0) for q in members[0] for r in members[1]]
        torch.testing.assert_close(game.values(z), torch.stack(each).mean(0), rtol=0, atol=1e-12)


def test_target_and_arguments_go_to_a_plain_callable_pair_by_pair():
    def forward(query, retrieved, scale, offset):
        score = (query * retrieved).mean((1, 2, 3)) * scale + offset
        return torch.stack([score, score.square()], 1)

    pair, scale = images(2), torch.tensor([2.0, 3.0], dtype=torch.float64)
    method = cp.ExactShapleyTaylor(forward)
    together = method.attribute(pair, target=[0, 1], additional_forward_args=(scale, 0.5), feature_mask=MASKS)
    for example, target in enumerate((0, 1)):
        one = tuple(batch[example : example + 1] for batch in pair)
        alone = method.attribute(one, target=target, additional_forward_args=(scale[example : example + 1], 0.5), feature_mask=MASKS)
        torch.testing.assert_close(together[example : example + 1], alone, rtol=0, atol=1e-12)


def test_find_wrapper_looks_behind_forward_and_data_parallel(model):
    assert find_wrapper(model) is find_wrapper(model.forward) is find_wrapper(nn.DataParallel(model)) is model
    assert find_wrapper(lambda q, r: model(q, r)) is find_wrapper(model.given_query) is None


def test_a_pair_of_layers_of_a_tied_encoder():
    encoder = tiny_encoder()
    model, masks = cp.SimilarityWrapper(encoder), (cp.grid(5, 5, 2, 2), cp.grid(3, 3, 1, 3))
    named, mapped = (
        cp.LayerExactShapleyTaylor(model, layers).attribute(images(1), layer_mask=masks)
        for layers in ((encoder[2], encoder[4]), (encoder[2], model.tower_layers(encoder[4])[1]))
    )
    assert torch.equal(named, mapped)


def test_euclidean_distances_of_far_embeddings_are_precise_in_float32():
    far = nn.Sequential(nn.Flatten(), nn.Linear(4, 256))
    nn.init.constant_(far[1].bias, 100.0)
    model = cp.SimilarityWrapper(far, similarity="euclidean")
    pair = tuple(torch.rand(1, 4, generator=seeded(seed)) for seed in (0, 1))
    single = cp.ExactShapleyTaylor(model).interactions(pair)
    double = cp.ExactShapleyTaylor(cp.SimilarityWrapper(far.double(), similarity="euclidean")).interactions(tuple(x.double() for x in pair))
    torch.testing.assert_close(single.full, double.full, rtol=1e-3, atol=0)
    torch.testing.assert_close(single.between, double.between, rtol=1e-3, atol=1e-3 * double.between.abs().max().item())


def test_a_batch_has_standard_errors_if_one_pair_is_enumerated():
    ids = cp.grid(12, 12, 3, 4).repeat(2, 1, 1, 1)
    ids[1] = cp.grid(12, 12, 1, 2)
    found = cp.FactorisedShapleyTaylor(cp.SimilarityWrapper(tiny_encoder())).interactions(
        images(2), feature_mask=(ids, ids.clone()), n_samples=60
    )
    assert (found.standard_error.between[0] > 0).any() and (found.standard_error.between[1] == 0).all()


def test_a_function_as_baseline_gets_the_mask_of_images_and_none_for_a_layer(model):
    pair, seen = images(2), []

    def shown(batch, ids):
        seen.append(None if ids is None else ids.shape)
        return batch * 0.5

    baselines = (shown, None)
    given = (pair[0] * 0.5, None)
    for method, arguments in (
        (cp.ExactShapleyTaylor(model), {"feature_mask": MASKS}),
        (cp.LayerExactShapleyTaylor(model, model.query_encoder[4]), {"layer_mask": (cp.grid(3, 3, 2, 2), cp.grid(3, 3, 3, 2))}),
    ):
        found, expected = (method.attribute(pair, baselines=one, **arguments) for one in (baselines, given))
        assert torch.equal(found, expected)
    assert seen == [(2, 1, 12, 12), None]


def test_a_repeated_query_is_embedded_once():
    """Explaining one query against three images costs the query's coalitions once, and gives what three calls give."""
    encoder, rows = tiny_encoder(), []
    model = cp.SimilarityWrapper(encoder)
    query, retrieved = images(3)
    repeated = query[:1].expand(3, -1, -1, -1)
    arguments = {"feature_mask": (cp.grid(12, 12, 3, 3), cp.grid(12, 12, 3, 3)), "n_samples": 40}
    method = cp.FactorisedShapleyTaylor(model)
    alone = [method.interactions((query[:1], retrieved[k : k + 1]), **arguments) for k in range(3)]
    model.query_encoder.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    together = method.interactions((repeated, retrieved), **arguments)
    assert sum(rows) == 42 + 3 * 42 + PROOF_ROWS
    assert together.n_evaluations.tolist() == [84, 42, 42]
    for name in ("between", "marginal", "first_order"):
        torch.testing.assert_close(together[name], torch.cat([one[name] for one in alone]), rtol=0, atol=1e-12)
    different = method.interactions((torch.cat([query[:1], query[1:2], query[:1]]), retrieved), **arguments)
    assert different.n_evaluations.tolist() == [84, 84, 84]


def test_a_repeated_query_with_another_baseline_is_another_query():
    query, retrieved = images(2)
    query, baselines = query[:1].expand(2, -1, -1, -1), images(2, seed=5)[0]
    method, arguments = cp.FactorisedShapleyTaylor(cp.SimilarityWrapper(tiny_encoder())), {"feature_mask": MASKS}
    together = method.attribute((query, retrieved), baselines=(baselines, None), **arguments)
    for example in range(2):
        part = slice(example, example + 1)
        alone = method.attribute((query[part], retrieved[part]), baselines=(baselines[part], None), **arguments)
        torch.testing.assert_close(together[part], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "head", ["maxsim", "meanmaxsim", lambda u, w: (u.mean(1) - w.mean(1)).abs().sum(1)], ids=["sum", "mean", "callable"]
)
def test_every_combination_of_two_towers_with_several_backgrounds(head):
    """Each background of an image is compared with each of the other's; the images have different numbers of tokens."""
    model = cp.SimilarityWrapper(nn.Identity(), similarity=head)
    pair = random_tensor(1, 3, 4, seed=1), random_tensor(1, 2, 4, seed=2)
    members = [random_tensor(n, *batch.shape[1:], seed=5 + n) for n, batch in zip((2, 3), pair, strict=True)]
    masks = tuple(torch.arange(batch.shape[1])[None, :, None] for batch in pair)
    baselines = tuple(map(cp.Backgrounds, members))
    (game,) = build_input_pairs(model, pair, ForwardContext(), baselines=baselines, feature_mask=masks).games()
    query, retrieved = coalitions(3), coalitions(2)
    table = game.combine(game.embed_query(query), game.embed_retrieved(retrieved))
    for (i, z), (j, y) in product(enumerate(query), enumerate(retrieved)):
        scores = [
            model(torch.where(z[None, :, None], pair[0], u[None]), torch.where(y[None, :, None], pair[1], w[None]))
            for u, w in product(*members)
        ]
        torch.testing.assert_close(table[i, j], torch.cat(scores).mean(), rtol=0, atol=1e-12)
        torch.testing.assert_close(game.values(torch.cat([z, y])[None])[0], table[i, j], rtol=0, atol=1e-12)
