"""What all adapters share: the command line, batches, times and the report (docs/adapters.md).

An adapter calls main(NAME, FORMATS, PACKAGE, load). `load(model, threads, batch)` answers an engine with
    run({input name: array}) -> [(output name, array)]       for exactly `batch` images
    nodes() -> [(name, operator, is_integer)]                what it made of the model; may be empty
"""
import argparse
import importlib
import importlib.metadata
import json
import os
import sys
import time

PROTOCOL = 1


def environment():
    """Where adapters/install puts the engines."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("MQBENCH_ENGINES") or os.path.join(cache, "mqbench", "engines")


def enter_environment():
    """Goes on in the private environment's own interpreter, if there is one."""
    home = environment()
    python = os.path.join(home, "bin", "python")
    if os.path.realpath(sys.prefix) != os.path.realpath(home) and os.access(python, os.X_OK):
        os.execv(python, [python] + sys.argv)


def version_of(package):
    """Its version; ImportError says why it cannot be used."""
    module, _, distribution = package.partition(":")
    importlib.import_module(module)
    return importlib.metadata.version(distribution or module)


def probe(name, formats, package):
    answer = {"protocol": PROTOCOL, "engine": name, "formats": formats, "available": True}
    try:
        answer["version"] = version_of(package)
    except Exception as error:  # whatever a half-installed engine throws at its import
        answer["available"] = False
        answer["reason"] = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    print(json.dumps(answer))


def read_inputs(arguments):
    import numpy

    inputs = {}
    for text in arguments:
        name, _, path = text.rpartition("=")
        inputs[name] = numpy.load(path, allow_pickle=False)
    return inputs


def batches(inputs, batch):
    """Slices of `batch` images; the last is filled up with its own last image."""
    import numpy

    images = len(next(iter(inputs.values())))
    for first in range(0, images, batch):
        part = {name: array[first:first + batch] for name, array in inputs.items()}
        missing = batch - len(next(iter(part.values())))
        if missing:
            part = {name: numpy.concatenate([array, numpy.repeat(array[-1:], missing, 0)])
                    for name, array in part.items()}
        yield {name: numpy.ascontiguousarray(array) for name, array in part.items()}, batch - missing


def run_all(engine, inputs, options):
    parts = list(batches(inputs, options.batch))
    for _ in range(options.warmup):
        for part, _ in parts:
            engine.run(part)
    times, results = [], []
    for _ in range(options.repeat):
        results = []
        for part, count in parts:
            begin = time.perf_counter()
            outputs = engine.run(part)
            times.append(1000 * (time.perf_counter() - begin))
            results.append([(name, array[:count]) for name, array in outputs])
    return results, times


def write_report(name, package, engine, results, times, options):
    import numpy

    outputs = []
    for i, (output, _) in enumerate(results[0]):
        array = numpy.concatenate([part[i][1] for part in results])
        file = "out%d.npy" % i
        numpy.save(os.path.join(options.output, file), numpy.ascontiguousarray(array))
        outputs.append({"name": output, "file": file})
    report = {"protocol": PROTOCOL, "engine": name, "version": version_of(package), "outputs": outputs,
              "milliseconds": times, "threads": options.threads, "batch": options.batch,
              "nodes": [{"name": n, "op": op, "is_integer": bool(i)} for n, op, i in engine.nodes()]}
    with open(options.report, "w") as file:
        json.dump(report, file)


def parse_options(name):
    parser = argparse.ArgumentParser(prog=name, description="mqbench adapter, see docs/adapters.md")
    parser.add_argument("--probe", action="store_true", help="print what this adapter can do, as JSON")
    parser.add_argument("--version", action="store_true", help="print the engine's version")
    parser.add_argument("--model", help="the exported model")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy")
    parser.add_argument("--output", help="directory for outputs")
    parser.add_argument("--report", help="JSON to write")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    if not options.probe and not options.version:
        for key in ("model", "input", "output", "report"):
            if not getattr(options, key):
                parser.error("--%s is missing" % key)
        for key in ("batch", "threads", "repeat"):
            if getattr(options, key) < 1:
                parser.error("--%s: expected 1 or more" % key)
    return options


def main(name, formats, package, load):
    enter_environment()
    options = parse_options(name)
    if options.probe:
        return probe(name, formats, package)
    try:
        if options.version:
            return print(version_of(package))
        engine = load(options.model, options.threads, options.batch)
        results, times = run_all(engine, read_inputs(options.input), options)
        write_report(name, package, engine, results, times, options)
    except Exception as error:
        text = " ".join(str(error).split())
        sys.exit("%s: %s: %s" % (name, type(error).__name__, text[:600]))
