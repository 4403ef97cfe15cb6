# %% [markdown]
# # Audit a search
#
# One explained pair does not tell what a search looks at in general: at the objects, or at a frame that a shop has put around some photos.
# An *audit* explains all results of all queries. After this page you can
#
# * find out what a search matches on, and whether it takes a shortcut;
# * prove it: search again without the suspected parts;
# * check that a corrected gallery is free of it.
#
# (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 80}
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from sklearn.datasets import load_sample_image

import captum_pairwise as cp

encoder = cp.backbones.create("efficientnet_lite0")

# %% [markdown]
# ## A gallery with frames
#
# The gallery has seven subjects with five photos each: different crops of one picture. A subfolder for each subject tells which results are
# correct. The shop has put a striped frame around one photo of six subjects.

# %%
SIDE, FRAME, N_PHOTOS = 256, 36, 5  # pixels, pixels, photos of a subject
FRAMED = {5, 10, 15, 20, 25, 30}  # numbers of photos


def add_frame(photo: Image.Image) -> Image.Image:
    """The photo with a striped frame around it."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    stripes = np.where(((rows + columns) // 16 % 2)[..., None], (250, 210, 0), (20, 20, 20)).astype(np.uint8)
    framed = Image.fromarray(stripes)
    framed.paste(photo.resize((SIDE - 2 * FRAME, SIDE - 2 * FRAME)), (FRAME, FRAME))
    return framed


def write_gallery(folder: Path, has_frames: bool) -> None:
    """Write five random crops of each picture."""
    generator = np.random.default_rng(0)
    data = skimage.data
    pictures = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.stereo_motorcycle()[0]]
    pictures += [load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    for number in range(N_PHOTOS * len(pictures)):
        picture = Image.fromarray(np.asarray(pictures[number // N_PHOTOS]))
        share = generator.uniform(0.35, 0.95)
        width, height = int(picture.width * share), int(picture.height * share)
        left, top = int(generator.integers(0, picture.width - width)), int(generator.integers(0, picture.height - height))
        photo = picture.crop((left, top, left + width, top + height)).resize((SIDE, SIDE))
        file = folder / f"subject {number // N_PHOTOS}" / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        (add_frame(photo) if has_frames and number in FRAMED else photo).save(file)


temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
write_gallery(folder / "photos", has_frames=True)


def show_photos(files: list[Path], titles: list[str], parts: list[int] | None = None) -> Figure:
    """Photos side by side; of each, one part of a 7×7 grid has a red frame."""
    figure = Figure(figsize=(1.4 * len(files), 1.7), layout="constrained")
    for place, (axes, file, title) in enumerate(zip(figure.subplots(1, len(files), squeeze=False).flat, files, titles, strict=True)):
        axes.imshow(np.asarray(Image.open(file)))
        axes.set_title(title, size="small")
        axes.set_axis_off()
        if parts is not None:
            row, column = divmod(parts[place], 7)
            axes.add_patch(Rectangle((column * SIDE / 7, row * SIDE / 7), SIDE / 7, SIDE / 7, fill=False, edgecolor="red", linewidth=3))
    return figure


files = sorted((folder / "photos").glob("*/*.png"))
show_photos(files[4:12], [file.parent.name for file in files[4:12]])

# %% [markdown]
# ## What does it match on?
#
# Each photo is a query, and its three nearest others are its hits.

# %%
audit = cp.audit(encoder, folder / "photos", folder / "audit", top=3)
for sentence in audit.verdict:
    print(sentence)

# %% [markdown]
# The strongest parts of all pairs are put into **clusters** by what the network sees in them. A cluster is a suspected shortcut if it
# carries much credit in unrelated groups, and more in wrong hits than in correct ones. Its examples show what it is:

# %%
(suspect,) = audit.suspects
examples = [(Path(file), part) for file, part in suspect.examples]
show_photos([file for file, _ in examples], [file.parent.name for file, _ in examples], [part for _, part in examples])

# %% [markdown]
# `audit.page`, the file `audit.html`, shows every cluster and every pair with its maps. One of the wrong hits, explained alone, matches
# frame to frame:

# %% tags=["thumbnail"]
wrong = np.flatnonzero(audit.rows.is_correct == 0)[0]
query, hit = audit.rows.get("query")[wrong], audit.rows.get("hit")[wrong]
cp.explain(encoder, query, hit).figure()

# %% [markdown]
# The audit also says **where** the credit is. Each part belongs to fields such as the border, which is the outer ring of parts, or to your
# own masks.

# %%
border = {share.value: share for share in audit.tags if share.tag == "border" and share.split == "hits"}
bars = {f"{name} hits": 100 * share.credit.mean for name, share in border.items()} | {"area": 100 * border["wrong"].area.mean}
for name, value in bars.items():
    print(f"{name}: {value:.0f} %")
figure = Figure(figsize=(5, 1.8), layout="constrained")
axes = figure.subplots()
axes.barh(list(bars), list(bars.values()), color=["#2166ac", "#b2182b", "0.6"])
axes.set_xlabel("share of the border in the credit, and in the area (%)")
figure

# %% [markdown]
# In correct hits the border has less than its share of the area: the objects are in the middle. In wrong hits it has nearly its full share.
#
# ## Proof: search without it
#
# A cluster with much credit is only a suspect. So the audit removes its parts from all photos, and what they add from all embeddings,
# and searches again. If the parts were innocent, the results would stay as good as they were.

# %%
(removal,) = audit.removals
before, after = removal.accuracy
print(
    f"{removal.n_changed} of {removal.n_lists} lists of hits change; correct hits: {100 * before:.1f} % before, {100 * after:.1f} % after"
)

# %% [markdown]
# ## The corrected gallery
#
# The shop takes its frames off, and the audit is repeated.

# %%
write_gallery(folder / "corrected", has_frames=False)
corrected = cp.audit(encoder, folder / "corrected", folder / "corrected audit", top=3)
for name, result in (("with frames", audit), ("without", corrected)):
    correct = 100 * np.nanmean(result.rows.is_correct)
    print(f"{name}: {correct:.1f} % of the hits are correct; suspected shortcuts: {len(result.suspects)}")
temporary.cleanup()

# %% [markdown]
# Where frames cannot be taken off, search with embeddings that leave them out, as the proof did: `removal.after` has its hits.
#
# ## Your own search
#
# ```sh
# captum-pairwise audit photos --top 5 --out audit   # a folder, with a subfolder for each subject
# captum-pairwise audit pairs.parquet --out audit    # your search: a table of (query, hit)
# ```
#
# A killed audit goes on where it was. [The reference of the audit](audit_a_search.md) has the columns of the table, your own masks and
# labels, queries for faiss, LanceDB, Qdrant and pgvector, and runs on several processes and machines.
#
# Next: [text and images](05_text_and_images.ipynb).
