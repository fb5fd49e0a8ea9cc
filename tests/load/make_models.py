#!/usr/bin/env python3
"""Write the small ONNX models of tests/load/models: random weights, exotic forms. Run by hand.

    python3 make_models.py [OUTPUT_DIRECTORY]

Needs PyTorch and onnx (Debian: python3-torch 1.13, python3-onnx 1.12). With onnxruntime installed every model that
has a forward gets <name>.out.npy beside it: what ONNX Runtime answers to the batch input_<shape>.npy. The files are committed, so the tests need none of this. Models made by torch.onnx.export keep the forms of that
exporter; those made node by node imitate other tools (tf2onnx, Keras, newer exporters)."""
import pathlib
import sys
import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings('ignore')
OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / 'models')
MADE = []  # (name, input shape or None)


# ---- Models of PyTorch's exporter ---------------------------------------------------------------------------
def conv_bn(i, o, k=3, s=1, g=1, act=None, bias=False):
    layers = [nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=bias), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act] if act is not None else []))


class Residual(nn.Module):
    """He et al.'s basic block, with a projection when shape changes."""

    def __init__(self, i, o, s=1):
        super().__init__()
        self.a, self.b = conv_bn(i, o, 3, s, act=nn.ReLU()), conv_bn(o, o)
        self.project = conv_bn(i, o, 1, s) if s != 1 or i != o else None

    def forward(self, x):
        return F.relu(self.b(self.a(x)) + (self.project(x) if self.project else x))


class Inverted(nn.Module):
    """MobileNetV2's block; `act` makes the activation, `se` a squeeze-and-excitation in between."""

    def __init__(self, i, o, s=1, grow=2, act=nn.ReLU6, se=None, k=3):
        super().__init__()
        m = i * grow
        parts = [conv_bn(i, m, 1, act=act()), conv_bn(m, m, k, s, m, act=act())]
        self.body = nn.Sequential(*parts, *([se(m)] if se else []), conv_bn(m, o, 1))
        self.adds = s == 1 and i == o

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


class SqueezeExcite(nn.Module):
    """Hu et al.; MobileNetV3 gates with hard sigmoid, EfficientNet with sigmoid and a SiLU inside."""

    def __init__(self, c, hard=True):
        super().__init__()
        self.down, self.up = nn.Conv2d(c, max(c // 4, 2), 1), nn.Conv2d(max(c // 4, 2), c, 1)
        self.inner, self.gate = (nn.ReLU(), nn.Hardsigmoid()) if hard else (nn.SiLU(), nn.Sigmoid())

    def forward(self, x):
        return x * self.gate(self.up(self.inner(self.down(F.adaptive_avg_pool2d(x, 1)))))


class Inception(nn.Module):
    """Four branches joined by Concat."""

    def __init__(self, i):
        super().__init__()
        relu = nn.ReLU
        self.a = conv_bn(i, 4, 1, act=relu())
        self.b = nn.Sequential(conv_bn(i, 4, 1, act=relu()), conv_bn(4, 6, 3, act=relu()))
        self.c = nn.Sequential(conv_bn(i, 2, 1, act=relu()), conv_bn(2, 4, 5, act=relu()))
        self.d = nn.Sequential(nn.AvgPool2d(3, 1, 1), conv_bn(i, 4, 1, act=relu()))

    def forward(self, x):
        return torch.cat([self.a(x), self.b(x), self.c(x), self.d(x)], 1)


class Shuffle(nn.Module):
    """ShuffleNetV2's basic unit: split, convolve one half, concat, shuffle by Reshape and Transpose."""

    def __init__(self, c):
        super().__init__()
        h = c // 2
        self.body = nn.Sequential(conv_bn(h, h, 1, act=nn.ReLU()), conv_bn(h, h, 3, g=h),
                                  conv_bn(h, h, 1, act=nn.ReLU()))

    def forward(self, x):
        left, right = x.chunk(2, dim=1)
        y = torch.cat((left, self.body(right)), dim=1)
        n, c, h, w = y.size()
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


class Dense(nn.Module):
    """DenseNet: BN and ReLU before the convolution, output joined to the input."""

    def __init__(self, i, grow):
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(i), nn.Conv2d(i, grow, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(F.relu(self.bn(x)))], 1)


class Fire(nn.Module):
    """SqueezeNet's module."""

    def __init__(self, i, squeeze, expand):
        super().__init__()
        self.s = nn.Conv2d(i, squeeze, 1)
        self.a, self.b = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.s(x))
        return torch.cat([F.relu(self.a(x)), F.relu(self.b(x))], 1)


