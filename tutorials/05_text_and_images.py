# %% [markdown]
# # Explain sentences, and captions of images
#
# A similarity can compare any inputs. Here the parts are the words of two sentences, and then the words of a caption and the patches of an
# image. After this page you can
#
# * explain two sentences, or a ranked list of sentences, in one call;
# * choose what replaces an absent word;
# * find out which word of a caption belongs to which place of an image;
# * ask why one caption fits better than another.
#
# (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 70}
from typing import Any

import tokenizers
import torch
import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

import captum_pairwise as cp

transformers.logging.disable_progress_bar()

# %% [markdown]
# ## Two sentences
#
# A package carries the weights of all-MiniLM-L6-v2. `cp.explain` also takes a `SentenceTransformer` or a `CrossEncoder`.

# %%
encoder = cp.text.sentence_encoder()
windowsill, window = "A cat sits on the warm windowsill.", "A kitten is resting by the sunny window."
why = cp.explain(encoder, windowsill, window)
print(why.verdict)

# %% tags=["thumbnail"]
why.figure()

# %% [markdown]
# The numbers in the middle are *pairs* of words: what the two words add together. The row and the column beside them are the two maps: what
# each word adds while the other sentence is whole. The tokenizer splits "windowsill" into two parts.

# %%
for match in why.matches(3):
    print(match)

# %% [markdown]
# ## What replaces an absent word?
#
# A word cannot simply be cut out of a sentence. By default random words of the vocabulary take its place, four times, and every value is
# the average. The network's own mask token is another choice:

# %%
masked = cp.explain(encoder, windowsill, window, baselines="mask token")
for name, explanation in {"random words": why, "mask token": masked}.items():
    print(f"{name}: similarity {explanation.similarity:.2f}, without any word {explanation.interactions.empty.item():.2f}")
correlation = torch.corrcoef(torch.stack([why.query_map, masked.query_map]))[0, 1]
print(f"correlation of the query's two maps: {correlation:.2f}")

# %% [markdown]
# Two sentences of mask tokens are *identical*, so their similarity is 1, and all words together can only lower it. The maps do not have
# this problem, because they keep the other sentence whole. So read the maps, or keep the random words.
#
# ## A ranked list
#
# [As for photos](03_a_search_and_its_ranking.ipynb), `objective="margin"` asks why the first result comes before the second.

# %%
results = [window, "A dog sits on the cold doorstep."]
ranking = cp.explain_ranking(encoder, windowsill, results, objective="margin", n_samples=40)
print(ranking.margin)
ranking.figure()

# %% [markdown]
# The cat and the window put the first sentence first.
#
# ## A caption and an image
#
# No package carries CLIP's published weights. So this page trains a small CLIP, in some seconds, on images of two coloured shapes. A
# caption says which shape is left or right of the other.

# %%
COLOURS = {"red": (0.85, 0.15, 0.15), "green": (0.1, 0.6, 0.2), "blue": (0.15, 0.3, 0.85), "yellow": (0.95, 0.8, 0.1)}
SHAPES, SIZE, GROUND = ("square", "disk", "cross"), 32, 0.9
VOCABULARY = ["<start>", "<end>", "a", "left", "right", "of", *COLOURS, *SHAPES]


def inside(shape: str, row: int, column: int) -> Tensor:
    """The pixels of a shape at a position."""
    down, along = torch.meshgrid(torch.arange(SIZE) - row, torch.arange(SIZE) - column, indexing="ij")
    if shape == "disk":
        return down**2 + along**2 < 36
    if shape == "square":
        return (down.abs() < 6) & (along.abs() < 6)
    return ((down.abs() < 3) & (along.abs() < 7)) | ((along.abs() < 3) & (down.abs() < 7))


def drawn(things: list[tuple[str, str]], generator: torch.Generator) -> Tensor:
    """An image of two shapes `(colour, shape)`, the first on the left."""
    image = torch.full((3, SIZE, SIZE), GROUND)
    for middle, (colour, shape) in zip((8, 24), things, strict=True):
        row, shift = (int(torch.randint(low, high, (1,), generator=generator)) for low, high in ((8, 25), (-1, 2)))
        image[:, inside(shape, row, middle + shift)] = torch.tensor(COLOURS[colour])[:, None]
    return image


def scene(generator: torch.Generator) -> tuple[Tensor, str, list[tuple[str, str]]]:
    """An image, its caption, and its two shapes."""
    colours = torch.randperm(len(COLOURS), generator=generator)[:2].tolist()
    shapes = torch.randint(len(SHAPES), (2,), generator=generator).tolist()
    things = [(list(COLOURS)[colour], SHAPES[shape]) for colour, shape in zip(colours, shapes, strict=True)]
    left, right = (f"a {colour} {shape}" for colour, shape in things)
    caption = f"{left} left of {right}" if torch.rand((), generator=generator) < 0.5 else f"{right} right of {left}"
    return drawn(things, generator), caption, things


