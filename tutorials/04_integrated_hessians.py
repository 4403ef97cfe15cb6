# %% [markdown]
# # Integrated Hessians
#
# Estimators that sample coalitions evaluate a network thousands of times. If the network is differentiable, a few derivatives along a path
# give the same information. This page starts with integrated gradients, which you may know from Captum, and continues with pairs of parts,
# and with a projection that needs no matrix of pairs.

# %%
# %matplotlib inline
import tempfile
import time

import captum.attr
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, interpolate

import captum_pairwise as cp
from captum_pairwise import visualization

with tempfile.TemporaryDirectory() as folder:
    pair = cp.datasets.builtin_pairs(folder)[1]
    assert pair.query_mask and pair.retrieved_mask  # a pair may have none
    encoder = cp.backbones.create("efficientnet_lite0")
    query, retrieved = encoder.preprocess(pair.query), encoder.preprocess(pair.retrieved)
    query_mask, retrieved_mask = (cp.datasets.open_mask(path)[0] for path in (pair.query_mask, pair.retrieved_mask))
model = cp.SimilarityWrapper(encoder)

# %% [markdown]
# ## Integrated gradients of two images
#
# Let $z_i \in [0, 1]$ be the presence of part $i$: at 0 the part shows its baseline, at 1 its own content, and in between a mixture. A
# coalition is a corner of this cube. Integrated gradients follow its diagonal, where all parts fade in together, and integrate the slopes:
#
# $$\varphi_i = \int_0^1 \frac{\partial v}{\partial z_i}(t, \ldots, t)\, dt$$
#
# Their sum is $v(N) - v(\emptyset)$. `LayerIGSAM` computes this for each image while the other image is complete, with the positions of a
# layer as parts. The result equals Captum's `LayerIntegratedGradients` of the wrapper with a fixed query, summed over channels.

# %%
_, map_of_retrieved = cp.LayerIGSAM(model, encoder.features).attribute((query, retrieved), n_steps=16)
blur = cp.blur_baseline(retrieved)
of_captum = captum.attr.LayerIntegratedGradients(model.given_query(query), encoder.features).attribute(retrieved, blur, n_steps=16)
assert isinstance(of_captum, Tensor)  # of one layer
agreement = (of_captum.sum(1, keepdim=True) - map_of_retrieved).abs().max()
print(f"largest difference from Captum {agreement:.1e}, of credit up to {map_of_retrieved.abs().max():.3f}")

# %% [markdown]
# The integral is a sum over `n_steps` points of the path. How many points are enough? The convergence delta answers this: it is the part of
# $v(N) - v(\emptyset)$ that is missing from the credit.

# %%
for n_steps in (2, 4, 8, 16):
    _, delta = cp.LayerIGSAM(model, encoder.features).attribute((query, retrieved), n_steps=n_steps, return_convergence_delta=True)
    print(f"{n_steps:3} steps: delta {delta[0, 1].item():+.0e} of {map_of_retrieved.sum().item():.3f}")

# %% [markdown]
# ## From slopes to curvature
#
# A slope is the credit of one part. The joint effect of two parts is in the *mixed second derivative*: the change of one slope as the other
# part fades in. Integrated Hessians apply integrated gradients to integrated gradients (paper §A.14, eq. 15):
#
# $$\Gamma_{ij} = \int_0^1\!\!\int_0^1 \alpha\beta\, \frac{\partial^2 v}{\partial z_i \partial z_j}(\alpha\beta, \ldots)\, d\alpha\, d\beta
# = \int_0^1 -t \ln t\; \frac{\partial^2 v}{\partial z_i \partial z_j}(t, \ldots)\, dt$$
#
# Both integrals follow the same diagonal, so they become one integral with a weight. We compute it by hand, with the quarters of both
# feature maps as players:

# %%
quarters = cp.grid(7, 7, 2, 2)
with torch.no_grad():
    x, y, a, b = (encoder.feature_maps(image)[0].double() for image in (query, retrieved, cp.blur_baseline(query), blur))


def similarity(z: Tensor) -> Tensor:
    """The cosine for the presence `z` of the quarters, first the four of the query."""
    of_query, of_retrieved = z[:4][quarters[0]], z[4:][quarters[0]]
    return cosine_similarity((a + of_query * (x - a)).mean((1, 2)), (b + of_retrieved * (y - b)).mean((1, 2)), dim=0)


