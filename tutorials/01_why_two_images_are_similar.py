# %% [markdown]
# # Why two images are similar
#
# Image search, face matching and product matching work in the same way: a network turns each image into an embedding, and two embeddings
# are compared. The result is one number. This page explains that number:
#
# * which parts of each image make the two images similar, and which parts make them dissimilar;
# * which part of one image matches which part of the other image;
# * how accurate the answer is, and to which baseline it is relative.
#
# You need PyTorch and a basic idea of Captum: an object explains a *forward function*, and its `attribute` method takes the inputs and
# returns credits.

# %%
# %matplotlib inline
import tempfile

import skimage.data
import torch
import torchvision
from matplotlib.figure import Figure

import captum_pairwise as cp
from captum_pairwise import visualization

# %% [markdown]
# ## Two photos and a model
#
# The photos are one of the built-in pairs, which are made from pictures of scikit-image and scikit-learn. The query is a motorcycle in a
# garage. The retrieved image has the same motorcycle, mirrored and smaller, in front of a pagoda. Masks mark the motorcycle in both images.
# We use them to check the results; the explanation does not use them.

# %%
with tempfile.TemporaryDirectory() as folder:
    pair = cp.datasets.builtin_pairs(folder)[1]
    assert pair.query_mask and pair.retrieved_mask  # a pair may have none
    encoder = cp.backbones.create("efficientnet_lite0")  # trained on ImageNet; a package carries the weights
    query, retrieved = encoder.preprocess(pair.query), encoder.preprocess(pair.retrieved)  # [1, 3, 224, 224], RGB in [0, 1]
    query_mask, retrieved_mask = (cp.datasets.open_mask(path)[0] for path in (pair.query_mask, pair.retrieved_mask))

# %% [markdown]
# `SimilarityWrapper` turns an encoder into a forward function: its inputs are two batches of images, and its output is one similarity for
# each pair. The default similarity is the cosine of the two embeddings.

# %%
model = cp.SimilarityWrapper(encoder)
with torch.no_grad():
    similarity = model(query, retrieved)
    without = model(query, torch.where(retrieved_mask, cp.blur_baseline(retrieved), retrieved))
print(f"similarity {similarity.item():.3f}, and {without.item():.3f} when the motorcycle in the retrieved image is blurred")

# %% [markdown]
# So the motorcycle matters. But this was a guess, and we could check it only because we had a mask. We want to find the parts that matter
# without guessing, with a number for each part.
#
# ## Players, baselines and coalitions
#
# Credit comes from cooperative game theory. We need three terms.
#
# * A **player** is a part of an image that gets credit. Here it is one of the 7×7 positions of the network's last feature map: 49 players
#   of the query and 49 players of the retrieved image. Players can also be superpixels ([page 3](03_an_opaque_box.ipynb)).
# * A **baseline** replaces a player that is absent. By default it is a blur of the same image; for a layer it is the feature map of that
#   blur.
# * A **coalition** $S$ is a set of players that are present. Its value $v(S)$ is the similarity when all other players show their baseline:
#   $v(N)$ is the similarity of the two photos, and $v(\emptyset)$ is the similarity of their two baselines.

# %%
blurs = cp.blur_baseline(query), cp.blur_baseline(retrieved)
figure = Figure(figsize=(12, 3.4), layout="constrained")
names = "query", "its baseline", "retrieved image", "its baseline"
for axes, name, image in zip(figure.subplots(1, 4), names, (query, blurs[0], retrieved, blurs[1]), strict=True):
    axes.imshow(image[0].permute(1, 2, 0).numpy())
    axes.set_title(name)
    axes.set_axis_off()
figure

# %% [markdown]
# ## One call
#
# `LayerFactorisedShapleyTaylor` estimates the *Shapley–Taylor index* of every pair of players: the similarity that two parts add together
# but that neither part adds alone, averaged over all coalitions in a fair way ([page 2](02_from_sam_to_shapley_taylor.ipynb) defines fair).
# Like all layer methods of Captum, it takes the forward function and the layer. `n_samples` is the budget: the number of masked feature
# maps of each image that are embedded.

# %%
method = cp.LayerFactorisedShapleyTaylor(model, encoder.features)
interactions = method.interactions((query, retrieved), n_samples=1000)
interactions

# %%
figure = visualization.pair_figure(interactions, (query, retrieved))
figure

# %% [markdown]
# The upper row shows the photos and a heat map of each: what each part adds to the similarity while the other photo is whole. Red parts
# make the images similar, blue parts make them dissimilar. Both maps are red on the motorcycle; the pagoda and the lake add almost nothing.
# The lower row shows the matches of the four strongest parts of the query in the retrieved image. All of them are on the motorcycle.
#
# ## Pairs: which part matches which part
#
# `interactions.between` is the credit of every pair, `[B, 49, 49]`. `method.attribute(...)` returns the same values in the layout of the
# feature maps, `[B, 7, 7, 7, 7]`. Two figures show them. The first figure draws lines between matching parts; a thicker line means more
# credit.

