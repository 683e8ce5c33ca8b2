"""Gets the peers: a Python environment, the sources of llama.cpp and whisper.cpp out of Python packages, and their builds.

All of it lies under $WAVLLM_CACHE/peers (~/.cache/wavllm/peers) and is made once. Each step makes its result under another
name and renames it when it is whole, so a killed run goes on where it stopped. What cannot be had raises Missing.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

PYTHON_PACKAGES = ("torch==2.5.1", "transformers==4.46.3", "ctranslate2", "numpy<2")
LLAMA = ("llama-cpp-python", "0.3.16")
WHISPER = ("pywhispercpp", "1.5.1")


class Missing(Exception):
    """A peer that cannot be had, and why."""


def cache_root():
    root = os.environ.get("WAVLLM_CACHE") or pathlib.Path.home() / ".cache" / "wavllm"
    return pathlib.Path(root)


def peers_folder():
    folder = cache_root() / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def run(command, what, log):
    """Runs a command with its output in a log. Raises Missing with the last line that names an error."""
    with open(log, "ab") as output:
        try:
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        except FileNotFoundError:
            raise Missing(f"{what}: there is no program {command[0]}") from None
    if code != 0:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        told = [line for line in lines if "error" in line.lower()] or lines or ["no output"]
        raise Missing(f"{what}: {told[-1][:160]} (log: {log.name})")


def python():
    """A Python that has torch, transformers and ctranslate2: $PEERS_VENV, or one made here."""
    given = os.environ.get("PEERS_VENV")
    if given:
        program = pathlib.Path(given) / "bin" / "python"
        if not program.exists():
            raise Missing(f"PEERS_VENV={given}: no bin/python in it")
        return program
    folder, log = peers_folder() / "venv", peers_folder() / "venv.log"
    program, whole = folder / "bin" / "python", folder / "whole"
    if not whole.exists():
        say(f"making a Python environment with {', '.join(PYTHON_PACKAGES)} (about 6 GB, once)")
        log.unlink(missing_ok=True)
        if not program.exists():
            run([sys.executable, "-m", "venv", str(folder)], "venv (is python3-venv installed?)", log)
        run([str(program), "-m", "pip", "install", "-q", *PYTHON_PACKAGES], "pip install", log)
        whole.touch()
    return program


def has_module(program, name):
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{name}') is None)"
    return subprocess.run([str(program), "-c", code], check=False).returncode == 0


def source(package, version):
    """The unpacked source distribution of a Python package."""
    folder = peers_folder() / f"{package.replace('-', '_')}-{version}"
    if folder.exists():
        return folder
    say(f"fetching the source of {package} {version}")
    log = peers_folder() / f"{package}.log"
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=peers_folder()) as scratch:
        scratch = pathlib.Path(scratch)
        run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", package, "-d", str(scratch),
             f"{package}=={version}"], f"pip download {package}", log)  # fmt: skip
        archives = list(scratch.glob("*.tar.gz"))
        if not archives:
            raise Missing(f"{package} {version}: the package came without its source")
        (scratch / "unpacked").mkdir()
        run(["tar", "-xzf", str(archives[0]), "-C", str(scratch / "unpacked")], f"unpacking {package}", log)
        (inner,) = (scratch / "unpacked").iterdir()
        inner.rename(folder)
    return folder


def cmake_build(name, folder, target, options):
    """Builds one target of a CMake project and returns the build folder."""
    build, log = peers_folder() / f"{name}-build", peers_folder() / f"{name}.log"
    whole = build / f"{target}.whole"
    if not whole.exists():
        say(f"building {name} (some minutes, once)")
        log.unlink(missing_ok=True)
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        run(["nice", "-n", "5", "cmake", "-S", str(folder), "-B", str(build), *generator, "-DCMAKE_BUILD_TYPE=Release",
             "-DBUILD_SHARED_LIBS=OFF", "-DGGML_NATIVE=ON", *options], f"configuring {name}", log)  # fmt: skip
        run(["nice", "-n", "5", "cmake", "--build", str(build), "--target", target, "-j", str(os.cpu_count())],
            f"building {name}", log)  # fmt: skip
        whole.touch()
    return build


def llama_bench():
    """llama.cpp's own benchmark program."""
    folder = source(*LLAMA) / "vendor" / "llama.cpp"
    build = cmake_build("llama", folder, "llama-bench", ["-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF"])
    return build / "bin" / "llama-bench"


def whisper_encoder():
    """The program of whisper_cpp_encoder.cpp, and a model with the sizes of base whose weights are all zero."""
    folder = source(*WHISPER) / "whisper.cpp"
    model = folder / "models" / "for-tests-ggml-base.bin"
    if not model.exists():
        raise Missing(f"{WHISPER[0]} {WHISPER[1]}: no {model.name} in its source")
    build = cmake_build("whisper", folder, "whisper", ["-DWHISPER_BUILD_TESTS=OFF"])
    program = build / "whisper_cpp_encoder"
    own = pathlib.Path(__file__).with_name("whisper_cpp_encoder.cpp")
    if not program.exists() or program.stat().st_mtime < own.stat().st_mtime:
        libraries = {path.name: str(path) for path in build.rglob("lib*.a")}
        wanted = ["libwhisper.a", "libggml.a", "libggml-cpu.a", "libggml-base.a"]
        absent = [name for name in wanted if name not in libraries]
        if absent:
            raise Missing(f"the build of whisper.cpp left no {', '.join(absent)}")
        partial = program.with_suffix(".partial")
        run(["g++", "-O2", "-std=c++17", f"-I{folder / 'include'}", f"-I{folder / 'ggml' / 'include'}", str(own),
             *(libraries[name] for name in wanted), "-fopenmp", "-lpthread", "-ldl", "-o", str(partial)],
            "linking whisper.cpp", peers_folder() / "whisper.log")  # fmt: skip
        partial.rename(program)
    return program, model


def cached_weights(name):
    """A file that wavllm keeps in its cache, by the end of its name."""
    found = sorted(cache_root().glob(f"*-{name}"))
    if not found:
        raise Missing(f"{name} is not in the cache; run wavllm's part of the benchmark first")
    return found[0]


def ctranslate2_whisper_base():
    """A folder laid out as CTranslate2 wants it, of links to the files of Whisper base."""
    folder = peers_folder() / "ctranslate2-whisper-base"
    folder.mkdir(exist_ok=True)
    for link in ("model.bin", "config.json", "vocabulary.txt", "tokenizer.json"):
        target, path = cached_weights(f"whisper-base.{link}"), folder / link
        if not path.exists():
            path.unlink(missing_ok=True)
            path.symlink_to(target.resolve())
    return folder
