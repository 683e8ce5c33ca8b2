#!/usr/bin/env python3
"""Compiles every .cu file with nvcc and lists what each kernel takes of a GPU: bench/results/ptxas.md.

    bench/ptxas.py [--check] [--arch sm_80 --arch sm_90] [FILE.cu ...]

No GPU is needed. The exit code is 1 if nvcc or ptxas warns, or if a kernel spills registers to memory; --check leaves the
table as it is and also fails if it would change. nvcc is looked for in $NVCC, on the PATH and in /usr/local/cuda.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "bench/results/ptxas.md"
# As kernels/cuda/cuda.cmake compiles them.
FLAGS = ["-std=c++20", "-O3", "-fmad=false", "-lineinfo",
         "-Xcompiler=-Wall,-Wextra,-Wno-unused-parameter,-Wno-missing-field-initializers,-ffp-contract=off,-fno-strict-aliasing"]
# Kernels with a mistake each: they show what the emulator catches and never run on a GPU.
LEFT_OUT = {"tests/simt/broken.cu"}


def find_nvcc():
    for candidate in (os.environ.get("NVCC"), shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if candidate and Path(candidate).exists():
            return candidate
    sys.exit("ptxas: no nvcc: set NVCC, or install the CUDA toolkit (12.0 or later)")


def cuda_files():
    found = sorted(p for folder in ("kernels", "tests") for p in (ROOT / folder).rglob("*.cu"))
    return [f for f in (str(p.relative_to(ROOT)) for p in found) if f not in LEFT_OUT]


def compile_one(nvcc, path, arch):
    """nvcc's and ptxas's output for one file, and whether it compiled without a warning."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [nvcc, *FLAGS, f"-arch={arch}", "-I", str(ROOT), "-cubin", "-Xptxas", "-v", "-Werror", "all-warnings", "-o",
             f"{folder}/out.cubin", path],
            cwd=ROOT, capture_output=True, text=True)
    text = done.stdout + done.stderr
    return text, done.returncode == 0 and "warning" not in text.lower()


def plain(name):
    """`rms_norm_kernel<float>` of `void wavllm::kernels::(anonymous namespace)::rms_norm_kernel<float>(float const*)`."""
    name = name.replace("(anonymous namespace)::", "").replace("<unnamed>::", "")
    depth, begin = 0, 0
    for i, c in enumerate(name):
        if c == "<":
            depth += 1
        elif c == ">":
            depth -= 1
        elif depth == 0 and c in ": ":
            begin = i + 1
        elif depth == 0 and c == "(":
            return name[begin:i]
    return name[begin:]


def demangle(names):
    tool = shutil.which("cu++filt") or shutil.which("c++filt")
    if not tool or not names:
        return names
    done = subprocess.run([tool, *names], capture_output=True, text=True, check=True)
    return [plain(line) for line in done.stdout.splitlines()]


def kernels(text):
    """(mangled name, registers, static shared, stack, spill stores, spill loads) of each entry function."""
    rows, name, stack = [], None, (0, 0, 0)
    for line in text.splitlines():
        if m := re.search(r"Compiling entry function '(\S+)'", line):
            name, stack = m[1], (0, 0, 0)
        elif m := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack = tuple(map(int, m.groups()))
        elif name and (m := re.search(r"Used (\d+) registers", line)):
            shared = re.search(r"(\d+) bytes smem", line)
            rows.append((name, int(m[1]), int(shared[1]) if shared else 0, *stack))
            name = None
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", action="append", help="default: sm_80 and sm_90")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the table is not up to date")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="files compiled at a time")
    parser.add_argument("files", nargs="*", help="default: all, and the table is written")
    args = parser.parse_args()
    nvcc = find_nvcc()
    archs = args.arch or ["sm_80", "sm_90"]
    files = args.files or cuda_files()
    jobs = [(f, a) for f in files for a in archs]
    with ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(lambda job: compile_one(nvcc, *job), jobs))

    failures, rows = [], {}
    for (path, arch), (text, clean) in zip(jobs, results):
        if not clean:
            complaints = [line for line in text.splitlines() if not line.startswith("ptxas info") and "spill" not in line]
            failures.append(f"{path} ({arch}) does not compile without a warning:\n" + "\n".join(complaints))
        found = kernels(text)
        for name, (_, registers, shared, stack, stores, loads) in zip(demangle([k[0] for k in found]), found):
            rows.setdefault((path, name), {})[arch] = (registers, shared, stack, stores + loads)
            if stores + loads:
                failures.append(f"{path}: {name} ({arch}) spills: {stores} bytes stored, {loads} loaded; it keeps too much in "
                                "registers (a smaller tile, or fewer threads in __launch_bounds__)")

    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release [\d.]+, V([\d.]+)", version)
    lines = ["# What each kernel takes of a GPU", "",
             f"By `bench/ptxas.py`, nvcc {release[1] if release else 'of unknown version'}; no GPU was at hand. An SM has 65536 "
             "registers for at most 2048 threads: more than 32 a thread means fewer threads at a time. Shared memory is the "
             "static part; dynamic shared memory is the launch's.", "",
             "| file | kernel | " + " | ".join(f"registers {a}" for a in archs) + " | shared bytes | stack bytes | spilled bytes |",
             "| --- | --- |" + " ---: |" * (len(archs) + 3)]
    for (path, name), by_arch in sorted(rows.items()):
        some = [by_arch[a] for a in archs if a in by_arch]
        lines.append(f"| {path} | `{name}` | " + " | ".join(str(by_arch[a][0]) if a in by_arch else "-" for a in archs) +
                     f" | {max(s[1] for s in some)} | {max(s[2] for s in some)} | {max(s[3] for s in some)} |")
    table = "\n".join(lines) + "\n"
    if args.files:
        print(table)
    elif args.check:
        if not TABLE.exists() or TABLE.read_text() != table:
            failures.append(f"{TABLE.relative_to(ROOT)} is not what the kernels give now: run bench/ptxas.py")
    else:
        TABLE.write_text(table)
    for failure in failures:
        print(f"ptxas: {failure}", file=sys.stderr)
    print(f"ptxas: {len(rows)} kernels of {len(files)} files for {', '.join(archs)}: "
          f"{len(failures)} failures" if failures else
          f"ptxas: {len(rows)} kernels of {len(files)} files for {', '.join(archs)}: no warning, no spill")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