# %%
figure = visualization.matches_figure(interactions, (query, retrieved), n_matches=6)
figure

# %% [markdown]
# The second figure is the matrix of all pairs, with one row for each part of the query. Rows and columns of parts without the motorcycle
# are pale.

# %%
figure = visualization.matrix_figure(interactions)
figure

# %% [markdown]
# ## Where a part of the query goes
#
# The pairs can transfer any signal from the query to the retrieved image: a mask, a label, or a click. `project` sums the pairs of the
# marked parts, $\sum_i a_i \varphi_{ij}$. Here we project the mask of the motorcycle, and use the mask of the retrieved image as the ground
# truth: we compare it with the same number of pixels of the projection, the pixels with the most credit.

# %%
projected = interactions.project(query_mask).reshape(-1, 7, 7)
found = cp.metrics.label_propagation(projected, retrieved_mask)
in_place = cp.metrics.label_propagation(query_mask.float(), retrieved_mask)
print(f"mean IoU {found.mean_iou.item():.2f}; {in_place.mean_iou.item():.2f} for pointing at the same place as in the query")

# %%
figure = visualization.projection_figure((query, retrieved), query_mask, projected, mask=retrieved_mask)
figure

# %% [markdown]
# ## Heat maps: one number for each part
#
# Often one map for each image is enough. `interactions.query_map` and `interactions.retrieved_map` say what each part adds *while the other
# image is whole*: Shapley values of the game of one image. The query's map sums to $s(q, r) - s(\text{blur}(q), r)$, the similarity that
# the query adds over its blur; `full - without_query` is this number. The same holds for the retrieved image.
#
# A map and the pairs come from the same numbers. The map value of a part is its own credit, all of its pairs with the other image and half
# of its pairs within its own image, if at most two parts act together. The effects of three or more parts together are shared differently.

# %%
query_map, retrieved_map = interactions.query_map.reshape(-1, 1, 7, 7), interactions.retrieved_map.reshape(-1, 1, 7, 7)
assert interactions.without_query is not None and interactions.without_retrieved is not None
for name, credit, end in (
    ("query", query_map, interactions.without_query),
    ("retrieved image", retrieved_map, interactions.without_retrieved),
):
    print(f"{name}: similarity {interactions.full.item():.3f}, and {end.item():.3f} with its blur; the map sums to {credit.sum():+.3f}")
figure = visualization.heatmap_figure((query, retrieved), {"other image whole": (query_map, retrieved_map)})
figure

# %% [markdown]
# Methods of *first order*, such as `LayerKernelSAM` and `LayerIGSAM`, compute such maps without the pairs. `LayerKernelSAM` samples
# coalitions of one image while the other is whole:

# %%
sampled = cp.LayerKernelSAM(model, encoder.features).attribute((query, retrieved))[0]  # [B, 1, 7, 7]
assert isinstance(sampled, torch.Tensor)
print(f"difference of LayerKernelSAM's map of the query: {(sampled - query_map).norm() / query_map.norm():.0%}")

# %% [markdown]
# There is another question: what does each part add when the parts of *both* images may be absent? `interactions.marginal` answers it. All
# 98 values sum to $v(N) - v(\emptyset)$. Two blurs are alike, more than these two photos, so these values have to sum to a negative number,
# and nearly all of the query is blue. Use them to distribute $v(N) - v(\emptyset)$, not to see why this result was found for this query.

# %%
marginals = interactions.query_marginal, interactions.retrieved_marginal
print(
    f"similarity of the blurs {interactions.empty.item():.3f}; sums of the marginals {marginals[0].sum():+.3f}, {marginals[1].sum():+.3f}"
)
figure = visualization.joint_figure(interactions, (query, retrieved))
figure

# %% [markdown]
# ## What the result contains
#
# `Interactions` also contains the numbers that you need to judge the credits.

# %%
errors = interactions.standard_error
assert errors is not None
predicting = interactions.as_index("banzhaf")
assert interactions.r2 is not None and predicting.r2 is not None
print(f"R² of these indices {interactions.r2.item():.1f}, of Banzhaf indices from the same sample {predicting.r2.item():.2f}")
print(f"v(N) {interactions.full.item():.4f}, v(∅) {interactions.empty.item():.4f}")
print(f"sum of the marginals {interactions['marginal'].sum():+.4f}, so the completeness gap is {interactions.completeness_gap.item():+.1e}")
for name in ("between", "given_other", "marginal"):
    print(f"{name}: relative standard error {errors[name].norm() / interactions[name].norm():.1%}")
print(f"{interactions.n_evaluations.item()} embeddings of masked maps")

