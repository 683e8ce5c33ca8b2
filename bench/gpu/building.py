"""The build of ./dev gpu: with the system's libraries if it has all, else with those of a gpu-pack, and if that cannot be
either, of the kernels alone."""

import os
import re
import shutil
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# what is included: the library that must be there; None: headers alone
NEEDED_BY_KERNELS = {"fmt/format.h": "fmt", "nlohmann/json.hpp": None, "CLI/CLI.hpp": None, "doctest/doctest.h": None,
                     "boost/context/detail/fcontext.hpp": "boost_context"}
NEEDED_BY_MODELS = {"openssl/evp.h": "crypto", "sndfile.h": "sndfile", "soxr.h": "soxr",
                    "sentencepiece_processor.h": "sentencepiece", "utf8proc.h": "utf8proc", "zip.h": "zip",
                    "espeak-ng/speak_lib.h": "espeak-ng", "zlib.h": "z", "flite/flite.h": "flite"}
TARGETS = ["device_tests", "wavllm"]


def compiler():
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++") or "g++"


def lacking(run, needed):
    """The headers of `needed` whose header or library the compiler does not find."""
    def there(item):
        header, library = item
        with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
            source.write(f"#include <{header}>\n")
            source.flush()
            code, _ = run.quietly([compiler(), "-std=c++20", "-E", "-o", "/dev/null", source.name])
        if code != 0 or library is None:
            return code == 0
        _, path = run.quietly([compiler(), f"-print-file-name=lib{library}.so"])
        return "/" in path

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(there, needed.items()))
    return [header for header, ok in zip(needed, found) if not ok]


def unpack(run, args):
    """The folder of the unpacked archive, or None."""
    if args.pack.is_dir():
        return args.pack
    folder = args.build_dir / "gpu-pack"
    if not args.pack.exists():
        return folder if (folder / "include/fmt/format.h").exists() else None
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(args.pack) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(args.build_dir, filter="data")
        else:
            archive.extractall(args.build_dir)
    return folder


def links_here(run, pack):
    """Whether the archive's shared libraries fit to this system's C library: a program with all of them links and runs."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "a.cpp"
        source.write_text("int main() {}\n")
        libraries = sorted(str(p) for p in (pack / "lib").glob("lib*.so"))
        code, text = run.quietly([compiler(), str(source), "-o", f"{folder}/a", "-Wl,--no-as-needed", *libraries,
                                  f"-Wl,--disable-new-dtags,-rpath,{pack / 'lib'},-rpath-link,{pack / 'lib'}"])
        if code == 0:
            code, text = run.quietly([f"{folder}/a"])
    return code == 0, text.strip()[-300:]


def ways(run, args, results):
    """What to try, in this order: (what it is, CMake's options)."""
    kernels, models = lacking(run, NEEDED_BY_KERNELS), lacking(run, NEEDED_BY_MODELS)
    results["lacking"] = kernels + models
    need_pack = args.packed or kernels or (models and not args.kernels_only)
    pack = unpack(run, args) if need_pack else None
    found = []
    if not args.packed and not kernels + models and not args.kernels_only:
        found.append(("with the system's libraries", []))
    if pack:
        fits, why = (False, "") if args.kernels_only else links_here(run, pack)
        if fits:
            found.append(("with the gpu-pack", [f"-DWAVLLM_PACKED={pack}"]))
        elif why:
            run.note("gpu-pack", False, f"its shared libraries do not fit this system, so the models are left out: {why}")
        found.append(("the kernels alone, with the gpu-pack", [f"-DWAVLLM_PACKED={pack}", "-DWAVLLM_KERNELS_ONLY=ON"]))
    if not args.packed and not kernels:
        found.append(("the kernels alone, with the system's libraries", ["-DWAVLLM_KERNELS_ONLY=ON"]))
    text = f"the system lacks {', '.join(kernels + models)}" if kernels + models else "the system lacks nothing"
    if need_pack and not pack:
        text += f"; no archive {args.pack} (./dev gpu-pack makes it where the packages are installed)"
    run.note("libraries", bool(found), text)
    return found


def cuda_options(run, args, results):
    if args.device != "cuda":
        return ["-DWAVLLM_CUDA=OFF"]
    options = ["-DWAVLLM_CUDA=ON"]
    # For this GPU alone: half the time. PTX is added in any case.
    if re.fullmatch(r"[89]\.\d|1\d\.\d", capability := results["machine"].get("compute_capability", "")):
        options.append(f"-DWAVLLM_CUDA_ARCHS={capability.replace('.', '')}")
    # Where only a Python environment has cuBLASLt.
    hints = ";".join(results["machine"].get("nvidia_packages", []))
    if hints:
        options.append(f"-DWAVLLM_CUDA_HINTS={hints}")
    if nvcc := results["machine"].get("nvcc"):
        options.append(f"-DWAVLLM_NVCC={nvcc}")
    return options


def build(run, args, results):
    generator = ["-G", "Ninja"] if shutil.which("ninja") else ["-G", "Unix Makefiles"]
    for what, options in ways(run, args, results):
        (args.build_dir / "CMakeCache.txt").unlink(missing_ok=True)  # of another way
        base = ["cmake", "-S", ".", "-B", args.build_dir, *generator, "-DCMAKE_BUILD_TYPE=Release", "-DWAVLLM_KERNELS_ONLY=OFF",
                "-DWAVLLM_PACKED=", f"-DCMAKE_CXX_COMPILER={compiler()}", *cuda_options(run, args, results)]
        before = len(run.steps)
        run.step(f"configure {what}", [*base, *options], 0.1)
        if not run.steps[before]["ok"]:
            continue
        keep_going = ["--", "-k", "0"] if generator[1] == "Ninja" else ["--", "-k"]
        run.step("build", ["cmake", "--build", args.build_dir, "-j", args.jobs, "--target", *TARGETS, *keep_going], 0.55)
        results["build"] = what
        results["models"] = "-DWAVLLM_KERNELS_ONLY=ON" not in options
        there = [t for t in TARGETS if (args.build_dir / t).exists()]
        results["built"] = there
        # An earlier way that failed is told by its step; it is no failure of the whole if this one works.
        for step in run.steps[:before]:
            if step["name"].startswith("configure") and not step["ok"]:
                step["ok"], step["note"] = True, f"not possible here: {step['note']}"
        if there:
            return True
    return False
