"use strict";
// The list of videos, the chosen one, and what moves with the cursor. Texts of the data become text nodes, never markup.
(() => {
  const box = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(box(id).textContent);
  const whole = read("whole"), wide = matchMedia("(min-width: 960px)");
  const { time, reduced } = Plots;
  let listed = whole.videos, chosen = null, clip = null, unit = -1, range = [0, 1], relations = null, cell = -1, said = -2, resizing = 0;

  function make(tag, options = {}, ...children) {
    const { dataset, style, ...rest } = options;
    const node = Object.assign(document.createElement(tag), rest);
    Object.assign(node.dataset, dataset || {});
    Object.assign(node.style, style || {});
    node.append(...children);
    return node;
  }
  const when = (t, of, digits) => (of === "frame" ? `frame ${time(t, of)}` : time(t, of, digits));
  const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

  // ---- the list -----------------------------------------------------------------------------------------------------------------------

  function spark(line) {
    const NS = "http://www.w3.org/2000/svg", svg = document.createElementNS(NS, "svg"), path = document.createElementNS(NS, "path");
    const n = line.spark.length, y = (v) => (24 - 22 * Math.min(v / whole.top, 1)).toFixed(1);
    svg.setAttribute("viewBox", "0 0 100 26");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("class", "spark");
    path.setAttribute("d", "M0 25" + line.spark.map((v, i) => `L${((100 * i) / n).toFixed(1)} ${y(v)}L${((100 * (i + 1)) / n).toFixed(1)} ${y(v)}`).join("") + "L100 25Z");
    svg.append(path);
    return svg;
  }

  const tag = (label) => make("span", { className: `tag ${label ? "abnormal" : "normal"}`, textContent: label ? "abnormal" : "normal", title: "known label" });

  function item(line) {
    const about = [line.alarms ? plural(line.alarms, "alarm") : whole.threshold === null ? "" : "no alarm", `peak at ${when(line.peak_time, line.unit)}`].filter(Boolean).join(" · ");
    const button = make("button", { type: "button", className: "video" + (line.alarms ? " alarmed" : ""), dataset: { id: line.id } },
      make("span", { className: "name" }, line.name), make("span", { className: "peak", title: "highest score" }, reduced(line.peak)), spark(line),
      make("span", { className: "about" }, about, line.label === null ? "" : tag(line.label)));
    button.addEventListener("click", () => choose(line.id, true));
    return make("li", {}, button);
  }

  function list() {
    const wanted = box("filter").value.trim().toLocaleLowerCase(), by = box("sort").value;
    const orders = { peak: (a, b) => b.peak - a.peak, alarms: (a, b) => b.alarms - a.alarms || b.peak - a.peak, name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) };
    listed = whole.videos.filter((v) => v.name.toLocaleLowerCase().includes(wanted)).sort(orders[by]);
    box("videos").replaceChildren(...listed.map(item));
    const alarmed = listed.filter((v) => v.alarms).length;
    box("count").textContent = (wanted ? `${listed.length} of ${plural(whole.videos.length, "video")}` : plural(listed.length, "video")) + (whole.threshold === null ? "" : `, ${alarmed} with alarms`);
    mark();
  }

  function mark() {
    box("videos").querySelectorAll("button").forEach((b) => b.setAttribute("aria-current", String(+b.dataset.id === chosen)));
    const at = listed.findIndex((v) => v.id === chosen);
    box("previous").disabled = at <= 0;
    box("next").disabled = at === listed.length - 1;
  }

  function move(by) {
    const at = listed.findIndex((v) => v.id === chosen), to = at < 0 ? 0 : at + by;
    if (listed[to]) choose(listed[to].id, false);
  }

  // ---- one video ----------------------------------------------------------------------------------------------------------------------

  function choose(id, focus) {
    chosen = id;
    clip = read(`clip-${id}`);
    unit = cell = -1;
    said = -2;
    range = [0, clip.duration];
    document.body.classList.add("chosen");
    box("clip").hidden = false;
    box("empty").hidden = true;
    mark();
    const current = box("videos").querySelector('[aria-current="true"]');
    if (current && wide.matches) scrollWithin(box("overview"), current);
    if (!wide.matches) scrollTo(0, 0);
    const line = whole.videos.find((v) => v.id === id);
    box("clip-name").textContent = clip.name;
    box("clip-facts").replaceChildren(...(clip.label === null ? [] : [tag(clip.label)]), ...[clip.unit === "frame" ? `${clip.duration} frames` : time(clip.duration, "s"), plural(clip.score.length, "unit"),
      `peak ${reduced(line.peak)} at ${when(line.peak_time, clip.unit)}`, ...(clip.missing.length ? [`without ${clip.missing.join(", ")}`] : [])].map((t) => make("span", {}, t)));
    box("notes").replaceChildren(...[...clip.notes, clip.player.kind === "none" ? "" : clip.player.note].filter(Boolean).map((t) => make("li", {}, t)));
    alarmTable();
    texts();
    bars();
    box("graph-card").hidden = clip.graph === null;
    relations = clip.graph ? Plots.rows(clip.graph) : null;
    Stage.open(id, clip, follow);
    draw();
    follow(0);
    if (focus) box("timeline").focus({ preventScroll: true });
  }

  function draw() {
    if (!clip || !box("plot-time").clientWidth) return;
    const names = Object.keys(clip.contributions), key = (kind, text, colour) => make("span", { className: "key" }, make("i", { className: kind, style: colour ? { background: colour } : {} }), text);
    box("legend").replaceChildren(key("score", "score"), ...(whole.threshold === null ? [] : [key("threshold", `threshold ${reduced(whole.threshold)}`)]), ...(clip.alarms.length ? [key("alarm", "alarm")] : []),
      ...(clip.spans === null ? [] : [key("truth", clip.spans.length ? "true event" : "true event (none)")]), ...names.map((n, i) => key("part", n, Plots.series(i))));
    Plots.timeline(box("plot-time"), clip, whole.threshold, range);
    if (relations) {
      const matrix = box("plot-graph");
      Plots.matrix(matrix, clip, clip.graph, relations);
      matrix.removeAllListeners("plotly_click");
      matrix.on("plotly_click", (event) => Stage.seek(clip.start[unitOf(event.points[0].pointIndex[0])]));
      const blocks = clip.graph.units > clip.graph.size ? " Cells are means over neighbouring units." : "";
      box("graph-note").textContent = `How strongly the model relates each unit of the video to each other one. The frame marks the unit at the cursor, whose row stands beside it.${blocks}`;
      cell = -1;
    }
    cursor(Stage.time());
  }

  function redraw() {
    if (!clip) return;
    draw();
    bars();
    unit = -1;
    follow(Stage.time());
  }

  function alarmTable() {
    box("alarms-card").hidden = whole.threshold === null;
    if (!clip.alarms.length) return box("alarms").replaceChildren(make("p", { className: "dim" }, "No score reaches the threshold."));
    const rows = clip.alarms.map((a) => {
      const go = make("button", { type: "button", className: "link", title: "Go to the peak" }, `${when(a.start, clip.unit)} to ${time(a.end, clip.unit)}`);
      go.addEventListener("click", () => Stage.seek(unitStart(a.peak_time)));
      return make("tr", {}, make("td", {}, go), make("td", {}, reduced(a.peak)), make("td", {}, when(a.peak_time, clip.unit)), ...(clip.boxes ? [make("td", {}, culprit(unitAt(a.peak_time)).replace(/^from | \(outlined\)$/g, ""))] : []));
    });
    box("alarms").replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...["from, to", "peak", "at", ...(clip.boxes ? ["from"] : [])].map((t) => make("th", { scope: "col" }, t)))), make("tbody", {}, ...rows)));
  }

  // what in the picture the score of a unit comes from
  function culprit(u) {
    const i = clip.boxes ? clip.boxes.highest[u] : -1;
    return clip.boxes ? (i < 0 ? "nothing in the picture" : `from object ${clip.boxes.track[i]} (outlined)`) : "";
  }

  function texts() {
    box("texts-card").hidden = !clip.descriptions.length;
    box("texts").replaceChildren(...clip.descriptions.map(([t, text]) => {
      const go = make("button", { type: "button", className: "text" }, make("time", {}, when(t, clip.unit)), make("span", {}, text));
      go.addEventListener("click", () => Stage.seek(t));
      return make("li", {}, go);
    }));
  }

  function bars() {
    const names = Object.keys(clip.contributions);
    box("bars").replaceChildren(...names.map((name, i) => make("div", { className: "bar" }, make("span", { className: "bar-name", title: name }, name),
      make("span", { className: "track" }, make("i", { style: { background: Plots.series(i) } })), make("span", { className: "bar-value" }))));
    box("bars-note").textContent = !names.length ? "" : clip.bounded ? "What the score (its logit) would lack without each." : "What the score would lack without each.";
  }

  // ---- what moves with the cursor -----------------------------------------------------------------------------------------------------

  function unitAt(t) {
    let low = 0, high = clip.start.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (clip.start[middle] <= t + 1e-6) low = middle; else high = middle - 1;
    }
    return low;
  }
  const unitStart = (t) => clip.start[unitAt(t)];
  const cellOf = (u) => Math.min(clip.graph.size - 1, Math.floor(((u + 1) * clip.graph.size - 1) / clip.graph.units));
  const unitOf = (c) => Math.min(clip.start.length - 1, Math.floor((c * clip.graph.units) / clip.graph.size));

  function scrollWithin(frame, node) {
    const a = frame.getBoundingClientRect(), b = node.getBoundingClientRect();
    if (b.top < a.top) frame.scrollTop += b.top - a.top - 8;
    else if (b.bottom > a.bottom) frame.scrollTop += b.bottom - a.bottom + 8;
  }

  function cursor(t) {
    const width = box("plot-time").clientWidth - Plots.LEFT - Plots.RIGHT, share = (t - range[0]) / (range[1] - range[0]);
    box("cursor").style.transform = `translateX(${Plots.LEFT + share * width}px)`;
    box("cursor").hidden = share < -1e-6 || share > 1 + 1e-6;
  }

  function follow(t) {
    if (t < range[0] || t > range[1]) zoom(1, t);
    cursor(t);
    box("clock").textContent = clip.unit === "frame" ? `${Math.floor(t)} / ${clip.duration}` : `${time(t, "s")} / ${time(clip.duration, "s")}`;
    const slider = box("timeline"), last = unit;
    slider.setAttribute("aria-valuemax", clip.duration.toFixed(3));
    slider.setAttribute("aria-valuenow", t.toFixed(3));
    if (!clip.score.length) return;
    unit = unitAt(t);
    if (unit !== last) ofUnit();
    slider.setAttribute("aria-valuetext", `${when(t, clip.unit)}, score ${reduced(clip.score[unit])}`);
    const now = clip.descriptions.filter(([at]) => at <= t + 1e-6).length - 1;
    if (now === said) return;
    said = now;
    box("now-text").textContent = said < 0 ? "" : clip.descriptions[said][1];
    [...box("texts").children].forEach((li, i) => li.classList.toggle("current", i === said) && scrollWithin(box("texts"), li));
  }

  function ofUnit() {
    const score = clip.score[unit], alarm = whole.threshold !== null && score >= whole.threshold, state = box("now-state");
    box("now-score").textContent = reduced(score);
    state.textContent = whole.threshold === null ? "" : alarm ? "alarm" : "below the threshold";
    state.classList.toggle("alarm", alarm);
    const inside = clip.spans && clip.spans.some(([a, b]) => clip.start[unit] < b && clip.end[unit] > a) ? ", in a true event" : "";
    box("now-unit").textContent = clip.unit === "frame" ? `frames ${Math.round(clip.start[unit])} to ${Math.round(clip.end[unit]) - 1}${inside}`
      : `unit ${unit + 1} of ${clip.score.length}, ${time(clip.start[unit], "s", 2)} to ${time(clip.end[unit], "s", 2)}${inside}`;
    box("now-box").textContent = culprit(unit);
    const parts = Object.values(clip.contributions), reach = Math.max(...parts.map((p) => p.reduce((m, x) => Math.max(m, Math.abs(x)), 0)), 1e-9), signed = parts.some((p) => p.some((x) => x < 0));
    [...box("bars").children].forEach((bar, i) => {
      const value = parts[i][unit], share = (Math.abs(value) / reach) * (signed ? 50 : 100), fill = bar.querySelector("i");
      bar.classList.toggle("signed", signed);
      Object.assign(fill.style, { width: `${share}%`, left: `${signed ? (value < 0 ? 50 - share : 50) : 0}%` });
      bar.querySelector(".bar-value").textContent = (signed && value > 0 ? "+" : "") + reduced(value, 2).replace("-", "−");
    });
    if (!relations || cellOf(unit) === cell || !box("plot-graph").data) return;
    cell = cellOf(unit);
    Plots.markCell(box("plot-graph"), clip, clip.graph, cell);
    Plots.row(box("plot-row"), clip, clip.graph, relations, cell);
    box("row-title").textContent = clip.unit === "frame" ? `Relations of frame ${time(clip.start[unit], "frame")}` : `Relations of the unit at ${time(clip.start[unit], "s")}`;
  }

  function zoom(factor, t) {
    const full = clip.duration, span = Math.min(full, Math.max((range[1] - range[0]) * factor, full / 500, clip.unit === "s" ? 0.5 : 8));
    const from = Math.min(Math.max(t - span / 2, 0), full - span);
    range = [from, from + span];
    const width = box("plot-time").clientWidth - Plots.LEFT - Plots.RIGHT, ticks = Plots.ticks(range, width, clip.unit);
    if (box("plot-time").data) Plotly.relayout(box("plot-time"), { "xaxis.range": range, "xaxis.tickvals": ticks.tickvals, "xaxis.ticktext": ticks.ticktext });
    cursor(Stage.time());
  }

  function step(by) {
    if (!clip.score.length) return;
    const here = unitAt(Stage.time());
    Stage.seek(clip.start[Math.min(Math.max(here + by, 0), clip.start.length - 1)]);
  }

  function nextAlarm() {
    const peaks = clip.alarms.map((a) => unitStart(a.peak_time));
    if (peaks.length) Stage.seek(peaks.find((t) => t > Stage.time() + 1e-3) ?? peaks[0]);
  }

  const timeline = box("timeline");
  const point = (event) => {
    const area = box("plot-time").getBoundingClientRect(), share = (event.clientX - area.left - Plots.LEFT) / (area.width - Plots.LEFT - Plots.RIGHT);
    Stage.seek(Math.min(Math.max(range[0] + share * (range[1] - range[0]), range[0]), range[1]));
  };
  timeline.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !clip) return;
    timeline.setPointerCapture(event.pointerId);
    timeline.focus({ preventScroll: true });
    timeline.classList.add("dragged");
    point(event);
  });
  timeline.addEventListener("pointermove", (event) => timeline.hasPointerCapture(event.pointerId) && point(event));
  ["pointerup", "pointercancel"].forEach((name) => timeline.addEventListener(name, () => timeline.classList.remove("dragged")));

  // ---- keys, theme, tables ------------------------------------------------------------------------------------------------------------

  const KEYS = {
    " ": () => Stage.toggle(), ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => Stage.seek(0), End: () => Stage.seek(clip.duration), a: nextAlarm, h: () => Stage.toggleHeat(), b: () => Stage.toggleBoxes(),
    m: () => Stage.toggleSound(), "+": () => zoom(0.5, Stage.time()), "=": () => zoom(0.5, Stage.time()), "-": () => zoom(2, Stage.time()), 0: () => zoom(Infinity, 0),
  };
  document.addEventListener("keydown", (event) => {
    const on = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || box("help").open) return;
    if (event.key === "Escape" && on === box("filter")) return on.blur();
    if (on.matches("input, select, textarea") || (event.key === " " && on.matches("button, summary, a"))) return;
    let act = clip ? KEYS[event.key] : undefined;
    if (event.key === "j" && whole.videos.length) act = () => move(1);
    if (event.key === "k" && whole.videos.length) act = () => move(-1);
    if (event.key === "?") act = () => box("help").showModal();
    if (event.key === "/" && whole.videos.length) act = () => (back(), box("filter").focus());
    if (!act) return;
    event.preventDefault();
    act();
  });

  function back() {
    if (wide.matches) return;
    document.body.classList.remove("chosen");
    box("video").pause();
    const button = box("videos").querySelector('[aria-current="true"]');
    if (button) button.focus();
  }

  function theme(name) {
    document.documentElement.dataset.theme = name;
    redraw();
    if (whole.settings.length) Plots.spread(box("spread"), whole.settings);
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const themeNow = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  box("theme").addEventListener("click", () => theme(themeNow() === "dark" ? "light" : "dark"));
  dark.addEventListener("change", () => document.documentElement.dataset.theme || theme(""));

  function table(found) {
    const head = make("thead", {}, make("tr", {}, ...found.header.map((t) => make("th", { scope: "col" }, t))));
    const body = make("tbody", {}, ...found.rows.map((r, i) => make("tr", { className: i === found.marked ? "marked" : "" }, ...r.map((t) => make("td", {}, String(t))))));
    return make("figure", {}, make("figcaption", {}, found.title), make("div", { className: "scroll-x", tabIndex: 0, role: "region", ariaLabel: found.title }, make("table", {}, head, body)));
  }

  box("facts").replaceChildren(...whole.facts.map(([name, value]) => make("div", {}, ...(name ? [make("dt", {}, name)] : []), make("dd", {}, value))));
  box("failed").hidden = !whole.failed.length;
  box("failed").querySelector("summary").textContent = `${plural(whole.failed.length, "file")} without scores`;
  box("failed").querySelector("ul").replaceChildren(...whole.failed.map(([path, why]) => make("li", {}, make("b", {}, path), make("span", {}, why.startsWith(`${path}: `) ? why.slice(path.length + 2) : why))));
  box("numbers").hidden = !whole.tables.length;
  box("numbers").open = whole.kind === "runs";
  if (whole.kind === "runs") box("numbers").querySelector("summary").textContent = "Settings and runs";
  box("tables").replaceChildren(...whole.tables.map(table));
  box("spread").hidden = !whole.settings.length;
  if (whole.settings.length) Plots.spread(box("spread"), whole.settings);
  box("main").hidden = !whole.videos.length && !whole.failed.length;
  box("filter").addEventListener("input", list);
  box("sort").addEventListener("change", list);
  box("previous").addEventListener("click", () => move(-1));
  box("next").addEventListener("click", () => move(1));
  box("back").addEventListener("click", back);
  box("help-open").addEventListener("click", () => box("help").showModal());
  box("zoom-in").addEventListener("click", () => zoom(0.5, Stage.time()));
  box("zoom-out").addEventListener("click", () => zoom(2, Stage.time()));
  box("zoom-all").addEventListener("click", () => zoom(Infinity, 0));
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(redraw, 120);
  });
  list();
  if (wide.matches && listed.length) choose(listed[0].id, false);
})();