class RegBlock(nn.Module):
    """RegNet's bottleneck with grouped convolution."""

    def __init__(self, i, o, s, groups):
        super().__init__()
        self.body = nn.Sequential(conv_bn(i, o, 1, act=nn.ReLU()), conv_bn(o, o, 3, s, groups, act=nn.ReLU()),
                                  conv_bn(o, o, 1))
        self.project = conv_bn(i, o, 1, s)

    def forward(self, x):
        return F.relu(self.project(x) + self.body(x))


class OptionA(nn.Module):
    """The CIFAR ResNet's parameter-free shortcut: strided slice and zero padding of channels."""

    def __init__(self, i, o):
        super().__init__()
        self.a, self.b, self.pad = conv_bn(i, o, 3, 2, act=nn.ReLU()), conv_bn(o, o), (o - i) // 2

    def forward(self, x):
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad), 'constant', 0)
        return F.relu(self.b(self.a(x)) + short)


class Head(nn.Module):
    """Global pooling and a linear layer, in the several ways networks write them."""

    def __init__(self, c, classes=5, form='flatten'):
        super().__init__()
        self.fc, self.form = nn.Linear(c, classes), form

    def forward(self, x):
        if self.form == 'flatten':
            return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        if self.form == 'mean':
            return self.fc(x.mean([2, 3]))
        if self.form == 'view':  # batch by Shape, Gather, Unsqueeze, Concat, Reshape
            return self.fc(F.avg_pool2d(x, int(x.size(3))).view(x.size(0), -1))
        if self.form == 'cifar':
            out = F.avg_pool2d(x, int(x.size()[3]))
            return self.fc(out.view(out.size(0), -1))
        return self.fc(F.adaptive_avg_pool2d(x, 1).reshape(1, -1))  # 'fixed1'


