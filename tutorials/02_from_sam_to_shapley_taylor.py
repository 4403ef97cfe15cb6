# %% [markdown]
# # From search activation maps to Shapley–Taylor
#
# Search activation maps (SAM) explain a similarity with one formula. This page derives the formula, shows of which index it is a special
# case, and shows the error outside of that case:
#
# 1. For averaged feature maps and a dot product, SAM *is* the exact index.
# 2. In general, the Shapley–Taylor index is the only index that satisfies five axioms.
# 3. For a cosine, SAM and the index differ. We measure the difference.
# 4. Other indices answer other questions. Which one predicts the similarity?
# 5. CAM and GradCAM are SAM for a classifier. GradCAM gives credit to parts that have no influence.

# %%
# %matplotlib inline
import copy
import tempfile
from collections.abc import Callable

import captum.attr
import skimage.data
import torch
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import visualization

with tempfile.TemporaryDirectory() as folder:
    pair = cp.datasets.builtin_pairs(folder)[1]
    encoder = cp.backbones.create("efficientnet_lite0")
    query, retrieved = encoder.preprocess(pair.query), encoder.preprocess(pair.retrieved)

# %% [markdown]
# ## SAM by hand
#
# A network ends in feature maps $x$ and $y$ of the query and the retrieved image, `[1280, 7, 7]`. Global average pooling turns them into
# embeddings, and a dot product compares the embeddings. Both operations are sums over positions, so the similarity is a sum over *pairs* of
# positions:
#
# $$s = \Big\langle \frac{1}{HW}\sum_{hw} x_{hw},\ \frac{1}{HW}\sum_{ij} y_{ij} \Big\rangle
# = \sum_{hw}\sum_{ij} \frac{1}{(HW)^2} \langle x_{hw}, y_{ij} \rangle$$
#
# Each term is the credit of position $hw$ of the query together with position $ij$ of the retrieved image: second-order SAM. The sum over
# the query's positions is first-order SAM, a map of the retrieved image.

# %%
with torch.no_grad():
    x, y = encoder.feature_maps(query)[0], encoder.feature_maps(retrieved)[0]
by_hand = torch.einsum("chw,cij->hwij", x, y) / (7 * 7) ** 2
map_by_hand = torch.einsum("c,cij->ij", x.mean((1, 2)), y) / (7 * 7)

dot = cp.SimilarityWrapper(encoder, similarity="dot")
of_class = cp.LayerPairwiseSAM(dot, encoder.features).attribute((query, retrieved))
_, map_of_class = cp.LayerSAM(dot, encoder.features).attribute((query, retrieved))
print(f"similarity {dot(query, retrieved).item():.4f}, sum of all pairs {by_hand.sum().item():.4f}")
of_pairs, of_maps = (by_hand - of_class[0]).abs().max(), (map_by_hand - map_of_class[0, 0]).abs().max()
print(f"largest difference from LayerPairwiseSAM {of_pairs:.1e}, from LayerSAM {of_maps:.1e}")

# %% [markdown]
# The class also accepts a baseline $b$ and then uses $y - b$ instead of $y$. It also accepts linear layers after the pooling and merges
# them into the formula.
#
# ## What is fair
#
# The derivation above needs a similarity that is a sum. What if it is not a sum? Game theory defines fair shares for *any* function of a
# set of players. The smallest example has four players: the wheel and the sky of the query, 0 and 1, and the wheel and the sky of the
# retrieved image, 2 and 3. A *game* gives a value to every coalition.

# %%
NAMES = "query's wheel", "query's sky", "retrieved wheel", "retrieved sky"


def game(worth: Callable[[set[int]], float]) -> Tensor:
    """The values of all 16 coalitions. Bit `i` of the entry's number is 1 if player `i` is in the coalition."""
    members = [{i for i in range(4) if mask >> i & 1} for mask in range(16)]
    return torch.tensor([worth(present) for present in members], dtype=torch.float64)


def worth(present: set[int]) -> float:
    """The two wheels are similar. The query's wheel is similar to the retrieved sky, but only if the query's sky is present."""
    return 3 * ({0, 2} <= present) + 1 * ({0, 1, 3} <= present)


