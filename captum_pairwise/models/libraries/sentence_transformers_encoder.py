"""A `SentenceTransformer` as an encoder of sentences: its own tokenizer, prompts, modules and similarity."""

from collections.abc import Sequence
from typing import Any, final

from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.models.libraries.library_objects import is_of_class
from captum_pairwise.models.libraries.sentence_transformers_inputs import (
    DOCUMENT_PROMPTS,
    EXAMPLE,
    describe_call,
    preprocess_texts,
    preprocess_whole,
    read_id_features,
    refuse_old_library,
)
from captum_pairwise.models.libraries.static_embedding import StaticEncoder, is_static
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import TokenEncoder

SHARED_SIMILARITIES = ("cosine", "dot")  # the Euclidean similarity of the library is the distance, ours is its square


@final
class SentenceTransformersEncoder(TokenEncoder):
    """The embeddings of `model.encode`: all modules of the object run, whatever its pooling.

    Args:
        model: a `SentenceTransformer`.
        prompt: stands before every sentence; its tokens get no credit.
        task: `"query"` or `"document"` as in `encode_query` and `encode_document`, or None as in `encode`.

    Raises:
        ValueError: the model needs more than token ids.
    """

    marks_padding = True
    hides_tokens = True

    def __init__(self, model: Any, prompt: str = "", task: str | None = None) -> None:
        super().__init__(model, model.tokenizer, prompt, self._encode_sentence)
        self._task = {} if task is None else {"task": task}
        self._features = read_id_features(model, preprocess_texts(model, [EXAMPLE], prompt, **self._task))

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""
        features = self._features.join(*self.separate_padding(ids))
        return self.network(features, **self._task)["sentence_embedding"][:, : self.network.truncate_dim]

    def _encode_sentence(self, texts: Sequence[str]) -> list[int]:
        """The ids of one sentence with its prompt, without padding."""
        features = preprocess_whole(self.network, texts, self.prompt, **self._task)
        return features["input_ids"][0][features["attention_mask"][0] == 1].tolist()


def is_sentence_transformer(model: object) -> bool:
    """True for a `SentenceTransformer`."""
    return is_of_class(model, "sentence_transformers", "SentenceTransformer")


def from_sentence_transformers(
    model: Any, *, prompt: str | tuple[str, str] | None = None, prompt_name: str | tuple[str, str] | None = None
) -> SimilarityWrapper:
    """The similarity of two sentences by a `SentenceTransformer`, for `cp.explain` and `cp.explain_ranking`.

    The embeddings and the similarity (`similarity_fn_name`) are those of the library. A model with prompts for queries or documents, or
    with a route for them, embeds the query as `encode_query` and the retrieved sentence as `encode_document`; another, both as `encode`.

    Args:
        model: the `SentenceTransformer`.
        prompt: stands before each sentence, as in `encode(prompt=...)`, or a pair for `encode_query` and `encode_document`; its words get
            no credit. None is the model's own.
        prompt_name: the name of a prompt of the model, or a pair of names, in place of `prompt`.

    Raises:
        ValueError: the model has no such prompt, or needs more than token ids.

    For example::

        model = cp.models.from_sentence_transformers(SentenceTransformer("intfloat/e5-small-v2"), prompt=("query: ", "passage: "))
        cp.explain(model, "who sat on the mat", "a cat sat on the mat").figure()

    See also `from_cross_encoder` and `from_multi_vector_encoder`.
    """
    refuse_old_library(model)
    similarity = model.similarity_fn_name if model.similarity_fn_name in SHARED_SIMILARITIES else model.similarity_pairwise
    prompts = _choose_prompts(model, prompt, prompt_name)
    if isinstance(prompts, str):
        return SimilarityWrapper(_make_encoder(model, prompts, None), similarity=similarity)
    query, retrieved = (_make_encoder(model, *role) for role in zip(prompts, ("query", "document"), strict=True))
    return SimilarityWrapper(query, retrieved, similarity=similarity)


def _choose_prompts(model: Any, prompt: str | tuple[str, str] | None, prompt_name: str | tuple[str, str] | None) -> str | tuple[str, str]:
    """One prompt for `encode`, or a pair for `encode_query` and `encode_document`."""
    if prompt is not None:
        return prompt
    if prompt_name is not None:
        names = (prompt_name,) if isinstance(prompt_name, str) else prompt_name
        unknown = [name for name in names if name not in model.prompts]
        if unknown:
            raise ValueError(f"Expected prompt_name to be one of {list(model.prompts)}, got {unknown[0]!r}. Take one of these.")
        named = tuple(model.prompts[name] for name in names)
        return named[0] if len(named) == 1 else (named[0], named[1])
    default = model.prompts.get(model.default_prompt_name) or ""
    roles = model.prompts.get("query", default), next((model.prompts[name] for name in DOCUMENT_PROMPTS if name in model.prompts), default)
    named = [model.prompts.get(name) for name in ("query", *DOCUMENT_PROMPTS)]  # the library adds empty ones
    return roles if any(named) or is_of_class(model[0], "sentence_transformers", "Router") else default


def _make_encoder(model: Any, prompt: str, task: str | None) -> TokenEncoder:
    """The encoder of sentences with this prompt, and what it does in words."""
    encoder = StaticEncoder(model, prompt) if is_static(model) else SentenceTransformersEncoder(model, prompt, task)
    calls = {None: ("sentences are", "encode"), "query": ("the query is", "encode_query")}
    encoder.description = describe_call(*calls.get(task, ("retrieved sentences are", "encode_document")), prompt)
    return encoder
