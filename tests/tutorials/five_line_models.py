"""Tiny random models for the page *Your model in five lines*, and each similarity by the library's own call."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import formulas
import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
import torchvision
from conftest import seeded
from PIL import Image
from text_cases import SIZES, make_word_pieces, save_network
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize, pil_to_tensor, resize
from vision_cases import embed_without, randomise, vision_cases

import captum_pairwise as cp
from captum_pairwise.models.backbones import IMAGENET_MEAN, IMAGENET_STD


def import_apart(library: str) -> None:
    """Import a library without the folders of tests, of which LanceDB takes `datasets` for the package of Hugging Face."""
    own, tests = list(sys.path), Path(__file__).parents[1]
    sys.path[:] = [folder for folder in own if not Path(folder).resolve().is_relative_to(tests)]
    sys.modules.pop("datasets", None)
    try:
        pytest.importorskip(library)
    finally:
        sys.path[:] = own


import_apart("lancedb")
LIBRARIES = ("timm", "transformers", "open_clip", "sentence_transformers", "pytorch_metric_learning", "pytorch_lightning")
STORES = ("faiss", "qdrant_client")
timm, transformers, open_clip, sentence_transformers, _, pytorch_lightning = map(pytest.importorskip, LIBRARIES)
_ = [*map(pytest.importorskip, STORES)]
inference = pytest.importorskip("pytorch_metric_learning.utils.inference")
st_modules = pytest.importorskip("sentence_transformers.base.modules")
st_steps = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
late_steps = pytest.importorskip("sentence_transformers.multi_vector_encoder.modules", reason="sentence-transformers 6")
Names = dict[str, Any]
Values = Callable[[Tensor, Tensor], Tensor]  # presences of the query's parts and of the other's, [rows, parts] each, to similarities
Embed = Callable[[Tensor], Tensor]
Pixels = Callable[[Image.Image], Tensor]
PHOTOS = ("query.jpg", "result.jpg")
CAPTION = "a red bike"
WORDS = ("a red cat", "the red bike")


class Family(NamedTuple):
    """A block of the page.

    Attributes:
        make: returns the names that the second part of the block uses.
        compare: `(names after the block) -> (pairs of the package, values of all coalitions by the library's own call)`.
        runs_setup: True if the first part of the block runs as it is.
    """

    make: Callable[[], Names]
    compare: Callable[[Names], tuple[Tensor, Tensor]]
    runs_setup: bool = False


def write_photos(folder: Path) -> None:
    """Two photos, and their parts as five results of a search."""
    cat = Image.fromarray(skimage.data.cat()).crop((60, 30, 360, 270))
    other = Image.fromarray(skimage.data.chelsea())
    for name, photo in zip(PHOTOS, (cat, other), strict=True):
        photo.save(folder / name, quality=95)
    for place in range(8):
        other.crop((40 * place, 20, 40 * place + 160, 180)).save(folder / f"photo{place}.jpg", quality=95)


def small(network: nn.Module) -> Any:
    """The network in single precision, with weights far from those of an initialisation."""
    return randomise(network).float()


def compare_all(pairs: Tensor, parts: tuple[int, int], similarity: Values) -> tuple[Tensor, Tensor]:
    """The pairs, and their Banzhaf index by its formula: the mean mixed difference over all coalitions of the other parts."""
    n_query, n_retrieved = parts
    n_players = n_query + n_retrieved
    coalitions = (torch.arange(2**n_players)[:, None] >> torch.arange(n_players)) % 2 == 1
    with torch.no_grad():
        values = similarity(coalitions[:, :n_query], coalitions[:, n_query:]).double().tolist()
    by_formula = torch.tensor(
        [
            [formulas.banzhaf_pair(lambda z: values[sum(2**k for k in z)], i, n_query + j, n_players) for j in range(n_retrieved)]
            for i in range(n_query)
        ]
    )
    assert pairs.shape == by_formula.shape, (pairs.shape, by_formula.shape)
    return pairs, by_formula


def embed_distinct(embed: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """The embedding of each row; equal rows are embedded once."""
    distinct, places = z.unique(dim=0, return_inverse=True)
    return torch.cat([embed(row) for row in distinct])[places]


def compare_inputs(model: Any, items: Sequence[Any], inputs: Sequence[Tensor], score: Callable[[Tensor, Tensor], Tensor], **options: Any):
    """Two halves of each of two inputs, which are blurred where they are absent."""
    blurs = [cp.blur_baseline(batch) if batch.dim() == 4 else torch.zeros_like(batch) for batch in inputs]
    half = torch.arange(inputs[0].shape[-1]) * 2 // inputs[0].shape[-1]
    masks = tuple(half.reshape(1, *[1] * (batch.dim() - 2), -1).expand(1, 1, *batch.shape[2:]) for batch in inputs)
    baselines = None if inputs[0].dim() == 4 else (0, 0)
    pairs = cp.explain(model, *items, feature_mask=masks, baselines=baselines, **options).pairs

    def similarity(query: Tensor, retrieved: Tensor) -> Tensor:
        rows = [
            torch.cat([torch.where(z[half], batch, blur) for z in side])
            for side, batch, blur in zip((query, retrieved), inputs, blurs, strict=True)
        ]
        return score(*rows)

    return compare_all(pairs, (2, 2), similarity)


def cosine_of(embed: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda query, retrieved: F.cosine_similarity(embed(query), embed(retrieved))


def open_photos() -> list[Image.Image]:
    return [Image.open(name).convert("RGB") for name in PHOTOS]


def read_photos(pixels: Callable[[Image.Image], Tensor]) -> list[Tensor]:
    return [pixels(photo) for photo in open_photos()]


def imagenet_pixels(photo: Image.Image) -> Tensor:
    """The photo in 224 × 224 pixels, normalised as for ImageNet."""
    resized = resize(pil_to_tensor(photo)[None].float() / 255, [224, 224])
    return normalize(resized, list(IMAGENET_MEAN), list(IMAGENET_STD))


def photo_family(
    make: Callable[[], Names], pixels: Callable[[Names], Pixels], wrap: Callable[[Names], tuple[Any, Embed]], **options: Any
) -> Family:
    """The family of an encoder of photos.

    Args:
        make: as for `Family`.
        pixels: returns the library's own function from a photo to the input of its network.
        wrap: returns the model as the block passes it to `explain`, and the library's own embedding of such inputs.
        options: more arguments of `explain`.
    """

    def compare(names: Names) -> tuple[Tensor, Tensor]:
        model, embed = wrap(names)
        return compare_inputs(model, PHOTOS, read_photos(pixels(names)), cosine_of(embed), method="factorised", **options)

    return Family(make, compare)


def timm_family(name: str, **sizes: Any) -> Family:
    def read(names: Names) -> Pixels:
        config = timm.data.resolve_model_data_config(names["network"])
        if "img_size" in sizes:
            config["input_size"] = (3, sizes["img_size"], sizes["img_size"])
        transform: Any = timm.data.create_transform(**config, is_training=False)
        return lambda photo: transform(photo)[None]

    def embed(names: Names) -> tuple[Any, Embed]:
        network = names["network"]
        return cp.models.from_timm(network), lambda pixels: network.forward_head(network.forward_features(pixels), pre_logits=True)

    return photo_family(lambda: {"network": small(timm.create_model(name, **sizes))}, read, embed)


def transformers_family(name: str) -> Family:
    make, processor, take = vision_cases(transformers)[name]

    def wrap(names: Names) -> tuple[Any, Embed]:
        network = names["network"]
        return cp.models.from_transformers(network, processor), lambda pixels: take(network(pixel_values=pixels))

    return photo_family(
        lambda: {"network": small(make()), "processor": processor},
        lambda _: lambda photo: processor(images=photo, return_tensors="pt")["pixel_values"].float(),
        wrap,
    )


def tiny_resnet(**options: Any) -> Any:
    return small(torchvision.models.resnet.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], **options))


def plain_family(make: Callable[[], Names], name: str, embed: Callable[[Any], Embed] = lambda model: model) -> Family:
    """The family of a network of torchvision, alone or inside the object with this name."""
    return photo_family(make, lambda _: imagenet_pixels, lambda names: (names[name], embed(names[name])))


def make_inference_model() -> Names:
    trunk = tiny_resnet()
    trunk.fc = nn.Identity()
    cpu = torch.device("cpu")
    return {"model": inference.InferenceModel(trunk, embedder=small(nn.Linear(512, 16)), data_device=cpu), "trunk": trunk}


def wrap_function(names: Names) -> tuple[Any, Embed]:
    network = names["network"]
    return lambda images: network(images).relu(), lambda images: network(images).relu()


class Normalised(nn.Module):
    """A network that ends in a normalisation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.network(images), dim=1)


