# %% [markdown]
# # Captum's own classes on a similarity
#
# You may already have a pipeline of [Captum](https://captum.ai) classes. A `SimilarityWrapper` is an ordinary forward function of two
# inputs. It also has three views that are functions of one input. Captum's classes run on all of them without changes:
#
# | forward function | signature | explains |
# |---|---|---|
# | `model` | $f(x, y) \to [B]$ | both photos; takes a tuple and returns a tuple |
# | `model.given_query(x)` | $f(y) \to [B]$ | the retrieved photo |
# | `model.given_retrieved(y)` | $f(x) \to [B]$ | the query |
# | `model.given_gallery(ys)` | $f(x) \to [B, K]$ | the query, for the item that `target` selects |
#
# This page runs ten classes on two views of a motorcycle. The budgets are small, so that the page runs in half a minute on one core; larger
# budgets give maps with less noise. (`pip install 'captum-pairwise[tutorials]'`)

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
at_once: dict[str, Any] = {"perturbations_per_eval": 8}  # images in a forward pass; Captum's default of 1 is slower

# %% [markdown]
# Captum's default baseline is 0, which is black. Here the baseline is a blur of the photo, as everywhere in this package: pass it as
# `baselines`. Perturbation methods get superpixels as Captum's `feature_mask`.

# %%
query_blur, retrieved_blur = cp.blur_baseline(query), cp.blur_baseline(retrieved)
query_parts, retrieved_parts = cp.superpixels(query, n_segments=20), cp.superpixels(retrieved, n_segments=20)
photos, blurs = (query, retrieved), (query_blur, retrieved_blur)
with torch.no_grad():
    print(f"similarity of the photos {model(*photos).item():.4f}, of their blurs {model(*blurs).item():.4f}")


def smooth(credit: Any) -> Tensor:
    """Credit averaged over squares of 9×9 pixels, because single pixels are too small to see."""
    return avg_pool2d(credit.sum(1, keepdim=True), 9, 1, 4)


# %% [markdown]
# ## Two inputs: the wrapper itself
#
# `IntegratedGradients` takes the wrapper and both photos, and returns two maps. For `FeatureAblation`, the ids of the second mask start
# after the ids of the first mask: Captum treats an id that occurs in both masks as *one* part in both photos.

# %%
gradients = ca.IntegratedGradients(model).attribute(photos, blurs, n_steps=12)
masks = query_parts, retrieved_parts + query_parts.max() + 1
ablation = ca.FeatureAblation(model).attribute(photos, blurs, feature_mask=masks, **at_once)

# %% [markdown]
# ## Layers of a network that runs twice
#
# A similarity runs one encoder on two photos. Captum keeps only *one* output for each module, the last one. So a layer method on a naive
# model is wrong without a warning: it attributes to the layer's output for the second photo, and ignores the first.


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
layers = model.tower_layers(encoder.features)  # in the encoder, and in its twin
of_query, of_retrieved = (ca.LayerGradCam(model, layer).attribute(photos) for layer in layers)
torch.testing.assert_close(naive_map, of_retrieved)  # the map of the query is lost

# %% [markdown]
# `tower_layers` makes a *twin* of the encoder: different module objects with the same parameters. While a class of Captum runs, the wrapper
# passes the retrieved photo through the twin. Methods that accept a list of layers accept both at once.

# %%
warnings.filterwarnings("ignore", "Multiple layers provided")  # a warning about dependent layers; the towers are independent
in_layers = ca.LayerIntegratedGradients(model, layers).attribute(photos, blurs, n_steps=12)
maps: dict[str, Any] = {
    "IntegratedGradients": [smooth(one) for one in gradients],
    "FeatureAblation": ablation,
    "LayerGradCam": (of_query, of_retrieved),
    "LayerIntegratedGradients": in_layers,
}
heatmap_figure(photos, {name: tuple(both) for name, both in maps.items()})

# %% [markdown]
# ## Fixed query: functions of one photo
#
# `given_query` embeds the query once. The result is a function of one photo, as in most of Captum's examples. `KernelShap` is efficient at
# any budget: its credit sums to $v(x, y) - v(x, \mathrm{blur}(y))$. Captum writes the whole credit of a superpixel to each of its elements,
# so divide the credit among these elements before you sum it.

# %%
forward = model.given_query(query)
due = (forward(retrieved) - forward(retrieved_blur)).item()


def divide_among_pixels(credit: Tensor, parts: Tensor) -> Tensor:
    """The credit of each part, divided equally among the elements of the part."""
    return credit / (parts.unique(return_counts=True)[1][parts] * credit.shape[1])


