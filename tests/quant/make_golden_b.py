#!/usr/bin/env python3
"""Golden files of the quantizers dsq, qil, apot, lqnet and nnie: golden/<name>.txt.

Usage: tests/quant/make_golden_b.py        (torch 1.13 and numpy: python3-torch, python3-numpy)

One training step each, from the papers' formulas in float64: gradients by autograd with rounding taken
straight through, level sets by enumeration, LQ-Net's basis by a general solver, DSQ as published by PyTorch's
own fake quantization. Inputs are drawn again until no value lies so near a rounding tie or a mask's bound that
float32 might decide otherwise.

A file is a sequence of cases, "case NAME", then lines "KEY COUNT VALUES...".
"""
import itertools
import math
import os
import sys

import numpy as np
import torch

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
TIE = 2e-5  # of one step: distance from a decision that every value keeps
torch.set_default_dtype(torch.float64)


class TooNear(Exception):
    """A value lies near a tie: draw again."""


def keep_away(distance):
    """distance: of each value from its nearest decision, in steps."""
    if torch.min(torch.abs(distance)) < TIE:
        raise TooNear


def keep_off_ties(v):
    keep_away(v - torch.floor(v) - 0.5)


def rne(v):
    return torch.round(v)  # half to even


def straight_through(rounded, v):
    return v + (rounded - v).detach()


class Case:
    def __init__(self, name, seed, weight, bits, rows=4, columns=24, signed=True, narrow=False, symmetric=True,
                 pot=False, non_negative=False, published=False, channels=1, option=math.nan, slice_rows=1):
        self.name, self.weight, self.bits, self.signed, self.narrow = name, weight, bits, signed, narrow
        self.symmetric, self.pot, self.non_negative = symmetric, pot, non_negative
        self.published, self.channels, self.option = published, channels, option
        self.rows, self.columns, self.slice_rows = rows, columns, rows if weight else slice_rows
        self.seed = seed
        self.lines = []

    def draw(self, attempt):
        random = np.random.RandomState(1000 * self.seed + attempt)
        shape = (self.rows, self.columns)
        self.x = self.values(random.randn(*shape) * (0.3 if self.weight else 1.0))
        self.other = self.values(random.randn(*shape) * (0.4 if self.weight else 1.7))
        self.g = torch.tensor(random.randn(*shape).astype(np.float32).astype(np.float64))
        self.random = random

    def values(self, x):
        if self.non_negative:
            x = np.maximum(x, 0)
        return torch.tensor(x.astype(np.float32).astype(np.float64))

    def put(self, key, values, digits=9):
        flat = [float(v) for v in torch.as_tensor(values).detach().flatten()]
        self.lines.append("%s %d %s" % (key, len(flat), " ".join("%.*g" % (digits, v) for v in flat)))

    def bounds(self):
        half = 2 ** (self.bits - 1)
        if not self.signed:
            return 0, 2 * half - 1
        return (1 - half if self.narrow else -half), half - 1

    def text(self):
        n_elements = self.rows * self.columns / self.channels
        config = [self.bits, self.signed, self.narrow, self.symmetric, self.pot, self.weight, self.non_negative,
                  self.published, self.channels, self.rows, self.columns, self.slice_rows, n_elements]
        head = ["case " + self.name, "config %d %s" % (len(config), " ".join("%g" % v for v in config)),
                "option 1 %g" % self.option]
        return "\n".join(head + self.lines) + "\n"


def float32(v):
    return float(np.float32(v))


# ---- DSQ --------------------------------------------------------------------------------------------------


def uniform_parameters(case, lo, hi):
    n, p = case.bounds()
    if case.symmetric:
        scale = hi / (p - n) if not case.signed and case.non_negative else max(abs(lo), abs(hi)) / ((p - n) / 2)
    else:
        lo, hi = min(lo, 0.0), max(hi, 0.0)
        scale = (hi - lo) / (p - n)
    if case.pot:
        scale = 2.0 ** round(math.log2(scale))
    scale = float32(scale)
    if case.symmetric:
        return scale, 0
    keep_off_ties(torch.tensor(lo / scale))
    return scale, int(min(max(n - round(lo / scale), n), p))


def dsq_range(case, x, old):
    """lo and hi per channel after a training forward on x."""
    rows = x if case.channels > 1 else x.reshape(1, -1)
    if case.weight:
        mean, std = rows.mean(1), rows.std(1, unbiased=True)
        return mean - 2.6 * std, mean + 2.6 * std
    lo, hi = x.amin(1).mean(), x.amax(1).mean()
    return (0.9 * old[0] + 0.1 * lo).reshape(1), (0.9 * old[1] + 0.1 * hi).reshape(1)


