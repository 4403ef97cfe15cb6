"""What stands on the viewer's page in a browser, read from its text and from its pixels, and a pointer to move over it."""

import matplotlib
import numpy as np
import pytest

OPACITY = 0.8  # as the page opens


def plate(page, side):
    return page.locator(f".side[data-side='{side}'] .plate")


def middle(players, index):
    """A pixel of a part as a fraction of the photo: the one next to its centre of mass."""
    rows, columns = np.nonzero(players.ids[0, 0].numpy() == index)
    k = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    height, width = players.ids.shape[-2:]
    return {"x": (columns[k] + 0.5) / width, "y": (rows[k] + 0.5) / height}


def position(page, side, players, index):
    box, place = plate(page, side).bounding_box(), middle(players, index)
    return {"x": place["x"] * box["width"], "y": place["y"] * box["height"]}


def hover(page, side, players, index):
    plate(page, side).hover(position=position(page, side, players, index), force=True)


def click(page, side, players, index):
    plate(page, side).click(position=position(page, side, players, index), force=True)


# all pixels of a canvas, read from a copy: reading from the canvas itself would change how the browser draws
READ = """(canvas) => { const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
    copy.drawImage(canvas, 0, 0); return copy.getImageData(0, 0, canvas.width, canvas.height); }"""


def pixels(page, side, players):
    """Red, green, blue and opacity of the overlay in the middle of each part that has one."""
    places = [middle(players, index) for index in range(players.ids.max().item() + 1)]
    found = f"""(canvas, places) => {{ const {{data, width, height}} = ({READ})(canvas);
        const start = ({{x, y}}) => 4 * (Math.floor(y * height) * width + Math.floor(x * width));
        return places.map((place) => Array.from(data.slice(start(place), start(place) + 4))); }}"""
    return np.array(plate(page, side).locator(".heat").evaluate(found, places))


def colours(values, scale, opacity=OPACITY):
    """The package's own figures' colours, `overlay`, with another opacity."""
    strength = np.asarray(values, dtype=float) / scale
    drawn = matplotlib.colormaps["RdBu_r"]((strength + 1) / 2)
    drawn[..., 3] = opacity * np.abs(strength) ** 0.7
    return drawn * 255


def assert_painted(page, side, players, values, scale, opacity=OPACITY):
    drawn, wanted = pixels(page, side, players), colours(values, scale, opacity)[: players.ids.max().item() + 1]
    assert np.abs(drawn[:, 3] - wanted[:, 3]).max() <= 1.5
    seen = wanted[:, 3] > 40  # the colours of what is nearly transparent are rounded away
    assert np.abs(drawn - wanted)[seen].max() <= 4 and (seen.any() or not np.any(values))


def assert_plain(page, side):
    assert not plate(page, side).locator(".heat").evaluate(f"(canvas) => ({READ})(canvas).data.some(Boolean)")


def number(text):
    return float(text.split(" ±")[0].replace("−", "-"))


def listed(page, side):
    """The names and numbers of the strongest parts of a side."""
    rows = page.locator(f".reading[data-side='{side}'] .strongest li").all()
    return [(row.locator(".name").inner_text(), number(row.locator(".value").inner_text())) for row in rows]


def here(page, side):
    terms = page.locator(f".reading[data-side='{side}'] .here div").all()
    return {term.locator("dt").inner_text(): term.locator("dd").inner_text() for term in terms}


def name_of(players, index):
    rows, columns = players.ids.shape[-2:]
    return f"cell ({index // columns}, {index % columns})" if rows * columns == players.n_players else f"part {index}"


def assert_listed(page, side, players, values):
    wanted = sorted((k for k in range(len(values)) if values[k]), key=lambda k: -abs(values[k]))[:5]
    found = listed(page, side)
    assert [name for name, _ in found] == [name_of(players, k) for k in wanted]
    assert [value for _, value in found] == pytest.approx([values[k] for k in wanted], abs=6e-3)


def choose(page, name, value):
    page.locator(f"label:has(input[name={name}][value={value}])").click()


def pins(page):
    return [chip.inner_text().split() for chip in page.locator(".pins .show").all()]


def has_colour(page, side, colour):
    """Whether marks have this colour: many of their pixels."""
    count = f"""(canvas, wanted) => {{ const {{data}} = ({READ})(canvas); let n = 0;
        new Uint32Array(data.buffer).forEach((pixel) => {{ n += pixel === wanted; }}); return n; }}"""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return plate(page, side).locator(".marks").evaluate(count, (255 << 24) + (blue << 16) + (green << 8) + red) > 40
