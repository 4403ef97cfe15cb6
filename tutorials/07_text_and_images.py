# %% [markdown]
# # Words: two sentences, and a caption and an image
#
# A similarity can compare any inputs. First, the parts are the words of two sentences, explained over the embedding layer of a trained
# encoder. Then the parts are the words of a caption and the patches of an image, explained in a small CLIP. No package contains CLIP's
# published weights, so this page trains a small CLIP on coloured shapes, in about ten seconds. The last section shows the changes for a
# real CLIP.
#
# (`pip install 'captum-pairwise[tutorials]'`)

# %%
# %matplotlib inline
from typing import Any

import tokenizers
import torch
import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

import captum_pairwise as cp
from captum_pairwise.visualization import caption_figure, token_figure

# %% [markdown]
# ## Two sentences, word by word
#
# A package contains the weights of all-MiniLM-L6-v2. Sentences are token ids. `layer_mask` numbers the tokens that are players. It leaves
# out the tokens at the beginning and at the end, which are always present.

# %%
encoder = cp.text.sentence_encoder()
model = cp.SimilarityWrapper(encoder)
query = encoder.ids(["A cat sits on the warm windowsill."])
retrieved = encoder.ids(["A kitten is resting by the sunny window."])
masks = encoder.layer_mask(query), encoder.layer_mask(retrieved)
words = encoder.pieces(query)[0], encoder.pieces(retrieved)[0]
with torch.no_grad():
    print(f"similarity: {model(query, retrieved).item():.4f}")

# %% [markdown]
# What replaces an absent word? A word cannot simply be removed from a sentence. Here a random word of the vocabulary replaces it, and every
# value is the average over four such sentences: a *background distribution*.

# %%
generator = torch.Generator().manual_seed(0)
backgrounds = encoder.random_words(query, 4, generator), encoder.random_words(retrieved, 4, generator)
print("one of the backgrounds:", " ".join(encoder.pieces(backgrounds[0].images[0])[0]))

method = cp.LayerFactorisedShapleyTaylor(model, encoder.embedding_layer)
over_words = method.interactions((query, retrieved), backgrounds, layer_mask=masks, n_samples=60)
token_figure(over_words, *words)

# %% [markdown]
# The numbers in the middle are credits of *pairs*. The column on the left and the row above are the maps of the two sentences: what each
# word adds to the similarity while the other sentence is whole. Cat and kitten are the strongest words and the strongest pair. The second
# pair is window and the first part of windowsill, which the tokenizer splits into two tokens. The map of a sentence sums to the similarity
# minus the similarity of random words and the other sentence.

# %%
between = over_words["between"][0]
strongest = [divmod(place, len(words[1])) for place in between.flatten().argsort(descending=True)[:5].tolist()]
for row, column in strongest:
    print(f"{between[row, column]:+.3f}  {words[0][row]} – {words[1][column]}")
assert over_words.without_query is not None
expected = over_words.full.item() - over_words.without_query.item()
print(f"sum of the query's map: {over_words.query_map.sum():.4f}; expected: {expected:.4f}")

# %% [markdown]
# ### Why not the mask token?
#
# If all words are masked, the two sentences are *identical* for the network. Their similarity is 1, so all words together can only reduce
# it. The joint credit `marginal`, which sums to $v(N) - v(\emptyset)$, is therefore negative for most words. The maps keep one sentence
# whole, so they do not have this problem:

# %%
over_masks = method.interactions((query, retrieved), (encoder.baseline, encoder.baseline), layer_mask=masks, n_samples=60)
for name, found in (("random words", over_words), ("masks", over_masks)):
    joint, maps = ((found[block] < 0).double().mean() for block in ("marginal", "given_other"))
    print(f"over {name}: the similarity without any word is {found.empty.item():.4f},")
    print(f"  joint credit {found['marginal'].sum():+.4f}, negative for {joint:.0%} of the words; maps negative for {maps:.0%}")
both = over_words, over_masks
agreement, alike = (torch.corrcoef(torch.stack([found[block].flatten() for found in both]))[0, 1] for block in ("between", "given_other"))
print(f"correlation of the pairs: {agreement:.2f}, of the maps: {alike:.2f}")

# %% [markdown]
# Pairs and maps still show the matching words, but the joint credits of single words do not explain why the sentences are similar. The same
# happens with zeros and with the mean embedding.
#
# ## A small CLIP, trained on this page
#
# An image has two coloured shapes on a light background. A caption says which shape is left or right of the other. The order of the words
# does not determine the positions; the network has to use the words "left" and "right".

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
# The model is a `CLIPModel` of transformers with two blocks, a width of 48, and 4×4 patches. The tokenizer knows thirteen words.
# `cp.clip.clip_encoders` returns its two towers. The training is CLIP's own: each image has to find its own caption among 64 captions, and
# each caption its own image.


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
clip = small_clip()
image_encoder, text_encoder = cp.clip.clip_encoders(clip, word_tokenizer())
ids = text_encoder.ids(captions)
n_training, n_steps = 1800, 300
optimizer = torch.optim.AdamW(clip.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=n_steps)
for _ in range(n_steps):
    batch = torch.randint(n_training, (64,), generator=generator)
    cosines = normalize(image_encoder(images[batch])) @ normalize(text_encoder(ids[batch])).T
    loss = cross_entropy(cosines / 0.07, torch.arange(64)) + cross_entropy(cosines.T / 0.07, torch.arange(64))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
