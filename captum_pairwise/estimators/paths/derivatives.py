"""Derivatives of games and towers by automatic differentiation, a batch of points at a time.

Every row is a point of its own: a Jacobian is a batch of forward-mode products with unit vectors, or of reverse-mode products with unit
embeddings, whichever are fewer, and a Hessian a batch of Hessian–vector products. All of it belongs inside `differentiable()`.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from captum_pairwise.network.batching import Chunk, Evaluator

Points = Float[Tensor, "points players"]
Embed = Callable[[Tensor], Tensor]
_ONCE = once_differentiable(lambda ctx: None).__code__
COST_OF_GRADIENT = 4  # a row that is remembered takes some four times the memory of one that is not


@contextmanager
def differentiable() -> Iterator[None]:
    """Let every kernel have its derivatives, for all that is done inside: values and slopes are then of the same function.

    Fused attention has no second derivatives, and none at all in forward mode; tensors of inference mode have none of any kind.
    """
    _load_forward_mode()
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)


@cache
def _load_forward_mode() -> None:
    """Let torch load what it first loads with the first dual number, and warn of itself (2.14 does) out of the user's sight."""
    with warnings.catch_warnings(), torch.inference_mode(False), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


def point_gradients(function: Callable[[Tensor, Tensor], Tensor], points: Points, chunk: Chunk) -> Points:
    """The gradient of a function at each point; `function(rows, index)` gets the rows of `points` that `index` names."""

    def part(index: Int[Tensor, " rows"]) -> Tensor:
        rows = points[index].requires_grad_()
        values = function(rows, index)
        return _gradient(values, rows).to(values)

    with torch.enable_grad():
        return _in_chunks(part, len(points), chunk)


def hessian_products(function: Callable[[Tensor, Tensor], Tensor], points: Points, directions: Points, chunk: Chunk) -> Points:
    """`H d` of a function at each point, in the direction that belongs to it; arguments as for `gradients`."""

    def part(index: Int[Tensor, " rows"]) -> Tensor:
        rows = points[index].requires_grad_()
        values = function(rows, index)
        _refuse_once_differentiable(values)
        slope = _gradient(values, rows, create_graph=True)
        return _gradient(slope * directions[index], rows).to(values)

    with torch.enable_grad():
        return _in_chunks(part, len(points), chunk)


def _gradient(values: Tensor, rows: Tensor, create_graph: bool = False) -> Tensor:
    """The gradient of a sum, 0 where nothing depends on the rows; second order asks for more than the first."""
    if not values.requires_grad:
        return torch.zeros_like(rows)
    (found,) = torch.autograd.grad(values.sum(), rows, create_graph=create_graph, materialize_grads=True)
    return found


def _refuse_once_differentiable(values: Tensor) -> None:
    """PyTorch takes the derivative of an operation that is `once_differentiable` for a constant, and its own derivative for 0."""
    seen, pending = set(), [values.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        pending.extend(source for source, _ in node.next_functions)
        operation = getattr(type(node), "_forward_cls", None)
        if operation is not None and _is_once_differentiable(operation.backward):
            raise ValueError(
                f"Expected a network that can be differentiated twice, but its {operation.__name__} is `once_differentiable`. Replace it "
                "by an operation that is not, or leave out what needs second derivatives: pass a SimilarityWrapper, without `within=True`."
            )


def _is_once_differentiable(backward: Any) -> bool:
    while backward is not None:
        if getattr(backward, "__code__", None) is _ONCE:
            return True
        backward = getattr(backward, "__wrapped__", None)
    return False


def directional(embed: Embed, points: Points, directions: Points) -> Float[Tensor, "points channels"]:
    """`J d`, the derivative of the embedding at each point in the direction that belongs to it, in forward mode.

    Raises:
        RuntimeError: an operation of the network has no forward-mode derivative.
    """
    with torch.no_grad(), forward_ad.dual_level():
        points, directions = (one.clone(memory_format=torch.contiguous_format) for one in (points, directions))  # expanded ones carry none
        embedding, tangent = forward_ad.unpack_dual(embed(forward_ad.make_dual(points, directions)))
        return tangent if tangent is not None else torch.zeros_like(embedding)


def jacobians(
    embed: Embed, points: Points, chunk: Chunk
) -> tuple[Float[Tensor, "points channels"], Float[Tensor, "points players channels"]]:
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
    if n_players <= n_channels:
        try:
            return embeddings, _forward_slopes(embed, points, chunk)
        except (RuntimeError, MemoryError):  # an operation without forward mode, or not in this precision, or memory for half of it
            pass
    channel = torch.arange(n_channels).repeat(n_points)
    slopes = point_gradients(lambda rows, index: _picked(embed(rows), channel[index]), points.repeat_interleave(n_channels, 0), chunk)
    return embeddings, slopes.unflatten(0, (n_points, n_channels)).mT


def _forward_slopes(embed: Embed, points: Points, chunk: Chunk) -> Float[Tensor, "points players channels"]:
    """All slopes in forward mode: the embeddings once, with all directions together, or else once for every direction."""
    (n_points, n_players), units = points.shape, torch.eye(points.shape[1], dtype=points.dtype)
    along = torch.vmap(lambda unit: jvp(embed, (points,), (unit.expand_as(points),))[1])
    try:
        with torch.no_grad():
            return Evaluator(along, chunk, cost=n_points)(units).transpose(0, 1)
    except (RuntimeError, MemoryError):  # an operation that is not vectorised, or memory for less than all points
        rows = directional(embed, points.repeat_interleave(n_players, 0), units.repeat(n_points, 1))
        return rows.unflatten(0, (n_points, n_players))


def _picked(embeddings: Tensor, channel: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    return embeddings.gather(1, channel.to(embeddings.device)[:, None])[:, 0]


def _in_chunks(part: Callable[[Tensor], Tensor], n_points: int, chunk: Chunk) -> Tensor:
    return Evaluator(part, chunk, cost=COST_OF_GRADIENT)(torch.arange(n_points))
