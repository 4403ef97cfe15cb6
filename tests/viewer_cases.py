"""Interactions with all blocks for the viewer's page, and readers of the page's data."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import torch
from conftest import random_tensor

import captum_pairwise as cp
from captum_pairwise.players.regions import Players, cells, parse_mask
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.interactions import Interactions

NASTY = "</script><script>window.hacked = 1</script><!-- \"quoted\" & 'all' <b>héé</b> \u2028 猫"


def build_symmetric(n, seed):
    block = random_tensor(1, n, n, seed=seed)
    return (block + block.mT) * (1 - torch.eye(n, dtype=torch.float64))


def build_interactions(query, retrieved, seed=0, **changes):
    """Random credits of both signs and their errors, for one pair."""
    n, m = query.n_players, retrieved.n_players
    blocks = {
        "marginal": random_tensor(1, n + m, seed=seed),
        "between": random_tensor(1, n, m, seed=seed + 1),
        "within_query": build_symmetric(n, seed + 2),
        "within_retrieved": build_symmetric(m, seed + 3),
        "given_other": random_tensor(1, n + m, seed=seed + 4),
    }
    errors = {name: block.abs() / 100 for name, block in blocks.items()}
    ends = {"empty": torch.tensor([0.25]), "full": torch.tensor([0.75]), "n_evaluations": torch.tensor([8])}
    ends |= {"without_query": torch.tensor([0.5]), "without_retrieved": torch.tensor([0.375])}
    everything = blocks | ends | {"query_players": query, "retrieved_players": retrieved, "standard_error": Credits(**errors)}
    return Interactions(n_query=n, **everything | changes)


def photo(height=60, width=80, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def cell_players(rows=3, columns=4):
    return cells(torch.zeros(1, 1, rows, columns), 1)


def mask_players(rows=2, columns=3):
    """Superpixels of a photo of 60 by 80 pixels; the last id has no part."""
    ids = cp.grid(60, 80, rows, columns).flip(3)
    return Players(parse_mask(ids, photo(), "mask").ids, (rows * columns + 1,))


def word_players(n):
    return Players(torch.arange(n)[None, :, None], (n,))


PHOTOS = (photo(), photo(50, 40, seed=1))
CELLS = build_interactions(cell_players(), cell_players(2, 2))
MASK = build_interactions(mask_players(), cell_players(2, 2), seed=7)
SENTENCES = build_interactions(word_players(4), word_players(3))
WORDS = (["a", "black", "cat", "sits"], ["the", "kitten", "rests"])


class Elements(HTMLParser):
    """Tags of a page with their attributes and the text after each tag."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", {}, []))

    def handle_data(self, data):
        if self.tags:
            self.tags[-1][2].append(data)

    def find(self, tag):
        return [attributes for name, attributes, _ in self.tags if name == tag]

    def read_code(self):
        """Texts of the style and of the scripts that run."""
        return ["".join(text) for name, attributes, text in self.tags if name in ("style", "script") and "type" not in attributes]


def read_data(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html, re.S).group(1))


def decode_floats(packed):
    return np.frombuffer(base64.b64decode(packed), "<f4")


def decode_owners(part):
    if "runs" not in part:
        return np.arange(part["n"]).reshape(part["height"], part["width"])
    runs = np.array(part["runs"]).reshape(-1, 2)
    return np.repeat(runs[:, 0], runs[:, 1]).reshape(part["height"], part["width"])
