// Elements, numbers as text, and charts in SVG. Text from a run only ever enters as text nodes, never as HTML.

const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
        else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
    return node;
}

const isNumber = (x) => typeof x === "number" && Number.isFinite(x);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const seriesColor = (i) => `var(--c${1 + (i % 6)})`;

const show = {
    count: (x) => (isNumber(x) ? Math.round(x).toLocaleString("en-US") : "–"),
    percent: (x, digits = 1) => (isNumber(x) ? `${(100 * x).toFixed(digits)}\u00a0%` : "–"),
    number: (x) => {
        if (!isNumber(x)) return "–";
        const a = Math.abs(x);
        if (a !== 0 && (a < 1e-3 || a >= 1e6)) {
            const [m, e] = x.toExponential(2).split("e"), digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
            return `${Number(m)} × 10${e.replace("+", "").replace("-", "⁻").replace(/\d/g, (c) => digits[c])}`;
        }
        return a >= 1000 ? Math.round(x).toLocaleString("en-US") : String(Number(x.toPrecision(3)));
    },
    million: (x) => (x >= 1e9 ? `${(x / 1e9).toFixed(2)} G` : x >= 1e5 ? `${(x / 1e6).toFixed(2)} M` : show.count(x)),
    bytes: (x) => {
        if (!isNumber(x)) return "–";
        const units = ["B", "kB", "MB", "GB"];
        let i = 0;
        for (; x >= 1000 && i < 3; ++i) x /= 1000;
        return `${i === 0 || x >= 100 ? Math.round(x) : x.toPrecision(3)} ${units[i]}`;
    },
    duration: (s) => {
        if (!isNumber(s)) return "–";
        if (s > 0 && s < 1e-4) return `${Number((1e6 * s).toPrecision(2))} µs`;
        if (s < 1) return `${Number((1000 * s).toPrecision(3))} ms`;
        if (s < 60) return `${Number(s.toPrecision(3))} s`;
        const h = Math.floor(s / 3600), m = Math.floor((s % 3600) / 60), r = Math.round(s % 60);
        return h > 0 ? `${h} h ${String(m).padStart(2, "0")} min` : `${m} min ${String(r).padStart(2, "0")} s`;
    },
};

/// Round values for about `count` grid lines between low and high.
function ticks(low, high, count) {
    const raw = (high - low) / Math.max(1, count), power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) found.push(i * step);
    return found;
}

function logTicks(low, high) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); ++e)
        for (const m of high / low > 200 ? [1] : high / low > 20 ? [1, 3] : [1, 2, 5])
            if (m * 10 ** e >= low * 0.999 && m * 10 ** e <= high * 1.001) found.push(m * 10 ** e);
    return found;
}

/// Mean over a window around each point: what a noisy curve does.
function smooth(y, half) {
    const sums = [0], counts = [0];
    for (const v of y) {
        sums.push(sums.at(-1) + (isNumber(v) ? v : 0));
        counts.push(counts.at(-1) + (isNumber(v) ? 1 : 0));
    }
    return y.map((v, i) => {
        const a = Math.max(0, i - half), b = Math.min(y.length, i + half + 1);
        return isNumber(v) && counts[b] > counts[a] ? (sums[b] - sums[a]) / (counts[b] - counts[a]) : null;
    });
}

/// A polyline that is interrupted where a value is missing.
function path(points) {
    let d = "", pen = false;
    for (const p of points) {
        if (!p) { pen = false; continue; }
        d += `${pen ? "L" : "M"}${p[0].toFixed(1)} ${p[1].toFixed(1)}`;
        pen = true;
    }
    return d;
}

/// chart({series: [{name, color, x, y, faint, dots, dash}], bands: [{from, to, name}], y: formatter, log, from0, height,
/// xLabel, label}): lines over x with stages as bands, redrawn at any width, with a read-out under the pointer.
function chart(options) {
    const holder = el("div", {class: "chart"});
    let drawn = 0;
    const draw = () => {
        const width = holder.clientWidth;
        if (width === 0 || width === drawn) return;
        drawn = width;
        holder.replaceChildren(...drawChart(options, width, holder));
    };
    new ResizeObserver(draw).observe(holder);
    return el("div", {}, legend(options.series), holder);
}

function legend(series) {
    const named = series.filter((s) => s.name && !s.faint);
    if (named.length < 2 && !named.some((s) => s.always)) return null;
    return el("div", {class: "legend"}, named.map((s) => el("span", {},
        el("i", {class: s.dash ? "dash" : "", style: `border-color:${s.color}`}), s.name)));
}

function extent(o) {
    const xs = o.series.flatMap((s) => s.x), bands = o.bands ?? [];
    const x0 = Math.min(...xs, ...bands.map((b) => b.from)), x1 = Math.max(...xs, ...bands.map((b) => b.to));
    const ys = o.series.filter((s) => !s.faint || !o.clip).flatMap((s) => s.y.filter((v) => isNumber(v) && (!o.log || v > 0)));
    let y0 = Math.min(...ys), y1 = Math.max(...ys);
    if (!isFinite(y0)) [y0, y1] = [0.1, 1];
    if (o.from0 && !o.log) y0 = Math.min(0, y0);
    if (o.most !== undefined) y1 = Math.min(y1, o.most);
    if (y1 <= y0) y1 = y0 + (Math.abs(y0) || 1);
    if (o.log) [y0, y1] = [y0 / 1.15, y1 * 1.15];
    else y1 += 0.05 * (y1 - y0);
    return {x0, x1: x1 > x0 ? x1 : x0 + 1, y0, y1};
}