values = game(worth)
dividends = cp.harsanyi_dividends(values)
for mask in dividends.nonzero()[:, 0].tolist():
    print(f"dividend {dividends[mask]:+.0f}: {', '.join(name for i, name in enumerate(NAMES) if mask >> i & 1)}")

# %% [markdown]
# A *dividend* is the value that a coalition adds to the dividends of all its subsets. The dividends decompose the game. A dividend of one
# player belongs to that player, and a dividend of two players belongs to the pair. The question is how to share the dividend of three
# players. The **Shapley–Taylor index** of second order divides it equally among the pairs inside: $\varphi_{ij} = \sum_{T \ni i, j} d(T)
# \big/ \binom{|T|}{2}$.

# %%
empty, first, second = cp.shapley_taylor(values)
for i in range(4):
    print(f"{NAMES[i]:16}" + "".join(f"{value:7.3f}" for value in second[i].tolist()))

# %% [markdown]
# The pair of wheels gets its dividend of 3. Each pair of the other three players gets a third of 1. Five axioms determine this index
# uniquely:
#
# * **Efficiency**: $v(\emptyset)$ plus all credit is $v(N)$.
# * **Dummy**: a player that adds the same value to every coalition gets this value, and its pairs get 0.
# * **Symmetry**: players with the same effect get the same credit.
# * **Linearity**: the credit of a sum of games is the sum of their credits.
# * **Interaction distribution**: dividends of three or more players go to pairs, never to single players.
#
# All axioms are statements about numbers, so we check the numbers:

# %%
print(f"credit of single players: {first.abs().sum():.4f}")
credit = empty + first.sum() + second.triu().sum()
print(f"efficiency: credit {credit:.4f}, v(N) {values[-1]:.4f}")

_, alone, together = cp.shapley_taylor(game(lambda present: worth(present - {1}) + 0.5 * (1 in present)))
print(f"dummy: the query's sky adds 0.5 to every coalition: alone {alone[1]:.4f}, in pairs {together[1].abs().sum():.4f}")

_, _, symmetric = cp.shapley_taylor(game(lambda present: len(present & {0, 1}) * len(present & {2, 3}) ** 2))
print(f"symmetry: wheel and sky have the same effect: {symmetric[0, 2]:.4f} = {symmetric[0, 3]:.4f} = {symmetric[1, 2]:.4f}")