nodes, weights = (torch.from_numpy((side + shift) / 2) for side, shift in zip(np.polynomial.legendre.leggauss(40), (1, 0), strict=True))
hessians = torch.stack([torch.func.hessian(similarity)(t.repeat(8)) for t in nodes])
gamma = torch.einsum("k,kij->ij", weights * -nodes * nodes.log(), hessians)

method = cp.LayerIntegratedHessians(model, encoder.features)
of_class = method.interactions((query, retrieved), layer_mask=(quarters, quarters))["between"][0]
difference = (2 * gamma[:4, 4:] - of_class).abs().max()
print(f"largest difference from LayerIntegratedHessians {difference:.1e}, of credit up to {of_class.abs().max():.3f}")

# %% [markdown]
# (The factor 2 is necessary because the class, like all classes of this package, gives each pair of parts its whole credit, $\Gamma_{ij} +
# \Gamma_{ji}$.)
#
# The class computes no Hessians. With two towers, $v(z) = \langle u(z_q), w(z_r) \rangle$, the mixed derivative for one part of each image
# is a product of first derivatives, $\langle \partial_i u, \partial_j w \rangle$. So it needs one Jacobian of each tower for each point of
# the path. And it needs far fewer points, because it uses quadrature nodes for this weight.
#
# ## `weight="taylor"`
#
# Integrated Hessians give some of each pair's credit to the two single parts: for pooled features and a dot product exactly half. If you
# want the fair credit of pairs of [page 2](02_from_sam_to_shapley_taylor.ipynb), change the weight: with $2(1-t)$ instead of $-t \ln t$,
# the integral is the Shapley–Taylor index of a game whose players fade in together. Here we compare both weights with the discrete index,
# which is estimated from 1000 coalitions of each image.

# %%
started = time.perf_counter()
discrete = cp.LayerFactorisedShapleyTaylor(model, encoder.features).interactions((query, retrieved), n_samples=1000)["between"]
print(f"1000 coalitions of each image: {time.perf_counter() - started:.1f} s")

table = {}
for weight in ("hessian", "taylor"):
    method = cp.LayerIntegratedHessians(model, encoder.features, weight=weight)
    converged = method.interactions((query, retrieved), n_steps=64)["between"]
    for n_steps in (2, 4, 8):
        started = time.perf_counter()
        pairs = method.interactions((query, retrieved), n_steps=n_steps)["between"]
        seconds = time.perf_counter() - started
        error = ((pairs - converged).norm() / converged.norm()).item()
        correlation = torch.corrcoef(torch.stack([pairs.flatten(), discrete.flatten()]))[0, 1].item()
        size = ((pairs * discrete).sum() / discrete.square().sum()).item()
        table[weight, n_steps] = error, correlation, size
        print(f"{weight:8} {n_steps} nodes: {seconds:.2f} s, error against 64 nodes {error:.0e}", end="; ")
        print(f"{size:.2f} times the size of Shapley–Taylor, correlation {correlation:.4f}")

# %% [markdown]
# Four nodes are enough after the last layer. The Taylor weight gives nearly the discrete index in a small fraction of the time.
#
# The completeness gap does not judge the pairs here. By default it is the gap of the integrated gradients, and the pairs between the images
# have no required sum. `within=True` adds the pairs within each image and the credit of single parts, from second derivatives of each
# tower. Then the gap covers all credit.
#
# ## ReLU networks have no curvature
#
# A ReLU network is piecewise linear. For pairs *between* the images this is no problem, because they come from first derivatives of each
# tower. For pairs within an image it is a problem: the curvature is concentrated at the kinks, which are not points of the path, so the
# credit does not have the required sum. `softplus_beta` explains a smooth approximation of the network, in which each ReLU is $\log(1 +
# e^{\beta x}) / \beta$. A small network with random weights shows both cases:

# %%
torch.manual_seed(0)
small = nn.Sequential(nn.Conv2d(3, 16, 5, 4), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 32, 3, 2), nn.ReLU())
of_small = cp.SimilarityWrapper(small.eval())
thumbnails = interpolate(query, (64, 64), mode="area"), interpolate(retrieved, (64, 64), mode="area")
gaps = {}
for beta in (None, 3.0, 30.0, 100.0):
    method = cp.LayerIntegratedHessians(of_small, small[2], within=True, softplus_beta=beta)
    found = method.interactions(thumbnails, n_steps=16)
    gaps[beta] = (found.completeness_gap / (found.full - found.empty)).item()
    name = "ReLU" if beta is None else f"softplus, beta {beta:.0f}"
    print(f"{name:19} similarity {found.full.item():.5f}", end="; ")
    print(f"v(N) - v(∅) {(found.full - found.empty).item():+.1e}, gap {abs(gaps[beta]):.1%} of it")

