"""One thread inside a block, and the number of before after it, also if blocks of several threads overlap."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from captum_pairwise.network.threads import use_one_thread


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_blocks_may_be_nested_and_may_fail():
    with use_one_thread():
        with use_one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(ZeroDivisionError), use_one_thread():
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_blocks_of_several_threads_may_overlap():
    both_inside, first_left = Barrier(2, timeout=20), Barrier(2, timeout=20)

    def enter(is_first):
        with use_one_thread():
            both_inside.wait()
            if not is_first:
                first_left.wait()
        if is_first:
            first_left.wait()
        return torch.get_num_threads()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(enter, (True, False))) == [3, 3]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3
