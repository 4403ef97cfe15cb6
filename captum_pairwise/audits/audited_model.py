"""The model of an audit: each image runs through the network once, whatever the number of its pairs."""

from collections import OrderedDict
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.audits.grid_tags import tag_flat
from captum_pairwise.audits.image_maker import ImageMaker, ImageParts, choose_maker, choose_options
from captum_pairwise.audits.pair_credit import PairCredit, combine_towers
from captum_pairwise.audits.photo_reader import PhotoReader
from captum_pairwise.audits.removed_parts import remove_parts
from captum_pairwise.explanations.batch import wrap_model
from captum_pairwise.explanations.contents import Box
from captum_pairwise.explanations.plan import make_plan
from captum_pairwise.explanations.preprocessing import Transform
from captum_pairwise.games.checks import refuse_training
from captum_pairwise.models.adapters import adapt_model
from captum_pairwise.models.dual_encoder import DualEncoder
from captum_pairwise.models.function_encoder import find_modules
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.text_towers import scores_pairs, tell_text_towers
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.results.interactions import Interactions

KEPT_BYTES = 2**27  # of images whose other pairs may follow


@dataclass(frozen=True)
class AuditedImage:
    """What an audit keeps of an image.

    Attributes:
        parts: its parts.
        is_flat: 1 for each part without structure.
        view: the part of the photo that the network sees, in shares of its sides; None for all of it.
        inputs: the input of the network; None if a summary replaces it.
    """

    parts: ImageParts
    is_flat: Float[Tensor, " parts"]
    view: Box | None
    inputs: Tensor | None

    @property
    def n_bytes(self) -> int:
        """The memory that it takes."""
        inputs = 0 if self.inputs is None else self.inputs.numel() * self.inputs.element_size()
        return inputs + (0 if self.parts.tower is None else self.parts.tower.n_bytes)


@final
class AuditedModel:
    """A model that explains the pairs of a search.

    Where both images run through one encoder, and only pooling and linear layers follow the layer, everything that an image contributes
    to its pairs is computed once (`ImageTower`). Other models explain each pair with the method that `explain` would choose.

    Args:
        model: an encoder, a `SimilarityWrapper` or a function of two batches of images.
        layer: the layer whose places are the parts, or its name; None lets the model choose.
        transform: maps a photo to the input.

    Raises:
        ValueError: the model reads text, or is in training mode.
    """

    def __init__(self, model: Any, layer: Any = None, transform: Transform | None = None) -> None:
        model = adapt_model(model)
        model = model.pair("image", "image") if isinstance(model, DualEncoder) else model
        if scores_pairs(model) or any(tell_text_towers(model)):
            raise ValueError("Expected a model that compares photos, got one that reads text. Audit its pairs with cp.explain.")
        self.forward_func = wrap_model(model)
        for module in find_modules(self.forward_func).values():
            refuse_training(module, False)
        encoder = self.forward_func.query_encoder if isinstance(self.forward_func, SimilarityWrapper) else None
        self.reader = PhotoReader(encoder, transform if transform is not None else getattr(model, "transform", None))
        self._layer = layer
        self._maker: ImageMaker | None = None
        self._images: OrderedDict[str, AuditedImage | ValueError] = OrderedDict()
        self._n_bytes = 0

    @torch.no_grad()
    @disable_autocast()
    def get_image(self, file: str) -> AuditedImage:
        """The image in a file; the images of the last pairs are kept.

        Raises:
            ValueError: it cannot be read or explained.
        """
        if file not in self._images:
            try:
                self._images[file] = self._make_image(file)
            except ValueError as error:
                self._images[file] = ValueError(str(error))
            self._n_bytes += _count_bytes(self._images[file])
            while self._n_bytes > KEPT_BYTES and len(self._images) > 2:
                self._n_bytes -= _count_bytes(self._images.popitem(last=False)[1])
        self._images.move_to_end(file)
        image = self._images[file]
        if isinstance(image, ValueError):
            raise image
        return image

    def _make_image(self, file: str) -> AuditedImage:
        photo = self.reader.open(Path(file))
        inputs = self.reader.make_input(photo)
        if self._maker is None:
            self._maker = choose_maker(self.forward_func, inputs, self._layer)
        parts = self._maker.make_parts(inputs)
        flat = tag_flat(inputs[0], parts.grid)
        return AuditedImage(parts, flat, self.reader.find_view(photo), inputs if parts.tower is None else None)

    @torch.no_grad()
    @disable_autocast()
    def embed_file(self, file: str, removed: Bool[Tensor, " parts"] | None = None) -> tuple[Tensor, Tensor]:
        """The embeddings of a photo as query and as hit.

        Args:
            file: the photo.
            removed: the parts that it loses; None for none.

        Raises:
            ValueError: the file cannot be read, or the model has no embeddings.
        """
        wrapper = self.forward_func
        if not isinstance(wrapper, SimilarityWrapper) or wrapper.head.lift_query is None:
            raise ValueError("Expected an encoder with cosine, dot product or euclidean distance to search with. Pass pairs instead.")
        inputs = self.reader.make_input(self.reader.open(Path(file)))
        if removed is not None:
            inputs = remove_parts(inputs, removed.reshape(self.get_image(file).parts.grid))
        query = wrapper.embed_query(inputs)
        return query, query if wrapper.is_tied else wrapper.embed_retrieved(inputs)

    @property
    def choices(self) -> str:
        """The parts and the method in words, once an image was read."""
        return "" if self._maker is None else self._maker.choices

    @torch.no_grad()
    @disable_autocast()
    def explain_images(self, query: AuditedImage, hit: AuditedImage) -> PairCredit:
        """The credit of a pair.

        Raises:
            ValueError: the method refuses it.
        """
        if query.parts.tower is not None and hit.parts.tower is not None:
            return combine_towers(query.parts.tower, hit.parts.tower)
        if query.inputs is None or hit.inputs is None:
            raise ValueError("Expected two images of one audit, got images of two. Read both with the same AuditedModel.")
        inputs = query.inputs, hit.inputs
        plan = make_plan(self.forward_func, inputs, choose_options(self.forward_func, query.inputs, self._layer)).last
        return _take_credit(plan.method.interactions(inputs, **plan.arguments))


def _take_credit(result: Interactions) -> PairCredit:
    """The credit of a batch of one."""
    between, errors = result["between"][0].float(), result.standard_error
    error = nan if errors is None or errors.between is None else (errors["between"][0].norm() / between.norm()).item()
    maps = result.query_map[0].float(), result.retrieved_map[0].float()
    r2 = nan if result.r2 is None else result.r2.item()
    return PairCredit(result.full.item(), *maps, between, r2, error)


def _count_bytes(image: AuditedImage | ValueError) -> int:
    return 0 if isinstance(image, ValueError) else image.n_bytes
