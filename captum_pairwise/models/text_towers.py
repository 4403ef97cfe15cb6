"""Tell which inputs of a model are sentences."""

from captum_pairwise.models.named_models import AnyModel
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.text import TokenEncoder


def tell_text_towers(model: AnyModel) -> tuple[bool, bool]:
    """True for the query and for the retrieved side if sentences are its inputs."""
    towers = (model.query_encoder, model.retrieved_tower) if isinstance(model, SimilarityWrapper) else (model, model)
    return isinstance(towers[0], TokenEncoder), isinstance(towers[1], TokenEncoder)
