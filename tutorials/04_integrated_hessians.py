# %% [markdown]
# # Integrated Hessians
#
# Coalitions ask a network thousands of questions. Where it can be differentiated, a few derivatives along a path do the same work. This
# page goes from integrated gradients, which you may know from Captum, to pairs of parts, and to a projection that needs no matrix of pairs
# at all.

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
# Let $z_i \in [0, 1]$ say how present part $i$ is: at 0 it shows its baseline, at 1 itself, and half of each in between. A coalition is a
# corner of this cube. Integrated gradients walk its diagonal, where all parts fade in together, and add up the slopes on the way:
#
# $$\varphi_i = \int_0^1 \frac{\partial v}{\partial z_i}(t, \ldots, t)\, dt$$
#
# They sum to $v(N) - v(\emptyset)$. `LayerIGSAM` does this for each image while the other one is whole, with the positions of a layer as
# parts. It is what Captum's `LayerIntegratedGradients` gives, summed over channels, of the wrapper with the query fixed.

# %%
_, map_of_retrieved = cp.LayerIGSAM(model, encoder.features).attribute((query, retrieved), n_steps=16)
blur = cp.blur_baseline(retrieved)
of_captum = captum.attr.LayerIntegratedGradients(model.given_query(query), encoder.features).attribute(retrieved, blur, n_steps=16)
assert isinstance(of_captum, Tensor)  # of one layer
agreement = (of_captum.sum(1, keepdim=True) - map_of_retrieved).abs().max()
print(f"largest difference to Captum {agreement:.1e}, of credit up to {map_of_retrieved.abs().max():.3f}")

# %% [markdown]
# An integral is a sum over `n_steps` points of the path. How many are enough? The convergence delta tells: what all credit misses.

# %%
for n_steps in (2, 4, 8, 16):
    _, delta = cp.LayerIGSAM(model, encoder.features).attribute((query, retrieved), n_steps=n_steps, return_convergence_delta=True)
    print(f"{n_steps:3} steps: delta {delta[0, 1].item():+.0e} of {map_of_retrieved.sum().item():.3f}")

# %% [markdown]
# ## From slopes to curvature
#
# A slope is the credit of one part. What two parts do together is in the *mixed second derivative*: how the slope of one changes as the
# other fades in. Integrated Hessians apply integrated gradients to integrated gradients (paper §A.14, eq. 15):
#
# $$\Gamma_{ij} = \int_0^1\!\!\int_0^1 \alpha\beta\, \frac{\partial^2 v}{\partial z_i \partial z_j}(\alpha\beta, \ldots)\, d\alpha\, d\beta
# = \int_0^1 -t \ln t\; \frac{\partial^2 v}{\partial z_i \partial z_j}(t, \ldots)\, dt$$
#
# Both integrals run over the same diagonal, so they are one, with a weight. By hand, for the quarters of both feature maps as players:

# %%
quarters = cp.grid(7, 7, 2, 2)
with torch.no_grad():
    x, y, a, b = (encoder.feature_maps(image)[0].double() for image in (query, retrieved, cp.blur_baseline(query), blur))


def similarity(z: Tensor) -> Tensor:
    """The cosine when the quarters are present so far, the query's four first."""
    of_query, of_retrieved = z[:4][quarters[0]], z[4:][quarters[0]]
    return cosine_similarity((a + of_query * (x - a)).mean((1, 2)), (b + of_retrieved * (y - b)).mean((1, 2)), dim=0)


nodes, weights = (torch.from_numpy((side + shift) / 2) for side, shift in zip(np.polynomial.legendre.leggauss(40), (1, 0), strict=True))
hessians = torch.stack([torch.func.hessian(similarity)(t.repeat(8)) for t in nodes])
gamma = torch.einsum("k,kij->ij", weights * -nodes * nodes.log(), hessians)

method = cp.LayerIntegratedHessians(model, encoder.features)
of_class = method.interactions((query, retrieved), layer_mask=(quarters, quarters))["between"][0]
difference = (2 * gamma[:4, 4:] - of_class).abs().max()
print(f"largest difference to LayerIntegratedHessians {difference:.1e}, of credit up to {of_class.abs().max():.3f}")

# %% [markdown]
# (The 2 is there because the class, like all others, gives each pair of parts its whole credit, $\Gamma_{ij} + \Gamma_{ji}$.)
#
# The class takes no Hessians. With two towers $v(z) = \langle u(z_q), w(z_r) \rangle$ the mixed derivative of a part of each image is a
# product of first derivatives, $\langle \partial_i u, \partial_j w \rangle$: a Jacobian of each tower for each point of the path. And it
# takes far fewer points, at nodes made for the weight.
#
# ## `weight="taylor"`
#
# Integrated Hessians keep some of each pair's credit back for the two parts themselves: for pooled features and a dot product exactly half.
# If you want the fair credit of pairs of [page 2](02_from_sam_to_shapley_taylor.ipynb), change the weight: with $2(1-t)$ in the place of
# $-t \ln t$ the integral is the Shapley–Taylor index of a game whose players fade in together. Here both are compared with the discrete
# index, from 1000 coalitions of each image.

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
        print(f"of Shapley–Taylor {size:.2f} times the size, correlation {correlation:.4f}")

