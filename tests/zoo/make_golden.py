#!/usr/bin/env python3
"""Writes tests/zoo/golden/NAME.txt: what the published implementations call and shape their parameters, and what
they answer when parameters and input are filled by a formula (which test_published_slow.c repeats).

    tests/zoo/make_golden.py tests/zoo/golden

Needs PyTorch, torchvision (Debian's python3-torch and python3-torchvision; the files were made with 1.13.1 and
0.14.1) and timm 0.6.13.
"""
import sys

import numpy as np
import timm
import torch
import torchvision

N_LOGITS = 32

MODELS = {
    "resnet18": lambda: torchvision.models.resnet18(),
    "resnet50": lambda: torchvision.models.resnet50(),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(),
    "efficientnet_lite0": lambda: timm.create_model("efficientnet_lite0"),
    "regnetx_600mf": lambda: timm.create_model("regnetx_006"),
}


def uniform(name, n):
    """n numbers in [0, 1) from a hash of name and index."""
    start = 2166136261
    for byte in name.encode():
        start = (start ^ byte) * 16777619 & 0xFFFFFFFF
    h = np.arange(n, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(start)
    h ^= h >> np.uint32(15)
    h *= np.uint32(2246822519)
    h ^= h >> np.uint32(13)
    return h.astype(np.float64) / 2**32


def fill(name, shape):
    u = uniform(name, int(np.prod(shape)))
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        values = 0.5 + u
    elif len(shape) == 1:
        values = 0.2 * (u - 0.5)
    else:
        values = (u - 0.5) * np.sqrt(24.0 / np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def main():
    for name, make in MODELS.items():
        model = make().eval()
        state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
        with torch.no_grad():
            for key, value in state.items():
                value.copy_(fill(key, tuple(value.shape)))
            x = torch.from_numpy((2 * uniform("input", 3 * 224 * 224) - 1).astype(np.float32)).reshape(1, 3, 224, 224)
            logits = model.double()(x.double())[0, :N_LOGITS]
        with open(f"{sys.argv[1]}/{name}.txt", "w") as out:
            for key, value in state.items():
                print(key, *value.shape, file=out)
            print("logits", *(f"{float(v):.9g}" for v in logits), file=out)


if __name__ == "__main__":
    main()
