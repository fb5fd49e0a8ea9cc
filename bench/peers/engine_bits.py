"""Whether an integer program equals a real engine, element by element, on every tensor that both have.

    engines/bin/python bench/peers/engine_bits.py BUILD SHARED [CASE...]

`engines` is the environment of adapters/install, with Pillow besides; BUILD a build with MQ_BENCH=ON; SHARED holds
models/, cifar10jpeg/ and imagenet200/. A case is NETWORK-TARGET-ENGINE-FORMAT-WBITS-ABITS; without any, the twins are
compared: every tenth image of CIFAR-10's test.tar on ResNet-20, the 200 photographs on MobileNet. Prints a line for
each case; exit status 1 if a twin differs. What is missing (engine, data) is told as skipped.
"""
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
ADAPTERS = os.path.join(HERE, "..", "..", "adapters")
TWINS = ["%s-%s-%d-%d" % (network, twin, w, a)
         for network in ("resnet20", "mobilenet")
         for twin in ("onnx_qoperator-onnxruntime-onnx_qoperator", "fbgemm_lib-fbgemm-onnx_qdq",
                      "tflite-tflite_ref-tflite", "xnnpack-tflite-tflite")
         for w, a in ((8, 8), (4, 8), (4, 4))]


# ---- Images --------------------------------------------------------------------------------------------------

