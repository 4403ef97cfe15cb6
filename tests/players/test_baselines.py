from functools import partial

import pytest
import torch
from conftest import INPUT, INPUT_FIRST_ORDER, LAYER, flat, images, make, random_tensor, seeded
from scipy.ndimage import uniform_filter
from torch import Tensor, nn
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise.players.baselines import Backgrounds, Baseline, background_members, blur_baseline, mean_colour, part_colour

IMAGES = random_tensor(2, 3, 12, 9)


def mirrored_box_mean(image: Tensor, *size: int) -> Tensor:
    return torch.from_numpy(uniform_filter(image.numpy(), (1, 1, *size), mode="mirror"))


@pytest.mark.parametrize("kernel_size", [1, 3, 7, 17])
def test_blur_is_a_box_mean_with_mirrored_borders(kernel_size: int) -> None:
    assert_close(blur_baseline(IMAGES, kernel_size), mirrored_box_mean(IMAGES, kernel_size, kernel_size))


def test_blur_has_the_width_of_the_paper() -> None:
    large = random_tensor(1, 3, 40, 30)
    assert_close(blur_baseline(large), mirrored_box_mean(large, 25, 25))  # A.2


@pytest.mark.parametrize("kernel_size", [3, 25])
def test_blur_matches_opencv(kernel_size: int) -> None:
    """shap's image masker calls it, as in the paper."""
    cv2 = pytest.importorskip("cv2", reason="an outside implementation: pip install 'captum-pairwise[oracles]'")
    large = random_tensor(2, 3, 40, 30)
    expected = [cv2.blur(image.permute(1, 2, 0).numpy(), (kernel_size, kernel_size)) for image in large]
    expected = torch.stack([torch.from_numpy(one).permute(2, 0, 1) for one in expected])
    assert_close(blur_baseline(large, kernel_size), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("height", "width"), [(4, 40), (2, 3), (1, 1)])
def test_blur_width_is_limited_by_the_image(height: int, width: int) -> None:
    small = random_tensor(1, 2, height, width)
    reach = [min(2 * size - 1, 25) for size in (height, width)]
    assert_close(blur_baseline(small), mirrored_box_mean(small, *reach))


def test_blur_of_volumes_and_signals_covers_all_their_axes() -> None:
    volume, signal = random_tensor(2, 1, 5, 12, 9), random_tensor(2, 4, 30)
    reach = [min(2 * size - 1, 7) for size in volume.shape[2:]]
    expected = torch.from_numpy(uniform_filter(volume.numpy(), (1, 1, *reach), mode="mirror"))
    assert_close(blur_baseline(volume, 7), expected)
    assert_close(blur_baseline(signal, 7), torch.from_numpy(uniform_filter(signal.numpy(), (1, 1, 7), mode="mirror")))


def test_colours_of_a_video_with_frames_first_are_not_blurred_into_each_other() -> None:
    frames_first = random_tensor(2, 6, 3, 8, 9)
    expected = blur_baseline(frames_first.transpose(1, 2), 5).transpose(1, 2)
    assert_close(blur_baseline(frames_first, 5), expected)
    assert_close(part_colour(frames_first, None), frames_first.mean((1, 3, 4), keepdim=True).expand_as(frames_first))


def test_inputs_without_places_are_not_blurred() -> None:
    with pytest.raises(ValueError, match=r"images, volumes or signals to blur, got shape \(2, 5\)"):
        blur_baseline(random_tensor(2, 5))


@pytest.mark.parametrize("kernel_size", [-1, 0, 2, 24])
def test_blur_needs_an_odd_width(kernel_size: int) -> None:
    with pytest.raises(ValueError, match=f"odd kernel_size of at least 1, got {kernel_size}"):
        blur_baseline(IMAGES, kernel_size)


@pytest.mark.parametrize("baseline", [blur_baseline, mean_colour])
def test_baselines_are_differentiable(baseline) -> None:
    assert torch.autograd.gradcheck(baseline, IMAGES[:1, :1, :4, :5].clone().requires_grad_())


