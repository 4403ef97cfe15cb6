# %% [markdown]
# # How it works
#
# After this page you can
#
# * compute the credit of pairs by hand where a formula exists, and say where it ends;
# * say what "fair" means, and choose between interaction indices;
# * say how a few hundred network passes estimate thousands of pairs;
# * say why GradCAM gives credit to parts that nobody looks at.
#
# (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
import copy

import captum.attr
import skimage.data
import torch
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import visualization

encoder = cp.backbones.create("efficientnet_lite0")
left, right, _ = skimage.data.stereo_motorcycle()
query, retrieved = encoder.preprocess(left), encoder.preprocess(right)

# %% [markdown]
# ## Where a formula exists: SAM
#
# A network ends in feature maps $x$ and $y$, `[1280, 7, 7]`. Pooling averages them, and a dot product compares the averages. Both are sums
# over positions, so the similarity is a sum over *pairs* of positions:
#
# $$s = \Big\langle \frac{1}{HW}\sum_{hw} x_{hw},\ \frac{1}{HW}\sum_{ij} y_{ij} \Big\rangle
# = \sum_{hw}\sum_{ij} \frac{1}{(HW)^2} \langle x_{hw}, y_{ij} \rangle$$
#
# Each term is the credit of one pair: the search activation map (SAM) of second order.

# %%
with torch.no_grad():
    x, y = encoder.feature_maps(query)[0], encoder.feature_maps(retrieved)[0]
by_hand = torch.einsum("chw,cij->hwij", x, y) / (7 * 7) ** 2
dot = cp.SimilarityWrapper(encoder, similarity="dot")
of_class = cp.LayerPairwiseSAM(dot, encoder.features).attribute((query, retrieved))
print(f"similarity {dot(query, retrieved).item():.3f}, sum of all pairs {by_hand.sum().item():.3f}")
print("equal to LayerPairwiseSAM:", torch.allclose(by_hand, of_class[0], atol=1e-5))

# %% [markdown]
# ## What is fair
#
# Most similarities are no such sum. Game theory defines fair shares for *any* function $v$ of a set of players. Take four players: wheel
# and sky of the query, and wheel and sky of the result. The two wheels are similar: 3. The query's wheel is also similar to the
# result's sky, but only if the query's sky is present: 1.

# %%
names = "query's wheel", "query's sky", "result's wheel", "result's sky"
coalitions = [{i for i in range(4) if mask >> i & 1} for mask in range(16)]
values = torch.tensor([3.0 * ({0, 2} <= present) + 1.0 * ({0, 1, 3} <= present) for present in coalitions])
_, alone, together = cp.shapley_taylor(values)
for name, row in zip(names, together.tolist(), strict=True):
    print(f"{name:15}" + "".join(f"{value:7.2f}" for value in row))

# %% [markdown]
# The wheels get their 3. What needs three players is shared equally by the pairs among them, a third each. This is the **Shapley–Taylor
# index**, the only one with five properties: all credit sums to $v(N) - v(\emptyset)$; a player without effect gets nothing; players with
# the same effect get the same; the credit of a sum of games is the sum of their credits; and what needs several players goes to pairs,
# never to single players. A player's own credit and half of its pairs is its **Shapley value**.
#
# For pooled maps and a dot product, SAM *is* this index. For a cosine it is not: the norm of an embedding depends on all parts of its
# image, so the parts of one image compete. SAM ignores that, and its credit no longer has the right sum:

# %%
model = cp.SimilarityWrapper(encoder)  # cosine
blurs = cp.blur_baseline(query), cp.blur_baseline(retrieved)
parts = cp.grid(7, 7, 4, 4), cp.grid(7, 7, 4, 4)  # 16 parts of each photo, to save time
sam = cp.LayerPairwiseSAM(model, encoder.features).interactions((query, retrieved), blurs, layer_mask=parts)
fair = cp.LayerFactorisedShapleyTaylor(model, encoder.features, within=True).interactions(
    (query, retrieved), n_samples=500, layer_mask=parts
)
print(f"v(N) - v(∅) {(fair.full - fair.empty).item():+.3f}")
for name, result in {"SAM": sam, "Shapley–Taylor": fair}.items():
    print(f"{name:15} misses {abs(result.completeness_gap.item()):.3f} of it")

