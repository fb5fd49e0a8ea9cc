#!/usr/bin/env python3
"""Golden numbers of the arithmetics, in exact fractions: an implementation of docs/arithmetic.md of its own.

Usage: golden.py > ../golden/program_arithmetic.txt
Each line: operation, arithmetic, inputs, results. Floats are their bits in hexadecimal (float32: 8 digits, double:
16); everything else is decimal. What has no answer ends in `invalid`."""
import random
import struct
from fractions import Fraction as F

random.seed(20211103)
INF = float('inf')


# ---- rounding ----
def rne(v):  # Fraction -> int, half to even
    return round(v)


def away(v):  # half away from zero
    n = int(abs(v) + F(1, 2))
    return n if v >= 0 else -n


def up(v):  # half up
    return (v + F(1, 2)).__floor__()


def f(v):
    """A Fraction rounded to float32 (half to even), as a Fraction."""
    v = F(v)
    if v == 0:
        return v
    e = abs(v).numerator.bit_length() - abs(v).denominator.bit_length()
    while abs(v) >= F(2) ** (e + 1):
        e += 1
    while abs(v) < F(2) ** e:
        e -= 1
    unit = F(2) ** (max(e, -126) - 23)
    return rne(v / unit) * unit


def d(v):
    """Rounded to double: int / int is correctly rounded in Python."""
    return F(float(F(v)))


def bits(v):
    if v in (INF, -INF):
        return struct.pack('>f', v).hex()
    assert f(v) == v
    return struct.pack('>f', float(v)).hex()


def double_bits(v):
    return struct.pack('>d', float(v)).hex()


def clamp(q, lo, hi):
    return max(lo, min(hi, q))


# ---- scales and codes to try ----
def scale(near, pot):
    if pot:
        return F(2) ** round(random.gauss(near, 1))
    return f(F(2) ** near * F(random.uniform(0.5, 2)))


def real(v):
    return f(F(v))


class Point:
    def __init__(self, near, pot=False, symmetric=False, kind=None, bits_=None):
        self.s = scale(near, pot)
        self.kind = kind or random.choice(['s8', 'u8'])
        b = bits_ or random.choice([8, 8, 8, 4, 2])
        self.lo, self.hi = (-2 ** (b - 1), 2 ** (b - 1) - 1) if self.kind == 's8' else (0, 2 ** b - 1)
        self.z = 0 if symmetric else random.randint(self.lo, self.hi)

    def code(self):
        return random.choice([self.lo, self.hi, random.randint(self.lo, self.hi), random.randint(self.lo, self.hi)])

    def __str__(self):
        return f'{self.kind} {bits(self.s)} {self.z} {self.lo} {self.hi}'


def activation(y):
    """[lo, hi] of a fused activation now and then."""
    if random.random() < 0.4:
        return clamp(y.z + 0, y.lo, y.hi), clamp(y.z + away(f(F(random.choice([6, 1, 3])) / y.s)), y.lo, y.hi)
    return y.lo, y.hi


# ---- tflite_ref ----
def frexp(m):
    e = 0
    while m >= 1:
        m, e = m / 2, e + 1
    while m < F(1, 2):
        m, e = m * 2, e - 1
    return m, e


def quantize_multiplier(m):
    q, sh = frexp(m)
    big = away(q * 2 ** 31)
    if big == 2 ** 31:
        big, sh = big // 2, sh + 1
    if sh < -31:
        big, sh = 0, 0
    return big, sh


def srdhm(a, b):
    return (a * b + 2 ** 30) >> 31


def rdbp(x, e):
    return away(F(x, 2 ** e))


def mbqm(x, q, sh):
    return rdbp(srdhm(x << max(sh, 0), q), max(-sh, 0))


def kept_average(x, y, n, total, lo, hi):
    """TensorFlow Lite's of windows; XNNPACK leaves it to it."""
    return clamp(away(F(total, n)), lo, hi) if x.s == y.s and x.z == y.z else None


