#include "data/synth/engines.h"

#include <espeak-ng/speak_lib.h>
#include <flite/flite.h>
#include <flite/flite_version.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tensor/error.h"

extern "C" {
// flite's packages declare these in no header
cst_voice* register_cmu_us_slt(const char* folder);
cst_voice* register_cmu_us_rms(const char* folder);
cst_voice* register_cmu_us_awb(const char* folder);
cst_voice* register_cmu_us_kal16(const char* folder);
}

namespace wavllm {

namespace {

constexpr int kEspeakWords = 160;  // a minute, at tempo 1: about flite's own tempo

int g_espeak_rate = 0;
std::map<std::string_view, cst_voice*> g_flite;

std::vector<float>& spoken() {
    static std::vector<float> samples;
    return samples;
}

int take_espeak(short* samples, int n, espeak_EVENT*) {
    if (samples)
        for (int i = 0; i < n; ++i) spoken().push_back(static_cast<float>(samples[i]) / 32768.0f);
    return 0;
}

Speech speak_espeak(const Voice& voice, const std::string& text, double tempo, double pitch) {
    if (espeak_SetVoiceByName(std::string(voice.source).c_str()) != EE_OK)
        throw UsageError("espeak-ng has no voice {} (for {}); is the package espeak-ng-data complete?", voice.source,
                         voice.name);
    // espeak's pitch runs from 0 to 100, 50 being the voice's own, over about an octave to either side
    const double steps = 50 + 50 * std::log2(pitch);
    espeak_SetParameter(espeakRATE, static_cast<int>(std::lround(kEspeakWords * tempo)), 0);
    espeak_SetParameter(espeakPITCH, std::clamp(static_cast<int>(std::lround(steps)), 0, 100), 0);
    spoken().clear();
    if (espeak_Synth(text.c_str(), text.size() + 1, 0, POS_CHARACTER, 0, espeakCHARS_UTF8, nullptr, nullptr) != EE_OK)
        throw Error("espeak-ng could not speak \"{}\"", text);
    return {std::move(spoken()), g_espeak_rate};
}

Speech speak_flite(const Voice& voice, const std::string& text, double tempo, double pitch) {
    const auto found = g_flite.find(voice.source);
    if (found == g_flite.end()) throw UsageError("flite has no voice {} (for {})", voice.source, voice.name);
    cst_voice* v = found->second;
    feat_set_float(v->features, "duration_stretch", static_cast<float>(1 / tempo));
    if (voice.source == "kal16") {
        // rule-based pitch, in Hz; 105 and 14 are the voice's own
        feat_set_float(v->features, "int_f0_target_mean", static_cast<float>(105 * pitch));
        feat_set_float(v->features, "int_f0_target_stddev", static_cast<float>(14 * pitch));
    } else {
        feat_set_float(v->features, "f0_shift", static_cast<float>(pitch));
    }
    cst_wave* wave = flite_text_to_wave(text.c_str(), v);
    if (!wave) throw Error("flite could not speak \"{}\"", text);
    Speech speech;
    speech.rate = cst_wave_sample_rate(wave);
    speech.samples.resize(static_cast<size_t>(cst_wave_num_samples(wave)));
    for (size_t i = 0; i < speech.samples.size(); ++i)
        speech.samples[i] = static_cast<float>(cst_wave_samples(wave)[i]) / 32768.0f;
    delete_wave(wave);
    return speech;
}

}  // namespace

void load_engines() {
    if (g_espeak_rate > 0) return;
    flite_init();
    g_flite = {{"slt", register_cmu_us_slt(nullptr)},
               {"rms", register_cmu_us_rms(nullptr)},
               {"awb", register_cmu_us_awb(nullptr)},
               {"kal16", register_cmu_us_kal16(nullptr)}};
    const int rate = espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, nullptr, espeakINITIALIZE_DONT_EXIT);
    if (rate <= 0)
        throw FileError("espeak-ng could not be started: its data was not found; install the package espeak-ng-data");
    espeak_SetSynthCallback(take_espeak);
    espeak_SetVoiceByName("gmw/en");  // reads the dictionary, which the children then share
    g_espeak_rate = rate;
}

std::string engine_versions() {
    return fmt::format("flite {} espeak-ng {} use 1", FLITE_PROJECT_VERSION, espeak_Info(nullptr));
}

Speech speak(const Voice& voice, const std::string& text, double tempo, double pitch) {
    load_engines();
    return voice.engine == SpeechEngine::flite ? speak_flite(voice, text, tempo, pitch)
                                               : speak_espeak(voice, text, tempo, pitch);
}

}  // namespace wavllm
