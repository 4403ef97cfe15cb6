"""The known truth of a pair of images: the protocol that it is for, and matched points as the cell of a table."""

from math import isfinite

PROTOCOLS = ("object", "mosaic", "planted", "points")
Points = tuple[tuple[float, float, float, float], ...]
N_NUMBERS = 4
QUOTED = 80  # characters of a cell in a message


def refuse_protocol(protocol: str, needs: dict[str, object]) -> None:
    """Refuse a pair without the truth that its protocol needs.

    Args:
        protocol: of the pair.
        needs: for each field of the pair that a protocol needs, its value.

    Raises:
        ValueError: the protocol is unknown, or a field is missing.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"Expected protocol to be one of {PROTOCOLS}, got {protocol[:QUOTED]!r}.")
    wanted = {"object": (), "mosaic": ("query_mask", "retrieved_mask"), "planted": ("query_mask", "retrieved_mask", "before")}
    missing = [name for name in wanted.get(protocol, ("points",)) if not needs[name]]
    if missing:
        raise ValueError(f"Expected {missing[0]} for a pair of the protocol {protocol!r}, got nothing. Add it, or choose another protocol.")


def format_points(points: Points) -> str:
    """The points as text: four numbers each, and a semicolon between points."""
    return ";".join(" ".join(f"{number:.6g}" for number in point) for point in points)


def parse_points(text: str) -> Points:
    """The points of a text that `format_points` wrote.

    Raises:
        ValueError: the text is no list of four shares of the sides.

    >>> parse_points("0 0.5 0.25 1;1 1 0 0")
    ((0.0, 0.5, 0.25, 1.0), (1.0, 1.0, 0.0, 0.0))
    """
    points = []
    for part in filter(None, text.split(";")):
        try:
            numbers = tuple(float(number) for number in part.split())
        except ValueError:
            numbers = ()
        if len(numbers) != N_NUMBERS or not all(isfinite(number) and 0 <= number <= 1 for number in numbers):
            raise ValueError(
                f"Expected points as four numbers from 0 to 1, row and column in both images, with ';' between, got {part[:QUOTED]!r}."
            )
        points.append(numbers)
    return tuple(points)
