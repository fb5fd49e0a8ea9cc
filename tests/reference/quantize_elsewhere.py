#!/usr/bin/env python3
"""Models quantized by others, and what ONNX Runtime computes with them: what Q/DQ import is tested with.

    quantize_elsewhere.py --small OUT              the small random networks that are committed (tests/verify/qdq)
    quantize_elsewhere.py --shared SHARED OUT      ResNet-20 and the MobileNet of the shared data

Needs onnx, onnxruntime, sympy, pillow, and for the models of other tools nncf, torch and torchao, from the Python package index.
For each model NAME.onnx there are NAME_float.npy, the outputs of ONNX Runtime without optimisations (every operator
as the standard defines it, in floats between DequantizeLinear and QuantizeLinear), and NAME_int.npy, those of its
optimised form (operators on integers); which operators that has is printed. The inputs are INPUT.npy.
"""
import argparse
import io
import json
import os
import sys
import tarfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static

U8, S8, S4, U16 = QuantType.QUInt8, QuantType.QInt8, QuantType.QInt4, QuantType.QUInt16


class Reader(CalibrationDataReader):
    def __init__(self, name, x):
        self.batches = iter([{name: x[i : i + 32]} for i in range(0, len(x), 32)])

    def get_next(self):
        return next(self.batches, None)


# ---- ONNX Runtime's outputs -------------------------------------------------------------------------------------


def run(model, x, optimised, dump=None, batch=100):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    if optimised:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        if dump:
            options.optimized_model_filepath = dump
    else:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[i : i + batch]})[0] for i in range(0, len(x), batch)])


def record(out, name, x, labels=None, batch=100, path=None):
    """Outputs of both kinds, and what ONNX Runtime made of the model."""
    path, dump = path or f"{out}/{name}.onnx", f"{out}/{name}.dump.onnx"
    y_float, y_int = run(path, x, False, batch=batch), run(path, x, True, dump, batch)
    ops = {}
    for node in onnx.load(dump).graph.node:
        ops[node.op_type] = ops.get(node.op_type, 0) + 1
    os.remove(dump)
    np.save(f"{out}/{name}_float.npy", y_float)
    np.save(f"{out}/{name}_int.npy", y_int)
    facts = {"onnxruntime": ort.__version__, "images": len(x), "operators": ops}
    if labels is not None:
        facts["correct_float"] = int((y_float.argmax(1) == labels).sum())
        facts["correct_int"] = int((y_int.argmax(1) == labels).sum())
    print(name, json.dumps(facts), flush=True)


def quantize(source, out, name, x, activation=U8, weight=S8, per_channel=True, exclude=(), **extra):
    path = f"{out}/{name}.onnx"
    input_name = onnx.load(source).graph.input[0].name
    quantize_static(
        source,
        path,
        Reader(input_name, x),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=activation,
        weight_type=weight,
        nodes_to_exclude=list(exclude),
        extra_options=extra,
    )


def quantize_by_nncf(source, out, name, x, per_channel=False, preset=None):
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters

    # By default depthwise convolutions get an input with a scale for each channel.
    parameters = QuantizationParameters(per_channel=None if per_channel else False)
    advanced = AdvancedQuantizationParameters(activations_quantization_params=parameters)
    preset = nncf.QuantizationPreset(preset) if preset else None
    input_name = onnx.load(source).graph.input[0].name
    data = nncf.Dataset([x[i : i + 1] for i in range(len(x))], lambda a: {input_name: a})
    model = nncf.quantize(onnx.load(source), data, subset_size=len(x), preset=preset, advanced_parameters=advanced)
    onnx.save(model, f"{out}/{name}.onnx")


# ---- Small networks ----------------------------------------------------------------------------------------------


