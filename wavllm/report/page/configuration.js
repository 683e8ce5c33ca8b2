// What was run, with what, and how to run it again; then the page is put together.

function chips(d) {
    return card("Additions to the paper's recipe", "What this run does that WavLLM's paper does not; dashed ones are off, as in the paper.",
        el("ul", {class: "chips"}, d.additions.map((a) => el("li", {class: a.on ? "" : "off"}, el("b", {}, a.name), el("span", {}, a.on ? ` ${a.what}` : " off")))));
}

const plain = (v) => (v === null ? "–" : typeof v === "object" ? (Array.isArray(v) ? v.map(plain).join(", ") : Object.entries(v).map(([k, x]) => `${k}: ${plain(x)}`).join(", ")) || "–" : String(v));

function configTable(name, values) {
    const rows = Object.entries(values).map(([k, v]) => el("tr", {}, el("td", {}, k), el("td", {class: "n"}, plain(v))));
    return el("details", {class: "config"}, el("summary", {}, name), el("div", {class: "scroll", tabindex: "0"}, el("table", {}, el("tbody", {}, rows))));
}

function configCard(d) {
    const {stages = [], ...rest} = d.config, single = Object.fromEntries(Object.entries(rest).filter(([, v]) => typeof v !== "object"));
    return card("Configuration", "Every value that decides the model and its training.",
        Object.keys(single).length > 0 && configTable("general", single),
        Object.entries(rest).filter(([, v]) => v && typeof v === "object").map(([k, v]) => configTable(k, v)),
        stages.map((s) => configTable(`stage ${s.name}`, s)));
}

function stagesCard(d) {
    const rate = (s, p) => (s.rates[p] > 0 ? show.number(s.rates[p]) : "–");
    return card("Stages", null, el("div", {class: "scroll", tabindex: "0"}, el("table", {},
        el("thead", {}, el("tr", {}, ["stage", "trains"].map((t) => el("th", {}, t)), ["steps", "cross-entropy", "CTC", "adapter rate", "LoRA rate", "clips"].map((t) => el("th", {class: "n"}, t)))),
        el("tbody", {}, d.stages.map((s) => el("tr", {}, el("td", {}, s.name), el("td", {}, s.trains), [show.count(s.end - s.begin), `× ${s.ce_weight}`, `× ${s.ctc_weight}`, rate(s, "adapter"), rate(s, "lora"),
            s.lengths].map((t) => el("td", {class: "n"}, t))))))));
}

function hashesCard(d) {
    return card("SHA-256", "Of what the run stands on, and of what it made.", d.hashes.length === 0 ? none("Not recorded.") : el("div", {class: "scroll", tabindex: "0"}, el("table", {}, el("tbody", {}, d.hashes.map((h) =>
        el("tr", {}, el("td", {}, h.what), el("td", {}, el("div", {}, h.name), el("div", {class: "hash"}, h.sha256))))))));
}

function versionsCard(d) {
    const s = d.machine.sessions.at(-1);
    if (!s) return card("Versions", null, none("Not recorded."));
    const rows = [["wavllm", s.version], ["commit", s.commit], ["compiler", s.compiler], ["processor", s.cpu], ["threads", s.threads], ["arithmetic of frozen weights", s.arithmetic],
        ["started", s.started], ["sessions of this run", d.machine.sessions.length], ["seeds", Object.entries(d.seeds).map(([k, v]) => `${k} ${v}`).join(", ")]].filter(([, v]) => v !== undefined && v !== "");
    return card("Versions and seeds", null, el("div", {class: "scroll", tabindex: "0"}, el("table", {}, el("tbody", {}, rows.map(([k, v]) => el("tr", {}, el("td", {}, k), el("td", {}, plain(v))))))));
}

function repeatCard(d) {
    const s = d.machine.sessions.at(-1);
    return card("To repeat it", "The same configuration gives the same adapter file, byte for byte, on any number of threads of this kind of processor.",
        el("pre", {}, d.machine.repeat), s?.command && [el("p", {class: "note"}, "It was started as"), el("pre", {}, s.command)]);
}

function configuration(d) {
    return section("configuration", "Configuration", null, el("div", {class: "grid"}, wide(chips(d)), wide(stagesCard(d)), configCard(d), versionsCard(d), wide(hashesCard(d)), wide(repeatCard(d))));
}

function page() {
    const d = JSON.parse(document.getElementById("data").textContent);
    document.title = `${d.name}: training run`;
    document.getElementById("top").append(...header(d));
    const sections = [curves(d), errors(d), examples(d), attention(d), optimisation(d), machine(d), configuration(d)];
    document.getElementById("nav").append(el("div", {}, sections.map((s) => el("a", {href: `#${s.id}`}, s.getAttribute("aria-label")))));
    document.getElementById("content").replaceChildren(...sections);
    document.getElementById("foot").append("Written by wavllm from the run's folder. This page needs no network.");
}
page();