class Tflite:
    name = 'tflite_ref'

    def channel(self, l):
        q, sh = quantize_multiplier(d(l.sx * l.sw / l.sy))
        return dict(bias=bias32(l), multiplier=q, shift=sh)

    def requantize(self, l, acc, y, lo, hi, clip, shortcut):
        c = self.channel(l)
        v = acc + c['bias']
        if l.linear:
            return clamp(up(F(v * c['multiplier']) / F(2) ** (31 - c['shift'])) + y.z, lo, hi)
        return clamp(mbqm(v, c['multiplier'], c['shift']) + y.z, lo, hi)

    def quantize(self, x, y, lo, hi):
        return clamp(away(f(x / y.s)) + y.z, lo, hi)

    def add(self, a, b, y, lo, hi, clip, qa, qb):
        t = 2 * max(a.s, b.s)
        m1, m2, mo = d(a.s / t), d(b.s / t), d(t / (2 ** 20 * y.s))
        if not mo < 1:
            return None
        va = mbqm((qa - a.z) * 2 ** 20, *quantize_multiplier(m1))
        vb = mbqm((qb - b.z) * 2 ** 20, *quantize_multiplier(m2))
        return clamp(mbqm(va + vb, *quantize_multiplier(mo)) + y.z, lo, hi)

    def average(self, x, y, n, total, lo, hi, clip):
        return kept_average(x, y, n, total, lo, hi)

    def mean(self, x, y, n, total, lo, hi, clip):
        q, sh = quantize_multiplier(d(x.s / y.s))
        k = min(n.bit_length() - 1, 32, 31 + sh)
        q, sh = (q << k) // n, sh - k
        return clamp(mbqm(total - x.z * n, q, sh) + y.z, lo, hi)


# ---- float factors ----
def bias32(l):
    b = rne(d(l.bias / (l.sx * l.sw)))
    assert abs(b) < 2 ** 31
    return b


def fma(a, b, c):
    return f(a * b + c)


class Xnnpack:
    name = 'xnnpack'

    def channel(self, l):
        factor = f(f(l.sx * l.sw) / l.sy)
        return dict(bias=bias32(l), factor=factor) if 0 < factor < 256 else None

    def requantize(self, l, acc, y, lo, hi, clip, shortcut):
        c = self.channel(l)
        v = f(f(acc + c['bias']) * c['factor'])
        return rne(clamp(v, lo - y.z, hi - y.z)) + y.z

    def quantize(self, x, y, lo, hi):
        return rne(clamp(f(x * f(1 / y.s)), lo - y.z, hi - y.z)) + y.z

    def add(self, a, b, y, lo, hi, clip, qa, qb):
        ra, rb = f(a.s / y.s), f(b.s / y.s)
        if not all(F(1, 1024) <= r < 256 for r in (ra, rb)):
            return None
        e = -12
        while F(2) ** (e + 1) <= max(ra, rb):
            e += 1
        sh = 20 - e
        ma, mb = rne(ra * 2 ** sh), rne(rb * 2 ** sh)
        bias = (1 << (sh - 1)) - ma * a.z - mb * b.z
        return clamp(((bias + qa * ma + qb * mb) >> sh) + y.z, lo, hi)

    def mean(self, x, y, n, total, lo, hi, clip):
        k = f(f(x.s / y.s) * f(F(1, n)))
        zero = f(y.z - f(f(n * x.z) * k))
        return clamp(rne(f(f(f(total) * k) + zero)), lo, hi)

    def average(self, x, y, n, total, lo, hi, clip):
        return kept_average(x, y, n, total, lo, hi)


class Fbgemm:
    name = 'fbgemm'

    def channel(self, l):
        aw = f(l.sx * l.sw)
        b = f(l.bias)
        return dict(offset=f(b * f(1 / aw)) if l.per_tensor else f(b / aw), factor=f(aw / l.sy))

    def requantize(self, l, acc, y, lo, hi, clip, shortcut):
        c = self.channel(l)
        return clamp(rne(f(f(f(acc) + c['offset']) * c['factor'])) + y.z, lo, hi)

    def quantize(self, x, y, lo, hi):
        return clamp(y.z + rne(f(x * f(1 / y.s))), lo, hi)

    def add(self, a, b, y, lo, hi, clip, qa, qb):
        da, db = fma(a.s, qa, f(a.s * -a.z)), fma(b.s, qb, f(b.s * -b.z))
        return clamp(y.z + rne(f(f(da + db) * f(1 / y.s))), lo, hi)

    def mean(self, x, y, n, total, lo, hi, clip):
        if x.s != y.s or x.z != y.z:
            return None
        return clamp(y.z + rne(f(f(total - n * x.z) * f(F(1, n)))), lo, hi)

    average = mean