def make_retriever() -> Names:
    class Retriever(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = tiny_resnet(num_classes=16)

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images)

    return {"module": Retriever().eval()}


def compare_function_of_two(names: Names) -> tuple[Tensor, Tensor]:
    inputs = [names["transform"](photo)[None] for photo in open_photos()]
    return compare_inputs(names["similarity"], PHOTOS, inputs, names["similarity"], transform=names["transform"], method="opaque")


def compare_words(model: Any, by: str, similarity: Values) -> tuple[Tensor, Tensor]:
    return compare_all(cp.explain(model, *WORDS, baselines=by).pairs, (3, 3), similarity)


def replace_words(tokenizer: Any, text: str, present: Tensor) -> dict[str, Tensor]:
    """The inputs for one sentence of three words; absent words are the mask token."""
    inputs = dict(tokenizer(text, return_tensors="pt"))
    inputs["input_ids"][0, 1:4] = torch.where(present, inputs["input_ids"][0, 1:4], tokenizer.mask_token_id)
    return inputs


def embed_words(embed: Callable[[dict[str, Tensor]], Tensor], tokenizer: Any, text: str, z: Tensor) -> Tensor:
    return embed_distinct(lambda present: embed(replace_words(tokenizer, text, present)), z)


def word_scores(embed: Callable[[dict[str, Tensor]], Tensor], tokenizer: Any, score: Callable[[Tensor, Tensor], Tensor]) -> Values:
    return lambda u, w: score(embed_words(embed, tokenizer, WORDS[0], u), embed_words(embed, tokenizer, WORDS[1], w))


