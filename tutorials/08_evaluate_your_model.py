# %% [markdown]
# # Is the explanation any good? Your model, your pairs, a table
#
# A map that looks right is no evidence. This page goes from your own encoder and your own pairs of images to the paper's table: first each
# metric by hand on one pair, then all of them by one command.
#
# | question | metric | needs | better is |
# |---|---|---|---|
# | Does what the map names matter? | `faithfulness`, `deletion_curve`, `insertion_curve` | a map of one image | more; less; more |
# | Does the *pair* of parts that it names make the similarity? | `second_order_faithfulness` | the query's object | more |
# | Does it find the object again? | `label_propagation` | the object in both images | more |
# | Does the credit add up to what it explains? | `inefficiency` | nothing | 0 |
#
# The first two ask the *model*; the third asks people, who drew the masks, so a model that looks at something else fails it with a perfect
# explanation. (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
import csv
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import captum_pairwise as cp
from captum_pairwise import backbones, metrics
from captum_pairwise.evaluation.__main__ import run_command as evaluation
from captum_pairwise.visualization import heatmap_figure, projection_figure, table_figure

temporary = tempfile.TemporaryDirectory()  # your project folder
folder = Path(temporary.name)

# %% [markdown]
# ## Your encoder
#
# A function without arguments that returns a `backbones.ImageEncoder`. It is told what maps images to a feature map, and how your network
# normalises its images: they come in as RGB in [0, 1], so that blurs and masks act on plain colours. Of this file the command will be told
# `my_model:make_encoder`. (The network here is EfficientNet-Lite0 at 160×160 pixels, which leaves a map of 5×5.)

# %%
code = """
from captum_pairwise import backbones

def make_encoder():
    network = backbones.create("efficientnet_lite0").features  # your network, without pooling and classifier
    return backbones.ImageEncoder(network, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, size=(160, 160))
"""
(folder / "my_model.py").write_text(code)
sys.path.insert(0, temporary.name)  # a command finds what is in the folder where it is called
encoder = backbones.parse("mine=my_model:make_encoder")
model = cp.SimilarityWrapper(encoder)

# %% [markdown]
# ## Your pairs
#
# A CSV file with a row for each pair, paths relative to it. Only `query` and `retrieved` are needed; without masks the second-order metrics
# are left out. Here it gets three of the package's built-in pairs.

# %%
built_in = {pair.query.stem: pair for pair in cp.datasets.builtin_pairs(folder / "photos")}
chosen = [built_in[f"{name}_query"] for name in ("motorcycle_views", "cat_mirrored", "flower_moved")]
cp.datasets.write_pairs(chosen, folder / "pairs.csv")
print((folder / "pairs.csv").read_text())

# %%
pairs = cp.datasets.read_pairs(folder / "pairs.csv")
query, retrieved = (torch.cat([encoder.preprocess(getattr(pair, side)) for pair in pairs]) for side in ("query", "retrieved"))
files = [[str(getattr(pair, f"{side}_mask")) for pair in pairs] for side in ("query", "retrieved")]
query_mask, retrieved_mask = (torch.cat([encoder.preprocess(file)[:, 0] > 0.5 for file in of_side]) for of_side in files)
with torch.no_grad():
    full, empty = model(query, retrieved), model(query, cp.blur_baseline(retrieved))
print("similarities:", full, "with the retrieved image blurred:", empty)

# %% [markdown]
# ## Faithfulness, and the curves behind it
#
# Blur the 30 % of the retrieved image that the map ranks highest: `faithfulness` is how much similarity is lost. The **random map** is the
# yardstick: blurring 30 % of any photo costs something, and a method is worth what it has above that.

# %%
maps: dict[str, Any] = {
    "SAM": cp.LayerSAM(model, encoder.features).attribute((query, retrieved))[1],
    "IG-SAM": cp.LayerIGSAM(model, encoder.features).attribute((query, retrieved))[1],
    "random": torch.rand(len(pairs), 1, 160, 160, generator=torch.Generator().manual_seed(0)),
}
heatmap_figure(retrieved, maps, title="Three maps over the retrieved photos", units={"random": "of chance"})

