import warnings
from collections.abc import Callable

import pytest
import torch
from conftest import random_tensor
from torch import Tensor

from captum_pairwise.network.batching import Chunk, Evaluator, choose_chunk_size, is_out_of_memory

ROWS = random_tensor(7, 3)


class Square:
    """Squares rows, records the number of rows in each call, and fails above a limit like a full memory."""

    def __init__(self, limit: int, fail: Callable[[], object]) -> None:
        self.limit, self.fail = limit, fail
        self.sizes: list[int] = []

    def __call__(self, rows: Tensor) -> Tensor:
        if len(rows) > self.limit:
            self.fail()
        self.sizes.append(len(rows))
        return rows.square()


def make_failure(error: Exception) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


def full_memory() -> None:
    torch.empty(2**60, dtype=torch.uint8)  # an exbibyte: raises the real error of the allocator


OUT_OF_MEMORY = {
    "GPU": make_failure(torch.cuda.OutOfMemoryError("CUDA out of memory")),
    "MPS": make_failure(RuntimeError("MPS backend out of memory (MPS allocated: 17.99 GB)")),
    "CPU": full_memory,
    "Python": make_failure(MemoryError()),
    "cuBLAS": make_failure(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
}
ERRORS = (RuntimeError, MemoryError)
each_memory = pytest.mark.parametrize("memory", OUT_OF_MEMORY)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_any_chunk_gives_the_same(chunk: int) -> None:
    function = Square(chunk, make_failure(AssertionError("more rows than a chunk")))
    assert torch.equal(Evaluator(function, Chunk(chunk))(ROWS), ROWS.square())
    with_graph, costly = Evaluator(function, Chunk(chunk)), Evaluator(function, Chunk(2 * chunk), cost=2)
    assert torch.equal(with_graph(ROWS.clone().requires_grad_()), ROWS.square()) and torch.equal(costly(ROWS), ROWS.square())


@each_memory
@pytest.mark.parametrize("limit", [1, 2, 3, 6])
def test_chunk_is_halved_when_memory_runs_out(memory: str, limit: int) -> None:
    evaluate = Evaluator(Square(limit, OUT_OF_MEMORY[memory]), Chunk(100))
    assert torch.equal(evaluate(ROWS), ROWS.square())
    assert evaluate.chunk.size <= limit


def test_halved_chunk_stays_small() -> None:
    function = Square(3, OUT_OF_MEMORY["GPU"])
    evaluate = Evaluator(function, Chunk(4))
    evaluate(ROWS)
    function.fail = make_failure(AssertionError("tried the old chunk again"))
    evaluate(ROWS)
    assert set(function.sizes) == {2, 1}


def test_halved_chunk_keeps_the_cost_of_a_row() -> None:
    function = Square(4, OUT_OF_MEMORY["GPU"])
    evaluate = Evaluator(function, Chunk(18), cost=3)
    assert torch.equal(evaluate(ROWS), ROWS.square()) and function.sizes == [3, 3, 1]  # 6 rows do not fit, 3 do
    assert torch.equal(evaluate(ROWS), ROWS.square()) and function.sizes == [3, 3, 1] * 2


@each_memory
def test_one_row_that_does_not_fit_raises(memory: str) -> None:
    chunk = Chunk(4)
    with warnings.catch_warnings(), pytest.raises(ERRORS) as raised:
        warnings.simplefilter("error")  # the call failed, so it must not warn
        Evaluator(Square(0, OUT_OF_MEMORY[memory]), chunk)(ROWS)
    assert is_out_of_memory(raised.value) and raised.value.__context__ is None
    assert chunk.size == 4  # the size is as before


def test_other_errors_of_the_function_are_raised() -> None:
    evaluate = Evaluator(Square(1, make_failure(RuntimeError("shapes cannot be multiplied"))), Chunk(4))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        evaluate(ROWS)


def test_progress_is_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    Evaluator(torch.square, Chunk(2))(ROWS)
    assert not capsys.readouterr().err
    Evaluator(torch.square, Chunk(2), "coalitions of a pair")(ROWS)
    assert "coalitions of a pair" in capsys.readouterr().err


def test_progress_bar_continues_from_call_to_call(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate = Evaluator(torch.square, Chunk(2), "coalitions")
    for total, before in ((7, 0), (14, 7)):
        evaluate(ROWS)
        assert f" {before}/{total} " in capsys.readouterr().err


def test_chunk_fits_a_row_that_is_larger_than_the_budget() -> None:
    row = torch.empty(2**40, device="meta")
    assert choose_chunk_size(row) == 1
    assert choose_chunk_size(row[:100]) > choose_chunk_size(row[:1000]) > 1
