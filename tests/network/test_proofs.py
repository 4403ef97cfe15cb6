"""Proofs about encoders: what is refused, what is not, and what a second call repeats."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from conftest import assert_refused, images, random_tensor, tiny_encoder
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper
from captum_pairwise.network.agreement import is_close, is_roughly_close
from captum_pairwise.network.proofs import prove_encoder

MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 2))


class Function(nn.Module):
    """A tiny encoder between two functions; a hard-coded size, a flip or a draw is one of them."""

    def __init__(self, before: Callable = lambda x: x, after: Callable = lambda x: x) -> None:
        super().__init__()
        self.encoder, self.before, self.after = tiny_encoder(), before, after

    def forward(self, inputs: Tensor) -> Tensor:
        return self.after(self.encoder(self.before(inputs)).mean((2, 3)))


def add_flips(inputs: Tensor) -> Tensor:
    return torch.cat([inputs, inputs.flip(-1)])


REFUSED = {
    "flips in the batch": (Function(add_flips), r"one row for each image.*got shape \(2, 6\) for 1.*flips"),
    "windows of the batch": (
        Function(lambda x: F.unfold(x, 6, stride=6).transpose(1, 2).reshape(-1, 3, 6, 6).repeat(1, 1, 2, 2)),
        "windows",
    ),
    "no axis of the batch": (Function(after=lambda x: x[0]), "one row for each image"),
    "features first": (Function(after=lambda x: x.T), "one row for each image"),
    "mean over the batch": (Function(after=lambda x: x - x.mean(0)), "mixes the images of a batch"),
    "norm over the batch": (Function(after=lambda x: F.batch_norm(x, None, None, training=True) if len(x) > 1 else x), "mixes the images"),
    "order of the batch": (Function(after=lambda x: x.flip(0)), "mixes the images of a batch"),
    "batches of one": (Function(after=lambda x: x.view(1, 6)), "any number of images, but with 2 in a batch it fails.*fixed batch sizes"),
    "batches of two": (Function(after=lambda x: x.view(2, 6)), "any number of images, but with 1 in a batch it fails"),
    "dropout in a function": (Function(lambda x: F.dropout(x, 0.5)), "draws at random"),
    "a small draw": (Function(after=lambda x: x + 1e-3 * torch.rand_like(x)), "draws at random"),
    "one draw a call": (Function(after=lambda x: x * torch.rand(1)), "draws at random"),
    "one draw a row": (Function(after=lambda x: x * torch.rand(len(x), 1)), "draws at random"),
    "other state each call": (Function(after=lambda x, state=[0]: x * (state.append(0) or len(state))), "draws at random"),
}


@pytest.mark.parametrize(("encoder", "sentence"), REFUSED.values(), ids=REFUSED)
def test_an_unsafe_encoder_is_refused(encoder: nn.Module, sentence: str) -> None:
    assert_refused(lambda: prove_encoder(encoder, None, images()[0]), sentence)
    method = cp.ExactShapleyTaylor(SimilarityWrapper(encoder))
    assert_refused(lambda: method.attribute(images(), feature_mask=MASKS), sentence)


LAYERS = {
    "windows": (
        lambda x: F.unfold(x, 6, stride=6).transpose(1, 2).reshape(-1, 3, 6, 6),
        lambda x, y: x.view(-1, 4, 108).mean(1),
        "windows",
    ),
    "sequence first": (lambda x: x.flatten(2).permute(2, 0, 1), lambda x, y: x.mean(0), "a sequence"),
    "mean of the batch": (lambda x: x - x.mean(0), lambda x, y: y.mean((2, 3)), "the layer .Transform. mixes the images"),
    "a draw": (lambda x: torch.rand_like(x), lambda x, y: y.mean((2, 3)), "the layer .Transform. draws at random"),
}


class Transform(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


class Layered(nn.Module):
    """An embedding from the output of a layer and the images."""

    def __init__(self, function: Callable, after: Callable) -> None:
        super().__init__()
        self.layer, self.after = Transform(function), after

    def forward(self, inputs: Tensor) -> Tensor:
        return self.after(self.layer(inputs), inputs)


@pytest.mark.parametrize(("function", "after", "sentence"), LAYERS.values(), ids=LAYERS)
def test_an_unsafe_layer_is_refused(function: Callable, after: Callable, sentence: str) -> None:
    """Also if the embedding does not show it."""
    encoder = Layered(function, after)
    prove_encoder(encoder, None, images()[0])
    assert_refused(lambda: prove_encoder(encoder, encoder.layer, images()[0]), sentence)
    method = cp.LayerExactShapleyTaylor(SimilarityWrapper(encoder), encoder.layer)
    assert_refused(lambda: method.attribute(images()), sentence)


SAFE = {
    "plain": tiny_encoder(),
    "nan": Function(after=lambda x: x * float("nan")),
    "rounding with the batch": Function(after=lambda x: x * (1 + 1e-12 * len(x))),
    "a constant": Function(after=lambda x: torch.ones_like(x)),
    "no tensor": Function(after=lambda x: {"embedding": x}),
}


@pytest.mark.parametrize("encoder", SAFE.values(), ids=SAFE)
@pytest.mark.parametrize("n_images", [1, 2])
def test_a_safe_encoder_passes(encoder: nn.Module, n_images: int) -> None:
    prove_encoder(encoder, None, images(n_images)[0])


def test_two_equal_images_are_compared_with_a_reversed_one() -> None:
    """Two equal rows would not show that the mean of the batch is subtracted."""
    same = images(1)[0].repeat(2, 1, 1, 1)
    assert_refused(lambda: prove_encoder(Function(after=lambda x: x + x.mean(0)), None, same), "mixes the images")


@pytest.mark.parametrize("encoder", [Function(lambda x: F.dropout(x, 0.5)), Function(after=lambda x: x * torch.rand(1))])
def test_a_stochastic_encoder_is_accepted_on_request(encoder: nn.Module) -> None:
    prove_encoder(encoder, None, images()[0], is_stochastic=True)
    assert_refused(lambda: prove_encoder(encoder, None, images()[0]), r"draws at random.*SimilarityWrapper\(\.\.\., stochastic=True\)")


def test_the_images_own_error_of_a_network_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        prove_encoder(tiny_encoder(), None, random_tensor(2, 4, 12, 12))


# one proof for a state of the model


class Counted(nn.Module):
    """Counts its forward passes, with a hook that is there from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.passes = tiny_encoder(), []
        self.network[0].register_forward_hook(lambda _module, inputs, _output: self.passes.append(len(inputs[0])))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)

    def count(self, call: Callable[[], object]) -> int:
        before = len(self.passes)
        call()
        return len(self.passes) - before


