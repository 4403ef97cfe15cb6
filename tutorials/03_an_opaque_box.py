# %% [markdown]
# # An opaque box
#
# A similarity can be any function: a formula, a network behind an API, or a score from another team. This page explains a similarity from
# its outputs only, without layers and without gradients. It shows the cost, the accuracy of the answer, and how knowledge of the two towers
# reduces the cost.

# %%
# %matplotlib inline
import tempfile
import time

import skimage.data
import torch
from matplotlib.figure import Figure
from skimage.segmentation import mark_boundaries
from torch import Tensor
from torch.nn.functional import interpolate

import captum_pairwise as cp
from captum_pairwise import visualization

with tempfile.TemporaryDirectory() as folder:
    pair = cp.datasets.builtin_pairs(folder)[1]
    assert pair.query_mask and pair.retrieved_mask  # a pair may have none
    encoder = cp.backbones.create("efficientnet_lite0")  # for the last section
    photos = encoder.preprocess(pair.query), encoder.preprocess(pair.retrieved)
    query_mask, retrieved_mask = (cp.datasets.open_mask(path, size=(96, 96))[0] for path in (pair.query_mask, pair.retrieved_mask))
query, retrieved = (interpolate(photo, (96, 96), mode="area") for photo in photos)

# %% [markdown]
# ## The box
#
# Our box is a classic of image search, the intersection of two colour histograms: the share of pixels of one image that have a counterpart
# of similar colour in the other image. Only its signature matters, `f(query, retrieved) -> [B]`, one number for each pair of a batch. It
# counts pixels, so it has no gradient and no layers.


# %%
def histogram(images: Tensor, levels: int = 4) -> Tensor:
    """Share of the pixels of each image in each of `levels³` colours, `[B, levels³]`."""
    red, green, blue = (images * levels).clamp(0, levels - 1).long().unbind(1)
    colours = ((red * levels + green) * levels + blue).flatten(1)
    return torch.stack([torch.bincount(row, minlength=levels**3) for row in colours]) / colours.shape[1]


def box(query: Tensor, retrieved: Tensor) -> Tensor:
    """The intersection of two colour histograms."""
    return torch.minimum(histogram(query), histogram(retrieved)).sum(1)


print(f"similarity {box(query, retrieved).item():.3f}")

# %% [markdown]
# ## Players are superpixels, or your own parts
#
# Without a layer, the players are parts of the images. The default is SLIC superpixels, groups of neighbouring pixels with similar colours,
# about 50 for each image. `feature_mask` accepts any other parts: a mask of integer ids for each image, as in Captum. `cp.superpixels`,
# `cp.grid` and `cp.patches` make such masks. A part with the id -1 is always present.

# %%
few = cp.grid(96, 96, 2, 3), cp.grid(96, 96, 2, 3)
masks = {"the default": (cp.superpixels(query), cp.superpixels(retrieved)), "few": few}
figure = Figure(figsize=(12, 3.4), layout="constrained")
for axes, (name, side) in zip(figure.subplots(1, 4), [(name, side) for name in masks for side in (0, 1)], strict=True):
    ids = masks[name][side][0, 0]
    axes.imshow(mark_boundaries((query, retrieved)[side][0].permute(1, 2, 0).numpy(), ids.numpy(), color=(1, 1, 0)))
    axes.set_title(f"{name}: {int(ids.max()) + 1} players")
    axes.set_axis_off()
figure

# %% [markdown]
# Your own mask asks your own question. Here each image has two players, the motorcycle and the rest of the image. Four players have only 16
# coalitions, so `ExactShapleyTaylor` evaluates all of them.
#
# ## Choose a baseline for absent parts
#
# Which baseline is right? For this box a blur is a poor baseline: it keeps the colours, and the box sees only colours. Look at
# $v(\emptyset)$, the similarity of the two baselines, before you look at credits.

# %%
objects = (~query_mask[:, None]).long(), (~retrieved_mask[:, None]).long()  # 0 motorcycle, 1 the rest
means = query.mean((2, 3), keepdim=True).expand_as(query), retrieved.mean((2, 3), keepdim=True).expand_as(retrieved)
others = tuple(interpolate(encoder.preprocess(photo()), (96, 96)) for photo in (skimage.data.coffee, skimage.data.rocket))
baselines = {"blur": None, "mean colour of the image": means, "other photos": others}
method = cp.ExactShapleyTaylor(box)
over = {name: method.interactions((query, retrieved), baseline, feature_mask=objects) for name, baseline in baselines.items()}
for name, found in over.items():
    motorcycles, elsewhere = found["between"][0].diag().tolist()
    print(f"{name:25} v(∅) {found.empty.item():.2f}, v(N) {found.full.item():.2f}", end="; ")
    print(f"both motorcycles {motorcycles:+.3f}, both surroundings {elsewhere:+.3f}")

