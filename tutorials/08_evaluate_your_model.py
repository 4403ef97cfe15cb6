# %% [markdown]
# # Evaluate explanations of your own model
#
# A map that looks right is no evidence. This page starts with your own encoder and your own pairs of images, and ends with the paper's
# table: first each metric on one pair in Python, then all metrics with one command.
#
# | question | metric | needs | better |
# |---|---|---|---|
# | Do parts with high credit matter? | `faithfulness`, `deletion_curve`, `insertion_curve` | a map of one image | higher; lower; higher |
# | Do the *pairs* of parts with high credit make the images similar? | `second_order_faithfulness` | the query's object | higher |
# | Does the explanation find the object again? | `label_propagation` | the object in both images | higher |
# | Does the credit sum to the value that it explains? | `inefficiency` | nothing | 0 |
#
# The first two questions test the explanation against the *model*. The third question compares it with masks from people. So if the model
# looks at something else, even a perfect explanation fails it. (`pip install 'captum-pairwise[tutorials]'`)

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
from captum_pairwise.commands.command_line import run_command as evaluation
from captum_pairwise.visualization import heatmap_figure, projection_figure, table_figure

temporary = tempfile.TemporaryDirectory()  # your project folder
folder = Path(temporary.name)

# %% [markdown]
# ## Your encoder
#
# Write a function without arguments that returns a `backbones.ImageEncoder`. It defines the map from images to feature maps, and the
# normalisation of the images. The inputs are RGB images in [0, 1], so that blurs and masks act on plain colours. The command gets the name
# of this function as `my_model:make_encoder`. (The network here is EfficientNet-Lite0 at 160×160 pixels, with a feature map of 5×5.)

# %%
code = """
from captum_pairwise import backbones

def make_encoder():
    network = backbones.create("efficientnet_lite0").features  # your network, without pooling and classifier
    return backbones.ImageEncoder(network, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, size=(160, 160))
"""
(folder / "my_model.py").write_text(code)
sys.path.insert(0, temporary.name)  # a command can import the modules of its working folder
encoder = backbones.parse("mine=my_model:make_encoder")
model = cp.SimilarityWrapper(encoder)

# %% [markdown]
# ## Your pairs
#
# The pairs are a CSV file with one row for each pair, with paths relative to the file. Only `query` and `retrieved` are required; without
# masks, the second-order metrics are left out. Here we use three of the package's built-in pairs.

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
# `faithfulness` blurs the 30 % of the retrieved image with the highest credit, and measures the loss of similarity. The **random map** is
# the reference: blurring 30 % of any photo reduces the similarity, so only the difference from the random map counts.

# %%
maps: dict[str, Any] = {
    "SAM": cp.LayerSAM(model, encoder.features).attribute((query, retrieved))[1],
    "IG-SAM": cp.LayerIGSAM(model, encoder.features).attribute((query, retrieved))[1],
    "random": torch.rand(len(pairs), 1, 160, 160, generator=torch.Generator().manual_seed(0)),
}
heatmap_figure(retrieved, maps, title="Three maps over the retrieved photos", units={"random": "random values"})

# %% [markdown]
# The third result is not similar to its query, 0.15, and no part of it has much credit: both maps are grey. No metric of faithfulness is
# informative there.

# %%
lost = {name: metrics.faithfulness(model, (query, retrieved), one) for name, one in maps.items()}
for name, values in lost.items():
    print(f"{name}: " + ", ".join(f"{value:.3f}" for value in values))

# %% [markdown]
# Faithfulness is one point of a curve: the similarity while more and more pixels are removed (deletion), or while more and more pixels
# appear from the blur (insertion), the most important pixels first. The whole curve needs no choice of 30 %, and the area below it is one
# number.

# %%
curves = {
    name: [curve(model, (query[:1], retrieved[:1]), one[:1], n_steps=10) for curve in (metrics.deletion_curve, metrics.insertion_curve)]
    for name, one in maps.items()
}
figure = Figure(figsize=(10, 3.4), layout="constrained")
for axes, kind, place in zip(
    figure.subplots(1, 2, sharey=True), ("deletion: lower is better", "insertion: higher is better"), (0, 1), strict=True
):
    for name, both in curves.items():
        axes.plot(both[place].fractions.numpy(), both[place].values[0].numpy(), label=f"{name}, area {both[place].area.item():.3f}")
    axes.set(title=kind, xlabel="share of the pixels")
    axes.legend()
figure

# %% [markdown]
# For this pair, deletion hardly separates a good map from a random map, but insertion does. If a tenth of all pixels is blurred at random
# places, the network loses as much as if the same number is blurred at the right places. But if the same number of pixels is visible at
# random places, no object can be recognised. Use both curves.
#
# ## Inefficiency
#
# The credit of an efficient method sums to $v(N) - v(\varnothing)$, the similarity of the pair minus the similarity with the blurred
# retrieved image. `inefficiency` is the missing part. It shows if the numbers can be read as similarity. It says nothing about their
# *places*: an efficient map may be wrong everywhere. The baseline of SAM is 0 and not a blur, so its credit has a different sum.