def dsq_soft(case, x, scale, z, a):
    """The staircase of soft steps, rounded straight-through; differentiable in x."""
    n, p = case.bounds()
    v = x / scale + z
    free = v.detach()[x.detach() != 0]  # 0 is exactly z
    keep_off_ties(free)
    keep_away(free - n)
    keep_away(free - p)
    clipped = torch.where((v >= n) & (v <= p), v, v.detach().clamp(n, p))
    floor = torch.floor(clipped.detach())
    k = math.log(2 / a - 1)
    phi = floor + 0.5 + 0.5 * torch.tanh(k * (clipped - floor - 0.5)) / (1 - a)
    return scale * (straight_through(rne(clipped.detach()).clamp(n, p), phi) - z)


def dsq_published(case, x, scale, z):
    n, p = case.bounds()
    keep_off_ties(x.detach() / scale)
    x32 = x.to(torch.float32)
    return torch.fake_quantize_per_tensor_affine(x32, scale, z, n, p).to(torch.float64)


def dsq_rows(case, x, lo, hi, forward):
    out = []
    for row, low, high in zip(x if case.channels > 1 else [x], lo.tolist(), hi.tolist()):
        scale, z = uniform_parameters(case, float32(low), float32(high))
        out.append(forward(row, scale, z))
    return torch.stack(out).reshape(x.shape)


def dsq(case):
    old = [-float32(abs(case.random.randn()) + 1), float32(abs(case.random.randn()) + 1)]
    if case.non_negative:
        old[0] = 0.0
    case.put("parameters", [v for v in old for _ in range(case.channels)])
    a = 0.4 if math.isnan(case.option) else case.option
    lo, hi = dsq_range(case, case.x, old)
    x = case.x.clone().requires_grad_(True)

    def forward(row, scale, z):
        return dsq_published(case, row, scale, z) if case.published else dsq_soft(case, row, scale, z, a)

    y = dsq_rows(case, x, lo, hi, forward)
    (y * case.g).sum().backward()
    case.put("y", y)
    case.put("dx", x.grad)
    case.put("updated", torch.cat([lo, hi]))
    with torch.no_grad():
        case.put("y_other", dsq_rows(case, case.other, lo, hi, forward))


# ---- QIL --------------------------------------------------------------------------------------------------


def qil_forward(case, x, center, distance):
    steps = 2 ** (case.bits - 1) - 1 if case.signed else 2**case.bits - 1
    if case.published and not case.signed:
        v = (0.5 * x / distance - 0.5 * center / distance + 0.5) * steps
        keep_off_ties(v.detach())
        return straight_through(rne(v.detach()), v) / steps
    v = 0.5 * x.abs() / distance - 0.5 * center / distance + 0.5
    inside = v.detach()[x.detach() != 0]
    keep_away(inside * steps)
    keep_away((inside - 1) * steps)
    t = torch.where((v > 0) & (v < 1), v, v.detach().clamp(0, 1)) * torch.sign(x.detach())
    keep_off_ties((t * steps).detach()[x.detach() != 0])
    return straight_through(rne((t * steps).detach()), t * steps) / steps


def qil(case):
    n_p = case.rows * case.columns * (2 ** (case.bits - 1) - 1)
    most = float(case.x.abs().max())
    start = [float32(f * most) for f in case.start]
    case.put("parameters", start)
    center = torch.tensor(min(abs(start[0]), float32(0.5 * most)), requires_grad=True)
    distance = torch.tensor(max(min(abs(start[1]), float32(0.5 * most)), 2.0**-23), requires_grad=True)
    x = case.x.clone().requires_grad_(True)
    y = qil_forward(case, x, center, distance)
    (y * case.g).sum().backward()
    k = 1 / math.sqrt(n_p)
    # autograd knows no gradient of |x| at 0, where both sides have the same
    v = 0.5 - 0.5 * center / distance
    passes = case.published and not case.signed or bool(0 < v < 1)
    at_zero = case.g * (0.5 / distance if passes else 0.0)
    case.put("y", y)
    case.put("dx", torch.where(case.x == 0, at_zero, x.grad))
    case.put("gradients", [k * center.grad, k * distance.grad])
    case.put("updated", [center, distance])
    case.put("y_other", qil_forward(case, case.other, center.detach(), distance.detach()))


# ---- APoT -------------------------------------------------------------------------------------------------
E = lambda *powers: [0.0] + [2.0**-p for p in powers]
APOT_SETS = {
    1: [[0.0, 1.0]], 2: [E(1, 2, 3)], 3: [E(1, 2, 4), E(3)], 4: [E(1, 3, 5), E(2, 4, 6)],
    5: [E(1, 3, 6), E(2, 4, 7), E(5)], 6: [E(1, 4, 7), E(2, 5, 8), E(3, 6, 9)],
}


