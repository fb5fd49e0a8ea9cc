#!/usr/bin/env python3
"""Writes golden/: small generated images and what Pillow makes of them. Run by hand; needs Pillow and NumPy.

For every image x.jpg or x.png, x.npy is Image.open(x), ImageOps.exif_transpose, convert("RGB") as uint8 H W C.
resize_*.npy: photo.jpg by Pillow's bilinear resize, long side rounded, crop in the middle (floor), uint8.
normalised.npy: (v / 255 - mean) / std in float32."""
import os, struct, zlib
import numpy as np
from PIL import Image, ImageOps

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'golden')
os.makedirs(HERE, exist_ok=True)


def path(name):
    return os.path.join(HERE, name)


def picture(height, width, seed):
    """Smooth colour ramps, a disc with a hard edge and some noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rng = np.random.RandomState(seed)
    planes = []
    for c in range(3):
        fx, fy, phase = rng.uniform(1, 5), rng.uniform(1, 5), rng.uniform(0, 6)
        plane = 120 + 80 * np.sin(fx * x / width * 3 + fy * y / height * 3 + phase)
        disc = (x - width * 0.4) ** 2 + (y - height * 0.6) ** 2 < (min(height, width) * 0.3) ** 2
        plane = np.where(disc, 255 - plane * 0.7, plane) + rng.normal(0, 6, plane.shape)
        planes.append(plane)
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def write_png(name, samples, bits, colour, interlace=False, extra=b''):
    """Pillow writes neither 16-bit colour nor interlaced files. samples: H W C integers of `bits` bits."""
    height, width, channels = samples.shape

    def rows(block):
        out = b''
        for row in block:
            flat = row.reshape(-1)
            if bits == 16:
                data = flat.astype('>u2').tobytes()
            elif bits == 8:
                data = flat.astype(np.uint8).tobytes()
            else:
                text = ''.join(format(int(v), '0%db' % bits) for v in flat)
                text += '0' * (-len(text) % 8)
                data = bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8))
            out += b'\0' + data
        return out

    if interlace:
        raw = b''
        for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
            block = samples[y0::dy, x0::dx]
            if block.size:
                raw += rows(block)
    else:
        raw = rows(samples)
    header = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, int(interlace))
    with open(path(name), 'wb') as f:
        f.write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + extra + chunk(b'IDAT', zlib.compress(raw, 9)) +
                chunk(b'IEND', b''))


def golden(name):
    image = ImageOps.exif_transpose(Image.open(path(name))).convert('RGB')
    np.save(path(os.path.splitext(name)[0] + '.npy'), np.asarray(image))


rgb = Image.fromarray(picture(43, 61, 1))
rgb.save(path('rgb420.jpg'), quality=85)
rgb.save(path('rgb444.jpg'), quality=95, subsampling=0)
rgb.save(path('rgb422.jpg'), quality=70, subsampling=1)
rgb.save(path('progressive.jpg'), quality=80, progressive=True)
rgb.convert('L').save(path('grey.jpg'), quality=85)
rgb.convert('CMYK').save(path('cmyk.jpg'), quality=90)
for name in ('rgb420', 'rgb444', 'rgb422', 'progressive', 'grey', 'cmyk'):
    golden(name + '.jpg')
small = Image.fromarray(picture(16, 24, 2))
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    small.save(path('exif%d.jpg' % orientation), quality=90, exif=exif)
    golden('exif%d.jpg' % orientation)

eight = picture(19, 27, 3)
Image.fromarray(eight).save(path('rgb.png'))
Image.fromarray(np.dstack([eight, 255 - eight[..., 0]])).save(path('rgba.png'))
Image.fromarray(eight[..., 1]).save(path('grey8.png'))
Image.fromarray(np.dstack([eight[..., 1], eight[..., 2]]), 'LA').save(path('grey_alpha.png'))
palette = Image.fromarray(eight).quantize(32)
palette.save(path('palette.png'), transparency=3)
write_png('interlaced.png', eight.astype(int), 8, 2, interlace=True)
write_png('rgb16.png', eight.astype(int) * 256 + 77, 16, 2)
for bits in (1, 2, 4):
    write_png('grey%d.png' % bits, (eight[..., :1] >> (8 - bits)).astype(int), bits, 0)
for name in ('rgb', 'rgba', 'grey8', 'grey_alpha', 'palette', 'interlaced', 'rgb16', 'grey1', 'grey2', 'grey4'):
    golden(name + '.png')
# Pillow clips 16-bit grey instead of scaling it; the expected value here is the high byte.
write_png('grey16.png', eight[..., :1].astype(int) * 256 + 200, 16, 0)
np.save(path('grey16.npy'), np.repeat(eight[..., :1], 3, -1))

Image.fromarray(picture(120, 161, 4)).save(path('photo.jpg'), quality=88)
photo = Image.open(path('photo.jpg')).convert('RGB')


def resize_short(image, size):
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new = round(size * long / short)
    return image.resize((size, new) if width <= height else (new, size), Image.BILINEAR)


def center_crop(image, size):
    a = np.asarray(image)
    height, width = a.shape[:2]
    pad_y, pad_x = max(size - height, 0), max(size - width, 0)
    a = np.pad(a, ((pad_y // 2, (pad_y + 1) // 2), (pad_x // 2, (pad_x + 1) // 2), (0, 0)))
    top, left = (a.shape[0] - size) // 2, (a.shape[1] - size) // 2
    return a[top:top + size, left:left + size]


cases = {
    'resize_short64': np.asarray(resize_short(photo, 64)),
    'resize_short64_crop56': center_crop(resize_short(photo, 64), 56),
    'resize_short64_crop57': center_crop(resize_short(photo, 64), 57),
    'resize_40x52': np.asarray(photo.resize((52, 40), Image.BILINEAR)),
    'resize_up_crop': center_crop(photo.resize((333, 251), Image.BILINEAR), 60),
    'resize_narrow': np.asarray(photo.resize((7, 120), Image.BILINEAR)),
    'resize_none_crop130': center_crop(photo, 130),
    'resize_short20_crop31': center_crop(resize_short(photo, 20), 31),
}
for name, value in cases.items():
    np.save(path(name + '.npy'), np.ascontiguousarray(value))
mean = np.array([0.485, 0.456, 0.406], np.float32)
std = np.array([0.229, 0.224, 0.225], np.float32)
unit = cases['resize_short64_crop56'].astype(np.float32) / np.float32(255)
np.save(path('normalised.npy'), (unit - mean) / std)
