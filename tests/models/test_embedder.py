"""Outputs of encoders in every layout, averaged over their positions."""

from collections.abc import Callable

import pytest
import torch
from conftest import assert_refused, compile_script, random_tensor, seeded
from model_cases import close, slow_scores
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper
from captum_pairwise.models.embedder import Embedder

PAIR = tuple(torch.rand(2, 3, 5, 5, generator=seeded(k), dtype=torch.float64) for k in range(2))
SIGNALS = tuple(torch.rand(2, 3, 5, generator=seeded(k), dtype=torch.float64) for k in range(2))
VOLUMES = tuple(torch.rand(2, 3, 5, 5, 5, generator=seeded(k), dtype=torch.float64) for k in range(2))


class Move(nn.Module):
    """Moves axes, by a step that says where the channels went or by one that does not."""

    def __init__(self, axes: str, is_known: bool = True) -> None:
        super().__init__()
        self.axes, self.is_known = axes, is_known

    def forward(self, maps: Tensor) -> Tensor:
        before, after = self.axes.split("->")
        return maps.permute([before.index(axis) for axis in after]) if self.is_known else torch.einsum(self.axes, maps)


def make_encoder(layout: str, is_known: bool = True) -> nn.Sequential:
    """Five channels at five positions along each axis, so that only the layout tells the channels."""
    conv = {3: nn.Conv1d(3, 5, 1), 4: nn.Conv2d(3, 5, 1), 5: nn.Conv3d(3, 5, 1)}[len(layout)].double()
    for k, parameter in enumerate(conv.parameters()):
        parameter.data.copy_(random_tensor(*parameter.shape, seed=k))
    before = {3: "nct", 4: "nchw", 5: "ncdhw"}[len(layout)]
    return nn.Sequential(conv, Move(f"{before}->{layout.lower()}", is_known)).eval()


INPUTS = {3: SIGNALS, 4: PAIR, 5: VOLUMES}
LAYOUTS = ("NCHW", "NHWC", "NTC", "NCT", "NCDHW")


def average_by_hand(encoder: nn.Sequential, batch: Tensor) -> Tensor:
    """The convolution itself has its channels second."""
    maps = encoder[0](batch).flatten(2)
    return torch.stack([maps[:, :, position] for position in range(maps.shape[2])]).mean(0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("is_named", [True, False], ids=["named", "found"])
@torch.no_grad()
def test_the_embedding_is_the_mean_over_the_positions(layout: str, is_named: bool) -> None:
    encoder, pair = make_encoder(layout), INPUTS[len(layout)]
    if len(layout) == 3 and not is_named:
        return assert_refused(lambda: SimilarityWrapper(encoder)(*pair), "Pass layout='NTC'")
    model = SimilarityWrapper(encoder, layout=layout if is_named else None)
    expected = [average_by_hand(encoder, batch) for batch in pair]
    close(model.embed_query(pair[0]), expected[0])
    close(model(*pair), slow_scores("cosine", *expected))
    for one_sided in (
        model.given_query(pair[0])(pair[1]),
        model.given_retrieved(pair[1])(pair[0]),
        model.given_gallery(pair[1])(pair[0])[:, 0],
    ):
        close(one_sided[:1], model(*pair)[:1])


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "found"])
@torch.no_grad()
def test_methods_average_the_same_positions(is_named: bool) -> None:
    encoder = make_encoder("NHWC")
    masks = (cp.grid(5, 5, 1, 2),) * 2
    model = SimilarityWrapper(encoder, layout="NHWC" if is_named else None)
    reference = SimilarityWrapper(encoder[0], layout="NCHW")
    close(*(cp.ExactShapleyTaylor(wrapper).attribute(PAIR, feature_mask=masks) for wrapper in (model, reference)))


def test_each_encoder_has_its_own_layout() -> None:
    model = SimilarityWrapper(make_encoder("NHWC", False), make_encoder("NCHW", False), layout=("NHWC", "NCHW"))
    reference = SimilarityWrapper(make_encoder("NCHW"))
    close(model(*PAIR), reference(*PAIR))


def fix_size(encoder: nn.Module) -> nn.Module:
    """TorchScript that takes one size of images only: neither its steps nor another size tell its layout."""
    return compile_script(nn.Sequential(encoder, nn.Unflatten(3, (5, 1)), nn.Flatten(3)))


@pytest.mark.parametrize(
    "run", [lambda model: model(*PAIR), lambda model: cp.ExactShapleyTaylor(model).attribute(PAIR)], ids=["call", "method"]
)
def test_an_unknown_layout_is_asked_for(run: Callable) -> None:
    encoder = fix_size(nn.Sequential(make_encoder("NCHW")[0]))
    assert_refused(lambda: run(SimilarityWrapper(encoder)), r"Pass SimilarityWrapper\(..., layout='NCHW' or layout='NHWC'\)")
    close(SimilarityWrapper(encoder, layout="NCHW")(*PAIR), SimilarityWrapper(make_encoder("NCHW"))(*PAIR))


