"""The steps before an encoder: the library's own result, with the normalisation apart."""

import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor
from vision_cases import PHOTO

from captum_pairwise.models.backbones import make_pixels
from captum_pairwise.models.libraries.photo_processing import PhotoProcessing, resize_photos, split_processor, split_steps

MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)


def normalise(processing: PhotoProcessing, photo: Image.Image) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (processing.mean, processing.std))
    return (processing.transform(photo) - mean) / std


class Processor:
    """An image processor of transformers; it may scale differently, or have a step after the normalisation."""

    image_mean, image_std = list(MEAN), list(STD)

    def __init__(self, do_normalize: bool = True, scale: float = 1 / 255, shift: float = 0.0) -> None:
        self.do_normalize, self.scale, self.shift = do_normalize, scale, shift

    def __call__(self, images: Image.Image, return_tensors: str, do_normalize: bool | None = None) -> dict[str, Tensor]:
        pixels = make_pixels(images)[0] * 255 * self.scale
        if self.do_normalize if do_normalize is None else do_normalize:
            pixels = Normalize(MEAN, STD)(pixels) + self.shift
        return {"pixel_values": pixels[None]}


def test_the_normalisation_of_a_processor_is_apart() -> None:
    processing = split_processor(Processor())
    torch.testing.assert_close(normalise(processing, PHOTO), Processor()(PHOTO, "pt")["pixel_values"][0])
    torch.testing.assert_close(processing.transform(PHOTO), make_pixels(PHOTO)[0])
    assert processing.words == "photos are resized by Processor and normalised (mean 0.1, 0.2, 0.3)"


@pytest.mark.parametrize("processor", [Processor(do_normalize=False), Processor(scale=1 / 127), Processor(shift=0.5)])
def test_other_steps_of_a_processor_stay_together(processor: Processor) -> None:
    processing = split_processor(processor)
    torch.testing.assert_close(normalise(processing, PHOTO), processor(PHOTO, "pt")["pixel_values"][0])
    assert processing.words == "photos are prepared by Processor" and processing.mean == (0, 0, 0)


@pytest.mark.parametrize("normalisation", [Normalize(MEAN, STD), Normalize(torch.tensor(MEAN), torch.tensor(STD))])
def test_the_normalisation_of_a_transform_is_apart(normalisation: torch.nn.Module) -> None:
    steps = Compose([Resize(20), CenterCrop(16), ToTensor(), normalisation])
    processing = split_steps(steps)
    torch.testing.assert_close(normalise(processing, PHOTO), steps(PHOTO))
    assert processing.words == "photos are resized (Resize, CenterCrop) and normalised (mean 0.1, 0.2, 0.3)"


def test_another_transform_is_used_whole() -> None:
    transform = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    assert torch.equal(normalise(split_steps(transform), PHOTO), transform(PHOTO))


def test_photos_without_colours_become_rgb() -> None:
    processing = resize_photos((8, 12), MEAN, STD)
    assert processing.transform(PHOTO.convert("L")).shape == (3, 8, 12)
    assert processing.words == "photos are resized to 8 × 12 and normalised (mean 0.1, 0.2, 0.3)"
