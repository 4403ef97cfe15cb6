"""Static embeddings of sentence-transformers: the mean of the embeddings of the tokens, without a network."""

from collections.abc import Sequence
from typing import Any, final

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.models.libraries.library_objects import is_of_class
from captum_pairwise.models.libraries.sentence_transformers_inputs import preprocess_texts
from captum_pairwise.models.words.pooling import pool_states
from captum_pairwise.models.words.token_encoder import TokenEncoder


@final
class _BagLookup(nn.Module):
    """The embeddings of the tokens of an `EmbeddingBag`, before they are averaged."""

    def __init__(self, bag: nn.EmbeddingBag) -> None:
        super().__init__()
        self.bag = bag

    def forward(self, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens channels"]:
        """The embedding of each token."""
        return F.embedding(tokens, self.bag.weight)

    def get_input_embeddings(self) -> nn.Module:
        """This layer, as networks of transformers tell theirs."""
        return self


@final
class StaticEncoder(TokenEncoder):
    """A `SentenceTransformer` that begins with a `StaticEmbedding`; the tokens are averaged after their lookup.

    Args:
        model: the `SentenceTransformer`.
        prompt: stands before every sentence; its tokens get no credit.

    Raises:
        ValueError: the bag of embeddings is not averaged.
    """

    marks_padding = True
    hides_tokens = True

    def __init__(self, model: Any, prompt: str = "") -> None:
        bag = model[0].embedding
        if bag.mode != "mean" or bag.padding_idx is not None or bag.max_norm is not None:
            raise ValueError(f"Expected static embeddings that are averaged, got {bag}. Subclass cp.models.text.TokenEncoder.")
        transformers = import_optional("transformers", "static embeddings", "text")
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=_copy_without_frame(model[0].tokenizer))
        super().__init__(model, tokenizer, prompt, self._encode_sentence)
        self.lookup = _BagLookup(bag)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""
        tokens, attended = self.separate_padding(ids)
        features = {"sentence_embedding": pool_states(self.lookup(tokens), attended, ["mean"])}
        for module in list(self.network)[1:]:
            features = module(features)
        return features["sentence_embedding"][:, : self.network.truncate_dim]

    def _encode_sentence(self, texts: Sequence[str]) -> list[int]:
        """The ids of one sentence with its prompt."""
        return preprocess_texts(self.network, texts, self.prompt)["input_ids"].tolist()


def _copy_without_frame(tokenizer: Any) -> Any:
    """A copy that puts no special tokens around a sentence: static embeddings leave them out."""
    copied = type(tokenizer).from_str(tokenizer.to_str())
    copied.post_processor = None
    copied.no_truncation()
    return copied


def is_static(model: Any) -> bool:
    """True for a `SentenceTransformer` that begins with a `StaticEmbedding`."""
    return is_of_class(model[0], "sentence_transformers", "StaticEmbedding")
