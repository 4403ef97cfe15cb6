"""A similarity model as two towers and a head: `SimilarityWrapper`."""

import copy
from collections.abc import Callable
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.models.heads import Head, Score, make_head


def pool(output: object) -> Float[Tensor, "batch channels"]:
    """Turn what an encoder returns into embeddings: `[B, C]` as it is, a map `[B, C, H, W]` by global average pooling.

    Raises:
        ValueError: the output is neither.
    """
    if isinstance(output, Tensor) and output.dim() == 4:
        return output.mean((2, 3))
    if isinstance(output, Tensor) and output.dim() == 2:
        return output
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise ValueError(
        f"Expected the encoder to return embeddings [B, C] or a map [B, C, H, W], got {shape}. "
        "Wrap the encoder in a module that returns one of these."
    )


def _twin(encoder: nn.Module) -> nn.Module:
    """Copy the module objects of `encoder` and share its parameter and buffer dictionaries themselves.

    Captum stores one output per module object, so a shared encoder must be two objects (its finding on siamese models).
    Sharing the dictionaries, not only the tensors in them, makes the twin follow whatever replaces a tensor.
    """
    memo = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    twin = copy.deepcopy(encoder, memo)
    for original, mirror in zip(encoder.modules(), twin.modules(), strict=True):
        mirror._parameters, mirror._buffers = original._parameters, original._buffers
    return twin


def _is_opaque(module: nn.Module) -> bool:
    """TorchScript keeps its parameters elsewhere, and a compiled module its code: neither can be copied over shared dictionaries."""
    return isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod")


def _is_twin(encoder: nn.Module, twin: nn.Module) -> bool:
    ours, theirs = list(encoder.modules()), list(twin.modules())
    return len(ours) == len(theirs) and all(a._parameters is b._parameters for a, b in zip(ours, theirs, strict=True))


def _keep_hooks(twin: nn.Module, former: nn.Module) -> None:
    """Let a new twin have the hooks of the former one, not those that the encoder has at this moment."""
    hooks = [name for name in vars(nn.Module()) if "hooks" in name]
    modules = dict(former.named_modules())
    for name, module in twin.named_modules():
        if name in modules:
            vars(module).update({hook: vars(modules[name])[hook] for hook in hooks})


