"""Layers of functions that embed both images themselves: the image of each output, and what is refused."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from conftest import assert_refused, images, seeded, tiny_encoder
from model_cases import close, pool
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.games.build import build_layer_pairs
from captum_pairwise.games.context import ForwardContext

ENCODER = tiny_encoder()
LAYER = ENCODER[2]
MASKS = (cp.grid(5, 5, 1, 2), cp.grid(5, 5, 2, 1))
OPTIONS = {"layer_mask": MASKS}


def compare(query: Tensor, retrieved: Tensor) -> Tensor:
    return F.cosine_similarity(pool(ENCODER(query)), pool(ENCODER(retrieved)))


def compare_backwards(query: Tensor, retrieved: Tensor) -> Tensor:
    w = pool(ENCODER(retrieved))
    return F.cosine_similarity(pool(ENCODER(query)), w)


def compare_and_weight(query: Tensor, retrieved: Tensor, weights: Tensor, offset: float) -> Tensor:
    """Two classes, with an argument for each pair and another one."""
    score = compare(query, retrieved)
    return torch.stack([score, 2 * weights * score + offset], 1)


ORDERS = pytest.mark.parametrize("forward", [compare, compare_backwards], ids=["query first", "retrieved first"])
NAMES = pytest.mark.parametrize("layer", [LAYER, (LAYER, LAYER)], ids=["one name", "a pair"])


@ORDERS
@NAMES
def test_a_layer_that_runs_twice_is_replaced_for_each_image(forward: Callable, layer: object) -> None:
    model = cp.SimilarityWrapper(ENCODER)
    joint = cp.LayerExactShapleyTaylor(forward, layer).interactions(images(), **OPTIONS)
    towers = cp.LayerExactShapleyTaylor(model, LAYER).interactions(images(), **OPTIONS)
    close(joint.between, towers.between)
    assert not torch.allclose(towers.between, towers.between.mT)  # so that exchanged images would show


@ORDERS
@NAMES
@torch.no_grad()
def test_values_equal_the_tail_of_each_mixed_output(forward: Callable, layer: object) -> None:
    pair = images(2)
    present = [ENCODER[:3](batch) for batch in pair]
    absent = [ENCODER[:3](cp.blur_baseline(batch)) for batch in pair]
    z = torch.rand(9, 4, generator=seeded(3)) < 0.5
    for example, game in enumerate(build_layer_pairs(forward, layer, pair, ForwardContext(), layer_mask=MASKS).games()):
        for row, value in zip(z, game.values(z), strict=True):
            mixed = []
            for side, part in enumerate(row.split(2)):
                ids = MASKS[side][0]
                keeps = sum((ids == player) * bool(flag) for player, flag in enumerate(part))
                mixed.append(pool(ENCODER[3:](torch.where(keeps.bool(), present[side][example], absent[side][example])[None])))
            close(value, F.cosine_similarity(*mixed)[0])


@pytest.mark.parametrize("targets", [1, [1, 0], torch.tensor([0, 1])], ids=str)
def test_each_pair_has_its_target_and_its_arguments(targets: object) -> None:
    weights = torch.tensor([0.5, 3.0], dtype=torch.float64)
    arguments = {"target": targets, "additional_forward_args": (weights, 0.25), **OPTIONS}
    weighted = cp.LayerExactShapleyTaylor(compare_and_weight, LAYER).interactions(images(), **arguments)
    plain = cp.LayerExactShapleyTaylor(cp.SimilarityWrapper(ENCODER), LAYER).interactions(images(), **OPTIONS)
    chosen = torch.as_tensor(targets).expand(2)
    factor = torch.where(chosen == 1, 2 * weights, torch.ones(2, dtype=torch.float64))
    close(weighted.between, factor[:, None, None] * plain.between)
    close(weighted.full, factor * plain.full + 0.25 * chosen)


class Fusion(nn.Module):
    """Both images as channels of one input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(6, 4, 3).double(), nn.Conv2d(4, 1, 3).double()

    def forward(self, query: Tensor, retrieved: Tensor) -> Tensor:
        return self.last(self.first(torch.cat([query, retrieved], 1)).relu()).mean((1, 2, 3))


def compare_in_one_batch(query: Tensor, retrieved: Tensor) -> Tensor:
    return F.cosine_similarity(*pool(ENCODER(torch.cat([query, retrieved]))).chunk(2))


