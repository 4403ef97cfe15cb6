"""`SimilarityWrapper`: a similarity model of two towers and a head."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.models.embedder import Embedder
from captum_pairwise.models.function_encoder import wrap_function
from captum_pairwise.models.heads import Score, check_scores, make_head
from captum_pairwise.models.libraries.library_objects import is_of_class
from captum_pairwise.models.libraries.metric_learning import convert_inference_model, is_inference_model
from captum_pairwise.models.one_sided import Gallery, OneSided
from captum_pairwise.models.output_field import OutputFields, parse_output, select_field
from captum_pairwise.models.twin import copy_settings, is_twin, make_twin, refuse_other_twin, renew_twin
from captum_pairwise.network.model_state import describe_state
from captum_pairwise.network.module_hooks import has_captum_hooks, list_hook_ids
from captum_pairwise.players.layouts import LayoutNames, parse_layouts

Encoder = Any  # a module, a function of one batch, or an `InferenceModel`

TEXT_MODELS = {  # classes of sentence-transformers, and what makes models of them
    "SentenceTransformer": "cp.models.from_sentence_transformers, which returns a SimilarityWrapper",
    "CrossEncoder": "cp.models.from_cross_encoder, which returns a function of the presence of words",
}


@final
class SimilarityWrapper(nn.Module):
    """The similarity of two batches, `model(query, retrieved) -> [B]`: a Captum forward function, `target=None`.

    One encoder embeds both images, one after the other: every method of this package runs the encoder that you passed. Captum's own layer
    classes need other modules for each image; `tower_layers` makes a twin for them, which runs only while they do.

    Args:
        query_encoder: a module or a function that maps a batch to embeddings `[B, C]`, or to a map such as `[B, C, H, W]`, which is
            averaged over its positions; or an `InferenceModel` of pytorch-metric-learning.
        retrieved_encoder: another encoder for the retrieved side, such as one of text; None, or the same encoder, ties the towers. Two
            encoders may share modules.
        similarity: `"cosine"`, `"dot"`, `"euclidean"` (the negative squared distance) or a callable `f(u, w) -> [B]` of two batches of
            embeddings; a module is registered as a submodule. For encoders that return tokens `[B, T, C]`: `"maxsim"` is the sum of the
            best match of each query token (ColBERT, ColPali), `"meanmaxsim"` its mean, and a token that is exactly 0 is padding or skipped.
            A callable also takes tokens, unpooled; the two images may differ in their number.
        layout: the axes of the encoder's output if it is a map: `"NCHW"`, `"NHWC"`, `"NTC"`, `"NCT"` or `"NCDHW"`, or a pair of these, one
            for each encoder. None finds out which axis holds the channels, and asks if it cannot.
        output: the embedding in the output of an encoder that returns several things: the name or the index of a field, or a function of
            the output; or a pair of these, one for each encoder.
        stochastic: True if an encoder draws at random on purpose: explanations are then the mean of 8, and their spread is in the standard
            error. Otherwise a method refuses an encoder that embeds the same image differently.

    Raises:
        ValueError: `similarity` or `layout` is an unknown name, `output` names no field, or an encoder is neither a module nor a function.

    >>> model = SimilarityWrapper(nn.Flatten(), similarity="euclidean")
    >>> model(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor([-25.])

    See also `cp.models.from_transformers`, `cp.models.from_timm`, and `cp.testing.check_model`, which tests an encoder.
    """

    def __init__(
        self,
        query_encoder: Encoder,
        retrieved_encoder: Encoder | None = None,
        *,
        similarity: str | Score = "cosine",
        layout: LayoutNames = None,
        output: OutputFields = None,
        stochastic: bool = False,
    ) -> None:
        super().__init__()
        is_tied = retrieved_encoder is None or retrieved_encoder is query_encoder
        query_tower = _make_module(query_encoder)
        retrieved_tower = query_tower if is_tied else _make_module(retrieved_encoder)
        self.head = make_head(similarity)
        self.similarity = self.head.module  # registered: `eval()`, `to()`, `state_dict()` and the check of the mode reach it
        self.is_stochastic = stochastic
        self.layouts = parse_layouts(layout)
        self._axes: tuple[dict[int, int | None], ...] = ({}, {})  # shared by the replicas of DataParallel
        fields = parse_output(output)
        self.is_tied = retrieved_tower is query_tower and fields[0] == fields[1]
        self.query_encoder = select_field(query_tower, fields[0])
        self.retrieved_encoder = self.query_encoder if self.is_tied else select_field(retrieved_tower, fields[1])
        self._compared_state, self._own_hooks = 0, set()

    @property
    def retrieved_tower(self) -> nn.Module:
        """The encoder of the retrieved images that our own methods run: if the towers are tied, the encoder of the query."""
        return self.query_encoder if self.is_tied else self.retrieved_encoder

    def make_embedder(self, side: int) -> Embedder:
        """The encoder of the query (0) or of the retrieved image (1) with the pooling of its output."""
        encoder = (self.query_encoder, self.retrieved_tower)[side]
        return Embedder(encoder, self.layouts[side], self.head.keeps_tokens, self._axes[0 if self.is_tied else side])

    def embed_query(self, query: Tensor) -> Float[Tensor, "batch ..."]:
        """Embed a batch with the query tower."""
        return self.make_embedder(0).embed(query)

    def embed_retrieved(self, retrieved: Tensor) -> Float[Tensor, "batch ..."]:
        """Embed a batch with the retrieved tower."""
        return self._embed_by(self._choose_tower(), retrieved)

    def _embed_by(self, tower: nn.Module, retrieved: Tensor) -> Float[Tensor, "batch ..."]:
        return replace(self.make_embedder(1), encoder=tower).embed(retrieved)

    def forward(self, query: Tensor, retrieved: Tensor) -> Float[Tensor, " batch"]:
        """Score the pairs `(query[b], retrieved[b])`.

        Raises:
            ValueError: the similarity is no vector `[B]`, or a class of Captum runs whose layers do not come from `tower_layers`.
        """
        tower = self._choose_tower()
        if tower is not self.retrieved_tower:
            self._compare_twin(query)
        u, w = self.embed_query(query), self._embed_by(tower, retrieved)
        return check_scores(self.head.score(u, w), len(u))

    def _choose_tower(self) -> nn.Module:
        """The tower of the retrieved images: the twin while a class of Captum or a hook reads its modules, else the encoder."""
        encoder, twin = self.query_encoder, self.retrieved_encoder
        if not self.is_tied:
            return twin
        is_read = has_captum_hooks(encoder)
        if twin is encoder:
            if is_read:
                raise ValueError(
                    "Expected layers from `model.tower_layers(layer)`, because one encoder runs for both images and Captum stores one "
                    "output of each module. Call it first, or use Captum's class on `given_query(query)`."
                )
            return encoder
        if not is_read and list_hook_ids(twin) <= self._own_hooks:
            return encoder
        if not getattr(self, "_is_replica", False):  # replicas of DataParallel are complete
            self._update_twin()
        return self.retrieved_encoder

    def _compare_twin(self, images: Tensor) -> None:
        """Compare the twin with the encoder on the first images, and again after the encoder changed."""
        state = describe_state(self.query_encoder)
        if state != self._compared_state and not getattr(self, "_is_replica", False):
            refuse_other_twin(self.query_encoder, self.retrieved_encoder, self._own_hooks, images)
            self._compared_state = state

    def _update_twin(self) -> None:
        """Make a twin, or follow changes of the mode, the settings or the structure of the encoder."""
        if self.retrieved_encoder is self.query_encoder:
            self.retrieved_encoder = make_twin(self.query_encoder)
            self._own_hooks = list_hook_ids(self.retrieved_encoder)
        elif not is_twin(self.query_encoder, self.retrieved_encoder):
            self.retrieved_encoder = renew_twin(self.query_encoder, self.retrieved_encoder)
        copy_settings(self.query_encoder, self.retrieved_encoder)

    def with_encoders(self, query_encoder: nn.Module, retrieved_encoder: nn.Module) -> "SimilarityWrapper":
        """The same similarity of two other encoders, which return embeddings of the same form."""
        wrapper = SimilarityWrapper(query_encoder, retrieved_encoder, layout=self.layouts, stochastic=self.is_stochastic)
        wrapper.head, wrapper.similarity = self.head, self.similarity
        return wrapper

    def find_layer(self, layer: nn.Module) -> nn.Module:
        """The layer of the encoder itself, for a layer of the encoder or of its twin.

        Raises:
            ValueError: the towers are not tied, or `layer` is in neither tower.
        """
        if not self.is_tied:
            raise ValueError("Expected one encoder for both images (tied towers), got two. Name (query layer, retrieved layer) yourself.")
        for tower in (self.query_encoder, self.retrieved_encoder):
            for name, module in tower.named_modules():
                if module is layer:
                    return dict(self.query_encoder.named_modules())[name]
        raise ValueError(f"Expected a layer of the encoder, got a {type(layer).__name__} that is no module of it. Pass one that is.")

    def tower_layers(self, layer: nn.Module) -> list[nn.Module]:
        """`[layer of the encoder, the same layer of its twin]`, for the `layer` argument of Captum's own classes.

        The twin is made of other module objects over the same parameters and buffers. It runs for the retrieved images while a class of
        Captum has hooks on either. The first images after this call, and after a change of the encoder, are embedded by both, and the
        call fails if they differ. The methods of this package need no twin: pass the layer itself.

        Args:
            layer: a module of the encoder, or of its twin.

        Raises:
            ValueError: there are two encoders, `layer` is in none, or the encoder cannot be copied.
        """
        own_layer = self.find_layer(layer)
        name = next(name for name, module in self.query_encoder.named_modules() if module is own_layer)
        self._update_twin()
        self._compared_state = 0
        return [tower.get_submodule(name) for tower in (self.query_encoder, self.retrieved_encoder)]

    def given_query(self, query: Tensor) -> OneSided:
        """The module `f(retrieved) -> [B]` with the query fixed; any Captum class takes it.

        Fix a single query if you can. A batch of queries is matched to rows in the order in which most of Captum repeats inputs: all
        examples, then all examples again. `NoiseTunnel`, `GradientShap`, `DeepLiftShap`, `infidelity` and `sensitivity_max` repeat each
        example in turn, so the match would be wrong: give them one query, or the wrapper itself with `(query, retrieved)`.
        """
        return OneSided(self.make_embedder(1), self.head, query=_embed_fixed(self.embed_query, query))

    def given_retrieved(self, retrieved: Tensor) -> OneSided:
        """The module `f(query) -> [B]` with the retrieved batch fixed, as for `given_query`."""
        return OneSided(self.make_embedder(0), self.head, retrieved=_embed_fixed(self.embed_retrieved, retrieved))

    def given_gallery(self, gallery: Tensor) -> Gallery:
        """The module `f(query) -> [B, K]` over `K` gallery images; Captum's `target` picks the item.

        With its `margins()`, `target=(i, j)` explains why item `i` ranks before item `j`.
        """
        return Gallery(self.make_embedder(0), self.head, _embed_fixed(self.embed_retrieved, gallery))


def _embed_fixed(embed: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """The embeddings of a batch as constants that autograd accepts."""
    with torch.no_grad():
        embeddings = embed(batch)
    with torch.inference_mode(False):
        return embeddings.clone()


def _make_module(encoder: object) -> nn.Module:
    """The encoder as a module: functions and inference models are wrapped.

    Raises:
        ValueError: it takes text, not tensors.
    """
    for name, call in TEXT_MODELS.items():
        if is_of_class(encoder, "sentence_transformers", name):
            raise ValueError(f"Expected an encoder of tensors, got a {name}, which takes text. Pass it to cp.explain, or to {call}.")
    return convert_inference_model(encoder) if is_inference_model(encoder) else wrap_function(encoder)