@pytest.mark.parametrize("layout", ["NCWH", "nchw", ("NCHW", "CHW"), ("NCHW",), 1], ids=str)
@pytest.mark.usefixtures("without_type_checks")
def test_an_unknown_name_is_refused(layout: object) -> None:
    assert_refused(lambda: SimilarityWrapper(make_encoder("NCHW"), layout=layout), "layout to be one of.*NHWC")


@pytest.mark.parametrize("layout", ["NTC", "NCDHW"])
def test_a_layout_of_another_number_of_axes_is_refused(layout: str) -> None:
    assert_refused(
        lambda: SimilarityWrapper(make_encoder("NCHW"), layout=layout)(*PAIR), rf"the encoder's output to have the axes {layout}"
    )


def test_embeddings_need_no_layout() -> None:
    encoder = nn.Flatten()
    close(SimilarityWrapper(encoder, layout="NHWC")(*PAIR), SimilarityWrapper(encoder)(*PAIR))


def test_a_callable_head_gets_the_tokens() -> None:
    encoder, shapes = make_encoder("NTC"), []

    def largest(u: Tensor, w: Tensor) -> Tensor:
        shapes.append(u.shape[1:])
        return (u @ w.mT).amax(2).sum(1)

    u, w = (encoder(batch) for batch in SIGNALS)
    by_hand = torch.stack([sum(max(a @ b for b in second) for a in first) for first, second in zip(u, w, strict=True)])
    close(SimilarityWrapper(encoder, similarity=largest)(*SIGNALS), by_hand)
    assert shapes == [(5, 5)]


def test_a_second_batch_is_not_examined_again() -> None:
    encoder = fix_size(nn.Sequential(make_encoder("NCHW")[0]))
    embedder, calls = Embedder(nn.Sequential(make_encoder("NCHW"))), []
    embedder.encoder.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(2):
        embedder.embed(PAIR[0])
    assert len(calls) == 2 and list(embedder.axes.values()) == [1] and isinstance(encoder, torch.jit.ScriptModule)


# encoders that share modules


def test_two_encoders_may_share_modules() -> None:
    shared = make_encoder("NCHW")[0]
    first, second = nn.Sequential(shared, nn.Tanh()), nn.Sequential(shared, nn.Sigmoid())
    model, masks = SimilarityWrapper(first, second), (cp.grid(5, 5, 1, 2),) * 2
    expected = [encoder(batch).mean((2, 3)) for encoder, batch in zip((first, second), PAIR, strict=True)]
    close(model(*PAIR), slow_scores("cosine", *expected))
    close(cp.ExactShapleyTaylor(model).interactions(PAIR, feature_mask=masks).full, model(*PAIR))
    by_layer = cp.LayerFactorisedShapleyTaylor(model, shared).interactions(PAIR, layer_mask=masks)
    close(by_layer.full, model(*PAIR))


# the embedder alone

IMAGES = random_tensor(2, 3, 8, 6)


class ChannelsLast(nn.Module):
    """A convolution whose output has the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 2, stride=2).double()

    def forward(self, images: Tensor) -> Tensor:
        return self.convolution(images).permute(0, 2, 3, 1)


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_positions_are_averaged_and_channels_stay(layout):
    encoder = ChannelsLast()
    maps = encoder(IMAGES)
    expected = sum(maps[:, row, column] for row in range(4) for column in range(3)) / 12
    embedder = Embedder(encoder, layout)
    torch.testing.assert_close(embedder.embed(IMAGES), expected)
    torch.testing.assert_close(embedder.embed(IMAGES[:1]), expected[:1])  # the axis is found once


@pytest.mark.parametrize(("layout", "axis"), [("NCHW", 1), ("NHWC", 3), ("NCDHW", 1)])
def test_a_layout_tells_the_axis_of_the_channels(layout, axis):
    output = random_tensor(2, *range(3, 2 + len(layout)))
    expected = torch.stack([output.select(axis, channel).flatten(1).mean(1) for channel in range(output.shape[axis])], 1)
    torch.testing.assert_close(Embedder(nn.Identity(), layout).pool(output), expected)


def test_tokens_are_kept_only_on_request():
    tokens = random_tensor(2, 4, 5)
    assert Embedder(nn.Identity(), keeps_tokens=True).pool(tokens) is tokens
    torch.testing.assert_close(Embedder(nn.Identity(), "NTC").pool(tokens), tokens.mean(1))
    assert_refused(lambda: Embedder(nn.Identity()).pool(tokens), "layout='NTC' to average its tokens")