other = torch.rand(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
difference = cp.shapley_taylor(2 * values + other)[2] - (2 * second + cp.shapley_taylor(other)[2])
print(f"linearity: largest difference {difference.abs().max():.1e}")

# %% [markdown]
# The credit of a single part plus half of the credit of each of its pairs is the **Shapley value**, the index of first order:

# %%
shapley = cp.shapley_values(values)
print("Shapley values        ", [round(value, 3) for value in shapley.tolist()])
print("first + half the pairs", [round(value, 3) for value in (first + second.sum(1) / 2).tolist()])

# %% [markdown]
# ## When SAM equals Shapley–Taylor
#
# We return to the photos. Each quarter of a feature map is a player, so that we can evaluate all $2^{4+4} = 256$ coalitions. An absent
# quarter is 0.

# %%
quarters = cp.grid(7, 7, 2, 2)  # ids of the positions, [1, 1, 7, 7]
coalitions = torch.tensor([[mask >> i & 1 for i in range(8)] for mask in range(256)]).float()
of_query = (coalitions[:, :4][:, quarters[0]] * x).mean((2, 3))  # one embedding for each coalition
of_retrieved = (coalitions[:, 4:][:, quarters[0]] * y).mean((2, 3))

_, first, second = cp.shapley_taylor((of_query * of_retrieved).sum(1).double())
sam = cp.LayerPairwiseSAM(dot, encoder.features).attribute((query, retrieved), layer_mask=(quarters, quarters))[0]
print(f"Shapley–Taylor and SAM differ by {(second[:4, 4:] - sam).abs().max():.1e}; the largest pair is {sam.max():.3f}")
within = torch.stack([second[:4, :4], second[4:, 4:]])
print(f"the other credit is 0: single players {first.abs().max():.1e}, pairs within an image {within.abs().max():.1e}")

# %% [markdown]
# For pooled maps and a dot product, only pairs between the images have credit, and SAM is the exact index in closed form.
#
# ## What a cosine changes
#
# Most searches compare *directions*: they divide embeddings by their norms, and the norm of an embedding depends on all parts of the image.
# A part that is added reduces the share of all other parts. So the parts of one image interact, and single parts have their own credit. SAM
# keeps both norms fixed at the norms of the complete images. Therefore its credit no longer sums to $v(N) - v(\emptyset)$; the credit of
# the Shapley–Taylor index does. (With a cosine, an embedding of 0 has no direction. We use a blur as the baseline from here on.)

# %%
model = cp.SimilarityWrapper(encoder)
blurs = cp.blur_baseline(query), cp.blur_baseline(retrieved)
closed = cp.LayerPairwiseSAM(model, encoder.features).interactions((query, retrieved), blurs)
fair = cp.LayerFactorisedShapleyTaylor(model, encoder.features, within=True).interactions((query, retrieved), n_samples=1000)
correlation = torch.corrcoef(torch.stack([closed["between"].flatten(), fair["between"].flatten()]))[0, 1]
scale = (closed["between"] * fair["between"]).sum() / fair["between"].square().sum()
print(f"v(N) - v(∅) is {(fair.full - fair.empty).item():+.4f}")
for name, found in {"SAM": closed, "Shapley–Taylor": fair}.items():
    sums = [found["first_order"].sum(), *(found[block].sum() / 2 for block in ("within_query", "within_retrieved")), found["between"].sum()]
    words = "single parts {:+.3f}, pairs within the query {:+.3f}, within the retrieved {:+.3f}, between {:+.3f}".format(*sums)
    print(f"{name}: {words}; completeness gap {found.completeness_gap.item():+.3f}")
print(f"pairs between the images: correlation {correlation:.3f}, and SAM's credit is {scale:.2f} times as large")

# %% [markdown]
# The pairs between the images are still similar, so the figures of SAM look right. But the size of the credit is different, and SAM's
# completeness gap is larger than $v(N) - v(\emptyset)$ itself. The index also shows what SAM cannot show: parts *within* an image have
# negative pairs, because the second wheel changes the direction of an embedding less than the first wheel.
#
# ## Which index?
#
# Of the five axioms, efficiency and interaction distribution are choices. Without them there are other indices. All of them average the
# joint effect of two parts, $v(S \cup ij) - v(S \cup i) - v(S \cup j) + v(S)$, over coalitions $S$ of the other parts. They differ in how
# often the others are present, and each answers another question:
#
# | index | question |
# |---|---|
# | Shapley–Taylor | What is the fair split that sums to the similarity? |
# | Faith-Shap | Of the splits that sum to the similarity, which one predicts it best, if coalitions of all sizes count? |
# | Shapley interaction index | What do two parts add together, on average over sets of the others of all sizes? |
# | k-SII | The same pairs, with other values of single parts, so that all sums to the similarity. |
# | Banzhaf at $p$ | Which sum of parts and pairs predicts the similarity best, if each part is present with probability $p$? |
# | Möbius, co-Möbius | What do two parts add together while all others are absent, or present? |
#
# A prediction for a coalition is the sum of the credits inside it. `r2` is the share of the variance of the similarity that it predicts.
# One sample gives all indices:

# %%
predicted = {}
cross = cp.LayerFactorisedInteractions(model, encoder.features).interactions((query, retrieved), n_samples=500)
for index in ("banzhaf", "faith-shap", "shapley-taylor"):
    shares = [found.as_index(index).r2 for found in (cross, fair)]
    predicted[index] = [share.item() for share in shares if share is not None]
    print("{:15} R² of the pairs between the images {:8.2f}, of all pairs {:5.2f}".format(index, *predicted[index]))

# %% [markdown]
# With the pairs between the images alone, only the Banzhaf index predicts the similarity: its single parts are fitted to the pairs that are
# known. With all pairs the others come nearer. For *correspondences* the index matters little here: on the cells of the built-in pairs,
# faithfulness and mIoU of the projected object differ by at most 0.01. On superpixels the Banzhaf index finds the object better than
# Shapley–Taylor (`python tutorials/measurements/indices.py`). So `explain` shows the pairs of the Banzhaf index at $p = 1/2$, and heat maps
# that are Shapley values of each image while the other one is whole. Take Shapley–Taylor if you need a split that sums to the similarity.
#
# ## CAM and GradCAM
#
# If the query is fixed, the similarity is a classifier of retrieved images with a single class, and the weights of this class are the
# query's embedding. `given_query` returns this classifier, and Captum's own classes accept it. For a dot product, its class activation map,
# its GradCAM and first-order SAM are the same map:

# %%
cam = captum.attr.LayerGradCam(dot.given_query(query), encoder.features).attribute(retrieved)
assert isinstance(cam, Tensor)  # of one layer
difference_to_sam = (cam[0, 0] - map_by_hand).abs().max()
print(f"largest difference between GradCAM and SAM {difference_to_sam:.1e}, of credit up to {map_by_hand.max():.2f}")

# %% [markdown]
# GradCAM averages the gradient over positions before it multiplies the gradient and the features: $\sum_c y_{chw}\, \mathrm{GAP}(\nabla_y
# s)_c$. This has no effect if the gradient is the same at all positions, but is wrong otherwise. The paper's example (§A.4) is a similarity
# that ignores the left half of the retrieved image, $\cos(\mathrm{GAP}(x), \mathrm{GAP}(y \odot M))$ with $M = 0$ on the left. All
# positions on the left are dummies.


# %%
class RightHalf(nn.Module):
    """`y ⊙ M`, with `M` zero for the columns `w ≤ W/2`, counted from 1."""

    def forward(self, maps: Tensor) -> Tensor:
        """Set the left half to 0."""
        return maps * seen


seen = torch.arange(1, 8) > 7 / 2  # four of seven columns
blind = cp.SplitEncoder(copy.deepcopy(encoder), RightHalf())  # features, then the layers after them
half_blind, layers = cp.SimilarityWrapper(encoder, blind), (encoder, blind.features)
left, right, _ = skimage.data.stereo_motorcycle()
views = encoder.preprocess(left), encoder.preprocess(right)

grad_cam = captum.attr.LayerGradCam(half_blind.given_query(views[0]), layers[1]).attribute(views[1])
assert isinstance(grad_cam, Tensor)
_, sampled = cp.LayerKernelSAM(half_blind, layers).interactions(views, n_samples=5000)
maps = {
    "GradCAM": grad_cam[:, 0].detach(),
    "KSAM": sampled["marginal"].reshape(1, 7, 7),
    "IG-SAM": cp.LayerIGSAM(half_blind, layers).attribute(views)[1][:, 0],
}
shares = {name: (credit[..., ~seen].abs().sum() / credit.abs().sum()).item() for name, credit in maps.items()}
for name, share in shares.items():
    print(f"{name}: {share:.2%} of the absolute credit is on the half that the similarity ignores")

# %%
figure = visualization.heatmap_figure(views[1], maps)
figure

# %% [markdown]
# GradCAM gives more than half of its credit to positions without any influence. Integrated gradients (IG-SAM, [page
# 4](04_integrated_hessians.ipynb)) give exactly 0 to these positions. KSAM estimates Shapley values from sampled coalitions. The Shapley
# values there are also 0; the rest is sampling noise, as the standard errors show:

# %%
errors = sampled.standard_error
assert errors is not None
is_unsure = (sampled["marginal"].abs() <= 2 * errors["marginal"]).reshape(7, 7)[:, ~seen]
print(f"{is_unsure.double().mean():.0%} of KSAM's positions on this half are within two standard errors of 0")

# %% [markdown]
# Conclusion: for pooled maps and a dot product use SAM, which is exact and needs no additional passes. For any other similarity use a
# method that satisfies the axioms: `LayerFactorisedShapleyTaylor` for two towers, and the methods of the [next
# page](03_an_opaque_box.ipynb) for any other similarity.
