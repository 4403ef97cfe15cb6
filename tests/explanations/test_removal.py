"""Parts that are removed inside the network, and models that read two texts together."""

import re
from pathlib import Path

import pytest
import torch
from conftest import assert_refused, seeded
from explanation_cases import to_input
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.models import DualEncoder
from captum_pairwise.models.removals import ATTENTION_MASK, MASK_TOKEN
from captum_pairwise.models.words.word_places import Word

SIZE, PATCH = 8, 4
PHOTOS = tuple(torch.rand(1, 3, SIZE, SIZE, generator=seeded(k)) for k in range(3))


class Patches(nn.Module):
    """The mean of nonlinear features of patches; absent ones are left out, or have the features of a mask token."""

    removals = (ATTENTION_MASK, MASK_TOKEN)

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, PATCH, PATCH)
        for k, parameter in enumerate(self.parameters()):
            parameter.data.copy_(torch.rand(parameter.shape, generator=seeded(seed + k)) - 0.5)
        self.token = nn.Parameter(torch.rand(6, generator=seeded(9)))

    def token_grid_size(self, height: int, width: int) -> tuple[int, int]:
        return height // PATCH, width // PATCH

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(images).relu().mean((2, 3)).exp()

    def embed_present(self, inputs: Tensor, presence: Tensor, by: str) -> Tensor:
        tokens = self.embed(inputs).relu().flatten(2)[0].T
        if by == MASK_TOKEN:
            return torch.where(presence[..., None], tokens, self.token).mean(1).exp()
        weights = presence / presence.sum(1, keepdim=True).clamp(min=1)
        return (weights @ tokens).exp()


def score_literally(encoder: Patches, by: str, query: Tensor, retrieved: Tensor) -> cp.Interactions:
    """All coalitions of both photos, by hand."""

    def score(a: Tensor, b: Tensor) -> Tensor:
        return torch.cosine_similarity(encoder.embed_present(query, a > 0.5, by), encoder.embed_present(retrieved, b > 0.5, by))

    return cp.ExactShapleyTaylor(score, index="banzhaf").interactions((torch.ones(1, 4), torch.ones(1, 4)))


@pytest.mark.parametrize("by", [ATTENTION_MASK, MASK_TOKEN])
@torch.no_grad()
def test_patches_are_removed_inside_the_network(by: str) -> None:
    encoder = Patches().eval()
    why = cp.explain(encoder, *PHOTOS[:2], baselines=by)
    expected = score_literally(encoder, by, *PHOTOS[:2])
    torch.testing.assert_close(why.pairs, expected["between"][0])
    torch.testing.assert_close(why.query_map, expected.query_map[0])
    assert "Parts: 2 × 2 patches." in why.choices
    words = {ATTENTION_MASK: "hidden by an attention mask", MASK_TOKEN: "replaced by the mask token"}[by]
    assert words in why.choices and words in str(why.verdict)
    upper_left = why.places[0].describe_part(0)
    assert upper_left.box == (0, 0, 4, 4) and upper_left.words == "the upper left"


@torch.no_grad()
def test_each_side_may_have_its_own_way(tmp_path: Path) -> None:
    encoder = Patches().eval()
    why = cp.explain(encoder, *PHOTOS[:2], baselines=(MASK_TOKEN, None))  # the other side takes the first that it knows

    def score(a: Tensor, b: Tensor) -> Tensor:
        towers = encoder.embed_present(PHOTOS[0], a > 0.5, MASK_TOKEN), encoder.embed_present(PHOTOS[1], b > 0.5, ATTENTION_MASK)
        return torch.cosine_similarity(*towers)

    expected = cp.ExactShapleyTaylor(score, index="banzhaf").interactions((torch.ones(1, 4), torch.ones(1, 4)))
    torch.testing.assert_close(why.pairs, expected["between"][0])
    assert why.save(tmp_path / "why.html").stat().st_size and why.save(tmp_path / "why.png").stat().st_size


@torch.no_grad()
def test_a_ranking_removes_the_parts_of_each_result() -> None:
    encoder = Patches().eval()
    ranking = cp.explain_ranking(encoder, PHOTOS[0], PHOTOS[1:], baselines=ATTENTION_MASK)
    for explanation, photo in zip(ranking.explanations, PHOTOS[1:], strict=True):
        torch.testing.assert_close(explanation.pairs, score_literally(encoder, ATTENTION_MASK, PHOTOS[0], photo)["between"][0])


def test_names_of_defaults_change_nothing() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    torch.testing.assert_close(cp.explain(encoder, *PHOTOS[:2], baselines="blur").pairs, cp.explain(encoder, *PHOTOS[:2]).pairs)


