"""`check_model` on twelve architectures, and on encoders with one fault each."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
import transformers
from torch import Tensor, nn

from captum_pairwise.testing import MODEL_CHECKS, check_model
from captum_pairwise.testing.battery import EXEMPT, FAILS, PASSES

SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
PHOTO: dict[str, Any] = {"image_size": 32, "patch_size": 8}
BEGIN, END = 0, 1  # ids of the marks of a sentence


class Output(nn.Module):
    """One field of what a network of transformers returns."""

    def __init__(self, network: Any, argument: str, read: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.network, self.argument, self.read = network, argument, read

    def forward(self, inputs: Tensor) -> Tensor:
        return self.read(self.network(**{self.argument: inputs}))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(40, 8), nn.GRU(8, 12, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.gru(self.embedding(ids))[1][0]


class Adapted(nn.Module):
    """A network with a low-rank adapter that a private flag switches, as PEFT does."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear, self._disable_adapters = nn.Conv2d(3, 12, 4, stride=4), nn.Linear(12, 8), False
        self.down, self.up = nn.Linear(12, 2), nn.Linear(2, 8)

    def forward(self, images: Tensor) -> Tensor:
        features = self.convolution(images).relu().mean((2, 3))
        return self.linear(features) + (0 if self._disable_adapters else self.up(self.down(features)))


def resnet() -> tuple[nn.Module, nn.Module]:
    network = torchvision.models.resnet18(weights=None)
    return network, network.layer3


def convnext() -> tuple[nn.Module, nn.Module]:
    blocks = [torchvision.models.convnext.CNBlockConfig(8, 16, 1), torchvision.models.convnext.CNBlockConfig(16, None, 1)]
    network = torchvision.models.ConvNeXt(blocks, num_classes=10, layer_scale=1.0)
    return network, network.features[3]


def swin() -> tuple[nn.Module, nn.Module]:
    network = torchvision.models.SwinTransformer([4, 4], 12, [1, 1], [2, 2], [4, 4], num_classes=10)
    return network, network.features[1]


def registers() -> tuple[nn.Module, nn.Module]:
    network = transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(num_register_tokens=3, **SMALL, **PHOTO))
    return Output(network, "pixel_values", lambda output: output.last_hidden_state[:, 0]), network.encoder.layer[0]


def clip(side: str) -> tuple[nn.Module, nn.Module]:
    text = {"vocab_size": 40, "max_position_embeddings": 16, "bos_token_id": BEGIN, "eos_token_id": END, "projection_dim": 8, **SMALL}
    if side == "text":
        network = transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**text))
        embedding = next(module for module in network.modules() if isinstance(module, nn.Embedding) and module.num_embeddings == 40)
        return Output(network, "input_ids", lambda output: output.text_embeds), embedding
    network = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(projection_dim=8, **SMALL, **PHOTO))
    layer = next(module for name, module in network.named_modules() if name.endswith("layers.0"))
    return Output(network, "pixel_values", lambda output: output.image_embeds), layer


def siglip() -> tuple[nn.Module, nn.Module]:
    network = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SMALL, **PHOTO))
    layer = next(module for name, module in network.named_modules() if name.endswith("layers.1"))
    return Output(network, "pixel_values", lambda output: output.pooler_output), layer


def sentences() -> tuple[nn.Module, nn.Module]:
    network = transformers.BertModel(transformers.BertConfig(vocab_size=40, max_position_embeddings=16, **SMALL))
    return Output(network, "input_ids", lambda output: output.last_hidden_state.mean(1)), network.get_input_embeddings()


def signals() -> tuple[nn.Module, nn.Module]:
    network = nn.Sequential(nn.Conv1d(2, 6, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 5))
    return network, network[1]


def volumes() -> tuple[nn.Module, nn.Module]:
    network = nn.Sequential(nn.Conv3d(1, 6, 3, stride=2), nn.GELU(), nn.Conv3d(6, 6, 2), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    return network, network[1]


def toggled() -> tuple[nn.Module, nn.Module]:
    network = Adapted()
    check_model(network.eval(), torch.rand(1, 3, 16, 16), layer=network.convolution)
    network._disable_adapters = True
    return network, network.convolution


def weight_norm() -> tuple[nn.Module, nn.Module]:
    network = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 8, 4, stride=4)), nn.Tanh(), nn.Flatten(), nn.Linear(128, 6))
    network(torch.rand(1, 3, 16, 16))  # its weight is now a tensor with a graph, which `deepcopy` refuses
    return network, network[1]