generator = torch.Generator().manual_seed(0)
scenes = [scene(generator) for _ in range(2000)]
images, captions = torch.stack([image for image, _, _ in scenes]), [caption for _, caption, _ in scenes]

# %% [markdown]
# The model is a `CLIPModel` of transformers with two blocks and 4×4 patches. `cp.clip.clip_encoders` returns its two towers. The training
# is CLIP's own: each image has to find its caption among 64, and each caption its image.

# %%


def word_tokenizer() -> Any:
    """A tokenizer of whole words."""
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: place for place, word in enumerate(VOCABULARY)}, unk_token="<end>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    ends = [("<start>", 0), ("<end>", 1)]
    words.post_processor = tokenizers.processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    names = {"bos_token": "<start>", "eos_token": "<end>", "pad_token": "<end>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=16, **names)


def small_clip() -> Any:
    """A CLIP with random weights."""
    sizes = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = sizes | {"vocab_size": len(VOCABULARY), "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = sizes | {"image_size": SIZE, "patch_size": 8}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))


torch.manual_seed(0)
clip = small_clip().double()  # rounding errors would grow during the training
image_encoder, text_encoder = cp.clip.clip_encoders(clip, word_tokenizer())
ids, n_training, n_steps = text_encoder.ids(captions), 1800, 300
optimizer = torch.optim.AdamW(clip.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=n_steps)
for _ in range(n_steps):
    batch = torch.randint(n_training, (64,), generator=generator)
    cosines = normalize(image_encoder(images[batch].double())) @ normalize(text_encoder(ids[batch])).T
    loss = cross_entropy(cosines / 0.07, torch.arange(64)) + cross_entropy(cosines.T / 0.07, torch.arange(64))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
clip = clip.float().eval()

# %% [markdown]
# How often does a new image find its own caption, among those of two hundred new images?

# %%
with torch.no_grad():
    cosines = normalize(image_encoder(images[n_training:])) @ normalize(text_encoder(ids[n_training:])).T
right = [captions[n_training + place] == caption for place, caption in zip(cosines.argmax(1).tolist(), captions[n_training:], strict=True)]
n_captions = len(set(captions[n_training:]))
print(f"right: {100 * sum(right) / len(right):.0f} %; by chance about {100 / n_captions:.0f} %")

# %% [markdown]
# Far from perfect, but good enough to explain.
#
# ## Which word is where?
#
# Two choices are made by hand. The layer of the image is the embedding of the patches, in which the patches are still independent. And an
# absent patch shows the background colour: a blur of a red square would still be red.

# %%
model = cp.SimilarityWrapper(image_encoder, text_encoder)
layers = (image_encoder.get_submodule("network.embeddings.patch_embedding"), text_encoder.embedding_layer)


def explain_caption(image: Tensor, caption: str, absent: Any = None) -> cp.Explanation:
    """The explanation of an image and its caption; `absent` replaces absent words."""
    return cp.explain(model, image, caption, layer=layers, baselines=(GROUND, absent))


image = drawn([("red", "square"), ("blue", "disk")], torch.Generator().manual_seed(1))
caption = "a red square left of a blue disk"
why = explain_caption(image, caption)
why.figure()

# %% [markdown]
# One example may be chance. For eight new images: is the strongest patch of a colour's word in the half of the image with that colour? A
# random map is right half of the time.

# %%
hits = []
for new_image, new_caption, things in scenes[n_training : n_training + 8]:
    pairs = explain_caption(new_image, new_caption).pairs.reshape(4, 4, -1)
    for half, (colour, _) in enumerate(things):
        columns = pairs[:, :, new_caption.split().index(colour)].amax(0)
        hits.append(columns.argmax().item() // 2 == half)
print(f"{sum(hits)} of {len(hits)} words")

# %% [markdown]
# ## Why this caption and not that one?
#
# If we exchange the colours, the caption is wrong. Let its words be the background: an absent word becomes the word of the wrong caption in
# the same place. The words that both captions have then get no credit at all.

# %%
wrong_caption = "a blue square left of a red disk"
rather = explain_caption(image, caption, text_encoder.ids([wrong_caption]))
print(f"similarity {rather.similarity:.2f} of “{caption}”, {cp.explain(model, image, wrong_caption).similarity:.2f} of “{wrong_caption}”")
rather.figure()

# %% [markdown]
# "Red" instead of "blue" raises the similarity at the square and lowers it at the disk, and "blue" the reverse. So this small network has
# learned that colours have *positions*.
#
# ## Your own CLIP
#
# `cp.models.from_transformers(model, processor)` makes both towers of CLIP or SigLIP; layers and patches are then found by themselves.
# [Your model in five lines](your_model_in_five_lines.md) has them, open_clip, rerankers and ColBERT.
#
# Next: [Captum's own classes](06_captum_pipelines.ipynb).