def make_bert() -> Names:
    folder = save_network("BertModel")
    return {"network": transformers.BertModel.from_pretrained(folder).eval(), "tokenizer": make_word_pieces()}


def compare_bert(names: Names) -> tuple[Tensor, Tensor]:
    network, tokenizer = names["network"], names["tokenizer"]
    values = word_scores(lambda inputs: network(**inputs)[0].mean(1), tokenizer, F.cosine_similarity)
    return compare_words(names["encoder"], "mask token", values)


def make_colbert() -> Names:
    transformer = st_modules.Transformer(str(save_network("BertModel")))
    transformer.query_expansion = None  # `tests/models/test_late_interaction.py` has it
    fields = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    dense = st_modules.Dense(SIZES["hidden_size"], 8, bias=False, activation_function=nn.Identity(), **fields)
    parts = [transformer, dense, late_steps.MultiVectorMask()]
    return {"model": sentence_transformers.MultiVectorEncoder(modules=parts, device="cpu", similarity_fn_name="maxsim")}


def compare_colbert(names: Names) -> tuple[Tensor, Tensor]:
    network, dense = names["model"][0].auto_model, names["model"][1].linear

    values = word_scores(lambda inputs: dense(network(**inputs)[0]), make_word_pieces(), lambda u, w: (u @ w.mT).amax(2).sum(1))
    return compare_words(names["model"], "mask token", values)


def make_sentence_transformer() -> Names:
    parts = [st_modules.Transformer(str(save_network("BertModel"))), st_steps.Pooling(SIZES["hidden_size"], pooling_mode=["mean"])]
    return {"model": sentence_transformers.SentenceTransformer(modules=parts, device="cpu")}


def compare_sentence_transformer(names: Names) -> tuple[Tensor, Tensor]:
    model = names["model"]
    values = word_scores(lambda inputs: model(inputs)["sentence_embedding"], make_word_pieces(), F.cosine_similarity)
    return compare_words(model, "mask token", values)


def make_cross_encoder() -> Names:
    folder = save_network("BertForSequenceClassification", num_labels=1)
    return {"model": sentence_transformers.CrossEncoder(str(folder), device="cpu")}


def compare_cross_encoder(names: Names) -> tuple[Tensor, Tensor]:
    tokenizer, network = (
        make_word_pieces(),
        transformers.BertForSequenceClassification.from_pretrained(save_network("BertForSequenceClassification", num_labels=1)),
    )

    def similarity(query: Tensor, retrieved: Tensor) -> Tensor:
        inputs = dict(tokenizer(*WORDS, return_tensors="pt"))  # [CLS] a red cat [SEP] the red bike [SEP]
        present = torch.cat([query, retrieved], 1)
        ids = inputs["input_ids"].repeat(len(present), 1)
        places = torch.tensor([1, 2, 3, 5, 6, 7])
        ids[:, places] = torch.where(present, ids[:, places], tokenizer.mask_token_id)
        others = {name: values.expand(len(present), -1) for name, values in inputs.items() if name != "input_ids"}
        return network.eval()(input_ids=ids, **others).logits[:, 0].sigmoid()

    return compare_words(names["model"], "mask token", similarity)