function drawChart(o, width, holder) {
    const height = o.height ?? Math.max(220, Math.min(330, width * 0.45));
    const hasBands = (o.bands ?? []).length > 1;
    const {x0, x1, y0, y1} = extent(o), format = o.y ?? show.number;
    const marks = o.log ? logTicks(y0, y1) : ticks(y0, y1, height / 55);
    const left = 14 + 7.2 * Math.max(...marks.map((t) => format(t).length), 3), right = 14, top = hasBands ? 30 : 10, bottom = 42;
    const scale = o.log ? Math.log : (v) => v;
    const X = (v) => left + ((v - x0) / (x1 - x0)) * (width - left - right);
    const Y = (v) => {
        const t = (scale(v) - scale(y0)) / (scale(y1) - scale(y0));
        return height - bottom - Math.max(-0.02, Math.min(1.02, t)) * (height - top - bottom);
    };
    const root = svg("svg", {viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": o.label});
    if (hasBands) o.bands.forEach((b, i) => {
        const a = X(b.from), w = X(b.to) - a;
        root.append(svg("rect", {x: a, y: 0, width: Math.max(0, w), height: height - bottom, fill: i % 2 ? "transparent" : "var(--band)", rx: 6}));
        if (w > 7.4 * b.name.length) root.append(svg("text", {class: "stage", x: a + 8, y: 17}, b.name));
    });
    for (const t of marks) {
        root.append(svg("line", {class: "grid-line", x1: left, x2: width - right, y1: Y(t), y2: Y(t)}),
            svg("text", {x: left - 7, y: Y(t) + 4, "text-anchor": "end"}, format(t)));
    }
    root.append(svg("line", {class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom}));
    for (const t of ticks(x0, x1, width / 95).filter((v) => Number.isInteger(v) || !o.steps))
        root.append(svg("text", {x: X(t), y: height - bottom + 18, "text-anchor": "middle"}, show.number(t)));
    root.append(svg("text", {x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle"}, o.xLabel ?? "optimiser step"));
    for (const s of o.series) {
        const points = s.x.map((x, i) => (isNumber(s.y[i]) && (!o.log || s.y[i] > 0) ? [X(x), Y(s.y[i])] : null));
        root.append(svg("path", {d: path(s.dots ? points.filter(Boolean) : points), fill: "none", stroke: s.color, "stroke-width": s.faint ? 1 : 2.4,
            "stroke-opacity": s.faint ? 0.28 : 1, "stroke-linejoin": "round", "stroke-linecap": "round", "stroke-dasharray": s.dash ? "7 5" : undefined}));
        if (s.dots && points.length <= 80) for (const p of points.filter(Boolean))
            root.append(svg("circle", {cx: p[0], cy: p[1], r: 3.6, fill: s.color, stroke: "var(--card)", "stroke-width": 1.5}));
    }
    return [root, ...readOut(o, root, holder, {X, x0, x1, left, right, top, bottom, width, height, format})];
}

function readOut(o, root, holder, g) {
    const line = svg("line", {class: "axis", y1: g.top, y2: g.height - g.bottom, visibility: "hidden", "stroke-width": 1.5});
    const tip = el("div", {class: "tip", hidden: ""});
    const named = o.series.filter((s) => s.name && !s.faint);
    root.append(line);
    const move = (event) => {
        const box = root.getBoundingClientRect();
        const at = g.x0 + ((event.clientX - box.left - g.left) / (g.width - g.left - g.right)) * (g.x1 - g.x0);
        const nearest = (s) => {
            let best = -1;
            s.x.forEach((x, i) => { if (isNumber(s.y[i]) && (best < 0 || Math.abs(x - at) < Math.abs(s.x[best] - at))) best = i; });
            return best;
        };
        const found = named.map((s) => [s, nearest(s)]).filter(([s, i]) => i >= 0 && Math.abs(s.x[i] - at) <= 0.06 * (g.x1 - g.x0));
        const hide = found.length === 0;
        tip.hidden = hide;
        line.setAttribute("visibility", hide ? "hidden" : "visible");
        if (hide) return;
        const x = found.map(([s, i]) => s.x[i]).reduce((a, b) => (Math.abs(b - at) < Math.abs(a - at) ? b : a));
        line.setAttribute("x1", g.X(x));
        line.setAttribute("x2", g.X(x));
        tip.replaceChildren(el("div", {}, `${o.xName ?? "step"} ${show.number(x)}`), ...found.map(([s, i]) =>
            el("div", {}, el("i", {style: `background:${s.color}`}), `${s.name}: ${g.format(s.y[i])}`)));
        const over = g.X(x) > g.width * 0.6;
        tip.style.left = over ? "auto" : `${g.X(x) + 12}px`;
        tip.style.right = over ? `${g.width - g.X(x) + 12}px` : "auto";
    };
    root.addEventListener("pointermove", move);
    root.addEventListener("pointerleave", () => { tip.hidden = true; line.setAttribute("visibility", "hidden"); });
    return [tip];
}
