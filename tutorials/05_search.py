# %% [markdown]
# # An image search and its explanation
#
# An image search turns every photo into an embedding, stores the embeddings of the gallery in an index, and returns the photos whose
# embeddings are nearest to the query's embedding. The user sees only the score. Here a small search runs on [faiss](https://faiss.ai). It
# returns an unexpected result, and we answer three questions:
#
# 1. *Why was this photo returned?* One map over the query and one over each result.
# 2. *Where is each part of the query found?* Pairs of parts.
# 3. *Why does this result come before that one?* A counterfactual, in which each result is the other's background.
#
# The page runs on one core in half a minute, with weights and photos from Python packages (`pip install 'captum-pairwise[tutorials]'`).

# %%
# %matplotlib inline
import tempfile
from typing import Any

import captum
import faiss
import skimage.data
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate, normalize

import captum_pairwise as cp
from captum_pairwise import backbones
from captum_pairwise.visualization import counterfactual_figure, heatmap_figure

encoder = backbones.create("efficientnet_lite0")
model = cp.SimilarityWrapper(encoder)  # cosine similarity

# %% [markdown]
# ## A gallery and an index
#
# The gallery has thirteen photos of the package's built-in pairs, five photos of scikit-image, and two collages: one has a cup on the left
# and a cat on the right, the other has a cup on the left and a rocket on the right.

# %%
with tempfile.TemporaryDirectory() as folder:
    pairs = {pair.query.stem.removesuffix("_query"): pair for pair in cp.datasets.builtin_pairs(folder)}
    query = encoder.preprocess(pairs["person_moved"].query)
    man = encoder.preprocess(f"{folder}/person_moved_query_mask.png")[:, 0] > 0.5  # the pixels of the person
    photos = {name: encoder.preprocess(pair.retrieved) for name, pair in pairs.items()}

singles = ("chelsea", "coffee", "rocket", "astronaut", "retina")
photos |= {name: encoder.preprocess(getattr(skimage.data, name)()) for name in singles}
cat, cup, rocket = (photos[name][..., 56:168] for name in singles[:3])  # the middle of each
photos |= {"cup and cat": torch.cat([cup.flip(3), cat.flip(3)], 3), "cup and rocket": torch.cat([cup, rocket], 3)}
names, gallery = list(photos), torch.cat(list(photos.values()))


