"""Objects of other libraries: recognised by their class, and named in errors."""

import numpy as np
import pytest
import torch
from conftest import assert_refused, seeded
from PIL import Image
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.models.adapters import name_adapter
from captum_pairwise.models.libraries.library_objects import is_of_class

PHOTOS = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (10, 200)]


def make_class(library: str, name: str) -> type[nn.Module]:
    """A class of a library that need not be installed."""
    return type(name, (nn.Module,), {"__module__": f"{library}.modeling", "forward": lambda _self, **_inputs: None})


class Finetuned(make_class("transformers", "PreTrainedModel")):
    """A class of the user that inherits from one of the library."""


@pytest.mark.parametrize(
    ("model", "call"),
    [
        (Finetuned(), "from_transformers(model, processor)"),
        (nn.Sequential(Finetuned()), "from_transformers(model, processor)"),
        (make_class("open_clip", "CLIP")(), "from_open_clip(model, preprocess, tokenizer)"),
        (make_class("open_clip_extra", "CLIP")(), None),
        (nn.Flatten(), None),
        (max, None),
    ],
    ids=["inherited", "inside", "open_clip", "other library", "module", "function"],
)
def test_the_adapter_of_a_library_is_named(model: object, call: str | None) -> None:
    assert name_adapter(model) == (f"cp.models.{call}" if call else None)


def test_errors_name_the_adapter() -> None:
    assert_refused(lambda: cp.explain(Finetuned(), *PHOTOS), r"transform=.*Pass cp.models.from_transformers\(model, processor\)")
    tensors = torch.rand(2, 1, 3, 8, 8, generator=seeded(0))
    assert_refused(lambda: cp.explain(Finetuned(), *tensors), r"it fails.*Pass cp.models.from_transformers\(model, processor\)")


@pytest.mark.usefixtures("without_type_checks")
def test_text_for_a_class_is_refused_with_the_way_to_ids() -> None:
    method = cp.FactorisedShapleyTaylor(cp.SimilarityWrapper(nn.Flatten()))
    assert_refused(lambda: method.interactions((["a cat"], ["a dog"])), r"got \(list, list\).*encoder.ids\(sentences\)")


def test_a_class_of_another_library_with_the_same_name_is_not_taken() -> None:
    class PreTrainedModel(Tensor):
        pass

    assert not is_of_class(PreTrainedModel(), "transformers", "PreTrainedModel")


@pytest.mark.parametrize("name", ["SentenceTransformer", "CrossEncoder"])
def test_a_model_of_text_is_no_encoder_of_tensors(name: str) -> None:
    model = make_class("sentence_transformers", name)()
    assert_refused(lambda: cp.SimilarityWrapper(model), f"got a {name}, which takes text. Pass it to cp.explain, or to cp.models.from_")
