"""The layer that looks up the embeddings of tokens."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import torch
from jaxtyping import Int
from torch import Tensor, nn

from captum_pairwise.network.layer_outputs import get_first_tensor
from captum_pairwise.network.thread_hooks import this_thread_only

INPUTS = "get_input_embeddings"  # of networks of transformers


@torch.no_grad()
def find_lookup(network: nn.Module, run: Callable[[], object], tokens: Int[Tensor, "1 tokens"]) -> nn.Module:
    """The layer whose input holds the last token: what the network calls its input embeddings, else an `nn.Embedding`.

    Args:
        network: the network.
        run: runs it on the tokens.
        tokens: the ids that the network gets.

    Raises:
        ValueError: no such layer runs, or it runs several times.
    """
    named: list[Callable[[], nn.Module]] = [getattr(part, INPUTS) for part in network.modules() if hasattr(part, INPUTS)]
    lookups = [*(get() for get in named), *(part for part in network.modules() if isinstance(part, nn.Embedding))]
    calls: Counter[nn.Module] = Counter()

    def count(module: nn.Module, inputs: tuple, _output: object) -> None:
        given = get_first_tensor(inputs)
        if given is not None and not given.is_floating_point() and bool((given == tokens[0, -1]).any()):  # others may be replaced
            calls[module] += 1

    with ExitStack() as hooks:
        for layer in dict.fromkeys(lookups):
            if isinstance(layer, nn.Module):
                hooks.enter_context(layer.register_forward_hook(this_thread_only(count)))
        run()
    used = [layer for layer in dict.fromkeys(lookups) if calls[layer]]
    if not used or calls[used[0]] > 1:
        times = f"{type(used[0]).__name__} {calls[used[0]]} times" if used else "none"
        raise ValueError(f"Expected a layer that looks up the embeddings of the tokens once, got {times}. Name another layer: layer=...")
    return used[0]