def apot_levels(bits):
    if bits > 6:
        return torch.arange(2**bits) / (2.0**bits - 1)
    levels = sorted(sum(terms) for terms in itertools.product(*APOT_SETS[bits]))
    return torch.tensor(levels) / levels[-1]


def apot_forward(case, x, alpha):
    levels = apot_levels(case.bits - 1 if case.signed else case.bits)
    t = x / alpha
    lowest = -1.0 if case.signed else 0.0
    free = t.detach()[x.detach() != 0]
    keep_away((free - lowest) * 100)
    keep_away((free - 1) * 100)
    t = torch.where((t >= lowest) & (t <= 1), t, t.detach().clamp(lowest, 1))
    magnitude = t.detach().abs()
    gaps = (magnitude.unsqueeze(-1) - levels).abs()  # sorted: the first least one is the smaller
    two = gaps.sort(-1).values[..., :2]
    keep_away((two[..., 1] - two[..., 0]) * 100)
    nearest = levels[gaps.argmin(-1)] * torch.sign(t.detach())
    return alpha * straight_through(nearest, t)


def apot_input(case, x):
    return (x - x.mean()) / (x.std(unbiased=True) + 1e-5) if case.weight else x


def apot(case):
    case.put("parameters", [case.start])
    alpha = torch.tensor(float32(abs(case.start)), requires_grad=True)
    x = case.x.clone().requires_grad_(True)
    y = apot_forward(case, apot_input(case, x), alpha)
    (y * case.g).sum().backward()
    case.put("y", y)
    case.put("dx", x.grad)
    case.put("gradients", [alpha.grad])
    case.put("y_other", apot_forward(case, apot_input(case, case.other), alpha.detach()))


# ---- LQ-Net -----------------------------------------------------------------------------------------------


def lqnet_quantize(case, x, v):
    """Values, codes as rows of B, lowest and highest level."""
    choices = [-1.0, 1.0] if case.signed else [0.0, 1.0]
    table = sorted((float(np.dot(c, v)), c) for c in itertools.product(choices, repeat=case.bits))
    levels = torch.tensor([level for level, _ in table])
    codes = torch.tensor([c for _, c in table])
    thresholds = (levels[1:] + levels[:-1]) / 2
    spread = float(levels[-1] - levels[0])
    free = x[x != 0] if not case.signed else x
    keep_away((free.unsqueeze(-1) - thresholds) / spread * 100)
    keep_away((free.unsqueeze(-1) - levels[[0, -1]]) / spread * 100)
    index = (x.unsqueeze(-1) > thresholds).sum(-1)
    return levels[index], codes[index], float(levels[0]), float(levels[-1])


def lqnet_basis(b, x, v):
    a = b.T @ b + 1e-4 * torch.eye(len(v))
    solved = torch.linalg.solve(a, b.T @ x + 1e-4 * torch.tensor(v))
    return 0.9 * torch.tensor(v) + 0.1 * solved


def lqnet(case):
    n_bases = case.rows if case.weight else 1
    unit = {True: 0.6745 * 0.3 / 2 ** (case.bits - 1), False: 1.349 * math.sqrt(2) / (2**case.bits - 1)}
    bases = [[float32(2**i * unit[case.weight] * (1 + 0.2 * case.random.randn())) for i in range(case.bits)]
             for _ in range(n_bases)]
    case.put("parameters", bases)
    y, dx, updated, y_other = [], [], [], []
    for x, other, g, v in zip(case.x.reshape(n_bases, -1), case.other.reshape(n_bases, -1),
                              case.g.reshape(n_bases, -1), bases):
        values, codes, lowest, highest = lqnet_quantize(case, x, v)
        inside = (x <= highest) & ((x >= lowest) | torch.tensor(not case.signed))
        y.append(values)
        dx.append(g if case.weight else g * inside)
        after = lqnet_basis(codes, x, v)
        updated.append(after)
        y_other.append(lqnet_quantize(case, other, [float32(e) for e in after.tolist()])[0])
    for key, value in (("y", y), ("dx", dx), ("updated", updated), ("y_other", y_other)):
        case.put(key, torch.stack(value))


# ---- NNIE -------------------------------------------------------------------------------------------------


def nnie_forward(x, most):
    z = round(16 * math.log2(most)) - 127
    out = []
    for value in x.flatten().tolist():
        if -(2.0 ** ((z - 15) / 16)) <= value <= 2.0 ** ((z - 16) / 16):
            out.append(0.0)
            continue
        code = min(max(round(16 * math.log2(abs(value))) - z, 0 if value > 0 else 1), 127)
        out.append(math.copysign(2.0 ** ((code + z) / 16), value))
    return torch.tensor(out).reshape(x.shape)


