# %% [markdown]
# # Captum's own classes on a similarity
#
# You may have a pipeline of [Captum](https://captum.ai) classes already. A `SimilarityWrapper` is an ordinary forward function of two
# inputs, and has three views that are functions of one, so that Captum's classes run on it unchanged:
#
# | handed to Captum | is | explains |
# |---|---|---|
# | `model` | $f(x, y) \to [B]$ | both photos; a tuple goes in, and a tuple comes out |
# | `model.given_query(x)` | $f(y) \to [B]$ | the retrieved photo |
# | `model.given_retrieved(y)` | $f(x) \to [B]$ | the query |
# | `model.given_gallery(ys)` | $f(x) \to [B, K]$ | the query, for the item that `target` picks |
#
# Ten classes follow, on two views of a motorcycle. Budgets are small, for a page that runs in half a minute on one core; with larger ones
# the maps get cleaner. (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
import warnings
from typing import Any

import captum.attr as ca
import numpy as np
import skimage.data
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression
from captum.attr import visualization
from captum.metrics import infidelity
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

import captum_pairwise as cp
from captum_pairwise import backbones
from captum_pairwise.visualization import heatmap_figure

torch.manual_seed(0)
np.random.seed(0)  # GradientShap draws from it

encoder = backbones.create("efficientnet_lite0")
model = cp.SimilarityWrapper(encoder)
left, right, _ = skimage.data.stereo_motorcycle()
query, retrieved = encoder.preprocess(left), encoder.preprocess(right)
at_once: dict[str, Any] = {"perturbations_per_eval": 8}  # images in a forward pass; Captum's default of one is slower

# %% [markdown]
# Captum's default for what is left out is 0, which is black. Here it is a blur of the photo, as everywhere in this package: pass it as
# `baselines`. Methods that leave parts out get superpixels as Captum's `feature_mask`.

# %%
query_blur, retrieved_blur = cp.blur_baseline(query), cp.blur_baseline(retrieved)
query_parts, retrieved_parts = cp.superpixels(query, n_segments=20), cp.superpixels(retrieved, n_segments=20)
photos, blurs = (query, retrieved), (query_blur, retrieved_blur)
with torch.no_grad():
    print(f"similarity of the photos {model(*photos).item():.4f}, of their blurs {model(*blurs).item():.4f}")


def smooth(credit: Any) -> Tensor:
    """Credit of pixels averaged over squares of 9, as single pixels do not show."""
    return avg_pool2d(credit.sum(1, keepdim=True), 9, 1, 4)


# %% [markdown]
# ## Two inputs: the wrapper itself
#
# `IntegratedGradients` is handed the wrapper and both photos, and returns two maps. For `FeatureAblation` the ids of the second mask start
# where those of the first end: an id that both masks have would be *one* part for Captum, in both photos.

# %%
gradients = ca.IntegratedGradients(model).attribute(photos, blurs, n_steps=12)
masks = query_parts, retrieved_parts + query_parts.max() + 1
ablation = ca.FeatureAblation(model).attribute(photos, blurs, feature_mask=masks, **at_once)

# %% [markdown]
# ## Layers of a network that runs twice
#
# A similarity runs one encoder on two photos. Captum keeps *one* output per module, the last, so a layer method on a naive model is
# silently wrong: it attributes to the layer as it saw the second photo, and never sees the first.


