# %% [markdown]
# # Why two images are similar
#
# Image search, face matching and product matching all work alike: a network turns each image into an embedding, and two embeddings are
# compared. What comes back is one number. This page asks where that number comes from:
#
# * which parts of each image make the two similar, and which set them apart;
# * which part of the one image corresponds to which part of the other;
# * how sure the answer is, and what it is relative to.
#
# You need PyTorch, and some idea of Captum: a *forward function* is explained by an object whose `attribute` takes the inputs and returns
# credits.

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
# The photos are one of the built-in pairs, put together from pictures that scikit-image and scikit-learn carry. The query is a motorcycle
# in a garage. The retrieved image has the same motorcycle, mirrored and smaller, in front of a pagoda. Masks say where it is in both, which
# lets us check what we find; the explanation does not see them.

# %%
with tempfile.TemporaryDirectory() as folder:
    pair = cp.datasets.builtin_pairs(folder)[1]
    assert pair.query_mask and pair.retrieved_mask  # a pair may have none
    encoder = cp.backbones.create("efficientnet_lite0")  # trained on ImageNet; a package carries the weights
    query, retrieved = encoder.preprocess(pair.query), encoder.preprocess(pair.retrieved)  # [1, 3, 224, 224], RGB in [0, 1]
    query_mask, retrieved_mask = (cp.datasets.open_mask(path)[0] for path in (pair.query_mask, pair.retrieved_mask))

# %% [markdown]
# `SimilarityWrapper` makes a forward function of an encoder: two batches in, one similarity for each pair out. The default is the cosine of
# the two embeddings.

# %%
model = cp.SimilarityWrapper(encoder)
with torch.no_grad():
    similarity = model(query, retrieved)
    without = model(query, torch.where(retrieved_mask, cp.blur_baseline(retrieved), retrieved))
print(f"similarity {similarity.item():.3f}, and {without.item():.3f} when the motorcycle in the retrieved image is blurred")

# %% [markdown]
# So the motorcycle matters. But that was a guess, checked with a mask that we happened to have. We want the parts that matter without
# guessing, and a number for each.
#
# ## Players, baselines and coalitions
#
# Credit comes from cooperative game theory, and three of its words are all we need.
#
# * A **player** is a part of an image that gets credit. Here it is one of the 7×7 positions of the network's last feature map: 49 players
#   of the query and 49 of the retrieved image. Superpixels can be players, too ([page 3](03_an_opaque_box.ipynb)).
# * A **baseline** is what is shown in the place of a player that is absent. By default it is a blur of its own image, or in a layer the
#   feature map of that blur.
# * A **coalition** $S$ is a set of players that are present. Its value $v(S)$ is the similarity when all others show their baseline: $v(N)$
#   is the similarity of the two photos, and $v(\emptyset)$ that of their two baselines.

# %%
blurs = cp.blur_baseline(query), cp.blur_baseline(retrieved)
figure = Figure(figsize=(12, 3.4), layout="constrained")
names = "the query", "its baseline", "the retrieved image", "its baseline"
for axes, name, image in zip(figure.subplots(1, 4), names, (query, blurs[0], retrieved, blurs[1]), strict=True):
    axes.imshow(image[0].permute(1, 2, 0).numpy())
    axes.set_title(name)
    axes.set_axis_off()
figure

# %% [markdown]
# ## One call
#
# `LayerFactorisedShapleyTaylor` estimates the *Shapley–Taylor index* of every pair of players: what two parts bring together that neither
# brings alone, averaged in the one way that is fair ([page 2](02_from_sam_to_shapley_taylor.ipynb) says what fair means). Like all layer
# methods of Captum it takes the forward function and the layer. `n_samples` is the budget: how many masked feature maps of each image are
# embedded.

# %%
method = cp.LayerFactorisedShapleyTaylor(model, encoder.features)
interactions = method.interactions((query, retrieved), n_samples=1000)
interactions