@torch.no_grad()
@pytest.mark.parametrize("way", [ATTENTION_MASK, MASK_TOKEN])
def test_parts_are_removed_from_the_field_that_is_the_embedding(way: str) -> None:
    model = cp.SimilarityWrapper(Patches().eval(), output=lambda embeddings: embeddings[:, :3])
    why = cp.explain(model, *PHOTOS[:2], baselines=way)
    assert why.similarity == pytest.approx(model(*PHOTOS[:2]).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baselines": "erase"}, "Expected the name of a baseline.*got 'erase'"),
        ({"baselines": (MASK_TOKEN, torch.zeros(1, 3, SIZE, SIZE))}, "parts of both sides, or of none"),
        ({"baselines": (MASK_TOKEN, "blur")}, "parts of both sides, or of none"),
        ({"baselines": "random words"}, "fit each side, got 'random words' for one whose default is blur"),
        ({"baselines": MASK_TOKEN, "layer": "embed"}, "neither layer= nor feature_mask="),
        ({"baselines": MASK_TOKEN, "background": list(PHOTOS)}, "no background"),
    ],
    ids=["name", "own", "default", "words for photos", "layer", "background"],
)
def test_other_names_and_options_are_refused(options: dict, message: str) -> None:
    assert_refused(lambda: cp.explain(Patches().eval(), *PHOTOS[:2], **options), message)


def test_models_that_remove_nothing_are_refused() -> None:
    assert_refused(lambda: cp.explain(nn.Flatten(), *PHOTOS[:2], baselines=MASK_TOKEN), "Flatten.*removes no parts")
    assert_refused(
        lambda: cp.explain(lambda q, r: (q * r).flatten(1).sum(1), *PHOTOS[:2], baselines=MASK_TOKEN), "mask token, got a function"
    )


class Pair(nn.Module):
    """Counts the words that both texts share and that are present in both."""

    removal = MASK_TOKEN

    def __init__(self, query: str, retrieved: str) -> None:
        super().__init__()
        self.words = tuple(
            tuple(Word(place, word.group(), word.start()) for place, word in enumerate(re.finditer(r"\S+", text)))
            for text in (query, retrieved)
        )

    def forward(self, query: Tensor, retrieved: Tensor) -> Tensor:
        same = torch.tensor([[a.text == b.text for b in self.words[1]] for a in self.words[0]], dtype=torch.float32)
        return ((query.float() @ same) * retrieved.float()).sum(1)


class Reranker(nn.Module):
    """Scores two texts together."""

    def encode_pair(self, query: str, retrieved: str, by: str | None = None) -> Pair:
        assert by in (None, MASK_TOKEN)
        return Pair(query, retrieved)


def test_a_reranker_gets_its_texts() -> None:
    why = cp.explain(Reranker(), "red small bicycle", "a red bicycle")
    assert why.similarity == 2
    expected = torch.tensor([[0.0, 1, 0], [0, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(why.pairs, expected, atol=1e-4, rtol=0)
    assert why.query.name == "red small bicycle" and why.query.tokens == ("red", "small", "bicycle")
    assert "replaced by the mask token" in why.choices and "words" in why.choices


def test_a_reranker_ranks_texts_of_different_lengths() -> None:
    ranking = cp.explain_ranking(Reranker(), "red bicycle", ["a red bicycle", "bicycle"])
    assert [len(explanation.retrieved.tokens) for explanation in ranking.explanations] == [3, 1]
    torch.testing.assert_close(ranking[1].pairs, torch.tensor([[0.0], [1.0]]), atol=1e-4, rtol=0)
    assert ranking.scores == (2.0, 1.0)


def test_a_reranker_takes_texts_alone() -> None:
    assert_refused(lambda: cp.explain(Reranker(), "red", PHOTOS[0]), "scores two texts together")
    assert_refused(lambda: cp.explain(Reranker(), "red", "red", background=["blue"]), "no background")


def test_a_dual_encoder_takes_the_encoder_of_each_input() -> None:
    dual = DualEncoder(Patches().eval(), Patches(5).eval())
    torch.testing.assert_close(cp.explain(dual, *PHOTOS[:2]).pairs, cp.explain(dual.image, *PHOTOS[:2]).pairs)
    assert_refused(lambda: cp.explain_ranking(dual, PHOTOS[0], ["a word", PHOTOS[1]]), "photos or sentences.*got both")
    dual.image.transform = to_input
    assert_refused(lambda: cp.explain(dual, PHOTOS[0], "missing.jpg"), "missing.jpg")
    assert_refused(lambda: cp.explain(Reranker(), "red", "red", baselines=(MASK_TOKEN, None)), "one way for both texts")


def test_the_fit_of_a_shorter_result_leaves_out_the_words_of_longer_ones() -> None:
    ranking = cp.explain_ranking(Reranker(), "red bicycle", ["a red small old bicycle", "bicycle"])
    evidence = [sentence for sentence in ranking[1].verdict.trust.evidence if "random halves" in sentence]
    assert len(evidence) == 2 and all("100 %" in sentence for sentence in evidence)  # given the other text, each word counts alone


def test_a_reranker_with_random_weights_is_stamped() -> None:
    class Layers(Reranker):
        """Runs layers as their initialisation leaves them."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*(nn.Linear(30, 30) for _ in range(4)))

        def encode_pair(self, query: str, retrieved: str, by: str | None = None) -> Pair:
            pair = super().encode_pair(query, retrieved, by)
            count = pair.forward
            pair.forward = lambda a, b: count(a, b) + 0 * self.layers(torch.zeros(len(a), 30)).sum(1)
            return pair

    assert "random weights" in str(cp.explain(Layers().eval(), "red bicycle", "a red bicycle").verdict)
    assert "random weights" not in str(cp.explain(Reranker(), "red bicycle", "a red bicycle").verdict)
