"""`explain` and `explain_ranking`: a pair or a ranked list, explained in one call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captum_pairwise.explanations.batch import read_batch
from captum_pairwise.explanations.batch_explanations import explain_batch
from captum_pairwise.explanations.explanation import Explanation
from captum_pairwise.explanations.options import Options
from captum_pairwise.explanations.preprocessing import Transform
from captum_pairwise.explanations.ranking import Ranking
from captum_pairwise.explanations.ranking_objective import ObjectiveName, choose_weights, make_objective
from captum_pairwise.explanations.removal import NamedBaselines
from captum_pairwise.games.context import Masks


def explain(
    model: Any,
    query: Any,
    retrieved: Any,
    *,
    layer: Any = None,
    method: Any = None,
    n_samples: int | None = None,
    baselines: NamedBaselines = None,
    background: Sequence[Any] | None = None,
    feature_mask: Masks = None,
    threshold: float | None = None,
    transform: Transform | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> Explanation:
    """Explain why two photos, sentences or other inputs are similar: a picture, a page, a verdict in words, and all numbers.

    The model decides what is run, and `Explanation.choices` says what and why. The parts are the places of the last layer before pooling
    or before the class token, or the tokens of a sentence, or superpixels where no layer is known. The method is the closed form for a dot
    product behind pooling and linear layers, the factorised estimator for other similarities of two embeddings, and a Gaussian process for
    a function that is no `SimilarityWrapper`. With more than 64 places before other layers, integrated Hessians come first. They are kept
    if their pairs predict what both images change together, on coalitions held out. Trained transformers often fail this: their places are
    then sampled, and more than 256 as blocks.

    Maps are Shapley values of each image while the other is whole: they sum to what the image adds. Pairs are Banzhaf indices at 1/2: the
    prediction of the similarity by parts and pairs when parts are missing at random; `interactions.r2` says how good it is, and
    `interactions.as_index("shapley-taylor")` shares the similarity instead. All indices find the same correspondences.

    Args:
        model: an encoder in evaluation mode (cosine similarity), a `SimilarityWrapper`, or any function `f(query, retrieved) -> [B]` of two
            batches.
        query: a photo (file, Pillow image, or array of bytes), a sentence for an encoder of text, or an input of the network: an image
            `[C, H, W]`, a volume `[C, D, H, W]`, a video `[3, T, H, W]` or `[T, 3, H, W]`, or a signal `[C, T]`. `cp.Picture`,
            `cp.Volume`, `cp.Video`, `cp.Spectrogram` and `cp.Signal` say what a tensor is, and give its axes units.
        retrieved: the photo, sentence or other input that it is compared with.
        layer: the layer whose places are the parts, or its name; or a pair, one for each tower.
        method: `"closed form"`, `"factorised"`, `"path"`, `"opaque"`, or a class of this package for pairs of parts.
        n_samples: the budget of the method, as for its class.
        baselines: a pair, one for each image, in the space of the network's inputs, as for the classes; None is a blur of each photo,
            volume or video, 0 for a signal, and random words for a sentence.
        background: images of a gallery, given like `retrieved`. Eight of them take the place of absent parts ("why this one rather than
            any other"), and the verdict says to how many of them the query is less similar.
        feature_mask: a pair of integer masks over the network's inputs; their ids are the parts.
        threshold: the similarity from which on a pair is accepted, as for "the same person". The verdict then tells the decision, its
            margin, and the evidence for and against it: the parts that raise and that lower the similarity. The credits are those of the
            game `v - threshold`, which are the same.
        transform: maps a Pillow image to the network's input `[3, H, W]`. None takes `encoder.transform`, what timm's networks say of
            themselves, and for torchvision's networks a resize to 224 × 224 and the normalisation of ImageNet.
        seed: the seed of random numbers; global random state is never touched.
        show_progress: show a progress bar.

    Raises:
        ValueError: a photo cannot be read, or an argument does not fit; the message says what was expected.

    >>> from torch import nn, rand
    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> model = SimilarityWrapper(encoder, similarity="dot")
    >>> explanation = explain(model, rand(3, 8, 8), rand(3, 8, 8))  # or the files of two photos
    >>> explanation.query_map.shape, explanation.pairs.shape  # 4 × 4 cells of the convolution
    (torch.Size([16]), torch.Size([16, 16]))

    See also `Explanation`, `explain_ranking`, and `SimilarityWrapper` for other similarities.
    """
    options = {"layer": layer, "method": method, "n_samples": n_samples, "baselines": baselines, "feature_mask": feature_mask}
    batch = read_batch(model, query, [retrieved], ["retrieved"], transform, background)
    return explain_batch(batch, Options(**options, threshold=threshold, seed=seed, show_progress=show_progress))[0]


def explain_ranking(
    model: Any,
    query: Any,
    results: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    scores: Sequence[float] | None = None,
    objective: ObjectiveName | None = None,
    layer: Any = None,
    method: Any = None,
    n_samples: int | None = None,
    baselines: NamedBaselines = None,
    background: Sequence[Any] | None = None,
    feature_mask: Masks = None,
    threshold: float | None = None,
    transform: Transform | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> Ranking:
    """Explain the results of a search, and why the first comes before the second. The query is embedded once for all results.

    Arguments and errors are as for `explain`, with these differences.

    Args:
        model: as for `explain`.
        query: as for `explain`.
        results: the results of the search, the best first, each given like `retrieved` of `explain`.
        names: of the results; None takes the names of their files.
        scores: of the search; None takes the similarities.
        objective: a weighted sum of the similarities, explained as one game of the query and all results (`Ranking.objective`): `"margin"`
            (the first minus the second), `"top-1"` (the first minus the mean of the others), `"dcg"` (each weighted by
            `1 / log2(rank + 1)`, minus the mean weight: what keeps this order), or a weight for each result.
        layer: as for `explain`.
        method: as for `explain`.
        n_samples: as for `explain`.
        baselines: as for `explain`.
        background: as for `explain`.
        feature_mask: as for `explain`; the mask of the results has a row for each, or one for all.
        threshold: as for `explain`.
        transform: as for `explain`.
        seed: as for `explain`.
        show_progress: as for `explain`.

    Raises:
        ValueError: there is no list or no result, the objective does not fit, or the numbers of names, scores and results differ.

    >>> from torch import nn, rand
    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> model = SimilarityWrapper(encoder, similarity="dot")
    >>> ranking = explain_ranking(model, rand(3, 8, 8), [rand(3, 8, 8), rand(3, 8, 8)], names=["first", "second"])
    >>> len(ranking), ranking[1].pairs.shape
    (2, torch.Size([16, 16]))

    See also `Ranking`, `counterfactual`, and `audit` for many queries.
    """
    items = _list_results(results, names, scores)
    if objective is not None:
        choose_weights(objective, len(items))
    options = {"layer": layer, "method": method, "n_samples": n_samples, "baselines": baselines, "feature_mask": feature_mask}
    batch = read_batch(model, query, items, [f"result {place}" for place in range(1, len(items) + 1)], transform, background)
    explanations = explain_batch(batch, Options(**options, threshold=threshold, seed=seed, show_progress=show_progress))
    named = tuple(names) if names is not None else tuple(content.name for content in batch.retrieved.contents)
    values = tuple(map(float, scores)) if scores is not None else tuple(explanation.similarity for explanation in explanations)
    told = None if objective is None else make_objective(explanations, named, objective)
    return Ranking(tuple(explanations), named, values, told)


def _list_results(results: Sequence[Any], names: Sequence[str] | None, scores: Sequence[float] | None) -> list[Any]:
    """The results, with as many names and scores.

    Raises:
        ValueError: there is no list or no result, or the numbers differ.
    """
    if isinstance(results, (str, Path)):
        raise ValueError(f"Expected results to be a list, got {results!r} alone. Put it in a list.")
    items = list(results)
    if not items:
        raise ValueError("Expected at least one result, got none. Pass the results of the search, the best first.")
    for given, what in ((names, "names"), (scores, "scores")):
        if given is not None and len(given) != len(items):
            raise ValueError(f"Expected {len(items)} {what}, one for each result, got {len(given)}. Give one for each, or leave them out.")
    return items