# %% [markdown]
# Four nodes are enough after the last layer. The Taylor weight finds nearly the discrete index in a small part of its time.
#
# The completeness gap is no judge of the pairs here. Without more being asked it is that of the integrated gradients: pairs between the
# images need not sum to anything. `within=True` adds the pairs within each image and the parts' own credit, by second derivatives of each
# tower, and then the gap speaks of all.
#
# ## A network of ReLUs has no curvature
#
# It is made of flat pieces. Pairs *between* the images do not mind, as they come from first derivatives of each tower. Pairs within an
# image do: what happens at the kinks is nowhere on the path, so that all credit does not sum to what it should. `softplus_beta` explains a
# smooth neighbour of the network, each ReLU replaced by $\log(1 + e^{\beta x}) / \beta$. A small network with random weights shows both:

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
    print(f"v(N) - v(∅) {(found.full - found.empty).item():+.1e}, all credit is off by {abs(gaps[beta]):.1%} of it")

# %% [markdown]
# The smooth networks are explained without a gap. But look at their similarities: a small `beta` is smooth and another function, a large
# one is near the network and needs more steps. Raise it until the similarity is that of the network.
#
# ## Where does this part go?
#
# Often the question is not about all pairs, but about one part of the query: where is it in the retrieved image? That is
# $\sum_i a_i \varphi_{ij}$ for an *attention* $a$ over the query, a mask for example. The sum goes through the integral, and what remains
# is a directional derivative of the one tower and a gradient of the other:
#
# $$\sum_i a_i \varphi_{ij} = \int_0^1 2(1-t)\, \Big\langle \textstyle\sum_i a_i\, \partial_i u,\ \partial_j w \Big\rangle\, dt$$
#
# `project_attention` takes two such products a step, *whatever the number of parts*. After the last layer it gives what the matrix would:

# %%
taylor = cp.LayerIntegratedHessians(model, encoder.features, weight="taylor").interactions((query, retrieved), n_steps=6)
through_matrix = taylor.project(query_mask).reshape(1, 7, 7)
without_matrix = cp.project_attention(model, encoder.features, (query, retrieved), query_mask.float())
print(f"largest difference {(through_matrix - without_matrix).abs().max():.0e}, of credit up to {through_matrix.max():.3f}")

# %% [markdown]
# So it can look where a matrix of pairs is out of the question. A layer in the middle of the network has 14×14 positions, and every pixel
# may be a part: their matrix of pairs would have $50\,176^2$ entries. `project_attention_through` draws the maps over the pixels, and adds
# those of several layers, each scaled to 1.

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
scaled = dict.fromkeys(projections, "of the largest")  # "both" is a sum of two
projections["pixels"] = projections["pixels"].clamp(max=projections["pixels"].quantile(0.999))  # a single one would take all the colour
figure = visualization.heatmap_figure(retrieved, projections, "where the motorcycle of the query is found", units=scaled)
figure

# %% [markdown]
# Fine layers are sharper and noisier, and the sum of two is better than either. Pixels are noise, more so with the six steps that do for a
# layer: the network is far from smooth on the way from a blur to a photo. Fifty steps are better, and still no map to trust.
#
# ## This part, and not the others
#
# An attention need not be a mask of an object. Here a box around the front wheel is asked for:

# %%
wheel, tank, engine = torch.zeros(3, 1, 224, 224)
wheel[:, 125:215, 165:218] = 1
tank[:, 70:115, 85:150] = 1
engine[:, 105:165, 80:150] = 1
plain = cp.project_attention(model, stage, (query, retrieved), wheel)
figure = visualization.projection_figure((query, retrieved), wheel, plain)
figure

# %% [markdown]
# It lands on a wheel, and on the wrong one: the retrieved motorcycle is mirrored, its front wheel is in the corner on the left. To this
# network a wheel is a wheel, and any part of the motorcycle speaks for all of the other. An attention may be negative, too, which asks a
# sharper question: what corresponds to this part *rather than to the rest of the query*? Less its own mean it is a contrast. Three of them
# make a batch:

# %%
attention = torch.cat([wheel, tank, engine])
contrast = attention - attention.mean((1, 2), keepdim=True)
batch = query.expand(3, -1, -1, -1), retrieved.expand(3, -1, -1, -1)
landed = cp.project_attention_through(model, [encoder.features, stage], batch, contrast)
figure = visualization.projection_figure(batch, contrast, landed)
figure

# %% [markdown]
# Now the front wheel is found at the front wheel, the tank at the tank and the engine at the engine.
#
# `tutorials/measurements/gradients.py` measures seconds and errors of all this, pixels with many steps included.
