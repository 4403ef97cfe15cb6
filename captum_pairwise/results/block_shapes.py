"""Check that the blocks of a result belong to one batch of games with the same players."""

from torch import Tensor

from captum_pairwise.results.credits import AXES, Credits, get_blocks


def refuse_mismatched_shapes(credits: Credits, errors: Credits | None, n_query: object, numbers: dict[str, Tensor | None]) -> None:
    """Refuse blocks that do not belong to one batch of games with the same players.

    Args:
        credits: the credits.
        errors: their standard errors, or None.
        n_query: the number of query players.
        numbers: one for each pair of images, by name, with `"full"`; None is left out.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if isinstance(n_query, bool) or not isinstance(n_query, int) or n_query < 0:
        raise ValueError(f"Expected n_query to be the number of query players, got {n_query!r}. Count them.")
    full = numbers["full"]
    sizes = {"batch": len(full) if full is not None and full.dim() else -1, "query": n_query}
    blocks = {name: number for name, number in numbers.items() if number is not None} | get_blocks(credits)
    blocks |= {f"standard_error.{name}": block for name, block in get_blocks(errors or Credits()).items()}
    for name, block in blocks.items():
        axes = ("batch", *AXES.get(name.removeprefix("standard_error."), ()))
        if not _has_axes(block, axes, sizes):
            expected = ", ".join(axes)
            raise ValueError(
                f"Expected {name} of shape [{expected}], got {list(block.shape)} where the sizes are {sizes}. Give all blocks of one batch."
            )


def _has_axes(block: Tensor, axes: tuple[str, ...], sizes: dict[str, int]) -> bool:
    """True if a block has these axes. An axis that is not yet in `sizes` is added to it."""
    named = [
        ("retrieved", size - sizes["query"]) if axis == "players" else (axis, size) for axis, size in zip(axes, block.shape, strict=False)
    ]
    return block.dim() == len(axes) and all(size >= 0 and sizes.setdefault(axis, size) == size for axis, size in named)
