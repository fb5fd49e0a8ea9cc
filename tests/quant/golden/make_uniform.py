#!/usr/bin/env python3
"""Golden numbers for the quantizers lsq, lsq_plus, pact, dorefa, tqt and minmax: forward values and gradients.

Needs PyTorch (made with Debian's python3-torch 1.13). Writes golden/uniform.txt beside itself.

Every method is written as a composition of differentiable operations and two straight-through helpers, in
double precision, and the gradients are whatever autograd makes of it: no gradient formula stands here. Clips
are torch.where, so which side a bound belongs to does not depend on the version of torch.clamp. The variants
`published` of PACT and DoReFa run in float32, since there a rounding decides whether alpha learns at all.
"""
import math
import pathlib

import torch

SEED = 20211103


def constant(value):
    return value.detach()


class StraightThrough(torch.autograd.Function):
    """`forward`, exactly, with the gradient of `value` times k."""

    @staticmethod
    def forward(context, value, forward, k):
        context.k = k
        return (forward + torch.zeros_like(value)).clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * context.k, None, None


def straight_through(value, forward):
    return StraightThrough.apply(value, forward, 1.0)


def ste_round(value):
    return straight_through(value, torch.round(value))


def scaled_gradient(value, k):
    return StraightThrough.apply(value, value, k)


def clip_inside(value, lo, hi):
    """Bounds belong to the inside."""
    return torch.where(value < lo, lo, torch.where(value > hi, hi, value))


def clip_open(value, lo, hi):
    """Bounds belong to the outside: there the gradient goes to the bound."""
    return torch.where(value <= lo, lo, torch.where(value >= hi, hi, value))


def power_of_two(scale):
    return torch.exp2(ste_round(torch.log2(scale)))


class Scheme:
    def __init__(self, bits, signed=True, symmetric=True, per_channel=False, pot=False, narrow=False):
        self.bits, self.signed, self.symmetric = bits, signed, symmetric
        self.per_channel, self.pot, self.narrow = per_channel, pot, narrow
        half = 2 ** (bits - 1)
        self.n = (-half + narrow) if signed else 0
        self.p = half - 1 if signed else 2 * half - 1

    @property
    def norm_max(self):
        return 2 ** self.bits - 1 if self.symmetric and not self.signed else 2 ** (self.bits - 1) - 1

    def words(self):
        return f"{self.bits} {int(self.signed)} {int(self.narrow)} {int(self.symmetric)} " \
               f"{int(self.per_channel)} {int(self.pot)}"


def bounds(scheme, like):
    return like.new_tensor(scheme.n), like.new_tensor(scheme.p)


def qdq(x, scale, zero_point, scheme):
    """Straight-through fake quantization without a mask, scale and zero point constant."""
    s, z = constant(scale), constant(zero_point)
    q = torch.clamp(torch.round(x / s) + z, scheme.n, scheme.p)
    return straight_through(x, s * (q - z))


def qdq_masked(x, scale, zero_point, scheme):
    """PyTorch's kernels: the gradient passes where the rounded integer was inside. Divides, as we do."""
    s, z = constant(scale), constant(zero_point)
    n, p = bounds(scheme, x)
    return s * (clip_inside(ste_round(x / s) + z, n, p) - z)


def column(parameter, scheme):
    return parameter.reshape(-1, 1) if scheme.per_channel else parameter


def range_qparams(lo, hi, scheme, non_negative=False):
    zero = torch.zeros_like(lo)
    if scheme.symmetric:
        end = torch.maximum(lo.abs(), hi.abs())
        steps = scheme.p - scheme.n
        scale = end / steps if non_negative and not scheme.signed else end / (steps / 2)
        zero_point = zero
    else:
        lo, hi = torch.minimum(lo, zero), torch.maximum(hi, zero)
        scale = (hi - lo) / (scheme.p - scheme.n)
        zero_point = zero
    if scheme.pot:
        scale = power_of_two(scale)
    if not scheme.symmetric:
        zero_point = torch.clamp(scheme.n - torch.round(lo / scale), scheme.n, scheme.p)
    return scale, zero_point


