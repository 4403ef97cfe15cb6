"""Late interaction with tokens as they were embedded: absent tokens are left out of the comparison, and the others keep their context."""

from math import prod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.attr.maxsim import find_maxsim
from captum_pairwise.explanations.contents import Photo, Sentence
from captum_pairwise.explanations.inputs import Inputs
from captum_pairwise.explanations.patch_grid import find_grid
from captum_pairwise.explanations.removal import Removal
from captum_pairwise.games.checks import promote_half
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.models.heads import find_tokens
from captum_pairwise.models.presence import PresenceInputs
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.pieces import spell_tokens
from captum_pairwise.models.words.token_encoder import TokenEncoder
from captum_pairwise.players.regions import NEVER_LEAVES
from captum_pairwise.visualization.input_kinds import Picture

TOKENS, LEFT_OUT = "tokens as the model embedded them", "left out"
SPACE = "(space)"  # the name of a token of spaces or line breaks
Grid = tuple[int, int] | None  # rows and columns of the patches of a photo
Rows = Float[Tensor, "rows tokens channels"]


@torch.no_grad()
def remove_tokens(model: ForwardFunc, query: Inputs, retrieved: Inputs) -> tuple[SimilarityWrapper, Removal]:
    """A model that compares embedded tokens, and the tokens of both sides in place of their inputs.

    The tokens of a text are its words with the markers and the expansion of the model, because these are compared too. The patches of a
    photo come first, and tokens without a place behind them.

    Raises:
        ValueError: the model is no `SimilarityWrapper` with MaxSim, or the places of a photo's tokens are unknown.
    """
    wrapper, grids = find_maxsim(model), []
    embedded = promote_half(wrapper.embed_query(query.batch)), promote_half(wrapper.embed_retrieved(retrieved.batch))
    encoders, sides, words = (wrapper.query_encoder, wrapper.retrieved_tower), [], []
    for encoder, inputs, tokens in zip(encoders, (query, retrieved), embedded, strict=True):
        grid = None if isinstance(encoder, TokenEncoder) else _find_token_grid(encoder, inputs, tokens.shape[1])
        placed = tokens if grid is None or hasattr(encoder, "patch_layer") else tokens.roll(prod(grid) - tokens.shape[1], 1)
        names = _name_tokens(encoder, inputs) if isinstance(encoder, TokenEncoder) else None
        grids.append(grid)
        words.append(names and [_choose_names(*row) for row in zip(names, find_tokens(tokens), strict=True)])
        sides.append(_take_present(placed))
    compared = wrapper.with_encoders(nn.Identity(), nn.Identity())
    absent = LEFT_OUT, LEFT_OUT
    return compared, Removal((sides[0], sides[1]), TOKENS, absent, (words[0], words[1]), (grids[0], grids[1]), "token")


def _take_present(tokens: Rows) -> PresenceInputs:
    """The tokens of each row that are not 0, its players in this order, with rows of 0 behind them."""
    rows = [row[find_tokens(row[None])[0]] for row in tokens]
    present = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    numbers = torch.arange(present.shape[1], device=present.device, dtype=torch.int64)
    mask = torch.where(find_tokens(present), numbers, NEVER_LEAVES)[..., None]
    return PresenceInputs(present, mask, torch.zeros_like(present))


def _choose_names(names: list[str], is_token: Tensor) -> tuple[str, ...]:
    return tuple(name for name, is_compared in zip(names, is_token.tolist(), strict=True) if is_compared)


def _name_tokens(encoder: TokenEncoder, inputs: Inputs) -> list[list[str]]:
    """The names of all tokens of each text: its words as they are written in it, and markers as the tokenizer calls them."""
    tokens, attended = encoder.separate_padding(inputs.batch)
    if encoder.expansion_token is not None:
        tokens = torch.where(attended, tokens, encoder.expansion_token)
    named = []
    for ids, row, content in zip(inputs.batch.split(1), tokens.tolist(), inputs.contents, strict=True):
        words = content.tokens if isinstance(content, Sentence) else ()
        names = [SPACE if not text.strip() else text for text in spell_tokens(encoder.tokenizer, row)]
        names[1] = encoder.marker_name or names[1]
        numbers = encoder.layer_mask(ids)[0, :, 0].tolist()
        named.append([words[number] if number >= 0 else name for number, name in zip(numbers, names, strict=True)])
    return named


def _find_token_grid(encoder: nn.Module, inputs: Inputs, n_tokens: int) -> Grid:
    """Rows and columns of the patches among the tokens of a photo.

    Raises:
        ValueError: they are unknown.
    """
    text_follows: Any = getattr(encoder, "token_grid_size", None) if hasattr(encoder, "patch_layer") else None
    if all(isinstance(content, Photo | Picture) for content in inputs.contents):
        image = inputs.batch[:1]
        size = find_grid(encoder, encoder, image, n_tokens) if text_follows is None else text_follows(*image.shape[2:])
        if size is not None and len(size) == 2:
            return size
    raise ValueError(
        f"Expected an encoder whose tokens are words or a grid of patches, got {n_tokens} tokens of {type(encoder).__name__} with unknown "
        "places. Give it token_grid_size(height, width), or take MaxSimShapleyTaylor(model).interactions(inputs)."
    )
