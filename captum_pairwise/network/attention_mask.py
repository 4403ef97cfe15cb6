"""Hide tokens from every attention of a network, whatever its modules: an absent token is no key."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor
from torch.overrides import TorchFunctionMode

MOST_PREFIX = 16  # class token and registers before the patches
SIGNATURE = inspect.signature(F.multi_head_attention_forward)


@final
class HiddenTokens(TorchFunctionMode):
    r"""A context in which absent tokens are no keys of any attention, and no part of a mean over all tokens.

    With $a_{qk}$ the logit of query $q$ for key $k$ and $z_k$ the presence of token $k$, the weights are
    $w_{qk} = z_k \exp(a_{qk}) / \sum_l z_l \exp(a_{ql})$. Where every key is absent, they are 0, and the mean of no token is 0. This is
    the removal of patches in FIxLIP (Baniecki et al. 2025).

    The context acts on `scaled_dot_product_attention`, `multi_head_attention_forward`, a softmax over the last axis and a mean over axis 1,
    if this axis holds the tokens: as many as there are parts, or a few more, which stand before them and are always present. Attention in
    windows, pooled tokens and fused kernels of other packages are out of reach: compare embeddings to find out.

    >>> present = torch.tensor([[True, True, False]])
    >>> with HiddenTokens(present):
    ...     torch.zeros(1, 3, 3).softmax(-1)[0, 0]
    tensor([0.5000, 0.5000, 0.0000])

    Args:
        present: True for each part that is present, one row for each row of the batch.
        most_prefix: the largest number of tokens before the parts.
    """

    def __init__(self, present: Bool[Tensor, "rows parts"], most_prefix: int = MOST_PREFIX) -> None:
        super().__init__()
        self.present, self.most_prefix = present, most_prefix

    def __torch_function__(self, func: Any, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call `func`, without the absent tokens."""
        hide = STEPS.get(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {})) if hide is None else hide(self, func, *args, **(kwargs or {}))

    def find_present(self, n_rows: int, n_tokens: int) -> Bool[Tensor, "rows tokens"] | None:
        """True for each token that is present, with the tokens before the parts; None if the tokens are no parts.

        Args:
            n_rows: the size of the first axis: the rows of the batch, or the heads of all rows.
            n_tokens: the number of tokens.
        """
        n_batch, n_parts = self.present.shape
        if not 0 <= n_tokens - n_parts <= self.most_prefix or n_rows % n_batch:
            return None
        return F.pad(self.present, (n_tokens - n_parts, 0), value=True).repeat_interleave(n_rows // n_batch, 0)


def _attend(
    hidden: HiddenTokens,
    func: Callable[..., Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    """`scaled_dot_product_attention` without the absent keys."""
    present = hidden.find_present(len(key), key.shape[-2]) if key.dim() > 2 else None
    if present is None:
        return func(query, key, value, attn_mask, dropout_p, is_causal, **options)
    seen = present.reshape(len(present), *[1] * (key.dim() - 2), -1)
    if is_causal:
        seen = seen & torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=key.device).tril()
    if attn_mask is not None:
        seen = seen & (attn_mask if attn_mask.dtype == torch.bool else attn_mask > -torch.inf)
    is_blind = ~seen.any(-1, keepdim=True)  # softmax over nothing is NaN
    allowed = seen | is_blind
    if attn_mask is not None and attn_mask.dtype != torch.bool:
        allowed = torch.where(allowed, attn_mask, -torch.inf).nan_to_num(neginf=torch.finfo(query.dtype).min)
    return func(query, key, value, allowed, dropout_p, **options).masked_fill(is_blind, 0)


def _attend_with_heads(hidden: HiddenTokens, func: Callable[..., tuple[Tensor, Any]], *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
    """`multi_head_attention_forward`, whose tensors are `[tokens, rows, channels]`, without the absent keys."""
    arguments = SIGNATURE.bind(*args, **kwargs).arguments
    query, key = arguments["query"], arguments["key"]
    present = hidden.find_present(key.shape[1], len(key)) if key.dim() == 3 else None
    if present is None:
        return func(*args, **kwargs)
    padding = torch.zeros(present.shape, dtype=query.dtype, device=query.device).masked_fill(~present, -torch.inf)
    own = arguments.get("key_padding_mask")
    if own is not None:
        padding = padding.masked_fill(own, -torch.inf) if own.dtype == torch.bool else padding + own
    arguments |= {"key_padding_mask": padding, "is_causal": False}
    is_blind = (padding == -torch.inf).all(1)
    outputs, weights = func(**arguments)
    if is_blind.any():  # a key of zeros, which alone is seen, makes the weighted sum 0
        nothing = func(**(arguments | {"add_zero_attn": True}))[0]
        outputs = torch.where(is_blind[:, None], nothing, outputs)
    return outputs, weights


def _normalise_present(hidden: HiddenTokens, func: Callable[..., Tensor], logits: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """A softmax over the last axis without the absent tokens."""
    axis = args[0] if args else kwargs.get("dim")
    present = hidden.find_present(len(logits), logits.shape[-1]) if logits.dim() > 2 and axis in (-1, logits.dim() - 1) else None
    if present is None:
        return func(logits, *args, **kwargs)
    seen = present.reshape(len(present), *[1] * (logits.dim() - 2), -1)
    is_blind = ~seen.any(-1, keepdim=True)
    return func(torch.where(seen | is_blind, logits, -torch.inf), *args, **kwargs).masked_fill(is_blind, 0)


def _average_present(hidden: HiddenTokens, func: Callable[..., Tensor], tokens: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """A mean over the tokens of `[rows, tokens, channels]` without the absent ones."""
    axes = args[0] if args else kwargs.get("dim")
    is_mean = tokens.dim() == 3 and axes in (1, -2, (1,), [1]) and len(tokens) == len(hidden.present)
    present = hidden.find_present(len(tokens), tokens.shape[1]) if is_mean else None
    if present is None:
        return func(tokens, *args, **kwargs)
    share = func(present[..., None].to(tokens), *args, **kwargs)
    return (func(tokens.masked_fill(~present[..., None], 0), *args, **kwargs) / share).masked_fill(share == 0, 0)


STEPS: dict[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": _attend,
    "multi_head_attention_forward": _attend_with_heads,
    "softmax": _normalise_present,
    "mean": _average_present,
}
