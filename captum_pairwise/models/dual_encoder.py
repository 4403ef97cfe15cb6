"""Two encoders in one embedding space: of images, and of text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from captum_pairwise.files.images import names_image
from captum_pairwise.models.heads import Score
from captum_pairwise.models.similarity import SimilarityWrapper


class DualEncoder(nn.Module):
    """An encoder of images and an encoder of text with a common embedding space, such as those of CLIP.

    `cp.explain` takes it as it is, and picks the encoder of each side by the input. For a class, make the model of one combination:
    `SimilarityWrapper(dual.image, dual.text)`, or `dual.pair("image", "text")`.

    Args:
        image: an encoder of photos.
        text: an encoder of sentences.
        similarity: as for `cp.SimilarityWrapper`.

    >>> import torch
    >>> dual = DualEncoder(image=nn.Linear(4, 2), text=nn.Linear(3, 2))
    >>> model = dual.pair("image", "text")
    >>> model(torch.rand(5, 4), torch.rand(5, 3)).shape
    torch.Size([5])

    See also `from_transformers` and `from_open_clip`, which make one.
    """

    def __init__(self, image: nn.Module, text: nn.Module, similarity: str | Score = "cosine") -> None:
        super().__init__()
        self.image, self.text, self.similarity = image, text, similarity

    def pair(self, query: str, retrieved: str) -> SimilarityWrapper:
        """The similarity of two inputs of these kinds.

        Args:
            query: `"image"` or `"text"`.
            retrieved: `"image"` or `"text"`.

        Raises:
            ValueError: a kind is neither.
        """
        encoders = {"image": self.image, "text": self.text}
        for kind in (query, retrieved):
            if kind not in encoders:
                raise ValueError(f"Expected 'image' or 'text', got {kind!r}. Pass one for the query and one for the retrieved side.")
        return SimilarityWrapper(encoders[query], encoders[retrieved], similarity=self.similarity)

    def forward(self, _inputs: object) -> None:
        """No embedding: one of both encoders has to be chosen.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "Expected one of both encoders, because a dual encoder takes images and text, got the dual encoder itself. Pass `dual.image`, "
            "`dual.text`, or `SimilarityWrapper(dual.image, dual.text)`."
        )


def is_sentence(item: object) -> bool:
    """True for a string that neither names a file nor reads like a path or like the name of an image."""
    return isinstance(item, str) and not names_image(item)


def choose_encoders(model: Any, query: object, others: Sequence[object]) -> Any:
    """The model of both sides of a `DualEncoder`, by their inputs; another model is returned unchanged.

    Raises:
        ValueError: the query is compared with photos and with sentences, or a string reads like the name of a file that does not exist.
    """
    if not isinstance(model, DualEncoder):
        return model
    for item in (query, *others):
        if isinstance(item, str) and not is_sentence(item) and not Path(item).is_file():
            raise ValueError(
                f"Expected a photo or a sentence, got {item!r}, which reads like a path, but there is no such file. Check the path; for a "
                "sentence, name both sides, as in `dual.pair('image', 'text')`, and pass this model."
            )
    kinds = ["text" if is_sentence(item) else "image" for item in (query, *others)]
    if len(set(kinds[1:])) > 1:
        raise ValueError("Expected photos or sentences to compare with the query, got both. Explain them in two calls.")
    return model.pair(kinds[0], kinds[1])
