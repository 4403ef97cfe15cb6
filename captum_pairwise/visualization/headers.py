"""What a figure says about its numbers."""

from math import isfinite

from captum_pairwise.interactions import Interactions
from captum_pairwise.visualization.wording import plain


def header(interactions: Interactions, example: int, title: str = "") -> str:
    """A title, and below it the similarities between which credit is shared, and what is not known of it."""
    full, empty = interactions.full[example], interactions.empty[example]
    similarities = [f"{name} {value:.4f}" for name, value in (("similarity", full), ("of the baselines", empty)) if isfinite(value)]
    known = "; ".join(filter(None, [", ".join(similarities), uncertainty(interactions, example)]))
    return f"{plain(title)}\n{known}".strip()


def uncertainty(interactions: Interactions, example: int) -> str:
    """What is not known of the heat maps: what they miss in all, and how far a part may be off; nothing where neither can be said."""
    known = []
    if interactions.marginal is not None and isfinite(interactions.completeness_gap[example]):
        missing = round(interactions.completeness_gap[example].item(), 4) + 0.0  # not "-0.0000"
        known.append(f"completeness gap {missing:+.4f}")
    errors = interactions.standard_error
    if errors is not None and errors.marginal is not None:
        known.append(f"standard error of a part {errors.marginal[example].square().mean().sqrt():.4f}")
    return ", ".join(known)
