# %% [markdown]
# # From search activation maps to Shapley–Taylor
#
# Search activation maps (SAM) explain a similarity with one line of algebra. This page derives them by hand, says what the line is a
# special case of, and shows what is lost where it is used outside of that case:
#
# 1. For averaged feature maps and a dot product, SAM *is* the answer.
# 2. The Shapley–Taylor index is the answer in general, because five axioms leave no other.
# 3. Under a cosine the two differ, and by how much is a number.
# 4. CAM and GradCAM are SAM for a classifier. GradCAM gives credit to parts that nothing depends on.

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
# A network ends in feature maps $x$ and $y$ of the query and the retrieved image, `[1280, 7, 7]`. Global average pooling makes embeddings
# of them, and a dot product compares these. Both are sums over positions, so the similarity is a sum over *pairs* of positions:
#
# $$s = \Big\langle \frac{1}{HW}\sum_{hw} x_{hw},\ \frac{1}{HW}\sum_{ij} y_{ij} \Big\rangle
# = \sum_{hw}\sum_{ij} \frac{1}{(HW)^2} \langle x_{hw}, y_{ij} \rangle$$
#
# The summand is the credit of position $hw$ of the query together with position $ij$ of the retrieved image: SAM of the second order.
# Summed over the query's positions it is the first order, a map of the retrieved image.

# %%
with torch.no_grad():
    x, y = encoder.feature_maps(query)[0], encoder.feature_maps(retrieved)[0]
by_hand = torch.einsum("chw,cij->hwij", x, y) / (7 * 7) ** 2
map_by_hand = torch.einsum("c,cij->ij", x.mean((1, 2)), y) / (7 * 7)

dot = cp.SimilarityWrapper(encoder, similarity="dot")
of_class = cp.LayerPairwiseSAM(dot, encoder.features).attribute((query, retrieved))
_, map_of_class = cp.LayerSAM(dot, encoder.features).attribute((query, retrieved))
print(f"similarity {dot(query, retrieved).item():.4f}, all pairs together {by_hand.sum().item():.4f}")
of_pairs, of_maps = (by_hand - of_class[0]).abs().max(), (map_by_hand - map_of_class[0, 0]).abs().max()
print(f"largest difference to LayerPairwiseSAM {of_pairs:.1e}, to LayerSAM {of_maps:.1e}")

# %% [markdown]
# The class also takes a baseline $b$, then with $y - b$ in the place of $y$; and linear layers after the pooling, which it folds in.
#
# ## What is fair
#
# Everything above rests on the similarity being a sum. What if it is not? Game theory asks what a fair share is for *any* function of who
# takes part. The smallest example has four players: wheel and sky of the query, 0 and 1, and wheel and sky of the retrieved image, 2 and 3.
# A *game* says what every coalition is worth.

# %%
NAMES = "query's wheel", "query's sky", "retrieved wheel", "retrieved sky"


def game(worth: Callable[[set[int]], float]) -> Tensor:
    """The values of all 16 coalitions, entry `S` at the number whose bit `i` says that player `i` is in."""
    members = [{i for i in range(4) if mask >> i & 1} for mask in range(16)]
    return torch.tensor([worth(present) for present in members], dtype=torch.float64)


def worth(present: set[int]) -> float:
    """Two wheels are alike; the query's wheel is rather like the retrieved sky, but only while the query's sky is there, too."""
    return 3 * ({0, 2} <= present) + 1 * ({0, 1, 3} <= present)


values = game(worth)
dividends = cp.harsanyi_dividends(values)
for mask in dividends.nonzero()[:, 0].tolist():
    print(f"dividend {dividends[mask]:+.0f}: {', '.join(name for i, name in enumerate(NAMES) if mask >> i & 1)}")

# %% [markdown]
# A *dividend* is what a coalition adds to all of its parts: the game, taken apart. Dividends of one player are that player's, and those of
# two belong to the pair. The question is only who gets the dividend of three. The **Shapley–Taylor index** of the second order splits it
# evenly among the pairs inside: $\varphi_{ij} = \sum_{T \ni i, j} d(T) \big/ \binom{|T|}{2}$.

# %%
empty, first, second = cp.shapley_taylor(values)
for i in range(4):
    print(f"{NAMES[i]:16}" + "".join(f"{value:7.3f}" for value in second[i].tolist()))

# %% [markdown]
# The pair of wheels has its 3, and each pair among the other three players a third of 1. Five axioms single this index out:
#
# * **Efficiency**: $v(\emptyset)$ and all credit sum to $v(N)$. Nothing is invented, nothing lost.
# * **Dummy**: a player that adds the same to every coalition gets that, and nothing in pairs.
# * **Symmetry**: players that do the same get the same.
# * **Linearity**: credits of a sum of games are the sum of their credits.
# * **Interaction distribution**: what three or more do together goes to pairs, none of it to single players.
#
# All are claims about numbers, so look at the numbers:

# %%
print(f"single players have {first.abs().sum():.4f} in all")
credit = empty + first.sum() + second.triu().sum()
print(f"efficiency: credit {credit:.4f}, v(N) {values[-1]:.4f}")

_, alone, together = cp.shapley_taylor(game(lambda present: worth(present - {1}) + 0.5 * (1 in present)))
print(f"dummy: the query's sky adds 0.5 whoever is there: alone {alone[1]:.4f}, in pairs {together[1].abs().sum():.4f}")

_, _, symmetric = cp.shapley_taylor(game(lambda present: len(present & {0, 1}) * len(present & {2, 3}) ** 2))
print(f"symmetry: wheel and sky do the same in both images: {symmetric[0, 2]:.4f} = {symmetric[0, 3]:.4f} = {symmetric[1, 2]:.4f}")