def make_clip(kind: str) -> Names:
    vision = {**SIZES, "image_size": 16, "patch_size": 8}
    text = {**SIZES, "vocab_size": len(make_word_pieces()), "max_position_embeddings": 8, "pad_token_id": 0, "eos_token_id": 3}
    config = getattr(transformers, f"{kind}Config")(vision_config=vision, text_config=text, projection_dim=12)
    square = {"size": {"height": 16, "width": 16}, "do_center_crop": False}
    photos = getattr(transformers, f"{kind}ImageProcessor")(**square)
    processor = SimpleNamespace(tokenizer=make_word_pieces(8), image_processor=photos)
    return {"network": small(getattr(transformers, f"{kind}Model")(config)), "processor": processor}


def compare_clip(names: Names) -> tuple[Tensor, Tensor]:
    """Patches, which are left out, and words, which are replaced."""
    network, photos, tokenizer = names["network"], names["processor"].image_processor, names["processor"].tokenizer
    pixels = photos(images=open_photos()[0], return_tensors="pt")["pixel_values"].float()
    tokens = network.get_submodule("vision_model.embeddings")

    def embed_photo(present: Tensor) -> Tensor:
        return embed_without(lambda: take_features(network.get_image_features(pixel_values=pixels)), tokens, present)

    def embed_text(present: Tensor) -> Tensor:
        inputs = replace_words(tokenizer, CAPTION, present)
        return take_features(network.get_text_features(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]))

    def similarity(query: Tensor, retrieved: Tensor) -> Tensor:
        return F.cosine_similarity(embed_distinct(embed_photo, query), embed_distinct(embed_text, retrieved))

    pairs = cp.explain(names["clip"], PHOTOS[0], CAPTION, baselines=("attention mask", "mask token")).pairs
    return compare_all(pairs, (4, 3), similarity)


def compare_siglip(names: Names) -> tuple[Tensor, Tensor]:
    """Two halves of each of two photos."""
    network, photos = names["network"], names["processor"].image_processor
    inputs = read_photos(lambda photo: photos(images=photo, return_tensors="pt")["pixel_values"].float())
    similarity = cosine_of(lambda pixels: take_features(network.get_image_features(pixel_values=pixels)))
    return compare_inputs(names["siglip"], PHOTOS, inputs, similarity, method="factorised")


def take_features(returned: Any) -> Tensor:
    """The embedding, which newer versions of transformers return in an output with other fields."""
    return returned if isinstance(returned, Tensor) else returned.pooler_output


def make_open_clip() -> Names:
    cfg = open_clip.model.CLIPVisionCfg(layers=2, width=8, head_width=4, patch_size=8, image_size=16)
    text = open_clip.model.CLIPTextCfg(vocab_size=49408, width=8, heads=2, layers=2, context_length=8)
    tokenizer = open_clip.SimpleTokenizer(context_length=8)
    return {
        "network": small(open_clip.model.CLIP(6, cfg, text)),
        "preprocess": open_clip.image_transform(16, is_train=False),
        "tokenizer": tokenizer,
    }


def compare_open_clip(names: Names) -> tuple[Tensor, Tensor]:
    """Two halves of each of two photos."""
    inputs = [names["preprocess"](photo)[None] for photo in open_photos()]
    return compare_inputs(names["clip"], PHOTOS, inputs, cosine_of(names["network"].encode_image), method="factorised")


def make_tensors(network: nn.Module, *shape: int) -> Names:
    return {"network": small(network), "query": torch.rand(shape, generator=seeded(0)), "result": torch.rand(shape, generator=seeded(1))}


def tiny_r3d(n_channels: int) -> nn.Module:
    layers = [nn.Conv3d(n_channels, 6, 3, stride=(1, 2, 2), padding=1), nn.ReLU(), nn.Conv3d(6, 8, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 16))


def compare_tensors(names: Names, wrap: Callable[[Tensor], Any]) -> tuple[Tensor, Tensor]:
    """Two halves of each of two inputs, over 0."""
    inputs = [names["query"][None], names["result"][None]]
    items = [wrap(batch[0]) for batch in inputs]
    return compare_inputs(names["network"], items, inputs, cosine_of(names["network"]), method="factorised")