# %% [markdown]
# Over a blur, absent parts change little, so there is little credit. The mean colours of the two images have no bin in common, so over them
# the credit explains the whole similarity. We use the mean colours from here on.
#
# ## The exact answer and its price
#
# $n$ players have $2^n$ coalitions. The grid above has 12 cells in both images together, so we can evaluate all coalitions. The result is
# the ground truth for the following sections. For 50 + 50 players this is not possible.

# %%
started = time.perf_counter()
exact = cp.ExactShapleyTaylor(box).interactions((query, retrieved), means, feature_mask=few)
seconds = time.perf_counter() - started
print(f"{exact.n_evaluations.item()} evaluations in {seconds:.1f} s; completeness gap {exact.completeness_gap.item():+.0e}")

# %% [markdown]
# ## Estimators and budgets
#
# Three classes estimate the same index from a budget of `n_samples` coalitions, for any box:
#
# * `ShapleyTaylorSampling` averages over random permutations;
# * `KernelShapleyTaylor` fits a weighted quadratic function, as Kernel SHAP fits a weighted linear function;
# * `GaussianProcessShapleyTaylor` fits a Gaussian process to the values of coalitions, and integrates its mean.

# %%
estimators = {
    "permutations": cp.ShapleyTaylorSampling,
    "kernel": cp.KernelShapleyTaylor,
    "Gaussian process": cp.GaussianProcessShapleyTaylor,
}
budgets = 250, 500, 1500


def relative_error(found: cp.Interactions, truth: cp.Interactions) -> float:
    return ((found["between"] - truth["between"]).norm() / truth["between"].norm()).item()


estimates = {
    name: [method(box).interactions((query, retrieved), means, feature_mask=few, n_samples=budget) for budget in budgets]
    for name, method in estimators.items()
}
errors = {name: [relative_error(found, exact) for found in row] for name, row in estimates.items()}
print(f"{'relative error of the pairs':28}" + "".join(f"{budget:>8}" for budget in budgets))
for name, row in errors.items():
    print(f"{name:28}" + "".join(f"{error:8.1%}" for error in row))

# %%
figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
for name, row in errors.items():
    axes.loglog(budgets, row, marker="o", label=name)
axes.set(xlabel="evaluations of the box", ylabel="relative error of the pairs", xticks=budgets, xticklabels=budgets)
axes.minorticks_off()
axes.legend()
figure

# %% [markdown]
# The error decreases with the budget, for the two fits much faster than for permutations. Which fit is better depends on the box. The
# process is better if the similarity changes smoothly with the coalition, which is true for most networks. The kernel is better if the
# value depends mainly on the number of parts that are present ([measured](measurements/README.md#convergence)). The kernel has one unknown
# for each pair, 66 for 12 players; neither fit is accurate with only a few more coalitions than that.
#
# ## How accurate is it?
#
# For a box with too many coalitions to enumerate, the error is unknown. The *standard error* is known: the process and the permutations
# report one for each pair. Here we can compare it with the ground truth. Two standard errors should cover about 95 %.

# %%
for budget, found in zip(budgets, estimates["Gaussian process"], strict=True):
    spread = found.standard_error
    assert spread is not None
    claimed, actual = (spread["between"].norm() / found["between"].norm()).item(), relative_error(found, exact)
    is_covered = (found["between"] - exact["between"]).abs() <= 2 * spread["between"]
    print(f"{budget:5} evaluations: error {actual:.0%}, estimated {claimed:.0%}; {is_covered.double().mean():.0%} of the pairs covered")

# %% [markdown]
# The completeness gap does not show the error: all of these estimates sum to $v(N) - v(\emptyset)$ by construction.
#
# ## Budget, chunks and seeds
#
# `perturbations_per_eval` is the number of masked pairs in one call of the box. It changes memory and time, but not the result. By default
# the chunk size is chosen to fit into memory, and is halved if memory runs out. A `generator` with another seed draws other coalitions.

# %%
kernel = cp.KernelShapleyTaylor(box)
for chunk in (1, 16):
    started = time.perf_counter()
    again = kernel.attribute((query, retrieved), means, feature_mask=few, n_samples=budgets[1], perturbations_per_eval=chunk)
    seconds = time.perf_counter() - started
    difference = (again - estimates["kernel"][1]["between"]).abs().max()
    print(f"{chunk:3} at a time: {seconds:.2f} s, differs by {difference:.0e}")

# %% [markdown]
# ## One map for each image
#
# A fifth of the budget of each estimator goes to the *heat maps*: coalitions of one image while the other image is whole. Single parts are
# much cheaper than pairs, so the maps are more accurate. Budgets that are only enough for the pairs have no maps.

# %%
for budget, found in zip(budgets, estimates["Gaussian process"], strict=True):
    spread = found.standard_error
    assert spread is not None
    error = (found["given_other"] - exact["given_other"]).norm() / exact["given_other"].norm()
    print(
        f"{budget:5} evaluations: error of the maps {error:.1%}, estimated {spread['given_other'].norm() / found['given_other'].norm():.1%}"
    )

