"""Models of open_clip as two encoders: the embeddings and the ids of its own calls, and dropped patches."""

from collections.abc import Callable

import pytest
import torch
from conftest import seeded
from torch import nn
from vision_cases import PHOTO, all_presences, embed_without, randomise

import captum_pairwise as cp
from captum_pairwise.models.libraries.open_clip_text import OpenClipTextEncoder

open_clip = pytest.importorskip("open_clip", reason="its models are converted: pip install open_clip_torch")
tokenizers = pytest.importorskip("open_clip.tokenizer")
transform = pytest.importorskip("open_clip.transform")
coca = pytest.importorskip("open_clip.coca_model")
SENTENCES = ["a photo of a dog!!", "Zwölf red bicycles", "!"]
LENGTH, WORDS = 12, 49408
TOKENIZER = tokenizers.SimpleTokenizer(context_length=LENGTH)
PREPROCESS = transform.image_transform(16, is_train=False, mean=(0.48, 0.45, 0.4), std=(0.26, 0.27, 0.28))
TEXT = {"vocab_size": WORDS, "width": 8, "heads": 2, "layers": 2}
IMAGE = {"layers": 2, "width": 8, "head_width": 4, "patch_size": 8, "image_size": 16}


def make_text(**options: object) -> object:
    return open_clip.model.CLIPTextCfg(**(TEXT | {"context_length": LENGTH} | options))


def make_image(**options: object) -> object:
    return open_clip.model.CLIPVisionCfg(**(IMAGE | options))


def make_coca() -> nn.Module:
    image = make_image(attentional_pool=True, attn_pooler_heads=2, output_tokens=True)
    decoder = coca.MultimodalCfg(**TEXT, context_length=LENGTH)
    return coca.CoCa(6, decoder, make_text(embed_cls=True, output_tokens=True), image)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "CLIP": lambda: open_clip.model.CLIP(6, make_image(), make_text()),
    "CustomTextCLIP": lambda: open_clip.model.CustomTextCLIP(6, make_image(), make_text()),
    "SigLIP": lambda: open_clip.model.CustomTextCLIP(6, make_image(), make_text(pool_type="last", no_causal_mask=True)),
    "CoCa": make_coca,
    "ResNet": lambda: open_clip.model.CLIP(6, make_image(layers=(1, 1, 1, 1), width=4, head_width=32, image_size=64), make_text()),
}


def convert(name: str) -> tuple[nn.Module, cp.models.DualEncoder]:
    model = randomise(MODELS[name]())
    preprocess = transform.image_transform(64, is_train=False) if name == "ResNet" else PREPROCESS
    return model, cp.models.from_open_clip(model, preprocess, TOKENIZER)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_both_embeddings_are_its_own(name: str) -> None:
    model, dual = convert(name)
    preprocess = transform.image_transform(64, is_train=False) if name == "ResNet" else PREPROCESS
    photo = dual.image.preprocess(PHOTO)
    expected = model.encode_image(preprocess(PHOTO)[None].double(), normalize=False)
    torch.testing.assert_close(dual.image(photo), expected, rtol=1e-5, atol=1e-5)
    ids = dual.text.ids(SENTENCES)
    torch.testing.assert_close(nn.functional.normalize(dual.text(ids)), model.encode_text(TOKENIZER(SENTENCES), normalize=True))
    assert dual.image.token_grid_size(16, 16) == (None if name == "ResNet" else (2, 2))


