"""Wrong input of a metric raises a message: what was expected, what came, and what to do."""

import pytest
import torch
from conftest import assert_refused, images, random_tensor, tiny_encoder
from torch import nn

import captum_pairwise as cp
from captum_pairwise import metrics

pytestmark = pytest.mark.usefixtures("without_type_checks")
MODEL = cp.SimilarityWrapper(tiny_encoder())
TRAINING = cp.SimilarityWrapper(nn.Sequential(tiny_encoder(), nn.Dropout(0.5)).train())
QUERY, RETRIEVED = images(2)
HEAT, FULL = random_tensor(2, 12, 12), torch.ones(2, 12, 12, dtype=torch.bool)
EMPTY, WITH_NAN = ~FULL, HEAT.clone()
WITH_NAN[1, 3, 3] = torch.nan
HALF_EMPTY = torch.stack([FULL[0], EMPTY[1]])


def faithfulness(forward=MODEL, inputs=(QUERY, RETRIEVED), attributions=HEAT, **arguments):
    return metrics.faithfulness(forward, inputs, attributions, **arguments)


def second_order(forward=MODEL, inputs=(QUERY, RETRIEVED), projected=HEAT, masks=(FULL, FULL), **arguments):
    return metrics.second_order_faithfulness(forward, inputs, projected, masks, **arguments)


def deletion(attributions=HEAT, **arguments):
    return metrics.deletion_curve(MODEL, (QUERY, RETRIEVED), attributions, **arguments)


def inefficiency(credit=HEAT, full=HEAT[:, 0, 0], empty=HEAT[:, 0, 1]):
    return metrics.inefficiency(credit, full, empty)


