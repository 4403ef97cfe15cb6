"""Photos, interactions and slow copies of the drawing code, for the tests of figures."""

import warnings
from dataclasses import replace

import matplotlib
import numpy as np
import torch
from conftest import random_tensor
from matplotlib.text import Text

import captum_pairwise as cp
from captum_pairwise.players.regions import NEVER_LEAVES, Players, cells
from captum_pairwise.results.interactions import Interactions

matplotlib.use("Agg")
QUERY, RETRIEVED = (torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(k)) for k, size in enumerate([(20, 30), (24, 16)]))
PHOTOS = QUERY, RETRIEVED
MAP = cells(torch.zeros(2, 1, 3, 5), 1)
IDS = cp.grid(24, 16, 3, 2).repeat(2, 1, 1, 1)
IDS[0, 0, :8, :8] = NEVER_LEAVES  # nobody owns the upper left of the first photo; player 0 has no part there
MASK = Players(IDS, (6,))


def build_interactions(between, query=MAP, retrieved=MASK, credit=None, **blocks):
    n_players = sum(between.shape[1:])
    known = Interactions(
        n_query=between.shape[1],
        empty=torch.zeros(len(between)),
        full=torch.ones(len(between)),
        n_evaluations=torch.zeros(len(between), dtype=torch.long),
        without_query=torch.full([len(between)], 0.25),
        without_retrieved=torch.full([len(between)], 0.5),
        marginal=random_tensor(len(between), n_players) if credit is None else credit,
        given_other=random_tensor(len(between), n_players, seed=1) if credit is None else credit,
        between=between,
        query_players=query,
        retrieved_players=retrieved,
    )
    return replace(known, **blocks)


def read_image(panel):
    return np.asarray(panel.images[0].get_array())


def to_array(photos, example):
    return photos[example].permute(1, 2, 0).double().numpy()


def slow_grey(photo):
    return np.stack([0.2 + 0.8 * photo.mean(2)] * 3, 2)


def slow_overlay(photo, heat, scale, colours="RdBu_r"):
    image = slow_grey(photo)
    for row, column in np.ndindex(heat.shape):
        value = heat[row, column] / scale
        opacity = 0.75 * abs(value) ** 0.7
        colour = np.array(matplotlib.colormaps[colours](0.5 + value / 2)[:3])
        image[row, column] = (1 - opacity) * image[row, column] + opacity * colour
    return image


def slow_resize(maps, photos):
    return torch.nn.functional.interpolate(maps.sum(1, keepdim=True), photos.shape[2:], mode="bilinear")[:, 0].numpy()


def find_bar_panels(figure):
    return [panel for panel in figure.axes if panel.get_label() == "<colorbar>"]


def read_bars(figure):
    """Limits of every colour bar by its label, from left to right."""
    limits = {}
    for panel in find_bar_panels(figure):
        is_horizontal = bool(panel.get_xlabel())
        label = panel.get_xlabel() or panel.get_ylabel()
        limits.setdefault(label, []).append(panel.get_xlim() if is_horizontal else panel.get_ylim())
    return limits


def read_texts(figure):
    """All visible texts of a figure, each in one line."""
    return [" ".join(text.get_text().split()) for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def render(figure):
    """Render the figure; a warning of Matplotlib is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()  # the canvas of a Figure without a window draws nothing
    return figure
