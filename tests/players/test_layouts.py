"""Names of axes: the place of the channels, for each image."""

import pytest
import torch
from conftest import assert_refused

from captum_pairwise.players.layouts import describe_layouts, get_channel_axis, parse_layouts

AXES = {"NCHW": 1, "NHWC": 3, "NTC": 2, "NCT": 1, "NCDHW": 1}


@pytest.mark.parametrize("name", AXES)
def test_the_channels_are_where_the_name_says(name):
    output = torch.zeros(*range(1, len(name) + 1))
    assert get_channel_axis(name, output, "it") == AXES[name]
    assert get_channel_axis(name, torch.zeros(2, 5), "it") == 1  # embeddings have one axis beside the batch
    assert_refused(lambda: get_channel_axis(name, output[..., None], "the layer's output"), f"the layer's output to have the axes {name}")


def test_without_a_name_the_axis_is_unknown():
    assert get_channel_axis(None, torch.zeros(2, 5), "it") is get_channel_axis(None, torch.zeros(2, 5, 3), "it") is None


def test_a_pair_has_a_name_for_each_image_and_one_name_is_for_both():
    assert (
        parse_layouts(("NCHW", None)) == ("NCHW", None) and parse_layouts("NTC") == ("NTC", "NTC") and parse_layouts(None) == (None, None)
    )
    assert_refused(lambda: parse_layouts(("NCHW", "HWC")), r"layout to be one of .*got \('NCHW', 'HWC'\)")


def test_names_of_the_same_number_of_axes_are_listed():
    assert describe_layouts(torch.zeros(2, 3, 4)) == "layout='NTC' or layout='NCT'"