# %%
class Naive(torch.nn.Module):
    """The same similarity, with the encoder called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        embeddings = [self.encoder(image).mean((2, 3)) for image in (one, other)]
        return torch.cosine_similarity(*embeddings)


naive_map = ca.LayerGradCam(Naive(), encoder.features).attribute(photos)
layers = model.tower_layers(encoder.features)  # of the query's tower, and of its twin
of_query, of_retrieved = (ca.LayerGradCam(model, layer).attribute(photos) for layer in layers)
torch.testing.assert_close(naive_map, of_retrieved)  # and of_query is lost

# %% [markdown]
# The wrapper runs the retrieved photo through a *twin* of the encoder: other module objects over the same parameters. `tower_layers` names
# the layer in both. Methods that take a list of layers take both at once.

# %%
warnings.filterwarnings("ignore", "Multiple layers provided")  # Captum warns of layers that depend on each other; towers do not
in_layers = ca.LayerIntegratedGradients(model, layers).attribute(photos, blurs, n_steps=12)
maps: dict[str, Any] = {
    "IntegratedGradients": [smooth(one) for one in gradients],
    "FeatureAblation": ablation,
    "LayerGradCam": (of_query, of_retrieved),
    "LayerIntegratedGradients": in_layers,
}
heatmap_figure(photos, {name: tuple(both) for name, both in maps.items()})

# %% [markdown]
# ## The query fixed: functions of one photo
#
# `given_query` embeds the query once. What remains is a function of one photo, which is what most of Captum's examples have. `KernelShap`
# is efficient at any budget: its credit sums to $v(x, y) - v(x, \mathrm{blur}(y))$. Captum paints the whole credit of a superpixel on each
# of its numbers, so divide it among them before you sum.

# %%
forward = model.given_query(query)
due = (forward(retrieved) - forward(retrieved_blur)).item()


def shared(credit: Tensor, parts: Tensor) -> Tensor:
    """Credit that is painted on every number of a part, shared among these numbers."""
    return credit / (parts.unique(return_counts=True)[1][parts] * credit.shape[1])


shap = ca.KernelShap(forward).attribute(retrieved, retrieved_blur, feature_mask=retrieved_parts, n_samples=60, **at_once)
shap_sum = shared(shap, retrieved_parts).sum().item()
print(f"KernelShap: credit sums to {shap_sum:+.4f}; due are {due:+.4f}")

# %% [markdown]
# `Occlusion` slides a window that shows the blur. `NoiseTunnel` averages `Saliency` over noisy copies.

# %%
occlusion = ca.Occlusion(forward).attribute(
    retrieved, sliding_window_shapes=(3, 56, 56), strides=(3, 42, 42), baselines=retrieved_blur, **at_once
)
noisy = ca.NoiseTunnel(ca.Saliency(forward)).attribute(retrieved, nt_samples=4, stdevs=0.05)
heatmap_figure(
    retrieved,
    {"KernelShap": shap, "Occlusion": occlusion, "NoiseTunnel(Saliency)": smooth(noisy)},
    title="The retrieved photo, given the query",
)

# %% [markdown]
# **Fix one query, not a batch, where a class repeats its examples.** Most of Captum's classes repeat a whole batch, $y_1 y_2 y_1 y_2$, and
# `given_query` repeats its queries likewise. `NoiseTunnel`, `GradientShap`, `DeepLiftShap` and the metrics repeat each example in turn,
# $y_1 y_1 y_2 y_2$, and $x_2$ meets $y_1$. Without any noise `NoiseTunnel` has to return what `Saliency` does. With one fixed query it
# does; with two it does not; the wrapper, whose queries are an input and are repeated too, is right for any batch.

# %%


def off(function: torch.nn.Module, inputs: Any) -> float:
    """How far `NoiseTunnel` without noise is from what it repeats, beside the largest credit."""
    saliency = ca.Saliency(function)
    plain, repeated = saliency.attribute(inputs), ca.NoiseTunnel(saliency).attribute(inputs, nt_samples=2, stdevs=0.0)
    plain, repeated = (maps[-1] if isinstance(maps, tuple) else maps for maps in (plain, repeated))
    return ((repeated - plain).abs().max() / plain.abs().max()).item()


two_queries = torch.cat([query, encoder.preprocess(skimage.data.coffee())]).requires_grad_()
two_retrieved = torch.cat([retrieved, encoder.preprocess(skimage.data.chelsea())]).requires_grad_()
wrong = {
    "one query fixed": off(forward, two_retrieved),
    "two queries fixed": off(model.given_query(two_queries), two_retrieved),
    "the wrapper": off(model, (two_queries, two_retrieved)),
}
print("; ".join(f"{name}: off by {error:.0%}" for name, error in wrong.items()))

# %% [markdown]
# ## The retrieved photo fixed
#
# `given_retrieved` is the mirror image. `ShapleyValueSampling` is efficient, too. Captum's `Lime` fits a Lasso whose default penalty of
# 0.01 takes credits as small as these for 0: hand it another linear model.

# %%
backward = model.given_retrieved(retrieved)
due_of_query = (backward(query) - backward(query_blur)).item()
sampling = ca.ShapleyValueSampling(backward).attribute(query, query_blur, feature_mask=query_parts, n_samples=3, **at_once)
sampling_sum = shared(sampling, query_parts).sum().item()
lime = ca.Lime(backward, SkLearnLinearRegression()).attribute(query, query_blur, feature_mask=query_parts, n_samples=60, **at_once)
print(f"ShapleyValueSampling: credit sums to {sampling_sum:+.4f}; due are {due_of_query:+.4f}")

# %% [markdown]
# ## A gallery: which item?
#
# `given_gallery` scores the query against every item. `target` is the item to explain, here the coffee, which is not similar: what speaks
# for it?

# %%
others = [encoder.preprocess(photo) for photo in (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea())]
search = model.given_gallery(torch.cat([retrieved, *others]))
scores = search(query)[0].detach()
print("similarities:", ", ".join(f"{score:.3f}" for score in scores))
gradient_shap = ca.GradientShap(search).attribute(query, query_blur, n_samples=12, target=2)
heatmap_figure(
    query,
    {
        "ShapleyValueSampling": sampling,
        "Lime": lime,
        "GradientShap, target=2": smooth(gradient_shap),
    },
    title="The query, given one retrieved photo, or a gallery",
)

# %% [markdown]
# ## Captum's metrics
#
# They take the same functions. `infidelity` asks how well a map tells what happens when random squares are blurred; a map that gives no
# credit at all is what it has to beat.


# %%
def squares_blurred(photo: Tensor, blurred: Tensor) -> tuple[Tensor, Tensor]:
    """Which numbers go, half of the squares of 32 pixels at random, and the photo without them."""
    goes = interpolate((torch.rand(len(photo), 1, 7, 7) > 0.5).float(), photo.shape[2:]).expand_as(photo)
    return goes, photo + goes * (blurred - photo)


misses = {}
for name, credit in (("KernelShap's map", shared(shap, retrieved_parts)), ("no credit at all", torch.zeros_like(shap))):
    torch.manual_seed(0)  # the same squares for both
    misses[name] = infidelity(forward, squares_blurred, retrieved, credit, retrieved_blur, n_perturb_samples=16).item()
print("infidelity:", ", ".join(f"{miss:.1e} of {name}" for name, miss in misses.items()))

# %% [markdown]
# ## Captum's pictures
#
# Maps are ordinary tensors, so `visualize_image_attr` draws them as it draws any other.

# %%
figure = Figure(figsize=(8, 3.6), layout="constrained")
photo, credit = (one[0].permute(1, 2, 0).numpy() for one in (retrieved, shap))
panels = zip(figure.subplots(1, 2), ("blended_heat_map", "masked_image"), ("all", "positive"), strict=True)
for panel, look, sign in panels:
    visualization.visualize_image_attr(credit, photo, look, sign, (figure, panel), title=f"{look}, {sign}", use_pyplot=False)
figure

# %% [markdown]
# ## Which to take?
#
# Captum's classes explain single parts. None of them knows that a similarity has two towers, so each sees both photos as one input, or one
# photo while the other is fixed. For *pairs* of parts, and for methods that use the towers, take those of this package:
# `cp.LayerFactorisedShapleyTaylor` and the others of the README's table. `python -m captum_pairwise.testing.method_table` prints it.
