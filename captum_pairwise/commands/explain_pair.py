"""`captum-pairwise explain`: why are two photos, or two sentences, similar?"""

import argparse
from pathlib import Path

import captum_pairwise as cp
from captum_pairwise.commands.examples import SENTENCES, find_example_photos
from captum_pairwise.commands.shared_options import (
    N_BACKGROUND,
    add_model_options,
    add_output_options,
    plan_files,
    sample_background,
    save_views,
    take_method,
)
from captum_pairwise.models.named_models import AnyModel, load_model
from captum_pairwise.models.text_towers import tell_text_towers

STEM = "explanation"


def add_explain_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its options."""
    parser.description = (
        "Show why two photos, or two sentences, are similar: a verdict in words, a picture, and a page on which each part can be clicked. "
        "Without A and B it explains two photos that the package gradio carries: a cheetah and its cub."
    )
    parser.add_argument("query", nargs="?", metavar="A", help="a photo; for a model of text, a sentence in quotes")
    parser.add_argument("retrieved", nargs="?", metavar="B", help="the photo or sentence that A is compared with")
    add_model_options(parser, "minilm for sentences, ")
    background = f"photos of a gallery: {N_BACKGROUND} of them take the place of absent parts, which are blurred otherwise"
    parser.add_argument("--background", type=Path, metavar="FOLDER", help=background)
    threshold = "the similarity from which on you accept a pair: the verdict tells the decision and the evidence for and against it"
    parser.add_argument("--threshold", type=float, metavar="X", help=threshold)
    add_output_options(parser, Path(STEM))
    parser.set_defaults(run=run_explain)


def run_explain(options: argparse.Namespace) -> int:
    """Explain a pair, print the verdict, and save the picture and the page; returns the exit status."""
    if (options.query is None) != (options.retrieved is None):
        raise ValueError("Expected A and B, got A alone. Give two photos or two sentences, or neither for an example.")
    background = sample_background(options.background, options.seed)
    model = load_model(options.model)
    query, retrieved = choose_pair(model, options.query, options.retrieved)
    files = plan_files(options.out, STEM, (query, retrieved, *(background or ())))
    transform = getattr(model, "transform", None)  # of a function; that of an encoder is known
    chosen = {"background": background, "threshold": options.threshold, "transform": transform}
    why = cp.explain(model, query, retrieved, **chosen, **take_method(options))
    print(f"{why.verdict}\n\n{why.choices}\n")
    save_views(why, files, options.open)
    return 0


def choose_pair(model: AnyModel, query: str | None, retrieved: str | None) -> tuple[str, str]:
    """The two photos or sentences of the command line, or an example for the model.

    Raises:
        ValueError: a photo is no file, or there is no example for the model.
        ImportError: there is no example, because a package is missing.
    """
    if query is not None and retrieved is not None:
        for text, reads_text in zip((query, retrieved), tell_text_towers(model, query, retrieved), strict=True):
            if not reads_text:
                refuse_missing_photo(text)
        return query, retrieved
    reads_text = tell_text_towers(model)
    if any(reads_text) and not all(reads_text):
        raise ValueError("Expected A and B, because the model reads a photo and a sentence, got neither. Give one of each.")
    if all(reads_text):
        return SENTENCES[0]
    examples = find_example_photos()
    if not examples:
        raise ImportError(
            "Expected the package gradio for the example photos, got none. Run pip install 'captum-pairwise[app]', or name A and B."
        )
    print(f"Example: {examples[0][0]} and {examples[0][1]}\n")
    return examples[0]


def refuse_missing_photo(name: str) -> None:
    """Refuse a photo that is no file.

    Raises:
        ValueError: it is none.
    """
    if not Path(name).is_file():
        actual = "a folder" if Path(name).is_dir() else "no file"
        raise ValueError(f"Expected a photo, got {name!r}, which is {actual}. Check the path, or take --model minilm for sentences.")
