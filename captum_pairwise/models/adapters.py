"""Objects of other libraries as models: each is recognised by its class, without an import of its library, and converted."""

from collections.abc import Callable
from typing import Any

from torch import nn

from captum_pairwise.models.libraries.cross_encoder import from_cross_encoder, is_cross_encoder
from captum_pairwise.models.libraries.from_timm import is_feature_network, wrap_feature_network
from captum_pairwise.models.libraries.late_interaction import from_multi_vector_encoder, is_multi_vector_encoder
from captum_pairwise.models.libraries.library_objects import is_of_class
from captum_pairwise.models.libraries.metric_learning import convert_inference_model, is_inference_model
from captum_pairwise.models.libraries.sentence_transformers_encoder import from_sentence_transformers, is_sentence_transformer

Converter = tuple[Callable[[Any], bool], Callable[[Any], Any]]

CONVERTERS: list[Converter] = [  # a test of the object, and the conversion to an encoder or to a function of both inputs
    (is_inference_model, convert_inference_model),
    (is_multi_vector_encoder, from_multi_vector_encoder),
    (is_sentence_transformer, from_sentence_transformers),
    (is_cross_encoder, from_cross_encoder),
    (is_feature_network, wrap_feature_network),
]

ADAPTERS = {  # a library and a class of it, and the call that makes an encoder of its objects
    ("transformers", "PreTrainedModel"): "cp.models.from_transformers(model, processor)",
    ("open_clip", "CLIP"): "cp.models.from_open_clip(model, preprocess, tokenizer)",
    ("open_clip", "CustomTextCLIP"): "cp.models.from_open_clip(model, preprocess, tokenizer)",
    ("open_clip", "CoCa"): "cp.models.from_open_clip(model, preprocess, tokenizer)",
}


def name_adapter(model: object) -> str | None:
    """The call that makes an encoder of a model that lacks its processor; None for other models."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    return next((call for (library, name), call in ADAPTERS.items() if any(is_of_class(module, library, name) for module in modules)), None)


def adapt_model(model: Any) -> Any:
    """An encoder, a `DualEncoder`, a `SimilarityWrapper` or a function of both inputs for an object of another library.

    Other objects are returned unchanged.
    """
    return next((convert(model) for is_known, convert in CONVERTERS if is_known(model)), model)