# ---- methods: x, parameters, case -> y ----------------------------------------------------------------------
def lsq(x, parameters, case):
    scheme = case.scheme
    k = 1 / math.sqrt(case.n_elements * scheme.norm_max)
    n, p = bounds(scheme, x)
    s = scaled_gradient(column(parameters[0], scheme), k)
    s = power_of_two(s) if scheme.pot else s
    z = torch.zeros_like(s)
    if not scheme.symmetric:
        z = scaled_gradient(column(parameters[1], scheme), k)
        z = straight_through(z, torch.clamp(torch.round(z), scheme.n, scheme.p))
    v = x / s
    if case.published:
        q = clip_inside(ste_round(v) + z, n, p)
    else:
        q = ste_round(clip_inside(v + z, n, p))
    return s * (q - z)


def lsq_plus(x, parameters, case):
    scheme = case.scheme
    if case.weight or scheme.symmetric or case.option == 1:
        return lsq(x, parameters, case)
    k = 1 / math.sqrt(case.n_elements * scheme.norm_max)
    s = scaled_gradient(parameters[0], k)
    s = power_of_two(s) if scheme.pot else s
    beta = scaled_gradient(parameters[1], k)
    n, p = bounds(scheme, x)
    return s * ste_round(clip_inside((x - beta) / s, n, p)) + beta


def pact(x, parameters, case):
    scheme, alpha = case.scheme, parameters[0]
    both = scheme.symmetric and scheme.signed
    if both and case.published:
        clipped = torch.where(x > alpha, alpha, x)
        clipped = torch.where(clipped < -alpha, -alpha, clipped)
        scale, zero_point = range_qparams(-alpha, alpha, scheme)
        return qdq_masked(clipped, scale, zero_point, scheme)
    if both:
        scale, zero_point, first = alpha / (2 ** (scheme.bits - 1) - 1), torch.zeros_like(alpha), -alpha
        plain = scale
        scale = power_of_two(scale) if scheme.pot else scale
    elif scheme.symmetric or case.non_negative:
        first = torch.zeros_like(alpha)
        scale, zero_point = range_qparams(first, alpha, scheme, True)
        plain = alpha / (scheme.p - scheme.n)
    else:
        first = parameters[1]
        scale, zero_point = range_qparams(first, alpha, scheme)
        plain = (alpha - first) / (scheme.p - scheme.n)
    last = alpha
    if scheme.pot or len(parameters) > 1:  # nudged onto the grid
        slope = constant(scale / plain)
        n = -scheme.p if both else scheme.n
        first = straight_through(first * slope, scale * (n - zero_point))
        last = straight_through(last * slope, scale * (scheme.p - zero_point))
    return qdq(clip_open(x, first, last), scale, zero_point, scheme)


def dorefa(x, parameters, case):
    scheme = case.scheme
    if not case.weight:
        one = x.new_tensor(1.0)
        x = clip_inside(x, torch.zeros_like(one) if case.non_negative else -one, one)
        if scheme.symmetric and scheme.signed:
            return qdq(x, one / scheme.p, torch.zeros_like(one), scheme)
        scale, zero_point = range_qparams(-one, one, scheme) if not case.non_negative else \
            range_qparams(torch.zeros_like(one), one, scheme, True)
        return qdq(x, scale, zero_point, scheme)
    t = torch.tanh(x)
    largest = t.abs().max()
    w = t / (largest + 1e-5)
    if scheme.per_channel:
        lo, hi = w.min(1, keepdim=True).values, w.max(1, keepdim=True).values
    else:
        lo, hi = w.min(), w.max()
    scale, zero_point = range_qparams(lo, hi, scheme)
    if scheme.symmetric and not case.published:
        scale = torch.maximum(-lo, hi) / scheme.p
        scale = power_of_two(scale) if scheme.pot else scale
    y = (qdq_masked if case.published else qdq)(w, scale, zero_point, scheme)
    return y * constant(largest) if case.option == 1 else y


def tqt(x, parameters, case):
    scheme = case.scheme
    log2_t = column(parameters[0], scheme)
    s = torch.exp2(straight_through(log2_t, torch.ceil(log2_t)))
    s = s / 2.0 ** (scheme.bits - 1 if scheme.signed else scheme.bits)
    n, p = bounds(scheme, x)
    return s * clip_inside(ste_round(x / s), n, p)


