"""`SimilarityWrapper`: a similarity model of two towers and a head."""

from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.models.heads import Score, make_head, pool
from captum_pairwise.models.one_sided import Gallery, OneSided
from captum_pairwise.models.twin import can_twin, copy_settings, is_twin, make_twin, refuse_common_modules, renew_twin


@final
class SimilarityWrapper(nn.Module):
    """The similarity of two batches, `model(query, retrieved) -> [B]`: a Captum forward function, `target=None`.

    One encoder gives *tied towers*: `query_encoder` is the encoder itself, `retrieved_encoder` a twin made of other module objects over the
    same parameters and buffers. The twin follows the encoder's weights, device, dtype, mode and structure. Tensors, lists and dictionaries
    that are plain attributes are copied only once, when the twin is made. No hook fires twice in one forward, so Captum's layer methods
    are right.

    An encoder with a TorchScript or compiled part cannot have a twin: it serves both towers itself, for input-level methods. Pruning and
    legacy spectral norm work by hooks; after them make a new wrapper.

    Args:
        query_encoder: a module that maps a batch to embeddings `[B, C]` or a map `[B, C, H, W]`, which is averaged.
        retrieved_encoder: another encoder for the retrieved side, such as one of text; None, or the same encoder, ties the towers.
        similarity: `"cosine"`, `"dot"`, `"euclidean"` (the negative squared distance) or a callable `f(u, w) -> [B]`
            of two batches of embeddings.

    Raises:
        ValueError: `similarity` is an unknown name, or two encoders have a module in common.

    >>> model = SimilarityWrapper(nn.Flatten(), similarity="euclidean")
    >>> model(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor([-25.])
    """

    def __init__(self, query_encoder: nn.Module, retrieved_encoder: nn.Module | None = None, *, similarity: str | Score = "cosine") -> None:
        super().__init__()
        self.head = make_head(similarity)
        retrieved_encoder = query_encoder if retrieved_encoder is None else retrieved_encoder
        self.is_tied = retrieved_encoder is query_encoder
        self._has_twin = self.is_tied and can_twin(query_encoder)
        self.query_encoder = query_encoder
        self.retrieved_encoder = make_twin(query_encoder) if self._has_twin else retrieved_encoder
        if not self.is_tied:
            refuse_common_modules(query_encoder, retrieved_encoder)

    def follow(self) -> None:
        """Update the twin after the mode, the settings or the structure of the encoder changed."""
        is_replica = getattr(self, "_is_replica", False)  # replicas of DataParallel are complete
        if not self._has_twin or is_replica:
            return
        if not is_twin(self.query_encoder, self.retrieved_encoder):
            self.retrieved_encoder = renew_twin(self.query_encoder, self.retrieved_encoder)
        copy_settings(self.query_encoder, self.retrieved_encoder)

    def embed_query(self, query: Tensor) -> Float[Tensor, "batch channels"]:
        """Embed a batch with the query tower."""
        return pool(self.query_encoder(query))

    def embed_retrieved(self, retrieved: Tensor) -> Float[Tensor, "batch channels"]:
        """Embed a batch with the retrieved tower."""
        self.follow()
        return pool(self.retrieved_encoder(retrieved))

    def forward(self, query: Tensor, retrieved: Tensor) -> Float[Tensor, " batch"]:
        """Score the pairs `(query[b], retrieved[b])`."""
        return self.head.score(self.embed_query(query), self.embed_retrieved(retrieved))

    def tower_layers(self, layer: nn.Module) -> list[nn.Module]:
        """`[layer of the query tower, layer of the retrieved tower]`, for the `layer` argument of Captum's own classes.

        Args:
            layer: a module of either tower.

        Raises:
            ValueError: the towers are not tied, or `layer` is in neither tower.
        """
        if not self._has_twin:
            raise ValueError("Expected tied towers without TorchScript or compiled parts. Name (query layer, retrieved layer) yourself.")
        self.follow()
        towers = (self.query_encoder, self.retrieved_encoder)
        names = [name for tower in towers for name, module in tower.named_modules() if module is layer]
        if not names:
            raise ValueError(f"Expected a layer of the encoder, got a {type(layer).__name__} that is no module of it. Pass one that is.")
        return [tower.get_submodule(names[0]) for tower in towers]

    def given_query(self, query: Tensor) -> OneSided:
        """The module `f(retrieved) -> [B]` with the query fixed; any Captum class takes it.

        Fix a single query if you can. A batch of queries is matched to rows in the order in which most of Captum repeats inputs: all
        examples, then all examples again. `NoiseTunnel`, `GradientShap`, `DeepLiftShap`, `infidelity` and `sensitivity_max` repeat each
        example in turn, so the match would be wrong: give them one query, or the wrapper itself with `(query, retrieved)`.
        """
        encoder = self.query_encoder if self.is_tied else self.retrieved_encoder
        return OneSided(encoder, self.head.score, query=_embed_fixed(self.embed_query, query))

    def given_retrieved(self, retrieved: Tensor) -> OneSided:
        """The module `f(query) -> [B]` with the retrieved batch fixed, as for `given_query`."""
        return OneSided(self.query_encoder, self.head.score, retrieved=_embed_fixed(self.embed_retrieved, retrieved))

    def given_gallery(self, gallery: Tensor) -> Gallery:
        """The module `f(query) -> [B, K]` over `K` gallery images; Captum's `target` picks the item.

        With its `margins()`, `target=(i, j)` explains why item `i` ranks before item `j`.
        """
        return Gallery(self.query_encoder, self.head, _embed_fixed(self.embed_retrieved, gallery))


def _embed_fixed(embed: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """The embeddings of a batch as constants that autograd accepts."""
    with torch.no_grad():
        embeddings = embed(batch)
    with torch.inference_mode(False):
        return embeddings.clone()
