"""Hidden tokens against attention over the tokens that are left, in every way in which PyTorch computes it."""

import pytest
import torch
import torch.nn.functional as F
from conftest import random_tensor
from torch import Tensor, nn

from captum_pairwise.network.attention_mask import HiddenTokens

PRESENT = torch.tensor([[True, False, True, True], [False, True, False, True]])
BIAS = random_tensor(5, 5, seed=9)


class Explicit(nn.Module):
    """Attention written out, with the softmax of one of three spellings."""

    def __init__(self, softmax: str) -> None:
        super().__init__()
        self.softmax = {
            "method": lambda x: x.softmax(-1),
            "function": lambda x: F.softmax(x, dim=-1),
            "torch": lambda x: torch.softmax(x, 3),
        }[softmax]

    def forward(self, tokens: Tensor) -> Tensor:
        heads = tokens.unflatten(-1, (2, -1)).transpose(1, 2)
        return (self.softmax(heads @ heads.mT) @ heads).transpose(1, 2).flatten(2)


class HeadsAsRows(nn.Module):
    """Attention whose rows are the heads of all images, as in old models of CLIP."""

    def forward(self, tokens: Tensor) -> Tensor:
        heads = tokens.unflatten(-1, (2, -1)).transpose(1, 2).flatten(0, 1)
        return (torch.bmm(heads, heads.mT).softmax(-1) @ heads).unflatten(0, (-1, 2)).transpose(1, 2).flatten(2)


class Fused(nn.Module):
    """PyTorch's attention, with a causal mask or a bias."""

    def __init__(self, is_causal: bool = False, has_bias: bool = False) -> None:
        super().__init__()
        self.is_causal, self.has_bias = is_causal, has_bias

    def forward(self, tokens: Tensor, places: Tensor | None = None) -> Tensor:
        heads = tokens.unflatten(-1, (2, -1)).transpose(1, 2)
        places = torch.arange(tokens.shape[1]) if places is None else places
        bias = BIAS[places][:, places] if self.has_bias else None
        return F.scaled_dot_product_attention(heads, heads, heads, bias, is_causal=self.is_causal).transpose(1, 2).flatten(2)


class Module(nn.Module):
    """`nn.MultiheadAttention`, batch or sequence first, with or without its weights."""

    def __init__(self, batch_first: bool, need_weights: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first).double().eval()
        nn.init.normal_(self.attention.in_proj_bias)
        nn.init.normal_(self.attention.out_proj.bias)
        self.need_weights = need_weights

    def forward(self, tokens: Tensor) -> Tensor:
        turned = tokens if self.attention.batch_first else tokens.transpose(0, 1)
        output = self.attention(turned, turned, turned, need_weights=self.need_weights)[0]
        return output if self.attention.batch_first else output.transpose(0, 1)


NETWORKS = {
    "method": Explicit("method"),
    "function": Explicit("function"),
    "torch": Explicit("torch"),
    "heads as rows": HeadsAsRows(),
    "fused": Fused(),
    "causal": Fused(is_causal=True),
    "bias": Fused(has_bias=True),
    "module": Module(batch_first=True, need_weights=False),
    "weights": Module(batch_first=True, need_weights=True),
    "sequence first": Module(batch_first=False, need_weights=False),
    "layer": nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).double().eval(),
}
EVERY_WAY = pytest.mark.parametrize("name", NETWORKS)


@EVERY_WAY
@torch.no_grad()
def test_hidden_tokens_are_dropped(name: str) -> None:
    """Each row alone, without its absent tokens; the first token is no part."""
    network, tokens = NETWORKS[name], random_tensor(2, 5, 4)
    with HiddenTokens(PRESENT):
        outputs = network(tokens)
    for row, present in enumerate(F.pad(PRESENT, (1, 0), value=True)):
        places = present.nonzero()[:, 0]
        options = (places,) if name == "bias" else ()
        expected = network(tokens[row : row + 1, present], *options)
        torch.testing.assert_close(outputs[row : row + 1, present], expected, rtol=1e-10, atol=1e-12)


@EVERY_WAY
@torch.no_grad()
def test_attention_to_nothing_is_zero(name: str) -> None:
    """Without any part, and without a token before them, attention adds only constants."""
    network = NETWORKS[name]
    present = torch.stack([torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool)])
    with HiddenTokens(present):
        outputs = [network(random_tensor(2, 5, 4, seed=seed)) for seed in (0, 1)]
    if name == "layer":  # it adds its input
        assert outputs[0].isfinite().all()
    else:
        torch.testing.assert_close(outputs[0][0], outputs[0][0, :1].expand(5, -1), rtol=0, atol=1e-14)
        torch.testing.assert_close(outputs[0][0], outputs[1][0], rtol=0, atol=1e-14)
    torch.testing.assert_close(outputs[0][1], network(random_tensor(2, 5, 4, seed=0)[1:])[0])


def test_own_padding_stays() -> None:
    network, tokens = Module(batch_first=True, need_weights=False).attention, random_tensor(2, 5, 4)
    own = torch.tensor([[False, False, False, True, False]]).expand(2, -1)
    with HiddenTokens(PRESENT), torch.no_grad():
        output = network(tokens, tokens, tokens, key_padding_mask=own)[0]
    left = F.pad(PRESENT, (1, 0), value=True) & ~own
    expected = network(tokens[:1], tokens[:1, left[0]], tokens[:1, left[0]])[0]
    torch.testing.assert_close(output[:1], expected)


def test_a_mean_leaves_absent_tokens_out() -> None:
    tokens = random_tensor(2, 5, 4)
    with HiddenTokens(PRESENT):
        means = [tokens.mean(1), torch.mean(tokens, dim=1), tokens[:, 1:].mean(-2), tokens.mean(2), tokens.mean()]
    left = [row[present] for row, present in zip(tokens, F.pad(PRESENT, (1, 0), value=True), strict=True)]
    torch.testing.assert_close(means[0], torch.stack([row.mean(0) for row in left]))
    torch.testing.assert_close(means[1], means[0])
    torch.testing.assert_close(means[2], torch.stack([row[1:].mean(0) for row in left]))
    assert torch.equal(means[3], tokens.mean(2)) and torch.equal(means[4], tokens.mean())


def test_the_mean_of_no_token_is_zero() -> None:
    tokens = random_tensor(2, 4, 3)
    with HiddenTokens(torch.tensor([[False] * 4, [True] * 4])):
        means = tokens.mean(1)
    assert not means[0].any()
    torch.testing.assert_close(means[1], tokens[1].mean(0))


def test_other_axes_are_left_alone() -> None:
    maps = random_tensor(2, 3, 8, 40)
    with HiddenTokens(PRESENT):
        assert torch.equal(maps.softmax(-1), F.softmax(maps, -1)) and torch.equal(maps[:, 0].softmax(1), F.softmax(maps[:, 0], 1))
        assert torch.equal(maps.mean((2, 3)), maps.mean(dim=(2, 3)))
