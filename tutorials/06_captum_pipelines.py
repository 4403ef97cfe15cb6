# %% [markdown]
# # Use Captum's classes on a similarity
#
# You may already have a pipeline of [Captum](https://captum.ai) classes. They run on a similarity without changes. After this page you can
#
# * explain two photos, one photo, or a gallery with any class of Captum;
# * use layer methods, which are wrong without a warning on a network that is called twice;
# * ask why one item of a gallery comes before another;
# * use Captum's metrics and figures.
#
# (`pip install 'captum-pairwise[tutorials]'`)
#
# A `SimilarityWrapper` is an ordinary forward function, and has three views:
#
# | forward function | signature | explains |
# |---|---|---|
# | `model` | $f(x, y) \to [B]$ | both photos; takes a tuple and returns a tuple |
# | `model.given_query(x)` | $f(y) \to [B]$ | the retrieved photo |
# | `model.given_retrieved(y)` | $f(x) \to [B]$ | the query |
# | `model.given_gallery(ys)` | $f(x) \to [B, K]$ | the query, for the item that `target` selects |

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 80}
from typing import Any

import captum.attr as ca
import skimage.data
import torch
from captum.attr import visualization
from captum.metrics import infidelity
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

import captum_pairwise as cp
from captum_pairwise.visualization import heatmap_figure

torch.manual_seed(0)  # Captum's classes draw from PyTorch's generator
encoder = cp.backbones.create("efficientnet_lite0")
model = cp.SimilarityWrapper(encoder)
left, right, _ = skimage.data.stereo_motorcycle()
query, retrieved = encoder.preprocess(left), encoder.preprocess(right)
photos, blurs = (query, retrieved), (cp.blur_baseline(query), cp.blur_baseline(retrieved))
at_once: dict[str, Any] = {"perturbations_per_eval": 8}  # images in a forward pass; Captum's default of 1 is slower


def smooth(credit: Any) -> Tensor:
    """Credit averaged over squares of 9×9 pixels, because single pixels are too small to see."""
    return avg_pool2d(credit.sum(1, keepdim=True), 9, 1, 4)


# %% [markdown]
# ## Two inputs: the wrapper itself
#
# Captum's default baseline is 0, which is black. Pass a blur as `baselines`, as everywhere in this package. Superpixels are Captum's
# `feature_mask`; the ids of the second mask start after those of the first, because Captum treats an id in both masks as *one* part.

# %%
query_parts, retrieved_parts = cp.superpixels(query, n_segments=20), cp.superpixels(retrieved, n_segments=20)
gradients = ca.IntegratedGradients(model).attribute(photos, blurs, n_steps=8)
masks = query_parts, retrieved_parts + query_parts.max() + 1
ablation = ca.FeatureAblation(model).attribute(photos, blurs, feature_mask=masks, **at_once)

# %% [markdown]
# ## Layers
#
# Captum keeps one output for each module, the last one. A network that is called twice, once for each photo, loses the first:


