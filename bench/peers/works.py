"""The pieces of work, and for each the programs that do it: how they are called and where their samples stand."""

import dataclasses
import pathlib
from collections.abc import Callable

import provision

HERE = pathlib.Path(__file__).resolve().parent
PROMPT, TOKENS = 256, 128
NAMES = ("step", "encoder", "prompt", "generation")


@dataclasses.dataclass
class Contestant:
    name: str
    command: list
    parse: Callable  # the program's JSON to samples: seconds, or tokens a second
    ours: bool = False
    note: str = ""
    missing: str = ""
    samples: list = dataclasses.field(default_factory=list)
    peak_mib: float = 0


@dataclasses.dataclass
class Work:
    name: str
    what: str
    unit: str
    contestants: list

    @property
    def rate(self):
        """Whether more is better."""
        return self.unit != "s"


def peer(name, make, parse, note=""):
    """A contestant whose command make() returns, or one that is missing."""
    try:
        return Contestant(name, make(), parse, note=note)
    except provision.Missing as reason:
        return Contestant(name, [], parse, missing=str(reason))


def ours(name, arguments, *words, parse):
    command = [arguments.wavllm.resolve(), "bench", *words, "--threads", arguments.threads, "--json", "-"]
    return Contestant(name, command, parse, ours=True)


def torch_peers(script, arguments, samples):
    """PyTorch in each number format with each of its attention implementations: the fastest is the peer that counts."""

    def command(mode, attention):
        program = provision.python()
        for module in ("torch", "transformers"):
            if not provision.has_module(program, module):
                raise provision.Missing(f"{program} has no {module}")
        return [program, HERE / script, "--threads", arguments.threads, "--modes", mode, "--attention", attention,
                "--steps", arguments.steps]  # fmt: skip

    return [
        peer(
            f"PyTorch {mode}{' autocast' if script == 'torch_train_step.py' and mode == 'bf16' else ''}, {attention}",
            lambda mode=mode, attention=attention: command(mode, attention),
            lambda out, mode=mode, attention=attention: samples(out["modes"][mode][attention]["samples_s"]),
        )
        for mode in ("f32", "bf16")
        for attention in ("sdpa", "eager")
    ]


def ctranslate2_peer(compute_type, arguments):
    def command():
        program = provision.python()
        if not provision.has_module(program, "ctranslate2"):
            raise provision.Missing(f"{program} has no ctranslate2")
        return [program, HERE / "ctranslate2_whisper_encoder.py", provision.ctranslate2_whisper_base(), "--threads",
                arguments.threads, "--compute-type", compute_type, "--steps", arguments.steps]  # fmt: skip

    return peer(f"CTranslate2 {compute_type}", command, lambda out: out["samples_s"])


def whisper_cpp_peer(flash, arguments):
    def command():
        program, model = provision.whisper_encoder()
        return [program, model, arguments.threads, int(flash), arguments.steps]

    return peer(f"whisper.cpp f16{', flash attention' if flash else ''}", command, lambda out: out["samples_s"],
                note="a model with no weights in it: its peak memory lacks about 140 MiB")  # fmt: skip


def llama_peers(words, arguments):
    """llama.cpp with and without flash attention."""

    def command(flash):
        return [provision.llama_bench(), "-m", provision.cached_weights("SmolLM2-135M-Instruct.Q4_1.gguf"), *words,
                "-t", arguments.threads, "-fa", flash, "-r", arguments.steps, "-o", "json"]  # fmt: skip

    return [
        peer(f"llama.cpp Q4_1{', flash attention' if flash else ''}", lambda flash=flash: command(flash),
             lambda out: out[0]["samples_ts"])  # fmt: skip
        for flash in (0, 1)
    ]


def step(arguments):
    return Work(
        "LoRA training step",
        "frozen SmolLM2-135M (random weights), LoRA rank 32 on q, k, v, o, 4 x 160 tokens, 40 targets each, Adam",
        "s",
        [ours("wavllm", arguments, "step", "--runs", arguments.steps, parse=lambda out: out["seconds"]["samples"])]
        + torch_peers("torch_train_step.py", arguments, lambda samples: samples),
    )


def encoder(arguments):
    return Work(
        "Whisper encoder",
        "Whisper base on 30 s of audio, from the log-mel spectrogram on",
        "s",
        [ours("wavllm", arguments, "encoder", "--runs", arguments.steps, parse=lambda out: out["seconds"]["samples"])]
        + torch_peers("torch_whisper_encoder.py", arguments, lambda samples: samples)
        + [ctranslate2_peer(kind, arguments) for kind in ("float32", "int8_float32", "bfloat16")]
        + [whisper_cpp_peer(flash, arguments) for flash in (False, True)],
    )


def generate(arguments, figures):
    return ours("wavllm", arguments, "generate", "--prompt", PROMPT, "--tokens", TOKENS, "--runs", arguments.steps,
                parse=lambda out: out[figures]["samples"])  # fmt: skip


def prompt(arguments):
    return Work(
        "prompt",
        f"SmolLM2-135M Q4_1, {PROMPT} tokens of prompt at once, logits of the last; PyTorch has random weights",
        "tok/s",
        [generate(arguments, "prompt_tokens_per_second")]
        + torch_peers("torch_prompt.py", arguments, lambda samples: [PROMPT / s for s in samples])
        + llama_peers(["-p", PROMPT, "-n", 0], arguments),
    )


def generation(arguments):
    return Work(
        "generation",
        f"SmolLM2-135M Q4_1, batch 1, {TOKENS} tokens one by one behind {PROMPT} tokens of prompt",
        "tok/s",
        [generate(arguments, "generation_tokens_per_second")]
        + llama_peers(["-p", 0, "-n", TOKENS, "-d", PROMPT], arguments),
    )


def make(arguments, only):
    makers = {"step": step, "encoder": encoder, "prompt": prompt, "generation": generation}
    return [maker(arguments) for name, maker in makers.items() if not only or name in only]