CASES = {
    # maps
    "maps of both images": (lambda: metrics.to_pixels((HEAT, HEAT), (12, 12)), r"maps over one image, .* got tuple.*the tensor for one"),
    "credits of players": (
        lambda: metrics.to_pixels(HEAT[:, 0], (12, 12)),
        r"\[B, C, H, W\] or \[B, H, W\], .* of shape \(2, 12\)",
    ),
    "an empty batch of maps": (lambda: metrics.to_pixels(HEAT[:0], (12, 12)), r"got torch.float64 of shape \(0, 12, 12\)"),
    "integer attributions": (lambda: metrics.to_pixels(FULL.long(), (12, 12)), "floating-point attributions, got torch.int64"),
    "NaN in a map": (lambda: metrics.to_pixels(WITH_NAN, (4, 4)), "NaN or infinity in row 1 of attributions"),
    "infinity in a map": (lambda: metrics.to_pixels(HEAT / 0, (4, 4)), "NaN or infinity in row 0 of attributions"),
    # the most important
    "maps with channels": (
        lambda: metrics.most_important(RETRIEVED, 3),
        r"floating-point maps \[B, H, W\], got torch.float64 of shape \(2, 3, 12, 12\)",
    ),
    "None for the maps": (lambda: metrics.most_important(None, 3), "maps .* got NoneType"),
    "NaN in maps to rank": (lambda: metrics.most_important(WITH_NAN, 3), "got NaN, which has no rank"),
    "more pixels than a map has": (
        lambda: metrics.most_important(HEAT, 145),
        "between 0 and the 144 pixels that are not void in map 0, got 145",
    ),
    "more pixels than are not void": (
        lambda: metrics.most_important(HEAT, torch.tensor([3, 3]), ~HALF_EMPTY | FULL.tril(-11)),
        "0 pixels that are not void in map 1, got 3",
    ),
    "a negative number of pixels": (lambda: metrics.most_important(HEAT, -1), "between 0 and .* got -1"),
    "a fraction for the number of pixels": (lambda: metrics.most_important(HEAT, 0.3), "n to be an integer, .* got 0.3. Round"),
    "three numbers of pixels for two maps": (
        lambda: metrics.most_important(HEAT, torch.tensor([1, 2, 3])),
        r"a tensor of 2 integers, .* shape \(3,\)",
    ),
    "a tensor of fractions for the numbers of pixels": (
        lambda: metrics.most_important(HEAT, torch.tensor([0.1, 0.2])),
        "got torch.float32",
    ),
    "an integer void mask": (
        lambda: metrics.most_important(HEAT, 3, EMPTY.long()),
        "void to be a boolean mask of shape .* got torch.int64",
    ),
    "a void mask of another size": (
        lambda: metrics.most_important(HEAT, 3, EMPTY[:, :5]),
        r"void .* shape \(2, 12, 12\), got torch.bool of shape \(2, 5",
    ),
    # censoring
    "a matrix to censor": (lambda: metrics.censor(HEAT[:, 0], FULL, HEAT), r"images \[B, C, H, W\], .* of shape \(2, 12\)"),
    "one background for two images": (
        lambda: metrics.censor(RETRIEVED, FULL, RETRIEVED[:1]),
        r"background of shape .* of shape \(1, 3, 12, 12\)",
    ),
    "a number for a background": (lambda: metrics.censor(RETRIEVED, FULL, 0.5), "background of shape .* got float"),
    "a floating-point mask of pixels to replace": (
        lambda: metrics.censor(RETRIEVED, FULL.double(), RETRIEVED),
        "gone to be a boolean mask .* got torch.float64",
    ),
    # faithfulness
    "one tensor for both images": (lambda: faithfulness(inputs=RETRIEVED), r"inputs to be a tuple \(query, retrieved\)"),
    "batches of different sizes": (
        lambda: faithfulness(inputs=(QUERY[:1], RETRIEVED)),
        "equal numbers of query and retrieved images",
    ),
    "NaN in an image": (lambda: faithfulness(inputs=(QUERY, RETRIEVED / 0)), "NaN or infinity in row 0 of the retrieved images"),
    "a matrix instead of the retrieved images": (
        lambda: faithfulness(inputs=(QUERY, HEAT[:, 0])),
        r"retrieved images \[B, C, H, W\].* of shape \(2, 12\)",
    ),
    "an unknown name of the image": (lambda: faithfulness(image="both"), "image to be one of .*'query', 'retrieved'.* got 'both'"),
    "an unknown name of the image of a curve": (lambda: deletion(image="target"), "image to be one of .* got 'target'"),
    "a share in percent": (lambda: faithfulness(share=30), "share between 0 and 1, got 30"),
    "a negative share": (lambda: faithfulness(share=-0.1), "share between 0 and 1, got -0.1"),
    "NaN for the share": (lambda: faithfulness(share=float("nan")), "share between 0 and 1, got nan"),
    "one map for two pairs": (lambda: faithfulness(attributions=HEAT[:1]), "attributions to hold 2 maps, one per pair, got 1"),
    "maps of both images for faithfulness": (
        lambda: faithfulness(attributions=(HEAT, HEAT)),
        "attributions to be maps over one image, .* got tuple",
    ),
    "a map with NaN for faithfulness": (lambda: faithfulness(attributions=WITH_NAN), "NaN or infinity in row 1 of attributions"),
    "one baseline": (lambda: faithfulness(baselines=0.5), "baselines to be a pair .* got float"),
    "a baseline of another size": (
        lambda: faithfulness(baselines=(None, RETRIEVED[..., :5])),
        "the retrieved baseline to be a tensor of shape",
    ),
    "an infinite baseline": (lambda: faithfulness(baselines=(None, RETRIEVED / 0)), "NaN or infinity in row 0 of the output of"),
    "a model in training mode": (lambda: faithfulness(TRAINING), "evaluation mode, but its Dropout is training"),
    "three similarities for each pair": (
        lambda: faithfulness(lambda q, r: q.mean((2, 3))),
        r"one similarity per example from the forward function, shape \(2,\), got .* of shape \(2, 3\)",
    ),
    "one similarity for all pairs": (lambda: faithfulness(lambda q, r: q.mean()), r"shape \(2,\), got .* of shape \(\)"),
    "a forward function that returns None": (lambda: faithfulness(lambda q, r: None), r"shape \(2,\), got NoneType"),
    "a similarity that is NaN": (
        lambda: faithfulness(lambda q, r: q.mean((1, 2, 3)) / 0 * 0),
        "NaN or infinity in row 0 of the output of the forward",
    ),
    # second order
    "one mask instead of a pair of masks": (lambda: second_order(masks=FULL), r"masks to be a pair .* got Tensor"),
    "an integer query mask": (lambda: second_order(masks=(FULL.long(), FULL)), "the query mask to be a boolean mask .* got torch.int64"),
    "no query mask, although the query is censored": (
        lambda: second_order(masks=(None, FULL)),
        "the query mask to be a boolean mask .* got NoneType",
    ),
    "a mask of another size": (lambda: second_order(masks=(FULL, FULL[:, :5])), "the retrieved mask .*mode='nearest'"),
    "an empty retrieved mask": (
        lambda: second_order(masks=(FULL, HALF_EMPTY)),
        "the retrieved mask with at least one .* image 1. Leave it out",
    ),
    "an empty query mask": (lambda: second_order(masks=(HALF_EMPTY, FULL)), "the query mask with at least one pixel .* none in image 1"),
    "a retrieved mask with only void pixels": (
        lambda: second_order(void=FULL),
        "the retrieved mask with at least one pixel that is not void",
    ),
    "a void mask of another size, second order": (lambda: second_order(void=FULL[:, :5]), "void to be a boolean mask"),
    "None for the projection": (lambda: second_order(projected=None), "projected to be maps over one image, .* got NoneType"),
    "credits of players for the projection": (
        lambda: second_order(projected=HEAT[:, 0]),
        r"projected to be maps .*visualization.to_pixels",
    ),
    "a matrix instead of the query images": (lambda: second_order(inputs=(HEAT[:, 0], RETRIEVED)), r"query images \[B, C, H, W\]"),
    "a model in training mode, second order": (lambda: second_order(TRAINING), "evaluation mode"),
    # label propagation
    "a mask of one image": (
        lambda: metrics.label_propagation(HEAT, FULL[0]),
        r"mask \[B, H, W\], .* of shape \(12, 12\).*mask\[None\]",
    ),
    "None for the mask": (lambda: metrics.label_propagation(HEAT, None), "mask .* got NoneType"),
    "an integer mask": (lambda: metrics.label_propagation(HEAT, FULL.long()), "mask to be a boolean mask .* got torch.int64"),
    "one mask for two projections": (lambda: metrics.label_propagation(HEAT, FULL[:1]), "projected to hold 1 maps, one per pair, got 2"),
    "an image without the object": (lambda: metrics.label_propagation(HEAT, HALF_EMPTY), "mask with at least one pixel .* none in image 1"),
    "an object with only void pixels": (
        lambda: metrics.label_propagation(HEAT, FULL, ~HALF_EMPTY),
        "mask with at least one .* none in image 1",
    ),
    "an integer void mask, label propagation": (lambda: metrics.label_propagation(HEAT, FULL, FULL.long()), "void to be a boolean mask"),
    "a projection with NaN": (lambda: metrics.label_propagation(WITH_NAN, FULL), "NaN or infinity in row 1 of projected"),
    # sums
    "credits of both images": (lambda: inefficiency((HEAT, HEAT)), "credit .* got tuple. Pass one image at a time"),
    "integer credits": (lambda: inefficiency(FULL.long()), "floating-point credit .* got torch.int64"),
    "one number for all credits": (lambda: inefficiency(HEAT[0, 0, 0]), r"an entry per pair, got torch.float64 of shape \(\)"),
    "credits with NaN": (lambda: inefficiency(WITH_NAN), "NaN or infinity in row 1 of the credit"),
    "one v(N) for two pairs": (
        lambda: inefficiency(full=torch.ones(1)),
        r"full with one similarity per pair, shape \(2,\), .* \(1,\)",
    ),
    "a number for v(∅)": (lambda: inefficiency(empty=0.0), r"empty with one similarity .* got float"),
    # curves and means
    "a curve without steps": (lambda: deletion(n_steps=0), "n_steps to be an integer of at least 1, got 0"),
    "a curve of half a step": (lambda: deletion(n_steps=0.5), "n_steps .* got 0.5"),
    "a curve of a map with NaN": (lambda: metrics.insertion_curve(MODEL, (QUERY, RETRIEVED), WITH_NAN), "row 1 of attributions"),
    "a matrix of values": (lambda: metrics.mean_and_error(HEAT[0]), r"a vector of floating-point values, .* shape \(12, 12\)"),
    "integer values": (lambda: metrics.mean_and_error(torch.ones(3, dtype=torch.long)), "got torch.int64"),
    "a list of values": (lambda: metrics.mean_and_error([1.0, 2.0]), "a vector .* got list"),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_refused(case):
    assert_refused(*CASES[case])


def test_the_query_mask_is_optional_if_the_query_is_not_censored():
    whole = second_order(masks=(FULL, FULL), censor_query=False)
    assert torch.equal(second_order(masks=(None, FULL), censor_query=False), whole)
