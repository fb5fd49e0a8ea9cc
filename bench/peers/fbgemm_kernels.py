"""PyTorch's quantized kernels (FBGEMM) on random codes against the formulas of docs/arithmetic.md: counts of what
differs. For convolutions with one input channel a group it shows where 16 bits saturate.

    engines/bin/python bench/peers/fbgemm_kernels.py
"""
import numpy
import torch
from numpy import float32 as f

torch.backends.quantized.engine = "fbgemm"
RANDOM = numpy.random.default_rng(0)


def tensor(codes, scale, zero, last=False):
    x = torch._make_per_tensor_quantized_tensor(torch.tensor(codes, dtype=torch.uint8), float(scale), zero)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def codes_of(x):
    return x.int_repr().numpy().astype(int)


def saturate(v, zero):
    return numpy.clip(numpy.rint(v).astype(int) + zero, 0, 255)


def adds(rounds=3000):
    """The sums of two floats and a product are formed in double and rounded once: fmaf, but for a rare tie."""
    elements = differing = 0
    for _ in range(rounds):
        n = int(RANDOM.integers(1, 200))
        sa, sb, sy = RANDOM.uniform(0.003, 0.2, 3).astype(f)
        za, zb, zy = [int(z) for z in RANDOM.integers(0, 256, 3)]
        a, b = RANDOM.integers(0, 256, (2, n))
        y = codes_of(torch.ops.quantized.add(tensor(a, sa, za), tensor(b, sb, zb), float(sy), zy))
        da = (a * numpy.float64(sa) + numpy.float64(f(sa * f(-za)))).astype(f)
        db = (b * numpy.float64(sb) + numpy.float64(f(sb * f(-zb)))).astype(f)
        differing += int((y != saturate((da + db).astype(f) * f(f(1) / sy), zy)).sum())
        elements += n
    print("add: %d of %d differ" % (differing, elements))


def averages(is_global, last, rounds=400):
    elements = differing = 0
    pool = torch.nn.functional.avg_pool2d
    for _ in range(rounds):
        channels, side, zero = int(RANDOM.integers(1, 70)), int(RANDOM.integers(3, 14)), int(RANDOM.integers(0, 256))
        kernel = side if is_global else int(RANDOM.integers(2, min(side, 5) + 1))
        x = RANDOM.integers(0, 256, (2, channels, side, side))
        q = tensor(x, RANDOM.uniform(0.001, 0.3), zero, last)
        y = codes_of(torch.nn.functional.adaptive_avg_pool2d(q, 1) if is_global else pool(q, kernel, 1))
        n = kernel * kernel
        sums = numpy.rint(pool(torch.tensor(x, dtype=torch.float64), kernel, 1).numpy() * n) - n * zero
        differing += int((y != saturate(sums.astype(f) * f(f(1) / f(n)), zero)).sum())
        elements += y.size
    print("average over %s, %s: %d of %d differ" % ("everything" if is_global else "windows", "channels last" if last
                                                    else "N C H W", differing, elements))


def convolutions(name, inputs, outputs, groups, kernel, a_bits=8, w_bits=8):
    elements = differing = largest = 0
    for stride in (1, 2):
        x = RANDOM.integers(2 ** (a_bits - 1), 2 ** a_bits, (4, inputs, 14, 14))
        w = RANDOM.integers(-2 ** (w_bits - 1), 2 ** (w_bits - 1), (outputs, inputs // groups, kernel, kernel))
        w[RANDOM.random(w.shape) < 0.4] = 2 ** (w_bits - 1) - 1
        zero, sx, sw, sy = 10, 0.02, 0.01, 2.0
        weights = torch._make_per_channel_quantized_tensor(
            torch.tensor(w, dtype=torch.int8), torch.full((outputs,), sw, dtype=torch.float64),
            torch.zeros(outputs, dtype=torch.long), 0)
        packed = torch.ops.quantized.conv2d_prepack(weights, None, [stride] * 2, [kernel // 2] * 2, [1, 1], groups)
        y = codes_of(torch.ops.quantized.conv2d(tensor(x, sx, zero), packed, sy, 128))
        sums = torch.nn.functional.conv2d(torch.tensor(x - zero, dtype=torch.float64),
                                          torch.tensor(w, dtype=torch.float64), None, stride, kernel // 2, 1, groups)
        steps = numpy.abs(y - saturate(sums.numpy().astype(f) * f(f(f(sx) * f(sw)) / f(sy)), 128))
        differing, elements = differing + int((steps > 0).sum()), elements + steps.size
        largest = max(largest, int(steps.max()))
    print("conv, %s, activations %d bits, weights %d bits: %d of %d differ, largest step %d"
          % (name, a_bits, w_bits, differing, elements, largest))


def main():
    print("torch", torch.__version__)
    adds()
    for is_global in (True, False):
        for last in (True, False):
            averages(is_global, last)
    for name, shape in (("plain", (32, 48, 1, 3)), ("1x1", (64, 64, 1, 1)), ("groups of 8", (64, 64, 8, 3)),
                        ("depthwise, 12 channels", (12, 12, 12, 3)), ("depthwise, 16 channels", (16, 16, 16, 3))):
        convolutions(name, *shape)
    convolutions("depthwise, 16 channels", 16, 16, 16, 3, a_bits=7)
    convolutions("depthwise, 16 channels", 16, 16, 16, 3, w_bits=7)


if __name__ == "__main__":
    main()
