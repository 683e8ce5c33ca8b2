#!/usr/bin/env python3
"""Everything that a GPU is needed for, in one go: `./dev gpu` on a machine with a GPU and the CUDA toolkit. docs/gpu.md.

    ./dev gpu [--device sim] [--pack build/gpu-pack.tar.gz] [--minutes 8] [--build-dir build-gpu] [--out bench/results]

Configures, builds, runs every case on the device, has compute-sanitizer watch some of them, times the kernels beside
cuBLASLt and PyTorch, profiles one training step, and writes one report as JSON and as Markdown. Needs no network, and of
the libraries only what the archive of `./dev gpu-pack` brings. A step that fails is reported and does not stop the others;
the exit code is 0 only if none failed. --device sim rehearses all of it on a machine without a GPU.
"""

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import building  # noqa: E402
import report  # noqa: E402
import steps  # noqa: E402
from runner import Runner  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent


def main():
    parser = argparse.ArgumentParser(prog="dev gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=["cuda", "sim"], default="cuda")
    parser.add_argument("--pack", type=Path, default=ROOT / "build/gpu-pack.tar.gz",
                        help="archive of ./dev gpu-pack; unpacked only if the system lacks something")
    parser.add_argument("--packed", action="store_true", help="take the archive's libraries even if nothing is lacking")
    parser.add_argument("--kernels-only", action="store_true", help="leave out the models, and what they need")
    parser.add_argument("--minutes", type=float, default=8, help="for everything; each step has its share (8)")
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build-gpu")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results", help="folder of the report")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    args.build_dir = args.build_dir.resolve()
    args.pack = args.pack.resolve()

    run = Runner(ROOT, args.build_dir / "gpu-logs", args.minutes * 60)
    results = {"device": args.device, "began": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
               "rehearsal": args.device == "sim"}
    results["machine"] = steps.machine(run, args)
    built = building.build(run, args, results)
    if built:
        steps.cases(run, args, results)
        steps.sanitizers(run, args, results)
        steps.kernels(run, args, results)
        steps.peers(run, args, results)
        steps.training_step(run, args, results)
    results["steps"] = run.steps
    results["seconds"] = round(run.elapsed(), 1)
    results["ok"] = built and run.ok()
    paths = report.write(results, args.out)
    for path in paths:
        print(f"== {path}")
    failed = [s["name"] for s in run.steps if not s["ok"]]
    print(f"== gpu: {run.elapsed():.0f} s; " + (f"failed: {', '.join(failed)}" if failed else "nothing failed"))
    return 0 if results["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
