"""Runs the steps of ./dev gpu: each with a time limit, its output in a file, its end noted."""

import os
import signal
import subprocess
import time


class Runner:
    def __init__(self, root, logs, seconds):
        self.root, self.logs, self.seconds = root, logs, seconds
        self.began = time.monotonic()
        self.steps = []
        logs.mkdir(parents=True, exist_ok=True)

    def elapsed(self):
        return time.monotonic() - self.began

    def left(self):
        return self.seconds - self.elapsed()

    def ok(self):
        return all(step["ok"] for step in self.steps)

    def note(self, name, ok, text, seconds=0.0, **more):
        """A step that is no command."""
        self.steps.append({"name": name, "ok": ok, "seconds": round(seconds, 1), "note": text, **more})
        print(f"== {name}: {'ok' if ok else 'FAILED'}{': ' + text if text else ''} ({seconds:.1f} s)", flush=True)

    def quietly(self, command, limit=20, env=None):
        """Output of a command that may well not exist: (exit code or None, text)."""
        try:
            done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, errors="replace", timeout=limit,
                                  env={**os.environ, **(env or {})})
            return done.returncode, done.stdout + done.stderr
        except (OSError, subprocess.TimeoutExpired):
            return None, ""

    def step(self, name, command, share, env=None, judge=None):
        """Runs a command for at most `share` of all time, and of what is left. Returns its output.

        judge(exit code, output) -> (ok, note) looks closer than the exit code."""
        limit = min(share * self.seconds, self.left())
        if limit <= 1:
            self.note(name, False, "not begun: the time was used up")
            return ""
        print(f"== {name}: {' '.join(map(str, command))}", flush=True)
        log, began, timed_out = self.logs / f"{name.replace(' ', '-')}.log", time.monotonic(), False
        try:
            with open(log, "wb") as out:
                child = subprocess.Popen([str(c) for c in command], cwd=self.root, stdout=out, stderr=subprocess.STDOUT,
                                         stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True)
                try:
                    code = child.wait(timeout=limit)
                except subprocess.TimeoutExpired:
                    timed_out, code = True, 124
                except BaseException:
                    os.killpg(child.pid, signal.SIGKILL)
                    raise
                if timed_out:
                    os.killpg(child.pid, signal.SIGKILL)  # with its children: they may hold the GPU
                    child.wait()
        except OSError as error:
            self.note(name, False, f"{command[0]} cannot be run: {error}")
            return ""
        seconds = time.monotonic() - began
        text = log.read_text(errors="replace")
        if timed_out:
            ok, note = False, f"stopped after its {limit:.0f} s"
        elif judge:
            ok, note = judge(code, text)
        else:
            ok, note = code == 0, "" if code == 0 else f"exit code {code}: {last_lines(text)}"
        self.note(name, ok, note, seconds, command=" ".join(map(str, command)), log=str(log))
        return text


def last_lines(text, lines=3, length=400):
    useful = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(useful[-lines:])[-length:]
