"""Cross-encoders: a `CrossEncoder` of sentence-transformers, or a classifier of transformers with one score for two texts."""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.models.libraries.library_objects import is_of_class
from captum_pairwise.models.libraries.sentence_transformers_inputs import preprocess_whole, refuse_old_library
from captum_pairwise.models.words.text_pair import Features, Reranker, refuse_long_text


@final
class SentenceTransformersReranker(Reranker):
    """A `CrossEncoder` of sentence-transformers; the score is that of `predict`.

    Args:
        model: the `CrossEncoder`.
        label: the number of the label to explain.
        prompt: stands before the query, and gets no credit.
    """

    def __init__(self, model: Any, label: int, prompt: str = "") -> None:
        super().__init__(model, model.tokenizer, prompt)
        self.label = label

    def read_features(self, texts: Sequence[str]) -> Features:
        """The inputs of the network for one pair, which is not cut off.

        Raises:
            ValueError: the pair is longer than the network takes.
        """
        return preprocess_whole(self.network, [tuple(texts)], self.prompt)

    def score_features(self, features: Features) -> Float[Tensor, " rows"]:
        """The score of each row, as `predict` gives it."""
        model: Any = self.network
        scores = model(features)["scores"]
        scores = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
        return model.activation_fn(scores).reshape(len(scores), -1)[:, self.label]


@final
class TransformersReranker(Reranker):
    """A classifier of transformers, such as `BertForSequenceClassification`; the score is a logit.

    Args:
        model: the classifier.
        tokenizer: its tokenizer.
        label: the number of the label to explain.
        prompt: stands before the query, and gets no credit.
    """

    def __init__(self, model: Any, tokenizer: Any, label: int, prompt: str = "") -> None:
        super().__init__(model, tokenizer, prompt)
        self.label = label

    def read_features(self, texts: Sequence[str]) -> Features:
        """The inputs of the network for one pair, which is not cut off.

        Raises:
            ValueError: the pair is longer than the network takes.
        """
        features = self.tokenizer(self.prompt + texts[0], texts[1], truncation=False, return_tensors="pt")
        refuse_long_text(features["input_ids"].shape[1], self.tokenizer.model_max_length)
        return dict(features)

    def score_features(self, features: Features) -> Float[Tensor, " rows"]:
        """The logit of each row."""
        return self.network(**features).logits[:, self.label]


def from_cross_encoder(model: Any, tokenizer: Any = None, *, label: int | str | None = None, prompt: str | None = None) -> Reranker:
    """The function of two texts that a reranker is, for `cp.explain` and `cp.explain_ranking`.

    Args:
        model: a `CrossEncoder` of sentence-transformers, whose score is that of `predict`; or a classifier of transformers, such as
            `BertForSequenceClassification`, whose score is a logit.
        tokenizer: of a classifier of transformers.
        label: the number or the name of the label to explain; None if there is one alone.
        prompt: stands before the query, and gets no credit; None is the default prompt of the model.

    Raises:
        ValueError: the model is neither, or has several labels and none is named.

    For example::

        score = cp.models.from_cross_encoder(CrossEncoder("cross-encoder/ms-marco-MiniLM-L6-v2"))
        cp.explain(score, "who sat on the mat", "a cat sat on the mat")

    See also `from_sentence_transformers`.
    """
    if is_cross_encoder(model):
        refuse_old_library(model)
        default = model.prompts.get(model.default_prompt_name, "") if prompt is None else prompt
        return SentenceTransformersReranker(model, _find_label(model.num_labels, model.config, label), default)
    if tokenizer is None or not type(model).__name__.endswith("ForSequenceClassification"):
        raise ValueError(
            f"Expected a CrossEncoder, or a model for sequence classification and its tokenizer, got {type(model).__name__} and "
            f"{type(tokenizer).__name__}. Pass one of these."
        )
    return TransformersReranker(model, tokenizer, _find_label(model.config.num_labels, model.config, label), prompt or "")


def is_cross_encoder(model: object) -> bool:
    """True for a `CrossEncoder` of sentence-transformers."""
    return is_of_class(model, "sentence_transformers", "CrossEncoder")


def _find_label(n_labels: int, config: Any, label: int | str | None) -> int:
    """The number of a label.

    Raises:
        ValueError: the model has no such label, or several and none is named.
    """
    names: dict[int, str] = dict(getattr(config, "id2label", None) or {})
    numbers = {name: number for number, name in names.items()}
    number = 0 if label is None and n_labels == 1 else numbers.get(label, label) if isinstance(label, str) else label
    if not isinstance(number, int) or not 0 <= number < n_labels:
        labels = ", ".join(f"{k} ({names[k]})" if k in names else str(k) for k in range(n_labels))
        raise ValueError(f"Expected label to be one of {labels}, got {label!r}. Pass from_cross_encoder(model, label=...).")
    return number
