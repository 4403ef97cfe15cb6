"""Pairs of images to explain: lists in CSV files, masks, and pairs that are mined from labelled data sets in their official layouts."""

from captum_pairwise.datasets.birds import cub
from captum_pairwise.datasets.builtin import builtin_pairs
from captum_pairwise.datasets.caption_mosaics import CaptionMosaic, caption_mosaics
from captum_pairwise.datasets.coco_stuff import coco
from captum_pairwise.datasets.exact_pairs import exact_pairs
from captum_pairwise.datasets.faces_in_the_wild import lfw
from captum_pairwise.datasets.keypoint_sets import pf_pascal, spair
from captum_pairwise.datasets.labelled import LabelledImage, LabelledImages
from captum_pairwise.datasets.masks import open_mask
from captum_pairwise.datasets.mining import conditional_nearest_neighbours
from captum_pairwise.datasets.online_products import stanford_online_products
from captum_pairwise.datasets.pair_list import Pair, iterate_pairs, read_pairs, write_pairs
from captum_pairwise.datasets.pascal_voc import voc

__all__ = [
    "CaptionMosaic",
    "LabelledImage",
    "LabelledImages",
    "Pair",
    "builtin_pairs",
    "caption_mosaics",
    "coco",
    "conditional_nearest_neighbours",
    "cub",
    "exact_pairs",
    "iterate_pairs",
    "lfw",
    "open_mask",
    "pf_pascal",
    "read_pairs",
    "spair",
    "stanford_online_products",
    "voc",
    "write_pairs",
]