# %% [markdown]
# If you need only maps, `KernelShapley` takes some hundred coalitions of each image for all its default superpixels. As in Captum, its maps
# have the shape of the inputs.

# %%
query_map, retrieved_map = cp.KernelShapley(box).attribute((query, retrieved), means, n_samples=600)  # [B, 3, 96, 96] each
assert isinstance(query_map, Tensor) and isinstance(retrieved_map, Tensor)  # tuples only with return_convergence_delta=True
figure = visualization.heatmap_figure((query, retrieved), {"KernelShapley": (query_map, retrieved_map)})
figure

# %% [markdown]
# The red of the pagoda matches as well as the red of the motorcycle: this box counts colours and knows no objects. An explanation shows the
# behaviour of the model, good or bad.
#
# ## Use the two towers if you know them
#
# Most similarities embed each image *separately*, and compare the embeddings with an inner product, a cosine or a distance. This is all you
# need to know, and it reduces the cost: coalitions of the query and of the retrieved image can be evaluated separately and combined
# afterwards, so six players in each image need $2^6 + 2^6$ embeddings instead of $2^{12}$ pairs.
#
# A similarity that is related to our box has this form. The Bhattacharyya coefficient of two histograms, $\sum_c \sqrt{h_c\, h'_c}$, is the
# dot product of their square roots. As an encoder in a `SimilarityWrapper` it has two towers; as a plain function it is an opaque box. The
# rest of the code is the same.


# %%
class RootHistogram(torch.nn.Module):
    """Square roots of a colour histogram, as an encoder."""

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch, `[B, 64]`."""
        return histogram(images).sqrt()


towers = cp.SimilarityWrapper(RootHistogram(), similarity="dot")
truth = cp.ExactShapleyTaylor(towers).interactions((query, retrieved), means, feature_mask=few)
print(f"exact from {truth.n_evaluations.item()} embeddings")


def measure_error(forward_func, method: type, passes: int) -> float:
    """The error for a number of masked images: two for each evaluation of a box, one for each embedding."""
    found = method(forward_func).interactions((query, retrieved), means, feature_mask=few, n_samples=passes // 2)
    return relative_error(found, truth)


by_towers = {passes: measure_error(towers, cp.FactorisedShapleyTaylor, passes) for passes in (50, 75, 100)}
as_a_box = {passes: measure_error(lambda a, b: towers(a, b), cp.GaussianProcessShapleyTaylor, passes) for passes in (300, 600, 1200)}
for name, row in {"by two towers": by_towers, "as an opaque box": as_a_box}.items():
    print(f"{name:17}" + ", ".join(f"{error:.1%} from {passes} masked images" for passes, error in row.items()))

# %% [markdown]
# The most useful fact about a similarity is that it has two towers. If it has two towers, wrap them.
#
# ## A network as a box
#
# Now we explain EfficientNet-Lite0 on the full photos. The players are superpixels, and each embedding is one pass through the network.
# `tolerance=` sets a precision instead of a budget: sampling stops when the standard error of the pairs is below this share of the pairs,
# or at `n_samples`.

# %%
model = cp.SimilarityWrapper(encoder)
parts = cp.superpixels(photos[0], n_segments=25), cp.superpixels(photos[1], n_segments=25)
started = time.perf_counter()
network = cp.FactorisedShapleyTaylor(model, tolerance=0.2).interactions(photos, feature_mask=parts, n_samples=500)
spread = network.standard_error
assert spread is not None
print(f"stopped after {network.n_evaluations.item()} passes, {time.perf_counter() - started:.0f} s")
pairs, heat_maps = ((spread[name].norm() / network[name].norm()).item() for name in ("between", "given_other"))
print(f"relative standard error: pairs {pairs:.0%}, heat maps {heat_maps:.0%}")
figure = visualization.pair_figure(network, photos)
figure

# %% [markdown]
# Superpixels follow outlines, while the 7×7 positions of the [first page](01_why_two_images_are_similar.ipynb) were blurry squares, and no
# layer is needed. But check the errors: a little more than a hundred passes are enough for the pairs, but hardly for the heat maps.
#
# | known | method |
# |---|---|
# | nothing | `GaussianProcessShapleyTaylor`; for more than 8192 evaluations `KernelShapleyTaylor` |
# | nothing, and one map for each image is enough | `KernelShapley` |
# | two towers | `FactorisedShapleyTaylor`, or `LayerFactorisedShapleyTaylor` for a layer |
# | gradients too | the [next page](04_integrated_hessians.ipynb) |
#
# `tutorials/measurements/superpixels.py` compares all of them on a network with 43 + 43 superpixels. `captum-pairwise
# convergence` compares them on random games, together with the estimators of other packages.
