# %% [markdown]
# # An opaque box
#
# A similarity may be anything: a formula, a network behind an API, a score that a colleague wrote. This page explains one of which nothing
# is known but what it returns, without layers and without gradients. It is about what that costs, how sure the answer is, and what a little
# knowledge buys.

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
# Ours is a classic of image search, the intersection of two histograms of colours: how many pixels of the one image find one of like colour
# in the other. All that matters is its signature, `f(query, retrieved) -> [B]`, a number for each pair of a batch. It counts, so it has no
# gradient, and no layer to look into.


# %%
def histogram(images: Tensor, levels: int = 4) -> Tensor:
    """How much of each image is of each of `levels³` colours, `[B, levels³]`."""
    red, green, blue = (images * levels).clamp(0, levels - 1).long().unbind(1)
    colours = ((red * levels + green) * levels + blue).flatten(1)
    return torch.stack([torch.bincount(row, minlength=levels**3) for row in colours]) / colours.shape[1]


def box(query: Tensor, retrieved: Tensor) -> Tensor:
    """The intersection of two histograms of colours."""
    return torch.minimum(histogram(query), histogram(retrieved)).sum(1)


print(f"similarity {box(query, retrieved).item():.3f}")

# %% [markdown]
# ## Players are superpixels, or what you say
#
# Without a layer the players are parts of the images. The default is SLIC superpixels, pixels of like colour that lie together, about 50 of
# each image. `feature_mask` takes any others: a mask of integer ids for each image, as in Captum. `cp.superpixels`, `cp.grid` and
# `cp.patches` make some; a part with the id -1 never leaves.

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
# A mask of your own asks a question of your own. Here each image has two players, its motorcycle and all else. Of four players there are
# only 16 coalitions, so `ExactShapleyTaylor` tries them all.
#
# ## Choose what absent parts show
#
# Over which baseline? For this box a blur would be a poor one: it keeps the colours, and colours are all that the box sees. Look at
# $v(\emptyset)$, the similarity of the two baselines, before you look at credits.

# %%
objects = (~query_mask[:, None]).long(), (~retrieved_mask[:, None]).long()  # 0 motorcycle, 1 all else
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
# Over a blur nothing much leaves, and there is hardly anything to share out. The mean colours of the two images have no bin in common, so
# over them all of the similarity is explained. We go on with these.
#
# ## The exact answer, and its price
#
# $n$ players have $2^n$ coalitions. The few cells above are a dozen in all, which can be waited for, and will be the yardstick for all that
# follows. Fifty and fifty could not.

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
# * `KernelShapleyTaylor` fits a weighted quadratic, as Kernel SHAP fits a weighted line;
# * `GaussianProcessShapleyTaylor` learns the box as a function of the coalition, and integrates what it has learnt.

# %%
estimators = {
    "permutations": cp.ShapleyTaylorSampling,
    "kernel": cp.KernelShapleyTaylor,
    "Gaussian process": cp.GaussianProcessShapleyTaylor,
}
budgets = 150, 300, 600, 1200


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
# The error falls with the budget, for the fits far faster than for permutations. Which of the two fits is ahead depends on the box: the
# process where the similarity changes smoothly with the coalition, which networks mostly do, the kernel where little matters but how many
# parts are there ([measured](measurements/README.md#convergence)). The kernel has an unknown for each pair, 66 of a dozen players; neither
# says much from few more coalitions than that.
#
# ## How sure?
#
# Of a box that you cannot enumerate the error is not known. The *standard error* is: the process and permutations report one for each pair.
# Here it can be checked against the truth. Two standard errors should cover about 95 %.

# %%
for budget, found in zip(budgets, estimates["Gaussian process"], strict=True):
    spread = found.standard_error
    assert spread is not None
    claimed, actual = (spread["between"].norm() / found["between"].norm()).item(), relative_error(found, exact)
    is_covered = (found["between"] - exact["between"]).abs() <= 2 * spread["between"]
    print(f"{budget:5} evaluations: claims {claimed:.0%}, is off by {actual:.0%}; {is_covered.double().mean():.0%} of the pairs covered")

# %% [markdown]
# The completeness gap would not have told: every one of these estimates sums to $v(N) - v(\emptyset)$ by construction.
#
# ## Budget, chunks and seeds
#
# `perturbations_per_eval` is how many masked pairs the box gets in one call. It changes memory and time, not the answer. Without it the
# chunk is fitted to memory, and halved when that runs out. A `generator` with another seed draws other coalitions.

# %%
kernel = cp.KernelShapleyTaylor(box)
for chunk in (1, 16):
    started = time.perf_counter()
    again = kernel.attribute((query, retrieved), means, feature_mask=few, n_samples=300, perturbations_per_eval=chunk)
    seconds = time.perf_counter() - started
    difference = (again - estimates["kernel"][1]["between"]).abs().max()
    print(f"{chunk:3} at a time: {seconds:.2f} s, differs by {difference:.0e}")

