// What depends on the machine: memory and time.

const purposeColors = {weights: "var(--c1)", gradients: "var(--c2)", optimizer: "var(--c3)", activations: "var(--c4)", workspace: "var(--c5)", data: "var(--c6)", kv_cache: "var(--soft)"};

function memoryCard(m) {
    if (!m) return card("Memory by purpose", null, none("Not recorded yet."));
    const most = Math.max(...m.purposes.map((p) => p.peak), 1);
    const place = m.device && m.device !== "cpu" ? ` on ${m.device}` : "", taken = m.reserved ? `; taken from the system with free blocks: ${show.bytes(m.reserved)}` : "";
    return card("Memory by purpose", `Most bytes of tensors held for each purpose${place}. Together at one time: ${show.bytes(m.total_peak)}${taken}.`,
        el("div", {class: "scroll", tabindex: "0"}, el("table", {},
            el("thead", {}, el("tr", {}, el("th", {}, "purpose"), el("th", {}), el("th", {class: "n"}, "peak"), el("th", {class: "n"}, "after the step"))),
            el("tbody", {}, m.purposes.filter((p) => p.peak > 0).sort((a, b) => b.peak - a.peak).map((p) => el("tr", {}, el("td", {}, p.purpose.replace("_", " ")),
                el("td", {class: "bar"}, el("div", {}, el("span", {style: `width:${(100 * p.peak) / most}%;background:${purposeColors[p.purpose] ?? "var(--soft)"}`}))),
                el("td", {class: "n"}, show.bytes(p.peak)), el("td", {class: "n"}, show.bytes(p.bytes))))))));
}

function opsTable(profile) {
    const time = (o) => o.forward + o.backward + o.other, ops = [...profile.ops].sort((a, b) => time(b) - time(a));
    const total = ops.reduce((s, o) => s + time(o), 0), most = Math.max(...ops.map(time)), each = (seconds) => (seconds > 0 ? show.duration(seconds / profile.steps) : "–");
    const part = (seconds, color) => el("span", {style: `width:${(100 * seconds) / most}%;background:${color}`});
    const row = (o) => el("tr", {}, el("td", {}, o.op),
        el("td", {class: "bar"}, el("div", {}, part(o.forward, "var(--c1)"), part(o.backward, "var(--c2)"), part(o.other, "var(--c3)"))),
        el("td", {class: "n"}, each(o.forward + o.other)), el("td", {class: "n"}, each(o.backward)), el("td", {class: "n"}, show.percent(time(o) / total)), el("td", {class: "n"}, show.count(o.calls / profile.steps)));
    const table = (list) => el("div", {class: "scroll", tabindex: "0"}, el("table", {},
        el("thead", {}, el("tr", {}, ["op", ""].map((t) => el("th", {}, t)), ["forward", "backward", "share", "calls"].map((t) => el("th", {class: "n"}, t)))), el("tbody", {}, list.map(row))));
    return [table(ops.slice(0, 12)), ops.length > 12 && el("details", {}, el("summary", {}, `${ops.length - 12} more`), table(ops.slice(12)))];
}

function opsCard(profile, many) {
    const total = profile.ops.reduce((s, o) => s + o.forward + o.backward + o.other, 0);
    return card(`Time by op${many ? `, stage ${profile.stage}` : ""}`, `A step takes ${show.duration(total / profile.steps)} on average (${show.count(profile.steps)} steps); what is booked to an op includes the glue before it, so the shares add up to the whole step.`,
        el("div", {class: "legend"}, el("span", {}, el("i", {class: "block", style: "background:var(--c1)"}), "forward"), el("span", {}, el("i", {class: "block", style: "background:var(--c2)"}), "backward"), el("span", {}, el("i", {class: "block", style: "background:var(--c3)"}), "beside the model")),
        ...opsTable(profile));
}

function stepTimeCard(d) {
    const t = d.machine.timing;
    if (!t || t.step.length === 0) return card("Time of a step", null, none("Not recorded yet."));
    const series = noisyLine(d, "seconds a step, running mean", "var(--c1)", t.step, t.seconds);
    const sorted = [...t.seconds].sort((a, b) => a - b);
    return card("Time of a step", `Seconds; the median is ${show.duration(sorted[sorted.length >> 1])}. Batches differ in length, stages in work.`,
        chart({series, bands: bands(d), from0: true, most: 1.3 * sorted[Math.floor(0.98 * (sorted.length - 1))], label: "Time of a step over the run", steps: true}));
}

function machine(d) {
    const m = d.machine, profiles = m.profile ?? [];
    return section("machine", "Memory and time", "These depend on the machine; curves, answers and attention are the same in every run of this configuration.",
        el("div", {class: "grid"}, memoryCard(m.memory), stepTimeCard(d),
            ...(profiles.length ? profiles.map((p) => opsCard(p, profiles.length > 1)) : [card("Time by op", null, none("Not recorded yet."))])));
}
