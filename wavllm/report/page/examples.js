// Clips to listen to, with what was said and what each head understood.

const mostWords = 70;  // an answer that repeats itself without end is shown as far as it is worth reading

/// words: [kind, reference, hypothesis] with kind m, s, d or i, as infer/wer.h aligns them.
function alignedWords(words) {
    if (words.length === 0) return el("p", {class: "words"}, el("em", {}, "(nothing)"));
    if (words.length > 1.3 * mostWords)
        return el("div", {}, wordLine(words.slice(0, mostWords)),
            el("details", {}, el("summary", {}, `${words.length - mostWords} more words`), wordLine(words.slice(mostWords))));
    return wordLine(words);
}

function wordLine(words) {
    return el("p", {class: "words"}, words.flatMap(([kind, reference, hypothesis]) => [
        kind === "m" ? hypothesis
            : el("span", {class: kind, title: {s: `said: ${reference}`, d: "missing in the answer", i: "not in the reference"}[kind]}, kind === "d" ? reference : hypothesis),
        " "]));
}

function answer(name, e) {
    if (!e) return null;
    return el("div", {}, el("p", {class: "label"}, `${name} · WER `, el("b", {}, show.percent(e.wer, 0)), " · CER ", el("b", {}, show.percent(e.cer, 0))), alignedWords(e.words));
}

function history(e) {
    if ((e.history ?? []).length < 2) return null;
    return el("details", {}, el("summary", {}, "how the answer changed over the run"), el("div", {class: "history"}, e.history.flatMap((h) => [
        el("div", {class: "step"}, `step ${show.count(h.step)}, ${h.head === "llm" ? "LLM" : "CTC"}`), alignedWords(h.words)])));
}

function player(e) {
    if (e.audio) return el("audio", {controls: "", preload: "none", src: e.audio, "aria-label": `Recording ${e.id}`});
    return el("span", {class: "meta"}, e.audio_missing ?? "no recording");
}

function example(e) {
    return el("article", {class: "card example"},
        el("div", {class: "head"}, e.rank && el("span", {class: "rank"}, e.rank), el("span", {class: "id"}, e.id),
            el("span", {class: "meta"}, [isNumber(e.seconds) && `${e.seconds.toFixed(1)} s`, e.speaker && `speaker ${e.speaker}`].filter(Boolean).join(" · ")), player(e)),
        el("p", {class: "label"}, "said"), el("p", {class: "ref"}, e.reference || "(empty)"),
        el("div", {class: "two"}, answer("LLM", e.llm), answer("CTC head", e.ctc)), history(e));
}

function examples(d) {
    const sets = [...new Set(d.examples.map((e) => e.set))];
    if (sets.length === 0) return section("examples", "Examples", null, none("No answers have been recorded yet."));
    const list = el("div"), key = el("p", {class: "words note"}, el("span", {class: "s"}, "another word"), "  ", el("span", {class: "d"}, "left out"), "  ", el("span", {class: "i"}, "made up"));
    const buttons = sets.map((set) => el("button", {type: "button", onclick: () => choose(set)}, set));
    const choose = (set) => {
        buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(sets[i] === set)));
        list.replaceChildren(...d.examples.filter((e) => e.set === set).map(example));
    };
    choose(sets[0]);
    return section("examples", "Examples", `Held-out clips after step ${show.count(d.examples[0].step)}: the best, the median and the worst of each set, by the WER of their answers. Answers are shown normalised, as they are scored.`,
        key, sets.length > 1 && el("div", {class: "tabs", role: "group", "aria-label": "Set of clips"}, buttons), list);
}
