"""Derivatives of games and towers by automatic differentiation, for a batch of points at a time.

Every row is a separate point. A Jacobian is a batch of forward-mode products with unit vectors, or of reverse-mode products with unit
embeddings if these are fewer. A Hessian is a batch of Hessian–vector products. All of it has to run inside `differentiable()`.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from captum_pairwise.network.batching import Chunk, Evaluator, is_out_of_memory
from captum_pairwise.network.checkpointing import disable_checkpointing

Points = Float[Tensor, "points players"]
Embed = Callable[[Tensor], Tensor]
Embeddings = Float[Tensor, "points channels"]
Function = Callable[[Tensor, Tensor], Tensor]
_ONCE = once_differentiable(lambda ctx: None).__code__
ONE_THREAD = RLock()  # PyTorch has one level of forward mode for all threads, and one switch of the fast path
COST_OF_GRADIENT = 4  # memory of a row with a gradient graph, relative to a row without


@contextmanager
def differentiable() -> Iterator[None]:
    """Use only kernels that have all derivatives inside the block, such that values and slopes belong to the same function.

    Fused attention has no second derivatives and no forward mode, tensors of inference mode have no derivatives, and a checkpointed part
    runs again in backward. Threads enter the block one after the other.

    Raises:
        NoGradientError: a tensor of the network was made in inference mode.
        ValueError: a checkpointed part cannot be switched off.
    """
    with ONE_THREAD:
        _load_forward_mode()
        fastpath = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with take_gradients(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fastpath)


class NoGradientError(ValueError):
    """A network whose gradients a method needs has none."""


@contextmanager
def take_gradients() -> Iterator[None]:
    """Leave inference mode and switch gradient checkpointing off inside the block.

    Raises:
        NoGradientError: a tensor of the network was made in inference mode.
        ValueError: a checkpointed part cannot be switched off.
    """
    try:
        with torch.inference_mode(False), disable_checkpointing():
            yield
    except RuntimeError as error:
        if "nference tensor" not in str(error):
            raise
        raise NoGradientError(
            "Expected a model that can be differentiated, but its parameters or buffers were made in inference mode. Load or copy the "
            "model outside `torch.inference_mode()`, or use a method without gradients."
        ) from error


@cache
def _load_forward_mode() -> None:
    """Load forward mode. Its first use imports modules that warn about themselves (torch 2.14); users should not see this."""
    with warnings.catch_warnings(), torch.inference_mode(False), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        forward_ad.make_dual(torch.zeros(1, dtype=torch.float32, device="cpu"), torch.zeros(1, dtype=torch.float32, device="cpu"))


def point_gradients(function: Function, points: Points, chunk: Chunk) -> Points:
    """The gradient of a function at each point. `function(rows, index)` receives the rows of `points` at `index`."""

    def differentiate(index: Int[Tensor, " rows"]) -> Tensor:
        rows = points[index].requires_grad_()
        values = function(rows, index)
        return _sum_gradient(values, rows).to(values)

    with torch.enable_grad():
        return Evaluator(differentiate, chunk, cost=COST_OF_GRADIENT)(torch.arange(len(points), device="cpu"))


def cotangent_products(
    embed: Embed, points: Points, cotangents: Float[Tensor, "points products channels"], chunk: Chunk
) -> Float[Tensor, "points products players"]:
    """`Jᵀ c` of the embedding at each point for each of its cotangents `c`, in reverse mode. The tower runs once for all of a point."""

    def differentiate(index: Int[Tensor, " rows"]) -> Tensor:
        rows = points[index].requires_grad_()
        embeddings = embed(rows)
        own = cotangents[index.to(cotangents.device)].to(embeddings).unbind(1)
        if not embeddings.requires_grad:
            return embeddings.new_zeros(len(rows), len(own), rows.shape[1])
        products = [torch.autograd.grad(embeddings, rows, c, retain_graph=True, materialize_grads=True)[0] for c in own]
        return torch.stack(products, 1).to(embeddings)

    with torch.enable_grad():
        return Evaluator(differentiate, chunk, cost=COST_OF_GRADIENT)(torch.arange(len(points), device="cpu"))


def hessian_products(function: Function, points: Points, directions: Points, chunk: Chunk) -> Points:
    """`H d` of a function at each point, in the direction of the same row; arguments as for `point_gradients`."""

    def slopes(rows: Tensor, index: Int[Tensor, " rows"]) -> Tensor:
        values = function(rows, index)
        _refuse_once_differentiable(values)
        return (_sum_gradient(values, rows, create_graph=True) * directions[index]).to(values)

    return point_gradients(slopes, points, chunk)


def _sum_gradient(values: Tensor, rows: Tensor, create_graph: bool = False) -> Tensor:
    """The gradient of the sum of the values, 0 if they do not depend on the rows."""
    if not values.requires_grad:
        return torch.zeros_like(rows)
    return torch.autograd.grad(values.sum(), rows, create_graph=create_graph, materialize_grads=True)[0]


def _refuse_once_differentiable(values: Tensor) -> None:
    """Refuse `once_differentiable` operations: PyTorch treats their gradient as a constant, with derivative 0."""
    seen, pending = set(), [values.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        pending.extend(source for source, _ in node.next_functions)
        operation = getattr(type(node), "_forward_cls", None)
        if operation is not None and _is_once_differentiable(operation.backward):
            raise NoGradientError(
                f"Expected operations that can be differentiated twice, got {operation.__name__}. Replace it, or pass a SimilarityWrapper."
            )


def _is_once_differentiable(backward: Any) -> bool:
    wrapper = inspect.unwrap(backward, stop=lambda function: getattr(function, "__code__", None) is _ONCE)
    return getattr(wrapper, "__code__", None) is _ONCE


def directional(embed: Embed, points: Points, directions: Points) -> Embeddings:
    """`J d`, the derivative of the embedding at each point in the direction of the same row, in forward mode.

    Raises:
        RuntimeError: an operation of the network has no forward-mode derivative.
    """
    with torch.no_grad(), forward_ad.dual_level():
        # expanded tensors cannot be made dual
        dual = forward_ad.make_dual(*(rows.clone(memory_format=torch.contiguous_format) for rows in (points, directions)))
        embedding, tangent = forward_ad.unpack_dual(embed(dual))
        return tangent if tangent is not None else torch.zeros_like(embedding)


def directional_if_fits(embed: Embed, points: Points, directions: Points) -> Embeddings | None:
    """`directional`, or None if memory is too small for all rows at once."""
    try:
        return directional(embed, points, directions)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_supported(derivative: Callable[[], object]) -> bool:
    """True if a derivative of the network can be computed. Ask with few points before the real computation.

    Any `RuntimeError` counts as a missing forward mode or vmap rule, because PyTorch has many messages for these. The real computation must
    not catch errors of the network.
    """
    try:
        derivative()
    except RuntimeError:
        return False
    return True


def jacobians(embed: Embed, points: Points, chunk: Chunk) -> tuple[Embeddings, Float[Tensor, "points players channels"]]:
    """The embedding at each point, and its derivative by each player.

    >>> embeddings, slopes = jacobians(lambda z: torch.stack([z[:, 0] * z[:, 1], z[:, 1]], 1), torch.tensor([[2.0, 3.0]]), Chunk(8))
    >>> embeddings.tolist(), slopes.tolist()
    ([[6.0, 3.0]], [[[3.0, 0.0], [2.0, 1.0]]])
    """
    with torch.no_grad():
        embeddings = embed(points)
    n_points, n_players, n_channels = len(points), points.shape[1], embeddings.shape[1]
    if n_players == 0:
        return embeddings, embeddings.new_zeros(n_points, 0, n_channels)
    if n_players <= n_channels and (slopes := _forward_slopes(embed, points, chunk)) is not None:
        return embeddings, slopes
    channel = torch.arange(n_channels, device="cpu").repeat(n_points)

    def select_channel(rows: Tensor, index: Tensor) -> Tensor:
        selected = embed(rows)
        return selected.gather(1, channel[index].to(selected.device)[:, None])[:, 0]

    slopes = point_gradients(select_channel, points.repeat_interleave(n_channels, 0), chunk)
    return embeddings, slopes.unflatten(0, (n_points, n_channels)).mT


def _forward_slopes(embed: Embed, points: Points, chunk: Chunk) -> Float[Tensor, "points players channels"] | None:
    """All slopes in forward mode, or None if an operation has none: one pass for many directions if the network can be vectorised."""
    (n_points, n_players), units = points.shape, torch.eye(points.shape[1], dtype=points.dtype, device=points.device)

    def along(unit: Tensor, at: Points = points) -> Tensor:
        return jvp(embed, (at,), (unit.expand_as(at),))[1]

    with torch.no_grad():
        if is_supported(lambda: torch.vmap(lambda unit: along(unit, points[:1]))(units[:1])):
            try:
                return Evaluator(torch.vmap(along), chunk, cost=n_points)(units).transpose(0, 1)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):  # one direction at all points may be too large
                    raise
    if not is_supported(lambda: directional(embed, points[:1], units[:1])):
        return None
    rows = directional_if_fits(embed, points.repeat_interleave(n_players, 0), units.repeat(n_points, 1))
    return None if rows is None else rows.unflatten(0, (n_points, n_players))
