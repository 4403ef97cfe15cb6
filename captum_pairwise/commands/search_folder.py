"""`captum-pairwise search`: the photos of a folder that are most similar to a photo, and why."""

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.commands.explain_pair import refuse_missing_photo
from captum_pairwise.commands.shared_options import (
    N_BACKGROUND,
    add_model_options,
    add_output_options,
    plan_files,
    sample_photos,
    save_views,
    take_method,
)
from captum_pairwise.datasets.embedding_store import EmbeddingStore
from captum_pairwise.datasets.embeddings import embed_readable, fingerprint
from captum_pairwise.explanations.batch import wrap_model
from captum_pairwise.explanations.inputs import read_inputs
from captum_pairwise.explanations.preprocessing import Preprocessing, find_preprocessing
from captum_pairwise.files.arguments import parse_positive
from captum_pairwise.files.images import list_images, read_rgb
from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.games.checks import promote_half
from captum_pairwise.models.dual_encoder import DualEncoder, is_sentence
from captum_pairwise.models.embedder import Embedder
from captum_pairwise.models.named_models import load_model
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.text_towers import tell_text_towers

FOLDER, STEM = "search", "ranking"
N_NAMED = 3  # unreadable files that are named
PROBE_SIZE, PROBE_STEP = (320, 240), 101  # pixels of the picture that tells encoders apart; between its neighbouring values
PROBE_KEY = 0  # of its embedding in a cache
ROUNDING = 1e-3  # of the norm: the last digits change with the number of threads
N_DIGITS = 16  # of the name of a cache


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its options."""
    parser.description = (
        "Find the photos of a folder that are most similar to a photo, and show on one page why. The first search embeds the folder; the "
        "embeddings are kept in the cache folder of the user, so that the next search takes only new photos. Nothing is written to the "
        f"folder. {N_BACKGROUND} other photos of it take the place of absent parts."
    )
    parser.add_argument("query", metavar="QUERY", help="a photo; for a model whose first encoder reads text, a sentence in quotes")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="photos, in subfolders too")
    parser.add_argument("--top", type=parse_positive, default=5, metavar="N", help="number of results (default 5)")
    add_model_options(parser)
    add_output_options(parser, Path(FOLDER))
    parser.set_defaults(run=run_search)


def run_search(options: argparse.Namespace) -> int:
    """Search a folder, explain the results, and save the picture and the page; returns the exit status."""
    faiss = import_optional("faiss", "search", "search")
    model = _take_towers(options.model, options.query)
    if not tell_text_towers(model)[0]:
        refuse_missing_photo(options.query)
    others = _list_others(options.folder, options.query)
    files = plan_files(options.out, STEM, (options.query, *others))
    gallery = embed_folder(model, options.folder, others)
    index = faiss.IndexFlatIP(gallery.rows.shape[1])
    index.add(gallery.rows.numpy())
    _, places = index.search(_embed_query(model, options.query).numpy(), min(options.top, len(gallery.files)))
    results = [gallery.files[place] for place in places[0].tolist()]
    names = [str(file.relative_to(options.folder)) for file in results]
    background = sample_photos([file for file in gallery.files if file not in results], options.seed)
    ranking = cp.explain_ranking(model, options.query, results, names=names, background=background, **take_method(options))
    for place, (name, score) in enumerate(zip(names, ranking.scores, strict=True), 1):
        print(f"{place}. {score:.3f}  {name}")
    print(f"\n{ranking.margin}\n\n{ranking[0].choices}\n")
    save_views(ranking, files, options.open)
    return 0


def _take_towers(name: str, query: str) -> SimilarityWrapper:
    """The model as two encoders, of which the second reads photos."""
    loaded = load_model(name)
    model = wrap_model(loaded.pair("text" if is_sentence(query) else "image", "image") if isinstance(loaded, DualEncoder) else loaded)
    if not isinstance(model, SimilarityWrapper) or model.head.lift_query is None:
        raise ValueError(
            f"Expected an encoder, or a SimilarityWrapper with cosine, dot product or euclidean distance, got {name}, which has no "
            "embeddings to search. Explain single pairs of it."
        )
    if tell_text_towers(model)[1]:
        raise ValueError(f"Expected a model whose second encoder reads photos, got {name}, which reads text. Take another model.")
    return model


def _list_others(folder: Path, query: str) -> list[Path]:
    """The photos in a folder without the query."""
    files = list_images(folder)
    others = [file for file in files if not (os.path.isfile(query) and file.samefile(query))]
    if len(others) < len(files):
        print(f"The query is in {folder} itself, and is left out.", file=sys.stderr)
    return others


@dataclass(frozen=True)
class EmbeddedFolder:
    """The photos of a folder that can be read.

    Attributes:
        files: the photos.
        rows: their embeddings, lifted so that the similarity is an inner product.
    """

    files: list[Path]
    rows: Float[Tensor, "photos channels"]


@torch.no_grad()
def embed_folder(model: SimilarityWrapper, folder: Path, files: Sequence[Path]) -> EmbeddedFolder:
    """Embed photos of a folder, or take their embeddings from the cache; prints the number of files that cannot be read.

    Raises:
        ValueError: no file can be read.
    """
    embedder = model.make_embedder(1)
    preprocessing = find_preprocessing(embedder.encoder, None)
    digest = fingerprint(embedder.encoder, preprocessing.description)
    store = EmbeddingStore(_find_cache(folder, digest), digest)
    _drop_stale_rows(store, _embed_probe(embedder))
    rows = embed_readable(files, embedder, partial(_read_photo, preprocessing), store, show_progress=sys.stderr.isatty())
    unread = [file.name for file in files if file not in rows]
    if unread:
        more = ", …" if len(unread) > N_NAMED else ""
        print(f"Left out {len(unread)} of {len(files)} files, which cannot be read: {', '.join(unread[:N_NAMED])}{more}.", file=sys.stderr)
    if not rows or model.head.lift_retrieved is None:
        raise ValueError(f"Expected photos in the folder, got {len(files)} files and none that can be read. Choose another folder.")
    return EmbeddedFolder(list(rows), model.head.lift_retrieved(torch.stack(list(rows.values()))).float())


def _embed_probe(embedder: Embedder) -> Float[Tensor, " channels"]:
    """The embedding of a fixed picture: it changes with the code of the transform, of the encoder and of its pooling."""
    width, height = PROBE_SIZE
    pixels = np.arange(height * width * 3) * PROBE_STEP % 256
    probe = Image.fromarray(pixels.astype(np.uint8).reshape(height, width, 3))
    batch = read_inputs(embedder.encoder, [probe], ["probe"], None).batch
    return promote_half(embedder.embed(batch)).cpu()[0]


def _drop_stale_rows(store: EmbeddingStore, probe: Float[Tensor, " channels"]) -> None:
    """Empty a cache that was written when the fixed picture had another embedding than now."""
    stored = store.rows.get(PROBE_KEY)
    is_same = stored is not None and stored.shape == probe.shape and (stored - probe).norm() <= ROUNDING * probe.norm()
    if not is_same:
        store.rows.clear()
        store.add([PROBE_KEY], probe[None])


def _read_photo(preprocessing: Preprocessing, file: Path) -> Tensor | None:
    try:
        photo = read_rgb(file)
    except ValueError:
        return None
    return preprocessing.make_input(photo)


def _find_cache(folder: Path, digest: str) -> Path:
    """The file for the embeddings of a folder by an encoder, in the cache folder of the user."""
    caches = import_optional("platformdirs", "search", "search").user_cache_path("captum-pairwise") / "embeddings"
    name = hashlib.sha256(f"{digest} {folder.resolve()}".encode(errors="surrogateescape")).hexdigest()
    return caches / f"{name[:N_DIGITS]}.safetensors"


@torch.no_grad()
def _embed_query(model: SimilarityWrapper, query: str) -> Float[Tensor, "1 channels"]:
    batch = read_inputs(model.query_encoder, [query], ["query"], None).batch
    lift = model.head.lift_query or torch.nn.Identity()
    return lift(model.embed_query(batch)).cpu().float()
