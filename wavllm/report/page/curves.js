// What is said at the top, and the curves over the run.

/// A titled card; empty content is said, not hidden.
function card(title, note, ...content) {
    return el("div", {class: "card"}, el("h3", {}, title), note && el("p", {class: "note"}, note), ...content);
}
const none = (text) => el("p", {class: "none"}, text);
const wide = (node) => { node.classList.add("wide"); return node; };

function section(id, title, note, ...content) {
    return el("section", {id, "aria-label": title}, el("h2", {}, title), note && el("p", {class: "note"}, note), ...content);
}

/// Sets of one-word answers are judged by the answers that are exactly right, speech by its words.
const byAnswer = (f) => f.mean_words <= 1.5;

function hero(f) {
    const best = f.joint ?? f.llm ?? f.ctc, judged = byAnswer(f);
    const value = judged ? best.accuracy : best.wer;
    const row = (name, e) => e && [el("dt", {}, name), el("dd", {}, judged ? `${show.percent(e.accuracy)} right` : `WER\u00a0${show.percent(e.wer)}, CER\u00a0${show.percent(e.cer)}`)];
    return el("div", {class: "card hero"},
        el("div", {class: "what"}, el("b", {}, f.set), ` · ${f.kind}, ${show.count(f.clips)} clips`),
        el("div", {class: "big"}, (100 * value).toFixed(1), el("small", {}, "%")),
        el("div", {class: "unit"}, judged ? "of the answers exactly right" : "word error rate (WER)", f.joint ? ", LLM and CTC head together" : f.llm ? ", LLM" : ", CTC head"),
        el("dl", {}, row("together", f.joint), row("LLM", f.llm), row("CTC head", f.ctc),
            f.kind === "validation" && [el("dt", {}, "measured after"), el("dd", {}, `step ${show.count(f.step)}`)]));
}

function header(d) {
    const t = d.totals, m = d.machine, strip = [];
    const fact = (value, what) => strip.push(el("div", {}, el("b", {}, value), el("span", {}, what)));
    fact(`${show.count(t.steps)}${t.steps < d.steps_total ? ` of ${show.count(d.steps_total)}` : ""}`, "optimiser steps");
    if (m.training_seconds) fact(show.duration(m.training_seconds), `of training${m.sessions.length ? ` on ${m.sessions.at(-1).threads} threads` : ""}`);
    fact(show.duration(t.audio_seconds), "of audio heard, repeats counted");
    if (t.parameters) fact(show.million(Object.values(t.parameters).reduce((a, b) => a + b, 0)), "trained parameters");
    if (m.memory) fact(show.bytes(m.memory.total_peak), "most memory held in tensors");
    return [
        el("p", {class: "over"}, "Training run", el("span", {class: "state"}, d.complete ? "complete" : `at step ${show.count(t.steps)}`)),
        el("h1", {}, d.name),
        el("p", {class: "lead"}, d.sentence),
        d.figures.length ? el("div", {class: "heroes"}, d.figures.map(hero)) : none("No validation has been made yet."),
        el("div", {class: "card strip"}, strip),
    ];
}

const bands = (d) => d.stages.map((s) => ({from: s.begin, to: s.end, name: s.name}));
const validationsOf = (d, set) => d.valid.filter((v) => v.set === set);
const validationSets = (d) => [...new Set(d.valid.map((v) => v.set))];

/// Raw values faintly, their running mean over them. A mean does not reach from one stage into another, whose values are
/// of another size.
function noisyLine(d, name, color, x, raw) {
    const mean = Array(x.length).fill(null);
    for (const stage of d.stages) {
        const at = x.map((s, i) => (s >= stage.begin && s < stage.end ? i : -1)).filter((i) => i >= 0);
        smooth(at.map((i) => raw[i]), Math.max(3, Math.round(at.length / 50))).forEach((v, k) => { mean[at[k]] = v; });
    }
    return [{name: "", color, x, y: raw, faint: true}, {name, color, x, y: mean, always: true}];
}

/// A column of the metrics, of all steps or of those whose clips came from one set.
function noisy(d, key, name, color, only) {
    const at = d.train.step.map((_, i) => i).filter((i) => !only || d.train.set[i] === only);
    return noisyLine(d, name, color, at.map((i) => d.train.step[i]), at.map((i) => d.train[key][i]));
}

function lossCard(d, key, title, note) {
    const values = d.train[key];
    if (!values?.some(isNumber)) return null;
    const sets = [...new Set(d.train.set.filter(Boolean))].sort(), series = [];
    if (sets.length > 1 && sets.length <= 4) sets.forEach((s, i) => series.push(...noisy(d, key, `training: ${s}`, seriesColor(i), s)));
    else series.push(...noisy(d, key, "training, running mean", seriesColor(0)));
    if (key === "ce") validationSets(d).forEach((set) => {
        const v = validationsOf(d, set).filter((p) => isNumber(p.loss)), i = sets.length > 1 ? sets.indexOf(set) : -1;
        if (v.length) series.push({name: `validation: ${set}`, color: i >= 0 ? seriesColor(i) : seriesColor(Math.max(1, sets.length) + validationSets(d).indexOf(set)),
            x: v.map((p) => p.step), y: v.map((p) => p.loss), dots: true, dash: true, always: true});
    });
    return card(title, note, chart({series, bands: bands(d), from0: true, clip: true, label: title, steps: true}));
}