def _is_setting(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_setting(part) for part in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _copy_settings(encoder: nn.Module, twin: nn.Module) -> None:
    """Let the twin have the flags and numbers of the original: train mode, dropout rates, strides, and the like."""
    for original, mirror in zip(encoder.modules(), twin.modules(), strict=True):
        attributes = vars(original).copy()  # at once: another thread may explain the model meanwhile
        vars(mirror).update((name, value) for name, value in attributes.items() if _is_setting(value) and not name.startswith("_"))


def _refuse_common_modules(query_encoder: nn.Module, retrieved_encoder: nn.Module) -> None:
    ours = set(query_encoder.modules())
    common = [name for name, module in retrieved_encoder.named_modules() if module in ours]
    if common:
        raise ValueError(
            f"Expected two encoders without a module in common, but they share {common[0]!r}, whose hooks would run twice in one "
            "forward. Give one of them a copy: `copy.deepcopy(module, {id(p): p for p in module.parameters()})` keeps the weights shared."
        )


@final
class SimilarityWrapper(nn.Module):
    """The similarity of two batches, `model(query, retrieved) -> [B]`: a Captum forward function, `target=None`.

    One encoder gives *tied towers*: `query_encoder` is the encoder itself, `retrieved_encoder` a twin made of other module
    objects over the same parameters and buffers. It follows the encoder's weights, device, dtype, mode and structure (but
    tensors, lists and dictionaries that are plain attributes are copied once, when it is made), and no hook fires twice in
    one forward, so Captum's layer methods are right on it. (An encoder with a TorchScript or compiled part cannot be
    twinned; it serves both towers itself, for input-level methods. After pruning or legacy spectral norm, which work by hooks, wrap anew.)

    Args:
        query_encoder: a module that maps a batch to embeddings `[B, C]` or a map `[B, C, H, W]`, which is averaged.
        retrieved_encoder: another one for the retrieved side (image and text, say); None, or the same one, ties the towers.
        similarity: `"cosine"`, `"dot"`, `"euclidean"` (the negative squared distance) or a callable `f(u, w) -> [B]`
            of two batches of embeddings.

    Raises:
        ValueError: `similarity` is an unknown name, or two encoders have a module in common.

    >>> model = SimilarityWrapper(nn.Flatten(), similarity="euclidean")
    >>> model(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor([-25.])
    """

    def __init__(
        self,
        query_encoder: nn.Module,
        retrieved_encoder: nn.Module | None = None,
        *,
        similarity: str | Score = "cosine",
    ) -> None:
        super().__init__()
        self.head = make_head(similarity)
        self.is_tied = retrieved_encoder is None or retrieved_encoder is query_encoder
        self._can_twin = not any(_is_opaque(module) for module in query_encoder.modules())
        self.query_encoder = query_encoder
        self.retrieved_encoder = retrieved_encoder if retrieved_encoder is not None else query_encoder
        if self.is_tied and self._can_twin:
            self.retrieved_encoder = _twin(query_encoder)
        elif not self.is_tied:
            _refuse_common_modules(query_encoder, self.retrieved_encoder)

    def follow(self) -> None:
        """Bring the twin up to date with an encoder whose mode, settings or structure changed."""
        is_replica = getattr(self, "_is_replica", False)  # DataParallel's: complete as they are
        if not self.is_tied or not self._can_twin or is_replica:
            return
        if not _is_twin(self.query_encoder, self.retrieved_encoder):
            former, self.retrieved_encoder = self.retrieved_encoder, _twin(self.query_encoder)
            _keep_hooks(self.retrieved_encoder, former)
        _copy_settings(self.query_encoder, self.retrieved_encoder)

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
            layer: a module of the encoder, of either tower.

        Raises:
            ValueError: the towers are not tied, or `layer` is in neither.
        """
        if not self.is_tied or not self._can_twin:
            raise ValueError(
                "Expected tied towers without TorchScript or compiled parts, where a layer of one has its counterpart in the "
                "other. Name both layers yourself: (layer of the query encoder, layer of the retrieved encoder)."
            )
        self.follow()
        towers = (self.query_encoder, self.retrieved_encoder)
        names = [name for tower in towers for name, module in tower.named_modules() if module is layer]
        if not names:
            raise ValueError(f"Expected a layer of the encoder, got a {type(layer).__name__} that is no module of it.")
        return [tower.get_submodule(names[0]) for tower in towers]

    def given_query(self, query: Tensor) -> "OneSided":
        """The module `f(retrieved) -> [B]` with the query fixed; any Captum class takes it.

        Fix a single query wherever you can. A batch of them is matched to rows as most of Captum repeats its inputs, all examples and
        then all again; `NoiseTunnel`, `GradientShap`, `DeepLiftShap`, `infidelity` and `sensitivity_max` repeat each example in turn, and
        would be matched wrongly: give them one query, or the wrapper itself with `(query, retrieved)`.
        """
        encoder = self.query_encoder if self.is_tied else self.retrieved_encoder
        return OneSided(encoder, self.head.score, query=self._constant(self.embed_query, query))

    def given_retrieved(self, retrieved: Tensor) -> "OneSided":
        """The module `f(query) -> [B]` with the retrieved batch fixed; as `given_query`."""
        return OneSided(self.query_encoder, self.head.score, retrieved=self._constant(self.embed_retrieved, retrieved))

    def given_gallery(self, gallery: Tensor) -> "Gallery":
        """The module `f(query) -> [B, K]` over `K` gallery images; Captum's `target` picks the item.

        Of its `margins()`, `target=(i, j)` asks why item `i` comes before item `j`.
        """
        return Gallery(self.query_encoder, self.head, self._constant(self.embed_retrieved, gallery))

    @staticmethod
    def _constant(embed: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        with torch.no_grad():
            embeddings = embed(batch)
        with torch.inference_mode(False):
            return embeddings.clone()


def _tile(fixed: Float[Tensor, "fixed channels"], n_rows: int) -> Float[Tensor, "rows channels"]:
    """Repeat fixed embeddings as Captum repeats inputs: step-major, `[b0, b1, b0, b1, ...]`."""
    if n_rows % len(fixed):
        raise ValueError(
            f"Expected a batch that is a multiple of the {len(fixed)} fixed embeddings, got {n_rows} rows. "
            "Pass as many images as were fixed, or fix a single one."
        )
    return fixed.repeat(n_rows // len(fixed), 1)


class OneSided(nn.Module):
    """A similarity model with one image fixed, `f(other) -> [B]`.

    The fixed embedding is a buffer, computed once: it does not follow later changes of the weights. The other image runs through the
    user's own encoder, so its layers can be named to Captum directly.
    """

    query: Tensor | None
    retrieved: Tensor | None

    def __init__(self, encoder: nn.Module, score: Score, *, query: Tensor | None = None, retrieved: Tensor | None = None) -> None:
        super().__init__()
        self.encoder, self.score = encoder, score
        self.register_buffer("query", query)
        self.register_buffer("retrieved", retrieved)

    @property
    def n_fixed(self) -> int:
        """How many images are fixed."""
        return next(len(fixed) for fixed in (self.query, self.retrieved) if fixed is not None)

    def forward(self, images: Tensor) -> Float[Tensor, " batch"]:
        """Score a batch against the fixed embeddings, tiled step-major as Captum tiles inputs."""
        embeddings = pool(self.encoder(images))
        u, w = (embeddings if fixed is None else _tile(fixed, len(embeddings)) for fixed in (self.query, self.retrieved))
        return self.score(u, w)


class Gallery(nn.Module):
    """The similarities of a query to every item of a gallery, `f(query) -> [B, K]`; the gallery is embedded once."""

    gallery: Tensor

    def __init__(self, encoder: nn.Module, head: Head, gallery: Float[Tensor, "items channels"]) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.register_buffer("gallery", gallery)

    def forward(self, query: Tensor) -> Float[Tensor, "batch items"]:
        """Score each query of the batch against each item."""
        u = pool(self.encoder(query))
        if self.head.lift_query is not None and self.head.lift_retrieved is not None:
            return (self.head.lift_query(u) @ self.head.lift_retrieved(self.gallery).T).to(u)
        return torch.stack([self.head.score(u, item.expand_as(u)) for item in self.gallery], 1)

    def margins(self) -> "Margins":
        """The module `f(query) -> [B, K, K]`: by how much item `i` is more similar to the query than item `j`."""
        return Margins(self)


class Margins(nn.Module):
    """How far each item of a gallery comes before each other one, `f(query) -> [B, K, K]`; Captum's `target=(i, j)` picks two.

    Those are `K²` numbers a row: of a large gallery take the items to compare.
    """

    def __init__(self, gallery: Gallery) -> None:
        super().__init__()
        self.gallery = gallery

    def forward(self, query: Tensor) -> Float[Tensor, "batch items items"]:
        """The similarity of each item less that of each other one."""
        similarities = self.gallery(query)
        return similarities[:, :, None] - similarities[:, None, :]
