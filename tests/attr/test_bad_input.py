"""Bad input raises a `ValueError` that says what was expected, what came and what to do."""

import pytest
import torch
from conftest import assert_refused, images, tiny_encoder
from torch import nn
from torchvision.ops import StochasticDepth

import captum_pairwise as cp

pytestmark = pytest.mark.usefixtures("without_type_checks")
MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 3))
QUERY, RETRIEVED = images(2)


def replace_pixel(number):
    spoilt = QUERY.clone()
    spoilt[1, 0, 3, 3] = number
    return spoilt


class Tuple(nn.Module):
    def forward(self, x):
        return [x], [x]


class SometimesNan(nn.Module):
    """Returns NaN for every image that is not bright."""

    def forward(self, x):
        return torch.where(x.mean((1, 2, 3), keepdim=True) > 0.4, x, torch.nan).flatten(1)


def reusing_encoder():
    activation = nn.ReLU()
    return nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.Conv2d(4, 4, 3), activation).double().eval()


class Attending(nn.Module):
    """Attention over pixels, pooled."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, dropout=0.5, batch_first=True).double()

    def forward(self, x):
        tokens = x.flatten(2).mT
        return self.attention(tokens, tokens, tokens)[0].mean(1)


class Detach(nn.Module):
    def forward(self, x):
        return x.detach()


class Paired(nn.Module):
    def forward(self, x):
        return x, None


class Named(nn.Module):
    def forward(self, x):
        return {"last_hidden_state": x}


class Nested(nn.Module):
    """A transformer whose fast path drops the padding of id 0."""

    def __init__(self):
        super().__init__()
        block = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
        self.embed, self.body = nn.Embedding(9, 8), nn.TransformerEncoder(block, 2, enable_nested_tensor=True)

    def forward(self, ids):
        return self.body(self.embed(ids), src_key_padding_mask=ids == 0).mean(1)


def broken_encoder():
    network = nn.Sequential(nn.Conv2d(3, 4, 3)).double()
    nn.init.constant_(network[0].weight, torch.nan)
    return network


DARK, BROKEN = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False)).double(), broken_encoder()
DARK_MODEL = cp.SimilarityWrapper(DARK)
TINY = tiny_encoder()
MODEL = cp.SimilarityWrapper(TINY)
PAIRED, NAMED, NESTED = nn.Sequential(*tiny_encoder(), Paired()), Named(), Nested().eval()
TOKENS = torch.tensor([[5, 6, 7, 0, 0], [1, 2, 3, 4, 5]])
with torch.inference_mode():
    INFERENCE = tiny_encoder()
REUSING = reusing_encoder()
WITH_TUPLE = nn.Sequential(Tuple())
TRAINING = cp.SimilarityWrapper(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).double())
DROPPING = cp.SimilarityWrapper(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5)).double())
DETACHED = nn.Sequential(nn.Conv2d(3, 4, 3), Detach()).double()
FLAT = cp.SimilarityWrapper(nn.Sequential(nn.Flatten(), nn.Linear(432, 5)).double())
DEAD = cp.SimilarityWrapper(nn.Sequential(nn.Flatten(), nn.ReLU()))


def exact(forward=MODEL, inputs=(QUERY, RETRIEVED), feature_mask=MASKS, **arguments):
    return cp.ExactShapleyTaylor(forward).attribute(inputs, feature_mask=feature_mask, **arguments)


def explain_layer(forward=MODEL, layer=TINY[4], inputs=(QUERY, RETRIEVED), **arguments):
    return cp.LayerFactorisedShapleyTaylor(forward, layer).attribute(inputs, **arguments)


def linear_model(forward=MODEL, inputs=(QUERY, RETRIEVED), feature_mask=MASKS, **arguments):
    return cp.SuperpixelLime(forward).attribute(inputs, feature_mask=feature_mask, **arguments)


def vesm(forward=MODEL, layer=TINY[4], inputs=(QUERY, RETRIEVED), **arguments):
    return cp.LayerVESM(forward, layer).attribute(inputs, **arguments)


CASES = {
    "one tensor": (lambda: exact(inputs=QUERY), "inputs to be a tuple"),
    "a list": (lambda: exact(inputs=[QUERY, RETRIEVED]), "inputs to be a tuple .* got list"),
    "three images": (lambda: exact(inputs=(QUERY, QUERY, QUERY)), r"two tensors, got \(Tensor, Tensor, Tensor\)"),
    "different batch sizes": (
        lambda: exact(inputs=(QUERY, RETRIEVED[:1])),
        r"equal numbers of query and retrieved images.*\(2, 3, 12, 12\).*\(1, 3, 12, 12\)",
    ),
    "an empty batch": (lambda: exact(inputs=(QUERY[:0], RETRIEVED[:0])), "at least one"),
    "bytes": (lambda: exact(inputs=((QUERY * 255).byte(), RETRIEVED)), r"query images, got torch.uint8. .*`.float\(\) / 255`"),
    "whole numbers": (lambda: explain_layer(inputs=(QUERY, (RETRIEVED * 255).long())), r"got torch.int64. .*`.float\(\) / 255`"),
    "booleans": (lambda: explain_layer(inputs=(QUERY > 0.5, RETRIEVED)), r"got torch.bool. Convert them with `.float\(\)`"),
    "token ids of bytes": (lambda: explain_layer(inputs=(TOKENS.byte(), TOKENS)), r"token ids with `.long\(\)`"),
    "token ids without a layer": (lambda: exact(inputs=(TOKENS, TOKENS)), "token ids need a method for layers"),
    "one image without a batch": (
        lambda: exact(inputs=(QUERY[0], RETRIEVED[0])),
        r"to be broadcastable to \(3, 12, 12\), got shape \(1, 1, 12, 12\). Pass `image\[None\]`",
    ),
    "one image without a batch, for a layer": (lambda: explain_layer(inputs=(QUERY[0], RETRIEVED[0])), r"Pass `image\[None\]`"),
    "one image without a batch, of two": (lambda: exact(inputs=(QUERY[:1], RETRIEVED[0])), r"pass one image as `image\[None\]`"),
    "one image without a batch, for a function": (
        lambda: exact(lambda q, r: MODEL(q, r), inputs=(QUERY[0], RETRIEVED[0]), feature_mask=None),
        r"both images with a batch dimension, got shape \(3, 12, 12\) and \(3, 12, 12\)",
    ),
    "one image without a batch, for IG-CAM": (
        lambda: cp.LayerIGCAM(TINY, TINY[4]).attribute(QUERY[0]),
        r"images with a batch dimension, got shape \(3, 12, 12\)",
    ),
    "NaN in an image": (lambda: exact(inputs=(replace_pixel(torch.nan), RETRIEVED)), "NaN or infinity in row 1 of the query images"),
    "infinity in an image": (lambda: explain_layer(inputs=(RETRIEVED, replace_pixel(torch.inf))), "row 1 of the retrieved images"),
    "one baseline": (lambda: exact(baselines=0), "baselines to be a pair"),
    "a baseline of another shape": (lambda: exact(baselines=(QUERY[:, :, :5], None)), r"query baseline .*\(2, 3, 5, 12\)"),
    "a baseline of another batch": (lambda: explain_layer(baselines=(None, torch.cat([QUERY] * 2))), "retrieved baseline"),
    "a layer baseline that does not fit": (lambda: explain_layer(layer_baselines=(QUERY, None)), "query layer_baselines"),
    "backgrounds that do not fit": (lambda: exact(baselines=(cp.Backgrounds(QUERY[:, :1]), None)), "hold images"),
    "no background": (lambda: exact(baselines=(None, cp.Backgrounds(QUERY[:0]))), "hold images"),
    "one mask": (lambda: exact(feature_mask=MASKS[0]), "feature_mask to be a pair"),
    "a mask that does not fit": (lambda: exact(feature_mask=(cp.grid(7, 12, 2, 2), MASKS[1])), "query feature_mask to be broadcastable"),
    "a mask of real numbers": (lambda: exact(feature_mask=(MASKS[0].float(), None)), "integer ids, got torch.float32"),
    "a mask of booleans": (lambda: exact(feature_mask=(None, MASKS[1] > 2)), "retrieved feature_mask to hold integer ids"),
    "ids below -1": (lambda: exact(feature_mask=(MASKS[0] - 2, MASKS[1])), "ids from -2 to 1"),
    "nobody plays": (lambda: exact(feature_mask=(torch.full_like(MASKS[0], -1), MASKS[1])), "ids from -1 to -1"),
    "a layer mask that does not fit": (
        lambda: explain_layer(layer_mask=(cp.grid(5, 5, 2, 2), None)),
        "query layer_mask to be broadcastable",
    ),
    "too many coalitions": (lambda: exact(n_samples=60), r"2\*\*6 = 64"),
    "all of far too many coalitions": (
        lambda: exact(feature_mask=(cp.grid(12, 12, 12, 12),) * 2, n_samples=2**144),
        r"fewer players: all 2\*\*144 coalitions of the 144 players of one image need \d+ GiB",
    ),
    "too few embeddings": (lambda: explain_layer(n_samples=15), "at least 16 for 9 players"),
    "pixels by pixels": (
        lambda: cp.FactorisedShapleyTaylor(cp.SimilarityWrapper(nn.Flatten())).attribute(
            (torch.rand(1, 3, 160, 160),) * 2, feature_mask=(torch.arange(25_600).reshape(160, 160),) * 2, n_samples=60_000
        ),
        r"25600 players with 76800 channels need \d+ GiB",
    ),
    "a fractional budget": (lambda: explain_layer(n_samples=300.0), "n_samples to be a whole number, got 300.0. Pass an int"),
    "a budget in words": (lambda: linear_model(n_samples="300"), "n_samples to be a whole number, got '300'"),
    "a true budget": (lambda: exact(n_samples=True), "n_samples to be a whole number, got True"),
    "a fractional chunk": (lambda: exact(perturbations_per_eval=2.5), "perturbations_per_eval .* whole number of at least 1, got 2.5"),
    "a fractional number of steps": (
        lambda: cp.LayerIGSAM(MODEL, TINY[4]).attribute((QUERY, RETRIEVED), n_steps=8.0),
        "n_steps to be a whole number of at least 1, got 8.0",
    ),
    "true steps of a projection": (
        lambda: cp.project_attention(MODEL, TINY[4], (QUERY, RETRIEVED), QUERY[:, 0], n_steps=True),
        "n_steps to be a whole number, got True",
    ),
    "a fractional number of points": (
        lambda: cp.IntegratedHessians(MODEL).attribute((QUERY, RETRIEVED), method="expected", n_samples=10.0),
        "n_samples to be a whole number, got 10.0",
    ),
    "a negative chunk": (lambda: exact(perturbations_per_eval=0), "perturbations_per_eval .* of at least 1"),
    "a zero embedding under cosine": (lambda: exact(DEAD, baselines=(-1, None)), "blurred baseline"),
    "a zero embedding under cosine for a projection": (
        lambda: cp.project_attention(DARK_MODEL, DARK[0], (QUERY, RETRIEVED), QUERY[:, 0], layer_baselines=(0, 0)),
        "nonzero embeddings for the cosine",
    ),
    "NaN in an embedding": (lambda: exact(cp.SimilarityWrapper(SometimesNan()), baselines=(0.0, None)), "of the query embeddings"),
    "two scores per pair": (
        lambda: exact(lambda q, r: (q * r).mean((2, 3))),
        r"one similarity per example from the forward function, shape \(\d+,\)",
    ),
    "one score for a batch": (lambda: exact(lambda q, r: (q * r).mean()), r"got .* of shape \(\)"),
    "no tensor": (lambda: exact(lambda q, r: 1.0), "got float"),
    "a NaN score": (lambda: exact(lambda q, r: (q * r).mean((1, 2, 3)) * torch.nan), "row 0 of the output of the forward function"),
    "an encoder of tokens": (lambda: exact(cp.SimilarityWrapper(nn.Flatten(2))), r"embeddings \[B, C\] or a map"),
    "an encoder of two tensors": (
        lambda: explain_layer(cp.SimilarityWrapper(PAIRED), PAIRED[0]),
        r"got tuple with 0: \(1, 6, 3, 3\), 1: NoneType. Pass SimilarityWrapper",
    ),
    "an encoder of named tensors": (
        lambda: cp.SimilarityWrapper(NAMED)(QUERY, RETRIEVED),
        r"got dict with last_hidden_state: \(2, 3, 12, 12\)",
    ),
    "a model made in inference mode": (
        lambda: vesm(cp.SimilarityWrapper(INFERENCE), INFERENCE[0]),
        r"made in inference mode. .* outside `torch.inference_mode\(\)`",
    ),
    "a layer of nested tensors": (
        lambda: explain_layer(cp.SimilarityWrapper(NESTED), NESTED.body.layers[0], (TOKENS, TOKENS), baselines=(1, 1)),
        "got a nested one, .* `enable_nested_tensor=False`",
    ),
    "a foreign layer": (lambda: explain_layer(layer=nn.ReLU()), "layer of the encoder"),
    "a layer that runs twice": (lambda: explain_layer(cp.SimilarityWrapper(REUSING), REUSING[1]), "ran 2 times"),
    "a layer that returns no tensor": (
        lambda: explain_layer(cp.SimilarityWrapper(First(WITH_TUPLE)), WITH_TUPLE[0]),
        "a tuple whose first tensor is one, got tuple",
    ),
    "three layers": (lambda: explain_layer(layer=(TINY[0], TINY[2], TINY[4])), "layer.*, got .*Conv2d"),
    "one layer of two encoders": (
        lambda: explain_layer(cp.SimilarityWrapper(TINY, tiny_encoder(1))),
        "Name .query layer",
    ),
    "a compiled model": (lambda: explain_layer(cp.SimilarityWrapper(torch.compile(TINY))), "not compiled"),
    "batch normalisation in training": (lambda: exact(TRAINING), r"BatchNorm2d is training.*model.eval\(\)"),
    "dropout in training": (lambda: exact(DROPPING), "Dropout is training"),
    "a cross-encoder": (
        lambda: cp.FactorisedShapleyTaylor(lambda q, r: (q * r).mean((1, 2, 3))).attribute((QUERY, RETRIEVED)),
        "a SimilarityWrapper, because each image is embedded alone, got another function",
    ),
    "stochastic depth in training": (lambda: exact(cp.SimilarityWrapper(StochasticDepth(0.5, "row"))), "StochasticDepth is training"),
    "attention dropout in training": (lambda: exact(cp.SimilarityWrapper(Attending())), "MultiheadAttention is training"),
    "batch normalisation by the batch": (
        lambda: exact(cp.SimilarityWrapper(nn.BatchNorm2d(3, track_running_stats=False).double().eval())),
        "running statistics",
    ),
    "arguments for a wrapper": (lambda: exact(additional_forward_args=(1,)), "no additional_forward_args"),
    "arguments of another length": (
        lambda: exact(lambda q, r, w: (q * r).mean((1, 2, 3)) * w.mean(), additional_forward_args=torch.rand(3)),
        "2 entries, one per pair",
    ),
    "a list as baseline": (
        lambda: exact(baselines=([0.0], None)),
        "query baseline to be None, a number, a tensor, Backgrounds or a function, got list",
    ),
    "nobody plays in one image": (
        lambda: exact(feature_mask=(torch.cat([MASKS[0], torch.full_like(MASKS[0], -1)]), MASKS[1])),
        "query feature_mask to hold ids",
    ),
    "no budget": (lambda: exact(n_samples=0), r"2\*\*6 = 64"),
    "a huge id": (lambda: explain_layer(layer_mask=(cp.grid(3, 3, 1, 1) * 200_000 + 200_000, None)), "all pairs of 200010 need"),
    "a dead image for SAM": (
        lambda: cp.LayerSAM(cp.SimilarityWrapper(DARK), DARK[0]).attribute((QUERY * 0, RETRIEVED)),
        "embeddings that are not zero",
    ),
    "NaN weights for SAM": (lambda: cp.LayerSAM(cp.SimilarityWrapper(BROKEN), BROKEN[0]).attribute((QUERY, RETRIEVED)), "query embeddings"),
    "VESM of a callable": (
        lambda: cp.LayerVESM(lambda q, r: (q * r).mean((1, 2, 3)), TINY[4]).attribute((QUERY, RETRIEVED)),
        "SimilarityWrapper, because this method uses both embeddings",
    ),
    "an unknown mode": (lambda: vesm(mode="neutral"), "one of .*triplet.* got 'neutral'"),
    "a triplet of two": (lambda: vesm(mode="triplet"), "`negative` images for mode='triplet'"),
    "a pair of three": (lambda: vesm(mode="negative", negative=QUERY), "for no other, got mode='negative'"),
    "too few negative images": (
        lambda: vesm(mode="triplet", negative=QUERY[:0]),
        r"batch of 2 images, .* got .* of shape \(0, 3, 12, 12\)",
    ),
    "a list of negative images": (lambda: vesm(mode="triplet", negative=[QUERY, QUERY]), "got list"),
    "NaN in a negative image": (lambda: vesm(mode="triplet", negative=replace_pixel(torch.nan)), "row 1 of the negative images"),
    "one tensor for VESM": (lambda: vesm(inputs=QUERY), "inputs to be a tuple"),
    "a layer without positions": (lambda: vesm(FLAT, FLAT.query_encoder[0]), r"map \[B, C, H, W\] or tokens .* got shape \(2, 432\)"),
    "a dead image for VESM": (
        lambda: vesm(cp.SimilarityWrapper(DARK), DARK[0], (QUERY, RETRIEVED * 0)),
        "retrieved images has embedding zero",
    ),
    "NaN weights for VESM": (lambda: vesm(cp.SimilarityWrapper(BROKEN), BROKEN[0]), "row 0 of the maps of the query images"),
    "a tail without gradients": (lambda: vesm(cp.SimilarityWrapper(DETACHED), DETACHED[0]), "no gradient arrives"),
    "a training model for VESM": (lambda: vesm(TRAINING, TRAINING.query_encoder[0]), "BatchNorm2d is training"),
    "a function that gives no baseline": (
        lambda: exact(baselines=(lambda batch, ids: batch[:, :, :5], None)),
        r"query baseline .*\(2, 3, 5, 12\)",
    ),
    "no window": (
        lambda: cp.PairwiseSBSM(MODEL).attribute((QUERY, RETRIEVED), sliding_window_shapes=0),
        "sliding_window_shapes to be a number",
    ),
    "strides of three": (lambda: cp.PairwiseSBSM(MODEL).attribute((QUERY, RETRIEVED), strides=(3, 3, 3)), "strides to be a number"),
    "no window of one image": (
        lambda: cp.SBSM(MODEL).attribute((QUERY, RETRIEVED), sliding_window_shapes=(4, -1)),
        "sliding_window_shapes to be a number",
    ),
    "no stride": (lambda: cp.SBSM(MODEL).attribute((QUERY, RETRIEVED), strides=0), "strides to be a number"),
    "one fill": (lambda: cp.SBSM(MODEL).attribute((QUERY, RETRIEVED), 0.5), "baselines to be a pair"),
    "vectors without windows": (
        lambda: cp.SBSM(MODEL).attribute((QUERY[:, 0, 0], RETRIEVED)),
        r"query images \[B, C, H, W\], because windows",
    ),
    "a training model for SBSM": (lambda: cp.SBSM(TRAINING).attribute((QUERY, RETRIEVED)), "BatchNorm2d is training"),
    "one coalition for LIME": (lambda: linear_model(n_samples=1), "n_samples of at least 2, got 1"),
    "one tensor for LIME": (lambda: linear_model(inputs=QUERY), "inputs to be a tuple"),
    "one mask for LIME": (lambda: linear_model(feature_mask=MASKS[0]), "feature_mask to be a pair"),
    "no chunk for LIME": (lambda: linear_model(perturbations_per_eval=0), "perturbations_per_eval .* of at least 1"),
    "a training model for LIME": (lambda: linear_model(TRAINING), "BatchNorm2d is training"),
    "two scores per pair for LIME": (lambda: linear_model(lambda q, r: (q * r).mean((2, 3))), r"one similarity per example"),
    "a negative penalty": (
        lambda: cp.PairwiseLime(MODEL, alpha=-1.0).attribute((QUERY, RETRIEVED), feature_mask=MASKS),
        "alpha and a decay",
    ),
    "no budget for both ends": (
        lambda: cp.PartitionShap(MODEL).attribute((QUERY, RETRIEVED), n_samples=1),
        "n_samples of at least 2, for no player and all players, got 1",
    ),
    "a batch of half a node": (
        lambda: cp.PartitionShap(MODEL, batch_size=1).attribute((QUERY, RETRIEVED)),
        "batch_size of at least 2, .* got 1",
    ),
    "an unknown similarity": (lambda: cp.SimilarityWrapper(TINY, similarity="manhattan"), "one of .*cosine.* got 'manhattan'"),
    "an even blur": (lambda: cp.blur_baseline(QUERY, 24), "odd kernel_size .* got 24"),
}


class Idle(nn.Module):
    """A module that owns a layer it never calls."""

    def __init__(self):
        super().__init__()
        self.body, self.spare = tiny_encoder(), nn.ReLU()

    def forward(self, x):
        return self.body(x)


class First(nn.Module):
    """The first output of a module that returns several."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)[0][0]


IDLE = Idle()
CASES["a layer that never runs"] = (lambda: explain_layer(cp.SimilarityWrapper(IDLE), IDLE.spare), "ran 0 times")


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_with_a_clear_message(case):
    assert_refused(*CASES[case])


def test_a_bad_target_is_an_assertion_error_as_in_captum():
    for target in (0, [0, 1]):
        with pytest.raises(AssertionError):
            exact(target=target)
        with pytest.raises(AssertionError):
            exact(lambda q, r: (q * r).mean((1, 2, 3)), target=target)


def test_an_untraceable_network_warns_of_its_cost():
    class Untraceable(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = tiny_encoder()

        def forward(self, x):
            return self.body(x) if x.sum() > -1e9 else x

    encoder = Untraceable()
    for part in encoder.modules():  # what is watched is not skipped
        part.register_forward_hook(lambda *_: None)
    with pytest.warns(UserWarning, match="whole network is run for every coalition") as warned:
        explain_layer(cp.SimilarityWrapper(encoder), encoder.body[2], layer_mask=(cp.grid(5, 5, 2, 2),) * 2)
    assert len(warned) == 1