class Net:
    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.constants = [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *shape):
        fan_in = np.prod(shape[1:])
        return self.constant((self.random.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32))

    def bias(self, n):
        return self.constant((self.random.normal(size=n) * 0.1).astype(np.float32))

    def add(self, op, *inputs, **attributes):
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, x, n_in, n_out, k=3, **attributes):
        group = attributes.get("group", 1)
        return self.add(
            "Conv", x, self.weights(n_out, n_in // group, k, k), self.bias(n_out), pads=[k // 2] * 4, **attributes
        )

    def save(self, path, shape, y, n_out, opset):
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "small",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", n_out])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def make_residual(path, opset=13):
    """Conv, ReLU, MaxPool, depthwise, Clip, Add, Concat, GlobalAveragePool, Gemm."""
    net = Net(1)
    a = net.add("Relu", net.conv("x", 3, 8))
    p = net.add("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2])
    d = net.add("Clip", net.conv(p, 8, 8, group=8), net.constant(np.float32(0)), net.constant(np.float32(6)))
    s = net.add("Relu", net.add("Add", net.conv(d, 8, 8, k=1), p))
    c = net.add("Concat", net.add("Relu", net.conv(s, 8, 4, k=1)), net.conv(s, 8, 4), axis=1)
    f = net.add("Flatten", net.add("GlobalAveragePool", net.conv(c, 8, 12, strides=[2, 2])))
    net.add("Gemm", f, net.weights(5, 12), net.bias(5), transB=1)
    net.save(path, (3, 8, 8), "y", 5, opset)


def make_depthwise(path, opset=14):
    """Depthwise convolutions behind each activation function; one with two outputs for each channel."""
    net = Net(5)
    a = net.add("Relu", net.conv("x", 3, 8))
    d = net.add("Clip", net.conv(a, 8, 8, group=8), net.constant(np.float32(0)), net.constant(np.float32(6)))
    h = net.add("HardSwish", net.conv(d, 8, 6, k=1))
    t = net.conv(h, 6, 12, group=6)
    c = net.add("Clip", net.conv(t, 12, 8, k=1), net.constant(np.float32(0)), net.constant(np.float32(6)))
    e = net.conv(c, 8, 8, group=8, strides=[2, 2])
    f = net.add("Flatten", net.add("GlobalAveragePool", net.add("Relu", e)))
    net.add("Gemm", f, net.weights(5, 8), net.bias(5), transB=1)
    net.save(path, (3, 8, 8), "y", 5, opset)


def make_average(path, opset=13):
    net = Net(4)
    a = net.add("AveragePool", net.add("Relu", net.conv("x", 3, 4)), kernel_shape=[2, 2], strides=[2, 2])
    net.add("Flatten", net.conv(a, 4, 2, strides=[2, 2]))
    net.save(path, (3, 8, 8), "y", 8, opset)


def make_linear(path, opset=13):
    """Reshape, MatMul and Add, LeakyRelu, Transpose, Softmax."""
    net = Net(2)
    t = net.add("Transpose", net.add("Reshape", "x", net.constant(np.array([0, 12, 16]))), perm=[0, 2, 1])
    h = net.add("Add", net.add("MatMul", t, net.weights(12, 10)), net.bias(10))
    h = net.add("LeakyRelu", h, alpha=0.1)
    h = net.add("Reshape", h, net.constant(np.array([0, 160])))
    h = net.add("Add", net.add("MatMul", h, net.weights(160, 5)), net.bias(5))
    net.add("Softmax", h, axis=1)
    net.save(path, (3, 8, 8), "y", 5, opset)


def make_small(out):
    x = np.random.default_rng(3).normal(size=(64, 3, 8, 8)).astype(np.float32)
    y = x[:24]
    np.save(f"{out}/x.npy", y)
    names = "residual depthwise average linear wide".split()
    sources = residual, depthwise, average, linear, wide = [f"{out}/{name}.source.onnx" for name in names]
    make_residual(residual)
    make_depthwise(depthwise)
    make_average(average)
    make_linear(linear)
    make_residual(wide, 21)
    symmetric = dict(ActivationSymmetric=True)
    quantize(residual, out, "u8s8_channel", x)
    quantize(residual, out, "u8u8_tensor", x, weight=U8, per_channel=False)
    quantize(residual, out, "s8s8_channel", x, activation=S8, **symmetric)
    quantize(residual, out, "s8_relu_kept", x, activation=S8, QDQKeepRemovableActivations=True)
    quantize(residual, out, "float_weights", x, AddQDQPairToWeight=True)
    quantize(residual, out, "pair_per_reader", x, DedicatedQDQPair=True)
    quantize(average, out, "average", x)
    quantize(residual, out, "float_conv", x, exclude=["conv10"])
    quantize(wide, out, "u16s8", x, activation=U16)
    quantize(linear, out, "linear", x)
    quantize(linear, out, "linear_s4", x, weight=S4, per_channel=False)
    names = "u8s8_channel u8u8_tensor s8s8_channel s8_relu_kept float_weights pair_per_reader float_conv u16s8 linear"
    for name in (names + " average linear_s4").split():
        record(out, name, y)
    try:
        quantize_by_nncf(residual, out, "nncf", x)
        record(out, "nncf", y)
        quantize_by_nncf(depthwise, out, "nncf_channels", x, per_channel=True)
        record(out, "nncf_channels", y)
        quantize_by_nncf(depthwise, out, "nncf_zeros", x, per_channel=True, preset="mixed")
        record(out, "nncf_zeros", y)
    except ImportError as error:
        print(f"nncf skipped: {error}", file=sys.stderr)
    try:
        y_torch = quantize_by_torch(f"{out}/torch.onnx", y)
        make_scalar(f"{out}/torch.onnx", f"{out}/scalar.onnx")
        record(out, "torch", y, path=f"{out}/scalar.onnx")
        os.remove(f"{out}/scalar.onnx")
        np.save(f"{out}/torch_float.npy", y_torch)
    except ImportError as error:
        print(f"torch skipped: {error}", file=sys.stderr)
    try:
        quantize_by_pt2e(f"{out}/pt2e.onnx", x)
        record(out, "pt2e", y)
    except ImportError as error:
        print(f"torchao skipped: {error}", file=sys.stderr)
    for source in sources:
        os.remove(source)


def quantize_by_torch(path, x):
    """Trained with fake quantization: uint8 activations, weights that are quantized each time, float biases."""
    import torch
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
    from torch.ao.quantization import disable_observer
    from torch.nn import functional

    def activation():
        return FakeQuantize(MovingAverageMinMaxObserver, 0, 255, dtype=torch.quint8, qscheme=torch.per_tensor_affine)

    class Layer(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            scheme = dict(dtype=torch.qint8, qscheme=torch.per_channel_symmetric, ch_axis=0)
            self.layer, self.a = layer, activation()
            self.w = FakeQuantize(MovingAveragePerChannelMinMaxObserver, -128, 127, **scheme)

        def forward(self, x, relu=False):
            m, w = self.layer, self.w(self.layer.weight)
            is_conv = isinstance(m, torch.nn.Conv2d)
            y = functional.conv2d(x, w, m.bias, 1, m.padding, 1, m.groups) if is_conv else functional.linear(x, w, m.bias)
            return self.a(functional.relu(y) if relu else y)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            conv = torch.nn.Conv2d
            self.input, self.sum, self.pool = activation(), activation(), activation()
            self.first, self.depthwise = Layer(conv(3, 8, 3, padding=1)), Layer(conv(8, 8, 3, padding=1, groups=8))
            self.last, self.linear = Layer(conv(8, 8, 1)), Layer(torch.nn.Linear(8, 5))

        def forward(self, x):
            x = self.first(self.input(x), True)
            x = self.sum(functional.relu(x + self.last(self.depthwise(x, True))))
            return self.linear(self.pool(functional.adaptive_avg_pool2d(x, 1)).flatten(1))

    torch.manual_seed(1)
    network, x = Network(), torch.from_numpy(x)
    network(x)
    network.apply(disable_observer).eval()
    axes = {"x": {0: "N"}, "y": {0: "N"}}
    names = dict(input_names=["x"], output_names=["y"], dynamic_axes=axes, opset_version=17, dynamo=False)
    torch.onnx.export(network, (x[:1],), path, **names)
    with torch.no_grad():
        return network(x).numpy()


def quantize_by_pt2e(path, x):
    """PyTorch's export quantization for x86, calibrated, written by the exporter of torch.export."""
    import torch
    from torch.nn import functional
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            conv = torch.nn.Conv2d
            self.first, self.depthwise = conv(3, 8, 3, padding=1, bias=False), conv(8, 8, 3, padding=1, groups=8)
            self.norm, self.last, self.linear = torch.nn.BatchNorm2d(8), conv(8, 8, 1), torch.nn.Linear(8, 5)

        def forward(self, x):
            x = functional.relu(self.norm(self.first(x)))
            x = functional.relu(x + self.last(functional.relu6(self.depthwise(x))))
            return self.linear(functional.adaptive_avg_pool2d(x, 1).flatten(1))

    torch.manual_seed(2)
    network, x = Network(), torch.from_numpy(x)
    network(x)
    batch = ({0: torch.export.Dim("N", max=1024)},)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(network.eval(), (x[:2],), dynamic_shapes=batch).module(), quantizer)
    prepared(x)
    names = dict(input_names=["x"], output_names=["y"], dynamic_shapes=batch)
    program = torch.onnx.export(convert_pt2e(prepared), (x[:2],), dynamo=True, **names)
    for node in program.model.graph:
        node.metadata_props.clear()  # where in PyTorch and in this file it came from
    program.save(path)


def make_scalar(path, scalar_path):
    """PyTorch's scales of one number have a dimension, with which ONNX Runtime cannot fuse an Add."""
    model = onnx.load(path)
    pairs = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    scales = {name for n in pairs for name in n.input[1:]}
    for tensor in list(model.graph.initializer) + [n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"]:
        if list(tensor.dims) == [1] and (not tensor.name or tensor.name in scales):
            del tensor.dims[:]
    onnx.save(model, scalar_path)


# ---- The shared models -------------------------------------------------------------------------------------------


def read_cifar(path, limit=None):
    from PIL import Image

    classes = "airplane automobile bird cat deer dog frog horse ship truck".split()
    pixels, labels = [], []
    with tarfile.open(path) as archive:
        for member in archive:
            if not member.isfile():
                continue
            pixels.append(np.asarray(Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")))
            labels.append(classes.index(member.name.split("/")[-2]))
            if len(labels) == limit:
                break
    x = np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32) / 255
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return (x - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1), np.array(labels)


def read_photographs(folder):
    from PIL import Image

    pixels, labels = [], []
    for line in open(f"{folder}/labels.txt"):
        name, label = line.split()
        image = Image.open(f"{folder}/{name}").convert("RGB")
        scale = 182 / min(image.size)
        w, h = (max(182, round(s * scale)) for s in image.size)
        image = image.resize((w, h), Image.BILINEAR)
        left, top = (w - 160) // 2, (h - 160) // 2
        pixels.append(np.asarray(image.crop((left, top, left + 160, top + 160))))
        labels.append(int(label))
    x = np.stack(pixels).transpose(0, 3, 1, 2).astype(np.float32)
    return x / np.float32(127.5) - np.float32(1), np.array(labels)


def make_shared(shared, out):
    prepared = f"{out}/prepared.onnx"
    x, labels = read_cifar(f"{shared}/cifar10jpeg/test.tar")
    calibration, _ = read_cifar(f"{shared}/cifar10jpeg/train-0.tar", 256)
    np.save(f"{out}/cifar.npy", x)
    np.save(f"{out}/cifar_labels.npy", labels)
    quant_pre_process(f"{shared}/models/resnet20_cifar10.onnx", prepared)
    quantize(prepared, out, "resnet20_u8s8_channel", calibration)
    quantize(prepared, out, "resnet20_u8s8_tensor", calibration, per_channel=False)
    quantize(prepared, out, "resnet20_s8s8_channel", calibration, activation=S8, ActivationSymmetric=True)
    quantize_by_nncf(prepared, out, "resnet20_nncf", calibration)
    for name in ("resnet20_u8s8_channel", "resnet20_u8s8_tensor", "resnet20_s8s8_channel", "resnet20_nncf"):
        record(out, name, x, labels)
    x, labels = read_photographs(f"{shared}/imagenet200")
    np.save(f"{out}/photographs.npy", x)
    np.save(f"{out}/photographs_labels.npy", labels)
    quant_pre_process(f"{shared}/models/mobilenet_v1_0.5_160.onnx", prepared)
    quantize(prepared, out, "mobilenet_u8s8_channel", x[::4])
    quantize_by_nncf(prepared, out, "mobilenet_nncf", x[::4])
    quantize_by_nncf(prepared, out, "mobilenet_nncf_channels", x[::4], per_channel=True)
    for name in ("mobilenet_u8s8_channel", "mobilenet_nncf", "mobilenet_nncf_channels"):
        record(out, name, x, labels, batch=20)
    os.remove(prepared)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--shared")
    parser.add_argument("out")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    if arguments.small:
        make_small(arguments.out)
    if arguments.shared:
        make_shared(arguments.shared, arguments.out)


if __name__ == "__main__":
    main()
