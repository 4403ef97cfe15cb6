# %% [markdown]
# # Explain a search and its ranking
#
# An image search returns a list of photos with scores. The scores do not say which parts of the photos made them, or why one photo comes
# before another. After this page you can
#
# * explain all results of a search in one call;
# * say why one result comes before another, and what keeps the order of a list;
# * find each part of the query again in every result;
# * compare two results directly, each as the background of the other.
#
# (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 80}
import tempfile
from typing import Any

import faiss
import numpy as np
import skimage.data
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d, normalize

import captum_pairwise as cp
from captum_pairwise.visualization import counterfactual_figure, heatmap_figure

encoder = cp.backbones.create("efficientnet_lite0")
model = cp.SimilarityWrapper(encoder)  # cosine similarity

# %% [markdown]
# ## A search
#
# The gallery has photos of the built-in pairs, three photos of scikit-image, and two collages.

# %%
BUILT_IN = {
    "motorcycle at a pagoda": "motorcycle_moved",
    "motorcycle": "motorcycle_views",
    "men at lunch": "person_moved",
    "people at lunch": "person_neighbours",
    "cup and bottle": "bottle_moved",
    "flower": "flower_mirrored",
    "cat with a flower": "flower_moved",
    "cat": "cat_mirrored",
}
with tempfile.TemporaryDirectory() as folder:
    pairs = {pair.query.stem.removesuffix("_query"): pair for pair in cp.datasets.builtin_pairs(folder)}
    photos = {name: np.array(Image.open(pairs[file].retrieved)) for name, file in BUILT_IN.items()}
    man_at_pagoda = np.array(Image.open(pairs["person_moved"].query))
    man = cp.datasets.open_mask(f"{folder}/person_moved_query_mask.png")[0]  # the pixels of the man

cat, cup, rocket = (
    encoder.preprocess(image)[..., 56:168] for image in (skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket())
)


def join(left: torch.Tensor, right: torch.Tensor) -> np.ndarray:
    """Two halves, side by side, as an array of bytes."""
    return (torch.cat([left, right], 3)[0].permute(1, 2, 0) * 255).round().byte().numpy()


photos |= {"cup": skimage.data.coffee(), "rocket": skimage.data.rocket(), "astronaut": skimage.data.astronaut()}
photos |= {"cup and cat": join(cup.flip(3), cat.flip(3)), "cup and rocket": join(cup, rocket)}
names = list(photos)

# %% [markdown]
# An index stores one embedding for each photo. For embeddings of length 1 the inner product *is* the cosine similarity, so
# [faiss](https://faiss.ai) ranks by the number that we explain.

# %%


def embed(image: np.ndarray) -> np.ndarray:
    """The embedding of one photo, of length 1."""
    with torch.no_grad():
        return normalize(model.embed_query(encoder.preprocess(image))).numpy()


index = faiss.IndexFlatIP(embed(man_at_pagoda).shape[1])
index.add(np.concatenate([embed(photo) for photo in photos.values()]))


def search(image: np.ndarray, n_results: int) -> tuple[list[str], list[float]]:
    """Names and scores of the best results."""
    scores, places = index.search(embed(image), n_results)
    return [names[place] for place in places[0]], scores[0].tolist()


found, scores = search(man_at_pagoda, 6)
for rank, (name, score) in enumerate(zip(found, scores, strict=True), 1):
    print(f"{rank}.  {score:.3f}  {name}")

# %% [markdown]
# The query shows a man in a hat, in front of a pagoda. The first result shows a motorcycle. The same man at lunch is on rank 6.
#
# ## All results in one call
#
# `explain_ranking` takes the results of any search. The query is embedded only once.

# %%
shown = [*found[:3], "men at lunch"]
ranking = cp.explain_ranking(encoder, man_at_pagoda, [photos[name] for name in shown], names=shown)
ranking.figure()

# %% [markdown]
# The first result was found for its *pagoda*: the motorcycle is grey, and so is the man in the query. In numbers, the share of the positive
# credit on him, and his share of the area, which a random map would give him:

# %%
cells = adaptive_avg_pool2d(man.float(), 7).flatten()  # the share of each part that shows him
for name, explanation in zip(shown, ranking.explanations, strict=True):
    credit = explanation.query_map.clamp(min=0)
    print(f"{100 * (credit * cells).sum() / credit.sum():.0f} % of the positive credit on the man, for “{name}”")
print(f"{100 * man.float().mean():.0f} % of the area")