class Ort:
    name = 'ort'
    channel = Xnnpack.channel
    requantize = Xnnpack.requantize

    def channel(self, l):
        return dict(bias=bias32(l), factor=f(f(l.sx * l.sw) / l.sy))

    def quantize(self, x, y, lo, hi):
        return rne(clamp(f(x / y.s), lo - y.z, hi - y.z)) + y.z

    def add(self, a, b, y, lo, hi, clip, qa, qb):
        ra, rb = f(a.s / y.s), f(b.s / y.s)
        zeros = f(y.z - fma(ra, a.z, f(rb * b.z)))
        return clamp(rne(fma(qa, ra, fma(qb, rb, zeros))), lo, hi)

    def careless_add(self, a, b, y, lo, hi, qa, qb):  # without fusing
        ra, rb = f(a.s / y.s), f(b.s / y.s)
        zeros = f(y.z - fma(ra, a.z, f(rb * b.z)))
        return clamp(rne(f(f(qa * ra) + fma(qb, rb, zeros))), lo, hi)

    def mean(self, x, y, n, total, lo, hi, clip):
        k = f(x.s / f(y.s * f(n)))
        if not F(2) ** -32 <= k < 256:
            return None
        return clamp(rne(f(f(total - n * x.z) * k)) + y.z, lo, hi)

    average = mean


class Pot:
    def __init__(self, name, tie):
        self.name, self.tie = name, tie

    def channel(self, l):
        ratio = l.sy / (l.sx * l.sw)
        return dict(bias=bias32(l), shift=(ratio.numerator.bit_length() - ratio.denominator.bit_length()))

    def requantize(self, l, acc, y, lo, hi, clip, shortcut):
        return clamp(self.tie((acc + bias32(l)) * l.sx * l.sw / l.sy), lo, hi)

    def quantize(self, x, y, lo, hi):
        return clamp(rne(f(x / y.s)), lo, hi)

    def add(self, a, b, y, lo, hi, clip, qa, qb):
        return clamp(self.tie((qa * a.s + qb * b.s) / y.s), lo, hi)

    def mean(self, x, y, n, total, lo, hi, clip):
        return clamp(self.tie(total * x.s / (y.s * n)), lo, hi)

    average = mean


class Trt:
    name = 'trt_model'

    def channel(self, l):
        return dict(offset=f(l.bias), factor=f(l.sx * l.sw))

    def finish(self, v, y, lo, hi, clip):
        v = max(clip[0], min(clip[1], v))
        return rne(clamp(f(v / y.s), lo, hi))

    def dequantize(self, l, acc):
        c = self.channel(l)
        return f(f(f(acc) * c['factor']) + c['offset'])

    def requantize(self, l, acc, y, lo, hi, clip, shortcut):
        return self.finish(f(self.dequantize(l, acc) + shortcut), y, lo, hi, clip)

    def quantize(self, x, y, lo, hi):
        return clamp(rne(f(x / y.s)), lo, hi)

    def add(self, a, b, y, lo, hi, clip, qa, qb):
        return self.finish(f(f(qa * a.s) + f(qb * b.s)), y, lo, hi, clip)

    def mean(self, x, y, n, total, lo, hi, clip):
        return self.finish(f(f(total) * f(x.s / n)), y, lo, hi, clip)

    average = mean


class Dequant:
    name = 'dequant_f32'

    def channel(self, l):
        return dict(bias=bias32(l), factor=f(l.sx * l.sw))

    def dequantize(self, l, acc):
        c = self.channel(l)
        return f(f(acc + c['bias']) * c['factor'])

    def quantize(self, x, y, lo, hi):
        return clamp(rne(f(x / y.s)) + y.z, lo, hi)