class Upsample(nn.Module):
    """Resize nearest by scales, bilinear by sizes, and a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv_bn(3, 4, act=nn.ReLU()), nn.ConvTranspose2d(4, 4, 2, 2)
        self.c = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x = self.a(x)
        y = F.interpolate(self.b(x), size=(20, 20), mode='bilinear', align_corners=False)
        z = F.interpolate(x, scale_factor=1.25, mode='nearest')
        return self.c(torch.cat([y, z], 1))


class Activations(nn.Module):
    """LeakyRelu, PRelu, Sigmoid, HardSwish, HardSigmoid, Softmax and LogSoftmax in a row."""

    def __init__(self):
        super().__init__()
        self.c = nn.ModuleList(conv_bn(4, 4) for _ in range(4))
        self.first, self.prelu, self.fc = nn.Conv2d(3, 4, 3, 2), nn.PReLU(4), nn.Linear(4, 5)

    def forward(self, x):
        x = F.leaky_relu(self.first(x), 0.1)
        x = self.prelu(self.c[0](x))
        x = torch.sigmoid(self.c[1](x))
        x = F.hardswish(self.c[2](x)) - 0.25
        x = F.max_pool2d(F.hardsigmoid(self.c[3](x)), 2, 2, ceil_mode=True) / 1.5
        return F.log_softmax(self.fc(F.adaptive_max_pool2d(x, 1).flatten(1)), 1)


def randomise(model, seed):
    """BN statistics, scales and weights that keep activations near unit size."""
    g = torch.Generator().manual_seed(seed)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.copy_(torch.randn(m.num_features, generator=g) * 0.2)
            m.running_var.copy_(torch.rand(m.num_features, generator=g) + 0.5)
            m.weight.data.copy_(torch.rand(m.num_features, generator=g) + 0.5)
            m.bias.data.copy_(torch.randn(m.num_features, generator=g) * 0.2)
        elif isinstance(m, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)):
            fan = m.weight[0].numel()
            m.weight.data.copy_(torch.randn(m.weight.shape, generator=g) / fan**0.5)
            if m.bias is not None:
                m.bias.data.copy_(torch.randn(m.bias.shape, generator=g) * 0.1)


def export(name, model, opset=13, size=16, batch='dynamic', channels=3, folds=True):
    """batch: 'dynamic' or the number the file is fixed to. BN layers are kept."""
    seed = len(MADE) + 1
    with torch.no_grad():
        randomise(model, seed)
    model.eval()
    n = 2 if batch == 'dynamic' else batch
    x = torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))
    axes = {'input': {0: 'batch'}, 'output': {0: 'batch'}} if batch == 'dynamic' else None
    torch.onnx.export(model, x, str(OUT / f'{name}.onnx'), opset_version=opset, input_names=['input'],
                      output_names=['output'], dynamic_axes=axes, do_constant_folding=folds,
                      training=torch.onnx.TrainingMode.PRESERVE)
    MADE.append((name, list(x.shape)))


def torch_models():
    residual = lambda: nn.Sequential(conv_bn(3, 4, act=nn.ReLU()), Residual(4, 4), Residual(4, 8, 2), Head(8))
    for opset in (9, 13, 17):
        export(f'residual_opset{opset}', residual(), opset)
    export('residual_opset7', residual(), 7)
    inverted = lambda: nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.ReLU6()), Inverted(4, 4), Inverted(4, 6, 2), Head(6))
    export('inverted_clip_attribute_opset9', inverted(), 9)
    export('inverted_clip_input_opset13', inverted(), 13)
    export('concat_block', nn.Sequential(Inception(3), nn.MaxPool2d(3, 2), Head(18)), 13)
    export('channel_shuffle_dynamic', nn.Sequential(conv_bn(3, 8, act=nn.ReLU()), Shuffle(8), Shuffle(8), Head(8, form='mean')),
           13, folds=False)
    se = lambda: nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.Hardswish()),
                               Inverted(4, 4, act=nn.Hardswish, se=SqueezeExcite), Head(4))
    export('squeeze_excite_opset11', se(), 11)
    export('squeeze_excite_opset14', se(), 14)
    export('fixed_batch1_reshape', nn.Sequential(conv_bn(3, 4, act=nn.ReLU()), Head(4, form='fixed1')), 13, batch=1)
    export('fixed_batch4', nn.Sequential(conv_bn(3, 4, act=nn.ReLU()), Residual(4, 4), Head(4, form='view')), 13, batch=4)
    export('upsample_resize_opset11', Upsample(), 11)
    export('upsample_resize_opset13', Upsample(), 13)
    export('activations_opset14', Activations(), 14)
    # Small versions of the architectures.
    export('tiny_resnet_cifar', nn.Sequential(conv_bn(3, 4, act=nn.ReLU()), Residual(4, 4), OptionA(4, 8), Head(8, form='cifar')),
           13, folds=False)
    export('tiny_mobilenet_v1', nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.ReLU()), conv_bn(4, 4, 3, 1, 4, nn.ReLU()),
                                              conv_bn(4, 8, 1, act=nn.ReLU()), Head(8)), 12)
    export('tiny_mobilenet_v2', nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.ReLU6()), Inverted(4, 4), Inverted(4, 6, 2),
                                              conv_bn(6, 12, 1, act=nn.ReLU6()), Head(12, form='mean')), 13)
    export('tiny_mobilenet_v3', nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.Hardswish()), Inverted(4, 4, se=SqueezeExcite, act=nn.ReLU),
                                              Inverted(4, 6, 2, act=nn.Hardswish, se=SqueezeExcite, k=5),
                                              conv_bn(6, 12, 1, act=nn.Hardswish()), Head(12)), 15)
    soft = lambda c: SqueezeExcite(c, hard=False)
    export('tiny_efficientnet', nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.SiLU()), Inverted(4, 4, act=nn.SiLU, se=soft),
                                              conv_bn(4, 8, 1, act=nn.SiLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                                              nn.Dropout(), nn.Linear(8, 5)), 13)
    export('tiny_efficientnet_lite', nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.ReLU6()), Inverted(4, 4, k=5),
                                                   conv_bn(4, 8, 1, act=nn.ReLU6()), Head(8)), 11)
    export('tiny_regnet', nn.Sequential(conv_bn(3, 4, 3, 2, act=nn.ReLU()), RegBlock(4, 8, 2, 2), Head(8)), 16)
    export('tiny_vgg', nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1),
                                     nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10), nn.ReLU(), nn.Dropout(),
                                     nn.Linear(10, 5)), 10)
    export('tiny_densenet', nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Dense(4, 3), Dense(7, 3), nn.BatchNorm2d(10), nn.ReLU(),
                                          nn.Conv2d(10, 5, 1), nn.AvgPool2d(2), nn.BatchNorm2d(5), nn.ReLU(), Head(5)), 13)
    export('tiny_inception', nn.Sequential(conv_bn(3, 4, act=nn.ReLU()), Inception(4), nn.AvgPool2d(3, 2), Inception(18), Head(18)), 13)
    export('tiny_shufflenet', nn.Sequential(conv_bn(3, 8, 3, 2, act=nn.ReLU()), nn.MaxPool2d(3, 2, 1), Shuffle(8), Head(8, form='mean')), 13)
    export('tiny_squeezenet', nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(4, 2, 4),
                                            nn.Dropout(), nn.Conv2d(8, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), 13)


# ---- Models made node by node ---------------------------------------------------------------------------------
def weights(seed, *shape):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) / max(np.prod(shape[1:]), 1)**0.5).astype(np.float32)


def constant(name, array):
    return numpy_helper.from_array(np.ascontiguousarray(array), name)


def save(name, nodes, inits, x_shape=('N', 3, 16, 16), y_shape=('N', 5), opset=13, ir=8, x_type=TensorProto.FLOAT,
         y_type=TensorProto.FLOAT, extra_inputs=(), run_shape=(2, 3, 16, 16), checks=True, domains=()):
    graph = helper.make_graph(
        nodes, name, [helper.make_tensor_value_info('input', x_type, x_shape), *extra_inputs],
        [helper.make_tensor_value_info('output', y_type, y_shape)], inits)
    imports = [helper.make_opsetid('', opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=imports, producer_name='make_models', ir_version=ir)
    if checks:
        onnx.checker.check_model(model)
    onnx.save(model, str(OUT / f'{name}.onnx'))
    MADE.append((name, run_shape and list(run_shape)))
    return model


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def same_upper():
    """TensorFlow's padding: more at the end. BN already folded, ReLU6 as Clip with tensor bounds."""
    nodes = [
        node('Conv', 'input w1 b1', 'c1', name='conv1', auto_pad='SAME_UPPER', strides=[2, 2], kernel_shape=[3, 3]),
        node('Clip', 'c1 zero six', 'r1', name='relu6_1'),
        node('Conv', 'r1 w2 b2', 'c2', name='depthwise', auto_pad='SAME_UPPER', strides=[2, 2], group=4),
        node('Clip', 'c2 zero six', 'r2', name='relu6_2'),
        node('MaxPool', 'r2', 'p2', name='pool', auto_pad='SAME_UPPER', kernel_shape=[3, 3], strides=[2, 2]),
        node('AveragePool', 'p2', 'p3', name='average', auto_pad='SAME_UPPER', kernel_shape=[2, 2], strides=[1, 1]),
        node('GlobalAveragePool', 'p3', 'g', name='global'),
        node('Flatten', 'g', 'f', name='flatten'),
        node('Gemm', 'f w3 b3', 'output', name='logits', transB=1)]
    inits = [constant('w1', weights(1, 4, 3, 3, 3)), constant('b1', weights(2, 4)), constant('w2', weights(3, 4, 1, 3, 3)),
             constant('b2', weights(4, 4)), constant('w3', weights(5, 5, 4)), constant('b3', weights(6, 5)),
             constant('zero', np.float32(0)), constant('six', np.float32(6))]
    save('same_upper', nodes, inits, x_shape=('N', 3, 15, 16), run_shape=(2, 3, 15, 16))


