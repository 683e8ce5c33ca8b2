"""The steps of ./dev gpu after the build."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

# What compute-sanitizer watches: it makes kernels ten to a hundred times slower, so one op of each kind of kernel.
WATCHED = "rms_norm,softmax,matmul,linear,lora_linear,attention,cross_entropy,ctc_loss,contiguous,conv1d"
CASES_OF_OPS = ["-sf=*tests/ops/device*", "-tc=*float64*"]


def machine(run, args):
    found = {}
    code, text = run.quietly(["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit",
                              "--format=csv,noheader"])
    if code == 0 and text.strip():
        names = ["gpu", "driver", "memory", "compute_capability", "max_clock", "power_limit"]
        found.update(zip(names, (part.strip() for part in text.strip().splitlines()[0].split(","))))
    candidates = [os.environ.get("NVCC"), shutil.which("nvcc"), f"{os.environ.get('CUDA_HOME', '')}/bin/nvcc",
                  "/usr/local/cuda/bin/nvcc", "/opt/cuda/bin/nvcc"]
    if nvcc := next((c for c in candidates if c and Path(c).exists()), None):
        found["nvcc"] = nvcc
        _, text = run.quietly([nvcc, "--version"])
        if m := re.search(r"V([\d.]+)", text):
            found["cuda"] = m[1]
    for tool in ("g++", "cmake"):
        code, text = run.quietly([tool, "--version"])
        found[tool] = text.splitlines()[0] if code == 0 and text else "missing"
    try:
        found["cpu"] = next(line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    found["cores"] = args.jobs
    _, text = run.quietly([sys.executable, "-c", "import importlib.util as u, pathlib as p; s = u.find_spec('nvidia'); "
                           "print('\\n'.join(str(f) for r in (s.submodule_search_locations if s else []) "
                           "for f in sorted(p.Path(r).iterdir()) if (f / 'lib').is_dir()))"])
    found["nvidia_packages"] = [line for line in text.splitlines() if line.startswith("/")]
    found["tools"] = [t for t in ("ninja", "compute-sanitizer", "nsys", "ncu") if find_tool(t)]
    code, text = run.quietly(["git", "rev-parse", "HEAD"])
    found["commit"] = text.strip() if code == 0 else "unknown"
    if code == 0:
        _, changed = run.quietly(["git", "status", "--porcelain", "--untracked-files=no"])
        found["changed_files"] = len(changed.splitlines())
    if args.device == "cuda":
        lacks = [what for what, key in (("a GPU that nvidia-smi lists", "gpu"), ("nvcc", "nvcc")) if key not in found]
        run.note("machine", not lacks, f"no {' and no '.join(lacks)}" if lacks else
                 f"{found['gpu']}, driver {found['driver']}, CUDA {found.get('cuda')}, {args.jobs} cores")
    else:
        run.note("machine", True, f"rehearsal on the emulator, {args.jobs} cores")
    return found


def find_tool(name):
    return shutil.which(name) or next((str(p) for p in (Path("/usr/local/cuda/bin") / name,) if p.exists()), None)


def doctest_judge(results, key):
    """Counts of a doctest run, and the names of what failed."""
    def judge(code, text):
        found = re.search(r"test cases:\s*(\d+) \|\s*(\d+) passed \|\s*(\d+) failed", text)
        asserts = re.search(r"assertions:\s*(\d+) \|\s*(\d+) passed \|\s*(\d+) failed", text)
        failed = sorted({m.strip() for m in re.findall(r"^TEST CASE:\s+(.*)$", text, re.M)})
        counts = {"cases": int(found[1]), "passed": int(found[2]), "failed": int(found[3]),
                  "assertions": int(asserts[1]) if asserts else 0} if found else {}
        results[key] = {**counts, "failing": failed, "exit_code": code}
        if not found:
            return False, f"ended without a summary, exit code {code}" + (f", last in: {failed[-1]}" if failed else "")
        if counts["cases"] == 0 or counts["assertions"] == 0:
            return False, "nothing was tested"
        text = f"{counts['passed']} passed, {counts['failed']} failed, {counts['assertions']} assertions"
        return code == 0 and counts["failed"] == 0, text + (f": {'; '.join(failed)}" if failed else "")
    return judge


def tests(args):
    return args.build_dir / "device_tests"


def cases(run, args, results):
    if "device_tests" not in results["built"]:
        return run.note("cases", False, "device_tests was not built")
    run.step("cases", [tests(args), "--no-colors=true"], 0.3, {"WAVLLM_TEST_DEVICES": args.device}, doctest_judge(results, "cases"))


def sanitizers(run, args, results):
    if "device_tests" not in results["built"]:
        return
    watched = [tests(args), "--no-colors=true", *CASES_OF_OPS, f"-sc={WATCHED}"]
    env = {"WAVLLM_TEST_DEVICES": args.device}
    if args.device == "sim":  # the emulator's own checks stand for them
        run.step("checked", watched, 0.15, {**env, "WAVLLM_SIM": "checked"}, doctest_judge(results, "checked"))
        return
    tool = find_tool("compute-sanitizer")
    if not tool:
        return run.note("sanitizers", False, "compute-sanitizer is not installed: nothing watched the kernels")
    for kind in ("memcheck", "racecheck"):
        inner = doctest_judge(results, kind)

        def judge(code, text, inner=inner):
            ok, note = inner(code, text)
            summary = re.search(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", text)
            clean = summary is not None and re.match(r"0 (errors|hazards)", summary[1]) is not None
            return ok and clean, f"{summary[1] if summary else 'no summary of compute-sanitizer'}; {note}"
        run.step(kind, [tool, "--tool", kind, "--error-exitcode", 86, *watched], 0.12, env, judge)


def read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def has_bench(run, args, name):
    code, _ = run.quietly([args.build_dir / "wavllm", "bench", name, "--help"])
    return code == 0


def bench(run, args, results, key, arguments, share, env=None):
    path = run.logs / f"{key}.json"
    path.unlink(missing_ok=True)
    run.step(key, [args.build_dir / "wavllm", "bench", *arguments, "--device", args.device, "--json", path], share, env)
    if (found := read_json(path)) is not None:
        results[key] = found


def kernels(run, args, results):
    if "wavllm" not in results["built"]:
        return run.note("kernels", False, "wavllm was not built")
    if not has_bench(run, args, "kernels"):
        return run.note("kernels", False, "this program has no `bench kernels`")
    bench(run, args, results, "kernels", ["kernels"], 0.2)
    bench(run, args, results, "ladders", ["kernels", "--ladder"], 0.1)
    bench(run, args, results, "fusion", ["fusion"], 0.1)


def peers(run, args, results):
    """The same work by others. On the emulator there is nobody to compare with."""
    if args.device != "cuda":
        return
    if "kernels" in results:
        # `kernels` uses cuBLASLt where it gives our bits; here always or never.
        for mode in ("always", "off"):
            bench(run, args, results, f"cublaslt {mode}", ["kernels", "--op", "linear"], 0.05, {"WAVLLM_CUBLASLT": mode})
    code, _ = run.quietly([sys.executable, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"])
    if code != 0:
        return run.note("torch", True, "PyTorch is not installed: nothing to compare with")
    text = run.step("torch", [sys.executable, "bench/gpu/torch_ops.py"], 0.12)
    if (begin := text.find("{")) >= 0:
        try:
            results["torch"] = json.JSONDecoder().raw_decode(text[begin:])[0]
        except ValueError:
            pass


def training_step(run, args, results):
    if "wavllm" not in results["built"]:
        return
    if not results["models"]:
        return run.note("training step", False, "left out: the models were not built")
    # Two layers on the emulator: it shows that the step runs, not how fast.
    small = ["--layers", 2, "--sequences", 1, "--tokens", 24, "--targets", 8, "--warm-up", 0] if args.device == "sim" else []
    bench(run, args, results, "training step", ["step", *map(str, small)], 0.15)
    nsys = find_tool("nsys") if args.device == "cuda" else None
    if nsys:
        out = run.logs / "step"
        text = run.step("nsys", [nsys, "profile", "--stats=true", "--force-overwrite=true", "-t", "cuda", "-o", out,
                                 args.build_dir / "wavllm", "bench", "step", "--device", "cuda", "--warm-up", "1"], 0.15)
        if m := re.search(r"cuda_gpu_kern_sum.*?\n\n", text, re.S):
            results["nsys"] = m[0]
    # By op, each launch waited for: slower than the step above, but every op's own time.
    bench(run, args, results, "profile", ["step", "--profile", *map(str, small)], 0.1, {"WAVLLM_CUDA_SYNC": "1"})
