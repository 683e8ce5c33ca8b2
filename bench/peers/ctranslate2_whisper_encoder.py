"""CTranslate2's time for the Whisper-base encoder on 30 s of audio.

    python ctranslate2_whisper_encoder.py MODEL_FOLDER --threads 2 --compute-type float32 [--steps 5]

Prints one JSON object; one process measures one number format, so that the peak memory is its own.
"""

import argparse
import importlib.metadata
import json

from common import median_times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="holds model.bin, config.json and the vocabulary")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compute-type", default="float32")
    parser.add_argument("--steps", type=int, default=5, help="timed runs, after 2 that are not")
    arguments = parser.parse_args()

    import ctranslate2
    import numpy

    supported = ctranslate2.get_supported_compute_types("cpu")
    if arguments.compute_type not in supported:
        raise SystemExit(
            f"CTranslate2 has no {arguments.compute_type} on this CPU; it has {', '.join(sorted(supported))}"
        )
    model = ctranslate2.models.Whisper(
        arguments.folder, device="cpu", compute_type=arguments.compute_type, inter_threads=1,
        intra_threads=arguments.threads,
    )
    mel = numpy.random.default_rng(0).standard_normal((1, 80, 3000)).astype(numpy.float32) * 0.5
    features = ctranslate2.StorageView.from_array(mel)
    result = median_times(lambda: model.encode(features), arguments.steps)
    result["ctranslate2"] = importlib.metadata.version("ctranslate2")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