def same_lower():
    nodes = [node('Conv', 'input w1', 'c1', auto_pad='SAME_LOWER', strides=[2, 2]), node('Relu', 'c1', 'r1'),
             node('Conv', 'r1 w2', 'c2', auto_pad='VALID'), node('Relu', 'c2', 'output')]
    save('same_lower', nodes, [constant('w1', weights(1, 4, 3, 3, 3)), constant('w2', weights(3, 2, 4, 3, 3))],
         y_shape=('N', 2, 6, 6))


def nhwc_input():
    """tf2onnx: channels last outside, a Transpose inside, Squeeze and MatMul + Add at the end."""
    nodes = [
        node('Transpose', 'input', 'nchw', name='net/conv__6', perm=[0, 3, 1, 2]),
        node('Conv', 'nchw w1', 'c1', name='net/conv', auto_pad='SAME_UPPER', strides=[2, 2], dilations=[1, 1], group=1),
        node('BatchNormalization', 'c1 s b m v', 'n1', name='net/bn', epsilon=1e-3),
        node('Relu', 'n1', 'r1', name='net/relu'),
        node('ReduceMean', 'r1', 'g', name='net/mean', axes=[2, 3], keepdims=1),
        node('Squeeze', 'g axes', 'sq', name='net/squeeze'),
        node('MatMul', 'sq w2', 'mm', name='net/matmul'),
        node('Add', 'mm b2', 'bias', name='net/bias'),
        node('Softmax', 'bias', 'output', name='net/softmax', axis=1)]
    rng = np.random.default_rng(3)
    inits = [constant('w1', weights(1, 4, 3, 3, 3)), constant('w2', weights(2, 4, 5)), constant('b2', weights(3, 5)),
             constant('s', rng.random(4).astype(np.float32) + 0.5), constant('b', weights(4, 4)), constant('m', weights(5, 4)),
             constant('v', rng.random(4).astype(np.float32) + 0.5), constant('axes', np.array([2, 3], np.int64))]
    save('nhwc_input', nodes, inits, x_shape=('unk__17', 16, 16, 3), y_shape=('unk__18', 5), run_shape=(2, 16, 16, 3))