class Layer:
    def __init__(self, pot, wild):
        self.sx, self.sw, self.sy = scale(-4, pot), scale(-7, pot), scale(-3 - wild, pot)
        self.bias = d(random.choice([0, random.uniform(-3, 3), random.uniform(-3, 3)]))
        if pot and random.random() < 0.7:  # on the accumulator's grid and between
            self.bias = F(random.randint(-999, 999), 2) * self.sx * self.sw
        self.linear, self.per_tensor = random.random() < 0.5, random.random() < 0.5

    def __str__(self):
        return (f'{bits(self.sx)} {bits(self.sw)} {bits(self.sy)} {double_bits(self.bias)} {int(self.linear)} '
                f'{int(self.per_tensor)}')


def accumulators(l, y):
    """Around ties, at saturation, anywhere."""
    ratio = l.sy / (l.sx * l.sw)
    b = l.bias / (l.sx * l.sw)
    q = random.randint(y.lo - 4, y.hi + 4)
    tie = rne((q - y.z + F(1, 2)) * ratio - b)
    out = [tie, tie + random.choice([-1, 1]), random.randint(-2 ** 20, 2 ** 20), random.randint(-3000, 3000)]
    return [a for a in out if abs(a) < 2 ** 30]


def show(*parts):
    print(*parts)


def clip_of(a):
    if a.name == 'trt_model' and random.random() < 0.5:
        return F(0), random.choice([INF, F(6)])
    return -INF, INF


def layers(a, pot_only, symmetric):
    for i in range(40):
        pot = pot_only or i % 3 == 0
        l = Layer(pot, i % 5 if pot else 0)
        c = a.channel(l)
        words = [c.get('bias', 0), c.get('multiplier', 0), c.get('shift', 0), bits(c.get('factor', F(0))),
                 bits(c.get('offset', F(0)))] if c else ['invalid']
        show('channel', a.name, l, *words)
        if not c:
            continue
        y = Point(0, True, symmetric)
        y.s = l.sy
        lo, hi = (y.lo, y.hi) if a.name == 'trt_model' else activation(y)
        clip = clip_of(a)
        for acc in accumulators(l, y):
            if hasattr(a, 'dequantize'):
                show('dequantize', a.name, l, acc, bits(a.dequantize(l, acc)))
            if hasattr(a, 'requantize'):
                shortcut = real(random.uniform(-2, 2)) if a.name == 'trt_model' and i % 2 else F(0)
                if pot and shortcut:
                    shortcut = rne(shortcut / y.s * 2) * y.s / 2
                show('requantize', a.name, l, acc, y, lo, hi, bits(clip[0]), bits(clip[1]), bits(shortcut),
                     a.requantize(l, acc, y, lo, hi, clip, shortcut))


def nearest_ties(candidates, value, n):
    """The n candidates whose value, in doubles, lies nearest to a half: there one rounding too many shows."""
    return sorted(candidates, key=lambda c: abs(value(c) - value(c).__floor__() - 0.5))[:n]


def points(a, pot_only, symmetric):
    for i in range(40):
        y = Point(-4, pot_only or i % 4 == 0, symmetric, bits_=8 if i % 2 else None)
        halves = [real((random.randint(y.lo, y.hi - 1) - y.z + F(1, 2)) * y.s) for _ in range(3)]
        for x in halves + [real(random.choice([random.uniform(-9, 9), random.uniform(-1e30, 1e30), 0]))]:
            show('quantize', a.name, bits(x), y, y.lo, y.hi, a.quantize(x, y, y.lo, y.hi))


