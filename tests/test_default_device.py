"""No tensor is made without the device of the tensors that it meets, and no number depends on the default dtype of torch."""

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from conftest import images, random_tensor, tiny_encoder
from test_architecture import MODULES
from torch import Tensor
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves

import captum_pairwise as cp
from captum_pairwise import metrics

# functions of torch that make a tensor from numbers alone, on the default device; and the ones whose dtype is the default dtype
REAL = {"empty", "eye", "linspace", "logspace", "normal", "ones", "rand", "randn", "zeros"}
FACTORIES = {
    "arange",
    "as_tensor",
    "asarray",
    "full",
    "randint",
    "randperm",
    "scalar_tensor",
    "tensor",
    "tril_indices",
    "triu_indices",
} | REAL
# a module's buffers lie where its parameters lie, and these are made on the default device
EXCEPTIONS = {("models.backbones", "torch.tensor(mean)"), ("models.backbones", "torch.tensor(std)")}


def list_factory_calls(tree: ast.AST) -> Iterator[tuple[str, str, set[str | None]]]:
    """Name, source and keywords of each call of a factory of torch."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FACTORIES:
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "torch":
                yield node.func.attr, ast.unparse(node), {keyword.arg for keyword in node.keywords}


@pytest.mark.parametrize("name", MODULES)
def test_every_new_tensor_names_its_device(name):
    calls = [call for call in list_factory_calls(MODULES[name]) if (name, call[1]) not in EXCEPTIONS]
    assert not [source for _, source, keywords in calls if "device" not in keywords]
    assert not [source for factory, source, keywords in calls if factory in REAL and "dtype" not in keywords]


def test_every_exception_is_a_call():
    assert EXCEPTIONS == {(name, source) for name, tree in MODULES.items() for _, source, _ in list_factory_calls(tree)} & EXCEPTIONS


ENCODER = tiny_encoder().float()
MODEL = cp.SimilarityWrapper(ENCODER)
PAIR = QUERY, RETRIEVED = tuple(batch.float() for batch in images())
MAPS, LABELS, VALUES = random_tensor(2, 12, 12).float(), random_tensor(2, 12, 12, seed=1) > 0, random_tensor(2, seed=2).float()
CREDIT = cp.LayerFactorisedShapleyTaylor(MODEL, ENCODER[4]).interactions(PAIR)
CALLS: dict[str, Callable[[], object]] = {
    "the similarity": lambda: [cp.SimilarityWrapper(ENCODER, similarity=name)(*PAIR) for name in ("cosine", "dot", "euclidean")],
    "given_gallery": lambda: MODEL.given_gallery(RETRIEVED)(QUERY),
    "given_query": lambda: MODEL.given_query(QUERY)(RETRIEVED),
    "project_attention of a layer": lambda: cp.project_attention(MODEL, ENCODER[4], PAIR, MAPS),
    "project_attention of pixels": lambda: cp.project_attention(MODEL, None, PAIR, MAPS, n_steps=2),
    "project_attention_through": lambda: cp.project_attention_through(MODEL, [ENCODER[2], ENCODER[4]], PAIR, MAPS),
    "counterfactual": lambda: cp.counterfactual(cp.LayerIGSAM(MODEL, ENCODER[4]), QUERY, RETRIEVED, QUERY + 0.1),
    "default superpixels": lambda: cp.KernelShapley(MODEL).attribute(PAIR, n_samples=400),
    "the mean colour": lambda: cp.SBSM(MODEL).attribute(
        PAIR, sliding_window_shapes=6, strides=3, baselines=(cp.mean_colour, cp.mean_colour)
    ),
    "a grid": lambda: cp.KernelShapley(MODEL).attribute(PAIR, feature_mask=(cp.grid(12, 12, 2, 2), cp.patches(12, 12, 5))),
    "Interactions.project": lambda: CREDIT.project(MAPS),
    "censor": lambda: metrics.censor(QUERY, LABELS, RETRIEVED),
    "deletion_curve": lambda: vars(metrics.deletion_curve(MODEL, PAIR, MAPS)),
    "insertion_curve": lambda: vars(metrics.insertion_curve(MODEL, PAIR, MAPS)),
    "faithfulness": lambda: metrics.faithfulness(MODEL, PAIR, MAPS),
    "second_order_faithfulness": lambda: metrics.second_order_faithfulness(MODEL, PAIR, MAPS, (LABELS, LABELS)),
    "label_propagation": lambda: vars(metrics.label_propagation(MAPS, LABELS)),
    "inefficiency": lambda: metrics.inefficiency(MAPS, VALUES, VALUES[:1].expand(2)),
    "most_important": lambda: metrics.most_important(MAPS, 20),
    "to_pixels": lambda: metrics.to_pixels(MAPS, (7, 9)),
}


@contextmanager
def other_default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("setting", [torch.float16, torch.float64, torch.device("meta")], ids=str)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_defaults_of_torch_change_nothing(call, setting):
    expected = list_tensors(call())
    with other_default_dtype(setting) if isinstance(setting, torch.dtype) else setting:
        actual = list_tensors(call())
    assert_close(actual, expected)


def list_tensors(result: object) -> list[Tensor]:
    tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    assert tensors
    return tensors
