import torch

from captum_pairwise.games.context import ForwardContext
from captum_pairwise.network.batching import choose_chunk_size


def test_the_largest_row_decides_how_many_fit_into_memory():
    small, large = torch.zeros(3, 8, 8), torch.zeros(3, 640, 640)
    for rows in ((small, large), (large, small)):
        assert ForwardContext().make_chunk(*rows).size == choose_chunk_size(large) < choose_chunk_size(small)


def test_the_limit_of_the_user_holds_for_rows_of_any_size():
    assert ForwardContext(max_rows=5).make_chunk(torch.zeros(3, 640, 640)).size == 5
