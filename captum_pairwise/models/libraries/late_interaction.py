"""Late interaction of texts: encoders that return tokens `[B, T, C]`, whose best matches are summed (ColBERT, PyLate)."""

import string
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from captum_pairwise.models.libraries.library_objects import is_of_class
from captum_pairwise.models.libraries.sentence_transformers_inputs import (
    CARRIED,
    DOCUMENT_PROMPTS,
    EXAMPLE,
    describe_call,
    preprocess_texts,
    preprocess_whole,
    read_id_features,
    refuse_old_library,
)
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import HIDDEN_TOKEN, TokenEncoder

COMPUTED = (*CARRIED, "query_expansion_positions")  # features that follow from marked ids
Ids = Int[Tensor, "batch tokens"]
Tokens = Float[Tensor, "batch tokens channels"]


class Expansion(NamedTuple):
    """The tokens that follow a short query, which ColBERT compares as if they were words.

    Attributes:
        token: the id that stands in place of padding, usually of the mask token.
        length: the number of tokens up to which a query is expanded.
        is_attended: True if the other tokens attend to them.
    """

    token: int
    length: int
    is_attended: bool = False

    def expand(self, ids: Ids, tokens: Ids, attended: Bool[Tensor, "batch tokens"]) -> tuple[Ids, Tensor, Tensor]:
        """The tokens with the expansion, the attention mask, and True for each token of the expansion.

        Args:
            ids: the marked ids.
            tokens: their tokens, from `separate_padding`.
            attended: True for each token that is no padding and not hidden.
        """
        is_padding = ~attended & (ids.long() < HIDDEN_TOKEN)
        is_expansion = is_padding & (torch.arange(ids.shape[1], device=ids.device) < self.length)
        return torch.where(is_expansion, self.token, tokens), attended | (is_expansion & self.is_attended), is_expansion


@final
class MultiVectorTower(TokenEncoder):
    """One side of a `MultiVectorEncoder` of sentence-transformers: the tokens of `encode_query` or of `encode_document`.

    Tokens that the model does not compare, such as punctuation, are 0.

    Args:
        model: the `MultiVectorEncoder`.
        task: `"query"` or `"document"`.

    Raises:
        ValueError: the model needs more than token ids, or expands queries by an unknown token.
    """

    marks_padding = True
    hides_tokens = True

    def __init__(self, model: Any, task: str) -> None:
        names = ("query",) if task == "query" else DOCUMENT_PROMPTS
        prompt = next((model.prompts[name] for name in names if model.prompts.get(name)), "")
        super().__init__(model, model.tokenizer, prompt, self._encode_sentence)
        self.description = describe_call("the query is" if task == "query" else "documents are", f"encode_{task}", prompt)
        self.task, self._expansion = task, _read_expansion(model) if task == "query" else None
        if self._expansion is not None:
            self.least_length, self.expansion_token = self._expansion.length, self._expansion.token
        self._features = read_id_features(model, preprocess_texts(model, [EXAMPLE], prompt, task=task), COMPUTED)

    def forward(self, ids: Ids) -> Tokens:
        """Embed the tokens of a batch of ids."""
        tokens, attended = self.separate_padding(ids)
        positions = {}
        if self._expansion is not None:
            tokens, attended, positions["query_expansion_positions"] = self._expansion.expand(ids, tokens, attended)
        output = self.network({**self._features.join(tokens, attended), **positions}, task=self.task)
        return output["token_embeddings"] * output["attention_mask"][..., None]

    def _encode_sentence(self, texts: Sequence[str]) -> list[int]:
        """The ids of one sentence with its prompt, without padding and without expansion."""
        features = preprocess_whole(self.network, texts, self.prompt, task=self.task)
        is_own = features["attention_mask"][0] == 1
        is_own &= ~features.get("query_expansion_positions", ~is_own[None])[0]
        return features["input_ids"][0][is_own].tolist()


def _read_expansion(model: Any) -> Expansion | None:
    """The expansion of queries of a `MultiVectorEncoder`; None if it has none.

    Raises:
        ValueError: the token of the expansion is unknown.
    """
    settings = getattr(model[0], "query_expansion", None)
    if settings is None:
        return None
    tokenizer, name = model.tokenizer, settings["token"]
    mask = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.eos_token_id
    token = mask if name is None else tokenizer.convert_tokens_to_ids(name)
    if token is None:
        raise ValueError("Expected queries that are expanded by a known token, got none. Name it in the model's query_expansion.")
    return Expansion(token, settings["length"], settings["attend"])


def is_multi_vector_encoder(model: object) -> bool:
    """True for a `MultiVectorEncoder` of sentence-transformers, or a `ColBERT` of PyLate."""
    return is_of_class(model, "sentence_transformers", "MultiVectorEncoder") or is_of_class(model, "pylate", "ColBERT")


