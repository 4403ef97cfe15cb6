"""What a figure says about its numbers."""

from math import isfinite

from captum_pairwise.results.interactions import Credits, Interactions
from captum_pairwise.visualization.wording import plain


def header(interactions: Interactions, example: int, title: str = "") -> str:
    """A title, and below it the similarities between which credit is shared, and what is not known of it."""
    full, empty = interactions.full[example], interactions.empty[example]
    similarities = [f"{name} {value:.4f}" for name, value in (("similarity", full), ("of the baselines", empty)) if isfinite(value)]
    known = "; ".join(filter(None, [", ".join(similarities), uncertainty(interactions, example)]))
    return f"{plain(title)}\n{known}".strip()


def uncertainty(interactions: Interactions, example: int) -> str:
    """What is not known of the credits: what they miss in all, and how far they may be off; nothing where neither can be said."""
    known = []
    if interactions.marginal is not None and isfinite(interactions.completeness_gap[example]):
        missing = round(interactions.completeness_gap[example].item(), 4) + 0.0  # not "-0.0000"
        known.append(f"completeness gap {missing:+.4f}")
    return ", ".join([*known, *_errors(interactions.standard_error or Credits(), example)])


def _errors(errors: Credits, example: int) -> list[str]:
    """How far a pair and a part may be off, the root mean square over all of them, where it is known."""
    blocks = (("a pair", errors.between), ("a part", errors.marginal))
    sizes = {what: block[example].square().mean().sqrt().item() for what, block in blocks if block is not None}
    said = ", ".join(f"of {what} {size:.2g}" for what, size in sizes.items() if isfinite(size))
    return [f"standard error {said}"] if said else []
