"""Tied towers stay tied after every change of the encoder."""

import copy
import pickle
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

import captum.attr
import pytest
import torch
from conftest import assert_refused, compile_script, fail, images, tiny_encoder
from model_cases import (
    BATCH_NORM,
    DROPOUT,
    count_calls,
    exactly,
    full_encoder,
    pool,
    score_with_encoder,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper

# tied towers


@pytest.mark.parametrize("again", [False, True], ids=["one argument", "same encoder twice"])
def test_twin_has_other_modules_with_the_same_parameters(again: bool) -> None:
    encoder = full_encoder()
    model = SimilarityWrapper(encoder, encoder if again else None)
    assert model.query_encoder is model.retrieved_encoder is encoder
    model.tower_layers(encoder[0])
    assert set(model.query_encoder.modules()).isdisjoint(model.retrieved_encoder.modules())
    assert [id(p) for p in model.parameters()] == [id(p) for p in encoder.parameters()]
    assert [id(p) for p in model.retrieved_encoder.parameters()] == [id(p) for p in encoder.parameters()]


def optimiser_step(encoder: nn.Module, model: nn.Module) -> None:
    pool(encoder(images()[0])).sum().backward()
    torch.optim.SGD(encoder.parameters(), lr=0.1).step()


def train_once(encoder: nn.Module, model: nn.Module) -> None:
    encoder.train()
    model(*images())
    encoder.eval()


def train_with_dropout(encoder: nn.Module, model: nn.Module) -> None:
    encoder[DROPOUT].train()
    encoder[DROPOUT].p = 0.8


CHANGES = {
    "encoder.half": lambda e, m: e.half(),
    "encoder.to": lambda e, m: e.to(torch.float32),
    "model.double": lambda e, m: [e.float(), m.double()],
    "load": lambda e, m: e.load_state_dict(full_encoder(1).state_dict()),
    "load and assign": lambda e, m: e.load_state_dict(full_encoder(1).state_dict(), assign=True),
    "model loads": lambda e, m: m.load_state_dict(SimilarityWrapper(full_encoder(1)).state_dict()),
    "model loads and assigns": lambda e, m: m.load_state_dict(SimilarityWrapper(full_encoder(1)).state_dict(), assign=True),
    "optimiser step": optimiser_step,
    "new parameter": lambda e, m: setattr(e[0], "weight", nn.Parameter(tiny_encoder(1)[0].weight.detach())),
    "no bias": lambda e, m: setattr(e[0], "bias", None),
    "new submodule": lambda e, m: e.__setitem__(4, tiny_encoder(1)[4]),
    "new module without parameters": lambda e, m: e.__setitem__(1, nn.Tanh()),
    "one layer more": lambda e, m: e.append(nn.Tanh()),
    "parametrization": lambda e, m: parametrizations.orthogonal(e[0]),
    "buffer in place": lambda e, m: e[BATCH_NORM].running_mean.add_(torch.arange(6)),
    "new buffer": lambda e, m: setattr(e[BATCH_NORM], "running_var", torch.arange(1, 7).double()),
    "train": lambda e, m: e.train(),
    "train and eval": train_once,
    "dropout": train_with_dropout,
    "number": lambda e, m: setattr(e[BATCH_NORM], "eps", 1.0),
    "stride": lambda e, m: setattr(e[0], "stride", (1, 1)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_twin_follows_the_encoder(change: Callable) -> None:
    encoder, (q, r) = full_encoder(), images()
    model = SimilarityWrapper(encoder)
    count_calls(model.tower_layers(encoder)[1])  # a hook, so that the twin runs
    before = model(q, r)
    change(encoder, model)
    dtype = next(encoder.parameters()).dtype
    scores = []
    for forward in (model, partial(score_with_encoder, model, encoder)):
        torch.manual_seed(0)
        scores.append(forward(q.to(dtype), r.to(dtype)))
    exactly(*scores)
    assert not torch.equal(scores[0].double(), before)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
def test_a_copied_model_has_its_own_tied_encoder(similarity: str, clone: Callable) -> None:
    model, (q, r) = SimilarityWrapper(full_encoder(), similarity=similarity), images()
    before, copied = model(q, r), clone(model)
    exactly(copied(q, r), before)
    copied.query_encoder.load_state_dict(full_encoder(1).state_dict(), assign=True)
    exactly(copied(q, r), score_with_encoder(copied, full_encoder(1), q, r))
    exactly(model(q, r), before)


def test_twin_of_a_compiled_encoder_is_refused() -> None:
    model = SimilarityWrapper(torch.compile(tiny_encoder()))
    with pytest.raises(ValueError, match="can be copied"):
        model.tower_layers(model.query_encoder)


@pytest.mark.parametrize("transform", [torch.fx.symbolic_trace])
def test_twin_of_a_transformed_encoder_is_made_once(transform: Callable) -> None:
    model = SimilarityWrapper(transform(tiny_encoder()))
    for _ in range(2):
        twin = model.tower_layers(model.query_encoder)[1]
    assert model.retrieved_encoder is twin and model.tower_layers(model.query_encoder)[1] is twin


def test_twin_follows_a_torchscript_part() -> None:
    encoder, (q, r) = nn.Sequential(compile_script(tiny_encoder()), nn.Identity()), images()
    model = SimilarityWrapper(encoder)
    encoder.load_state_dict({f"0.{name}": value for name, value in tiny_encoder(1).state_dict().items()})
    exactly(model(q, r), score_with_encoder(model, encoder, q, r))


@pytest.mark.parametrize("replace", [False, True], ids=["as built", "after a replacement"])
def test_no_hook_fires_twice_in_a_forward(replace: bool) -> None:
    encoder = full_encoder()
    model = SimilarityWrapper(encoder)
    model.tower_layers(encoder)
    if replace:
        encoder[4] = tiny_encoder(1)[4]
        model.tower_layers(encoder)
    modules = {*model.query_encoder.modules(), *model.retrieved_encoder.modules()}
    calls = count_calls(*modules)
    model(*images())  # compares the twin with the encoder, too
    calls.clear()
    model(*images())
    assert calls == Counter(modules)


def test_a_renewed_twin_does_not_get_hooks_of_the_encoder() -> None:
    encoder = full_encoder()
    model = SimilarityWrapper(encoder)
    twin_layer = model.tower_layers(encoder[1])[1]
    encoder[4] = tiny_encoder(1)[4]
    calls = count_calls(encoder[0], twin_layer)
    model(*images())  # compares the twin with the encoder, too
    calls.clear()
    model(*images())
    assert calls[encoder[0]] == 1


# encoders that a copy does not follow, or that cannot be copied


class Stateful(nn.Module):
    """A tiny encoder with a step after it."""

    def __init__(self, after: Callable[["Stateful", Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder, self.after, self.scales, self._is_off = tiny_encoder(), after, [torch.ones(6, dtype=torch.float64)], False

    def forward(self, inputs: Tensor) -> Tensor:
        return self.after(self, self.encoder(inputs).mean((2, 3)))


def scale(encoder: Stateful, embeddings: Tensor) -> Tensor:
    return embeddings * encoder.scales[0]


def switch(encoder: Stateful, embeddings: Tensor) -> Tensor:
    return embeddings if encoder._is_off else embeddings.square()


def explain_by_captum(model: SimilarityWrapper, layer: nn.Module) -> tuple[Tensor, Tensor]:
    return captum.attr.LayerActivation(model, model.tower_layers(layer)).attribute(images())


def test_a_state_that_the_twin_does_not_follow_is_refused() -> None:
    model = SimilarityWrapper(Stateful(scale))
    model.tower_layers(model.query_encoder.encoder)
    model.query_encoder.scales[0] = torch.arange(6.0, dtype=torch.float64)
    assert_refused(lambda: explain_by_captum(model, model.query_encoder.encoder), "copy of Stateful.*does not follow")


def test_the_twin_follows_private_flags() -> None:
    model = SimilarityWrapper(Stateful(switch))
    model.tower_layers(model.query_encoder)
    model.query_encoder._is_off = True
    count_calls(model.retrieved_encoder)  # a hook, so that the twin runs
    exactly(model(*images()), score_with_encoder(model, model.query_encoder, *images()))


def test_own_methods_never_run_the_twin() -> None:
    model, masks = SimilarityWrapper(tiny_encoder()), (cp.grid(12, 12, 2, 2),) * 2
    model.tower_layers(model.query_encoder[0])
    model.retrieved_encoder.forward = model.retrieved_encoder[0].forward = fail
    for layer in ([], [model.query_encoder[4]], [model.retrieved_encoder[4]]):
        method = cp.LayerFactorisedShapleyTaylor if layer else cp.ExactShapleyTaylor
        arguments = {} if layer else {"feature_mask": masks}
        exactly(method(model, *layer).interactions(images(1), **arguments).full.float(), model(*images(1)).float())


def keep_activation(encoder: nn.Sequential) -> nn.Sequential:
    encoder[0].register_forward_hook(lambda module, _inputs, output: setattr(module, "kept", output))
    encoder(images()[0])
    return encoder


def lock(encoder: nn.Sequential) -> nn.Sequential:
    encoder[0].lock = threading.Lock()
    return encoder


def normalise_weights(encoder: nn.Sequential) -> nn.Sequential:
    nn.utils.weight_norm(encoder[0])
    return encoder


def remove_weights(encoder: nn.Sequential) -> nn.Sequential:
    prune.l1_unstructured(encoder[0], "weight", 0.3)
    return encoder


@pytest.mark.filterwarnings("ignore:.*(weight_norm|torch.jit).*:FutureWarning")
@pytest.mark.parametrize("change", [keep_activation, lock, normalise_weights, remove_weights, torch.jit.script])
def test_encoders_that_cannot_be_copied_work_without_a_twin(change: Callable) -> None:
    encoder, pair, masks = change(tiny_encoder()), images(), (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 1, 2))
    model, whole = SimilarityWrapper(encoder), lambda q, r: nn.functional.cosine_similarity(pool(encoder(q)), pool(encoder(r)))
    tower, opaque = (cp.ExactShapleyTaylor(f).attribute(pair, feature_mask=masks) for f in (model, whole))
    torch.testing.assert_close(tower, opaque, rtol=0, atol=1e-12)
    encoder(pair[0])  # weights and activations with a graph
    assert_refused(lambda: model.tower_layers(encoder), "can be copied.*given_query")
