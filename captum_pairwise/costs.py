"""How much of a network's work comes before one of its layers."""

import torch
from torch import Tensor, nn

from captum_pairwise.outputs import first_tensor


def share_before(encoder: nn.Module, layer: nn.Module, images: Tensor, free: frozenset[nn.Module] = frozenset()) -> float:
    """The share of a network's multiplications that is done when a layer returns, about: those by weights; looking up embeddings is free.

    1 where no module with weights ran, so that nothing is known.

    >>> encoder = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 12))
    >>> share_before(encoder, encoder[1], torch.zeros(1, 4))
    0.25

    Args:
        encoder: the network.
        layer: a module of it.
        images: a batch.
        free: modules that cost nothing.
    """
    done, before = [0], [0]

    def count(module: nn.Module, _inputs: object, returned: object) -> None:
        done[0] += 0 if module in free else _multiplications(module, first_tensor(returned))

    hooks = [module.register_forward_hook(count) for module in encoder.modules()]
    hooks.append(layer.register_forward_hook(lambda *_: before.append(done[0])))
    try:
        with torch.no_grad():
            encoder(images)
    finally:
        for hook in hooks:
            hook.remove()
    return before[-1] / done[0] if done[0] else float(not free)


def _multiplications(module: nn.Module, output: Tensor | None) -> int:
    """Of each number that comes out with the weights that led to it: a row of a matrix, a filter of a convolution."""
    if output is None or isinstance(module, nn.Embedding):
        return 0
    matrices = [weight for weight in module.parameters(recurse=False) if weight.dim() > 1 and len(weight)]
    return sum(output.numel() * weight[0].numel() for weight in matrices)
