"""Tell which inputs of a model are sentences."""

from captum_pairwise.models.dual_encoder import DualEncoder, is_sentence
from captum_pairwise.models.named_models import AnyModel
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import TokenEncoder


def scores_pairs(model: object) -> bool:
    """True for a model that scores two texts together, and cannot embed one alone."""
    return hasattr(model, "encode_pair")


def tell_text_towers(model: AnyModel, query: object = None, retrieved: object = None) -> tuple[bool, bool]:
    """True for the query and for the retrieved side if sentences are its inputs.

    Args:
        model: the model.
        query: the input of a `DualEncoder`, which takes both; None stands for a photo.
        retrieved: the other input of it.
    """
    if isinstance(model, DualEncoder):
        return is_sentence(query), is_sentence(retrieved)
    if scores_pairs(model):
        return True, True
    towers = (model.query_encoder, model.retrieved_tower) if isinstance(model, SimilarityWrapper) else (model, model)
    return isinstance(towers[0], TokenEncoder), isinstance(towers[1], TokenEncoder)
