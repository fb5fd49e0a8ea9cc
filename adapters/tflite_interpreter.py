"""The TFLite interpreter, with whichever kernels. Images go in and come out as N x C x H x W floats: the
interpreter's own are N x H x W x C, of the tensor's type."""
MOVES = {"SHAPE", "RESHAPE", "PAD", "TRANSPOSE", "CONCATENATION", "STRIDED_SLICE", "QUANTIZE", "DEQUANTIZE"}


class Engine:
    def __init__(self, kernels, model, threads, batch):
        import ai_edge_litert.interpreter as litert

        self.interpreter = litert.Interpreter(
            model_path=model, num_threads=threads,
            experimental_op_resolver_type=getattr(litert.OpResolverType, kernels))
        for detail in self.interpreter.get_input_details():
            if detail["shape"][0] != batch:
                self.interpreter.resize_tensor_input(detail["index"], [batch] + list(detail["shape"][1:]))
        self.interpreter.allocate_tensors()
        self.inputs = self.interpreter.get_input_details()
        self.outputs = self.interpreter.get_output_details()

    def _find(self, inputs, detail):
        if detail["name"] in inputs:
            return inputs[detail["name"]]
        if len(inputs) == 1 and len(self.inputs) == 1:
            return next(iter(inputs.values()))
        raise ValueError("no input '%s'" % detail["name"])

    def run(self, inputs):
        import numpy

        for detail in self.inputs:
            array = self._find(inputs, detail)
            if array.ndim == 4:
                array = array.transpose(0, 2, 3, 1)
            scale, zero = detail["quantization"]
            if detail["dtype"] != numpy.float32 and array.dtype == numpy.float32:
                info = numpy.iinfo(detail["dtype"])
                ratio = array / numpy.float32(scale)  # halves away from zero, as the kernels round
                codes = numpy.trunc(ratio + numpy.copysign(numpy.float32(0.5), ratio)) + zero
                array = numpy.clip(codes, info.min, info.max).astype(detail["dtype"])
            self.interpreter.set_tensor(detail["index"], numpy.ascontiguousarray(array))
        self.interpreter.invoke()
        return [(detail["name"], self._output(detail)) for detail in self.outputs]

    def _output(self, detail):
        import numpy

        array = self.interpreter.get_tensor(detail["index"])
        scale, zero = detail["quantization"]
        if detail["dtype"] != numpy.float32:
            array = (array.astype(numpy.int32) - zero).astype(numpy.float32) * numpy.float32(scale)
        return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array

    def nodes(self):
        """The operators of the file; those that a delegate took are called XNNPACK and their name, and the delegate's
        own nodes are left out."""
        import numpy

        types = {detail["index"]: detail["dtype"] for detail in self.interpreter.get_tensor_details()}
        ops = self.interpreter._get_ops_details()
        taken = delegated(ops)
        found = []
        for op in ops:
            kind = op["op_name"]
            outputs = [types.get(index) for index in op["outputs"]]
            if kind not in MOVES and kind != "DELEGATE":
                name = ("XNNPACK " if op["index"] in taken else "") + kind
                found.append(("%d" % op["index"], name, all(t in (numpy.int8, numpy.uint8, numpy.int16)
                                                            for t in outputs)))
        return found


def delegated(ops):
    """Indices of the operators between a delegate's outputs and its inputs."""
    makers = {output: op for op in ops if op["op_name"] != "DELEGATE" for output in op["outputs"]}
    taken = set()
    for delegate in (op for op in ops if op["op_name"] == "DELEGATE"):
        inputs, wanted = set(delegate["inputs"]), list(delegate["outputs"])
        while wanted:
            op = makers.get(wanted.pop())
            if op and op["index"] not in taken:
                taken.add(op["index"])
                wanted.extend(set(op["inputs"]) - inputs)
    return taken


def loader(kernels):
    return lambda model, threads, batch: Engine(kernels, model, threads, batch)
