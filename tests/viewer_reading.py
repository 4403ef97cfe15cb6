"""Readers of the viewer's page in a browser, of its text and its pixels, and actions of the pointer."""

import matplotlib
import numpy as np
import pytest

OPACITY = 0.8  # the initial value of the page


def find_plate(page, side):
    return page.locator(f".side[data-side='{side}'] .plate")


def find_middle(players, index):
    """The pixel of a part that is nearest to its centre of mass, as a fraction of the photo."""
    rows, columns = np.nonzero(players.ids[0, 0].numpy() == index)
    k = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    height, width = players.ids.shape[-2:]
    return {"x": (columns[k] + 0.5) / width, "y": (rows[k] + 0.5) / height}


def find_position(page, side, players, index):
    box, place = find_plate(page, side).bounding_box(), find_middle(players, index)
    return {"x": place["x"] * box["width"], "y": place["y"] * box["height"]}


def hover(page, side, players, index):
    find_plate(page, side).hover(position=find_position(page, side, players, index), force=True)


def click(page, side, players, index):
    find_plate(page, side).click(position=find_position(page, side, players, index), force=True)


# all pixels of a canvas, read from a copy, because reading a canvas changes how the browser draws it
READ = """(canvas) => { const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0); return copy.getImageData(0, 0, canvas.width, canvas.height); }"""


def read_colours(page, side, players):
    """Red, green, blue and opacity of the overlay at the middle of each part."""
    places = [find_middle(players, index) for index in range(players.ids.max().item() + 1)]
    script = f"""(canvas, places) => {{ const {{data, width, height}} = ({READ})(canvas);
        const start = ({{x, y}}) => 4 * (Math.floor(y * height) * width + Math.floor(x * width));
        return places.map((place) => Array.from(data.slice(start(place), start(place) + 4))); }}"""
    return np.array(find_plate(page, side).locator(".heat").evaluate(script, places))


def expected_colours(values, scale, opacity=OPACITY):
    """The colours of `overlay`, with another opacity."""
    strength = np.asarray(values, dtype=float) / scale
    colours = matplotlib.colormaps["RdBu_r"]((strength + 1) / 2)
    colours[..., 3] = opacity * np.abs(strength) ** 0.7
    return colours * 255


def assert_painted(page, side, players, values, scale, opacity=OPACITY):
    colours, expected = read_colours(page, side, players), expected_colours(values, scale, opacity)[: players.ids.max().item() + 1]
    assert np.abs(colours[:, 3] - expected[:, 3]).max() <= 1.5
    visible = expected[:, 3] > 40  # colours of nearly transparent pixels are rounded
    assert np.abs(colours - expected)[visible].max() <= 4 and (visible.any() or not np.any(values))


def assert_without_colours(page, side):
    assert not find_plate(page, side).locator(".heat").evaluate(f"(canvas) => ({READ})(canvas).data.some(Boolean)")


def parse_number(text):
    return float(text.split(" ±")[0].replace("−", "-"))


def read_strongest(page, side):
    """Names and numbers of the strongest parts of a side."""
    rows = page.locator(f".reading[data-side='{side}'] .strongest li").all()
    return [(row.locator(".name").inner_text(), parse_number(row.locator(".value").inner_text())) for row in rows]


def read_part(page, side):
    terms = page.locator(f".reading[data-side='{side}'] .here div").all()
    return {term.locator("dt").inner_text(): term.locator("dd").inner_text() for term in terms}


def name_part(players, index):
    rows, columns = players.ids.shape[-2:]
    return f"cell ({index // columns}, {index % columns})" if rows * columns == players.n_players else f"part {index}"


def assert_strongest(page, side, players, values):
    order = sorted((k for k in range(len(values)) if values[k]), key=lambda k: -abs(values[k]))[:5]
    strongest = read_strongest(page, side)
    assert [name for name, _ in strongest] == [name_part(players, k) for k in order]
    assert [value for _, value in strongest] == pytest.approx([values[k] for k in order], abs=6e-3)


def choose(page, name, value):
    page.locator(f"label:has(input[name={name}][value={value}])").click()


def read_pins(page):
    return [chip.inner_text().split() for chip in page.locator(".pins .show").all()]


def largest(*blocks):
    return max(block.abs().max().item() for block in blocks)


def has_colour(page, side, colour):
    """True if more than 40 pixels of the marks have this colour."""
    count = f"""(canvas, wanted) => {{ const {{data}} = ({READ})(canvas); let n = 0;
        new Uint32Array(data.buffer).forEach((pixel) => {{ n += pixel === wanted; }}); return n; }}"""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return find_plate(page, side).locator(".marks").evaluate(count, (255 << 24) + (blue << 16) + (green << 8) + red) > 40


def compute_luminance(colour):
    """Relative luminance by WCAG of a colour `rgb(r, g, b)`."""
    channels = np.array([float(value) for value in colour[4:-1].split(",")]) / 255
    return np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def compute_contrast(ink, ground):
    dark, light = sorted(map(compute_luminance, (ink, ground)))
    return (light + 0.05) / (dark + 0.05)