# %% [markdown]
# So the index is right: to this network, the photo *is* a pagoda.
#
# Each result is an explanation as on [page 1](01_one_pair.ipynb): `ranking[0].verdict`, `ranking[0].matches()`. And
# `ranking.save("ranking.html")` writes a page on which each part of the query shows its place in all results. In a terminal,
# `captum-pairwise search photo.jpg folder` searches a folder and writes that page.
#
# ## Why does this one come before that one?
#
# The next query is a collage: a cat on the left, a cup on the right. With `objective="margin"`, the map of the query shows what favours the
# first result over the second.

# %%
cat_and_cup = join(cat, cup)
found, scores = search(cat_and_cup, 4)
ranking = cp.explain_ranking(encoder, cat_and_cup, [photos[name] for name in found], names=found, objective="margin")
print(ranking.margin)

# %% tags=["thumbnail"]
ranking.figure()

# %% [markdown]
# Both results have a cat. The first one also has a cup, and the cup is what puts it first. Against another collage, with the cup but
# without the cat, it is the cat:


# %%
def sum_halves(ranking: cp.Ranking) -> str:
    """What the left and the right three columns of the query's parts add to the objective."""
    assert ranking.objective is not None and ranking.objective.query_map is not None
    columns = ranking.objective.query_map.reshape(7, 7).sum(0)
    return f"cat {columns[:3].sum():+.2f}, cup {columns[4:].sum():+.2f}"


two = [found[0], "cup and rocket"]
against_cup = cp.explain_ranking(encoder, cat_and_cup, [photos[name] for name in two], names=two, objective="margin")
print(f"“{found[0]}” before “{found[1]}”: {sum_halves(ranking)}")
print(f"“{two[0]}” before “{two[1]}”: {sum_halves(against_cup)}")

# %% [markdown]
# The map of an objective is a weighted sum of the maps of the results, so it needs no further pass through the network:

# %%
assert ranking.objective is not None
torch.testing.assert_close(ranking.objective.query_map, ranking[0].query_map - ranking[1].query_map)

# %% [markdown]
# There are other objectives:
#
# | `objective=` | the question |
# |---|---|
# | `"margin"` | Why is the first before the second? |
# | `"top-1"` | Why is the first before all others? |
# | `"dcg"` | What keeps the order of the list? Each result has a weight by its rank. |
# | `[1, 0, 0, -1]` | Your own weights: why is the first before the fourth? |
#
# ## Where is each part of the query?
#
# The pairs of each result carry a mask of the query to that result. Here the masks are the two halves.

# %%
left = torch.zeros(1, 224, 224)
left[..., :112] = 1
halves = {"the cat": left, "the cup": 1 - left}
chosen = [0, 1, 3]  # results
results = torch.cat([encoder.preprocess(photos[found[place]]) for place in chosen])
maps: Any = {
    name: torch.cat([ranking[place].interactions.project(half).reshape(1, 7, 7) for place in chosen]) for name, half in halves.items()
}
heatmap_figure(results, maps, one_scale=True)

# %% [markdown]
# ## Beneath: each result as the background of the other
#
# So far a part that is absent shows a blur. Over a blur, the cup *and* the cat make the first collage similar to the query.
# `cp.counterfactual` asks the narrower question: an absent part of one result shows the other result. What both show in the same place gets
# no credit, and the credits sum to the difference of the two similarities. It takes a class for single parts; here `LayerIGSAM`.

# %%
query, better, worse = (encoder.preprocess(image) for image in (cat_and_cup, photos["cup and cat"], photos["cup and rocket"]))
method = cp.LayerIGSAM(model, encoder.features)
why = cp.counterfactual(method, query, better, worse)
counterfactual_figure((query, better, worse), why, ("query", "cup and cat", "cup and rocket"))

# %%
_, over_blur = method.attribute((query, better))
for name, credit in {"a blur": over_blur, "the other result": why.of_better}.items():
    columns = credit[0, 0].clamp(min=0).sum(0)
    print(f"over {name}, the three columns of the cat have {100 * columns[4:].sum() / columns.sum():.0f} % of the positive credit")
with torch.no_grad():
    difference = (model(query, better) - model(query, worse)).item()
print(f"similarities differ by {difference:.4f}; the credits over the better result sum to {why.of_better.sum():.4f}")

# %% [markdown]
# The third photo shows what the worse result has instead, in blue.
#
# Next: [audit all results of a search](04_audit_a_search.ipynb), or ask the same with [classes of Captum](06_captum_pipelines.ipynb).
