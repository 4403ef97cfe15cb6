# %% [markdown]
# # Bring your own model
#
# After this page you can
#
# * explain your own encoder, with your own preprocessing and similarity;
# * check that the encoder is safe to explain;
# * choose the layer, or your own parts of the photos;
# * explain a similarity that is only a function, with no network to look into.
#
# For models of torchvision, timm, Hugging Face, open_clip, sentence-transformers and others, [Your model in five
# lines](your_model_in_five_lines.md) has the lines to copy. (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
import skimage.data
import torch
from matplotlib.figure import Figure
from skimage.segmentation import mark_boundaries
from torch import Tensor, nn
from torchvision.transforms import v2

import captum_pairwise as cp

left, right, _ = skimage.data.stereo_motorcycle()  # one motorcycle from two places; arrays of bytes

# %% [markdown]
# ## An encoder
#
# An encoder is any `nn.Module` in evaluation mode that maps a batch of images to embeddings `[B, C]`. Here is one as people write it: a
# trained network, pooling, and a normalisation at the end.


# %%
class MyEncoder(nn.Module):
    """A product matcher."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = cp.backbones.create("efficientnet_lite0").features  # feature maps [B, 1280, 7, 7]

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(self.backbone(images).mean((2, 3)), dim=1)


encoder = MyEncoder().eval()

# %% [markdown]
# `transform` is the preprocessing of your network: from a Pillow image to the tensor that the network takes. Without it, photos are resized
# to 224 × 224 with values in [0, 1], or get what torchvision and timm say about their own networks.

# %%
transform = v2.Compose([v2.Resize((224, 224)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
why = cp.explain(encoder, left, right, transform=transform)
print(why.verdict)
print(why.choices)

# %%
why.figure()

# %% [markdown]
# ## Is the encoder safe to explain?
#
# `explain` checks the encoder before anything else, and refuses it with a sentence if a check fails. `check_model` prints all checks. A
# common mistake is a network in training mode, whose embedding of a photo depends on the rest of the batch:

# %%
images = torch.cat([transform(v2.ToPILImage()(photo))[None] for photo in (left, right)])
print(cp.testing.check_model(encoder, images, layer=encoder.backbone))
try:
    cp.explain(encoder.train(), left, right)
except ValueError as error:
    print("refused:", error)
_ = encoder.eval()

# %% [markdown]
# ## Another layer
#
# The parts are the positions of the last layer that has positions. Name another layer, or pass its module. A position of an earlier layer
# has seen less of its surroundings. But more of the network has to run for every combination of parts, and parts and pairs say less of it:
# compare R².

# %%
earlier = cp.explain(encoder, left, right, transform=transform, layer="backbone.network._blocks.13")
for name, explanation in {"last layer": why, "earlier layer": earlier}.items():
    r2 = explanation.interactions.r2
    assert r2 is not None
    print(f"{name}: {len(explanation.query_map)} parts of each photo, R² {r2.item():.2f}")

# %% [markdown]
# ## Another similarity
#
# Wrap the encoder to say how two embeddings are compared: `"cosine"`, `"dot"`, `"euclidean"` (minus the squared distance), `"maxsim"` for
# an embedding of each token, or a function of two batches of embeddings.

# %%
model = cp.SimilarityWrapper(encoder, similarity="euclidean")
by_distance = cp.explain(model, left, right, transform=transform)
correlation = torch.corrcoef(torch.stack([by_distance.query_map, why.query_map]))[0, 1]
print(f"similarity {by_distance.similarity:.3f}, correlation of the maps with those of the cosine: {correlation:.3f}")

# %% [markdown]
# For embeddings of length 1, minus the squared distance is twice the cosine minus 2, so the explanation is the same.
#
# ## Your own parts
#
# Parts need not be positions of a layer. Pass a mask of integers for each photo, one number a part: objects of a segmentation, boxes, or
# `cp.superpixels`. Absent parts are blurred in the photo itself, so every combination costs a pass through the network.

# %% tags=["thumbnail"]
parts = cp.superpixels(images[:1], n_segments=20), cp.superpixels(images[1:], n_segments=20)
by_parts = cp.explain(model, left, right, transform=transform, feature_mask=parts, n_samples=100)
figure = Figure(figsize=(9, 3), layout="constrained")
for axes, image, mask, credit in zip(figure.subplots(1, 2), images, parts, (by_parts.query_map, by_parts.retrieved_map), strict=True):
    axes.imshow(mark_boundaries(image.permute(1, 2, 0).numpy(), mask[0, 0].numpy(), color=(1, 1, 0)))
    axes.set_title(f"{len(credit)} parts; the strongest adds {credit.max():+.3f}")
    axes.set_axis_off()
figure

# %% [markdown]
# ## A function, and nothing to look into
#
# The similarity can be any function of two batches, for example a call to a server. This one compares the colours of the photos. The parts
# are cells of a grid, and the method is chosen for functions: 500 calls, each with some parts absent.


# %%
def compare_colours(query: Tensor, retrieved: Tensor) -> Tensor:
    """The intersection of two histograms of 4 × 4 × 4 colours, `[B]`."""
    histograms = []
    for images in (query, retrieved):
        red, green, blue = (images * 4).clamp(0, 3).long().unbind(1)
        bins = ((red * 4 + green) * 4 + blue).flatten(1)
        histograms.append(torch.stack([torch.bincount(row, minlength=64) for row in bins]) / bins.shape[1])
    return torch.minimum(*histograms).sum(1)


coarse = cp.grid(224, 224, 2, 3), cp.grid(224, 224, 2, 3)
grey = (0.5, 0.5)  # a blur would keep the colours, and colours are all that this function sees
by_colour = cp.explain(compare_colours, left, right, transform=transform, feature_mask=coarse, baselines=grey, n_samples=500)
print(by_colour.verdict)
print(by_colour.choices)

# %% [markdown]
# If the function embeds each photo alone and compares the embeddings, say so with a `SimilarityWrapper`: that needs ten to a hundred times
# fewer calls.
#
# ## Sentences and other inputs
#
# Encoders of text, CLIP-like pairs of encoders, ColBERT and rerankers go through the same `explain`: page
# [5](05_text_and_images.ipynb). Volumes, videos, spectrograms and rows of tables are in [Your model in five
# lines](your_model_in_five_lines.md#other-inputs).
#
# Next: [a whole search, and why one result comes before another](03_a_search_and_its_ranking.ipynb).
