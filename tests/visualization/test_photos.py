import torch

from captum_pairwise.visualization.photos import check_photos


def test_rounding_errors_beyond_black_and_white_are_cut_off():
    grey = torch.tensor([[[[-0.005, 0.25], [0.5, 1.005]]]])
    (photo,) = check_photos(grey)
    assert photo.tolist() == [[[0.0] * 3, [0.25] * 3], [[0.5] * 3, [1.0] * 3]]