# %% [markdown]
# ## Which index?
#
# Every index averages the joint effect of two parts, $v(S \cup ij) - v(S \cup i) - v(S \cup j) + v(S)$, over sets $S$ of other parts. They
# differ in how often the others are present, and answer different questions:
#
# | index | question |
# |---|---|
# | Banzhaf at $p$ | Which sum of parts and pairs predicts the similarity best, if each part is present with probability $p$? |
# | Shapley–Taylor | What is the fair split that sums to the similarity? |
# | Faith-Shap | Of the splits that sum to it, which predicts best? |
# | Möbius, co-Möbius | What do two parts add while all others are absent, or present? |
#
# `explain` shows Banzhaf pairs at 1/2, and Shapley values as maps. One sample gives all indices. $R^2$ is the share of the similarity's
# changes that the credits predict:

# %%
predicted = {}
between = cp.LayerFactorisedInteractions(model, encoder.features).interactions((query, retrieved), n_samples=500, layer_mask=parts)
for index in ("banzhaf", "faith-shap", "shapley-taylor"):
    shares = [result.as_index(index).r2 for result in (between, fair)]
    predicted[index] = [share.item() for share in shares if share is not None]
    print("{:15} R² with pairs between the photos alone {:7.1f}, with all pairs {:4.1f}".format(index, *predicted[index]))

# %% [markdown]
# ## How thousands of pairs are estimated
#
# 49 + 49 parts have $2^{98}$ coalitions. But each photo is embedded *alone*: if $u(A)$ embeds the query with the parts $A$, and
# $w(B)$ the result with the parts $B$, the similarity is $\langle u(A), w(B) \rangle$, and the joint effect of a pair is a product of two
# differences. So every index is
#
# $$\phi_{ij} = \int_0^1 f(p)\, \big\langle \mathbb{E}_p[u(A \cup i) - u(A)],\ \mathbb{E}_p[w(B \cup j) - w(B)] \big\rangle\, dp$$
#
# with a weight $f$ of the index. A few hundred embeddings of each photo determine the means, and all pairs follow. After a layer, only the
# rest of the network runs. Coalitions that were kept apart measure $R^2$.
#
# If the network is differentiable, slopes can replace differences: all parts fade in together, and a few derivatives along the way are
# enough (integrated Hessians; the paper's §A.14):

# %%
path = cp.LayerIntegratedHessians(model, encoder.features, weight="taylor").interactions((query, retrieved), n_steps=4, layer_mask=parts)
both = torch.stack([path["between"].flatten(), fair["between"].flatten()])
print(f"4 points of the way: correlation with 500 coalitions of each photo {torch.corrcoef(both)[0, 1].item():.4f}")

# %% [markdown]
# ## Why not GradCAM?
#
# If the query is fixed, the similarity is a classifier with one class, and for a dot product GradCAM is SAM. But GradCAM averages the
# gradient over positions before it multiplies. Take a similarity that cannot see the left part of the result (the paper's §A.4):


# %%
class RightPart(nn.Module):
    """Set four of seven columns to 0."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps * (torch.arange(7) > 3)


blind = cp.SplitEncoder(copy.deepcopy(encoder), RightPart())  # features, then the layers after them
half_blind = cp.SimilarityWrapper(encoder, blind)
grad_cam = captum.attr.LayerGradCam(half_blind.given_query(query), blind.features).attribute(retrieved)
assert isinstance(grad_cam, Tensor)
_, ig_sam = cp.LayerIGSAM(half_blind, (encoder, blind.features)).attribute((query, retrieved))
maps = {"GradCAM": grad_cam[:, 0].detach(), "integrated gradients": ig_sam[:, 0]}
for name, credit in maps.items():
    print(f"{name}: {(credit[..., :4].abs().sum() / credit.abs().sum()).item():.0%} of the absolute credit is where nothing is seen")

# %% tags=["thumbnail"]
visualization.heatmap_figure(retrieved, maps)

# %% [markdown]
# All this is in the [paper](https://openreview.net/forum?id=TqNsv1TuCX9), but for the estimators and Banzhaf indices. Next: [write your own
# estimator](09_your_own_estimator.ipynb).
