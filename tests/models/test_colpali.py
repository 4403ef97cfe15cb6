"""ColPali: words of a query and patches of a page, with the scores of its processor."""

from functools import cache

import pytest
import torch
from conftest import assert_refused, seeded
from PIL import Image
from text_cases import make_bytes, transformers
from torch import nn

import captum_pairwise as cp
from captum_pairwise.models.libraries.colpali import from_colpali

if not hasattr(transformers, "ColPaliForRetrieval"):
    pytest.skip("an older transformers", allow_module_level=True)
PAGE = Image.effect_noise((64, 48), 80).convert("RGB")


@cache
def load_model():
    tokenizer = make_bytes(bos_token="<|im_start|>", padding_side="right")
    images = transformers.SiglipImageProcessor(size={"height": 28, "width": 28})
    images.image_seq_length = 16
    processor = transformers.ColPaliProcessor(images, tokenizer)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7, "vision_use_head": False, **sizes}
    text = {"model_type": "gemma", "vocab_size": len(tokenizer), "num_key_value_heads": 1, "head_dim": 8, **sizes}
    text |= {"max_position_embeddings": 256, "pad_token_id": tokenizer.pad_token_id}
    config = transformers.PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_index=processor.image_token_id, projection_dim=16
    )
    model = transformers.ColPaliForRetrieval(transformers.ColPaliConfig(vlm_config=config, embedding_dim=8)).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = torch.randn(parameter.shape, generator=seeded(parameter.numel())) * 1.5 / parameter[0].numel() ** 0.5
    return model, processor


@torch.no_grad()
def test_scores_are_those_of_the_library() -> None:
    model, processor = load_model()
    wrapper, queries = from_colpali(model, processor), ["red cat", "a"]
    tokens = [model(**processor.process_queries(text=[query])).embeddings[0] for query in queries]
    features = processor.process_images(images=[PAGE])
    page = model(**{name: value for name, value in features.items() if name != "labels"}).embeddings
    expected = processor.score_retrieval(tokens, page)[:, 0]
    pixels = wrapper.retrieved_tower.transform(PAGE)[None]
    torch.testing.assert_close(wrapper(wrapper.query_encoder.ids(queries), pixels.expand(2, -1, -1, -1)), expected, rtol=1e-5, atol=0)


def test_words_and_patches_are_explained_in_one_call(tmp_path) -> None:
    model, processor = load_model()
    explanation = cp.explain(cp.models.from_transformers(model, processor), "red", PAGE)
    explanation.save(tmp_path / "page.html")
    assert explanation.query.tokens == ("red",)
    assert explanation.interactions.between.shape == (1, 1, 16) and explanation.interactions.retrieved_players.shape == (4, 4)
    assert torch.cat(explanation.interactions.map_gaps).abs().max() < 1e-6
    assert "4 × 4 patches of `network.vlm.multi_modal_projector`" in explanation.choices
    assert (tmp_path / "page.html").exists()


def test_other_models_are_refused() -> None:
    assert_refused(lambda: from_colpali(nn.Identity(), load_model()[1]), "a ColPaliForRetrieval and its ColPaliProcessor, got Identity")
