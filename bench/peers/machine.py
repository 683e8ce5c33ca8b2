"""What stands beside a figure: the machine and the versions."""

import os
import pathlib
import re
import subprocess

import provision

FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")


def cpu_info():
    try:
        return pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def cpu_name():
    match = re.search(r"model name\s*:\s*(.*)", cpu_info())
    return match.group(1).strip() if match else "unknown CPU"


def slug():
    words = re.sub(r"\(.*?\)|@.*|\bcpu\b|\bprocessor\b", " ", cpu_name().lower())
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-") + f"-{len(os.sched_getaffinity(0))}-cores"


def facts():
    flags = re.search(r"flags\s*:\s*(.*)", cpu_info())
    flags = flags.group(1).split() if flags else []
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "features": [f for f in FEATURES if f in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }


def first_line(command, cwd=None):
    try:
        out = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=True).stdout
        return out.strip().splitlines()[0] if out.strip() else ""
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def versions(root):
    changed = first_line(["git", "status", "--porcelain", "--untracked-files=no"], root)
    found = {
        "wavllm": first_line(["git", "rev-parse", "HEAD"], root) + (" (with changes)" if changed else ""),
        "compiler": first_line(["g++", "--version"]),
        "llama.cpp": "from {} {}".format(*provision.LLAMA),
        "whisper.cpp": "from {} {}".format(*provision.WHISPER),
    }
    try:
        program = provision.python()
    except provision.Missing as missing:
        return {**found, "python": f"missing: {missing}"}
    for name in ("torch", "transformers", "ctranslate2", "numpy"):
        found[name] = first_line([program, "-c", f"import importlib.metadata as m; print(m.version('{name}'))"])
    return found
