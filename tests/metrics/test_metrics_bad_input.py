"""Wrong input of a metric raises a message: what was expected, what came, and what to do."""

import pytest
import torch
from conftest import assert_refused, images, random_tensor, tiny_encoder
from torch import nn

import captum_pairwise as cp
from captum_pairwise import metrics

pytestmark = pytest.mark.usefixtures("without_type_checks")
MODEL = cp.SimilarityWrapper(tiny_encoder())
DROPPING = cp.SimilarityWrapper(nn.Sequential(tiny_encoder(), nn.Dropout(0.5)).train())
QUERY, RETRIEVED = images(2)
HEAT, FULL = random_tensor(2, 12, 12), torch.ones(2, 12, 12, dtype=torch.bool)
EMPTY, SPOILT = ~FULL, HEAT.clone()
SPOILT[1, 3, 3] = torch.nan
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
    "no map": (lambda: metrics.to_pixels(HEAT[:0], (12, 12)), r"got torch.float64 of shape \(0, 12, 12\)"),
    "whole numbers": (lambda: metrics.to_pixels(FULL.long(), (12, 12)), "floating-point attributions, got torch.int64"),
    "NaN in a map": (lambda: metrics.to_pixels(SPOILT, (4, 4)), "NaN or infinity in row 1 of attributions"),
    "infinity in a map": (lambda: metrics.to_pixels(HEAT / 0, (4, 4)), "NaN or infinity in row 0 of attributions"),
    # the most important
    "maps with channels": (
        lambda: metrics.most_important(RETRIEVED, 3),
        r"floating-point maps \[B, H, W\], got torch.float64 of shape \(2, 3, 12, 12\)",
    ),
    "maps of nothing": (lambda: metrics.most_important(None, 3), "maps .* got NoneType"),
    "NaN has no rank": (lambda: metrics.most_important(SPOILT, 3), "got NaN, which has no rank"),
    "too many": (lambda: metrics.most_important(HEAT, 145), "between 0 and the 144 pixels that are not void in map 0, got 145"),
    "too many beside the void": (
        lambda: metrics.most_important(HEAT, torch.tensor([3, 3]), ~HALF_EMPTY | FULL.tril(-11)),
        "0 pixels that are not void in map 1, got 3",
    ),
    "less than none": (lambda: metrics.most_important(HEAT, -1), "between 0 and .* got -1"),
    "a share for a number": (lambda: metrics.most_important(HEAT, 0.3), "n to be an integer, .* got 0.3. Round"),
    "numbers for other maps": (lambda: metrics.most_important(HEAT, torch.tensor([1, 2, 3])), r"a tensor of 2 integers, .* shape \(3,\)"),
    "shares for numbers": (lambda: metrics.most_important(HEAT, torch.tensor([0.1, 0.2])), "got torch.float32"),
    "a void of labels": (lambda: metrics.most_important(HEAT, 3, EMPTY.long()), "void to be a boolean mask of shape .* got torch.int64"),
    "a smaller void": (
        lambda: metrics.most_important(HEAT, 3, EMPTY[:, :5]),
        r"void .* shape \(2, 12, 12\), got torch.bool of shape \(2, 5",
    ),
    # censoring
    "a sentence to censor": (lambda: metrics.censor(HEAT[:, 0], FULL, HEAT), r"images \[B, C, H, W\], .* of shape \(2, 12\)"),
    "another background": (lambda: metrics.censor(RETRIEVED, FULL, RETRIEVED[:1]), r"background of shape .* of shape \(1, 3, 12, 12\)"),
    "a number for a background": (lambda: metrics.censor(RETRIEVED, FULL, 0.5), "background of shape .* got float"),
    "pixels by number": (lambda: metrics.censor(RETRIEVED, FULL.double(), RETRIEVED), "gone to be a boolean mask .* got torch.float64"),
    # faithfulness
    "one image": (lambda: faithfulness(inputs=RETRIEVED), r"inputs to be a tuple \(query, retrieved\)"),
    "batches of two sizes": (
        lambda: faithfulness(inputs=(QUERY[:1], RETRIEVED)),
        "equal numbers of query and retrieved images",
    ),
    "NaN in an image": (lambda: faithfulness(inputs=(QUERY, RETRIEVED / 0)), "NaN or infinity in row 0 of the retrieved images"),
    "a vector to censor": (lambda: faithfulness(inputs=(QUERY, HEAT[:, 0])), r"retrieved images \[B, C, H, W\].* of shape \(2, 12\)"),
    "an unknown image": (lambda: faithfulness(image="both"), "image to be one of .*'query', 'retrieved'.* got 'both'"),
    "an unknown image of a curve": (lambda: deletion(image="target"), "image to be one of .* got 'target'"),
    "too large a share": (lambda: faithfulness(share=30), "share between 0 and 1, got 30"),
    "a negative share": (lambda: faithfulness(share=-0.1), "share between 0 and 1, got -0.1"),
    "no share": (lambda: faithfulness(share=float("nan")), "share between 0 and 1, got nan"),
    "a map for two pairs": (lambda: faithfulness(attributions=HEAT[:1]), "attributions to hold 2 maps, one per pair, got 1"),
    "both maps": (lambda: faithfulness(attributions=(HEAT, HEAT)), "attributions to be maps over one image, .* got tuple"),
    "a spoilt map": (lambda: faithfulness(attributions=SPOILT), "NaN or infinity in row 1 of attributions"),
    "one baseline": (lambda: faithfulness(baselines=0.5), "baselines to be a pair .* got float"),
    "a baseline of another size": (
        lambda: faithfulness(baselines=(None, RETRIEVED[..., :5])),
        "the retrieved baseline to be a number, a tensor",
    ),
    "a spoilt baseline": (lambda: faithfulness(baselines=(None, RETRIEVED / 0)), "NaN or infinity in row 0 of the output of"),
    "a training model": (lambda: faithfulness(DROPPING), "evaluation mode, but its Dropout is training"),
    "two similarities a pair": (
        lambda: faithfulness(lambda q, r: q.mean((2, 3))),
        r"one similarity per example, shape \(2,\), .* got \(2, 3\)",
    ),
    "one similarity for all": (lambda: faithfulness(lambda q, r: q.mean()), r"shape \(2,\), .* got \(\)"),
    "no similarity": (lambda: faithfulness(lambda q, r: None), r"shape \(2,\), .* got NoneType"),
    "a similarity of NaN": (
        lambda: faithfulness(lambda q, r: q.mean((1, 2, 3)) / 0 * 0),
        "NaN or infinity in row 0 of the output of the forward",
    ),
    # second order
    "one mask": (lambda: second_order(masks=FULL), r"masks to be a pair .* got Tensor"),
    "masks of labels": (lambda: second_order(masks=(FULL.long(), FULL)), "the query mask to be a boolean mask .* got torch.int64"),
    "no mask to censor the query": (lambda: second_order(masks=(None, FULL)), "the query mask to be a boolean mask .* got NoneType"),
    "a mask of another size": (lambda: second_order(masks=(FULL, FULL[:, :5])), "the retrieved mask .*mode='nearest'"),
    "an empty mask": (
        lambda: second_order(masks=(FULL, HALF_EMPTY)),
        "the retrieved mask with at least one .* image 1. Leave such",
    ),
    "an empty query mask": (lambda: second_order(masks=(HALF_EMPTY, FULL)), "the query mask with at least one pixel .* none in image 1"),
    "a mask that is all void": (lambda: second_order(void=FULL), "the retrieved mask with at least one pixel that is not void"),
    "a void of another size": (lambda: second_order(void=FULL[:, :5]), "void to be a boolean mask"),
    "no projection": (lambda: second_order(projected=None), "projected to be maps over one image, .* got NoneType"),
    "credits for a projection": (lambda: second_order(projected=HEAT[:, 0]), r"projected to be maps .*visualization.to_pixels"),
    "a sentence to censor outside its mask": (lambda: second_order(inputs=(HEAT[:, 0], RETRIEVED)), r"query images \[B, C, H, W\]"),
    "a training model for two objects": (lambda: second_order(DROPPING), "evaluation mode"),
    # label propagation
    "a mask of one image": (
        lambda: metrics.label_propagation(HEAT, FULL[0]),
        r"mask \[B, H, W\], .* of shape \(12, 12\).*mask\[None\]",
    ),
    "no mask": (lambda: metrics.label_propagation(HEAT, None), "mask .* got NoneType"),
    "labels for a mask": (lambda: metrics.label_propagation(HEAT, FULL.long()), "mask to be a boolean mask .* got torch.int64"),
    "a mask for two projections": (lambda: metrics.label_propagation(HEAT, FULL[:1]), "projected to hold 1 maps, one per pair, got 2"),
    "no object": (lambda: metrics.label_propagation(HEAT, HALF_EMPTY), "mask with at least one pixel .* none in image 1"),
    "an object that is all void": (lambda: metrics.label_propagation(HEAT, FULL, ~HALF_EMPTY), "mask with at least one .* none in image 1"),
    "a void of labels for labels": (lambda: metrics.label_propagation(HEAT, FULL, FULL.long()), "void to be a boolean mask"),
    "a spoilt projection": (lambda: metrics.label_propagation(SPOILT, FULL), "NaN or infinity in row 1 of projected"),
    # sums
    "credits of both images": (lambda: inefficiency((HEAT, HEAT)), "credit .* got tuple. Of two images pass one after the other"),
    "whole credits": (lambda: inefficiency(FULL.long()), "floating-point tensor .* got torch.int64"),
    "one credit": (lambda: inefficiency(HEAT[0, 0, 0]), r"an entry per pair, got torch.float64 of shape \(\)"),
    "spoilt credit": (lambda: inefficiency(SPOILT), "NaN or infinity in row 1 of the credit"),
    "one v(N)": (
        lambda: inefficiency(full=torch.ones(1)),
        r"full with one similarity per pair, shape \(2,\), .* \(1,\)",
    ),
    "a number for v(∅)": (lambda: inefficiency(empty=0.0), r"empty with one similarity .* got float"),
    # curves and means
    "no step": (lambda: deletion(n_steps=0), "n_steps to be an integer of at least 1, got 0"),
    "half a step": (lambda: deletion(n_steps=0.5), "n_steps .* got 0.5"),
    "a curve of a spoilt map": (lambda: metrics.insertion_curve(MODEL, (QUERY, RETRIEVED), SPOILT), "row 1 of attributions"),
    "a matrix of values": (lambda: metrics.mean_and_error(HEAT[0]), r"a vector of floating-point values, .* shape \(12, 12\)"),
    "whole values": (lambda: metrics.mean_and_error(torch.ones(3, dtype=torch.long)), "got torch.int64"),
    "a list of values": (lambda: metrics.mean_and_error([1.0, 2.0]), "a vector .* got list"),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_input_is_refused(case):
    assert_refused(*CASES[case])


def test_the_query_mask_is_optional_if_the_query_is_not_censored():
    whole = second_order(masks=(FULL, FULL), censor_query=False)
    assert torch.equal(second_order(masks=(None, FULL), censor_query=False), whole)