def test_words_are_players_and_padding_is_none() -> None:
    """The id of "!" is the id of padding, and only a mark tells them apart."""
    _, dual = convert("CLIP")
    ids = dual.text.ids(["!! a dog", "a red bicycle !"])
    assert dual.text.pieces(ids) == [["!!", "a", "dog"], ["a", "red", "bicycle", "!"]]
    assert dual.text.layer_mask(ids)[1, :, 0].tolist() == [-1, 0, 1, 2, 3, *[-1] * (LENGTH - 5)]
    words = dual.text.random_words(ids, 3, seeded(0)).images
    assert words.shape == (3, 2, LENGTH) and torch.equal(words[:, :, 0], ids[:, 0].expand(3, -1))
    bang = TOKENIZER.encoder["!"]
    assert bang == 0
    with pytest.raises(ValueError, match="padding and the token '!' to be told apart"):
        dual.text(TOKENIZER(["a dog"]))


@pytest.mark.parametrize("name", ["CLIP", "SigLIP", "CoCa"])
@torch.no_grad()
def test_words_hidden_by_an_attention_mask_have_no_effect(name: str) -> None:
    _, dual = convert(name)
    if name == "CoCa":  # its class token stands after the words
        assert dual.text.removals == ()
        return
    ids = [dual.text.ids([sentence]) for sentence in ("a red dog", "a big dog")]
    without = torch.tensor([[True, False, True]])
    hidden = [dual.text.embed_present(row, without, "attention mask") for row in ids]
    torch.testing.assert_close(*hidden, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(dual.text(ids[0]), dual.text(ids[1])) and not torch.allclose(hidden[0], dual.text(ids[0]))
    torch.testing.assert_close(dual.text.embed_present(ids[0], ~without | without, "attention mask"), dual.text(ids[0]))


def test_a_sentence_that_is_too_long_is_refused() -> None:
    _, dual = convert("CLIP")
    with pytest.raises(ValueError, match=f"at most {LENGTH} tokens, got 17"):
        dual.text.ids(["dog " * 15])


@pytest.mark.parametrize("name", ["CLIP", "CoCa"])
@torch.no_grad()
def test_patches_hidden_by_an_attention_mask_are_dropped_patches(name: str) -> None:
    model, dual = convert(name)
    photo = dual.image.preprocess(PHOTO)
    embeddings = dual.image.embed_present(photo, all_presences(4), "attention mask")
    for embedding, present in zip(embeddings, all_presences(4), strict=True):
        expected = embed_without(lambda: dual.image(photo), model.get_submodule("visual.ln_pre"), present)
        torch.testing.assert_close(embedding[None], expected, rtol=1e-9, atol=1e-9)


def test_a_tokenizer_of_transformers_inside() -> None:
    """`HFTokenizer` cleans a sentence, and may replace tokens, which is refused."""
    transformers = pytest.importorskip("transformers")
    from test_text import BERT_NAMES, make_tokenizer

    inner = make_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "dog"], **BERT_NAMES)
    assert isinstance(inner, transformers.PreTrainedTokenizerFast)
    outer = tokenizers.HFTokenizer.__new__(tokenizers.HFTokenizer)
    outer.tokenizer, outer.context_length, outer.tokenizer_mode, outer.strip_sep_token = inner, LENGTH, "", False
    outer.clean_fn = str.lower
    model = randomise(MODELS["CustomTextCLIP"]())
    text = OpenClipTextEncoder(model, outer)
    ids = text.ids(["A red dog"])
    assert torch.equal(ids, outer(["A red dog"])) and text.pieces(ids) == [["a", "red", "dog"]]
    assert text.baseline(ids).tolist() == [[2, 4, 4, 4, 3, *[0] * (LENGTH - 5)]]
    outer.strip_sep_token = True
    with pytest.raises(ValueError, match="ordinary tokens for each word, got HFTokenizer with other ids"):
        OpenClipTextEncoder(model, outer)


def test_other_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="a model of open_clip with `visual` and `encode_text`, got Linear"):
        cp.models.from_open_clip(nn.Linear(2, 2), PREPROCESS, TOKENIZER)
    with pytest.raises(ValueError, match=r"a tokenizer of open_clip .*, got function"):
        cp.models.from_open_clip(MODELS["CLIP"](), PREPROCESS, lambda texts: texts)