clip = clip.eval()

# %% [markdown]
# For two hundred new scenes: how often does an image find its own caption among all of them?

# %%
with torch.no_grad():
    cosines = normalize(image_encoder(images[n_training:])) @ normalize(text_encoder(ids[n_training:])).T
right = [captions[n_training + place] == caption for place, caption in zip(cosines.argmax(1).tolist(), captions[n_training:], strict=True)]
accuracy, by_chance = sum(right) / len(right), len(set(captions[n_training:])) ** -1
print(f"right: {accuracy:.0%}; by chance about {by_chance:.0%}")

# %% [markdown]
# The accuracy is far from perfect, but far above chance. The model is good enough to explain.
#
# ## Which word is where?
#
# The parts of one tower are now patches, the parts of the other tower are words. The layer of the image tower is the embedding of the
# patches, a 4×4 map in which patches are still independent. An absent patch shows the background colour. CLIP's tokenizers have no mask
# token, so random words replace absent words. A pair of a patch and a word has credit if the two together increase the similarity.

# %%
clip_model = cp.SimilarityWrapper(image_encoder, text_encoder)
layers = (image_encoder.get_submodule("network.embeddings.patch_embedding"), text_encoder.embedding_layer)
patches_and_words = cp.LayerFactorisedShapleyTaylor(clip_model, layers)


def explained(image: Tensor, caption: str, background: Any = None) -> cp.Interactions:
    """The interactions of patches and words. The default background of the caption is four captions of random words."""
    ids = text_encoder.ids([caption])
    others = text_encoder.random_words(ids, 4, torch.Generator().manual_seed(0)) if background is None else text_encoder.ids([background])
    baselines = (torch.full_like(image, GROUND), others)
    return patches_and_words.interactions((image, ids), baselines, layer_mask=(None, text_encoder.layer_mask(ids)), n_samples=300)


image, caption = drawn([("red", "square"), ("blue", "disk")], torch.Generator().manual_seed(1))[None], "a red square left of a blue disk"
found = explained(image, caption)
caption_figure(found, image, caption.split(), title=caption)

# %% [markdown]
# One example may be chance. For eight new scenes: is the patch with the most credit for a colour's word in the half of the image with that
# colour? A random map is right half of the time.

# %%
hits, strengths = [], []
for image_, caption_, things in scenes[n_training : n_training + 8]:
    between = explained(image_[None], caption_)["between"][0].reshape(4, 4, -1)
    for half, (colour, _) in enumerate(things):
        of_word = between[:, :, caption_.split().index(colour)]
        hits.append(of_word.amax(0).argmax().item() // 2 == half)
print(f"the strongest patch of a colour's word is in its half: {sum(hits) / len(hits):.0%} of {len(hits)} words")

# %% [markdown]
# ## Why this caption and not that one?
#
# If we exchange the colours, the caption is wrong. Each of the two captions is the background of the other. A word that both captions have
# in the same place is the same token, present or absent. So its credit is exactly 0, and all credit goes to the words that differ.

# %%
wrong_caption = "a blue square left of a red disk"
why = explained(image, caption, background=wrong_caption)
with torch.no_grad():
    scores = [clip_model(image, text_encoder.ids([one])).item() for one in (caption, wrong_caption)]
print(f"similarity: {scores[0]:.3f} of “{caption}”, {scores[1]:.3f} of “{wrong_caption}”")
common = [place for place, word in enumerate(caption.split()) if word not in COLOURS]
print(f"largest credit of a word that both captions have: {why['between'][0][:, common].abs().max():.0e}")
caption_figure(why, image, caption.split(), title=f"“{caption}” over “{wrong_caption}”")
# %% [markdown]
# Compare the two maps: "red" instead of "blue" increases the similarity at the square and reduces it at the disk, and "blue" the reverse.
# So this small network has learned that the colours belong to *positions*.
#
# ## Your own CLIP
#
# Only the model changes. For a network of published size, use a block of the image tower instead of its first layer, and superpixels or the
# patches of a block as parts: `token_grid(7, 7)` arranges the tokens of a ViT-B/32 as a map, without the class token. Do not use the last
# block, because only its class token has an effect.
#
# ```python
# clip = transformers.CLIPModel.from_pretrained(folder).eval()
# tokenizer = transformers.CLIPTokenizerFast.from_pretrained(folder)
# image_encoder, text_encoder = cp.clip.clip_encoders(clip, tokenizer)
# layers = (image_encoder.network.encoder.layers[-2], text_encoder.embedding_layer)
# method = cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(image_encoder, text_encoder), layers)
# image, ids = image_encoder.preprocess("photo.jpg"), text_encoder.ids(["a photo of a cat"])
# baselines = (None, text_encoder.random_words(ids, 4, torch.Generator().manual_seed(0)))
# masks = (cp.token_grid(7, 7), text_encoder.layer_mask(ids))
# interactions = method.interactions((image, ids), baselines, layer_mask=masks)
# ```
