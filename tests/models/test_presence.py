"""Encoders of presences: parts are removed inside the network, for every method of inputs."""

import pytest
import torch
from conftest import assert_refused, seeded
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.models.presence import PresenceEncoder, PresencePairs, make_presences
from captum_pairwise.models.removals import ATTENTION_MASK, MASK_TOKEN


class Sums(nn.Module):
    """Embeds the parts of a row by the product of one plus the numbers that are present; "mask token" counts absent ones as 1."""

    removals = (ATTENTION_MASK, MASK_TOKEN)

    def token_grid_size(self, height: int, width: int) -> tuple[int, int]:
        return height, width

    def embed_present(self, inputs: Tensor, presence: Tensor, by: str) -> Tensor:
        assert presence.dtype == torch.bool and len(inputs) == 1
        parts = inputs.flatten()
        kept = torch.where(presence, parts, 1.0 if by == MASK_TOKEN else 0.0)
        return torch.stack([(1 + kept).prod(1), kept.sum(1)], 1)


IMAGES = torch.rand(3, 1, 2, 2, generator=seeded(0), dtype=torch.float64)
OTHERS = torch.rand(3, 1, 1, 3, generator=seeded(1), dtype=torch.float64)


def embed_literally(image: Tensor, present: list[bool], by: str) -> Tensor:
    numbers = [
        number if is_there else (1.0 if by == MASK_TOKEN else 0.0)
        for number, is_there in zip(image.flatten().tolist(), present, strict=True)
    ]
    product = 1.0
    for number in numbers:
        product *= 1 + number
    return torch.tensor([product, sum(numbers)], dtype=torch.float64)


@pytest.mark.parametrize("by", [ATTENTION_MASK, MASK_TOKEN])
def test_rows_of_several_examples_keep_their_order(by: str) -> None:
    encoder, presences = PresenceEncoder(Sums(), IMAGES, by), make_presences([4, 4, 4]).present[[2, 0, 1, 0]]
    presences[0, 2] = presences[1, 1] = presences[3, 4] = 0
    expected = [embed_literally(IMAGES[int(row[0])], [value == 1 for value in row[1:]], by) for row in presences]
    torch.testing.assert_close(encoder(presences), torch.stack(expected))


@pytest.mark.parametrize("by", [ATTENTION_MASK, MASK_TOKEN])
def test_two_encoders_of_presences_give_the_exact_index(by: str) -> None:
    query, retrieved = make_presences([4, 4, 4]), make_presences([3, 3, 3])
    model = cp.SimilarityWrapper(PresenceEncoder(Sums(), IMAGES, by), PresenceEncoder(Sums(), OTHERS, by), similarity="dot")
    options = {"baselines": (query.absent, retrieved.absent), "feature_mask": (query.mask, retrieved.mask)}
    actual = cp.FactorisedShapleyTaylor(model).interactions((query.present, retrieved.present), **options)
    for example in range(3):

        def score(a: Tensor, b: Tensor, example: int = example) -> Tensor:
            u = torch.stack([embed_literally(IMAGES[example], row.bool().tolist(), by) for row in a])
            w = torch.stack([embed_literally(OTHERS[example], row.bool().tolist(), by) for row in b])
            return (u * w).sum(1)

        ones = torch.ones(1, 4, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
        expected = cp.ExactShapleyTaylor(score).interactions(ones)
        torch.testing.assert_close(actual["between"][example], expected["between"][0].to(actual["between"]))
        torch.testing.assert_close(actual.full[example], expected.full[0].to(actual.full))


def test_examples_may_have_different_numbers_of_parts() -> None:
    query, retrieved = make_presences([1, 1]), make_presences([2, 3])
    model = PresencePairs([lambda a, b: a.sum(1) * b.float().sum(1), lambda a, b: a.sum(1) - b.float().sum(1)], [(1, 2), (1, 3)])
    result = cp.ExactShapleyTaylor(model).interactions(
        (query.present, retrieved.present), baselines=(query.absent, retrieved.absent), feature_mask=(query.mask, retrieved.mask)
    )
    torch.testing.assert_close(result.full, torch.tensor([2.0, -2.0]))
    torch.testing.assert_close(result["between"], torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]]))
    torch.testing.assert_close(result.retrieved_map, torch.tensor([[1.0, 1.0, 0.0], [-1.0, -1.0, -1.0]]))


def test_an_unknown_way_is_refused() -> None:
    assert_refused(lambda: PresenceEncoder(Sums(), IMAGES, "erase"), "one of.*attention mask.*got 'erase'")
    assert_refused(lambda: PresenceEncoder(nn.Flatten(), IMAGES, MASK_TOKEN), "removes no parts inside its network")
