"""Augmentation keeps what it must keep."""

import torch

from wsi_lpd.config import AugmentConfig
from wsi_lpd.methods.glass import glass_share
from wsi_lpd.training.data.augment import Draws, cropped, flipped, recoloured
from wsi_lpd.training.processes import Processes


def draws(seed=0, processes=None):
    generator = torch.Generator().manual_seed(seed)
    return Draws(generator) if processes is None else Draws(generator, processes)


def test_flips__give_all_eight_views_and_lose_no_pixel():
    image = torch.arange(3 * 5 * 5, dtype=torch.float32).reshape(1, 3, 5, 5)
    views = flipped(image.expand(200, -1, -1, -1), draws().below(8, 200))
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8
    assert all(
        torch.equal(view.flatten(1).sort(dim=1).values, image[0].flatten(1).sort(dim=1).values) for view in views
    )


def gradient(count, side):
    """Red rises along x, green along y, both at the centres of the pixels of [0, 1]; blue is something else."""
    at = (torch.arange(side) + 0.5) / side
    red, green = at.expand(side, side), at[:, None].expand(side, side)
    return torch.stack([red, green, 1 - red * green]).expand(count, -1, -1, -1)


def test_crops__show_a_share_of_the_patch_that_is_drawn_and_lies_inside_it():
    side_px, least = 40, 0.3
    views = cropped(gradient(400, 96), least, side_px, draws())
    assert views.shape == (400, 3, side_px, side_px)
    inner = side_px / (side_px - 1)  # from the first to the last pixel centre is one pixel less than the whole
    width = (views[:, 0, 20, -1] - views[:, 0, 20, 0]) * inner
    height = (views[:, 1, -1, 20] - views[:, 1, 0, 20]) * inner
    area = width * height
    assert least - 0.01 < float(area.min()) < 0.35
    assert 0.95 < float(area.max()) < 1.02
    assert 0.6 < float(area.mean()) < 0.68  # uniform from 0.3 to 1; a side cannot be longer than the patch
    assert 0.73 < float((width / height).min()) < 0.8
    assert 1.25 < float((width / height).max()) < 1.37
    left, right = views[:, 0, 20, 0], 1 - views[:, 0, 20, -1]
    assert float(left.min()) < 0.02
    assert float(right.min()) < 0.02
    assert abs(float(left.mean() - right.mean())) < 0.03
    assert abs(float((left - views[:, 1, 0, 20]).mean())) < 0.03
    centres = views[:, :2].mean(dim=(2, 3)).T
    assert abs(float(torch.corrcoef(centres)[0, 1])) < 0.2  # x and y are drawn apart


def test_a_crop_of_everything__is_the_patch():
    images = torch.rand(3, 3, 24, 24)
    torch.testing.assert_close(cropped(images, 1.0, 24, Squarish()), images)


class Squarish:
    """Draws of a whole patch without a change of its sides."""

    def uniform(self, count, *shape):
        return torch.full((count, *shape), 0.5)


def test_the_same_generator__gives_the_same_images():
    images = torch.rand(4, 3, 9, 9)
    config = AugmentConfig(blur=0.5)
    a, b, c = (recoloured(images, config, draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_all_off__changes_nothing():
    images = torch.rand(4, 3, 9, 9)
    off = AugmentConfig(flips=False, stain=0, brightness=0, contrast=0, blur=0)
    assert torch.equal(recoloured(images, off, draws()), images)


def test_colours__stay_in_range_and_each_patch_changes_on_its_own():
    images = torch.rand(1, 3, 12, 10).expand(6, -1, -1, -1).clone()
    changed = recoloured(images, AugmentConfig(stain=0.5, brightness=0.5, contrast=0.5), draws())
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert all(not torch.equal(changed[0], other) for other in changed[1:])


def test_stain_jitter__leaves_glass_white_and_moves_tissue():
    images = torch.ones(1, 3, 8, 6)
    images[:, :, :, 3:] = torch.tensor([0.6, 0.3, 0.6])[None, :, None, None]
    config = AugmentConfig(stain=0.4, brightness=0, contrast=0)
    changed = recoloured(images, config, draws())
    assert (changed[..., :3] > 0.97).all()
    assert (changed[..., 3:] - images[..., 3:]).abs().max() > 0.03


def test_glass__is_wide_bright_and_colourless():
    images = torch.full((4, 3, 128, 96), 0.5)
    images[0, :, :, 60:] = 0.95  # a wide bright border
    images[1, :, 20:36, 20:36] = 0.95  # a lumen: bright, too small
    images[2, 0, :, 60:] = 0.95  # wide and red, not colourless
    images[3, :, 64:] = 0.7  # wide and grey, not bright
    share = glass_share(images, (16, 12))
    assert share.shape == (4, 16, 12)
    assert (share[0, :, 8:] == 1).all()
    assert (share[0, :, :7] == 0).all()
    assert (share[1:] == 0).all()


def test_three_processes__change_their_patches_as_one_does_with_all_of_them():
    images = torch.rand(12, 3, 9, 9)
    config = AugmentConfig(blur=0.5)

    def changed(part, processes=None):
        here = draws(3, processes)
        turned = flipped(part, here.below(8, len(part)))
        return here.one(), recoloured(turned, config, here)

    whole = changed(images)
    shares = [changed(images[4 * rank :][:4], Processes(rank, 3)) for rank in range(3)]
    assert {drawn for drawn, _ in shares} == {whole[0]}
    assert torch.equal(torch.cat([share for _, share in shares]), whole[1])