def adds(a, pot_only, symmetric):
    if not hasattr(a, 'add'):
        return
    for i in range(50):
        pot = pot_only or i % 5 == 0
        p, q, y = Point(-4, pot, symmetric), Point(-5, pot, symmetric), Point(random.choice([-4, -3, -2]), pot, symmetric)
        if i % 2 and not pot:  # scales whose ratios are small fractions: ties that only rounding decides
            q.s, y.s = p.s * random.choice([1, 2, F(1, 2)]), f(p.s * random.choice([2, 3, 6, F(6, 5), F(10, 3)]))
        if i % 20 == 19 and not pot_only:
            y.s = scale(-30, False)  # what some refuse
        lo, hi = (y.lo, y.hi) if a.name == 'trt_model' else activation(y)
        clip = clip_of(a)
        sa, sb = float(p.s / y.s), float(q.s / y.s)
        steps = lambda c: sa * (c[0] - p.z) + sb * (c[1] - q.z)
        inside = lambda c: y.lo <= steps(c) + y.z < y.hi
        pairs = [(p.code(), q.code()) for _ in range(300)]
        ties = nearest_ties(filter(inside, pairs), steps, 4)
        if hasattr(a, 'careless_add'):  # and where that gives another code
            every = [(v, w) for v in range(p.lo, p.hi + 1, 3) for w in range(q.lo, q.hi + 1, 3)]
            near = nearest_ties(filter(inside, every), steps, 60)
            ties += [c for c in near if a.careless_add(p, q, y, lo, hi, *c) != a.add(p, q, y, lo, hi, clip, *c)][:2]
        for qa, qb in ties + pairs[:1]:
            r = a.add(p, q, y, lo, hi, clip, qa, qb)
            show('add', a.name, p, q, y, lo, hi, bits(clip[0]), bits(clip[1]), qa, qb, 'invalid' if r is None else r)


def pools(a, pot_only, symmetric):
    if not hasattr(a, 'mean'):
        return
    for kind in ('average', 'mean'):
        for i in range(45):
            pot = pot_only or i % 5 == 0
            x, y = Point(-4, pot, symmetric, bits_=8), Point(-5, pot, symmetric, bits_=8)
            if (a.name == 'fbgemm' or (a.name in ('tflite_ref', 'xnnpack') and kind == 'average')) and i % 10:
                y = x
            elif i % 3 == 0 and not pot_only:
                y.s = f(x.s * random.choice([1, 2, 3]))
            n = random.choice([1, 2, 3, 4, 6, 9, 16, 49, 64, 63])
            if kind == 'mean' and i % 20 == 7 and not pot_only and y is not x:
                x.s, n = scale(-33, False), 64  # a multiplier of 2^-30
            clip, ratio = clip_of(a), float(x.s / y.s) / n
            totals = [random.randint(n * x.lo, n * x.hi) for _ in range(200)]
            inside = [t for t in totals if y.lo <= ratio * (t - n * x.z) + y.z < y.hi]
            for total in nearest_ties(inside, lambda t: ratio * (t - n * x.z), 2) + totals[:1]:
                r = getattr(a, kind)(x, y, n, total, y.lo, y.hi, clip)
                show(kind, a.name, x, y, n, total, y.lo, y.hi, bits(clip[0]), bits(clip[1]),
                     'invalid' if r is None else r)


for arithmetic in (Tflite(), Xnnpack(), Fbgemm(), Ort(), Pot('pot_shift', up), Pot('pot_shift_even', rne), Trt(),
                   Dequant()):
    is_pot = arithmetic.name.startswith('pot')
    is_symmetric = is_pot or arithmetic.name == 'trt_model'
    layers(arithmetic, is_pot, is_symmetric)
    points(arithmetic, is_pot, is_symmetric)
    adds(arithmetic, is_pot, is_symmetric)
    pools(arithmetic, is_pot, is_symmetric)
for _ in range(100):
    p = Point(-4, random.random() < 0.5)
    u = F(random.choice([0, -1]))
    v = random.choice([F(6), INF, F(1), real(random.uniform(0, 20)), f((random.randint(0, 9) + F(1, 2)) * p.s)])
    top = p.hi if v == INF else clamp(p.z + away(f(v / p.s)), p.lo, p.hi)
    show('clamp', '-', p, bits(u), bits(v), clamp(p.z + away(f(u / p.s)), p.lo, p.hi), top)
