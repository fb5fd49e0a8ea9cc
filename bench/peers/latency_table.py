#!/usr/bin/env python3
"""The paper's Table 9 for this machine: latency of five architectures in floats and int8, here and in engines.

    bench/peers/latency_table.py build/release/mqbench build/release/program_bench WORK [--arch A]... [--engine E]...
                                 [--without E]... [--seconds S] [--prefix "chrt -r 50"]

Writes the table in Markdown on standard output. WORK keeps the networks (drawn weights: they do not change a dense
kernel's time), their bundles, and rows.json with what was measured, which is not measured again. Engines are those of
adapters/install (MQBENCH_ENGINES); each runs the network quantized for the target that suits it best, so that all
that can compute in 8 bit do. --prefix starts every measurement, for example with real-time priority, which keeps other
programs of the machine out of it. TVM is the slowest by far, and compiles for up to half a minute twice for each row,
which makes about twenty minutes of the whole table: --without tvm leaves it out. Under the table stands what an
engine could not run, and why.
"""
import argparse
import json
import os
import shlex
import subprocess

ARCHITECTURES = ["resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0", "regnetx_600mf"]
TARGETS = {"mqbench": "fbgemm_lib", "onnxruntime": "fbgemm_lib", "openvino": "openvino", "tflite": "tflite",
           "fbgemm": "fbgemm_lib", "tvm": "tvm"}
REMARKS = {"fbgemm": "fbgemm float32: PyTorch's own float operators, called one by one, as its quantized ones are.",
           "tvm": "tvm int8: its front end makes floats of the codes, so this is computed in float32 too. Not tuned."}
DATA = "fractal:,split=%s,images=1000,size=224,classes=1000,limit=16"


def make_bundle(options, architecture, target):
    model = os.path.join(options.work, architecture + ".onnx")
    bundle = os.path.join(options.work, architecture + "-" + target)
    if not os.path.exists(model):
        subprocess.run([options.program_bench, "--write", architecture, model], check=True)
    if not os.path.exists(os.path.join(bundle, "manifest.json")):
        subprocess.run([options.program, "quantize", model, "--target", target, "--data", DATA % "train",
                        "--eval-data", DATA % "test", "--calib", "16", "-o", bundle, "-q"],
                       check=True, stdout=subprocess.DEVNULL)
    return bundle


def measure(options, architecture, engine, batch):
    bundle = make_bundle(options, architecture, TARGETS[engine])
    command = shlex.split(options.prefix) + [options.program, "latency", bundle, "--batch", str(batch), "--engine",
                                             engine, "--seconds", str(options.seconds), "--json", "-q"]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(answer.stdout)["rows"]


def measure_all(options):
    path = os.path.join(options.work, "rows.json")
    rows = json.load(open(path)) if os.path.exists(path) else []
    for architecture in options.arch or ARCHITECTURES:
        for batch in (1, 8):
            for engine in options.engine or list(TARGETS):
                is_known = any((r["arch"], r["engine"], r["batch"]) == (architecture, engine, batch) for r in rows)
                if is_known or engine in options.without:
                    continue
                found = measure(options, architecture, engine, batch)
                rows += [dict(row, arch=architecture) for row in found]
                with open(path, "w") as file:
                    json.dump(rows, file, indent=1)
    return rows


def cell(rows, architecture, engine, batch, precision):
    for r in rows:
        if (r["arch"], r["engine"], r["batch"], r["precision"]) == (architecture, engine, batch, precision):
            return "%.2f (%.2f)" % (r["median_ms"], r["p90_ms"]) if r["median_ms"] else "-"
    return ""


def print_table(rows):
    engines = sorted({r["engine"] for r in rows}, key=list(TARGETS).index)
    versions = {r["engine"]: r["version"] for r in rows if r["version"]}
    columns = ["%s %s" % (e, p) for e in engines for p in ("float32", "int8")
               if any(r["engine"] == e and r["precision"] == p and r["median_ms"] for r in rows)]
    print("| network | batch | " + " | ".join(columns) + " |")
    print("|---|---:|" + "---:|" * len(columns))
    for architecture in ARCHITECTURES:
        for batch in (1, 8):
            cells = [cell(rows, architecture, *column.split()[:1], batch, column.split()[1]) for column in columns]
            if any(cells):
                print("| %s | %d | %s |" % (architecture, batch, " | ".join(cells)))
    print("\n" + ", ".join("%s %s" % (e, versions[e]) for e in engines if e in versions))
    skipped = {(r["engine"], r["precision"], r["skipped_reason"]) for r in rows if r["skipped_reason"]}
    for engine, precision, reason in sorted(skipped):
        print("- %s %s: %s" % (engine, precision, reason))
    for engine in engines:
        if engine in REMARKS:
            print("- " + REMARKS[engine])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("program_bench")
    parser.add_argument("work")
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES)
    parser.add_argument("--engine", action="append", choices=list(TARGETS))
    parser.add_argument("--without", action="append", choices=list(TARGETS), default=[])
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--prefix", default="")
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    print_table(measure_all(options))


if __name__ == "__main__":
    main()
