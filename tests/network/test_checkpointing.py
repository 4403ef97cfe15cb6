"""Methods that differentiate get the same result from a network that checkpoints its activations, which it does again after the call."""

import threading
from functools import partial, reduce
from itertools import count

import pytest
import torch
from conftest import random_tensor
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed._composable import checkpoint as composable_checkpoint
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from torchvision.models.densenet import DenseNet

import captum_pairwise as cp
from captum_pairwise.network import checkpointing
from captum_pairwise.network.checkpointing import disable_checkpointing

PHOTOS = random_tensor(2, 3, 8, 8), random_tensor(2, 3, 8, 8, seed=1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6))

    def forward(self, tokens):
        return tokens + self.mix(tokens).roll(1, 1)


class Recompute(torch.autograd.Function):
    """A checkpoint as other libraries have it: it does not know that `torch.autograd.grad` needs care."""

    @staticmethod
    def forward(ctx, run, tokens):
        ctx.run = run
        ctx.save_for_backward(tokens)
        with torch.no_grad():
            return run(tokens)

    @staticmethod
    def backward(ctx, slopes):
        tokens = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            torch.autograd.backward(ctx.run(tokens), slopes)
        return None, tokens.grad


def recompute_saved(run, tokens):
    """A checkpoint as other libraries have it: the tensors that autograd saves are computed again when backward asks for them."""
    numbers, saved = count(), {}

    def unpack(number):
        if not saved:
            order = count()
            with (
                torch.enable_grad(),
                saved_tensors_hooks(lambda tensor: saved.setdefault(next(order), tensor.detach()), lambda tensor: tensor),
            ):
                run(tokens.detach().requires_grad_(tokens.requires_grad))
        return saved[number]

    with saved_tensors_hooks(lambda _: next(numbers), unpack):
        return run(tokens)


CHECKPOINTS = {
    "reentrant": partial(checkpoint, use_reentrant=True),
    "not reentrant": partial(checkpoint, use_reentrant=False),
    "sequential": lambda blocks, tokens: checkpoint_sequential(blocks, 2, tokens, use_reentrant=False),
    "sequential, reentrant": lambda blocks, tokens: checkpoint_sequential(blocks, 2, tokens, use_reentrant=True),
    "each block": lambda blocks, tokens: reduce(lambda inputs, block: checkpoint(block, inputs, use_reentrant=False), blocks, tokens),
}


class Network(nn.Module):
    """Blocks over the patches of an image, with control flow that `torch.fx` cannot follow."""

    def __init__(self, run=None):
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.blocks, self.last = nn.Conv2d(3, 6, 4, stride=4), nn.Sequential(*(Block() for _ in range(3))), nn.Linear(6, 5)
        self.layer, self.run = self.blocks[0].mix[1], run
        self.double().eval()

    def forward(self, photos):
        if photos.isnan().any():
            raise ArithmeticError
        tokens = self.patches(photos).flatten(2).mT
        return self.last((self.blocks(tokens) if self.run is None else self.run(self.blocks, tokens)).mean(1))


def wrap_blocks(wrap):
    network = Network()
    for k in range(3):
        network.blocks[k] = wrap(network.blocks[k])
    return network


NETWORKS = {
    **{name: partial(Network, run) for name, run in CHECKPOINTS.items()},
    "wrapped": lambda: wrap_blocks(partial(checkpoint_wrapper, checkpoint_impl=CheckpointImpl.NO_REENTRANT)),
    "wrapped, reentrant": lambda: wrap_blocks(partial(checkpoint_wrapper, checkpoint_impl=CheckpointImpl.REENTRANT)),
    "composable": lambda: wrap_blocks(composable_checkpoint),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def densenet(memory_efficient):
    torch.manual_seed(0)
    return DenseNet(4, (2, 2), 8, memory_efficient=memory_efficient, num_classes=5).double().eval()


def hugging_face(checkpoints, reentrant=False):
    transformers = pytest.importorskip("transformers", reason="the extra `clip`")
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 20, "image_size": 8, "patch_size": 4}
    config = transformers.ViTConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    network = transformers.ViTModel(config, add_pooling_layer=False).double().train()  # transformers checkpoint in this mode only
    if checkpoints:
        network.gradient_checkpointing_enable({"use_reentrant": reentrant})
    return network


class PooledTokens(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, photos):
        if photos.isnan().any():
            raise ArithmeticError
        return self.network(photos).last_hidden_state.mean(1)


def explain(encoder, layer):
    """The results of all methods that differentiate at a layer."""
    model = cp.SimilarityWrapper(encoder)
    maps = cp.LayerIGSAM(model, layer).attribute(PHOTOS, n_steps=4)
    whole = cp.LayerIntegratedHessians(model, layer, within=True).interactions(PHOTOS, n_steps=2)
    return {
        "LayerIGSAM": torch.cat([part.flatten() for part in maps]),
        "LayerIntegratedHessians": cp.LayerIntegratedHessians(model, layer).attribute(PHOTOS, n_steps=3),
        "within": torch.cat([whole.within_query.flatten(), whole.first_order.flatten()]),
        "LayerVESM": torch.cat([part.flatten() for part in cp.LayerVESM(model, layer).attribute(PHOTOS)]),
        "project_attention": cp.project_attention(model, layer, PHOTOS, random_tensor(2, maps[0][0].numel(), seed=3)),
        "LayerIGCAM": cp.LayerIGCAM(encoder, layer).attribute(PHOTOS[0], target=1, n_steps=4),
        "opaque": cp.LayerIntegratedHessians(lambda q, r: model(q, r), model.tower_layers(layer)).attribute(PHOTOS, n_steps=2),
    }