def compare_thrice(query: Tensor, retrieved: Tensor) -> Tensor:
    ENCODER(query)
    return compare(query, retrieved)


FUSION = Fusion()
REFUSED = {
    "one run": (FUSION, FUSION.last, "one layer that runs once"),
    "early fusion": (FUSION, (FUSION.first, FUSION.first), "both run through the layer .Conv2d. in one call"),
    "later fusion": (FUSION, (FUSION.first, FUSION.last), "both run through"),
    "one batch": (compare_in_one_batch, (LAYER, LAYER), "one row per pair, got shape"),
    "one batch, one name": (compare_in_one_batch, LAYER, "one layer that runs once"),
    "three runs": (compare_thrice, LAYER, "ran 3 times"),
    "a layer and a layer inside of it": (compare, (ENCODER, LAYER), "ran 2 times"),
    "a random function": (lambda q, r: compare(q + 0.1 * torch.rand_like(q), r), LAYER, "draws at random"),
    "a mixed batch": (lambda q, r: compare(q - q.mean(0), r), LAYER, "mixes the images of a batch|both run through"),
}


@pytest.mark.parametrize(("forward", "layer", "sentence"), REFUSED.values(), ids=REFUSED)
def test_outputs_of_no_single_image_are_refused(forward: Callable, layer: object, sentence: str) -> None:
    method = cp.LayerExactShapleyTaylor(forward, layer)
    assert_refused(lambda: method.attribute(images(), **OPTIONS), sentence)


def test_layers_of_two_encoders_keep_their_images() -> None:
    other = tiny_encoder(1)
    model = cp.SimilarityWrapper(ENCODER, other)
    forward = lambda q, r: F.cosine_similarity(pool(ENCODER(q)), pool(other(r)))  # noqa: E731 - no module to look into
    layers = (LAYER, other[2])
    joint, towers = (cp.LayerExactShapleyTaylor(f, layers).interactions(images(), **OPTIONS) for f in (forward, model))
    close(joint.between, towers.between)


def test_the_slots_are_found_once() -> None:
    calls = []

    class Network(nn.Module):
        def forward(self, query, retrieved):
            calls.append(len(query))
            return compare(query, retrieved)

    method = cp.LayerExactShapleyTaylor(Network(), LAYER)
    counts = []
    for _ in range(3):
        method.attribute(images(1), **OPTIONS)
        counts.append(len(calls) - sum(counts))
    assert counts[0] - counts[1] == 2 and counts[1] == counts[2]


# parts of a batch


def test_every_part_of_a_batch_gets_its_own_targets_and_arguments():
    """Memory for one row: the outputs of the layers are recorded one pair at a time."""
    first, second = tiny_encoder(0), tiny_encoder(1)

    def forward(query, retrieved, scale):
        if len(query) > 1:
            raise MemoryError
        score = nn.functional.cosine_similarity(first(query * scale[:, None, None, None]).mean((2, 3)), second(retrieved).mean((2, 3)))
        return torch.stack([score, score.square()], 1)

    pair, scale, masks = images(2), torch.tensor([2.0, 0.5], dtype=torch.float64), (cp.grid(5, 5, 1, 2), cp.grid(5, 5, 2, 1))
    method = cp.LayerExactShapleyTaylor(forward, (first[2], second[2]))
    with pytest.warns(UserWarning, match="Memory ran out"):
        together = method.attribute(pair, target=[1, 0], additional_forward_args=scale, layer_mask=masks)
    for example, target in enumerate((1, 0)):
        part = slice(example, example + 1)
        arguments = {"target": target, "additional_forward_args": scale[part], "layer_mask": masks, "perturbations_per_eval": 1}
        torch.testing.assert_close(together[part], method.attribute((pair[0][part], pair[1][part]), **arguments), rtol=0, atol=1e-12)


def test_a_layer_after_the_images_meet_is_refused():
    first, second = tiny_encoder(0), tiny_encoder(1)

    def forward(query, retrieved):
        return nn.functional.cosine_similarity(first(query).mean((2, 3)), second(query * retrieved).mean((2, 3)))

    with pytest.raises(ValueError, match="Expected a layer that sees one image"):
        cp.LayerExactShapleyTaylor(forward, (first[4], second[4])).attribute(images(2))
