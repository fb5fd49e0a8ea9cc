"""TensorFlow Lite's kernels against docs/arithmetic.md, operator by operator: tflite_ref and xnnpack.

    engines/bin/python bench/peers/tflite_bits.py

`engines` is the environment of adapters/install. Models of one operator, inputs around every tie; prints how many results
differ from the page's formulas, which stand here once more in NumPy and Python's integers. Exit status 1 if one does.
Networks: `mqbench verify DIR --engine tflite_ref`, `--engine tflite`.
"""
import math
import sys

try:
    import flatbuffers
    import numpy as np
    import ai_edge_litert.interpreter as litert
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:
    print("skipped: %s" % error)
    sys.exit(0)

f32 = np.float32
FLOAT32, INT32, INT8 = 0, 2, 9
KERNELS = {"tflite_ref": "BUILTIN_REF", "xnnpack": "AUTO"}
counts, not_taken = {}, set()


# ---- models of one operator ----
class Model:
    def __init__(self):
        self.model = schema.ModelT()
        self.model.version, self.model.buffers, self.model.operatorCodes = 3, [schema.BufferT()], []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape, kind, scale=None, zero=0, data=None, dimension=0):
        t = schema.TensorT()
        t.shape, t.type, t.name, t.buffer = list(shape), kind, "t%d" % len(self.graph.tensors), 0
        if scale is not None:
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale = [float(s) for s in np.atleast_1d(scale)]
            t.quantization.zeroPoint = [int(zero)] * len(t.quantization.scale)
            t.quantization.quantizedDimension = dimension
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def run(self, arithmetic, code, version, inputs, output, kind, options, feeds):
        operator_code, operator = schema.OperatorCodeT(), schema.OperatorT()
        operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
        operator_code.version = version
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self.model.operatorCodes, self.graph.operators = [operator_code], [operator]
        self.graph.inputs, self.graph.outputs = list(feeds), [output]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        interpreter = litert.Interpreter(
            model_content=bytes(builder.Output()), num_threads=1,
            experimental_op_resolver_type=getattr(litert.OpResolverType, KERNELS[arithmetic]))
        interpreter.allocate_tensors()
        for index, value in feeds.items():
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        is_delegated = any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
        return interpreter.get_tensor(output), is_delegated


def options_of(kind, **fields):
    options = kind()
    for name, value in fields.items():
        setattr(options, name, value)
    return options


def judge(arithmetic, name, answer, expected):
    found, is_delegated = answer
    expected = np.clip(np.asarray(expected, np.int64).reshape(found.shape), -128, 127)
    count = counts.setdefault((arithmetic, name), [0, 0])
    count[0] += int((found != expected).sum())
    count[1] += found.size
    if arithmetic == "xnnpack" and not is_delegated:
        not_taken.add(name)