def nnie(case):
    case.put("parameters", [case.start])
    case.put("y", nnie_forward(case.x, case.start))
    case.put("dx", case.g)
    case.put("updated", [case.start])
    case.put("y_other", nnie_forward(case.other, case.start))


# ---- Cases ------------------------------------------------------------------------------------------------


def with_start(case, start):
    case.start = start
    return case


def dsq_cases():
    per_channel = dict(channels=4)
    asymmetric = dict(symmetric=False, signed=False)
    relu = dict(signed=False, non_negative=True)
    yield Case("weight", 1, True, 4)
    yield Case("weight_channels", 2, True, 4, **per_channel)
    yield Case("weight_channels_narrow", 3, True, 8, narrow=True, **per_channel)
    yield Case("weight_asymmetric", 4, True, 4, **asymmetric)
    yield Case("weight_asymmetric_channels", 5, True, 5, **asymmetric, **per_channel)
    yield Case("weight_power_of_two", 6, True, 3, pot=True, **per_channel)
    yield Case("weight_published", 7, True, 4, published=True, **per_channel)
    yield Case("activation", 11, False, 4)
    yield Case("activation_2_images", 12, False, 3, rows=7, slice_rows=2)
    yield Case("activation_non_negative", 13, False, 4, **relu)
    yield Case("activation_asymmetric", 14, False, 6, **asymmetric)
    yield Case("activation_power_of_two", 15, False, 8, pot=True)
    yield Case("activation_flat", 16, False, 2, option=0.05)
    yield Case("activation_nearly_straight", 17, False, 4, option=0.9)
    yield Case("activation_published", 18, False, 4, published=True)
    yield Case("activation_published_asymmetric", 19, False, 4, published=True, **asymmetric)


def qil_cases():
    relu = dict(signed=False, non_negative=True)
    yield with_start(Case("weight", 21, True, 4), (0.4, 0.3))
    yield with_start(Case("weight_2", 22, True, 2), (0.5, 0.45))
    yield with_start(Case("weight_corrected", 23, True, 3), (-0.4, 0.8))
    yield with_start(Case("activation", 24, False, 4), (0.3, 0.25))
    yield with_start(Case("activation_corrected", 25, False, 8, rows=7, slice_rows=2), (0.7, -0.2))
    yield with_start(Case("activation_non_negative", 26, False, 4, **relu), (0.35, 0.3))
    yield with_start(Case("activation_non_negative_open", 27, False, 3, **relu), (0.2, 0.4))
    yield with_start(Case("activation_published", 28, False, 4, published=True), (0.3, 0.25))
    yield with_start(Case("activation_published_non_negative", 29, False, 4, published=True, **relu), (0.3, 0.2))


def apot_cases():
    for bits in range(2, 9):
        yield with_start(Case("weight_%d" % bits, 30 + bits, True, bits), 1.5)
        yield with_start(Case("activation_%d" % bits, 40 + bits, False, bits, rows=5, slice_rows=2), 1.25)
        yield with_start(Case("activation_non_negative_%d" % bits, 50 + bits, False, bits, signed=False,
                              non_negative=True), 1.125)
    yield with_start(Case("activation_below_unsigned", 60, False, 4, signed=False), 1.0)
    yield with_start(Case("weight_negative_alpha", 61, True, 4), -2.0)


def lqnet_cases():
    for bits in range(2, 6):
        yield Case("weight_%d" % bits, 70 + bits, True, bits)
        yield Case("activation_%d" % bits, 80 + bits, False, bits, rows=5, slice_rows=2)
        yield Case("activation_non_negative_%d" % bits, 90 + bits, False, bits, signed=False, non_negative=True)


def nnie_cases():
    yield with_start(Case("weight", 101, True, 8), 0.75)
    yield with_start(Case("weight_small", 102, True, 8), 1e-30)
    yield with_start(Case("activation", 103, False, 8), float32(3.3))
    yield with_start(Case("activation_non_negative", 104, False, 8, signed=False, non_negative=True), 2.0)


def make(case, method):
    for attempt in range(1000):
        case.lines = []
        case.draw(attempt)
        for key, value in (("x", case.x), ("g", case.g), ("other", case.other)):
            case.put(key, value)
        try:
            method(case)
            return case.text()
        except TooNear:
            continue
    sys.exit("%s: no draw keeps away from ties" % case.name)


def main():
    for method, cases in ((dsq, dsq_cases), (qil, qil_cases), (apot, apot_cases), (lqnet, lqnet_cases),
                          (nnie, nnie_cases)):
        with open(os.path.join(HERE, method.__name__ + ".txt"), "w") as out:
            out.writelines(make(case, method) for case in cases())


if __name__ == "__main__":
    main()
