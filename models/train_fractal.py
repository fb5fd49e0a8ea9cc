#!/usr/bin/env python3
"""Trains models/resnet14_fractal.onnx, the network of the quick plan, on the embedded formula-driven data.

    build/release/mqbench data make fractal -o /tmp/fractal
    models/train_fractal.py /tmp/fractal models/resnet14_fractal.onnx

Needs Debian's python3-torch and python3-pil. A ResNet-14 in He et al.'s small-image form (three stages of two
blocks, 16, 32, 64 channels, 1x1 projections), SGD with Nesterov momentum, linear warm-up and cosine decay, label
smoothing 0.1, padded crops and flips. Fixed seeds; PyTorch's own bits still depend on its version and the CPU.
"""
import argparse
import io
import math
import tarfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image

MEAN, STD = 0.5, 0.25


class Block(nn.Module):
    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.project = None
        if stride > 1 or c_in != c_out:
            self.project = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.project is None else self.project(x)))


class ResNet14(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        blocks, c_in = [], 16
        for c_out in (16, 32, 64):
            for i in range(2):
                blocks.append(Block(c_in, c_out, 2 if c_out > 16 and i == 0 else 1))
                c_in = c_out
        self.blocks = nn.Sequential(*blocks)
        self.classify = nn.Linear(64, classes)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn(self.stem(x))))
        return self.classify(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def load(path):
    """Images of a tar with one folder per class: uint8 N x 3 x H x W and labels in order of the folders' names."""
    pixels, names = [], []
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                pixels.append(np.asarray(Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")))
                names.append(member.name.split("/")[-2])
    classes = sorted(set(names))
    labels = torch.tensor([classes.index(name) for name in names])
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), labels


def normalise(x):
    return (x.float() / 255 - MEAN) / STD


def augment(x, generator):
    """Random crop after padding by 4, random flip; one draw per image."""
    n, _, h, w = x.shape
    padded = F.pad(x, (4, 4, 4, 4))
    top = torch.randint(0, 9, (n,), generator=generator)
    left = torch.randint(0, 9, (n,), generator=generator)
    flip = torch.rand(n, generator=generator) < 0.5
    out = torch.stack([padded[i, :, top[i]:top[i] + h, left[i]:left[i] + w] for i in range(n)])
    out[flip] = out[flip].flip(3)
    return out


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        correct = sum(int((model(normalise(a)).argmax(1) == b).sum()) for a, b in zip(x.split(500), y.split(500)))
    return correct / len(y)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="folder with train.tar and test.tar")
    parser.add_argument("out", help="ONNX file to write")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    args = parser.parse_args()
    torch.manual_seed(0)
    x, y = load(args.data + "/train.tar")
    x_test, y_test = load(args.data + "/test.tar")
    model = ResNet14(int(y.max()) + 1).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), args.lr, 0.9, weight_decay=args.weight_decay, nesterov=True)
    steps = len(y) // args.batch
    total, step = steps * args.epochs, 0
    generator = torch.Generator().manual_seed(0)
    for epoch in range(args.epochs):
        model.train()
        order = torch.randperm(len(y), generator=generator)
        for i in range(steps):
            rate = min(1, (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * step / total))
            for group in optimiser.param_groups:
                group["lr"] = args.lr * rate
            pick = order[i * args.batch:(i + 1) * args.batch]
            batch = normalise(augment(x[pick], generator)).to(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(batch), y[pick], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy {accuracy(model, x_test, y_test):.4f}", flush=True)
    model.eval()
    # PRESERVE keeps batch norm as layers of their own.
    torch.onnx.export(model, torch.zeros(1, 3, 32, 32), args.out, input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}}, opset_version=13,
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)


if __name__ == "__main__":
    main()