# ---- docs/arithmetic.md ----
def quantize_multiplier(m):
    fraction, shift = math.frexp(m)
    multiplier = math.floor(fraction * 2 ** 31 + 0.5)
    return (multiplier // 2, shift + 1) if multiplier == 2 ** 31 else (multiplier, shift)


def twice(x, multiplier, shift):
    high = ((np.asarray(x, np.int64) << max(shift, 0)) * multiplier + 2 ** 30) >> 31
    mask = (1 << max(-shift, 0)) - 1
    return (high >> max(-shift, 0)) + ((high & mask) > (mask >> 1) + (high < 0))


def once(x, multiplier, shift):
    return (np.asarray(x, np.int64) * multiplier + (1 << (30 - shift))) >> (31 - shift)


def requantize(arithmetic, operator, acc, sx, sw, sy, zy):
    if arithmetic == "tflite_ref":
        rounding = once if operator == "linear" else twice
        return rounding(acc, *quantize_multiplier(float(sx) * float(sw) / float(sy))) + zy
    return np.rint(np.clip(acc.astype(f32) * f32(f32(sx * sw) / sy), -128 - zy, 127 - zy)).astype(np.int64) + zy


def add(arithmetic, a, b, sa, za, sb, zb, sy, zy):
    if arithmetic == "tflite_ref":
        most = 2 * max(float(sa), float(sb))
        left = twice((a - za) << 20, *quantize_multiplier(float(sa) / most))
        right = twice((b - zb) << 20, *quantize_multiplier(float(sb) / most))
        return twice(left + right, *quantize_multiplier(most / (2 ** 20 * float(sy)))) + zy
    ra, rb = f32(sa / sy), f32(sb / sy)
    shift = 20 - math.floor(math.log2(float(max(ra, rb))))
    ma, mb = int(np.rint(ra * f32(2.0 ** shift))), int(np.rint(rb * f32(2.0 ** shift)))
    return (((1 << (shift - 1)) - ma * za - mb * zb + a * ma + b * mb) >> shift) + zy


def mean(arithmetic, total, n, sx, zx, sy, zy):
    if arithmetic == "tflite_ref":
        multiplier, shift = quantize_multiplier(float(sx) / float(sy))
        bits = min(n.bit_length() - 1, 32, 31 + shift)
        return twice(total - zx * n, (multiplier << bits) // n, shift - bits) + zy
    k = f32(f32(sx / sy) * f32(f32(1) / f32(n)))
    zero = f32(f32(zy) - f32(f32(n * zx) * k))
    return np.rint(total.astype(f32) * k + zero).astype(np.int64)


def quantize(arithmetic, x, s, z):
    if arithmetic == "tflite_ref":
        steps = x / s
        below = np.trunc(steps)
        return (below + np.where(abs(steps - below) >= f32(0.5), np.sign(steps), 0)).astype(np.int64) + z
    return np.rint(np.clip(x * f32(f32(1) / s), -128 - z, 127 - z)).astype(np.int64) + z


# ---- inputs ----
def layers(arithmetic, random):
    """An input at its zero point: the sums are the biases, and those lie around every tie of the output."""
    sx, sw, sy = f32(random.uniform(0.001, 0.1)), f32(random.uniform(0.0005, 0.02)), f32(random.uniform(0.02, 0.3))
    zy, m = int(random.randint(-20, 20)), float(sx) * float(sw) / float(sy)
    ties = np.round((np.arange(-127, 128) + 0.5) / m).astype(np.int64)
    sums = np.unique(np.concatenate([ties + k for k in range(-3, 4)] + [random.randint(-140 / m, 140 / m, 2000)]))
    n = len(sums)
    forms = {"conv": ((1, 1, 1, 1), (n, 1, 1, 1), (1, 1, 1, n), 0, 3, 3, 1, schema.Conv2DOptionsT),
             "depthwise": ((1, 1, 1, n), (1, 1, 1, n), (1, 1, 1, n), 3, 4, 3, 2, schema.DepthwiseConv2DOptionsT),
             "linear": ((1, 1), (n, 1), (1, n), 0, 9, 4, 8, schema.FullyConnectedOptionsT)}
    for name, (x_shape, w_shape, y_shape, dimension, code, version, kind, table) in forms.items():
        for channels in (1, n):
            fields = {} if name == "linear" else dict(padding=1, strideW=1, strideH=1)
            if name == "depthwise":
                fields["depthMultiplier"] = 1
            model, scales = Model(), [sw] * channels
            x = model.tensor(x_shape, INT8, sx, 3)
            w = model.tensor(w_shape, INT8, scales, 0, np.ones(n, np.int8), dimension)
            b = model.tensor([n], INT32, [sx * sw] * channels, 0, sums.astype(np.int32))
            y = model.tensor(y_shape, INT8, sy, zy)
            answer = model.run(arithmetic, code, 12 if name == "linear" and channels > 1 else version, [x, w, b], y,
                               kind, options_of(table, **fields), {x: np.full(x_shape, 3, np.int8)})
            judge(arithmetic, name, answer, requantize(arithmetic, name, sums, sx, sw, sy, zy))


def adds(arithmetic, random):
    """All pairs of codes."""
    sa, sb, sy = [f32(random.uniform(0.003, 0.3)) for _ in range(3)]
    za, zb, zy = [int(z) for z in random.randint(-128, 127, 3)]
    if max(float(sa), float(sb)) >= 2 ** 19 * float(sy):
        return
    a, b = [v.reshape(1, 256, 16, 16).astype(np.int8) for v in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))]
    model = Model()
    ta, tb = model.tensor(a.shape, INT8, sa, za), model.tensor(a.shape, INT8, sb, zb)
    y = model.tensor(a.shape, INT8, sy, zy)
    answer = model.run(arithmetic, 0, 2, [ta, tb], y, 11, schema.AddOptionsT(), {ta: a, tb: b})
    judge(arithmetic, "add", answer, add(arithmetic, a.astype(np.int64), b.astype(np.int64), sa, za, sb, zb, sy, zy))


