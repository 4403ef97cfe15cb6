"""Pooling: one embedding from the states of the tokens of a sentence, as sentence-transformers computes it."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

States = Float[Tensor, "batch tokens channels"]
Attended = Bool[Tensor, "batch tokens"]  # True for each token that is no padding
Pooled = Float[Tensor, "batch pooled"]


def _average_states(states: Tensor, weights: Tensor, power: float = 1) -> Tensor:
    """`Σ_t w_t s_t / (Σ_t w_t)^power`; half precision is summed in float32."""
    weights = weights.to(torch.promote_types(states.dtype, torch.float32))
    return (torch.einsum("btc,bt->bc", states.to(weights), weights) / weights.sum(1, keepdim=True) ** power).to(states.dtype)


def _take_state(states: Tensor, places: Tensor) -> Tensor:
    """The state at one place of each sentence."""
    return states.gather(1, places[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)


def _average_by_place(states: Tensor, attended: Tensor) -> Tensor:
    """The mean with the weights 1, 2, 3, …, from the first attended token on."""
    places = torch.arange(1, states.shape[1] + 1, device=states.device) - attended.long().argmax(1, keepdim=True)
    return _average_states(states, places * attended)


def _take_maximum(states: Tensor, attended: Tensor) -> Tensor:
    """The largest state of each channel."""
    return states.masked_fill(~attended[..., None], -torch.inf).max(1).values


def _take_last(states: Tensor, attended: Tensor) -> Tensor:
    """The state of the last attended token."""
    return _take_state(states, states.shape[1] - 1 - attended.flip(1).long().argmax(1))


POOLING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # in the order in which older folders concatenate them
    "cls": lambda states, attended: _take_state(states, attended.long().argmax(1)),
    "max": _take_maximum,
    "mean": _average_states,
    "mean_sqrt_len_tokens": lambda states, attended: _average_states(states, attended, 0.5),
    "weightedmean": _average_by_place,
    "lasttoken": _take_last,
}


def check_pooling(pooling: str | Sequence[object]) -> tuple[str, ...]:
    """The modes of pooling.

    Raises:
        ValueError: there is no mode, or an unknown one.
    """
    names = (pooling,) if isinstance(pooling, str) else pooling
    modes = tuple(name for name in names if isinstance(name, str) and name in POOLING)
    if not modes or len(modes) < len(names):
        raise ValueError(
            f"Expected pooling to be one or several of {', '.join(POOLING)}, got {pooling!r}. Subclass cp.models.text.TokenEncoder."
        )
    return modes


def pool_states(states: States, attended: Attended, modes: Sequence[str]) -> Pooled:
    """The embedding of each sentence: the results of all modes, one after the other.

    Args:
        states: the last states of the network.
        attended: True for each token that is no padding.
        modes: names of `POOLING`.
    """
    return torch.cat([POOLING[mode](states, attended) for mode in modes], dim=1)