# %% [markdown]
# The third result is not similar to its query, 0.15, and nothing of it speaks for it: both maps are grey. No metric of faithfulness can say
# much there.

# %%
lost = {name: metrics.faithfulness(model, (query, retrieved), one) for name, one in maps.items()}
for name, values in lost.items():
    print(f"{name}: " + ", ".join(f"{value:.3f}" for value in values))

# %% [markdown]
# That number is one point of a curve: the similarity while more and more of the image goes (deletion), or comes out of the blur
# (insertion), the most important pixels first. The whole curve needs no choice of 30 %, and its area is one number for it.

# %%
curves = {
    name: [curve(model, (query[:1], retrieved[:1]), one[:1], n_steps=10) for curve in (metrics.deletion_curve, metrics.insertion_curve)]
    for name, one in maps.items()
}
figure = Figure(figsize=(10, 3.4), layout="constrained")
for axes, kind, place in zip(
    figure.subplots(1, 2, sharey=True), ("deletion: less is better", "insertion: more is better"), (0, 1), strict=True
):
    for name, both in curves.items():
        axes.plot(both[place].fractions.numpy(), both[place].values[0].numpy(), label=f"{name}, area {both[place].area.item():.3f}")
    axes.set(title=kind, xlabel="of the pixels")
    axes.legend()
figure

# %% [markdown]
# On this pair deletion hardly tells a good map from chance, and insertion does: a tenth of all pixels blurred here and there harms a
# network as much as the same number blurred in the right place, but as many pixels shown here and there are no picture of anything. Look at
# both.
#
# ## Inefficiency
#
# Credit of an efficient method sums to $v(N) - v(\varnothing)$, the similarity of the pair less that with the retrieved image blurred.
# `inefficiency` is what is missing. It says whether the numbers can be read as similarity, and nothing about *where* they are: an efficient
# map may be wrong everywhere. SAM's background is 0 and no blur, so it misses this one.

# %%
missing = {name: metrics.inefficiency(maps[name], full, empty) for name in ("SAM", "IG-SAM")}
for name, values in missing.items():
    print(f"{name}: " + ", ".join(f"{value:.4f}" for value in values))

# %% [markdown]
# ## Second order: the object of the query
#
# Pairs of parts carry a mask from the query to the retrieved image. `label_propagation` keeps as many of the projected pixels as the true
# object has and compares them with it; `second_order_faithfulness` shows the model nothing but the query's object and those pixels, all
# else blurred, and asks whether they are still similar.

# %%
interactions = cp.LayerFactorisedShapleyTaylor(model, encoder.features).interactions((query, retrieved), n_samples=200)
projected = interactions.project(query_mask).reshape(-1, 5, 5)
found = metrics.label_propagation(projected, retrieved_mask)
kept = metrics.second_order_faithfulness(model, (query, retrieved), projected, (query_mask, retrieved_mask))
blurs = cp.blur_baseline(query), cp.blur_baseline(retrieved)
censored = metrics.censor(query, ~query_mask, blurs[0]), metrics.censor(retrieved, ~found.kept, blurs[1])
projection_figure((query, retrieved), query_mask, projected, mask=retrieved_mask, censored=censored)

# %%
at_random = torch.rand(len(pairs), 160, 160, generator=torch.Generator().manual_seed(1))
by_chance = metrics.label_propagation(at_random, retrieved_mask)
kept_by_chance = metrics.second_order_faithfulness(model, (query, retrieved), at_random, (query_mask, retrieved_mask))
for name, overlap, similarity in (("projected", found, kept), ("random", by_chance, kept_by_chance)):
    print(f"{name}: mean IoU", overlap.mean_iou.numpy().round(3), " similarity of what is left", similarity.numpy().round(3))