# %%
missing = {name: metrics.inefficiency(maps[name], full, empty) for name in ("SAM", "IG-SAM")}
for name, values in missing.items():
    print(f"{name}: " + ", ".join(f"{value:.4f}" for value in values))

# %% [markdown]
# ## Second order: the object of the query
#
# Pairs of parts transfer a mask from the query to the retrieved image. `label_propagation` keeps as many of the projected pixels as the
# true object has, and compares them with the object. `second_order_faithfulness` shows the model only the query's object and these pixels,
# with the rest blurred, and measures their similarity.

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
    print(f"{name}: mean IoU", overlap.mean_iou.numpy().round(3), " similarity of these pixels", similarity.numpy().round(3))

# %% [markdown]
# The motorcycle and the cat's face are found, and the model agrees: when it sees only these pixels, the similarity is nearly as high as
# before. The flower is not found. This is correct for the model, not an error of the method: for this model, a flower on a cat's head is a
# cat.
#
# The mean IoU of the random map is not 0: it keeps as many pixels as the object has, some of them are right, and most of the other pixels
# *are* background. Compare with the random map, never with 0.
#
# ## All metrics with one command
#
# In a terminal, in your folder, this is
#
# ```sh
# captum-pairwise tables --pairs pairs.csv --backbones mine=my_model:make_encoder \
#     --methods factorised sam random --preset quick --set n_embeddings=40 n_slow=0 --out results
# ```
#
# `--backbones NAME=module:function` names your encoder; one table can compare several encoders. Without `--methods` the table has all
# 24 columns. Without `--preset quick` the budgets are those of the paper, which need a GPU. `--set` changes single budgets.

# %%
command = ["tables", "--pairs", str(folder / "pairs.csv"), "--backbones", "mine=my_model:make_encoder", "--preset", "quick"]
command += ["--set", "n_embeddings=40", "n_slow=0", "--out", str(folder / "results"), "--device", "cpu"]
methods = ["factorised", "sam", "random"]
status = evaluation([*command, "--methods", *methods])


def n_rows() -> int:
    """Number of runs on disk: the lines of each file without its header."""
    return sum(len(file.read_text().splitlines()) - 1 for file in (folder / "results" / "rows").glob("*.csv"))


n_run = [n_rows()]

# %% [markdown]
# Each row was written to disk before the next run started. So you can stop the command at any time and start it again: it continues after
# the last row. Here all rows exist, so the second command runs only one more method.

# %%
status_again = evaluation([*command, "--methods", *methods, "igsam"])
n_run.append(n_rows())
print("runs on disk after each command:", n_run)

# %% [markdown]
# ## How to read `results.csv`
#
# There is one row for each pair, model and method, with every metric, the seconds, and the number of masked images that passed through the
# network. If a run fails, its row has an `error` and the exit status is 1; `--retry` runs it again.

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
# ## How to read standard errors
#
# `±` is the standard error over *pairs*: the uncertainty of the mean for other pairs of the same kind. Pairs differ from each other much
# more than methods differ on one pair. So two columns may differ although their bars overlap. Compute the difference for each pair, and the
# standard error of the *mean difference*:

# %%
first, second = column("igsam", "faithfulness"), column("sam", "faithfulness")
for name, values in (("IG-SAM", first), ("SAM", second), ("their difference", first - second)):
    mean, error = metrics.mean_and_error(values)
    print(f"{name}: {mean:.3f} ± {error:.3f}")

# %% [markdown]
# Three pairs are only a demonstration. With fewer than about thirty pairs, two standard errors are not enough. A bold number in the table
# has passed a sign test against the second best; `page.md` beside it has the paired difference and the test of every method. Other
# pitfalls:
#
# * **The background of the metric.** Faithfulness blurs. A method whose own baseline is a blur explains exactly the measured change; a
#   method with another baseline does not. Use the same baseline for all (`baselines=`) before you compare *methods*.
# * **Painted maps are not sums.** Each pixel of a superpixel has the credit of the whole superpixel, and an enlarged map repeats every
#   cell. You can rank the pixels; sum only the credit of players.
# * **Coarse maps have ties.** Among equal pixels, the first in reading order are taken first. With few superpixels, the limit of 30 % may
#   be inside a superpixel.
# * **Objects in the same place.** If query and result show the object in the same place, a copy of the mask is always right, and mIoU says
#   nothing about correspondence.
# * **Pairs with a common photo are not independent.** Twelve ordered pairs of four photos have the information of about four pairs, not
#   twelve.
# * **Settings are part of a row.** Rows with other budgets, seeds or weights stay in the folder, but are not shown. Images are identified
#   by *name*: use a new `--out` for changed images.

# %%
sys.path.remove(temporary.name)
temporary.cleanup()