def cifar_images(shared):
    from PIL import Image

    mean, std = [numpy.array(v, numpy.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    images = []
    with tarfile.open(os.path.join(shared, "cifar10jpeg", "test.tar")) as tar:
        names = sorted(name for name in tar.getnames() if name.endswith((".jpg", ".png")))
        for name in names[::10]:
            pixels = numpy.asarray(Image.open(io.BytesIO(tar.extractfile(name).read())).convert("RGB"), numpy.float32)
            images.append(((pixels / numpy.float32(255) - mean) / std).transpose(2, 0, 1))
    return numpy.stack(images)


def photographs(shared):
    """Short side 182, the middle 160 x 160, x / 127.5 - 1."""
    from PIL import Image

    folder = os.path.join(shared, "imagenet200")
    images = []
    with open(os.path.join(folder, "labels.txt")) as file:
        names = [line.split()[0] for line in file if line.strip()]
    for name in names:
        image = Image.open(os.path.join(folder, name)).convert("RGB")
        scale = 182 / min(image.size)
        width, height = [max(182, round(n * scale)) for n in image.size]
        image = image.resize((width, height), Image.BILINEAR)
        left, top = (width - 160) // 2, (height - 160) // 2
        pixels = numpy.asarray(image.crop((left, top, left + 160, top + 160)), numpy.float32)
        images.append((pixels / numpy.float32(127.5) - numpy.float32(1)).transpose(2, 0, 1))
    return numpy.stack(images)


NETWORKS = {
    "resnet20": ("resnet20_cifar10.onnx", cifar_images, "tar:%s/cifar10jpeg/train-0.tar,preset=cifar", 50),
    "mobilenet": ("mobilenet_v1_0.5_160.onnx", photographs,
                  "folder:%s/imagenet200,list=labels.txt,resize=182,crop=160,mean=0.5/0.5/0.5,std=0.5/0.5/0.5", 10),
}


# ---- Both sides ----------------------------------------------------------------------------------------------

def run(arguments):
    answer = subprocess.run(arguments, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError("%s: %s" % (os.path.basename(arguments[0]), answer.stderr.strip().splitlines()[-1:]))
    return answer.stdout


def expose(model, path):
    """The model with its integers as further outputs; their names."""
    import onnx
    from onnx import helper

    proto = onnx.load(model)
    constants = {t.name for t in proto.graph.initializer}
    types = {v.name: v for v in onnx.shape_inference.infer_shapes(proto).graph.value_info}
    names = []
    for node in proto.graph.node:
        name = node.output[0]
        is_integer = node.op_type == "QuantizeLinear" or node.op_type.startswith("Q") or (
            node.op_type == "Clip" and node.input[0] in names)
        if is_integer and name not in constants:
            names.append(name)
    have = {o.name for o in proto.graph.output}
    for name in names:
        if name not in have:
            proto.graph.output.append(types.get(name) or helper.make_empty_tensor_value_info(name))
    onnx.save(proto, path)
    return names


def expose_tflite(model, path):
    """The same of a TFLite file."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    with open(model, "rb") as file:
        proto = schema.ModelT.InitFromPackedBuf(bytearray(file.read()))
    graph = proto.subgraphs[0]
    graph.outputs = list(graph.outputs)
    for operator in graph.operators:
        for index in operator.outputs:
            if graph.tensors[index].type == schema.TensorType.INT8 and index not in graph.outputs:
                graph.outputs.append(index)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(proto.Pack(builder), b"TFL3")
    with open(path, "wb") as file:
        file.write(bytes(builder.Output()))


def run_engine(engine, model, images, batch, directory):
    report = os.path.join(directory, "report.json")
    run([os.path.join(ADAPTERS, engine), "--model", model, "--input", "input=" + images, "--output", directory,
         "--report", report, "--batch", str(batch), "--threads", "2"])
    with open(report) as file:
        answer = json.load(file)
    return {o["name"]: os.path.join(directory, o["file"]) for o in answer["outputs"]}, answer


def codes_of(array, tensor):
    """Engine values as codes: integers as they are, floats divided by the scale."""
    if array.dtype != numpy.float32:
        return array.astype(numpy.int64)
    return numpy.rint(array.astype(numpy.float64) / tensor["scale"]).astype(numpy.int64) + tensor["zero_point"]


def compare(directory, outputs):
    """Per tensor: (name, elements, differing, largest step)."""
    rows = []
    with open(os.path.join(directory, "tensors.json")) as file:
        tensors = json.load(file)
    for tensor in tensors:
        stem = tensor["name"]
        path = outputs.get(stem + "_clipped") or outputs.get(stem + "_quantized") or outputs.get(stem)
        if not path or tensor["scale"] == 0:
            continue
        ours = numpy.load(os.path.join(directory, tensor["file"])).astype(numpy.int64)
        if tensor["channels_last"]:
            ours = numpy.moveaxis(ours, -1, 1)
        theirs = codes_of(numpy.load(path), tensor).reshape(ours.shape)
        steps = numpy.abs(ours - theirs)
        rows.append((stem, steps.size, int((steps != 0).sum()), int(steps.max()), tensor["output"]))
    return rows


def compare_case(case, build, shared, cache):
    network, target, engine, form, w_bits, a_bits = case.split("-")
    model, load, data, batch = NETWORKS[network]
    probe = json.loads(run([os.path.join(ADAPTERS, engine), "--probe"]))
    if not probe["available"]:
        return "%s: skipped: %s" % (case, probe["reason"]), True
    with tempfile.TemporaryDirectory() as directory:
        images = os.path.join(directory, "x.npy")
        if network not in cache:
            cache[network] = load(shared)
        numpy.save(images, cache[network])
        bundle, stem = os.path.join(directory, "bundle"), os.path.join(directory, "model")
        run([os.path.join(build, "mqbench"), "quantize", os.path.join(shared, "models", model), "--target", target,
             "--data", data % shared, "--calib", "128", "--w-bits", w_bits, "--a-bits", a_bits, "-o", bundle, "-q"])
        run([os.path.join(build, "mqbench"), "export", bundle, "--format", form, "-o", stem, "-q"])
        run([os.path.join(build, "program_outputs"), bundle, images, directory])
        if form == "tflite":
            expose_tflite(stem + ".tflite", stem + ".exposed")
        else:
            expose(stem + ".onnx", stem + ".exposed")
        outputs, report = run_engine(engine, stem + ".exposed", images, batch, directory)
        rows = compare(directory, outputs)
    differing = [row for row in rows if row[2]]
    final = [row for row in rows if row[4]]
    integers = sum(node["is_integer"] for node in report["nodes"])
    text = "%s: %s %s, %d of %d nodes in integers; %d tensors, %d elements, %d differ, largest step %d; outputs: %s" % (
        case, engine, report["version"], integers, len(report["nodes"]), len(rows), sum(r[1] for r in rows),
        sum(r[2] for r in rows), max(r[3] for r in rows), ", ".join("%d of %d" % (r[2], r[1]) for r in final))
    for row in differing[:5]:
        text += "\n    %s: %d of %d differ, largest step %d" % (row[0], row[2], row[1], row[3])
    return text, not differing


def main(build, shared, *cases):
    if not os.path.isdir(os.path.join(shared, "models")):
        return print("skipped: no %s" % os.path.join(shared, "models"))
    equal, cache = True, {}
    for case in cases or TWINS:
        text, is_equal = compare_case(case, build, shared, cache)
        print(text, flush=True)
        equal &= is_equal
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