# %% [markdown]
# The smooth networks have no gap. But compare their similarities: a small `beta` gives a smooth function that differs from the network; a
# large `beta` is close to the network but needs more steps. Increase `beta` until the similarity is equal to that of the network.
#
# ## Where does this part go?
#
# Often the question is not about all pairs but about one part of the query: where is it in the retrieved image? The answer is $\sum_i a_i
# \varphi_{ij}$ for an *attention* $a$ over the query, for example a mask. The sum can be moved into the integral, which leaves a
# directional derivative of one tower and a gradient of the other:
#
# $$\sum_i a_i \varphi_{ij} = \int_0^1 2(1-t)\, \Big\langle \textstyle\sum_i a_i\, \partial_i u,\ \partial_j w \Big\rangle\, dt$$
#
# `project_attention` computes two such products for each step, *for any number of parts*. After the last layer it gives the same result as
# the matrix:

# %%
taylor = cp.LayerIntegratedHessians(model, encoder.features, weight="taylor").interactions((query, retrieved), n_steps=6)
through_matrix = taylor.project(query_mask).reshape(1, 7, 7)
without_matrix = cp.project_attention(model, encoder.features, (query, retrieved), query_mask.float())
print(f"largest difference {(through_matrix - without_matrix).abs().max():.0e}, of credit up to {through_matrix.max():.3f}")

# %% [markdown]
# So it also works where a matrix of pairs is too large. A layer in the middle of the network has 14×14 positions. Even every pixel can be a
# part; its matrix of pairs would have $50\,176^2$ entries. `project_attention_through` draws the maps over the pixels and adds the maps of
# several layers, each scaled to a maximum of 1.

# %%
stage = encoder.get_submodule("features.network._blocks.10")
through = {"7×7": [encoder.features], "14×14": [stage], "both": [encoder.features, stage], "pixels": [None]}
projections, overlaps = {}, {}
for name, layers in through.items():
    started = time.perf_counter()
    projections[name] = cp.project_attention_through(model, layers, (query, retrieved), query_mask.float())
    seconds = time.perf_counter() - started
    overlaps[name] = cp.metrics.label_propagation(projections[name], retrieved_mask).mean_iou.item()
    print(f"{name:7}{seconds:5.1f} s, mean IoU with the true motorcycle {overlaps[name]:.2f}")

# %%
scaled = dict.fromkeys(projections, "of the largest")  # "both" is a sum of two maps
projections["pixels"] = projections["pixels"].clamp(max=projections["pixels"].quantile(0.999))  # otherwise one pixel sets the scale
figure = visualization.heatmap_figure(retrieved, projections, "projection of the query's motorcycle", units=scaled)
figure

# %% [markdown]
# Maps of earlier layers are sharper and noisier, and the sum of two layers is better than either layer. Maps of pixels are noisy,
# especially with the six steps that are enough for a layer: the network is far from smooth on the path from a blur to a photo. Fifty steps
# are better, but the map is still not reliable.
#
# ## This part, and not the others
#
# An attention need not be a mask of an object. Here it is a box around the front wheel:

# %%
wheel, tank, engine = torch.zeros(3, 1, 224, 224)
wheel[:, 125:215, 165:218] = 1
tank[:, 70:115, 85:150] = 1
engine[:, 105:165, 80:150] = 1
plain = cp.project_attention(model, stage, (query, retrieved), wheel)
figure = visualization.projection_figure((query, retrieved), wheel, plain)
figure

# %% [markdown]
# The projection is on a wheel, but on the wrong one: the retrieved motorcycle is mirrored, and its front wheel is on the left. This network
# does not tell the two wheels apart, and each part of the motorcycle supports the whole of the other motorcycle. An attention may also be
# negative. Then it asks a more precise question: what matches this part *more than it matches the rest of the query*? Minus its mean, an
# attention is a contrast. Three of them form a batch:

# %%
attention = torch.cat([wheel, tank, engine])
contrast = attention - attention.mean((1, 2), keepdim=True)
batch = query.expand(3, -1, -1, -1), retrieved.expand(3, -1, -1, -1)
landed = cp.project_attention_through(model, [encoder.features, stage], batch, contrast)
figure = visualization.projection_figure(batch, contrast, landed)
figure

# %% [markdown]
# Now the projection of the front wheel is on the front wheel, the tank on the tank, and the engine on the engine.
#
# `tutorials/measurements/gradients.py` measures the time and the errors of these methods, including pixels with many steps.