def minmax(x, parameters, case):
    scheme = case.scheme
    if scheme.per_channel:
        lo, hi = x.min(1, keepdim=True).values, x.max(1, keepdim=True).values
    else:
        lo, hi = x.min(), x.max()
    if not case.weight:  # the moving average
        lo, hi = 0.9 * parameters[0] + 0.1 * lo, 0.9 * parameters[1] + 0.1 * hi
    scale, zero_point = range_qparams(lo, hi, scheme, case.non_negative)
    return qdq_masked(x, scale, zero_point, scheme)


METHODS = {f.__name__: f for f in (lsq, lsq_plus, pact, dorefa, tqt, minmax)}


class Case:
    def __init__(self, method, scheme, parameters, weight=False, non_negative=False, published=False,
                 option=0, spread=1.0, shift=0.0, special=()):
        self.method, self.scheme, self.parameters = method, scheme, parameters
        self.weight, self.non_negative, self.published, self.option = weight, non_negative, published, option
        self.spread, self.shift, self.special = spread, shift, special
        self.rows, self.row_count = 4, 17
        self.n_elements = self.row_count if scheme.per_channel else 1000.0


def data(case, generator):
    x = torch.randn(case.rows, case.row_count, generator=generator) * case.spread + case.shift
    if case.non_negative:
        x = x.clamp(min=0)
    for i, value in enumerate(case.special):
        x[i % case.rows, i // case.rows] = value
    g = torch.randn(case.rows, case.row_count, generator=generator)
    return x, g


def run(case, x, g, dtype):
    x = x.to(dtype).clone().requires_grad_()
    parameters = [torch.tensor(p, dtype=torch.float32).to(dtype).requires_grad_() for p in case.parameters]
    y = METHODS[case.method](x, parameters, case)
    (y * g.to(dtype)).sum().backward()
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    return y.detach(), x.grad, gradients


def evaluate(case, generator):
    """Double and float32 must agree on every rounding (but at exact ties); otherwise new data."""
    for _ in range(1000):
        x, g = data(case, generator)
        single = run(case, x, g, torch.float32)
        if case.published and case.method in ("pact", "dorefa"):
            return x, g, single
        double = run(case, x, g, torch.float64)
        if torch.allclose(single[0].double(), double[0], rtol=1e-5, atol=1e-6) and \
                torch.allclose(single[1].double(), double[1], rtol=1e-4, atol=1e-5):
            return x, g, double
    raise RuntimeError("no data without ambiguous roundings")


def numbers(values, digits=9):  # 9 keep a float32
    return " ".join(f"{float(v):.{digits}g}" for v in values.reshape(-1))


def write(out, case, x, g, results):
    y, dx, gradients = results
    parameters = torch.cat([torch.tensor(p, dtype=torch.float32).reshape(-1) for p in case.parameters]) \
        if case.parameters else torch.zeros(0)
    gradients = torch.cat([v.reshape(-1) for v in gradients]) if gradients else torch.zeros(0)
    print(f"case {case.method} {case.scheme.words()} {int(case.weight)} {int(case.non_negative)} "
          f"{int(case.published)} {case.option} {case.n_elements:g} {case.rows} {case.row_count} "
          f"{len(parameters)}", file=out)
    for values in (parameters, x, g, y.float(), dx.float()):
        print(numbers(values), file=out)
    print(numbers(gradients, 14), file=out)


def cases():
    int4, uint4 = Scheme(4), Scheme(4, signed=False)
    int4a, uint4a = Scheme(4, symmetric=False), Scheme(4, signed=False, symmetric=False)
    int8c, int4ap = Scheme(8, per_channel=True), Scheme(4, symmetric=False, pot=True)
    int4p, int4pc = Scheme(4, pot=True), Scheme(4, per_channel=True, pot=True)
    int4c = Scheme(4, per_channel=True)
    int4ac = Scheme(4, symmetric=False, per_channel=True)
    narrow = Scheme(3, narrow=True)
    four = [0.11, 0.2, 0.31, 0.13]
    # bounds, ties and what lies between the two masks, exact with s = 1/4 on [-8, 7]
    ties = (-2.0, -2.125, -2.1, -2.2, 1.75, 1.875, 1.8, 1.9, 0.125, 0.375, -0.125, -3.0, 3.0, 0.0)
    for published in (False, True):
        yield Case("lsq", int4, [[0.25]], published=published, special=ties)
        yield Case("lsq", uint4, [[0.17]], non_negative=True, published=published, spread=2)
        yield Case("lsq", int4a, [[0.23], [-2.7]], published=published, shift=0.4)
        yield Case("lsq", uint4a, [[0.25], [6.3]], published=published, special=ties)
        yield Case("lsq", int8c, [[0.011, 0.02, 0.031, 0.013]], weight=True, published=published)
        yield Case("lsq", int4ac, [four, [1.2, -3.4, 0.1, -9.0]], weight=True, published=published)
        yield Case("lsq", int4p, [[0.19]], published=published)
        yield Case("lsq", int4pc, [four], weight=True, published=published)
        yield Case("lsq", narrow, [[0.4]], published=published)
    yield Case("lsq", Scheme(2), [[0.8]])
    yield Case("lsq", Scheme(16), [[0.0001]])

    yield Case("lsq_plus", int4, [[0.25]], special=ties)
    yield Case("lsq_plus", int4c, [four], weight=True)
    yield Case("lsq_plus", uint4a, [[0.2], [-0.33]], shift=1)
    yield Case("lsq_plus", int4a, [[0.25], [0.5]], special=ties)
    yield Case("lsq_plus", int4ap, [[0.2], [0.31]])
    yield Case("lsq_plus", uint4a, [[0.2], [4.4]], option=1, shift=1)
    yield Case("lsq_plus", int4ap, [[0.2], [-1.4]], option=1)

    for scheme in (int4, Scheme(8), int4p, narrow):
        yield Case("pact", scheme, [[1.3]], special=(1.3, -1.3, 1.29, 2.0, -2.0))
    yield Case("pact", int4, [[1.75]], special=(1.75, -1.75, 1.7499, -1.7501))
    for scheme in (uint4, uint4a, int4a, int4ap, Scheme(8, signed=False, pot=True)):
        yield Case("pact", scheme, [[1.1]], non_negative=True)
    yield Case("pact", int4a, [[1.3], [-0.7]])
    yield Case("pact", uint4a, [[1.9], [-1.1]])
    yield Case("pact", int4ap, [[1.3], [-0.9]])
    for alpha in (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7):
        yield Case("pact", int4, [[alpha]], published=True, spread=1.5)
    yield Case("pact", int4p, [[1.3]], published=True, spread=1.5)

    for published in (False, True):
        for scheme in (int4, int4a, int4c, int4ac, int4p, uint4a, Scheme(8), narrow):
            yield Case("dorefa", scheme, [], weight=True, published=published)
    yield Case("dorefa", int4, [], weight=True, option=1, spread=0.1)
    yield Case("dorefa", int4c, [], weight=True, option=1, spread=0.1)
    for scheme in (uint4, uint4a, int4a):
        yield Case("dorefa", scheme, [], non_negative=True, special=(1.0, 0.0, 0.999, 1.001))
    for scheme in (int4, Scheme(8)):
        yield Case("dorefa", scheme, [], special=(1.0, -1.0, 0.999, -1.001))

    yield Case("tqt", int4, [[0.9]], special=ties)
    yield Case("tqt", uint4, [[1.2]], non_negative=True)
    yield Case("tqt", int8c, [[0.3, -0.4, 1.7, 0.0]], weight=True)
    yield Case("tqt", narrow, [[0.2]])
    yield Case("tqt", int4p, [[-0.2]])

    for scheme in (int4, int4c, int4ac, int4p, uint4a, Scheme(8)):
        yield Case("minmax", scheme, [], weight=True)
    yield Case("minmax", uint4, [[0.0], [1.3]], non_negative=True)
    yield Case("minmax", int4a, [[-1.2], [0.9]])
    yield Case("minmax", uint4a, [[-0.7], [1.9]])
    yield Case("minmax", int4, [[-1.2], [0.9]])


def main():
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    with open(pathlib.Path(__file__).parent / "uniform.txt", "w") as out:
        for case in cases():
            x, g, results = evaluate(case, generator)
            write(out, case, x, g, results)


if __name__ == "__main__":
    main()
