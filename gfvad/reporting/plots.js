"use strict";
// Plots (plotly.js) of one video at a time. Times are in the clip's unit (seconds or frames); colours come from the style sheet.
const Plots = (() => {
  const LEFT = 46, RIGHT = 14; // pixels beside the axes of a timeline: the cursor is placed by them
  const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
  const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const series = (i) => colour(`--series-${i % 6}`);
  // plotly reads tags in texts; names are no markup
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const reduced = (x, digits = 3) => {
    const size = Math.abs(x);
    return size && (size < 1e-3 || size >= 1e5) ? x.toExponential(1) : String(+x.toPrecision(digits));
  };

  function time(t, unit, digits = 1) {
    if (unit === "frame") return String(Math.round(t));
    const scale = 10 ** digits, whole = Math.round(Math.max(t, 0) * scale), sec = whole / scale;
    const hours = Math.floor(sec / 3600), minutes = Math.floor(sec / 60) % 60;
    const rest = (sec % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
    return (hours ? `${hours}:${String(minutes).padStart(2, "0")}` : `${minutes}`) + `:${rest}`;
  }

  function ticks(range, width, unit) {
    const most = Math.max(2, Math.floor(width / 72)), span = range[1] - range[0];
    let step = STEPS.find((s) => span / s <= most) || span / most;
    if (unit === "frame") {
      const ten = 10 ** Math.floor(Math.log10(Math.max(span / most, 1)));
      step = [1, 2, 5, 10].map((k) => k * ten).find((s) => span / s <= most) || 10 * ten;
    }
    const tickvals = [];
    for (let k = Math.ceil(range[0] / step - 1e-6); k * step <= range[1] * (1 + 1e-9) && tickvals.length < 60; k++) tickvals.push(+(k * step).toFixed(6));
    return { tickvals, ticktext: tickvals.map((t) => time(t, unit, step < 1 ? 1 : 0)) };
  }

  function axis(extra = {}) {
    const line = colour("--line");
    return { fixedrange: true, showgrid: true, gridcolor: line, zeroline: false, linecolor: line, tickfont: { size: 11, color: colour("--dim") }, ...extra };
  }

  function layout(extra) {
    const ground = "rgba(0,0,0,0)";
    return {
      paper_bgcolor: ground, plot_bgcolor: ground, showlegend: false, dragmode: false, autosize: true, font: { family: colour("--font"), size: 12, color: colour("--ink") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink"), size: 12 } }, ...extra,
    };
  }

  // a value a unit -> points of a line of steps that ends with the last unit and breaks where units do
  function steps(clip, values) {
    const x = [], y = [];
    for (let i = 0; i < values.length; i++) {
      x.push(clip.start[i]);
      y.push(values[i]);
      if (i === values.length - 1 || clip.start[i + 1] > clip.end[i] + 1e-3) {
        x.push(clip.end[i], clip.end[i]);
        y.push(values[i], null);
      }
    }
    return { x, y };
  }

  function timeline(box, clip, threshold, range) {
    const names = Object.keys(clip.contributions), parts = names.length > 0, small = box.clientWidth < 520;
    const lower = parts ? 0.34 : 0, peak = clip.score.reduce((m, x) => Math.max(m, x), 0), least = clip.score.reduce((m, x) => Math.min(m, x), 0);
    const base = clip.bounded ? 0 : 1.04 * least, top = clip.bounded ? 1.04 : 1.08 * (Math.max(peak, threshold || 0) || 1);
    const truth = clip.spans && clip.spans.length;
    const traces = [{
      ...steps(clip, clip.score), type: "scatter", mode: "lines", line: { shape: "hv", width: 2, color: colour("--score") }, fill: "tozeroy", fillcolor: colour("--score-fill"),
      hovertemplate: "score %{y:.3~g}<extra></extra>", name: "score",
    }];
    names.forEach((name, i) => traces.push({
      ...steps(clip, clip.contributions[name]), type: "scatter", mode: "lines", line: { shape: "hv", width: 1.75, color: series(i) }, yaxis: "y2",
      hovertemplate: `${plain(name).replace(/%/g, "&#37;")} %{y:.3~g}<extra></extra>`, name: plain(name),
    }));
    const shapes = clip.alarms.map((a) => ({ type: "rect", xref: "x", yref: "y domain", x0: a.start, x1: a.end, y0: 0, y1: 1, fillcolor: colour("--alarm-fill"), line: { width: 0 }, layer: "below" }));
    (clip.spans || []).forEach(([x0, x1]) => shapes.push({ type: "rect", xref: "x", yref: "y domain", x0, x1, y0: 1.03, y1: 1.09, fillcolor: colour("--truth"), line: { width: 0 } }));
    if (threshold !== null) shapes.push({ type: "line", xref: "x domain", yref: "y", x0: 0, x1: 1, y0: threshold, y1: threshold, line: { color: colour("--alarm"), width: 1.5, dash: "dash" } });
    if (parts) shapes.push({ type: "line", xref: "x domain", yref: "y2", x0: 0, x1: 1, y0: 0, y1: 0, line: { color: colour("--dim"), width: 1 } });
    const width = box.clientWidth - LEFT - RIGHT;
    return Plotly.react(box, traces, layout({
      height: (small ? 150 : 190) + (parts ? (small ? 110 : 140) : 0) + 34, margin: { l: LEFT, r: RIGHT, t: truth ? 18 : 8, b: 26 }, shapes, hovermode: small ? false : "x unified", hoverdistance: 30,
      xaxis: axis({ range, anchor: parts ? "y2" : "y", showgrid: false, ticks: "outside", ticklen: 4, tickcolor: colour("--line"), unifiedhovertitle: { text: " " }, ...ticks(range, width, clip.unit) }),
      yaxis: axis({ range: [base, top], domain: [parts ? lower + 0.07 : 0, truth ? 0.94 : 1], nticks: 5 }),
      yaxis2: axis({ domain: [0, lower], nticks: 4, anchor: "x", visible: parts }),
    }), CONFIG);
  }

  // bytes of a packed graph -> rows of relations
  function rows(graph) {
    const bytes = Uint8Array.from(atob(graph.data), (c) => c.charCodeAt(0)), n = graph.size, scale = (graph.high - graph.low) / 255;
    return Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => graph.low + scale * bytes[i * n + j]));
  }

  // time at the left of each cell, and of the end
  const edges = (clip, graph) => Array.from({ length: graph.size + 1 }, (_, i) => {
    const unit = Math.floor((i * graph.units) / graph.size);
    return unit < clip.start.length ? clip.start[unit] : clip.end[clip.end.length - 1];
  });

  function matrix(box, clip, graph, values) {
    const at = edges(clip, graph), range = [at[0], at[graph.size]], width = Math.min(box.clientWidth, 420);
    const scale = [0, 1, 2, 3].map((i) => [i / 3, colour(`--scale-${i}`)]);
    const square = axis({ range, showgrid: false, ...ticks(range, 0.8 * width, clip.unit) });
    return Plotly.react(box, [{
      type: "heatmap", z: values, x: at, y: at, zmin: graph.low, zmax: graph.high > graph.low ? graph.high : graph.low + 1, colorscale: scale, xgap: graph.size < 40 ? 1 : 0, ygap: graph.size < 40 ? 1 : 0,
      hovertemplate: "%{z:.3~f}<extra></extra>", colorbar: { thickness: 8, outlinewidth: 0, len: 1, nticks: 4, tickfont: { size: 10, color: colour("--dim") }, x: 1.02, xpad: 0 },
    }], layout({ height: width - 12, margin: { l: LEFT, r: 44, t: 6, b: 26 }, xaxis: square, yaxis: { ...square, autorange: false, range: [range[1], range[0]] }, hovermode: "closest" }), CONFIG);
  }

  function markCell(box, clip, graph, cell) {
    const at = edges(clip, graph), low = at[0], high = at[graph.size], line = { color: colour("--ink"), width: 1.5 };
    return Plotly.relayout(box, { shapes: [
      { type: "rect", x0: low, x1: high, y0: at[cell], y1: at[cell + 1], line },
      { type: "rect", x0: at[cell], x1: at[cell + 1], y0: low, y1: high, line: { ...line, dash: "dot", width: 1 } },
    ] });
  }

  function row(box, clip, graph, values, cell) {
    const at = edges(clip, graph), range = [at[0], at[graph.size]], left = at.slice(0, -1), width = left.map((x, i) => Math.max(at[i + 1] - x, 1e-6));
    const colours = left.map((_, i) => colour(i === cell ? "--alarm" : "--series-0"));
    return Plotly.react(box, [{ type: "bar", x: left, y: values[cell], width: width.map((w) => (graph.size < 80 ? 0.92 * w : w)), offset: 0, marker: { color: colours, line: { width: 0 } }, hovertemplate: "%{y:.3~f}<extra></extra>" }],
      layout({ height: 220, margin: { l: LEFT, r: RIGHT, t: 6, b: 26 }, bargap: 0, hovermode: "closest",
        xaxis: axis({ range, showgrid: false, ...ticks(range, box.clientWidth - LEFT - RIGHT, clip.unit) }), yaxis: axis({ range: [Math.min(graph.low, 0), Math.max(graph.high, 1e-6)], nticks: 5 }) }), CONFIG);
  }

  // several runs: a mark a seed, a bar at the mean
  function spread(box, settings) {
    const found = settings.filter((s) => s.metric === settings[0].metric), short = (s) => (s.length > 34 ? s.slice(0, 33) + "…" : s);
    const names = found.map((s, i) => plain(short(found.some((o) => o.dataset !== s.dataset) ? `${s.dataset}: ${s.label}` : s.label)));
    const y = [], x = [], text = [], mean = [];
    found.forEach((s, i) => {
      const known = s.values.filter((v) => v !== null);
      s.values.forEach((v, k) => v !== null && (x.push(v), y.push(i), text.push(`seed ${s.seeds[k]}`)));
      mean.push(known.length ? known.reduce((a, b) => a + b, 0) / known.length : null);
    });
    const narrow = box.clientWidth < 520;
    return Plotly.react(box, [
      { type: "scatter", mode: "markers", x, y, text, marker: { size: 9, color: series(0), opacity: 0.65 }, hovertemplate: "%{text}: %{x:.4f}<extra></extra>" },
      { type: "scatter", mode: "markers", x: mean, y: found.map((_, i) => i), marker: { symbol: "line-ns-open", size: 20, color: colour("--ink"), line: { width: 2 } }, hovertemplate: "mean %{x:.4f}<extra></extra>" },
    ], layout({ height: 70 + 34 * found.length, margin: { l: narrow ? 16 : 220, r: 16, t: 8, b: 44 }, hovermode: "closest",
      xaxis: axis({ title: { text: `${plain(found[0].metric)}: a dot a seed, a bar at the mean`, font: { size: 12, color: colour("--dim") } }, nticks: narrow ? 4 : 8 }),
      yaxis: axis({ range: [found.length - 0.4, -0.6], tickvals: found.map((_, i) => i), ticktext: names, ...(narrow ? { ticklabelposition: "inside top", showgrid: true } : {}) }) }), CONFIG);
  }

  return { LEFT, RIGHT, time, reduced, series, colour, timeline, ticks, rows, matrix, markCell, row, spread };
})();