# %% [markdown]
# * `r2` is the first sign of trust: the share of the variance of the similarity that single parts and pairs predict when parts are missing
#   at random. Below 0 they predict it worse than a constant: Shapley–Taylor indices without the pairs within an image split the similarity,
#   they do not predict it. Banzhaf indices do, and `as_index` computes them from the same sample ([page
#   2](02_from_sam_to_shapley_taylor.ipynb#which-index)). `explain` shows their pairs.
# * `full` and `empty` are $v(N)$ and $v(\emptyset)$.
# * `completeness_gap` is $v(N) - v(\emptyset)$ minus the sum of all credit. It is 0 for an *efficient* method.
# * `standard_error` estimates the error of each number that comes from sampling coalitions. At the same budget, the pairs (`between`) and
#   the heat maps (`given_other`) are more accurate than `marginal`. Increase `n_samples` until the credits that you use are well above
#   their errors.
# * `first_order`, `within_query` and `within_retrieved` are the other terms of the index. A term that was not computed is `None`, never 0.
#   The pairs within an image need no additional network passes, only time: `LayerFactorisedShapleyTaylor(model, layer, within=True)`.
# * `save` and `load` store the whole result in a file.
#
# ## Interactive viewer
#
# A figure shows a fixed view. `cp.viewer` makes an interactive page: point at a part of either image, and the page shows its matches in the
# other image. A notebook displays it directly. `.save("pair.html")` writes a file that any browser can open, without a server and without a
# network.

# %%
page = cp.viewer(interactions, (query, retrieved), title="Two photos of a motorcycle")
page

# %% [markdown]
# ## What to watch out for
#
# **Credit is relative to a baseline.** Here are the same photos over four baselines: a blur; a black image; the mean colour of each image;
# and two other photos, of coffee and of a rocket.

# %%
unrelated = encoder.preprocess(skimage.data.coffee()), encoder.preprocess(skimage.data.rocket())
means = query.mean((2, 3), keepdim=True).expand_as(query), retrieved.mean((2, 3), keepdim=True).expand_as(retrieved)
baselines = {"blur": None, "black": (0, 0), "mean colour": means, "other photos": unrelated}
over = {name: method.interactions((query, retrieved), baseline, n_samples=300) for name, baseline in baselines.items()}
blocks = "between", "given_other"
print(f"{'':44}{'correlation with those over a blur':>37}")
print(f"{'':14}{'v(∅)':>8}{'v(N)-v(∅)':>12}{'mean IoU':>10}{'pairs':>14}{'maps':>12}")
for name, other in over.items():
    overlap = cp.metrics.label_propagation(other.project(query_mask).reshape(-1, 7, 7), retrieved_mask).mean_iou
    alike = [torch.corrcoef(torch.stack([other[block].flatten(), over["blur"][block].flatten()]))[0, 1] for block in blocks]
    print(f"{name:14}{other.empty.item():8.2f}{(other.full - other.empty).item():+12.2f}{overlap.item():10.2f}", end="")
    print(f"{alike[0]:14.2f}{alike[1]:12.2f}")

# %% [markdown]
# The pairs hardly depend on the baseline: the matches are similar, and so is the position of the motorcycle. The heat maps hardly depend on
# it either, because one image is always a photo. But $v(\emptyset)$ and the joint credit `marginal` do depend on the baseline: two black
# images are identical, so their similarity is 1, and two blurs are more similar than these photos. Over either baseline, the parts together
# must *reduce* the similarity. If your question is "why are these two images more similar than any two images?", use other images as
# baselines, or a distribution of images: `cp.Backgrounds(images)`.

# %%
baseline_maps = {name: (other.query_map.reshape(-1, 1, 7, 7), other.retrieved_map.reshape(-1, 1, 7, 7)) for name, other in over.items()}
figure = visualization.heatmap_figure((query, retrieved), baseline_maps, title="heat maps over different baselines")
figure

# %% [markdown]
# **The sign matters.** Blue is not noise: a blue part makes the two photos less similar. Do not remove negative credit.
#
# **A map has the resolution of its layer.** One of the 7×7 positions is drawn as 32×32 pixels, but its receptive field is much larger.
# Earlier layers, superpixels ([page 3](03_an_opaque_box.ipynb)) and projections through several layers ([page
# 4](04_integrated_hessians.ipynb)) have a finer resolution.
#
# **We explain the model, not the world.** Red means that the *network* finds a part similar.
#
# ## Your own encoder
#
# An encoder is any module that returns embeddings `[B, C]`, or a map `[B, C, H, W]`, which is averaged. Five lines are enough:

# %%
torch.manual_seed(0)  # random weights here, to save a download: load yours
network = torch.nn.Sequential(*list(torchvision.models.resnet18().children())[:-2]).eval()  # without pooling and classifier
own = cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(network), network[-1])
explained = own.interactions((query, retrieved), n_samples=300)
figure = visualization.pair_figure(explained, (query, retrieved), title="a network with random weights")
figure

# %% [markdown]
# If your network normalises its images outside of the model, move the normalisation into the model, so that blurs and superpixels act on
# plain colours: `cp.backbones.ImageEncoder(features, mean, std)`.
#
# Next: [the meaning of "fair", and the older methods as special cases](02_from_sam_to_shapley_taylor.ipynb).
