"""PyTorch's time for the Whisper-base encoder on 30 s of audio (random weights: time does not depend on them).

Input: log-mel [1, 80, 3000]. Prints one JSON object: per number format and attention implementation the median, fastest
and slowest run in seconds.

    python torch_whisper_encoder.py --threads 2 [--modes f32,bf16] [--attention sdpa,eager] [--steps 5]
"""

from common import measure_all, median_times, parse_arguments


def measure(mode, attention, threads, steps):
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=51865, num_mel_bins=80, d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048,
        decoder_layers=6, decoder_attention_heads=8, decoder_ffn_dim=2048, max_source_positions=1500,
        attn_implementation=attention,
    )
    dtype = torch.bfloat16 if mode == "bf16" else torch.float32
    encoder = WhisperEncoder(config).eval().to(dtype)
    mel = torch.randn(1, 80, 3000, dtype=dtype)

    def run():
        with torch.inference_mode():
            encoder(mel)

    return median_times(run, steps)


if __name__ == "__main__":
    measure_all("whisper_encoder", measure, parse_arguments(__doc__))