def small_nodes():
    nodes = [node('Conv', 'input w1 b1', 'c1', name='conv1', pads=[1, 1, 1, 1]), node('Relu', 'c1', 'r1', name='relu1'),
             node('GlobalAveragePool', 'r1', 'g', name='pool'), node('Flatten', 'g', 'f', name='flatten'),
             node('Gemm', 'f w2 b2', 'output', name='logits', transB=1)]
    inits = [constant('w1', weights(1, 4, 3, 3, 3)), constant('b1', weights(2, 4)), constant('w2', weights(3, 5, 4)),
             constant('b2', weights(4, 5))]
    return nodes, inits


def external():
    nodes, inits = small_nodes()
    model = save('external_data', nodes, inits)
    (OUT / 'external_data.bin').unlink(missing_ok=True)
    onnx.save_model(model, str(OUT / 'external_data.onnx'), save_as_external_data=True, all_tensors_to_one_file=True,
                    location='external_data.bin', size_threshold=0)


def float16():
    """Weights stored in half: behind Cast nodes, and a whole graph of halves as converters write it."""
    nodes, inits = small_nodes()
    casts = [node('Cast', f'{t.name}_half', t.name, name=f'cast_{t.name}', to=TensorProto.FLOAT) for t in inits]
    halves = [constant(f'{t.name}_half', numpy_helper.to_array(t).astype(np.float16)) for t in inits]
    save('float16_weights_cast', casts + nodes, halves)
    nodes, inits = small_nodes()
    nodes[0].input[0], nodes[-1].output[0] = 'input_half', 'output_half'
    nodes = [node('Cast', 'input', 'input_half', name='cast_in', to=TensorProto.FLOAT16), *nodes,
             node('Cast', 'output_half', 'output', name='cast_out', to=TensorProto.FLOAT)]
    save('float16_graph', nodes, [constant(t.name, numpy_helper.to_array(t).astype(np.float16)) for t in inits], run_shape=None)