# %%
figure = visualization.pair_figure(interactions, (query, retrieved))
figure

# %% [markdown]
# Above are the photos and the credit of each part: red parts make the images similar, blue parts set them apart. The motorcycle in front of
# the pagoda is red, the pagoda and the lake are blue. The query is faintly blue all over, which has to do with its baseline: [see
# below](#What-to-watch-out-for). In the lower row each of the four strongest parts of the query is followed into the retrieved image. All
# of them are found on the motorcycle.
#
# ## Pairs: which part corresponds to which
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
# The pairs carry anything that is known of the query to the retrieved image: a mask, a label, a click. `project` sums the pairs of the
# marked parts, $\sum_i a_i \varphi_{ij}$. Here it carries the mask of the motorcycle, and now the other mask serves to check it: as many
# pixels as the true motorcycle has, those with most credit, are compared with it.

# %%
projected = interactions.project(query_mask).reshape(-1, 7, 7)
found = cp.metrics.label_propagation(projected, retrieved_mask)
in_place = cp.metrics.label_propagation(query_mask.float(), retrieved_mask)
print(f"mean IoU {found.mean_iou.item():.2f}; {in_place.mean_iou.item():.2f} for pointing at the same place as in the query")

# %%
figure = visualization.projection_figure((query, retrieved), query_mask, projected, mask=retrieved_mask)
figure

# %% [markdown]
# ## Heat maps: two questions
#
# Often one map for each image is enough, the *first order*. There are two of them, and they answer different questions.
#
# * `interactions.marginal` is the Shapley value of each part while the parts of *both* images come and go. All 98 sum to
#   $v(N) - v(\emptyset)$.
# * A first-order method such as `LayerKernelSAM` asks of each image alone, *while the other one is whole*. The query's map sums to what the
#   query adds over its blur, $s(q, r) - s(\text{blur}(q), r)$, and the retrieved image's likewise.
#
# Take the second to say why this result was found for this query, and the first to share out the whole similarity.

# %%
query_map, retrieved_map = cp.LayerKernelSAM(model, encoder.features).attribute((query, retrieved))  # [B, 1, 7, 7] each
marginals = interactions.query_marginal.reshape(-1, 1, 7, 7), interactions.retrieved_marginal.reshape(-1, 1, 7, 7)
maps = {"both come and go": marginals, "the other one is whole": (query_map, retrieved_map)}
for name, (of_query, of_retrieved) in maps.items():
    print(f"{name}: the query's map sums to {of_query.sum():+.3f}, the retrieved image's to {of_retrieved.sum():+.3f}")
figure = visualization.heatmap_figure((query, retrieved), maps)
figure

# %% [markdown]
# ## What the result knows
#
# `Interactions` holds what is needed to judge the credits, too.

# %%
errors = interactions.standard_error
assert errors is not None
print(f"v(N) {interactions.full.item():.4f}, v(∅) {interactions.empty.item():.4f}")
print(f"sum of the marginals {interactions['marginal'].sum():+.4f}, so the completeness gap is {interactions.completeness_gap.item():+.1e}")
for name in ("between", "marginal"):
    print(f"{name}: standard error {errors[name].norm() / interactions[name].norm():.1%}, of all together")
print(f"{interactions.n_evaluations.item()} embeddings of masked maps")

# %% [markdown]
# * `full` and `empty` are $v(N)$ and $v(\emptyset)$.
# * `completeness_gap` is $v(N) - v(\emptyset)$ less all credit. A method that is *efficient* has none.
# * `standard_error` says how far each number may be off because coalitions are sampled. Pairs are known better than heat maps at the same
#   budget: raise `n_samples` until what you read is well above its error.
# * `first_order`, `within_query` and `within_retrieved` are the other terms of the index; what nobody computed is `None`, never 0. The
#   pairs within an image cost nothing but time: `LayerFactorisedShapleyTaylor(model, layer, within=True)`.
# * `save` and `load` keep all of it in a file.
#
# ## Look around
#
# A figure answers the questions of whoever drew it. `cp.viewer` makes a page of its own for yours: point at a part of either image, and it
# shows what it corresponds to on the other. In a notebook it shows itself; `.save("pair.html")` writes a file that any browser opens,
# without a server or a network.

