"""A small random CLIP: patches of an image and tokens of a sentence are the players of a pair."""

import matplotlib
import pytest
import torch
from conftest import random_tensor, seeded
from test_text import make_tokenizer
from torch import nn
from vision_cases import all_presences

import captum_pairwise as cp
from captum_pairwise.network.layer_view import record_output
from captum_pairwise.network.layers import replace_output

transformers = pytest.importorskip("transformers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
matplotlib.use("Agg")
WORDS = ["<start>", "<end>", "<unk>", "a", "cat", "dog</w>", "sat"]
NAMES = {"unk_token": "<unk>", "pad_token": "<end>", "bos_token": "<start>", "eos_token": "<end>"}  # CLIP pads with its end token


def clip_model():
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = sizes | {"image_size": 16, "patch_size": 8}
    words = sizes | {"vocab_size": len(WORDS), "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = transformers.CLIPConfig(text_config=words, vision_config=vision, projection_dim=6)
    model = transformers.CLIPModel(config).double().eval()
    for seed, parameter in enumerate(model.parameters()):
        if parameter.dim():
            parameter.data = random_tensor(*parameter.shape, seed=seed) * (0.5 if parameter.dim() > 1 else 0.3)
    return model


CLIP = clip_model()
IMAGES, TEXTS = (encoder.double().eval() for encoder in cp.clip.clip_encoders(CLIP, make_tokenizer(WORDS, **NAMES)))
MODEL = cp.SimilarityWrapper(IMAGES, TEXTS)
PHOTOS = torch.rand(2, 3, 16, 16, generator=seeded(0), dtype=torch.float64)
IDS = TEXTS.ids(["a cat sat", "a dog</w>"])
torch.set_default_dtype(torch.float64)  # as in `default_float64`
LAYERS = (IMAGES.network.encoder.layers[0], TEXTS.embedding_layer)
torch.set_default_dtype(torch.float32)
MASKS = (cp.token_grid(2, 2), TEXTS.layer_mask(IDS))
ARGUMENTS = {"layer_baselines": (0.1, -0.2), "layer_mask": MASKS}


@pytest.fixture(autouse=True)
def default_float64():
    """Before version 5, transformers makes the causal mask in the default dtype, which has to hold the lowest number of float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def features(returned):
    """The tensor from `get_image_features` or `get_text_features`; since transformers 5 it is inside an output object."""
    return returned if isinstance(returned, torch.Tensor) else returned.pooler_output


@torch.no_grad()
def test_towers_give_the_embeddings_of_clip():
    normalised = (PHOTOS - IMAGES.mean) / IMAGES.std
    torch.testing.assert_close(IMAGES(PHOTOS), features(CLIP.get_image_features(pixel_values=normalised)))
    assert torch.equal(TEXTS(IDS), TEXTS(IDS.int()))
    torch.testing.assert_close(TEXTS(IDS), features(CLIP.get_text_features(input_ids=IDS)))
    scores = CLIP(input_ids=IDS, pixel_values=normalised).logits_per_image / CLIP.logit_scale.exp()
    torch.testing.assert_close(MODEL(PHOTOS, IDS), scores.diagonal())
    assert TEXTS.pieces(IDS) == [["a", "cat", "sat"], ["a", "dog"]]


@pytest.mark.filterwarnings("error:.*could not be split")  # no module before the layer runs again
@torch.no_grad()
def test_patches_and_tokens_against_brute_force():
    """Each coalition is a pass of the whole model with both layers' outputs replaced."""
    method = cp.LayerExactShapleyTaylor(MODEL, LAYERS)
    found, pairs = method.interactions((PHOTOS, IDS), **ARGUMENTS), method.attribute((PHOTOS, IDS), **ARGUMENTS)
    assert pairs.shape == (2, 2, 2, 3) and torch.equal(pairs.flatten(1, 2), found.between)
    states = record_output(IMAGES, LAYERS[0], PHOTOS)
    embedded = TEXTS.embedding_layer(IDS)
    z = (torch.arange(2**7)[:, None] >> torch.arange(7)) % 2 == 1
    patches = torch.where(nn.functional.pad(z[:, :4], (1, 0), value=True)[..., None], states[0], 0.1)
    tokens = torch.where(nn.functional.pad(z[:, 4:], (1, 1), value=True)[..., None], embedded[0], -0.2)
    with replace_output(LAYERS[0], patches), replace_output(LAYERS[1], tokens):
        values = MODEL(PHOTOS[:1].expand(len(z), -1, -1, -1), IDS[:1].expand(len(z), -1))
    _, first, second = cp.shapley_taylor(values)
    torch.testing.assert_close(found.first_order[0], first)
    torch.testing.assert_close(found.second_order[0], second)
    assert not found.between[1, :, 2].any()  # the second sentence has two tokens


@pytest.mark.filterwarnings("error:.*could not be split")
def test_credit_of_a_sentence_does_not_depend_on_its_batch():
    method = cp.LayerFactorisedShapleyTaylor(MODEL, LAYERS)
    together, ids = method.interactions((PHOTOS, IDS), **ARGUMENTS), TEXTS.ids(["a dog</w>"])
    alone = method.interactions((PHOTOS[1:], ids), layer_baselines=(0.1, -0.2), layer_mask=(MASKS[0], TEXTS.layer_mask(ids)))
    torch.testing.assert_close(together.between[1, :, :2], alone.between[0])
    torch.testing.assert_close(together.project(torch.ones(2, 16, 16)), together.between.sum(1))
    figure = cp.visualization.caption_figure(together, PHOTOS, TEXTS.pieces(IDS)[1], example=1)
    figure.canvas.draw()
    shown = [panel for panel in figure.axes if panel.images]
    assert len(shown) == 2 + 2 and [panel.get_title().split()[0] for panel in shown[2:]] == ["a", "dog"]


def test_integrated_hessians_of_patches_and_tokens():
    """Jacobians of each tower against Hessian–vector products of an opaque function of both."""
    arguments = {"baselines": (None, 2), "layer_mask": MASKS}  # blurred photos, unknown words
    for weight in ("taylor", "hessian"):
        methods = [cp.LayerIntegratedHessians(model, LAYERS, weight=weight, within=True) for model in (MODEL, lambda *pair: MODEL(*pair))]
        towers, opaque = (method.interactions((PHOTOS, IDS), n_steps=32, **arguments) for method in methods)
        torch.testing.assert_close(towers.second_order, opaque.second_order, rtol=0, atol=1e-9)
        assert towers.completeness_gap.abs().max() < 1e-4 * (towers.full - towers.empty).abs().max()
        assert towers.between.any() and not towers.between[1, :, 2].any()


@pytest.mark.parametrize("name", ["CLIP", "SigLIP"])
@torch.no_grad()
def test_words_hidden_by_an_attention_mask(name):
    """Against the attention mask of transformers itself, one row at a time."""
    model = CLIP if name == "CLIP" else siglip_model()
    texts = cp.clip.clip_encoders(model, make_tokenizer(WORDS, **NAMES))[1]
    ids, presences = texts.ids(["a cat sat"]), all_presences(3)
    embeddings = texts.embed_present(ids, presences, "attention mask")
    for embedding, present in zip(embeddings, presences, strict=True):
        mask = torch.ones_like(ids)
        mask[:, 1:4] = present
        expected = texts.projection(model.text_model(input_ids=ids, attention_mask=mask).pooler_output)
        torch.testing.assert_close(embedding[None], expected)
    torch.testing.assert_close(embeddings[-1:], texts(ids))


def test_clip_has_no_mask_token():
    with pytest.raises(ValueError, match="mask token"):
        TEXTS.baseline(IDS)


def siglip_model():
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = sizes | {"vocab_size": len(WORDS), "max_position_embeddings": 6, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = transformers.SiglipConfig(text_config=words, vision_config=sizes | {"image_size": 16, "patch_size": 8})
    model = transformers.SiglipModel(config).double().eval()
    for seed, parameter in enumerate(model.parameters()):
        parameter.data = random_tensor(*parameter.shape, seed=seed) * (0.5 if parameter.dim() > 1 else 0.3)
    return model


@torch.no_grad()
def test_towers_give_the_score_of_siglip():
    siglip, tokenizer = siglip_model(), make_tokenizer(WORDS, **NAMES)
    images, texts = (encoder.double().eval() for encoder in cp.clip.clip_encoders(siglip, tokenizer))
    sentences = ["a cat sat", "a dog</w>"]
    ids = tokenizer(sentences, padding="max_length", max_length=6, return_tensors="pt")["input_ids"]
    logits = siglip(input_ids=ids, pixel_values=(PHOTOS - 0.5) / 0.5).logits_per_image
    scores = cp.SimilarityWrapper(images, texts)(PHOTOS, texts.ids(sentences))
    torch.testing.assert_close(scores, ((logits - siglip.logit_bias) / siglip.logit_scale.exp()).diagonal())
    assert images.token_grid_size(16, 16) == (2, 2) and texts.pieces(texts.ids(sentences)) == [["a", "cat", "sat"], ["a", "dog"]]


@pytest.mark.filterwarnings("error:.*could not be split")
def test_credit_of_a_sentence_of_siglip_does_not_depend_on_its_batch():
    images, texts = (encoder.double().eval() for encoder in cp.clip.clip_encoders(siglip_model(), make_tokenizer(WORDS, **NAMES)))
    layers = images.network.encoder.layers[0], texts.embedding_layer
    method = cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(images, texts), layers)

    def credit(photos, sentences):
        ids = texts.ids(sentences)
        masks = torch.arange(4)[None, :, None], texts.layer_mask(ids)
        return method.interactions((photos, ids), layer_baselines=(0.1, -0.2), layer_mask=masks)

    together, alone = credit(PHOTOS, ["a cat sat", "a dog</w>"]), credit(PHOTOS[1:], ["a dog</w>"])
    assert together.between.shape == (2, 4, 3) and alone.between.any()  # end and padding are no players
    torch.testing.assert_close(together.between[1, :, :2], alone.between[0])


def test_ids_of_another_length_are_refused_for_siglip():
    texts, tokenizer = cp.clip.clip_encoders(siglip_model(), make_tokenizer(WORDS, **NAMES))[1], make_tokenizer(WORDS, **NAMES)
    with pytest.raises(ValueError, match="ids padded to 6 tokens, as SigLIP was trained, got 3"):
        texts(tokenizer(["cat"], return_tensors="pt")["input_ids"])


@pytest.mark.parametrize("name", ["vision side", "SigLIP 2", "no model of transformers"])
def test_another_model_is_refused(name):
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}
    words = {key: sizes[key] for key in list(sizes)[:4]} | {"vocab_size": 7, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    configs = transformers.CLIPConfig(vision_config=sizes), transformers.Siglip2Config(vision_config=sizes, text_config=words)
    models = {
        "vision side": lambda: transformers.CLIPForImageClassification(configs[0]),
        "SigLIP 2": lambda: transformers.Siglip2Model(configs[1]),
        "no model of transformers": lambda: nn.Linear(2, 2),
    }
    model = models[name]()
    with pytest.raises(
        ValueError, match=f"a CLIPModel or a SiglipModel of transformers, got {type(model).__name__}. Use from_transformers"
    ):
        cp.clip.clip_encoders(model, None)


def test_an_unknown_word_is_refused_where_it_has_the_id_of_padding():
    tokenizer = make_tokenizer(WORDS, **NAMES | {"pad_token": "<unk>"})
    texts = cp.clip.clip_encoders(CLIP, tokenizer)[1]
    assert texts.layer_mask(texts.ids(["a cat", "sat"]))[..., 0].tolist() == [[-1, 0, 1, -1], [-1, 0, -1, -1]]
    with pytest.raises(ValueError, match="sentences without the token of padding, got '<unk>' in one"):
        texts.ids(["a quokka"])


def test_words_that_stay_visible_are_refused():
    """A network whose attention is computed by a kernel of its own reads hidden words all the same."""

    class Kernel(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network, self.config = network, network.config

        def forward(self, **inputs):
            with torch._C.DisableTorchFunction():
                return self.network(**inputs)

    texts = cp.clip.clip_encoders(CLIP, make_tokenizer(WORDS, **NAMES))[1]
    ids = texts.ids(["a cat sat"])
    texts.embed_present(ids, all_presences(3), "attention mask")
    texts.network = Kernel(texts.network).eval()
    with pytest.raises(ValueError, match="other words in their places change the embedding of Kernel"):
        texts.embed_present(ids, all_presences(3), "attention mask")
