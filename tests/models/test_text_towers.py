import pytest
from torch import nn

from captum_pairwise.models.dual_encoder import DualEncoder
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.text_towers import tell_text_towers
from captum_pairwise.models.words.token_encoder import TokenEncoder


class Ids(TokenEncoder):
    def forward(self, ids):
        return ids.float()


WORDS, PHOTOS = Ids(nn.Identity(), None), nn.Flatten()


@pytest.mark.parametrize(
    ("model", "reads_text"),
    [
        (WORDS, (True, True)),
        (PHOTOS, (False, False)),
        (max, (False, False)),
        (SimilarityWrapper(WORDS), (True, True)),
        (SimilarityWrapper(WORDS, PHOTOS), (True, False)),
        (SimilarityWrapper(PHOTOS, WORDS), (False, True)),
    ],
    ids=["words", "photos", "function", "tied words", "words and photos", "photos and words"],
)
def test_sides_that_read_sentences(model, reads_text):
    assert tell_text_towers(model) == reads_text


@pytest.mark.parametrize(
    ("query", "retrieved", "expected"),
    [
        ("a red bicycle", "photo.jpg", (True, False)),
        ("photo.jpg", "a red bicycle", (False, True)),
        ("a red bicycle", __file__, (True, False)),
        (None, None, (False, False)),
    ],
    ids=["sentence", "missing photo", "file", "unknown"],
)
def test_a_dual_encoder_takes_sentences_and_photos(query: str | None, retrieved: str | None, expected: tuple[bool, bool]) -> None:
    assert tell_text_towers(DualEncoder(nn.Flatten(), nn.Flatten()), query, retrieved) == expected