def contact_sheet(images: Tensor, titles: list[str], columns: int = 10) -> Figure:
    """Photos side by side, with titles."""
    rows = -(-len(images) // columns)
    sheet = Figure(figsize=(1.5 * columns, 1.75 * rows), layout="constrained")
    for axes, image, title in zip(sheet.subplots(rows, columns, squeeze=False).flat, images, titles, strict=True):
        axes.imshow(image.permute(1, 2, 0).numpy())
        axes.set_title(title, size="small")
        axes.set_axis_off()
    return sheet


contact_sheet(gallery, names)

# %% [markdown]
# `model.embed_retrieved` is the tower of the model that an index needs. For embeddings of length 1, the inner product *is* the cosine
# similarity, so `IndexFlatIP` ranks by the number that we explain.

# %%
with torch.no_grad():
    embeddings = normalize(model.embed_retrieved(gallery))
index = faiss.IndexFlatIP(embeddings.shape[1])
index.add(embeddings.numpy())


def search(image: Tensor, n_results: int) -> tuple[list[float], list[int]]:
    """Scores of the best results, and their places in the gallery."""
    with torch.no_grad():
        scores, places = index.search(normalize(model.embed_query(image)).numpy(), n_results)
    return scores[0].tolist(), places[0].tolist()


scores, places = search(query, 9)
titles = ["query", *(f"{rank}.  {score:.3f}" for rank, score in enumerate(scores, 1))]
contact_sheet(torch.cat([query, gallery[places]]), titles)

# %% [markdown]
# The query is a photo of a man in a hat, and the first result is a motorcycle. The photo of the same man at lunch has a much lower rank. We
# explain the score of faiss itself: the index and the model give the same number for each result.

# %%
lunch = names.index("person_moved")
results = gallery[[*places[:2], lunch]]
queries = query[:1].expand(len(results), -1, -1, -1)  # the query once for each result, without a copy
similarities = model(queries, results).detach()
by_faiss = [*scores[:2], float(index.reconstruct(lunch) @ normalize(model.embed_query(query)).detach().numpy()[0])]
print("rank of the man at lunch:", places.index(lunch) + 1)
print("largest difference between our similarities and faiss's:", f"{(similarities - torch.tensor(by_faiss)).abs().max():.0e}")

# %% [markdown]
# ## Why was this photo returned?
#
# The interface follows Captum, with a pair as the input: it takes a tuple and returns a tuple with one map for each photo. `LayerIGSAM`
# integrates gradients over the last feature map while a photo fades in from its blur and the other photo is complete. So the credit over
# the result $y$ sums to $v(x, y) - v(x, \mathrm{blur}(y))$, the similarity to the query $x$ that the content of the photo adds. All results
# form one batch.

# %%
method = cp.LayerIGSAM(model, encoder.features)
query_maps, result_maps = method.attribute((queries, results))
ranks = [f"{places.index(place) + 1}.  {scores[places.index(place)]:.3f}" for place in (*places[:2], lunch)]
by_result = {rank: query_map[None] for rank, query_map in zip(ranks, query_maps, strict=True)}
heatmap_figure(query, by_result, title="Credit over the query, for each result", one_scale=True)

# %%
heatmap_figure(results, {"LayerIGSAM": result_maps}, title="Credit over each result")

# %% [markdown]
# Red parts make the pair similar, blue parts make it dissimilar. The first result was found for its *pagoda*: there is little credit on the
# man and on the motorcycle. We measure this: the share of the credit on the man, compared with his share of the area of the photo, which is
# what a random map would give.


# %%
def share_on(maps: Any, mask: Tensor) -> Tensor:
    """Share of the positive credit of each map that is inside a mask."""
    pixels = interpolate(maps, mask.shape[1:], mode="bilinear").clamp(min=0).sum(1)
    return (pixels * mask).sum((1, 2)) / pixels.sum((1, 2))


on_man = share_on(query_maps, man)
print(f"credit on the man: {on_man[0]:.0%} for the first result, {on_man[-1]:.0%} for the man at lunch")
print(f"his share of the area: {man.float().mean():.0%}")

# %% [markdown]
# So the index is correct: to this encoder the query *is* a pagoda. The other maps are nearly grey on the common scale, because there is
# little similarity to explain.
#
# ## Where is each part of the query found?
#
# The next query shows a cat on the left and a cup on the right.

# %%
query = torch.cat([cat, cup], 3)
scores, places = search(query, 9)
contact_sheet(torch.cat([query, gallery[places]]), ["query", *(f"{rank}.  {score:.3f}" for rank, score in enumerate(scores, 1))])

# %% [markdown]
# The mirrored collage is first, followed by photos with a cat or a cup. Which half of the query made each of them similar? Parts need not
# be cells of a feature map: here the query has two parts, its halves, and each result has sixteen parts, the squares of a grid. An absent
# part shows the blur of its photo, and the network runs again. The `between` block of the interactions contains the credit of every *pair*,
# so its two rows are maps of the cat and of the cup over the squares.
#
# The query is paired with three results, but its masked images are the same for all of them: the method recognises `query.expand`, and
# passes these images through the network once.

# %%
second = names.index("cup and rocket")
results = gallery[[places[0], places[1], second]]
queries = query[:1].expand(len(results), -1, -1, -1)
halves, squares = cp.grid(224, 224, 1, 2), cp.grid(224, 224, 4, 4)

parts = cp.FactorisedShapleyTaylor(model).interactions((queries, results), feature_mask=(halves, squares), n_samples=40)
of_result = int(parts.n_evaluations[-1])  # the first result also counts the masked images of the query, which the others share
of_query = int(parts.n_evaluations[0]) - of_result
print(f"masked images of the query: {of_query} (both halves, either half, none); of each result: {of_result}")

found = {
    half: cp.paint(parts["between"][:, row], squares.expand(len(results), -1, -1, -1)) for row, half in enumerate(("the cat", "the cup"))
}
heatmap_figure(results, found, title="Where each half of the query is found", one_scale=True)

# %% [markdown]
# ## Why does this result come before that one?
#
# The photo of cup and rocket is also a good result: it has a cup. Over a blur, cup and cat *both* make the first result similar to the
# query. This is true, but it does not answer the question. `cp.counterfactual` makes each result the other's background: content that both
# results show in the same place gets no credit, and the credits over the better result sum to the difference of the similarities, $v(x, y)
# - v(x, y')$ (the paper's Figure 3).

# %%
better, worse = gallery[places[:1]], gallery[second : second + 1]
why = cp.counterfactual(method, query, better, worse)
counterfactual_figure((query, better, worse), why, ("query", "photo with the cat", "photo with the rocket"))

# %% [markdown]
# The cat is in the right half of the better result and in the left half of the query. How much of the positive credit is on the cat?

# %%
right = torch.zeros(1, 224, 224, dtype=torch.bool)
right[..., 112:] = True
_, over_blur = method.attribute((query, better))
difference = (model(query, better) - model(query, worse)).item()
cats_share = {"over its blur": share_on(over_blur, right).item(), "over the other result": share_on(why.of_better, right).item()}
print("positive credit on the better result's cat:", ", ".join(f"{share:.0%} {background}" for background, share in cats_share.items()))
print(f"on the cat of the query: {share_on(why.of_query, ~right).item():.0%}")
print(f"similarities differ by {difference:.4f}; the credits over the better result sum to {why.of_better.sum():.4f}")

# %% [markdown]
# ## The same question with Captum's classes
#
# `given_gallery` is the search as a module, `f(query) -> [B, K]`, and Captum's `target` selects the item. Its `margins()` are all
# differences of two scores, `[B, K, K]`: `target=(i, j)` asks why item $i$ comes before item $j$. Any class for functions of one image
# accepts them. `LayerIGCAM` computes the query's map of the counterfactual again; Captum's `IntegratedGradients` computes a map over the
# pixels.

# %%
margins = model.given_gallery(torch.cat([better, worse])).margins()
same = cp.LayerIGCAM(margins, encoder.features).attribute(query, target=(0, 1))
pixels = captum.attr.IntegratedGradients(margins).attribute(query, cp.blur_baseline(query), target=(0, 1), n_steps=20)
torch.testing.assert_close(same, why.of_query)
smooth = torch.nn.functional.avg_pool2d(pixels.sum(1, keepdim=True), 15, 1, 7)  # single pixels are too small to see
heatmap_figure(query, {"LayerIGCAM": same, "IntegratedGradients": smooth})
