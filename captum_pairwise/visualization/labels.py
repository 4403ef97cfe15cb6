"""Text on figures: titles, and the numbers below them."""

from math import isfinite

from captum_pairwise.results.interactions import Credits, Interactions


def escape_text(text: str) -> str:
    r"""Text that Matplotlib shows as it is: dollar signs start no formula, and a leading underscore does not hide a legend entry.

    >>> escape_text("$5 and $6"), escape_text("_net")
    ('\\$5 and \\$6', ' _net')
    """
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def format_header(interactions: Interactions, example: int, title: str = "") -> str:
    """Title, and below it the similarities of the pair and of its baselines, the completeness gap and the standard errors."""
    full, empty = interactions.full[example], interactions.empty[example]
    similarities = [f"{name} {value:.4f}" for name, value in (("similarity", full), ("of the baselines", empty)) if isfinite(value)]
    numbers = "; ".join(filter(None, [", ".join(similarities), format_uncertainty(interactions, example)]))
    return f"{escape_text(title)}\n{numbers}".strip()


def format_uncertainty(interactions: Interactions, example: int) -> str:
    """Completeness gap and standard errors of one pair as text; empty if gap and errors are unknown.

    The standard errors are root mean squares over all pairs of parts, and over all parts.
    """
    texts = []
    if interactions.marginal is not None and isfinite(interactions.completeness_gap[example]):
        gap = round(interactions.completeness_gap[example].item(), 4) + 0.0  # no "-0.0000"
        texts.append(f"completeness gap {gap:+.4f}")
    errors = interactions.standard_error or Credits()
    blocks = (("a pair", errors.between), ("a part", errors.marginal))
    sizes = {name: block[example].square().mean().sqrt().item() for name, block in blocks if block is not None}
    if finite := ", ".join(f"of {name} {size:.2g}" for name, size in sizes.items() if isfinite(size)):
        texts.append(f"standard error {finite}")
    return ", ".join(texts)
