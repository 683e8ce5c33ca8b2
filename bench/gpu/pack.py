#!/usr/bin/env python3
"""Packs what a bare machine with a GPU may lack: headers and libraries that the build needs, for `./dev gpu` there.

    ./dev gpu-pack [--out build/gpu-pack.tar.gz]

The archive holds include/, lib/ (shared libraries with all that they need themselves, but not the C and C++ run-time
libraries) and copyright/. It is made from the Debian packages that are installed here, is not part of the repository, and
works on systems of the same processor whose glibc is at least as new as this one.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MOST_BYTES = 60_000_000
# package: folders and files below /usr/include (or its multiarch folder) that are taken
HEADERS = {
    "libfmt-dev": ["fmt"],
    "nlohmann-json3-dev": ["nlohmann"],
    "libcli11-dev": ["CLI"],
    "doctest-dev": ["doctest"],
    "libssl-dev": ["openssl"],
    "libsndfile1-dev": ["sndfile.h"],
    "libsoxr-dev": ["soxr.h"],
    "libsentencepiece-dev": ["sentencepiece_processor.h"],
    "libutf8proc-dev": ["utf8proc.h"],
    "libzip-dev": ["zip.h", "zipconf.h"],
    "zlib1g-dev": ["zlib.h", "zconf.h"],
    "libespeak-ng-dev": ["espeak-ng"],
    "flite1-dev": ["flite"],
}
BOOST = "libboost-context1.74-dev"  # of Boost only what is included
SHARED = ["crypto", "sndfile", "soxr", "sentencepiece", "utf8proc", "zip", "z", "espeak-ng", "flite", "flite_cmu_us_slt",
          "flite_cmu_us_rms", "flite_cmu_us_awb", "flite_cmu_us_kal16", "flite_cmu_us_kal", "flite_usenglish",
          "flite_cmulex"]
# Whoever has a C++ compiler has these, and another version of them beside it would do harm.
OF_THE_COMPILER = re.compile(r"^(ld-linux|libc\.|libm\.|libmvec|libpthread|libdl|librt|libstdc\+\+|libgcc_s|libresolv)")


def fail(message):
    sys.exit(f"gpu-pack: {message}")


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        fail(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def multiarch():
    return output(os.environ.get("CXX", "c++"), "-print-multiarch").strip()


def copy_headers(include):
    places = [Path("/usr/include"), Path("/usr/include") / multiarch()]
    for package, names in HEADERS.items():
        for name in names:
            sources = [p / name for p in places if (p / name).exists()]
            if not sources:
                fail(f"no {name} in {' or '.join(map(str, places))}; install {package}")
            for source in sources:  # openssl has one part in each
                if source.is_dir():
                    shutil.copytree(source, include / name, dirs_exist_ok=True)
                else:
                    include.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, include / name)
    # The compiler says which of Boost's thousands of headers are meant.
    used = output(os.environ.get("CXX", "c++"), "-std=c++20", "-M", "-x", "c++", "-", input="#include <boost/context/detail/fcontext.hpp>\n")
    boost = set(re.findall(r"/usr/include/(boost/\S+)", used))
    if not boost:
        fail(f"the compiler found no boost/context; install {BOOST}")
    for name in boost | {"boost/version.hpp"}:
        (include / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path("/usr/include") / name, include / name)


def library(name):
    for folder in (Path("/usr/lib") / multiarch(), Path("/usr/lib"), Path("/lib") / multiarch()):
        if (folder / name).exists():
            return folder / name
    fail(f"no {name} in /usr/lib; run ./dev build once, it installs the packages")


def copy_libraries(lib):
    lib.mkdir(parents=True)
    shutil.copy(library("libboost_context.a"), lib)
    for name in SHARED:
        path = library(f"lib{name}.so")
        soname = re.search(r"SONAME\s+(\S+)", output("objdump", "-p", str(path)))
        real = soname[1] if soname else path.name
        shutil.copy(path.resolve(), lib / real)
        if real != path.name:
            (lib / path.name).symlink_to(real)
        for needed, where in re.findall(r"^\s*(\S+) => (/\S+)", output("ldd", str(path)), re.M):
            if not OF_THE_COMPILER.match(needed) and not (lib / needed).exists():
                shutil.copy(Path(where).resolve(), lib / needed)


def copy_copyrights(folder, lib):
    """The licences of the packages that the files are from."""
    folder.mkdir()
    packages = set(HEADERS) | {BOOST}
    for path in lib.iterdir():
        for place in (Path("/usr/lib") / multiarch(), Path("/lib") / multiarch()):
            done = subprocess.run(["dpkg-query", "-S", str(place / path.name)], capture_output=True, text=True)
            packages |= {line.split(":")[0] for line in done.stdout.splitlines()}
    for package in sorted(packages):
        source = Path("/usr/share/doc") / package / "copyright"
        if source.exists():
            shutil.copy(source, folder / package)
    return len(packages)


def main():
    parser = argparse.ArgumentParser(prog="dev gpu-pack", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build/gpu-pack.tar.gz")
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary) / "gpu-pack"
        copy_headers(top / "include")
        copy_libraries(top / "lib")
        packages = copy_copyrights(top / "copyright", top / "lib")
        glibc = output("ldd", "--version").split("\n")[0].split()[-1]
        (top / "README").write_text(
            f"Libraries for `./dev gpu` (docs/gpu.md), {multiarch()}, glibc {glibc} or later, from Debian packages.\n")
        args.out.parent.mkdir(parents=True, exist_ok=True)
        partial = args.out.with_name(args.out.name + ".part")
        with tarfile.open(partial, "w:gz", compresslevel=9) as archive:
            archive.add(top, "gpu-pack")
        files = sum(len(names) for _, _, names in os.walk(top))
    size = partial.stat().st_size
    if size > MOST_BYTES:
        partial.unlink()
        fail(f"the archive would have {size / 1e6:.1f} MB, and {MOST_BYTES / 1e6:.0f} are allowed")
    partial.rename(args.out)
    print(f"gpu-pack: {args.out}: {size / 1e6:.1f} MB, {files} files of {packages} packages, glibc {glibc} or later "
          f"({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