def test_mean_colour_is_constant() -> None:
    expected = torch.stack([torch.stack([torch.full_like(plane, plane.mean()) for plane in image]) for image in IMAGES])
    assert_close(mean_colour(IMAGES), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_mean_colour_of_each_part(dtype: torch.dtype) -> None:
    ids = torch.randint(-1, 4, (2, 1, 12, 9), generator=seeded(0))
    found = mean_colour(IMAGES.to(dtype), ids)
    assert found.dtype == dtype
    for image, mask, shown in zip(IMAGES.to(dtype), ids[:, 0], found, strict=True):
        assert torch.equal(shown[:, mask == -1], image[:, mask == -1])
        for player in range(4):
            own = image[:, mask == player].double().mean(1, keepdim=True)
            assert_close(
                shown[:, mask == player].double(), own.expand(-1, (mask == player).sum()), rtol=2 * torch.finfo(dtype).eps, atol=1e-12
            )


def test_mean_colour_of_a_single_part_is_the_mean_of_the_image() -> None:
    assert_close(mean_colour(IMAGES, torch.zeros(12, 9, dtype=torch.long)), mean_colour(IMAGES))


def test_baseline_function_receives_the_batch_and_its_mask() -> None:
    ids, seen = torch.zeros(2, 1, 12, 9, dtype=torch.long), []
    found = background_members(lambda *given: seen.append(given) or 0.5, IMAGES, "baselines", ids)
    assert_close(found, [torch.full_like(IMAGES, 0.5)], rtol=0, atol=0)
    assert seen[0][0] is IMAGES and seen[0][1] is ids


def test_default_of_lime_is_0_for_other_inputs() -> None:
    assert torch.equal(part_colour(IMAGES[0], None), torch.zeros_like(IMAGES[0]))


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (None, [blur_baseline(IMAGES)]),
        (2, [torch.full_like(IMAGES, 2)]),
        (0.5, [torch.full_like(IMAGES, 0.5)]),
        (IMAGES + 1, [IMAGES + 1]),
        (IMAGES[1:].float(), [IMAGES[[1, 1]].float().double()]),
        (Backgrounds(IMAGES + 1), [IMAGES[[0, 0]] + 1, IMAGES[[1, 1]] + 1]),
        (Backgrounds(IMAGES[:1]), [IMAGES[[0, 0]]]),
        (Backgrounds(torch.stack([IMAGES, IMAGES - 1, 2 * IMAGES])), [IMAGES, IMAGES - 1, 2 * IMAGES]),
    ],
    ids=["none", "integer", "number", "tensor", "one example", "backgrounds", "one background", "backgrounds of each image"],
)
def test_members_have_the_shape_of_the_batch(baseline: Baseline, expected: list[Tensor]) -> None:
    assert_close(background_members(baseline, IMAGES, "baselines"), expected, rtol=0, atol=0)


def test_default_baseline_of_other_inputs_is_0() -> None:
    assert torch.equal(background_members(None, IMAGES[0], "baselines")[0], torch.zeros_like(IMAGES[0]))


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (IMAGES[..., :-1], r"a tensor of shape \(2, 3, 12, 9\) .*got a tensor of shape \(2, 3, 12, 8\)"),
        (IMAGES[[0, 1, 0]], r"got a tensor of shape \(3, 3, 12, 9\)"),
        (IMAGES[0], r"got a tensor of shape \(3, 12, 9\)"),
        (torch.tensor(0.5), r"got a tensor of shape \(\)"),
        (Backgrounds(IMAGES[..., :-1]), r"\[K, 3, 12, 9\], got \(2, 3, 12, 8\)"),
        (Backgrounds(IMAGES[:0]), r"\[K, 3, 12, 9\], got \(0, 3, 12, 9\)"),
        (Backgrounds(IMAGES[0]), r"\[K, 3, 12, 9\], got \(3, 12, 9\)"),
    ],
)
def test_baselines_that_do_not_fit_are_refused(baseline: Baseline, message: str) -> None:
    with pytest.raises(ValueError, match=f"the query baseline .*{message}"):
        background_members(baseline, IMAGES, "the query baseline")


class Darker(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image / 2


PHOTOS, NUMBERED = random_tensor(2, 3, 12, 12), torch.arange(12).expand(2, 1, 12, 12)
FUNCTIONS = {
    "one argument": (lambda image: image / 2, lambda: PHOTOS / 2),
    "blur": (blur_baseline, lambda: blur_baseline(PHOTOS)),
    "a partial blur": (partial(blur_baseline, kernel_size=9), lambda: blur_baseline(PHOTOS, 9)),
    "an option": (lambda image, factor=0.5: image * factor, lambda: PHOTOS / 2),
    "an option by name": (lambda image, *, factor=0.5: image * factor, lambda: PHOTOS / 2),
    "a function in C": (torch.zeros_like, lambda: PHOTOS * 0),
    "a module": (Darker(), lambda: PHOTOS / 2),
    "mean colour": (mean_colour, lambda: mean_colour(PHOTOS, NUMBERED)),
    "a partial mean colour": (partial(mean_colour, feature_mask=NUMBERED // 6), lambda: mean_colour(PHOTOS, NUMBERED // 6)),
    "a mask": (lambda image, ids: image * ids, lambda: PHOTOS * NUMBERED),
    "an optional mask": (lambda image, ids=None: image * ids, lambda: PHOTOS * NUMBERED),
    "any arguments": (lambda *arguments: arguments[0] * arguments[1], lambda: PHOTOS * NUMBERED),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_baseline_function_gets_the_mask_if_it_takes_one(name: str) -> None:
    function, expected = FUNCTIONS[name]
    (member,) = background_members(function, PHOTOS, "the baseline", NUMBERED)
    assert_close(member, expected())


@pytest.mark.parametrize("cls", [*INPUT, *INPUT_FIRST_ORDER, *LAYER, cp.SBSM, cp.PairwiseSBSM])
def test_every_class_takes_a_blur_of_another_width(cls: type, model: cp.SimilarityWrapper) -> None:
    method, arguments = make(cls, model)
    blurs, blurred = (partial(blur_baseline, kernel_size=9), blur_baseline), images(2)
    expected = method.attribute(images(2), (blur_baseline(blurred[0], 9), blur_baseline(blurred[1])), **arguments)
    assert_close(flat(method.attribute(images(2), blurs, **arguments)), flat(expected))