def make_search() -> Names:
    """An encoder of photos, and what a user has after embedding a folder with it."""
    network = tiny_resnet(num_classes=16)
    files = sorted(str(path) for path in Path().glob("photo*.jpg"))
    with torch.no_grad():
        rows = [network(imagenet_pixels(Image.open(file).convert("RGB"))) for file in (PHOTOS[0], *files)]
    embeddings = F.normalize(torch.cat(rows)).numpy()
    vectors = [{"vector": vector, "file": file} for vector, file in zip(embeddings[1:], files, strict=True)]
    return {"network": network, "files": files, "embeddings": embeddings[1:], "query_embedding": embeddings[:1], "rows": vectors}


def compare_ranking(names: Names) -> tuple[Tensor, Tensor]:
    """The similarities of the explanations, and the scores of the store."""
    ranking = names["ranking"]
    return torch.tensor([why.similarity for why in ranking.explanations]), torch.tensor(np.asarray(ranking.scores), dtype=torch.float32)


def volume_family(make: Callable[[], Names], wrap: Callable[[Tensor], Any]) -> Family:
    return Family(make, lambda names: compare_tensors(names, wrap))


def make_table() -> dict[str, Any]:
    network = nn.Sequential(nn.Linear(4, 32), nn.GELU(), nn.Linear(32, 8))
    query, result = torch.rand(2, 1, 4).unbind()
    return {"network": network.eval(), "columns": ["age", "income", "visits", "distance"], "query": query, "result": result}


def compare_table(names: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Absent numbers are 0."""
    score = cosine_of(names["network"])
    pairs = names["interactions"].as_index("banzhaf")["between"][0]
    return compare_all(pairs, (4, 4), lambda query, result: score(query * names["query"], result * names["result"]))


FAMILIES = {
    "torchvision": plain_family(lambda: {"network": tiny_resnet()}, "network"),
    "timm: a CNN": timm_family("convnext_atto", dims=(4, 6, 8, 10), depths=(1, 1, 1, 1)),
    "timm: a ViT": timm_family("vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=12, num_heads=2, num_classes=0),
    "timm: a Swin": timm_family(
        "swin_tiny_patch4_window7_224", img_size=64, embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2), window_size=2, num_classes=0
    ),
    "Hugging Face: a ViT": transformers_family("ViT"),
    "Hugging Face: DINOv2 with registers": transformers_family("DINOv2 registers"),
    "A metric-learning model": plain_family(make_inference_model, "model", lambda model: model.get_embeddings),
    "A Lightning module": plain_family(make_retriever, "module"),
    "A face model that ends in `F.normalize`": plain_family(lambda: {"face": Normalised(tiny_resnet(num_classes=16))}, "face"),
    "A function, or a method": photo_family(lambda: {"network": tiny_resnet()}, lambda _: imagenet_pixels, wrap_function),
    "Any function of two photos": Family(dict, compare_function_of_two, runs_setup=True),
    "Hugging Face: CLIP": Family(lambda: make_clip("CLIP"), compare_clip),
    "Hugging Face: SigLIP": Family(lambda: make_clip("Siglip"), compare_siglip),
    "open_clip": Family(make_open_clip, compare_open_clip),
    "sentence-transformers": Family(make_sentence_transformer, compare_sentence_transformer),
    "BERT and its tokenizer": Family(make_bert, compare_bert),
    "A cross-encoder": Family(make_cross_encoder, compare_cross_encoder),
    "ColBERT: MaxSim over tokens": Family(make_colbert, compare_colbert),
    "A volume": volume_family(lambda: make_tensors(tiny_r3d(1), 1, 8, 16, 16), cp.Volume),
    "A video": volume_family(lambda: make_tensors(tiny_r3d(3), 3, 8, 16, 16), lambda video: cp.Video(video, fps=8)),
    "A spectrogram": volume_family(
        lambda: make_tensors(nn.Sequential(nn.Conv2d(1, 3, 1), tiny_resnet(num_classes=16)), 1, 64, 96),
        lambda spectrogram: cp.Spectrogram(spectrogram, seconds=2, hertz=8000),
    ),
    "A row of a table": Family(make_table, compare_table),
    "faiss": Family(make_search, compare_ranking, runs_setup=True),
    "LanceDB": Family(make_search, compare_ranking, runs_setup=True),
    "Qdrant": Family(make_search, compare_ranking, runs_setup=True),
}
