#!/usr/bin/env python3
"""Writes golden/augment_*.npy: what Pillow and ColorJitter's formulas make of given draws. Run by hand; needs
Pillow, NumPy and PyTorch (Debian: python3-pil, python3-numpy, python3-torch).

augment_boxes.npy         int64 cases x 7: top, left, height, width, flipped, height and width of the result
augment_box<i>.npy        photo.jpg cut, resized by Pillow's bilinear filter, mirrored; uint8 H W C
augment_pad.npy           uint8: the middle 20 x 24 of photo.jpg with a black frame of 4, cut at row 7, column 1 of
                          the framed image, mirrored
augment_colours_in.npy    uint8 20 x 17 x 3: random, saturated, grey, black and white pixels
augment_colours_cases.npy float32 cases x 8: brightness, contrast, saturation, hue, then the order (0 to 3 in that
                          order of names; -1: no further operation)
augment_colours.npy       float32 cases x 20 x 17 x 3 in 0..1
augment_colours_grey.npy  the same for the first channel alone, cases x 20 x 17

The colour operations are torchvision's (transforms/_functional_tensor.py) for float32 tensors C x H x W, written
out here because the formulas are the reference, not a version of that library."""
import os
import numpy as np
import torch
from PIL import Image, ImageOps

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'golden')


def save(name, value):
    np.save(os.path.join(HERE, name + '.npy'), np.ascontiguousarray(value))


# ---- Geometry
photo = Image.open(os.path.join(HERE, 'photo.jpg')).convert('RGB')
boxes = np.array([[11, 20, 80, 100, 0, 40, 40], [50, 60, 17, 13, 1, 40, 40], [0, 0, 120, 161, 1, 31, 45],
                  [100, 3, 20, 158, 0, 40, 40], [5, 150, 110, 11, 1, 24, 36], [119, 160, 1, 1, 0, 8, 8]], np.int64)
save('augment_boxes', boxes)
for i, (top, left, height, width, flipped, to_height, to_width) in enumerate(boxes.tolist()):
    image = photo.crop((left, top, left + width, top + height)).resize((to_width, to_height), Image.BILINEAR)
    save('augment_box%d' % i, np.asarray(ImageOps.mirror(image) if flipped else image))
middle = photo.crop((68, 50, 92, 70))
framed = ImageOps.expand(middle, 4)
save('augment_pad', np.asarray(ImageOps.mirror(framed.crop((1, 7, 25, 27)))))


# ---- Colours
def blend(one, other, ratio):
    return (ratio * one + (1.0 - ratio) * other).clamp(0, 1)


def grey_of(image):
    r, g, b = image.unbind(-3)
    return (0.2989 * r + 0.587 * g + 0.114 * b).unsqueeze(-3)


def brightness(image, factor):
    return blend(image, torch.zeros_like(image), factor)


def contrast(image, factor):
    grey = grey_of(image) if image.shape[-3] == 3 else image
    return blend(image, torch.mean(grey, dim=(-3, -2, -1), keepdim=True), factor)


def saturation(image, factor):
    return blend(image, grey_of(image), factor) if image.shape[-3] == 3 else image


def to_hsv(image):
    r, g, b = image.unbind(-3)
    most, least = torch.max(image, dim=-3).values, torch.min(image, dim=-3).values
    is_grey = most == least
    chroma = most - least
    ones = torch.ones_like(most)
    s = chroma / torch.where(is_grey, ones, most)
    divisor = torch.where(is_grey, ones, chroma)
    rc, gc, bc = (most - r) / divisor, (most - g) / divisor, (most - b) / divisor
    hr = (most == r) * (bc - gc)
    hg = ((most == g) & (most != r)) * (2.0 + rc - bc)
    hb = ((most != g) & (most != r)) * (4.0 + gc - rc)
    return torch.fmod((hr + hg + hb) / 6.0 + 1.0, 1.0), s, most


def to_rgb(h, s, v):
    i = torch.floor(h * 6.0)
    f = h * 6.0 - i
    i = i.to(torch.int32) % 6
    p = (v * (1.0 - s)).clamp(0, 1)
    q = (v * (1.0 - s * f)).clamp(0, 1)
    t = (v * (1.0 - s * (1.0 - f))).clamp(0, 1)
    mask = i.unsqueeze(0) == torch.arange(6).view(-1, 1, 1)
    table = torch.stack((torch.stack((v, q, p, p, t, v)), torch.stack((t, v, v, q, p, p)),
                         torch.stack((p, p, t, v, v, q))))
    return torch.einsum('ijk,xijk->xjk', mask.to(v.dtype), table)


def hue(image, factor):
    if image.shape[-3] == 1:
        return image
    h, s, v = to_hsv(image)
    return to_rgb((h + factor) % 1.0, s, v)


operations = (brightness, contrast, saturation, hue)
rng = np.random.RandomState(7)
pixels = rng.randint(0, 256, (20, 17, 3))
pixels[3] = rng.choice((0, 255), (17, 3))
pixels[7] = rng.randint(0, 256, (17, 1))
pixels[11, :, 1] = pixels[11, :, 0]
pixels[12, :, 2] = pixels[12, :, 1]
pixels[13] = 100 + rng.randint(0, 2, (17, 3))
pixels = pixels.astype(np.uint8)
cases = np.array([[1.13, 1, 1, 0, 0, -1, -1, -1], [1, 0.8, 1, 0, 1, -1, -1, -1], [1, 1, 1.2, 0, 2, -1, -1, -1],
                  [1, 1, 1, -0.07, 3, -1, -1, -1], [1.2, 0.85, 1.1, 0.1, 0, 1, 2, 3],
                  [0.81, 1.17, 0.9, -0.1, 3, 2, 1, 0], [2.6, 0, 0, 0.5, 2, 0, 3, 1], [0.3, 3.1, 2.2, -0.5, 3, 0, 2, 1],
                  [1.05, 1.9, 1, 0.31, 1, 3, 0, -1]], np.float32)


def jitter(image, case):
    for op in case[4:]:
        if op >= 0:
            image = operations[int(op)](image, float(case[int(op)]))
    return image


unit = torch.from_numpy(pixels).permute(2, 0, 1).to(torch.float32) / 255
save('augment_colours_in', pixels)
save('augment_colours_cases', cases)
save('augment_colours', np.stack([jitter(unit, c).permute(1, 2, 0).numpy() for c in cases]))
save('augment_colours_grey', np.stack([jitter(unit[:1], c)[0].numpy() for c in cases]))
