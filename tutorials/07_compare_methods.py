# %% [markdown]
# # Compare methods on your own model
#
# A map that looks right is no evidence. After this page you can
#
# * measure an explanation with the metrics of the field, each a function;
# * find the object of the query again, and measure how well;
# * compare all methods on your model and your pairs with one command;
# * read its table: random baselines, standard errors, paired differences.
#
# (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 75}
import csv
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import captum_pairwise as cp
from captum_pairwise import metrics
from captum_pairwise.visualization import heatmap_figure, projection_figure, table_figure

temporary = tempfile.TemporaryDirectory()  # your project folder
folder = Path(temporary.name)

# %% [markdown]
# ## Your encoder and your pairs
#
# Write a function that returns a `backbones.ImageEncoder`: a network from images to feature maps, and the normalisation of its inputs. The
# pairs are a CSV file with the columns `query` and `retrieved`. Masks of the object are optional; some metrics need them.

# %%
code = """
from captum_pairwise import backbones

def make_encoder():
    network = backbones.create("efficientnet_lite0").features  # your network, without pooling and classifier
    return backbones.ImageEncoder(network, mean=(127 / 255,) * 3, std=(128 / 255,) * 3, size=(160, 160))
"""
(folder / "my_model.py").write_text(code)
sys.path.insert(0, temporary.name)  # as in your folder
built_in = {pair.query.stem.removesuffix("_query"): pair for pair in cp.datasets.builtin_pairs(folder / "photos")}
cp.datasets.write_pairs([built_in[name] for name in ("motorcycle_views", "cat_mirrored", "flower_moved")], folder / "pairs.csv")

# %%
encoder = cp.backbones.parse("mine=my_model:make_encoder")
model = cp.SimilarityWrapper(encoder)
pairs = cp.datasets.read_pairs(folder / "pairs.csv")
query, retrieved = (torch.cat([encoder.preprocess(getattr(pair, side)) for pair in pairs]) for side in ("query", "retrieved"))
photos = query, retrieved
files = [[str(getattr(pair, f"{side}_mask")) for pair in pairs] for side in ("query", "retrieved")]
masks = tuple(torch.cat([encoder.preprocess(file)[:, 0] > 0.5 for file in of_side]) for of_side in files)

# %% [markdown]
# ## Do parts with high credit matter?
#
# `faithfulness` blurs the 30 % of the retrieved photo with the highest credit, and measures how much similarity is lost. Blurring 30 %
# anywhere loses some, so compare with a **random map**.

# %%
maps: dict[str, Any] = {
    "SAM": cp.LayerSAM(model, encoder.features).attribute(photos)[1],
    "IG-SAM": cp.LayerIGSAM(model, encoder.features).attribute(photos)[1],
    "random": torch.rand(len(pairs), 1, 160, 160, generator=torch.Generator().manual_seed(0)),
}
with torch.no_grad():
    print("similarity:", ", ".join(f"{value:.3f}" for value in model(*photos)))
for name, values in maps.items():
    print(f"loss by {name}:", ", ".join(f"{loss:.3f}" for loss in metrics.faithfulness(model, photos, values)))
heatmap_figure(retrieved[::2], {name: values[::2] for name, values in maps.items()}, units={"random": "random values"})

# %% [markdown]
# The third pair is not similar, so no part has much credit, and its faithfulness says nothing.
#
# Faithfulness is one point of a curve: the similarity while pixels are removed (deletion), or while they appear from the blur (insertion),
# the most important ones first. The area below the curve is one number.

# %%
figure = Figure(figsize=(10, 3.4), layout="constrained")
titles = {"deletion: lower is better": metrics.deletion_curve, "insertion: higher is better": metrics.insertion_curve}
for axes, (title, measure) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
    for name, values in maps.items():
        curve = measure(model, (query[:1], retrieved[:1]), values[:1], n_steps=8)
        axes.plot(curve.fractions.numpy(), curve.values[0].numpy(), label=f"{name}, area {curve.area.item():.2f}")
    axes.set(title=title, xlabel="share of the pixels")
    axes.legend()
figure

# %% [markdown]
# Here insertion tells a good map from a random one, and deletion hardly does: random holes hurt the network as much as the right ones. Use
# both.
#
# ## Does the credit sum to the similarity?
#
# `inefficiency` is what is missing from $v(N) - v(\varnothing)$, the similarity minus that with a blurred retrieved photo. If it is 0, the
# numbers can be read as similarity. It says nothing about their places.

# %%
with torch.no_grad():
    full, empty = model(*photos), model(query, cp.blur_baseline(retrieved))