def typed_fields():
    """Initialisers in typed fields, double, bfloat16, float16 in int32_data; weights listed as inputs (IR 3)."""
    nodes, inits = small_nodes()
    w1, b1, w2, b2 = (numpy_helper.to_array(t) for t in inits)
    b1_bits = [int(x) for x in (b1.view(np.uint32) >> 16)]
    w2_bits = [int(x) for x in w2.astype(np.float16).view(np.uint16).ravel()]
    stored = [helper.make_tensor('w1', TensorProto.FLOAT, w1.shape, w1.ravel()),
              TensorProto(name='b1', data_type=TensorProto.BFLOAT16, dims=b1.shape, int32_data=b1_bits),
              TensorProto(name='w2', data_type=TensorProto.FLOAT16, dims=w2.shape, int32_data=w2_bits),
              helper.make_tensor('b2', TensorProto.DOUBLE, b2.shape, b2.astype(np.float64))]
    listed = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in stored]
    save('typed_fields_ir3', nodes, stored, opset=8, ir=3, extra_inputs=listed, run_shape=None, checks=False)


def constants():
    """Constant nodes of every form, absent optional inputs; then missing and repeated node names."""
    nodes = [
        helper.make_node('Constant', [], ['w1'], value=constant('', weights(1, 4, 3, 3, 3))),
        helper.make_node('Constant', [], ['low'], value_float=0.0),
        helper.make_node('Constant', [], ['b1'], value_floats=[0.1, -0.2, 0.3, 0.0]),
        helper.make_node('Constant', [], ['shape'], value_ints=[0, -1]),
        helper.make_node('Constant', [], ['axis'], value_int=1),
        helper.make_node('Constant', [], ['high'], value_float=1.5),
        node('Conv', 'input w1 b1', 'c1', name='conv'),
        helper.make_node('Clip', ['c1', '', 'high'], ['r1'], name='clip_high'),
        helper.make_node('Clip', ['r1', 'low'], ['r2'], name='clip_low'),
        node('GlobalAveragePool', 'r2', 'g'), node('Reshape', 'g shape', 'f'),
        node('ConstantOfShape', 'dims', 'ones', value=constant('', np.ones(1, np.float32))),
        node('Add', 'f ones', 'output')]
    save('constant_forms', nodes, [constant('dims', np.array([1, 4], np.int64))], y_shape=('N', 4))
    nodes, inits = small_nodes()
    for n, name in zip(nodes, ('same', 'same', '', '', 'Flatten_3')):
        n.name = name
    save('node_names', nodes, inits, run_shape=None)


def newer():
    """Opset 18 and 20 forms: axes as input, num_outputs, antialias, allowzero; fields this .proto may not know."""
    nodes = [
        node('Conv', 'input w1 b1', 'c1', name='conv1', pads=[1, 1, 1, 1]), node('Relu', 'c1', 'r1', name='relu1'),
        node('Split', 'r1', 's1 s2', name='split', axis=1, num_outputs=2),
        node('Mul', 's1 s2', 'm', name='mul'),
        helper.make_node('Pad', ['m', 'pads', '', 'pad_axes'], ['pd'], name='pad'),
        node('ReduceMean', 'pd axes', 'g', name='mean', keepdims=0),
        node('Reshape', 'g shape', 'f', name='reshape', allowzero=0),
        node('Gemm', 'f w2 b2', 'output', name='logits', transB=1)]
    inits = [constant('w1', weights(1, 4, 3, 3, 3)), constant('b1', weights(2, 4)), constant('w2', weights(3, 5, 2)),
             constant('b2', weights(4, 5)), constant('axes', np.array([2, 3], np.int64)), constant('shape', np.array([-1, 2], np.int64)),
             constant('pads', np.array([0, 1, 1, 0], np.int64)), constant('pad_axes', np.array([2, 3], np.int64))]
    for opset in (18, 20):
        save(f'newer_opset{opset}', nodes, inits, opset=opset, ir=9, checks=False)
    path = OUT / 'newer_opset20.onnx'
    model = path.read_bytes()
    path.write_bytes(model + b'\xf2\x06\x03abc' + b'\xf8\x06\x07')  # fields 110 (bytes) and 111 (varint)