def means(arithmetic, random):
    height, width = [(7, 7), (8, 8), (5, 5), (1, 3), (3, 5), (14, 14)][random.randint(6)]
    sx, sy = f32(random.uniform(0.005, 0.2)), f32(random.uniform(0.005, 0.2))
    zx, zy = [int(z) for z in random.randint(-128, 127, 2)]
    x = np.clip(random.randint(-128, 128, (1, 1, 1, 512)) + random.randint(-9, 10, (1, height, width, 512)), -128, 127)
    for keeps in (False, True):
        model = Model()
        tx, axes = model.tensor(x.shape, INT8, sx, zx), model.tensor([2], INT32, data=np.array([1, 2], np.int32))
        y = model.tensor([1, 1, 1, 512] if keeps else [1, 512], INT8, sy, zy)
        answer = model.run(arithmetic, 40, 2, [tx, axes], y, 27, options_of(schema.ReducerOptionsT, keepDims=keeps),
                           {tx: x.astype(np.int8)})
        judge(arithmetic, "mean", answer, mean(arithmetic, x.sum((0, 1, 2)), height * width, sx, zx, sy, zy))


def averages(arithmetic, random):
    """Windows of 3 x 3 by 2 on 9 x 9, SAME: the padding does not count."""
    s, z = f32(random.uniform(0.005, 0.2)), int(random.randint(-128, 127))
    x = random.randint(-128, 128, (1, 9, 9, 64))
    model, expected = Model(), np.zeros((1, 5, 5, 64), np.int64)
    tx, y = model.tensor(x.shape, INT8, s, z), model.tensor(expected.shape, INT8, s, z)
    options = options_of(schema.Pool2DOptionsT, padding=0, strideW=2, strideH=2, filterWidth=3, filterHeight=3)
    answer = model.run(arithmetic, 1, 2, [tx], y, 5, options, {tx: x.astype(np.int8)})
    for row in range(5):
        for column in range(5):
            part = x[0, max(0, 2 * row - 1):2 * row + 2, max(0, 2 * column - 1):2 * column + 2].reshape(-1, 64)
            total, n = part.sum(0), len(part)
            expected[0, row, column] = np.sign(total) * ((abs(total) + n // 2) // n)
    judge(arithmetic, "average", answer, expected)


def inputs(arithmetic, random):
    s, z = f32(random.uniform(0.003, 0.3)), int(random.randint(-128, 127))
    ties = ((np.arange(-256, 256) + 0.5) * float(s)).astype(f32)
    x = np.concatenate([ties, np.nextafter(ties, f32(9e9)), np.nextafter(ties, f32(-9e9)),
                        random.uniform(-40, 40, 512).astype(f32)]).reshape(1, -1)
    model = Model()
    tx, y = model.tensor(x.shape, FLOAT32), model.tensor(x.shape, INT8, s, z)
    answer = model.run(arithmetic, 114, 1, [tx], y, 89, schema.QuantizeOptionsT(), {tx: x})
    judge(arithmetic, "quantize", answer, quantize(arithmetic, x, s, z))


def main():
    for arithmetic in KERNELS:
        random = np.random.RandomState(1)
        for _ in range(30):
            for check in (layers, adds, means, averages, inputs):
                check(arithmetic, random)
    for (arithmetic, name), (differing, n) in counts.items():
        note = "" if arithmetic == "tflite_ref" or name not in not_taken else ", not taken by the delegate"
        print("%-10s %-9s %d of %d differ%s" % (arithmetic, name, differing, n, note))
    sys.exit(any(differing for differing, _ in counts.values()))


if __name__ == "__main__":
    main()
