"""Kinds of inputs: words for ranges with units, and what is refused."""

import pytest
import torch

import captum_pairwise as cp


def test_slices_are_counted_from_0():
    volume = cp.Volume(torch.rand(1, 32, 8, 8))
    assert [volume.name_range(low / 4, (low + 1) / 4) for low in range(4)] == [
        "slices 0 to 7",
        "slices 8 to 15",
        "slices 16 to 23",
        "slices 24 to 31",
    ]
    assert volume.name_range(3 / 32, 4 / 32) == "slice 3"
    assert cp.Volume(torch.rand(1, 10, 8, 8)).name_range(1 / 3, 2 / 3) == "slices 3 to 6"  # all slices that the part touches


def test_frames_have_times_if_their_rate_is_known():
    frames = torch.rand(16, 3, 8, 8)
    assert cp.Video(frames).name_range(0.5, 1.0) == "frames 8 to 15"
    assert cp.Video(frames, fps=8).name_range(0.5, 1.0) == "1.00 s to 2.00 s"
    assert cp.Video(frames.transpose(0, 1)).n_slices == 16


def test_frequencies_of_a_spectrogram():
    values = torch.rand(1, 4, 10)
    even, mel = cp.Spectrogram(values, seconds=2, hertz=8000), cp.Spectrogram(values, hertz=[0, 200, 600, 2000])
    assert even.name_band(0.25, 0.5) == "2 to 4 kHz"
    assert even.name_range(0.0, 0.5) == "0.00 s to 1.00 s"
    assert mel.find_hertz(3 / 8) == 200  # the middle of the second row
    assert mel.name_band(1 / 8, 5 / 8) == "0 to 600 Hz"
    assert cp.Spectrogram(values).name_band(0.25, 0.5) == "row 1"


def test_short_signals_are_in_milliseconds():
    assert cp.Signal(torch.rand(100), rate=1000).name_range(0.1, 0.2) == "10 ms to 20 ms"
    assert cp.Signal(torch.rand(2, 100)).name_range(0.1, 0.2) == "samples 10 to 19"


REFUSED = {
    "integers": (lambda: cp.Volume(torch.zeros(1, 4, 4, 4, dtype=torch.uint8)), "floating-point.*Volume.*255"),
    "a batch": (lambda: cp.Volume(torch.zeros(2, 1, 4, 4, 4)), "one example.*Volume.*one at a time"),
    "too few axes": (lambda: cp.Spectrogram(torch.zeros(4, 4)), "3 or 4 dimensions.*Spectrogram"),
    "no colours": (lambda: cp.Video(torch.zeros(1, 8, 4, 4)), "video .*cp.Volume"),
    "no time": (lambda: cp.Signal(torch.zeros(8), rate=0), "rate to be a positive number, got"),
    "two spacings": (lambda: cp.Volume(torch.zeros(1, 4, 4, 4), spacing=(1, 2)), "3 positive numbers"),
    "a frequency too few": (lambda: cp.Spectrogram(torch.zeros(1, 4, 8), hertz=[1, 2, 3]), "each of 4 rows, got 3"),
    "five bands": (lambda: cp.Picture(torch.zeros(5, 4, 4), shown=torch.zeros(5, 4, 4)), "Choose three channels"),
}


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("name", REFUSED)
def test_other_inputs_are_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()