# %%
page = cp.viewer(interactions, (query, retrieved), title="The motorcycle, twice")
page

# %% [markdown]
# ## What to watch out for
#
# **Credit is relative to a baseline.** Here are the same photos over four of them: a blur; a black image; the mean colour of each image;
# and two photos of something else, coffee and a rocket.

# %%
unrelated = encoder.preprocess(skimage.data.coffee()), encoder.preprocess(skimage.data.rocket())
means = query.mean((2, 3), keepdim=True).expand_as(query), retrieved.mean((2, 3), keepdim=True).expand_as(retrieved)
baselines = {"blur": None, "black": (0, 0), "mean colour": means, "other photos": unrelated}
over = {name: method.interactions((query, retrieved), baseline, n_samples=300) for name, baseline in baselines.items()}
print(f"{'':14}{'v(∅)':>8}{'v(N)-v(∅)':>12}{'mean IoU':>10}{'correlation of the pairs with those over a blur':>50}")
for name, other in over.items():
    overlap = cp.metrics.label_propagation(other.project(query_mask).reshape(-1, 7, 7), retrieved_mask).mean_iou
    alike = torch.corrcoef(torch.stack([other["between"].flatten(), over["blur"]["between"].flatten()]))[0, 1]
    print(f"{name:14}{other.empty.item():8.2f}{(other.full - other.empty).item():+12.2f}{overlap.item():10.2f}{alike:50.2f}")

# %% [markdown]
# The pairs hardly depend on the baseline: what corresponds to what is much the same, and so is where the motorcycle is found. The heat maps
# do depend on it, because $v(\emptyset)$ does. Two black images are one and the same image, of similarity 1, and two blurs are more alike
# than these photos; over either, all parts together must take similarity *away*. If your question is "why are these two more similar than
# any two images?", take other images for baselines, or a distribution of them: `cp.Backgrounds(images)`.

# %%
marginal_maps = {
    name: (other.query_marginal.reshape(-1, 1, 7, 7), other.retrieved_marginal.reshape(-1, 1, 7, 7)) for name, other in over.items()
}
figure = visualization.heatmap_figure((query, retrieved), marginal_maps, title="marginal credit over different baselines")
figure

# %% [markdown]
# **The sign matters.** Blue is no noise: pagoda and lake are what sets the two photos apart. Do not cut credit off at 0.
#
# **A map has the resolution of its layer.** One of 7×7 positions is drawn as 32×32 pixels, and has seen far more than these. Earlier
# layers, superpixels ([page 3](03_an_opaque_box.ipynb)) and projections through several layers ([page 4](04_integrated_hessians.ipynb)) are
# finer.
#
# **The model is explained, not the world.** Red says that the *network* finds a part similar.
#
# ## Your own encoder
#
# Any module that returns embeddings `[B, C]` or a map `[B, C, H, W]`, which is averaged, is an encoder. Five lines do:

# %%
torch.manual_seed(0)  # random weights here, to save a download: load yours
network = torch.nn.Sequential(*list(torchvision.models.resnet18().children())[:-2]).eval()  # without pooling and classifier
own = cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(network), network[-1])
explained = own.interactions((query, retrieved), n_samples=300)
figure = visualization.pair_figure(explained, (query, retrieved), title="a network that has learnt nothing")
figure

# %% [markdown]
# If its images are normalised outside of the network, put the normalisation inside, so that blur and superpixels act on plain colours:
# `cp.backbones.ImageEncoder(features, mean, std)`.
#
# Next: [what "fair" means, and what the older methods are special cases of](02_from_sam_to_shapley_taylor.ipynb).
