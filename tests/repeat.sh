#!/usr/bin/env bash
# The whole pipeline twice: speech from sentences, encoding, training in stages, answers. Once on two threads and
# undisturbed; once on one thread, without the feature cache, killed (SIGKILL) at random moments and resumed.
# Every file that comes out must be the same byte for byte. `./dev repeat` runs it (three minutes on two cores).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=$PWD/build/wavllm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
seed=${1:-$RANDOM}
RANDOM=$seed
kills=0
echo "repeat: random moments from seed $seed"

# survive COMMAND...: runs it, kills it after 5 to 60 s, and runs it again (with --resume behind it, where it is a
# training that has begun) until it ends by itself
survive() {
    local pid again=()
    while :; do
        "$@" "${again[@]}" >>"$work/log" 2>&1 &
        pid=$!
        for ((i = 0, n = 50 + RANDOM % 550; i < n; ++i)); do
            sleep 0.1
            kill -0 $pid 2>/dev/null || break
        done
        if kill -KILL $pid 2>/dev/null; then
            wait $pid 2>/dev/null || true
            kills=$((kills + 1))
        elif wait $pid; then
            return 0
        else
            tail -n 5 "$work/log" >&2
            exit 1
        fi
        [[ $2 == train && -f $work/killed/run/config.json ]] && again=(--resume) && set -- "$1" train --threads 1 --no-cache --out "$work/killed/run"
    done
}

pipeline() {  # FOLDER RUNNER THREADS TRAIN-ARGUMENTS...
    local out=$work/$1 runner=$2 threads=$3
    shift 3
    mkdir -p "$out"
    $runner "$program" data synth --text samples/text/sentences.tsv.gz --hours 0.1 --voices 'flite-*,espeak-us' --jobs "$threads" \
        --exclude samples/speech_valid.tsv samples/speech_test.tsv --out "$out/speech"
    # the manifest's place is part of a run's configuration: it has to be the same
    rm -rf "$work/speech"
    cp -r "$out/speech" "$work/speech"
    $runner "$program" train --preset demo --threads "$threads" "$@" --out "$out/run" --set data.train.synth="$work/speech/train.tsv" \
        --set data.train.real=samples/speech_valid.tsv --set data.train.digits=samples/digits_valid.tsv \
        --set stages.ctc.steps=30 --set stages.joint.steps=10 --set train.save_every=3 --set train.validate_every=20 --set train.validate_clips=4
    for head in ctc joint llm; do
        "$program" eval --threads "$threads" --run "$out/run" --head $head --manifest samples/speech_valid.tsv --out "$out/$head.jsonl" >>"$work/log" 2>&1
    done
}

started=$SECONDS
quiet() { "$@" >>"$work/log" 2>&1; }
pipeline whole quiet 2
pipeline killed survive 1 --no-cache
status=0
for file in speech/train.tsv run/adapter.safetensors run/metrics.jsonl ctc.jsonl joint.jsonl llm.jsonl; do
    a=$(sha256sum <"$work/whole/$file") b=$(sha256sum <"$work/killed/$file")
    [[ $a == "$b" ]] && verdict=equal || verdict=DIFFERENT status=1
    printf '%-24s %.16s  %.16s  %s\n' "$file" "$a" "$b" "$verdict"
done
echo "repeat: 2 threads whole, 1 thread killed $kills times: $([[ $status == 0 ]] && echo equal || echo DIFFERENT) ($((SECONDS - started)) s)"
exit $status