def random_images(size: int) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))


IDS = torch.tensor([[BEGIN, 5, 6, 7, END], [BEGIN, 9, 8, 3, END]])
ARCHITECTURES: dict[str, tuple[Callable[[], tuple[nn.Module, nn.Module]], Tensor]] = {
    "ResNet": (resnet, random_images(64)),
    "ConvNeXt": (convnext, random_images(32)),
    "Swin": (swin, random_images(32)),
    "ViT with registers": (registers, random_images(32)),
    "CLIP, images": (lambda: clip("images"), random_images(32)),
    "CLIP, text": (lambda: clip("text"), IDS),
    "SigLIP": (siglip, random_images(32)),
    "sentences": (sentences, IDS),
    "GRU": (lambda: (network := Recurrent(), network.embedding), IDS),
    "1-D CNN": (signals, torch.rand(2, 2, 41, generator=torch.Generator().manual_seed(2))),
    "3-D CNN": (volumes, torch.rand(2, 1, 8, 9, 10, generator=torch.Generator().manual_seed(3))),
    "adapter toggled": (toggled, random_images(16)),
    "weight norm": (weight_norm, random_images(16)),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_is_safe_to_explain(name: str) -> None:
    torch.manual_seed(0)
    make, example = ARCHITECTURES[name]
    encoder, layer = make()
    report = check_model(encoder.eval(), example, layer=layer)
    assert not report.failures, report
    assert {outcome.status for outcome in report.outcomes} == {PASSES}


class Faulty(nn.Module):
    """A convolution with a function after it."""

    def __init__(self, change: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.convolution, self.change = nn.Conv2d(3, 5, 3, stride=2), change

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.convolution, images)


def count_call(convolution: nn.Module, images: Tensor) -> Tensor:
    """Embeddings that grow with each call."""
    convolution.n_calls = getattr(convolution, "n_calls", 0) + 1  # type: ignore[assignment]
    return convolution(images).mean((2, 3)) + convolution.n_calls


FAULTS: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], str, str]] = {
    "random": (lambda c, x: F.dropout(c(x)).mean((2, 3)), "batch first and deterministic", "draws at random"),
    "counts calls": (count_call, "batch first and deterministic", "draws at random"),
    "mixed batch": (lambda c, x: c(x - x.mean(0) * len(x)).mean((2, 3)), "batch first and deterministic", "mixes the images"),
    "flips": (lambda c, x: c(torch.cat([x, x.flip(3)])).mean((2, 3)).chunk(2)[0], "batch first and deterministic", r"shape \(2, 5, 7, 7\)"),
    "no effect": (lambda c, x: c(x).mean((2, 3)) * 0 + x.mean((2, 3)).repeat(1, 2)[:, :5], "layer has an effect", "the same"),
    "a tuple": (lambda c, x: (c(x).mean((2, 3)), x), "batch first and deterministic", "tuple with 0: "),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_found(name: str) -> None:
    change, check, message = FAULTS[name]
    encoder = Faulty(change).eval()
    report = check_model(encoder, random_images(16), layer=encoder.convolution)
    failure = next(outcome for outcome in report.failures if outcome.check == check)
    assert re.search(message, failure.message), report


def test_training_mode_is_found() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert check_model(encoder, random_images(16)).failures[0].check == "evaluation mode"


def test_checks_without_a_layer_or_with_token_ids_alone_do_not_apply() -> None:
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    statuses = {outcome.check: outcome.status for outcome in check_model(encoder, random_images(16)).outcomes}
    assert [check for check, status in statuses.items() if status == EXEMPT] == ["layout", "layer has an effect", "exact tail"]
    assert list(statuses) == list(MODEL_CHECKS) and FAILS not in statuses.values()
    report = check_model(Recurrent().eval(), IDS)
    assert next(outcome for outcome in report.outcomes if outcome.check == "brute force").message == "token ids need a layer"


def test_a_wrong_example_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected an example"):
        check_model(nn.Identity(), torch.rand(3))
