"""An ONNX graph with Q/DQ on PyTorch's quantized operators.

Activations are quint8 and weights qint8, which is what FBGEMM has: signed activations are moved by 128, unsigned
weights by -128, zero points with them.
"""
import math

# What only reshapes, also on quantized tensors.
RESHAPES = {"Flatten", "Reshape", "Squeeze", "Identity"}


class Engine:
    def __init__(self, model, threads, _batch):
        import warnings

        import onnx
        import torch
        from onnx import numpy_helper

        warnings.filterwarnings("ignore", category=UserWarning)  # these kernels are deprecated

        self.torch = torch
        torch.set_num_threads(threads)
        if "fbgemm" not in torch.backends.quantized.supported_engines:
            raise RuntimeError("this PyTorch was built without FBGEMM")
        torch.backends.quantized.engine = "fbgemm"
        graph = onnx.load(model).graph
        self.constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self.inputs = [v.name for v in graph.input if v.name not in self.constants]
        self.outputs = [v.name for v in graph.output]
        self.graph_nodes = list(graph.node)
        self.attributes = {id(n): {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute}
                           for n in self.graph_nodes}
        self.producer = {name: n for n in self.graph_nodes for name in n.output if name}
        self.n_readers = {}
        for node in self.graph_nodes:
            for name in node.input:
                self.n_readers[name] = self.n_readers.get(name, 0) + 1
        self.packed = {}
        self.found = []
        self.plan()

    # ---- What runs in integers -------------------------------------------------------------------------
    def made_by(self, name, op):
        node = self.producer.get(name)
        return node if node is not None and node.op_type == op else None

    def quantized_input(self, name):
        """The quantized tensor behind DequantizeLinear, if that is what `name` is."""
        node = self.made_by(name, "DequantizeLinear")
        return node.input[0] if node is not None and node.input[0] not in self.constants else None

    def weight_node(self, name):
        node = self.made_by(name, "DequantizeLinear")
        return node if node is not None and node.input[0] in self.constants else None

    def plan(self):
        """For each QuantizeLinear: the operator of integers that makes its result, or None."""
        self.fused, self.skipped = {}, set()
        for node in self.graph_nodes:
            if node.op_type == "QuantizeLinear":
                chain = self.match(node)
                if chain:
                    self.fused[id(node)] = chain
                    self.skipped.update(id(n) for n in chain["nodes"])
        for node in self.graph_nodes:
            if node.op_type in ("Conv", "Gemm", "MatMul", "Add", "GlobalAveragePool", "AveragePool", "ReduceMean"):
                self.found.append((node.name, node.op_type, id(node) in self.skipped))

    def match(self, quantize):
        """operator [-> Relu or Clip] [-> what only reshapes] -> QuantizeLinear"""
        chain = {"nodes": [], "relu": False, "most": math.inf, "shape": []}
        name = quantize.input[0]
        while self.is_inner(name) and self.producer[name].op_type in RESHAPES:
            chain["shape"].insert(0, self.producer[name])
            name = chain["shape"][0].input[0]
        while self.is_inner(name) and self.take_activation(chain, self.producer[name]):
            name = self.producer[name].input[0]
        if not self.is_inner(name):
            return None
        node = chain["node"] = self.producer[name]
        chain["nodes"] += chain["shape"] + [node]
        return chain if self.has_operator(chain, quantize) else None

    def is_inner(self, name):
        """Made by a node, and seen by nobody but its one reader."""
        return name in self.producer and self.n_readers[name] == 1 and name not in self.outputs

    def take_activation(self, chain, node):
        bounds = [self.constants.get(name) for name in node.input[1:3]]
        is_clip = node.op_type == "Clip" and len(bounds) == 2 and not any(b is None for b in bounds)
        if node.op_type != "Relu" and not (is_clip and float(bounds[0]) == 0):
            return False
        chain["nodes"].append(node)
        chain["relu"] = True
        chain["most"] = min(chain["most"], float(bounds[1]) if is_clip else math.inf)
        return True

    def has_operator(self, chain, quantize):
        node = chain["node"]
        inputs = [self.quantized_input(i) for i in node.input[:2]]
        if node.op_type in ("Conv", "Gemm"):
            return bool(inputs[0]) and self.weight_node(node.input[1]) is not None and self.can_pack(node)
        if node.op_type == "Add":
            return bool(inputs[0] and inputs[1])
        if node.op_type == "AveragePool":
            a = self.attributes[id(node)]
            if any(a.get("pads", [])) or a.get("auto_pad", b"NOTSET").startswith(b"SAME"):
                return False
        elif node.op_type != "GlobalAveragePool" and not self.is_plane_mean(node):
            return False
        return bool(inputs[0]) and not chain["relu"] and self.same_grid(node.input[0], quantize)

    def is_plane_mean(self, node):
        if node.op_type != "ReduceMean":
            return False
        axes = self.constants[node.input[1]].tolist() if len(node.input) > 1 else self.attributes[id(node)].get("axes")
        return sorted(axes or []) == [2, 3] or sorted(axes or []) == [-2, -1]

    def same_grid(self, dequantized, quantize):
        """The library's average keeps its input's scale and zero point."""
        node = self.producer[dequantized]
        return all(bool((self.constants[a] == self.constants[b]).all())
                   for a, b in zip(node.input[1:3], quantize.input[1:3]))

    def can_pack(self, node):
        attributes = self.attributes[id(node)]
        if node.op_type == "Gemm":
            return attributes.get("transB", 0) == 1
        return self.constants[self.weight_node(node.input[1]).input[0]].dim() == 4

    @staticmethod
    def padding(a, x, kernel):
        """[rows before, columns before, rows behind, columns behind]; SAME is worked out for the image."""
        kind = a.get("auto_pad", b"NOTSET")
        if not kind.startswith(b"SAME"):
            return list(a.get("pads", [0, 0, 0, 0])) if kind == b"NOTSET" else [0, 0, 0, 0]
        begin, end = [], []
        for i in range(2):
            size, stride = x.shape[2 + i], a.get("strides", [1, 1])[i]
            extent = (kernel[i] - 1) * a.get("dilations", [1, 1])[i] + 1
            total = max(0, (-(-size // stride) - 1) * stride + extent - size)
            less, more = total // 2, total - total // 2
            begin.append(less if kind == b"SAME_UPPER" else more)
            end.append(more if kind == b"SAME_UPPER" else less)
        return begin + end

    def pack(self, node, pads):
        torch, attributes = self.torch, self.attributes[id(node)]
        weights = self.weight_node(node.input[1])
        ints, scale, zero = (self.constants[name] for name in weights.input[:3])
        if ints.dtype == torch.uint8:
            ints, zero = (ints.int() - 128).to(torch.int8), zero.int() - 128
        if scale.numel() > 1:
            w = torch._make_per_channel_quantized_tensor(ints, scale.double(), zero.long(), 0)
        else:
            w = torch._make_per_tensor_quantized_tensor(ints, float(scale), int(zero))
        bias = self.evaluate(node.input[2], {}).float() if len(node.input) > 2 else None
        if node.op_type == "Gemm":
            return torch.ops.quantized.linear_prepack(w, bias)
        return torch.ops.quantized.conv2d_prepack(w, bias, attributes.get("strides", [1, 1]), pads,
                                                  attributes.get("dilations", [1, 1]), attributes.get("group", 1))

    # ---- Running ---------------------------------------------------------------------------------------
    def grid(self, node):
        """Scale and zero point of quint8 integers."""
        scale, zero = self.constants[node.input[1]], self.constants[node.input[2]]
        return float(scale), int(zero) + (128 if zero.dtype == self.torch.int8 else 0)

    def quantize(self, node, values):
        chain = self.fused.get(id(node))
        scale, zero = self.grid(node)
        if not chain:
            return self.channels_last(self.torch.quantize_per_tensor(
                self.evaluate(node.input[0], values).float(), scale, zero, self.torch.quint8))
        result = self.operate(chain, values, scale, zero)
        if chain["most"] < math.inf:
            result = self.torch.clamp(result, 0.0, chain["most"])
        for mover in chain["shape"]:
            more = [self.evaluate(name, values) for name in mover.input[1:]]
            result = getattr(self, "op_" + mover.op_type)(self.attributes[id(mover)], result, *more)
        return result

    def channels_last(self, x):
        """Images as the library's operators leave them: its averages round otherwise in the other order."""
        return x.contiguous(memory_format=self.torch.channels_last) if x.dim() == 4 else x

    def operate(self, chain, values, scale, zero):
        """The library's operator on its quantized inputs."""
        ops, op, attributes = self.torch.ops.quantized, chain["node"], self.attributes[id(chain["node"])]
        x, suffix = values[self.quantized_input(op.input[0])], "_relu" if chain["relu"] else ""
        if op.op_type == "Add":
            return getattr(ops, "add" + suffix)(x, values[self.quantized_input(op.input[1])], scale, zero)
        if op.op_type in ("GlobalAveragePool", "ReduceMean"):
            result = self.torch.nn.functional.adaptive_avg_pool2d(x, 1)
            return result if attributes.get("keepdims", 1) else result.flatten(1)
        if op.op_type == "AveragePool":
            return self.torch.nn.functional.avg_pool2d(x, attributes["kernel_shape"], attributes.get("strides", [1, 1]),
                                                       0, bool(attributes.get("ceil_mode", 0)))
        pads = [0, 0, 0, 0]
        if op.op_type == "Conv":
            pads = self.padding(attributes, x, self.constants[self.weight_node(op.input[1]).input[0]].shape[2:])
        if pads[:2] != pads[2:]:  # the operator pads both ends alike
            x = self.torch.nn.functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
            pads = [0, 0, 0, 0]
        if id(op) not in self.packed:
            self.packed[id(op)] = self.pack(op, pads[:2])
        kind = "conv2d" if op.op_type == "Conv" else "linear"
        return getattr(ops, kind + suffix)(x, self.packed[id(op)], scale, zero)

    def clip_integers(self, node, values):
        """Fewer bits than 8: the integers of a quantized tensor."""
        x = values[node.input[0]]
        lo, hi = (self.constants[name] for name in node.input[1:3])
        shift = 128 if lo.dtype == self.torch.int8 else 0
        ints = x.int_repr().clamp(int(lo) + shift, int(hi) + shift)
        return self.torch._make_per_tensor_quantized_tensor(ints, x.q_scale(), x.q_zero_point())

    def evaluate(self, name, values):
        if name in self.constants:
            return self.constants[name]
        if name not in values:
            values[name] = self.execute(self.producer[name], values)
        return values[name]

    def dequantize(self, node, values):
        if node.input[0] not in self.constants:
            return self.evaluate(node.input[0], values).dequantize()
        ints, scale = self.constants[node.input[0]], self.constants[node.input[1]]
        zero = self.constants[node.input[2]] if len(node.input) > 2 else self.torch.zeros_like(scale)
        if scale.numel() > 1:
            axis = self.attributes[id(node)].get("axis", 1)
            shape = [-1 if i == axis else 1 for i in range(ints.dim())]
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        values = (ints.double() - zero.double()).float() * scale
        self.constants[node.output[0]] = values  # not again for the next images
        return values

    def execute(self, node, values):
        torch = self.torch
        if node.op_type == "QuantizeLinear":
            for name in self.needed(node):
                self.evaluate(name, values)
            return self.quantize(node, values)
        if node.op_type == "DequantizeLinear":
            return self.dequantize(node, values)
        x = self.evaluate(node.input[0], values)
        if node.op_type == "Clip" and x.is_quantized:
            return self.clip_integers(node, values)
        more = [self.evaluate(name, values) if name else None for name in node.input[1:]]
        return getattr(self, "op_" + node.op_type, self.unknown(node))(self.attributes[id(node)], x, *more)

    def needed(self, node):
        chain = self.fused.get(id(node))
        if not chain:
            return []
        names = [self.quantized_input(i) for i in chain["node"].input[:2]]
        return [name for name in names if name]

    def unknown(self, node):
        def fail(*_):
            raise NotImplementedError("node '%s': operator %s" % (node.name, node.op_type))
        return fail

    # ---- Operators in floats ---------------------------------------------------------------------------
    def op_Conv(self, a, x, w, b=None):
        pads = self.padding(a, x, w.shape[2:])
        if pads[:2] != pads[2:]:  # the operator pads both ends alike
            x = self.torch.nn.functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
            pads = [0, 0, 0, 0]
        return self.torch.nn.functional.conv2d(x, w, b, a.get("strides", 1), pads[:2], a.get("dilations", 1),
                                               a.get("group", 1))

    def op_Gemm(self, a, x, w, b=None):
        y = x @ (w.t() if a.get("transB", 0) else w)
        return y if b is None else y + b

    def op_MatMul(self, _, x, y):
        return x @ y

    def op_Add(self, _, x, y):
        return x + y

    def op_Mul(self, _, x, y):
        return x * y

    def op_Relu(self, _, x):
        return x.clamp_min(0)

    def op_Clip(self, _, x, lo=None, hi=None):
        return x.clamp(-math.inf if lo is None else float(lo), math.inf if hi is None else float(hi))

    def op_GlobalAveragePool(self, _, x):
        return x.mean((2, 3), keepdim=True)

    def op_AveragePool(self, a, x):
        pads = a.get("pads", [0, 0, 0, 0])
        if pads[:2] != pads[2:]:
            raise NotImplementedError("AveragePool with pads %s" % pads)
        return self.torch.nn.functional.avg_pool2d(x, a["kernel_shape"], a.get("strides", [1, 1]), pads[:2],
                                                   bool(a.get("ceil_mode", 0)),
                                                   bool(a.get("count_include_pad", 0)))

    def op_ReduceMean(self, a, x, axes=None):
        dims = [int(i) for i in (axes if axes is not None else a["axes"])]
        return x.mean(dims, keepdim=bool(a.get("keepdims", 1)))

    def op_Sigmoid(self, _, x):
        return x.sigmoid()

    def op_HardSigmoid(self, a, x):
        return (a.get("alpha", 0.2) * x + a.get("beta", 0.5)).clamp(0, 1)

    def op_HardSwish(self, _, x):
        return x * (x / 6 + 0.5).clamp(0, 1)

    def op_Squeeze(self, _, x, axes):
        return x.squeeze(tuple(axes.tolist()))

    def op_MaxPool(self, a, x):
        pads, kernel = a.get("pads", [0, 0, 0, 0]), a["kernel_shape"]
        if pads[:2] == pads[2:] and all(2 * pad <= side for pad, side in zip(pads, kernel)):
            return self.torch.nn.functional.max_pool2d(x, kernel, a.get("strides", 1), pads[:2])
        x = self.torch.nn.functional.pad(x, (pads[1], pads[3], pads[0], pads[2]), value=-math.inf)
        return self.torch.nn.functional.max_pool2d(x, kernel, a.get("strides", 1))

    def op_BatchNormalization(self, a, x, gamma, beta, mean, variance):
        return self.torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, False, 0,
                                                   a.get("epsilon", 1e-5))

    def op_Flatten(self, a, x):
        return x.flatten(a.get("axis", 1))

    def op_Reshape(self, _, x, shape):
        return x.reshape([x.shape[i] if int(n) == 0 else int(n) for i, n in enumerate(shape)])

    def op_Identity(self, _, x):
        return x

    def op_Transpose(self, a, x):
        return x.permute(a["perm"])

    def op_Concat(self, a, *parts):
        return self.torch.cat(parts, a["axis"])

    def op_Softmax(self, a, x):
        return x.softmax(a.get("axis", -1))

    def op_Pad(self, a, x, pads, value=None, _axes=None):
        n, flat = x.dim(), []
        for i in reversed(range(n)):
            flat += [int(pads[i]), int(pads[n + i])]
        return self.torch.nn.functional.pad(x, flat, value=0.0 if value is None else float(value))

    def op_Slice(self, _, x, starts, ends, axes=None, steps=None):
        for i in range(len(starts)):
            axis = int(axes[i]) if axes is not None else i
            index = [slice(None)] * x.dim()
            index[axis] = slice(int(starts[i]), int(ends[i]), int(steps[i]) if steps is not None else 1)
            x = x[tuple(index)]
        return x

    # ---- The adapter's side ----------------------------------------------------------------------------
    def run(self, inputs):
        torch = self.torch
        with torch.inference_mode():
            values = {name: torch.from_numpy(inputs[name]) for name in self.inputs}
            results = []
            for node in self.graph_nodes:  # in the file's order, so that recursion stays shallow
                if id(node) in self.skipped or node.op_type == "DequantizeLinear":
                    continue  # floats only of what an operator in floats reads
                if node.output[0] not in values:
                    values[node.output[0]] = self.execute(node, values)
            for name in self.outputs:
                value = self.evaluate(name, values)
                results.append((name, (value.dequantize() if value.is_quantized else value).numpy()))
        return results

    def nodes(self):
        return self.found