# %% [markdown]
# ## One map for each image
#
# Single parts are far cheaper than pairs: `KernelShapley` needs some hundred coalitions of each image for all its default superpixels,
# while the other image stays whole. As in Captum its maps are of the shape of the inputs.

# %%
query_map, retrieved_map = cp.KernelShapley(box).attribute((query, retrieved), means, n_samples=600)  # [B, 3, 96, 96] each
assert isinstance(query_map, Tensor) and isinstance(retrieved_map, Tensor)  # with return_convergence_delta=True they are maps and delta
figure = visualization.heatmap_figure((query, retrieved), {"KernelShapley": (query_map, retrieved_map)})
figure

# %% [markdown]
# The red of the pagoda does as well as the red of the motorcycle: this box counts colours and knows no objects. An explanation is as good
# as what it explains.
#
# ## What knowing the two towers buys
#
# Most similarities embed each image *on its own*, and compare the embeddings by an inner product, a cosine or a distance. Nothing else need
# be known, and it changes the price: coalitions of the query and of the retrieved image can be tried separately and combined afterwards,
# $2^6 + 2^6$ embeddings for six players each in the place of $2^{12}$ pairs.
#
# A relative of our box is of that kind. The Bhattacharyya coefficient of two histograms, $\sum_c \sqrt{h_c\, h'_c}$, is the dot product of
# their roots. As an encoder in a `SimilarityWrapper` it is two towers, as a plain function an opaque box. Everything else is the same.


# %%
class RootHistogram(torch.nn.Module):
    """The roots of a histogram of colours: an encoder like any other."""

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch, `[B, 64]`."""
        return histogram(images).sqrt()


towers = cp.SimilarityWrapper(RootHistogram(), similarity="dot")
truth = cp.ExactShapleyTaylor(towers).interactions((query, retrieved), means, feature_mask=few)
print(f"exact from {truth.n_evaluations.item()} embeddings")


def looked_at(forward_func, method: type, passes: int) -> float:
    """The error from so many masked images, two for each evaluation of a box, one for each embedding."""
    found = method(forward_func).interactions((query, retrieved), means, feature_mask=few, n_samples=passes // 2)
    return relative_error(found, truth)


by_towers = {passes: looked_at(towers, cp.FactorisedShapleyTaylor, passes) for passes in (50, 75, 100)}
as_a_box = {passes: looked_at(lambda a, b: towers(a, b), cp.GaussianProcessShapleyTaylor, passes) for passes in (300, 600, 1200)}
for name, row in {"by two towers": by_towers, "as an opaque box": as_a_box}.items():
    print(f"{name:17}" + ", ".join(f"{error:.1%} from {passes} masked images" for passes, error in row.items()))

# %% [markdown]
# The towers are the most useful thing to know of a similarity. If there are two, wrap them.
#
# ## A network, seen from outside
#
# The same for EfficientNet-Lite0 and the full photos, on superpixels, where each embedding is a pass through the network. `tolerance=` asks
# for precision in the place of a budget: sampling stops when the standard error of the pairs is below that share of them, or else at
# `n_samples`.

# %%
model = cp.SimilarityWrapper(encoder)
parts = cp.superpixels(photos[0], n_segments=25), cp.superpixels(photos[1], n_segments=25)
started = time.perf_counter()
network = cp.FactorisedShapleyTaylor(model, tolerance=0.2).interactions(photos, feature_mask=parts, n_samples=500)
spread = network.standard_error
assert spread is not None
print(f"stopped after {network.n_evaluations.item()} passes, {time.perf_counter() - started:.0f} s")
pairs, heat_maps = ((spread[name].norm() / network[name].norm()).item() for name in ("between", "marginal"))
print(f"the pairs are sure to {pairs:.0%}, the heat maps to {heat_maps:.0%}")
figure = visualization.pair_figure(network, photos)
figure

# %% [markdown]
# Superpixels follow outlines, where the 7×7 positions of the [first page](01_why_two_images_are_similar.ipynb) were blurry squares, and no
# layer had to be named. Look at the errors, though: a hundred-odd passes are enough for the pairs and not for the heat maps.
#
# | what is known | take |
# |---|---|
# | nothing | `GaussianProcessShapleyTaylor`; beyond 8192 evaluations `KernelShapleyTaylor` |
# | nothing, and one map an image is enough | `KernelShapley` |
# | two towers | `FactorisedShapleyTaylor`, and its layer twin for a layer |
# | gradients, too | the [next page](04_integrated_hessians.ipynb) |
#
# `tutorials/measurements/superpixels.py` compares all of them on a network and 43 + 43 superpixels;
# `python -m captum_pairwise.evaluation convergence` on random games, with the estimators of other packages.
