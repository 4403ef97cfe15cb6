"""Replacements of absent parts."""

import torch
from text_cases import make_word_pieces, save_network, transformers

import captum_pairwise as cp
from captum_pairwise.explanations.absent_parts import choose_replacements


def test_random_words_of_both_sentences_are_drawn_apart():
    """Equal words on both sides would make two sentences without their words alike."""
    network = transformers.BertModel.from_pretrained(save_network("BertModel")).eval()
    model = cp.SimilarityWrapper(cp.models.from_transformers(network, make_word_pieces()))
    ids = model.query_encoder.ids(["a red cat sat on the mat"])
    query, retrieved = (replacement.baseline.images for replacement in choose_replacements(model, (ids, ids), None, (None, None), 0))
    same = (query == retrieved)[..., 1:-1].double().mean()  # without the tokens around the sentence
    assert query.shape == retrieved.shape and same < 0.5
    again = [replacement.baseline.images for replacement in choose_replacements(model, (ids, ids), None, (None, None), 0)]
    assert torch.equal(again[0], query) and torch.equal(again[1], retrieved)
