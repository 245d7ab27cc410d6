"""What each step of a served model takes on the GPU, kernel by kernel, from what kernel_trace.cc wrote down.

Kernels overlap: each starts while the one in front ends, and waits. So a kernel is given the time from the end of what
ended before it to its own end. Steps of the same kernels over as many rows are one line, with the median of their times
and the mean of each kernel's. Steps that stand alone take what the host takes, too: a prompt's first step has the pause
before it.

  CUDA_INJECTION64_PATH=/tmp/kernel_trace.so TRACE_FOLDER=/tmp/trace node dist/bench/gpu/serving.js ...
  python3 bench/gpu/kernel_steps.py /tmp/trace [--least-ms 15] [--kernels 20] > steps.json
"""

import argparse
import collections
import json
import pathlib
import re
import statistics
import struct
import subprocess
import sys

RECORD = struct.Struct("<qqII")  # as kernel_trace.cc has it
# The first kernel of a step: rows times these blocks of it.
FIRST_KERNEL = "EmbedKernel"
BLOCKS_A_ROW = 5


def short_names(names: list[str]) -> list[str]:
    """Kernels without namespaces and arguments, with their template's numbers."""
    plain = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    short = []
    for name in plain.splitlines():
        name = re.sub(r"\(anonymous namespace\)::|skein::cuda::|^void ", "", name)
        depth, end = 0, len(name)
        for place, letter in enumerate(name):
            depth += (letter == "<") - (letter == ">")
            if letter == "(" and depth == 0:
                end = place
                break
        short.append(name[:end])
    return short


def read_steps(file: pathlib.Path) -> list[dict]:
    names = short_names(file.with_suffix(".names").read_text().splitlines())
    records = sorted(RECORD.iter_unpack(file.read_bytes()), key=lambda record: record[1])
    first = {number for number, name in enumerate(names) if FIRST_KERNEL in name}
    steps, latest = [], records[0][0] if records else 0
    for start, end, name, size in records:
        if name in first:
            steps.append({"rows": size // BLOCKS_A_ROW, "begin": end, "end": end, "kernels": []})
        if steps:
            steps[-1]["kernels"].append((name, max(0, end - latest)))
            steps[-1]["end"] = end
        latest = max(latest, end)
    alike = collections.defaultdict(list)
    for step in steps:
        alike[step["rows"], tuple(sorted({name for name, _ in step["kernels"]}))].append(step)
    result = []
    for (rows, kinds), group in alike.items():
        times = [(step["end"] - step["begin"]) / 1e6 for step in group]
        kernels = []
        for kind in kinds:
            took = [ns for step in group for name, ns in step["kernels"] if name == kind]
            calls, ms = len(took) / len(group), sum(took) / len(group) / 1e6
            kernels.append({"kernel": names[kind], "calls": round(calls, 2), "ms": round(ms, 4)})
        kernels.sort(key=lambda kernel: -kernel["ms"])
        ms, total_ms = round(statistics.median(times), 3), round(sum(times), 1)
        result.append({"rows": rows, "steps": len(group), "ms": ms, "totalMs": total_ms, "kernels": kernels})
    return sorted(result, key=lambda step: -step["totalMs"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--least-ms", type=float, default=15, help="steps that took less in all are left out")
    parser.add_argument("--kernels", type=int, default=20, help="the longest of each step")
    options = parser.parse_args()
    files = sorted(options.folder.glob("*.bin"))
    if not files:
        sys.exit(f"{options.folder}: no trace in it")
    steps = [step for file in files for step in read_steps(file) if step["totalMs"] >= options.least_ms]
    for step in steps:
        step["kernels"] = step["kernels"][: options.kernels]
    print(json.dumps({"benchmark": "kernel steps", "steps": steps}, indent=1))


if __name__ == "__main__":
    main()