shap = ca.KernelShap(forward).attribute(retrieved, retrieved_blur, feature_mask=retrieved_parts, n_samples=60, **at_once)
shap_sum = divide_among_pixels(shap, retrieved_parts).sum().item()
print(f"KernelShap: credit sums to {shap_sum:+.4f}; expected {due:+.4f}")

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
# **Fix one query, not a batch of queries, if a class repeats its examples.** Most of Captum's classes repeat the whole batch, $y_1 y_2 y_1
# y_2$, and `given_query` repeats its queries in the same way. But `NoiseTunnel`, `GradientShap`, `DeepLiftShap` and the metrics repeat each
# example, $y_1 y_1 y_2 y_2$, so $x_2$ is paired with $y_1$. Without noise, `NoiseTunnel` must return the same result as `Saliency`. With
# one fixed query it does; with two fixed queries it does not. The wrapper is correct for any batch, because its queries are an input and
# are repeated too.

# %%


def measure_error(function: torch.nn.Module, inputs: Any) -> float:
    """Largest difference of `NoiseTunnel` without noise from `Saliency`, relative to the largest credit."""
    saliency = ca.Saliency(function)
    plain, repeated = saliency.attribute(inputs), ca.NoiseTunnel(saliency).attribute(inputs, nt_samples=2, stdevs=0.0)
    plain, repeated = (maps[-1] if isinstance(maps, tuple) else maps for maps in (plain, repeated))
    return ((repeated - plain).abs().max() / plain.abs().max()).item()


two_queries = torch.cat([query, encoder.preprocess(skimage.data.coffee())]).requires_grad_()
two_retrieved = torch.cat([retrieved, encoder.preprocess(skimage.data.chelsea())]).requires_grad_()
wrong = {
    "one query fixed": measure_error(forward, two_retrieved),
    "two queries fixed": measure_error(model.given_query(two_queries), two_retrieved),
    "the wrapper": measure_error(model, (two_queries, two_retrieved)),
}
print("; ".join(f"{name}: error {error:.0%}" for name, error in wrong.items()))

# %% [markdown]
# ## Fixed retrieved photo
#
# `given_retrieved` fixes the retrieved photo in the same way. `ShapleyValueSampling` is efficient, too. Captum's `Lime` fits a Lasso; its
# default penalty of 0.01 sets credits as small as these to 0, so pass another linear model.

# %%
backward = model.given_retrieved(retrieved)
due_of_query = (backward(query) - backward(query_blur)).item()
sampling = ca.ShapleyValueSampling(backward).attribute(query, query_blur, feature_mask=query_parts, n_samples=3, **at_once)
sampling_sum = divide_among_pixels(sampling, query_parts).sum().item()
lime = ca.Lime(backward, SkLearnLinearRegression()).attribute(query, query_blur, feature_mask=query_parts, n_samples=60, **at_once)
print(f"ShapleyValueSampling: credit sums to {sampling_sum:+.4f}; expected {due_of_query:+.4f}")

# %% [markdown]
# ## A gallery: which item?
#
# `given_gallery` scores the query against every item. `target` is the item to explain. Here it is the coffee, which is not similar: which
# parts support it?

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
# Captum's metrics accept the same functions. `infidelity` measures how well a map predicts the change when random squares are blurred. A
# useful map must be better than a map without any credit.


# %%
def blur_squares(photo: Tensor, blurred: Tensor) -> tuple[Tensor, Tensor]:
    """Mask of random squares of 32×32 pixels, about half of them, and the photo with these squares blurred."""
    goes = interpolate((torch.rand(len(photo), 1, 7, 7) > 0.5).float(), photo.shape[2:]).expand_as(photo)
    return goes, photo + goes * (blurred - photo)


misses = {}
for name, credit in (("KernelShap's map", divide_among_pixels(shap, retrieved_parts)), ("no credit at all", torch.zeros_like(shap))):
    torch.manual_seed(0)  # the same squares for both
    misses[name] = infidelity(forward, blur_squares, retrieved, credit, retrieved_blur, n_perturb_samples=16).item()
print("infidelity:", ", ".join(f"{miss:.1e} for {name}" for name, miss in misses.items()))

# %% [markdown]
# ## Captum's figures
#
# Maps are ordinary tensors, so `visualize_image_attr` can draw them.

# %%
figure = Figure(figsize=(8, 3.6), layout="constrained")
photo, credit = (one[0].permute(1, 2, 0).numpy() for one in (retrieved, shap))
panels = zip(figure.subplots(1, 2), ("blended_heat_map", "masked_image"), ("all", "positive"), strict=True)
for panel, look, sign in panels:
    visualization.visualize_image_attr(credit, photo, look, sign, (figure, panel), title=f"{look}, {sign}", use_pyplot=False)
figure

# %% [markdown]
# ## Which class to use?
#
# Captum's classes explain single parts. None of them knows that a similarity has two towers, so each class sees both photos as one input,
# or one photo while the other is fixed. For *pairs* of parts, and for methods that use the towers, use the classes of this package:
# `cp.LayerFactorisedShapleyTaylor` and the other methods in the table of the README. `python -m captum_pairwise.testing.method_table`
# prints it.
