"""The inputs of models of sentence-transformers: prepared by the library, and made again from marked ids."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from captum_pairwise.models.words.text_pair import Features, refuse_long_text
from captum_pairwise.models.words.token_encoder import NO_CREDIT

CARRIED = ("input_ids", "attention_mask", "token_type_ids")  # features that follow from marked ids
DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # in the order in which `encode_document` looks for them
EXAMPLE = "a"
NO_CUT = {"text": {"truncation": False}}


class IdFeatures(NamedTuple):
    """The features beside the ids: those that are the same for all texts, and True for `has_types` if there are types of tokens, all 0."""

    constants: Features
    has_types: bool

    def join(self, tokens: Int[Tensor, "batch tokens"], attended: Bool[Tensor, "batch tokens"]) -> Features:
        """The inputs of the network for these ids."""
        types = {"token_type_ids": torch.zeros_like(tokens)} if self.has_types else {}
        return {**self.constants, "input_ids": tokens, "attention_mask": attended.long(), **types}


def read_id_features(model: Any, features: Features, computed: Collection[str] = CARRIED) -> IdFeatures:
    """The features beside the ids of a model, from the inputs that it makes of an example.

    Args:
        model: the model.
        features: the inputs.
        computed: the names of tensors that follow from the ids.

    Raises:
        ValueError: the model needs other tensors, has no weights of PyTorch, or its tokenizer is none of transformers.
    """
    types = features.get("token_type_ids")
    others = [name for name, value in features.items() if isinstance(value, Tensor) and name not in computed]
    obstacles = {
        "types of tokens": types is not None and bool(types.any()),
        "no weights of PyTorch": next(model.parameters(), None) is None,  # with ONNX and OpenVINO
        type(model.tokenizer).__name__: not hasattr(model.tokenizer, "convert_ids_to_tokens"),
    }
    others += [name for name, is_there in obstacles.items() if is_there]
    if others:
        raise ValueError(
            f"Expected a {type(model).__name__} whose input is token ids of transformers, got {', '.join(others)}. Subclass "
            "cp.models.text.TokenEncoder."
        )
    return IdFeatures({name: value for name, value in features.items() if not isinstance(value, Tensor)}, types is not None)


def preprocess_texts(model: Any, texts: Sequence[Any], prompt: str, **arguments: Any) -> Features:
    """The inputs that a model makes of texts, with a prompt before each."""
    return dict(model.preprocess(list(texts), prompt=prompt or None, **arguments))


def preprocess_whole(model: Any, texts: Sequence[Any], prompt: str, **arguments: Any) -> Features:
    """The inputs that a model makes of texts, none of which is cut off.

    Raises:
        ValueError: the model would cut one off.
    """
    features = preprocess_texts(model, texts, prompt, processing_kwargs=NO_CUT, **arguments)
    refuse_long_text(features["input_ids"].shape[1], preprocess_texts(model, texts, prompt, **arguments)["input_ids"].shape[1])
    return features


def refuse_old_library(model: object) -> None:
    """Refuse a model that does not prepare its inputs with `preprocess`.

    Raises:
        ValueError: it is of an older version.
    """
    if not hasattr(model, "preprocess"):
        raise ValueError(
            f"Expected a {type(model).__name__} of sentence-transformers 6 or newer, got one of an older version. Run pip install -U "
            "sentence-transformers."
        )


def describe_call(subject: str, call: str, prompt: str) -> str:
    """The call of the library that embeds a side, and its prompt, in words."""
    return f"{subject} embedded by `{call}` {f'with the prompt {prompt!r}{NO_CREDIT}' if prompt else 'without a prompt'}"