other = torch.rand(16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
difference = cp.shapley_taylor(2 * values + other)[2] - (2 * second + cp.shapley_taylor(other)[2])
print(f"linearity: largest difference {difference.abs().max():.1e}")

# %% [markdown]
# Single parts then get half of each of their pairs, which is the **Shapley value**, the index of the first order:

# %%
shapley = cp.shapley_values(values)
print("Shapley values        ", [round(value, 3) for value in shapley.tolist()])
print("first + half the pairs", [round(value, 3) for value in (first + second.sum(1) / 2).tolist()])

# %% [markdown]
# ## SAM is Shapley–Taylor, where it is a sum
#
# Now the photos again. Let each quarter of a feature map be a player, so that all $2^{4+4} = 256$ coalitions can be tried. An absent
# quarter shows 0.

# %%
quarters = cp.grid(7, 7, 2, 2)  # ids of the positions, [1, 1, 7, 7]
coalitions = torch.tensor([[mask >> i & 1 for i in range(8)] for mask in range(256)]).float()
of_query = (coalitions[:, :4][:, quarters[0]] * x).mean((2, 3))  # an embedding of every coalition
of_retrieved = (coalitions[:, 4:][:, quarters[0]] * y).mean((2, 3))

_, first, second = cp.shapley_taylor((of_query * of_retrieved).sum(1).double())
sam = cp.LayerPairwiseSAM(dot, encoder.features).attribute((query, retrieved), layer_mask=(quarters, quarters))[0]
print(f"Shapley–Taylor and SAM differ by {(second[:4, 4:] - sam).abs().max():.1e}; the largest pair is {sam.max():.3f}")
within = torch.stack([second[:4, :4], second[4:, 4:]])
print(f"all else is 0: single players {first.abs().max():.1e}, pairs within an image {within.abs().max():.1e}")

# %% [markdown]
# For pooled maps and a dot product there is nothing but pairs between the images, and SAM is their fair credit, in closed form.
#
# ## What a cosine changes
#
# Most searches compare *directions*: embeddings are divided by their norms, and the norm of an image depends on all of its parts. A part
# that joins makes all others count for less, so parts of one image interact, and single parts have credit of their own. SAM freezes both
# norms where both images are whole. That is all it can do, and it no longer adds up. The Shapley–Taylor index does. (With a cosine, 0 has
# no direction; a blur is the baseline from here on.)

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
print(f"pairs between the images: correlation {correlation:.3f}, and SAM's are {scale:.2f} times as large")

# %% [markdown]
# The pairs between the images are still much the same, which is why SAM's pictures look right. Their size is not, and SAM's gap is larger
# than all there was to explain. The index also says what SAM cannot: parts *within* an image take credit from each other, because the
# second wheel adds less to the direction of an embedding than the first.
#
# ## CAM and GradCAM
#
# Fix the query, and the similarity is a classifier of retrieved images with a single class, whose weights are the query's embedding.
# `given_query` makes this classifier, and Captum's own classes take it. With a dot product its class activation map, its GradCAM and the
# first order of SAM are the same map:

# %%
cam = captum.attr.LayerGradCam(dot.given_query(query), encoder.features).attribute(retrieved)
assert isinstance(cam, Tensor)  # of one layer
difference_to_sam = (cam[0, 0] - map_by_hand).abs().max()
print(f"largest difference between GradCAM and SAM {difference_to_sam:.1e}, of credit up to {map_by_hand.max():.2f}")

# %% [markdown]
# GradCAM averages the gradient over positions before it meets the features: $\sum_c y_{chw}\, \mathrm{GAP}(\nabla_y s)_c$. That changes
# nothing as long as the gradient is the same everywhere, and goes wrong where it is not. The paper's example (§A.4) is a similarity that
# ignores the left half of the retrieved image, $\cos(\mathrm{GAP}(x), \mathrm{GAP}(y \odot M))$ with $M = 0$ on the left. All positions
# there are dummies.


# %%
class RightHalf(nn.Module):
    """`y ⊙ M`, with `M` zero for the columns `w ≤ W/2`, counted from 1."""

    def forward(self, maps: Tensor) -> Tensor:
        """Blind the left half."""
        return maps * seen


seen = torch.arange(1, 8) > 7 / 2  # of seven columns four
blind = cp.SplitEncoder(copy.deepcopy(encoder), RightHalf())  # features, then what follows them
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
    print(f"{name}: {share:.2%} of the absolute credit is on the half that the similarity cannot see")

# %%
figure = visualization.heatmap_figure(views[1], maps)
figure

# %% [markdown]
# GradCAM paints more than half of its credit where nothing can matter. Integrated gradients (IG-SAM, [page
# 4](04_integrated_hessians.ipynb)) give exactly 0 there. KSAM estimates Shapley values from coalitions, which do, too; the rest is noise of
# sampling, as its standard errors say:

# %%
errors = sampled.standard_error
assert errors is not None
is_unsure = (sampled["marginal"].abs() <= 2 * errors["marginal"]).reshape(7, 7)[:, ~seen]
print(f"{is_unsure.double().mean():.0%} of KSAM's positions there are within two standard errors of 0")

# %% [markdown]
# So: for pooled maps and a dot product take SAM, which is exact and costs nothing. For anything else take a method that keeps the axioms
# there: `LayerFactorisedShapleyTaylor` for two towers, and for any other similarity those of the [next page](03_an_opaque_box.ipynb).
