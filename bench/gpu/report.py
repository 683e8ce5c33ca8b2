"""The report of ./dev gpu: one JSON with everything, one page of Markdown for people."""

import json
import re
import time


def write(results, folder):
    device = results["machine"].get("gpu", "gpu") if results["device"] == "cuda" else "sim"
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    stem = folder / f"gpu-{time.strftime('%Y-%m-%d', time.gmtime())}-{slug}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(".json"), stem.with_suffix(".md")]
    paths[0].write_text(json.dumps(results, indent=1) + "\n")
    paths[1].write_text(markdown(results))
    return paths


def duration(seconds):
    if seconds is None:
        return "-"
    for unit, name in ((1, "s"), (1e-3, "ms")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e6:.3g} us"


def median(timing):
    return timing.get("median") if isinstance(timing, dict) else timing


def table(header, rows):
    return ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header),
            *("| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in row) + " |" for row in rows), ""]


def markdown(r):
    m = r["machine"]
    lines = [f"# {'Rehearsal of ./dev gpu on the emulator' if r['rehearsal'] else './dev gpu on ' + m.get('gpu', 'a GPU')}", ""]
    if r["rehearsal"]:
        lines += ["No GPU took part: this shows that the steps run, and nothing about a GPU's speed or results.", ""]
    failed = [s["name"] for s in r["steps"] if not s["ok"]]
    lines += [f"{r['began']}, {r['seconds']:.0f} s, commit {m['commit'][:12]}"
              f"{' with changed files' if m.get('changed_files') else ''}: "
              f"**{'nothing failed' if r['ok'] else 'failed: ' + ', '.join(failed) if failed else 'not finished'}**.", ""]
    shown = [("GPU", "gpu"), ("compute capability", "compute_capability"), ("driver", "driver"), ("memory", "memory"),
             ("CUDA", "cuda"), ("highest clock", "max_clock"), ("power limit", "power_limit"), ("CPU", "cpu"), ("cores", "cores"),
             ("compiler", "g++")]
    lines += table(["machine", ""], [(what, m[key]) for what, key in shown if key in m] +
                   [("tools", ", ".join(m["tools"]) or "none"), ("built", r.get("build", "not")),
                    ("lacking on the system", ", ".join(r.get("lacking", [])) or "nothing")])
    lines += ["## Steps", ""]
    lines += table(["step", "", "seconds", ""], [(s["name"], "ok" if s["ok"] else "**failed**", s["seconds"], s["note"]) for s in r["steps"]])
    for key, what in (("cases", "Tests"), ("checked", "Checked build"), ("memcheck", "memcheck"), ("racecheck", "racecheck")):
        if r.get(key, {}).get("failing"):
            lines += [f"## {what}: what failed", "", *(f"- {name}" for name in r[key]["failing"]), ""]
    lines += kernels(r) + ladders(r) + fusion(r) + training(r)
    return "\n".join(lines).rstrip() + "\n"


def kernels(r):
    found = r.get("kernels", {}).get("cases")
    if not found:
        passes = r.get("kernels", {}).get("passes")
        return [f"## Kernels", "", f"`bench kernels` counted {len(passes)} passes on the emulator (JSON).", ""] if passes else []
    torch = {(c["op"], c["case"]): c for c in r.get("torch", {}).get("cases", [])}
    lt = {mode: {(c["op"], c["case"]): median(c["forward_seconds"]) for c in r.get(f"cublaslt {mode}", {}).get("cases", [])}
          for mode in ("always", "off")}
    rows = []
    for c in found:
        at, mine = (c["op"], c["case"]), median(c["forward_seconds"])
        other = torch.get(at)
        rows.append((c["op"], c["case"], duration(mine), f"{100 * c['share_of_roof']:.0f} % of {c['roof']}" if "share_of_roof" in c else "-",
                     duration(median(c.get("backward_seconds"))), duration(other["seconds"]) if other else "-",
                     f"{mine / other['seconds']:.2f}" if other and mine else "-",
                     duration(lt["always"].get(at)), duration(lt["off"].get(at))))
    lines = ["## Kernels", "", "Medians of CUDA events, each run with nothing of the case in the L2 cache. Share: of this GPU's measured "
             "peak. PyTorch: forward alone, in its own memory layout; / PyTorch above 1: ours is slower. cuBLASLt: products by it "
             "always, or by our kernels alone.", ""]
    return lines + table(["op", "case", "forward", "share", "backward", "PyTorch", "/ PyTorch", "cuBLASLt", "ours"], rows)


def ladders(r):
    found = r.get("ladders", {}).get("ladders")
    if not found or r["rehearsal"]:
        return []
    rows = [(one["op"], one["case"], s["step"], duration(median(s.get("seconds"))), s["idea"]) for one in found for s in one["steps"]]
    return ["## Ladders", "", *table(["op", "case", "step", "time", "idea"], rows)]


def fusion(r):
    found = r.get("fusion")
    return ["## Fusions", "", f"`bench fusion` ran; its figures are in the JSON.", ""] if found else []


def training(r):
    step, profile = r.get("training step"), r.get("profile")
    lines = []
    if step:
        lines += ["## One training step", "", f"`wavllm bench step`: {duration(median(step['seconds']))} (forward "
                  f"{duration(median(step['forward_seconds']))}, backward {duration(median(step['backward_seconds']))}, optimiser "
                  f"{duration(median(step['optimizer_seconds']))}), {step['flops'] / median(step['seconds']) / 1e9:.0f} GFLOP/s.", ""]
    if profile and profile.get("profile"):
        rows = sorted(profile["profile"], key=lambda e: -(e["forward_seconds"] + e["backward_seconds"] + e["other_seconds"]))
        lines += ["By op, waiting for each launch (so longer than the step above):", ""]
        lines += table(["op", "calls", "forward", "backward", "other"],
                       [(e["op"], e["calls"], duration(e["forward_seconds"]), duration(e["backward_seconds"]), duration(e["other_seconds"]))
                        for e in rows[:25]])
    if "nsys" in r:
        lines += ["Kernels by nsys:", "", "```", r["nsys"].strip(), "```", ""]
    return lines
