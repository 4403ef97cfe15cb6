"""A colour for each place in a photo."""

import numpy as np
from jaxtyping import Float
from skimage.color import lab2rgb

# An affine plane of CIELAB, so that equal steps differ equally in colour. It was found by search: of the planes in sRGB without greys, from
# lightness 16 to 93, the one whose smallest step is largest for eyes that see all colours, no red, or no green (Machado et al., 2009).
MIDDLE = np.array([49.0, 23.3, -1.8])
PER_COLUMN = np.array([-0.1, 3.9, 34.6])  # from blue to orange, to half of the width
PER_ROW = np.array([-30.8, 11.9, -6.4])  # from light to dark, to half of the height


def position_colours(places: Float[np.ndarray, "*any 2"]) -> Float[np.ndarray, "*any 3"]:
    """RGB colours of places (column, row), each from 0 to 1 across the photo; the mean of two places has the colour between theirs."""
    columns, rows = np.moveaxis(np.clip(places, 0, 1) * 2 - 1, -1, 0)
    return lab2rgb(MIDDLE + columns[..., None] * PER_COLUMN + rows[..., None] * PER_ROW)