def assert_same(actual, expected):
    for name, result in expected.items():
        assert result.any(), name
        torch.testing.assert_close(
            actual[name], result, rtol=1e-6, atol=1e-6 * result.abs().max().item(), msg=lambda text, name=name: f"{name}: {text}"
        )


def count_runs_in_backward(network, layer):
    """The number of times that an ordinary backward runs the layer again."""
    runs = []
    with torch.enable_grad():
        photos = PHOTOS[0].clone().requires_grad_()
        outputs = network(photos)
        outputs = outputs if isinstance(outputs, torch.Tensor) else outputs.last_hidden_state
    with layer.register_forward_pre_hook(lambda *_: runs.append(True)):
        outputs.sum().backward()
    network.zero_grad()
    return len(runs)


@each_network
def test_checkpointed_blocks_give_the_result_of_ordinary_blocks(name):
    network, plain = NETWORKS[name](), Network()
    assert count_runs_in_backward(network, network.layer) == 1  # the network checkpoints
    assert_same(explain(network, network.layer), explain(plain, plain.layer))
    assert count_runs_in_backward(network, network.layer) == 1  # and does so after the call


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize("reentrant", [False, True])
def test_hugging_face_gradient_checkpointing(reentrant):
    encoders = [PooledTokens(hugging_face(checkpoints, reentrant)) for checkpoints in (True, False)]
    layers = [
        encoder.network.encoder.layer[1].intermediate if hasattr(encoder.network, "encoder") else encoder.network.layers[1].mlp.fc1
        for encoder in encoders
    ]
    assert [count_runs_in_backward(encoder, layer) for encoder, layer in zip(encoders, layers, strict=True)] == [1, 0]
    results = [explain(encoder, layer) for encoder, layer in zip(encoders, layers, strict=True)]
    assert_same(*results)
    assert count_runs_in_backward(encoders[0], layers[0]) == 1


def test_the_dense_blocks_of_torchvision():
    networks = [densenet(memory_efficient) for memory_efficient in (True, False)]
    layers = [network.features.denseblock1.denselayer2.conv1 for network in networks]
    assert [count_runs_in_backward(*pair) for pair in zip(networks, layers, strict=True)] == [1, 0]
    photos = tuple(nn.functional.interpolate(batch, (32, 32)) for batch in PHOTOS)
    maps = [
        cp.LayerIGSAM(cp.SimilarityWrapper(network), layer).attribute(photos, n_steps=3)
        for network, layer in zip(networks, layers, strict=True)
    ]
    for actual, expected in zip(*maps, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())


@each_network
def test_checkpointing_is_back_on_after_an_error(name):
    network = NETWORKS[name]()
    with pytest.raises(ZeroDivisionError), disable_checkpointing():
        assert count_runs_in_backward(network, network.layer) == 0
        raise ZeroDivisionError
    assert count_runs_in_backward(network, network.layer) == 1


def test_blocks_of_several_threads_overlap():
    network, first_is_open, second_is_done = Network(CHECKPOINTS["not reentrant"]), threading.Event(), threading.Event()
    counts = []

    def hold():
        with disable_checkpointing():
            first_is_open.set()
            assert second_is_done.wait(10)
            counts.append(count_runs_in_backward(network, network.layer))

    thread = threading.Thread(target=hold)
    thread.start()
    assert first_is_open.wait(10)
    with disable_checkpointing(), disable_checkpointing():
        counts.append(count_runs_in_backward(network, network.layer))
    second_is_done.set()
    thread.join(10)
    assert counts == [0, 0]
    assert count_runs_in_backward(network, network.layer) == 1


METHODS = {
    "LayerIGSAM": lambda network, model: cp.LayerIGSAM(model, network.layer).attribute(PHOTOS, n_steps=3),
    "LayerIntegratedHessians": lambda network, model: cp.LayerIntegratedHessians(model, network.layer).attribute(PHOTOS, n_steps=3),
    "LayerVESM": lambda network, model: cp.LayerVESM(model, network.layer).attribute(PHOTOS),
    "LayerIGCAM": lambda network, _: cp.LayerIGCAM(network, network.layer).attribute(PHOTOS[0], target=1, n_steps=3),
    "project_attention": lambda network, model: cp.project_attention(model, network.layer, PHOTOS, random_tensor(2, 4)),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_of_another_library_is_refused(method):
    network = Network(recompute_saved)
    assert count_runs_in_backward(network, network.layer) == 1
    with pytest.raises(ValueError, match=r"checkpointing to be off, .* replaced output. Call `model.gradient_checkpointing_disable"):
        METHODS[method](network, cp.SimilarityWrapper(network))
    assert not network.layer._forward_pre_hooks


@pytest.mark.parametrize("method", METHODS)
def test_a_reentrant_checkpoint_of_another_library_is_refused(method):
    network = Network(Recompute.apply)
    with pytest.raises(ValueError, match="no gradient arrives"):
        METHODS[method](network, cp.SimilarityWrapper(network))


@pytest.mark.parametrize("run", [recompute_saved, Recompute.apply])
def test_methods_without_gradients_take_any_checkpoint(run):
    encoders = Network(run), Network()
    results = [cp.LayerKernelSAM(cp.SimilarityWrapper(encoder), encoder.layer).attribute(PHOTOS) for encoder in encoders]
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_version_of_torch_is_refused(method, monkeypatch):
    monkeypatch.setattr(checkpointing, "GENERATORS", ("a name of the future",))
    network = Network(CHECKPOINTS["not reentrant"])
    with pytest.raises(ValueError, match="gradient checkpointing to be off"):
        METHODS[method](network, cp.SimilarityWrapper(network))
    plain = Network()
    METHODS[method](plain, cp.SimilarityWrapper(plain))
    assert count_runs_in_backward(network, network.layer) == 1
