# %% [markdown]
# # Explain one pair of photos
#
# A search engine says that two photos are similar: 0.60. After this page you can
#
# * get the reasons in one call: a picture, a sentence, a page to click;
# * read the two heat maps and the matches, and say what their numbers mean;
# * ask where one part of the query is found in the other photo;
# * judge how far to trust the answer.
#
# You need PyTorch and `pip install 'captum-pairwise[tutorials]'`, which brings the photos and a trained network: nothing is downloaded.

# %%
# %matplotlib inline
import importlib.util
from pathlib import Path

import torch

import captum_pairwise as cp

gradio = importlib.util.find_spec("gradio")  # this package carries photos (Apache-2.0)
assert gradio is not None and gradio.origin is not None
folder = Path(gradio.origin).parent
cheetah, cub = folder / "media_assets/images/cheetah1.jpg", folder / "test_data/cheetah2.jpg"
encoder = cp.backbones.create("efficientnet_lite0")  # any nn.Module that embeds photos will do

# %% [markdown]
# ## One call

# %%
why = cp.explain(encoder, cheetah, cub)
print(why.verdict)

# %% tags=["thumbnail"]
why.figure()

# %% [markdown]
# **The maps, above**, have one number for each part of a photo: the similarity that the part adds *while the other photo is whole*. Red
# parts make the photos similar, blue parts make them dissimilar. Both faces are red.
#
# **The matches, below**, have one number for each *pair* of parts, one of each photo: what the two add together that neither adds alone.
# The strongest pairs are drawn. Eye finds eye, and the dark line beside the nose finds the same line.
#
# `why.save("why.html")` writes a page on which you point at any part and see its matches. A notebook shows that page if a cell ends in
# `why`.
#
# ## The numbers behind the picture
#
# The parts are the 7×7 positions of the network's last feature map. All numbers are in units of the similarity.

# %%
print("similarity", round(why.similarity, 3), "| maps", *why.query_map.shape, *why.retrieved_map.shape, "| pairs", *why.pairs.shape)
for match in why.matches(3):
    print(f"{match.credit:+.4f}  {match.query}  –  {match.retrieved}")

# %% [markdown]
# Credit is relative to a **baseline**. A part that is absent shows a strong blur of its photo, so a map sums to the similarity that the
# sharp photo adds over its blur:

# %%
numbers = why.interactions
assert numbers.without_query is not None
print(f"similarity {numbers.full.item():.3f}, with a blurred query {numbers.without_query.item():.3f}")
print(f"difference {(numbers.full - numbers.without_query).item():.3f}, sum of the query's map {why.query_map.sum().item():.3f}")

# %% [markdown]
# The map splits this difference *fairly*: its values are Shapley values. Parts with the same effect get the same credit, and a part without
# any effect gets none. Page [8](08_how_it_works.ipynb) says more.
#
# ## Where is this part found?
#
# The pairs carry any mask of the query to the other photo. Here the mask is a box around one eye of the adult.

# %%
mask = torch.zeros(1, 224, 224)
mask[:, 68:100, 56:96] = 1
found = numbers.project(mask).reshape(1, 7, 7)
photos = encoder.preprocess(str(cheetah)), encoder.preprocess(str(cub))
cp.visualization.projection_figure(photos, mask, found)

# %% [markdown]
# ## What if they are not similar?
#
# The same cheetah and the Eiffel tower:

# %%
tower = folder / "media_assets/images/tower.jpg"
unlike = cp.explain(encoder, cheetah, tower)
print(unlike.verdict)
unlike.figure()

# %% [markdown]
# ## Can I trust it?
#
# The verdict ends with the answer. It comes from two numbers:

# %%
for name, explanation in {"cheetah and cub": why, "cheetah and tower": unlike}.items():
    result = explanation.interactions
    errors, r2 = result.standard_error, result.r2
    assert errors is not None and errors.between is not None and r2 is not None
    error = (errors.between.norm() / explanation.pairs.norm()).item()
    print(f"{name}: R² {r2.item():.2f}, relative standard error of the pairs {error:.1%}")

# %% [markdown]
# * **R²**: remove parts of both photos at random, again and again. R² is the share of the changes of the similarity that single parts and
#   pairs predict, measured on removals that were not used for the estimate. Near 1, pairs tell the whole story; near 0, they do not.
# * **The standard error** says how much the numbers would change with other random removals. `explain(..., n_samples=...)` makes it
#   smaller.
#
# Neither number says that the *network* is right. Red means that this network finds a part similar.
#
# ## Another question, another baseline
#
# "Why are they similar?" always means "compared with what?". A blur asks what the sharp content adds. A gallery asks why this photo and not
# the others:

# %%
others = [folder / "media_assets/images" / name for name in ("lion.jpg", "tower.jpg", "groot.jpeg", "bus.png")]
rather = cp.explain(encoder, cheetah, cub, background=others)
print(rather.verdict)
correlation = torch.corrcoef(torch.stack([rather.query_map, why.query_map]))[0, 1]
print(f"correlation of the query's two maps: {correlation:.2f}")

# %% [markdown]
# ## In a program
#
# `explain` chooses a layer, a method and a baseline. `why.choices` says which, and why. If you want to choose yourself, use the class that
# it used. Like Captum's classes it takes a forward function and a layer, and works on batches:

# %%
print(why.choices)
model = cp.SimilarityWrapper(encoder)  # cosine similarity
pairs = cp.LayerFactorisedInteractions(model, encoder.features).attribute(photos)
print("pairs of a batch:", *pairs.shape)

# %% [markdown]
# Next: [your own model](02_your_model.ipynb), or [a whole search](03_a_search_and_its_ranking.ipynb).