function errorCard(d, set) {
    const v = validationsOf(d, set), last = v.at(-1), figure = d.figures.find((f) => f.set === set && f.kind === "validation");
    const judged = figure && byAnswer(figure);
    const one = (key, name, color, dash) => {
        const p = v.filter((q) => isNumber(q[key]));
        return p.length ? [{name, color, dash, x: p.map((q) => q.step), y: p.map((q) => q[key]), dots: true, always: true}] : [];
    };
    const series = judged ? [...one("accuracy", "LLM, exactly right", "var(--c1)"), ...one("ctc_accuracy", "CTC head, exactly right", "var(--c2)")]
        : [...one("wer", "WER, LLM", "var(--c1)"), ...one("cer", "CER, LLM", "var(--c1)", true),
            ...one("ctc_wer", "WER, CTC head", "var(--c2)"), ...one("ctc_cer", "CER, CTC head", "var(--c2)", true)];
    return card(set, judged ? "Answers that equal the reference after normalisation; higher is better." : "Errors per word and per character of the reference, normalised; lower is better. Above 100 % is drawn at the top.",
        chart({series, bands: bands(d), from0: true, most: 1, y: (x) => show.percent(x, 0), label: `${set}: error rates over the run`, steps: true}),
        validationTable(v, last));
}

function validationTable(v) {
    const columns = [["loss", "loss", show.number], ["wer", "WER", show.percent], ["cer", "CER", show.percent], ["accuracy", "right", show.percent],
        ["ctc_wer", "CTC WER", show.percent], ["ctc_cer", "CTC CER", show.percent], ["ctc_accuracy", "CTC right", show.percent]].filter(([k]) => v.some((p) => isNumber(p[k])));
    return el("details", {}, el("summary", {}, "as a table"), el("div", {class: "scroll", tabindex: "0"}, el("table", {},
        el("thead", {}, el("tr", {}, el("th", {}, "after step"), columns.map(([, name]) => el("th", {class: "n"}, name)))),
        el("tbody", {}, v.map((p) => el("tr", {}, el("td", {}, show.count(p.step)), columns.map(([k, , f]) => el("td", {class: "n"}, f(p[k])))))))));
}

const parts = {adapter: "var(--c1)", lora: "var(--c2)", ctc: "var(--c3)", prompt: "var(--c4)"};
const partNames = {adapter: "adapter", lora: "LoRA", ctc: "CTC head", prompt: "prompt adapter"};

function rateCard(d) {
    const series = Object.keys(parts).map((part) => ({name: partNames[part], color: parts[part], x: d.train.step, always: true,
        y: d.train.rate.map((r, i) => {
            const stage = d.stages.find((s) => d.train.step[i] >= s.begin && d.train.step[i] < s.end);
            return stage && stage.rates[part] > 0 ? r * stage.rates[part] : null;
        })})).filter((s) => s.y.some(isNumber) && s.name !== "CTC head");
    return card("Learning rate", "What each part's steps are multiplied with: peak rate of the stage times its warm-up and decay. The CTC head goes with the adapter.",
        chart({series, bands: bands(d), from0: true, label: "Learning rate over the run", steps: true}));
}

function gradientCard(d) {
    const series = Object.keys(parts).filter((p) => d.train[`grad_norm_${p}`]?.some((v) => v > 0))
        .flatMap((p) => noisy(d, `grad_norm_${p}`, partNames[p], parts[p]));
    const clip = d.config.train?.clip_norm;
    return card("Gradient norms", `L2 norm of the gradient of each trained part, before clipping${clip > 0 ? ` (all together are clipped at ${clip})` : ""}; logarithmic.`,
        series.length ? chart({series, bands: bands(d), log: true, label: "Gradient norms over the run", steps: true}) : none("No step has been logged yet."));
}

function curves(d) {
    if (d.train.step.length === 0) return section("curves", "Loss", null, none("No step has been logged yet."));
    const mean = d.train.mean_of > 1 ? ` Each point is the mean of ${d.train.mean_of} steps.` : "";
    const shown = [lossCard(d, "ce", "Cross-entropy of the LLM", `Nats per target token.${mean}`),
        lossCard(d, "ctc", "CTC loss of the speech embeddings", `Nats per transcript token, an addition to the paper.${mean}`)].filter(Boolean);
    return section("curves", "Loss", "Shaded bands are the stages of the run. Single steps are faint, their running mean within a stage is bold.",
        el("div", {class: "grid"}, shown.length ? shown : none("No loss has been logged yet.")));
}

function errors(d) {
    const sets = validationSets(d);
    return section("errors", "Errors on held-out clips", "After Whisper's English normaliser; decoded greedily. The LLM answers the instruction; the CTC head reads the adapter's output without the LLM.",
        sets.length ? el("div", {class: "grid"}, sets.map((s) => errorCard(d, s))) : none("No validation has been made yet."));
}

function optimisation(d) {
    return section("optimisation", "Optimisation", null, d.train.step.length ? el("div", {class: "grid"}, rateCard(d), gradientCard(d)) : none("No step has been logged yet."));
}