# %% [markdown]
# The motorcycle and the cat's face are found, and the model agrees: shown these alone it calls the images nearly as similar as before. The
# flower is not found. That is the model's doing, for which a flower on a cat's head is a cat, and no fault of the method.
#
# The random map's mean IoU is not 0: it keeps as many pixels as the object has, some of which are right, and most of the rest *is*
# background. Compare with it, never with 0.
#
# ## All of it by one command
#
# In a terminal, in your folder, this is
#
# ```sh
# python -m captum_pairwise.evaluation tables --pairs pairs.csv --backbones mine=my_model:make_encoder \
#     --methods factorised sam random --preset quick --set n_embeddings=40 --out results
# ```
#
# `--backbones NAME=module:function` names your encoder; several are compared in one table. Without `--methods` all twelve columns are
# filled, and without `--preset quick` the budgets are the paper's, for GPUs. `--set` changes single budgets.

# %%
command = ["tables", "--pairs", str(folder / "pairs.csv"), "--backbones", "mine=my_model:make_encoder", "--preset", "quick"]
command += ["--set", "n_embeddings=40", "--out", str(folder / "results"), "--device", "cpu"]
methods = ["factorised", "sam", "random"]
status = evaluation([*command, "--methods", *methods])


def n_rows() -> int:
    """How many runs have been written down, the head of each file not counted."""
    return sum(len(file.read_text().splitlines()) - 1 for file in (folder / "results" / "rows").glob("*.csv"))


n_run = [n_rows()]

# %% [markdown]
# Each row was on the disk before the next run began. So kill the command whenever you like and give it again: it goes on after the last row
# that is written. Here all rows are there, and only those of one more method are run.

# %%
status_again = evaluation([*command, "--methods", *methods, "igsam"])
n_run.append(n_rows())
print("runs written down after each command:", n_run)

# %% [markdown]
# ## Reading `results.csv`
#
# A row for each pair, model and method, with every metric, the seconds, and the number of masked images that went through the network. What
# fails is a row with its `error`, makes the exit status 1, and is run again with `--retry`.

# %%
with (folder / "results" / "results.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
print(", ".join(rows[0]))


def column(method: str, metric: str) -> torch.Tensor:
    """A metric of a method, pair by pair."""
    return torch.tensor([float(row[metric]) for row in rows if row["method"] == method])


names = list(dict.fromkeys(row["method"] for row in rows))
shown = {"faithfulness": "Faithfulness, first order", "pair_faithfulness": "Faithfulness, second order", "mean_iou": "mIoU"}
panels = {title: {"mine": {name: metrics.mean_and_error(column(name, metric)) for name in names}} for metric, title in shown.items()}
table_figure(panels, "Three pairs, bars of one standard error")

# %% [markdown]
# ## Reading standard errors
#
# `±` is the standard error over *pairs*: how far the mean would move with other pairs of the same kind. Pairs differ far more from each
# other than methods do on one pair, so two columns whose bars overlap may still differ. Take the differences pair by pair, and the error of
# *their* mean:

# %%
better, yardstick = column("igsam", "faithfulness"), column("random", "faithfulness")
for name, values in (("IG-SAM", better), ("random", yardstick), ("their difference", better - yardstick)):
    mean, error = metrics.mean_and_error(values)
    print(f"{name}: {mean:.3f} ± {error:.3f}")

# %% [markdown]
# Three pairs are for trying: below some thirty, two standard errors are too few, and a bold number in the table is no test. Other pitfalls:
#
# * **The background of the metric.** Faithfulness blurs. A method whose own baseline is the blur explains just what is measured, one with
#   another baseline does not. Give both the same (`baselines=`) before you compare *methods*.
# * **Painted maps are not sums.** The credit of a superpixel stands on each of its pixels, and an enlarged map repeats every cell. Rank
#   them as you like; sum only the credit of players.
# * **Coarse maps tie.** Of equal pixels the first in reading order go first. With few superpixels 30 % may end in the middle of one.
# * **Objects in the same place.** Where query and result show the object in the same place, copying the mask is right every time, and mIoU
#   says nothing of correspondence.
# * **Pairs that share a photo are not independent.** Twelve ordered pairs of four photos are nearer to four than to twelve.
# * **Settings are part of a row.** Rows of other budgets, seeds or weights stay in the folder and are not shown; images are known by
#   *name*: take a new `--out` for changed ones.

# %%
sys.path.remove(temporary.name)
temporary.cleanup()
