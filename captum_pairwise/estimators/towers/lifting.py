"""Lift of a table of scores: embeddings whose inner products are the scores, so that any head makes a game of two towers."""

import torch
from jaxtyping import Float
from torch import Tensor


def lift_scores(
    scores: Float[Tensor, "query retrieved"],
) -> tuple[Float[Tensor, "query channels"], Float[Tensor, "retrieved channels"]]:
    """Embeddings of all coalitions of both images with `<u_a, w_b> = scores_ab`.

    The estimates of a tower are linear in its embeddings, and those between the towers in the product of both. So they depend on the scores
    alone: `g_ij = <Σ_a c_ia u_a, Σ_b d_jb w_b> = Σ_ab c_ia d_jb scores_ab` for every lift. This lift comes from a singular value
    decomposition and gives the square root of each singular value to either image, so that the prior of a Gaussian process over
    coalitions, which is fitted to the embeddings, sees both images alike. The embeddings are in float64, because slopes are small
    differences of large scores.

    >>> u, w = lift_scores(torch.tensor([[4.0, 0.0], [0.0, 9.0]]))
    >>> (u @ w.T).round(decimals=9)
    tensor([[4., 0.],
            [0., 9.]], dtype=torch.float64)
    """
    table = scores.detach().cpu().double()
    if len(table) > table.shape[1]:
        w, u = lift_scores(scores.T)
        return u, w
    _, basis = torch.linalg.eigh(table @ table.T)  # a third of the time of an SVD; any orthonormal basis and any scales give the scores
    products = table.T @ basis
    sizes = torch.linalg.vector_norm(products, dim=0)
    is_used = sizes > torch.finfo(table.dtype).eps * sizes.max()  # the others are rounding errors
    is_used[-1] = True
    scales = sizes[is_used].clamp(min=torch.finfo(table.dtype).tiny).sqrt()
    return (basis[:, is_used] * scales).to(scores.device), (products[:, is_used] / scales).to(scores.device)