def quantized():
    """A Q/DQ model: activations per tensor, weights per channel."""
    rng = np.random.default_rng(9)
    nodes = [
        node('QuantizeLinear', 'input xs xz', 'xq', name='q_x'), node('DequantizeLinear', 'xq xs xz', 'xd', name='dq_x'),
        node('DequantizeLinear', 'wq ws wz', 'wd', name='dq_w', axis=0),
        node('Conv', 'xd wd b1', 'c1', name='conv1', pads=[1, 1, 1, 1]), node('Relu', 'c1', 'r1', name='relu1'),
        node('QuantizeLinear', 'r1 ys yz', 'yq', name='q_y'), node('DequantizeLinear', 'yq ys yz', 'yd', name='dq_y'),
        node('GlobalAveragePool', 'yd', 'g', name='pool'), node('Flatten', 'g', 'output', name='flatten')]
    inits = [constant('xs', np.float32(0.02)), constant('xz', np.int8(3)), constant('ys', np.float32(0.015)), constant('yz', np.uint8(0)),
             constant('ws', (rng.random(4) * 0.002 + 0.001).astype(np.float32)), constant('wz', np.zeros(4, np.int8)),
             constant('wq', rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)), constant('b1', weights(2, 4))]
    save('qdq', nodes, inits, y_shape=('N', 4))


def literal_batch():
    """Files fixed to a batch that spell it inside: Resize's sizes, Slice's ends, Expand's and Reshape's targets."""
    ints = lambda name, *v: constant(name, np.array(v, np.int64))
    first, inits = small_nodes()
    first, last, inits = first[:2], first[2:], inits + [constant('none', np.zeros(0, np.float32))]
    for batch, size in ((1, 1), (4, 4)):
        nodes = first + [
            node('Resize', 'r1 none none sizes', 'up', name='resize', mode='linear', coordinate_transformation_mode='align_corners'),
            node('Slice', 'up zeros ends', 'part', name='slice'),
            node('GlobalAveragePool', 'part', 'mean', name='mean'), node('Expand', 'mean whole', 'wide', name='expand'),
            node('Mul', 'part wide', 'gated', name='gate'), node('Reshape', 'gated pairs', 'pair', name='reshape1'),
            node('Transpose', 'pair', 'swapped', name='swap', perm=[0, 2, 1, 3, 4]),
            node('Reshape', 'swapped whole', 'r1_out', name='reshape2'),
            helper.make_node('GlobalAveragePool', ['r1_out'], ['g'], name='pool')] + last[1:]
        more = [ints('sizes', size, 4, 20, 19), ints('zeros', 0, 0, 1), ints('ends', size, 4, 18), ints('whole', size, 4, 17, 19),
                ints('pairs', size, 2, 2, 17, -1)]
        save(f'literal_batch{batch}', nodes, inits + more, x_shape=(batch, 3, 16, 16), y_shape=(batch, 5), run_shape=(batch, 3, 16, 16))
    nodes = first + [node('Slice', 'r1', 'part', name='slice', starts=[0, 1], ends=[4, 3], axes=[0, 2]),
                     node('GlobalAveragePool', 'part', 'g', name='pool'), node('Squeeze', 'g', 'f', name='squeeze'), last[2]]
    save('literal_batch4_opset9', nodes, inits[:-1], x_shape=(4, 3, 16, 16), y_shape=(4, 5), opset=9, run_shape=(4, 3, 16, 16))
    nodes = first + [helper.make_node('Resize', ['r1', '', '', 'sizes'], ['up'], name='resize', mode='nearest', axes=[-1, 0]),
                     node('GlobalAveragePool', 'up', 'g', name='pool')] + last[1:]
    save('literal_batch4_opset18', nodes, inits[:-1] + [ints('sizes', 20, 4)], x_shape=(4, 3, 16, 16), y_shape=(4, 5), opset=18,
         ir=8, run_shape=(4, 3, 16, 16), checks=False)
    nodes = first + [node('Reshape', 'r1 row', 'output', name='middle')]
    save('bad_mixed_batch', nodes, inits[:2] + [ints('row', 1, -1)], x_shape=(4, 3, 16, 16), y_shape=(1, 4096), run_shape=None)


