"""Explain why two sentences are similar, token by token, and draw it.

    python tutorials/sentences.py
    python tutorials/sentences.py --query "A dog barks." --retrieved "The puppy is loud." --out folder

all-MiniLM-L6-v2 comes with a package, so nothing is downloaded. A token that leaves is replaced by a random one of the vocabulary, on
average over several draws: of two sentences without any word of their own the network says that they are alike, so that words could
only take similarity away.
"""

import argparse
import time
from pathlib import Path

import torch

import captum_pairwise as cp
from captum_pairwise import text, visualization


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Explain why two sentences are similar.")
    parser.add_argument("--query", default="A cat sits on the warm windowsill.")
    parser.add_argument("--retrieved", default="A kitten is resting by the sunny window.")
    parser.add_argument("--samples", type=int, default=200, help="embeddings of each sentence, for each background")
    parser.add_argument("--backgrounds", type=int, default=4, help="random sentences that take the place of each")
    parser.add_argument("--pairs", type=int, default=6, help="pairs of words to print")
    parser.add_argument("--out", type=Path, default=Path("explanation"), help="folder for the picture")
    return parser.parse_args()


def print_pairs(interactions: cp.Interactions, query: list[str], retrieved: list[str], n_pairs: int) -> None:
    between, errors = interactions["between"][0], interactions.standard_error
    for place in between.flatten().argsort(descending=True)[:n_pairs].tolist():
        row, column = divmod(place, len(retrieved))
        sampled = errors is not None and bool(errors["between"].any())  # few tokens are enumerated, and exact
        error = f" ± {errors['between'][0, row, column]:.3f}" if errors is not None and sampled else ""
        print(f"  {between[row, column]:+.3f}{error}  {query[row]} – {retrieved[column]}")


def main() -> None:
    arguments = parse_arguments()
    encoder = text.sentence_encoder()
    model = cp.SimilarityWrapper(encoder)
    query, retrieved = encoder.ids([arguments.query]), encoder.ids([arguments.retrieved])
    generator = torch.Generator().manual_seed(0)
    backgrounds = [encoder.random_words(ids, arguments.backgrounds, generator) for ids in (query, retrieved)]

    method = cp.LayerFactorisedShapleyTaylor(model, encoder.embedding_layer)
    start = time.perf_counter()
    interactions = method.interactions(
        (query, retrieved),
        baselines=(backgrounds[0], backgrounds[1]),
        layer_mask=(encoder.layer_mask(query), encoder.layer_mask(retrieved)),
        n_samples=arguments.samples,
    )
    seconds = time.perf_counter() - start

    (of_query,), (of_retrieved,) = encoder.pieces(query), encoder.pieces(retrieved)
    print(f"similarity: {interactions.full.item():.4f}, and {interactions.empty.item():.4f} of random words")
    print("strongest pairs of words:")
    print_pairs(interactions, of_query, of_retrieved, arguments.pairs)
    print(f"completeness gap: {round(interactions.completeness_gap.item(), 5) + 0.0:+.5f}")
    print(f"embeddings: {int(interactions.n_evaluations)} coalitions, each with {arguments.backgrounds} backgrounds, a network pass each")
    print(f"seconds: {seconds:.1f}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    picture = arguments.out / "sentences.png"
    title = f"“{arguments.query}” – “{arguments.retrieved}”"
    visualization.token_figure(interactions, of_query, of_retrieved, title=title).savefig(picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
