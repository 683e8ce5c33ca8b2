// whisper.cpp's time for its encoder on 30 s of audio: a small program on its public interface, since its own benchmark
// times one encoding among thousands of decoder steps. Built by provision.py against the static library.
//
//     whisper_cpp_encoder MODEL THREADS FLASH_ATTENTION(0|1) STEPS      prints one JSON object

#include <whisper.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
    if (argc != 5) return std::fprintf(stderr, "usage: %s MODEL THREADS FLASH_ATTENTION STEPS\n", argv[0]), 2;
    const int threads = std::atoi(argv[2]), steps = std::atoi(argv[4]);
    whisper_context_params parameters = whisper_context_default_params();
    parameters.use_gpu = false;
    parameters.flash_attn = std::atoi(argv[3]) != 0;
    whisper_context* context = whisper_init_from_file_with_params(argv[1], parameters);
    if (!context) return std::fprintf(stderr, "%s: not loaded\n", argv[1]), 1;
    if (whisper_set_mel(context, nullptr, 0, whisper_model_n_mels(context)) != 0)
        return std::fprintf(stderr, "no mel\n"), 1;
    std::printf("{\"samples_s\": [");
    for (int i = -2; i < steps; ++i) {  // two to warm up
        const auto begin = std::chrono::steady_clock::now();
        if (whisper_encode(context, 0, threads) != 0) return std::fprintf(stderr, "encode failed\n"), 1;
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        if (i >= 0) std::printf("%s%.6f", i ? ", " : "", seconds.count());
    }
    std::printf("]}\n");
    whisper_free(context);
}
