"""./dev bench peers: wavllm beside its peers, one table from one run.

The contestants of a piece of work take turns: ours, the first peer, the second, ..., then ours again, for --rounds rounds.
Each turn is a process of its own, which warms up and then times --steps runs; a figure is the median over all rounds. What
cannot be had stands in the table as missing, with the reason. All samples, commands and versions go to a JSON file.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import machine
import works
from provision import Missing, cache_root, say

ROOT = pathlib.Path(__file__).resolve().parents[2]


def shown(command):
    """A command without the places that differ from one machine to the next."""
    text = " ".join(str(part) for part in command)
    for path, name in ((str(cache_root()), "$WAVLLM_CACHE"), (os.environ.get("PEERS_VENV"), "$PEERS_VENV"),
                       (str(ROOT) + "/", "")):  # fmt: skip
        text = text.replace(path, name) if path else text
    return text


def turn(contestant):
    """Runs one process. Returns its samples and its peak resident memory in MiB."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen([str(part) for part in contestant.command], stdout=out, stderr=err, cwd=ROOT)
        try:
            # The kernel's own figure (VmHWM) for this process, or the largest one that it started.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: the others are not to go on alone
            process.terminate()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            lines = (out.read() + err.read()).decode(errors="replace").strip().splitlines() or ["no output"]
            raise Missing(f"ended with code {process.returncode}: {lines[-1][:160]}")
        try:
            samples = contestant.parse(json.loads(out.read()))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise Missing(f"its output was not understood ({type(error).__name__}: {error})") from error
        return samples, usage.ru_maxrss / 1024


def measure(work, rounds):
    for number in range(rounds):
        for contestant in work.contestants:
            if contestant.missing:
                continue
            say(f"{work.name}, round {number + 1} of {rounds}: {contestant.name}")
            try:
                samples, peak = turn(contestant)
            except Missing as error:
                contestant.missing = str(error)
                continue
            contestant.samples += samples
            contestant.peak_mib = max(contestant.peak_mib, peak)


def median(contestant):
    return statistics.median(contestant.samples)


def faster(work, a, b):
    """How many times as fast a is as b."""
    return median(a) / median(b) if work.rate else median(b) / median(a)


def figure(work, value):
    return f"{value:.0f} {work.unit}" if work.rate else f"{value * 1e3:.0f} ms"


def rows_of(work):
    there = [c for c in work.contestants if c.samples]
    ours = next((c for c in there if c.ours), None)
    for c in work.contestants:
        if not c.samples:
            yield [work.name, c.name, "missing", c.missing, "", "", ""]
            continue
        row = [work.name, c.name, figure(work, median(c)),
               f"{figure(work, min(c.samples))} to {figure(work, max(c.samples))}", f"{c.peak_mib:.0f} MiB"]  # fmt: skip
        against = ours and not c.ours
        row += [f"{faster(work, ours, c):.2f}", f"{ours.peak_mib / c.peak_mib:.2f}"] if against else ["", ""]
        yield row


def verdicts(work):
    """For each work the best peer, in time and in memory."""
    ours = next((c for c in work.contestants if c.ours and c.samples), None)
    peers = [c for c in work.contestants if not c.ours and c.samples]
    if not ours or not peers:
        return {"work": work.name, "best_peer": None}
    best = max(peers, key=lambda c: faster(work, c, ours))
    return {
        "work": work.name,
        "best_peer": best.name,
        "times_as_fast": round(faster(work, ours, best), 3),
        "time_ours_over_best": round(1 / faster(work, ours, best), 3),
        "memory_ours_over_best": round(ours.peak_mib / best.peak_mib, 3),
    }


def print_table(all_works):
    head = ["work", "program", "median", "from, to (or why it is missing)", "peak memory", "wavllm is x times as fast",
            "memory, wavllm / it"]  # fmt: skip
    rows = [row for work in all_works for row in rows_of(work)]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()
    for v in map(verdicts, all_works):
        if v["best_peer"]:
            print(f"{v['work']}: {v['times_as_fast']:.2f} times as fast as {v['best_peer']}, "
                  f"{v['time_ours_over_best']:.2f} of its time, {v['memory_ours_over_best']:.2f} of its memory")  # fmt: skip
        else:
            print(f"{v['work']}: nothing to compare")


def to_json(all_works, arguments, before):
    return {
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": machine.facts(),
        "load_average_before": before,
        "versions": machine.versions(ROOT),
        "settings": {"threads": arguments.threads, "rounds": arguments.rounds, "steps": arguments.steps},
        "works": [
            {
                "work": work.name,
                "what": work.what,
                "unit": work.unit,
                "contestants": [
                    {"name": c.name, "missing": c.missing}
                    if not c.samples
                    else {
                        "name": c.name,
                        "command": shown(c.command),
                        "note": c.note,
                        "median": median(c),
                        "samples": c.samples,
                        "peak_mib": round(c.peak_mib, 1),
                    }
                    for c in work.contestants
                ],
                "verdict": verdicts(work),
            }
            for work in all_works
        ],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each program (all cores)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program (3)")
    parser.add_argument("--steps", type=int, default=5, help="timed runs in a turn, at least 5 (5)")
    parser.add_argument("--only", default="", help=f"these works alone, with commas: {', '.join(works.NAMES)}")
    parser.add_argument("--wavllm", type=pathlib.Path, default=ROOT / "build" / "wavllm", help="our program")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file (bench/results/peers-DATE-CPU.json)")
    arguments = parser.parse_args()
    if arguments.threads < 1 or arguments.rounds < 1 or arguments.steps < 5:
        parser.error("--threads and --rounds must be at least 1, --steps at least 5")
    only = [name for name in arguments.only.split(",") if name]
    for name in only:
        if name not in works.NAMES:
            parser.error(f'--only "{name}" is none of {", ".join(works.NAMES)}')
    all_works = works.make(arguments, only)
    before = os.getloadavg()[0]
    if before > 0.5:
        say(f"load average {before:.1f}: something else is running, and the figures will suffer")
    for work in all_works:
        measure(work, arguments.rounds)
    print_table(all_works)
    out = arguments.out or ROOT / "bench" / "results" / f"peers-{datetime.date.today()}-{machine.slug()}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(to_json(all_works, arguments, before), indent=1) + "\n")
    partial.rename(out)
    say(f"all samples, commands and versions: {shown([out])}")
    return 0 if all(any(c.ours and c.samples for c in work.contestants) for work in all_works) else 1


if __name__ == "__main__":
    sys.exit(main())