@pytest.mark.parametrize("index", [None, 2])
def test_a_second_proof_runs_nothing(index: int | None) -> None:
    encoder = Counted()
    prove = partial(prove_encoder, encoder, None if index is None else encoder.network[index], images()[0])
    assert encoder.count(prove) == 2
    assert encoder.count(prove) == 0
    assert prove() is prove()


CHANGES = {
    "train": lambda encoder: encoder.network[1].train(),
    "hook": lambda encoder: encoder.network[1].register_forward_hook(lambda *_: None),
    "pre-hook": lambda encoder: encoder.network[1].register_forward_pre_hook(lambda *_: None),
    "forward": lambda encoder: setattr(encoder.network[1], "forward", torch.tanh),
    "module": lambda encoder: encoder.network.__setitem__(1, nn.Tanh()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_model_repeats_the_proof(change: Callable) -> None:
    encoder = Counted()
    prove = partial(prove_encoder, encoder, None, images()[0])
    prove()
    change(encoder)
    assert encoder.count(prove) == 2


def test_other_images_repeat_the_proof() -> None:
    encoder = Counted()
    prove_encoder(encoder, None, images()[0])
    assert encoder.count(lambda: prove_encoder(encoder, encoder.network[2], images()[0])) == 2
    encoder.float()
    assert encoder.count(lambda: prove_encoder(encoder, None, images()[0].float())) == 2


@pytest.mark.parametrize("is_layer", [False, True])
def test_a_second_explanation_does_not_repeat_the_proof(is_layer: bool) -> None:
    encoder = Counted()
    model = SimilarityWrapper(encoder)
    method = cp.LayerExactShapleyTaylor(model, encoder.network[2]) if is_layer else cp.ExactShapleyTaylor(model)
    explain = partial(method.interactions, images(1), **({} if is_layer else {"feature_mask": MASKS}), n_samples=2**8)
    if is_layer:
        explain = partial(method.interactions, images(1), layer_mask=(cp.grid(5, 5, 2, 2),) * 2)
    first, second = encoder.count(explain), encoder.count(explain)
    assert first - second >= 2
    assert encoder.count(explain) == second


def test_a_failed_proof_is_not_kept() -> None:
    encoder = Function(lambda x: F.dropout(x, 0.5))
    for _ in range(2):
        assert_refused(lambda: prove_encoder(encoder, None, images()[0]), "draws at random")


# memory


class OneRow(Counted):
    """Has memory for one image at a time."""

    def forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) > 1:
            raise torch.OutOfMemoryError("no memory for two")
        return self.network(inputs)


def test_memory_for_one_row_is_enough() -> None:
    prove_encoder(OneRow(), None, images()[0])


def test_a_random_encoder_is_found_without_memory_for_two_rows() -> None:
    encoder = OneRow()
    encoder.network.append(Transform(lambda x: F.dropout(x, 0.5)))
    assert_refused(lambda: prove_encoder(encoder, None, images()[0]), "draws at random")


# what is equal


def test_outputs_are_compared_relative_to_their_largest_number() -> None:
    output = random_tensor(3, 4)
    size = output.abs().max()
    assert is_close(output + 0.9e-8 * size, output) and not is_close(output + 2e-8 * size, output)
    assert is_roughly_close(output + 0.008 * size, output) and not is_roughly_close(output + 0.06 * size, output)
    assert not is_close(output[:1], output) and not is_close(None, output)
    assert is_close(output / 0, output / 0) and not is_close(output, output * float("nan"))
