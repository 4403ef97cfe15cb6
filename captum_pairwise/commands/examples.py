"""Pairs to try the commands on: photos that the package gradio carries, and sentences."""

from importlib.util import find_spec
from pathlib import Path

# the first pair is shown where the user names none: a cheetah and its cub
PHOTOS = (
    ("media_assets/images/cheetah1.jpg", "test_data/cheetah2.jpg"),
    ("test_data/cheetah2.jpg", "media_assets/images/lion.jpg"),
    ("media_assets/images/cheetah1.jpg", "media_assets/images/tower.jpg"),
)
SENTENCES = (
    ("A dog runs across the beach.", "A puppy is running along the sea."),
    ("The bank raised its interest rates.", "We sat on the bank of the river."),
)


def find_example_photos() -> list[tuple[str, str]]:
    """Pairs of photos, the most similar one first; empty if gradio is not installed, which is not imported."""
    package = find_spec("gradio")
    folders = [Path(folder) for folder in (package.submodule_search_locations or ())] if package is not None else []
    pairs = [tuple(folder / name for name in names) for folder in folders for names in PHOTOS]
    return [(str(query), str(retrieved)) for query, retrieved in pairs if query.is_file() and retrieved.is_file()]