def from_multi_vector_encoder(model: Any) -> SimilarityWrapper:
    """The similarity of a query and a document by a `MultiVectorEncoder`, for `cp.explain` and `cp.explain_ranking`.

    The tokens are those of `encode_query` and `encode_document`, with prompts, expansion and skipped tokens, and the similarity
    (`similarity_fn_name`) is that of the model.

    Args:
        model: the `MultiVectorEncoder` of sentence-transformers, which also loads models of PyLate and of the ColBERT repository.

    Raises:
        ValueError: the model is of an older library, or needs more than token ids.

    For example::

        model = cp.models.from_multi_vector_encoder(MultiVectorEncoder("lightonai/GTE-ModernColBERT-v1"))
        cp.explain(model, "who sat on the mat", "a cat sat on the mat")

    See also `from_colbert`, and `cp.MaxSimShapleyTaylor` for the tokens of a search index.
    """
    refuse_old_library(model)
    return SimilarityWrapper(MultiVectorTower(model, "query"), MultiVectorTower(model, "document"), similarity=model.similarity_fn_name)


@final
class ColbertEncoder(TokenEncoder):
    """One side of ColBERT: states of a network, projected and normalised (Khattab and Zaharia 2020).

    Args:
        network: a network of transformers, such as `BertModel`.
        tokenizer: its tokenizer.
        projection: maps the states of tokens to their embeddings.
        marker: the token after the begin token, which tells a query from a document.
        expansion: of queries, or None.
        skipped: the ids of tokens that are not compared.

    Raises:
        ValueError: the tokenizer does not know the marker.
    """

    marks_padding = True
    hides_tokens = True

    def __init__(
        self, network: Any, tokenizer: Any, projection: nn.Module, marker: str, expansion: Expansion | None, skipped: Sequence[int] = ()
    ) -> None:
        super().__init__(network, tokenizer, prompt=". ")  # the marker replaces its token, as in the ColBERT repository
        self.projection, self.expansion, self.skipped, self.marker_name = projection, expansion, tuple(skipped), marker
        if expansion is not None:
            self.least_length, self.expansion_token = expansion.length, expansion.token
        self.marker = tokenizer.convert_tokens_to_ids(marker)
        if self.marker is None or self.marker == tokenizer.unk_token_id:
            raise ValueError(
                f"Expected markers that are tokens of {type(tokenizer).__name__}, got {marker!r}. Pass markers=(query, document)."
            )

    def forward(self, ids: Ids) -> Tokens:
        """Embed the tokens of a batch of ids."""
        tokens, attended = self.separate_padding(ids)
        tokens = torch.cat([tokens[:, :1], torch.full_like(tokens[:, :1], self.marker), tokens[:, 2:]], 1)
        is_compared = attended & ~torch.isin(tokens, torch.tensor(self.skipped, device=ids.device, dtype=tokens.dtype))
        if self.expansion is not None:
            tokens, attended, is_expansion = self.expansion.expand(ids, tokens, attended)
            is_compared = is_compared | is_expansion
        states = self.network(input_ids=tokens, attention_mask=attended.long())[0]
        return F.normalize(self.projection(states) * is_compared[..., None], dim=2)


def from_colbert(
    network: Any,
    tokenizer: Any,
    projection: nn.Module,
    *,
    markers: tuple[str, str] = ("[unused0]", "[unused1]"),
    query_length: int | None = 32,
    skipped: Sequence[str] = string.punctuation,
    similarity: str = "maxsim",
) -> SimilarityWrapper:
    """ColBERT from its parts, for `cp.explain` and `cp.explain_ranking`: of a query and a document.

    Args:
        network: a network of transformers, such as `BertModel`.
        tokenizer: its tokenizer.
        projection: maps states to embeddings, such as `Linear(768, 128, bias=False)`.
        markers: the token after the begin token, of queries and of documents.
        query_length: queries are expanded to so many tokens by the mask token; None leaves them.
        skipped: tokens of documents that are not compared.
        similarity: `"maxsim"`, or `"meanmaxsim"`.

    Raises:
        ValueError: the tokenizer does not know a marker, or has no mask token.

    For example::

        model = cp.models.from_colbert(network.eval(), tokenizer, projection)
        cp.explain(model, "who sat on the mat", "a cat sat on the mat")

    See also `from_multi_vector_encoder`, and `cp.MaxSimShapleyTaylor` for the tokens of a search index.
    """
    mask = tokenizer.mask_token_id
    if query_length is not None and mask is None:
        raise ValueError("Expected a tokenizer with a mask token, which expands queries, got one without. Pass query_length=None.")
    expansion = None if query_length is None or mask is None else Expansion(mask, query_length)
    ids = [tokenizer.convert_tokens_to_ids(token) for token in skipped]
    query = ColbertEncoder(network, tokenizer, projection, markers[0], expansion)
    document = ColbertEncoder(network, tokenizer, projection, markers[1], None, [k for k in ids if k not in (None, tokenizer.unk_token_id)])
    return SimilarityWrapper(query, document, similarity=similarity)
