// Where on the time axis each output token looks.

const rgb = (name) => css(name).split(",").map(Number);

/// bytes[rows * columns], 255 is the strongest: as a picture of one pixel a cell.
function picture(bytes, rows, columns) {
    const canvas = el("canvas", {width: columns, height: rows}), context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows), a = rgb("--heat0"), b = rgb("--heat1");
    for (let i = 0; i < rows * columns; ++i) {
        const t = Math.sqrt(bytes[i] / 255);  // weak attention is to be seen too
        for (let k = 0; k < 3; ++k) image.data[4 * i + k] = a[k] + t * (b[k] - a[k]);
        image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    return canvas.toDataURL();
}

const decode = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const tokenText = (t) => (t.trim() === "" ? (t === "" ? "·" : "␣") : t.trim());

function heatMap(clip, map, width) {
    const rows = clip.tokens.length, columns = clip.frames, seconds = columns * clip.seconds_per_frame;
    const left = 18 + 7.6 * Math.min(14, Math.max(...clip.tokens.map((t) => tokenText(t).length))), right = 10, bottom = 40;
    const cell = Math.max(15, Math.min(24, 420 / rows)), height = rows * cell + bottom;
    const X = (s) => left + (s / seconds) * (width - left - right);
    const root = svg("svg", {viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `Attention of ${rows} output tokens on ${seconds.toFixed(1)} s of speech`});
    root.append(svg("image", {href: picture(decode(map.data), rows, columns), x: left, y: 0, width: width - left - right, height: rows * cell, preserveAspectRatio: "none", style: "image-rendering:pixelated"}),
        svg("rect", {class: "axis", x: left, y: 0, width: width - left - right, height: rows * cell, fill: "none"}));
    clip.tokens.forEach((t, i) => root.append(svg("text", {class: "token", x: left - 7, y: (i + 0.5) * cell + 4.5, "text-anchor": "end"}, tokenText(t).slice(0, 14))));
    for (const [row, frame] of clip.ctc ?? [])
        root.append(svg("circle", {cx: X((frame + 0.5) * clip.seconds_per_frame), cy: (row + 0.5) * cell, r: 4, fill: "var(--c2)", stroke: "var(--card)", "stroke-width": 1.5}));
    for (const t of ticks(0, seconds, width / 90)) root.append(svg("text", {x: X(t), y: rows * cell + 17, "text-anchor": "middle"}, show.number(t)));
    root.append(svg("text", {x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle"}, "seconds of audio"));
    const cursor = svg("line", {y1: 0, y2: rows * cell, stroke: "var(--c6)", "stroke-width": 2, visibility: "hidden"});
    root.append(cursor);
    return {root, at: (s) => { cursor.setAttribute("visibility", "visible"); cursor.setAttribute("x1", X(s)); cursor.setAttribute("x2", X(s)); }};
}

function attentionCard(clip) {
    const holder = el("div", {class: "chart heat"}), sound = player(clip);
    let chosen = 0, shown = null, drawn = 0;
    const draw = () => {
        drawn = holder.clientWidth;
        if (drawn === 0) return;
        shown = heatMap(clip, clip.maps[chosen], drawn);
        holder.replaceChildren(shown.root);
    };
    const name = el("span", {}, clip.maps[0].name);
    const slider = el("input", {type: "range", min: 0, max: clip.maps.length - 1, value: 0, "aria-label": "Heads or layer", oninput: (e) => { chosen = Number(e.target.value); name.textContent = clip.maps[chosen].name; draw(); }});
    if (clip.audio) {
        const follow = () => { shown?.at(sound.currentTime); if (!sound.paused) requestAnimationFrame(follow); };
        sound.addEventListener("play", follow);
    }
    new ResizeObserver(() => { if (holder.clientWidth !== drawn) draw(); }).observe(holder);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    return el("div", {class: "card heat example"},
        el("div", {class: "head"}, el("span", {class: "id"}, clip.id), el("span", {class: "meta"}, clip.set), sound),
        clip.maps.length > 1 && el("label", {}, slider, name), holder,
        (clip.ctc ?? []).length > 0 && el("div", {class: "legend"}, el("span", {}, el("i", {class: "block", style: "background:var(--c2);border-radius:50%"}), "frame where the CTC head says the token")));
}

function attention(d) {
    const clips = d.attention?.clips ?? [];
    return section("attention", "Attention on speech", clips.length === 0 ? null
        : `Each row is a token of the LLM's own answer after step ${show.count(d.attention.step)}; the darker a frame (${Math.round(1000 * clips[0].seconds_per_frame)} ms), the more of the attention that predicts the token falls on it. Press play to follow.`,
    clips.length ? el("div", {class: "grid"}, clips.map(attentionCard)) : none("None was recorded: attention maps come with the first validation of a stage in which the LLM runs."));
}