# %%
class Naive(torch.nn.Module):
    """The same similarity, with the encoder called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """The similarity of each pair."""
        embeddings = [self.encoder(image).mean((2, 3)) for image in (one, other)]
        return torch.cosine_similarity(*embeddings)


naive = ca.LayerGradCam(Naive(), encoder.features).attribute(photos)
layers = model.tower_layers(encoder.features)  # one for the query, one for the retrieved photo
layer_maps: Any = tuple(ca.LayerGradCam(model, layer).attribute(photos) for layer in layers)
for name, layer_map in zip(("query", "retrieved photo"), layer_maps, strict=True):
    print(f"largest difference of the naive map from that of the {name}: {(naive - layer_map).abs().max() / layer_map.abs().max():.2f}")

# %% [markdown]
# The naive model returns the map of the retrieved photo; that of the query is lost. `tower_layers` makes a *twin* of the encoder with the
# same parameters, so that each photo has a layer of its own.

# %%
maps: dict[str, Any] = {
    "IntegratedGradients": tuple(smooth(credit) for credit in gradients),
    "FeatureAblation": ablation,
    "LayerGradCam": layer_maps,
}
heatmap_figure(photos, maps)

# %% [markdown]
# ## A fixed query: functions of one photo
#
# `given_query` embeds the query once. `KernelShap` splits what the retrieved photo adds over its blur. Captum writes the credit of a
# superpixel to each of its elements, so divide it among them before you sum.

# %%
forward = model.given_query(query)
shap = ca.KernelShap(forward).attribute(retrieved, blurs[1], feature_mask=retrieved_parts, n_samples=60, **at_once)
occlusion = ca.Occlusion(forward).attribute(
    retrieved, sliding_window_shapes=(3, 56, 56), strides=(3, 42, 42), baselines=blurs[1], **at_once
)
shap_by_pixel = shap / (retrieved_parts.unique(return_counts=True)[1][retrieved_parts] * shap.shape[1])
with torch.no_grad():
    added = (forward(retrieved) - forward(blurs[1])).item()
print(f"KernelShap: credit sums to {shap_by_pixel.sum():.3f}, expected {added:.3f}")
heatmap_figure(retrieved, {"KernelShap": shap, "Occlusion": occlusion})

# %% [markdown]
# **Fix one query, not a batch.** `NoiseTunnel`, `GradientShap`, `DeepLiftShap` and the metrics repeat each example, $y_1 y_1 y_2 y_2$, so
# that the fixed $x_2$ would meet $y_1$. For a batch of pairs, use the wrapper itself.
#
# **`Lime` fits a Lasso** whose default penalty sets small credits to 0. Pass `SkLearnLinearRegression()` of
# `captum._utils.models.linear_model`.
#
# ## A gallery: which item, and why before another?
#
# `target` is the number of an item. The `margins()` of a gallery are all differences of two scores: `target=(i, j)` asks why item $i$ comes
# before item $j$. The query is a collage of a cat and a cup, and the gallery has one photo of each.

# %% tags=["thumbnail"]
cat, cup = (encoder.preprocess(photo) for photo in (skimage.data.chelsea(), skimage.data.coffee()))
collage = torch.cat([cat[..., 56:168], cup[..., 56:168]], 3)
search = model.given_gallery(torch.cat([cat, cup]))
print("similarities to cat and cup:", ", ".join(f"{score:.3f}" for score in search(collage)[0].detach()))
targets: dict[str, Any] = {"cat": (search, 0), "cup": (search, 1), "cup, not cat": (search.margins(), (1, 0))}
maps = {
    name: ca.LayerIntegratedGradients(function, encoder.features).attribute(collage, cp.blur_baseline(collage), target=target, n_steps=8)
    for name, (function, target) in targets.items()
}
heatmap_figure(collage, maps, one_scale=True)

# %% [markdown]
# ## Captum's metrics and figures
#
# `infidelity` measures how badly a map predicts the change when random squares are blurred. A useful map is better than no credit at all.


# %%
def blur_squares(photo: Tensor, blurred: Tensor) -> tuple[Tensor, Tensor]:
    """Mask of random squares of 32×32 pixels, about half of them, and the photo with these squares blurred."""
    goes = interpolate((torch.rand(len(photo), 1, 7, 7) > 0.5).float(), photo.shape[2:]).expand_as(photo)
    return goes, photo + goes * (blurred - photo)


for name, credit in (("KernelShap", shap_by_pixel), ("no credit", torch.zeros_like(shap))):
    torch.manual_seed(0)  # the same squares for both
    print(f"infidelity of {name}: {infidelity(forward, blur_squares, retrieved, credit, blurs[1], n_perturb_samples=16).item():.4f}")

figure = Figure(figsize=(8, 3.6), layout="constrained")
photo, values = (tensor[0].permute(1, 2, 0).numpy() for tensor in (retrieved, shap))
for axes, look, sign in zip(figure.subplots(1, 2), ("blended_heat_map", "masked_image"), ("all", "positive"), strict=True):
    visualization.visualize_image_attr(values, photo, look, sign, (figure, axes), title=f"{look}, {sign}", use_pyplot=False)
figure

# %% [markdown]
# Captum's classes explain single parts. For *pairs* of parts, and for methods that use the two towers, take the classes of this package,
# such as `cp.LayerFactorisedInteractions`; `captum-pairwise methods` lists them.
#
# Next: [compare methods](07_compare_methods.ipynb).