for name in ("SAM", "IG-SAM"):
    print(f"missing from {name}:", ", ".join(f"{value:.3f}" for value in metrics.inefficiency(maps[name], full, empty)))

# %% [markdown]
# ## Is the object found again?
#
# Pairs of parts carry the query's mask to the retrieved photo. `label_propagation` compares as many pixels as the object has with the
# object. The recipe `OBJECT_RECIPE` is made for this task: two layers, two scales, and superpixels. Its map shows *where* the object is,
# and gives up the axioms that make credit a share of the similarity.

# %%
interactions = cp.LayerFactorisedInteractions(model, encoder.features).interactions(photos, n_samples=100)
layers = [encoder.features, encoder.get_submodule("features.network._blocks.10")]
one_scale = replace(cp.OBJECT_RECIPE, scales=(1.0,))
projections = {
    "pairs": interactions.project(masks[0]).reshape(-1, 5, 5),
    "recipe at one scale": cp.project_attention_through(model, layers, photos, masks[0], recipe=one_scale),
    "recipe": cp.project_attention_through(model, layers, photos, masks[0], recipe=cp.OBJECT_RECIPE),
    "random": torch.rand(len(pairs), 160, 160, generator=torch.Generator().manual_seed(1)),
}
for name, projected in projections.items():
    overlap = metrics.label_propagation(projected, masks[1]).mean_iou
    print(f"mean IoU of {name}:", ", ".join(f"{value:.2f}" for value in overlap))

# %% tags=["thumbnail"]
projection_figure((query[1:], retrieved[1:]), masks[0][1:], projections["recipe"][1:], mask=masks[1][1:])

# %% [markdown]
# The random map is not at 0: some of its pixels are right, and most other pixels *are* background. The pairs do not find the flower: for
# this network, a flower on a cat's head is a cat. The recipe finds it at its second scale, where the flower covers more parts.
#
# ## All metrics with one command
#
# In a terminal, in your folder:
#
# ```sh
# captum-pairwise tables --pairs pairs.csv --backbones mine=my_model:make_encoder \
#     --methods layer_factorised sam random --preset quick --set n_curve_steps=2 n_columns=2 --out results
# ```
#
# Without `--methods` the table has all 24. `--preset field` is for two cores and half an hour; the default is the paper's, for a GPU.
# `--set` changes single budgets. Each row is on disk before the next run starts: stop the command at any time, and give it again.

# %%
words = "tables --pairs pairs.csv --backbones mine=my_model:make_encoder --methods layer_factorised sam random"
words += " --preset quick --set n_curve_steps=2 n_columns=2 --out results"
subprocess.run([sys.executable, "-m", "captum_pairwise", *words.split()], cwd=folder, check=True, capture_output=True)
print("files:", ", ".join(sorted(file.name for file in (folder / "results").glob("*.*"))))

# %% [markdown]
# `page.md` ranks the methods in each protocol. `results.csv` has a row for each pair and method:

# %%
with (folder / "results" / "results.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))


def read_column(method: str, metric: str) -> torch.Tensor:
    """A metric of a method, pair by pair."""
    return torch.tensor([float(row[metric]) for row in rows if row["method"] == method])


names = list(dict.fromkeys(row["method"] for row in rows))
shown = {"insertion": "Area of insertion", "mean_iou": "mean IoU"}
panels = {title: {"mine": {name: metrics.mean_and_error(read_column(name, metric)) for name in names}} for metric, title in shown.items()}
table_figure(panels, "Three pairs, bars of one standard error")

# %% [markdown]
# ## Read the standard errors
#
# The bars are standard errors over *pairs*, and pairs differ much more than methods. So two methods may differ although their bars overlap:
# look at the difference of each pair.

# %%
first, second = read_column("sam", "insertion"), read_column("random", "insertion")
for name, values in {"sam": first, "random": second}.items():
    mean, error = metrics.mean_and_error(values)
    print(f"{name}: {mean:.3f} ± {error:.3f}")
difference = metrics.compare_pairs(first, second)
print(f"difference: {difference.mean:.3f} ± {difference.error:.3f}")
print(f"wins: {difference.wins}, losses: {difference.losses}; sign test p = {difference.p_value:.2f}")

# %% [markdown]
# Three pairs prove nothing, as the sign test says: take thirty or more. And
#
# * give all methods the baseline of the metric, a blur, before you compare *methods*;
# * use objects at different places in both photos, or a copy of the mask is always right;
# * count pairs that share a photo as one.
#
# Next: [how it works](08_how_it_works.ipynb).

# %%
sys.path.remove(temporary.name)
temporary.cleanup()