def relu6_as_minimum():
    """tf.minimum(tf.nn.relu(x), 6) and tf.maximum(x, 0)."""
    nodes, inits = small_nodes()
    nodes[2:3] = [node('Min', 'r1 six', 'm1', name='minimum'), node('Max', 'zero m1', 'm2', name='maximum'),
                  node('GlobalAveragePool', 'm2', 'g', name='pool')]
    inits += [constant('six', np.float32(1.5)), constant('zero', np.float32(0.25))]
    for opset in (9, 13):
        save(f'min_max_opset{opset}', nodes, inits, opset=opset)


def sums():
    """Caffe2's residual add is a Sum; IR version 3 lists initializers as inputs, here before the image."""
    nodes, inits = small_nodes()
    nodes[2:3] = [node('Sum', 'r1 c1', 's1', name='two'), node('Sum', 's1 r1 c1', 's2', name='three'), node('Sum', 's2', 's3', name='one'),
                  node('GlobalAveragePool', 's3', 'g', name='pool')]
    listed = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in reversed(inits)]
    model = save('sum_ir3', nodes, inits, opset=8, ir=3, extra_inputs=listed)
    model.graph.input.append(model.graph.input[0])
    del model.graph.input[0]
    onnx.checker.check_model(model)
    onnx.save(model, str(OUT / 'sum_ir3.onnx'))


def refused():
    """Models that must be refused with a message; no outputs are stored."""
    nodes, inits = small_nodes()
    bad = lambda name, change, **kw: (change(), save(f'bad_{name}', nodes, inits, run_shape=None, checks=False, **kw))

    def reset(op, attribute=None, **kw):
        nodes[1] = helper.make_node(op, ['c1'], ['r1'], name='middle', **kw)

    branch = helper.make_graph([node('Identity', 'c1', 'r1_then')], 'branch', [],
                               [helper.make_tensor_value_info('r1_then', TensorProto.FLOAT, None)])
    bad('subgraph', lambda: reset('If', then_branch=branch, else_branch=branch))
    bad('operator', lambda: reset('Einsum', equation='abcd->abcd'))
    bad('domain', lambda: reset('FusedRelu', domain='com.example'), domains=('com.example',))

    def cycle():
        nodes[1] = node('Add', 'c1 later', 'r1', name='first')
        nodes.insert(2, node('Relu', 'r1', 'later', name='second'))

    bad('cycle', cycle)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    torch_models()
    for make in (same_upper, same_lower, nhwc_input, external, float16, typed_fields, constants, newer, quantized, refused, literal_batch,
                 relu6_as_minimum, sums):
        make()
    try:
        import onnxruntime
    except ImportError:
        print('onnxruntime is not installed: .npy files left as they are')
        onnxruntime = None
    for name, shape in MADE:
        if onnxruntime and shape:
            x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
            session = onnxruntime.InferenceSession(str(OUT / f'{name}.onnx'), providers=['CPUExecutionProvider'])
            np.save(OUT / f'input_{"x".join(map(str, shape))}.npy', x)
            np.save(OUT / f'{name}.out.npy', session.run(None, {session.get_inputs()[0].name: x})[0])
        print(f'{(OUT / f"{name}.onnx").stat().st_size:7d} {name}')


main()
