"""What the peers' timing scripts share."""

import argparse
import importlib.metadata
import json
import multiprocessing
import resource
import statistics
import time

WARMUPS = 2


def summary(seconds):
    """The figures of a list of timings, and the peak memory of this process."""
    return {
        "median_s": round(statistics.median(seconds), 4),
        "min_s": round(min(seconds), 4),
        "max_s": round(max(seconds), 4),
        "runs": len(seconds),
        "samples_s": [round(s, 6) for s in seconds],
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def median_times(function, runs):
    """Seconds of `runs` calls after 2 that are not timed, and the peak memory of this process."""
    for _ in range(WARMUPS):
        function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return summary(seconds)


def _worker(queue, measure, *arguments):
    queue.put(measure(*arguments))


def parse_arguments(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--modes", default="f32,bf16", help="number formats, of f32 and bf16")
    # Which one is faster differs by number format and CPU; a fair peer is the faster one.
    parser.add_argument("--attention", default="sdpa,eager", help="attention implementations, of sdpa and eager")
    parser.add_argument("--steps", type=int, default=5, help="timed runs, after 2 that are not")
    arguments = parser.parse_args()
    if arguments.steps < 1 or arguments.threads < 1:
        parser.error("--steps and --threads must be at least 1")
    arguments.modes = arguments.modes.split(",")
    arguments.attention = arguments.attention.split(",")
    for given, known in ((arguments.modes, ("f32", "bf16")), (arguments.attention, ("sdpa", "eager"))):
        for name in given:
            if name not in known:
                parser.error(f'"{name}" is none of {", ".join(known)}')
    return arguments


def measure_all(work, measure, arguments):
    """Calls measure(mode, attention, threads, steps) for each pair, each in a fresh process so that its peak memory is its
    own, and prints one JSON object."""
    # spawn: a forked child would start with its parent's peak memory
    context = multiprocessing.get_context("spawn")
    results = {}
    for mode in arguments.modes:
        tried = {}
        for attention in arguments.attention:
            queue = context.Queue()
            process = context.Process(
                target=_worker, args=(queue, measure, mode, attention, arguments.threads, arguments.steps)
            )
            process.start()
            process.join()
            if process.exitcode != 0:
                raise SystemExit(f"{mode}, {attention}: the measuring process ended with code {process.exitcode}")
            tried[attention] = queue.get()
        results[mode] = {"best": min(tried, key=lambda name: tried[name]["median_s"]), **tried}
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    print(json.dumps({"work": work, "threads": arguments.threads, **versions, "modes": results}, indent=2))
