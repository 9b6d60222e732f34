"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const names = [...new Set(data.servers.map((s) => s.server))];
  const colours = 8;
  const hue = (name) => `var(--c${names.indexOf(name) % colours})`;
  const dash = (name) => (names.indexOf(name) < colours ? null : "5,3");
  const serverOf = new Map(data.servers.map((s) => [s.label, s.server]));
  // A server whose every trial is invalid, or that met a limit or did not keep up, says so wherever its figures are drawn.
  const narrow = () => document.documentElement.clientWidth < 500;
  const marksOf = (s) => [s.doubted && "invalid", s.limited && (narrow() ? "limit" : "at its limit")].filter(Boolean).join(", ");
  const byLabel = new Map(data.servers.map((s) => [s.label, s]));
  function titled(label, name = label) {
    const marks = byLabel.has(label) ? marksOf(byLabel.get(label)) : "";
    return marks ? `${name} (${marks})` : name;
  }
  const finite = (v) => v !== null && v !== undefined;
  const MIB = 1024 * 1024;

  // Figures as the tables write them: three significant digits, thousands grouped.
  function show(v) {
    if (!finite(v)) return "—";
    const size = Math.abs(v);
    const digits = size >= 99.95 || v === 0 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3;
    return v.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
  function bytes(v) {
    if (!finite(v)) return "—";
    const power = v < 1024 ? 0 : Math.min(3, Math.floor(Math.log2(v) / 10));
    return `${power ? show(v / 1024 ** power) : Math.round(v)} ${["B", "KiB", "MiB", "GiB"][power]}`;
  }
  const share = (v) => (finite(v) ? `${show(100 * v)} %` : "—");
  const seconds = (t) => `${t < 0 ? "−" : ""}${Math.abs(t)} s`;
  const written = (text) => (/^\d+$/.test(text) ? Number(text).toLocaleString("en-US") : text);
  const plain = (v) => v.toLocaleString("en-US", { maximumSignificantDigits: 3 });

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  // ---- percentiles ---------------------------------------------------------------------------------------------
  const nines = [[Math.log10(2), "50 %"], [1, "90 %"], [2, "99 %"], [3, "99.9 %"], [4, "99.99 %"], [5, "99.999 %"]];

  const isWide = (values) => values.length && Math.min(...values) > 0 && Math.max(...values) > 10 * Math.min(...values);

  // A logarithmic axis from one step of 1, 2, 5, 10 … to another, all values between; powers alone where they are many.
  function logarithmic(values) {
    const powers = d3.range(Math.floor(Math.log10(Math.min(...values))) - 1, Math.ceil(Math.log10(Math.max(...values))) + 1);
    const steps = powers.flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
    const low = d3.max(steps.filter((v) => v <= Math.min(...values)));
    const high = d3.min(steps.filter((v) => v >= Math.max(...values)));
    const between = steps.filter((v) => v >= low && v <= high);
    const ticks = between.length > 7 ? between.filter((v) => Number.isInteger(Math.round(Math.log10(v) * 1e6) / 1e6)) : between;
    return { type: "log", domain: [low, high], ticks, nice: false };
  }

  function percentiles(box, width) {
    const curves = atPoint(data.percentiles);
    const places = curves.flatMap((c) => c.points.map(([x, y]) => ({ ...c, x, y })));
    choose(box);
    if (!places.length) return box.append(nothing("Too few samples for a curve."));
    const right = Math.max(...places.map((p) => p.x));
    const ms = places.map((p) => p.y);
    const ticks = nines.filter(([x]) => x <= right + 0.05);
    const longest = Math.max(...curves.map((c) => titled(c.label, serverOf.get(c.label)).length));
    const svg = Plot.plot({
      width, height: Math.max(300, Math.min(460, width * 0.5)), marginRight: Math.max(width < 500 ? 78 : 110, 7 * longest + 22), marginLeft: 52, marginBottom: 36,
      ariaLabel: "Response time by percentile", ariaDescription: "The table below holds the same figures.",
      x: { label: null, ticks: ticks.map((t) => t[0]), tickFormat: (x) => ticks.find((t) => t[0] === x)[1], domain: [Math.min(...places.map((p) => p.x)), right] },
      y: { label: "ms", grid: true, nice: true, tickFormat: plain, ticks: 6, ...(isWide(ms) ? logarithmic(ms) : {}) },
      color: { type: "identity" },
      marks: [
        Plot.line(places, { x: "x", y: "y", z: "trial", stroke: (p) => hue(serverOf.get(p.label)), strokeWidth: 1.75 }),
        Plot.tip(places, Plot.pointer({ x: "x", y: "y", title: (p) => `${p.trial}\n${percentage(p.x)}: ${show(p.y)} ms`, fill: "var(--bg)", stroke: "var(--line)" })),
      ],
    });
    const ends = d3.rollups(curves, endOf, (c) => c.label).map(([label, end]) => ({ label: titled(label, serverOf.get(label)), server: serverOf.get(label), ...end }));
    const owner = new Map(ends.map((end) => [end.label, end.server]));
    endLabels(svg, ends, (label) => hue(owner.get(label)));
    svg.setAttribute("role", "img");
    dashed(svg, curves.map((c) => dash(serverOf.get(c.label))));
    box.append(svg);
  }
  // The label stands at the end of the middling trial of its server.
  function endOf(curves) {
    const last = curves.map((c) => c.points[c.points.length - 1]).sort((a, b) => a[1] - b[1]);
    const [x, y] = last[(last.length - 1) >> 1];
    return { x, y };
  }
  const percentage = (x) => {
    const share = 100 * (1 - 10 ** -x);
    return `${Number(share.toFixed(Math.max(0, Math.ceil(x) - 1) + 1))} %`;
  };
  function dashed(svg, patterns) {
    const lines = svg.querySelectorAll('g[aria-label="line"] path');
    lines.forEach((line, place) => patterns[place] && line.setAttribute("stroke-dasharray", patterns[place]));
  }

  // Names at the ends of lines, pushed apart where they would cover each other and tied to their ends by thin lines.
  const GAP = 15;
  function endLabels(svg, ends, colour) {
    const x = svg.scale("x");
    const y = svg.scale("y");
    const placed = ends.map((e) => ({ ...e, px: x.apply(e.x), at: y.apply(e.y), py: y.apply(e.y) }));
    // Lines that end together have their names in one column.
    for (const p of placed) p.left = Math.max(...placed.filter((o) => Math.abs(o.px - p.px) < 40).map((o) => o.px)) + 13;
    for (const p of placed) p.right = p.left + 8 * p.label.length;
    pushApart(placed, Number(svg.getAttribute("height")) - 44);  // above the ticks of the axis
    const group = d3.select(svg).append("g").attr("font-size", 11.5).attr("text-anchor", "start").attr("aria-hidden", "true");
    for (const p of placed) {
      group.append("path").attr("d", `M${p.px + 2},${p.py}L${p.left - 3},${p.at}`).attr("stroke", colour(p.label)).attr("stroke-opacity", 0.5).attr("fill", "none");
      group.append("text").attr("x", p.left).attr("y", p.at).attr("dy", "0.32em").attr("fill", colour(p.label)).attr("font-weight", 600)
        .attr("stroke", "var(--bg)").attr("stroke-width", 3).attr("paint-order", "stroke").text(p.label);
    }
  }
  function pushApart(places, bottom) {
    const beside = (p, q) => p !== q && p.left < q.right && q.left < p.right;
    places.sort((a, b) => a.py - b.py);
    places.forEach((p, i) => {
      for (const q of places.slice(0, i)) if (beside(p, q)) p.at = Math.max(p.at, q.at + GAP);
    });
    [...places].reverse().forEach((p, i, upward) => {
      p.at = Math.min(p.at, bottom);
      for (const q of upward.slice(0, i)) if (beside(p, q)) p.at = Math.min(p.at, q.at - GAP);
    });
  }

  // ---- bars ----------------------------------------------------------------------------------------------------
  function bars(box) {
    panels(box, "three", [
      ["Response time, p50 to p99 [ms]", span],
      ["CPU time per request [µs]", (w) => bar(w, "cpu_us", show, (s) => s.system_share ?? 1)],
      ["Memory per connection", (w) => bar(w, "memory_bytes", bytes)],
    ]);
  }
  function frame(width, more) {
    const longest = Math.max(...data.servers.map((s) => titled(s.label).length));
    return {
      width, height: 24 * data.servers.length + 12, marginLeft: Math.min(width * 0.4, 7 * longest + 10), marginRight: 76, marginTop: 4, marginBottom: 8,
      y: { label: null, type: "band", domain: data.servers.map((s) => s.label), tickFormat: (label) => titled(label), tickSize: 0, padding: 0.35 }, color: { type: "identity" }, ...more,
    };
  }
  // Where the kernel's share of CPU time is known it is drawn full, time in user space lighter.
  function bar(width, key, format, part = () => 1) {
    const rows = data.servers.filter((s) => finite(s[key]));
    return Plot.plot(frame(width, {
      x: { axis: null, zero: true },
      marks: [
        Plot.barX(rows, { x: key, y: "label", fill: (s) => hue(s.server), fillOpacity: 0.45 }),
        Plot.barX(rows, { x: (s) => s[key] * part(s), y: "label", fill: (s) => hue(s.server) }),
        Plot.text(rows, { x: key, y: "label", text: (s) => least(s, key) + format(s[key]) + (least(s, key) && " (CPU full)"), textAnchor: "start", dx: 6, fill: "currentColor", fontSize: 11.5 }),
        absent(key),
      ],
    }));
  }
  const least = (s, name) => (s.at_least.includes(name) ? "≥ " : "");
  const absent = (key) => Plot.text(data.servers.filter((s) => !finite(s[key])),
    { frameAnchor: "left", y: "label", text: (s) => (key === "cpu_us" && s.busy_waits ? "none: the model polls" : "not measured"), dx: 6, fill: "var(--soft)", fontSize: 11.5, textAnchor: "start" });
  function span(width) {
    const rows = data.servers.filter((s) => finite(s.p50_ms));
    const high = (s) => (finite(s.p99_ms) ? s.p99_ms : s.p50_ms);
    const text = (s) => `${least(s, "p50")}${show(s.p50_ms)} – ${finite(s.p99_ms) ? least(s, "p99") + show(s.p99_ms) : "n/a"}`;
    return Plot.plot(frame(width, {
      marginRight: 92,
      x: { axis: null, zero: false, type: isWide(rows.flatMap((s) => [s.p50_ms, high(s)])) ? "log" : "linear", inset: 6 },
      marks: [
        Plot.ruleY(rows, { x1: "p50_ms", x2: high, y: "label", stroke: (s) => hue(s.server), strokeWidth: 5, strokeOpacity: 0.45 }),
        Plot.dot(rows, { x: "p50_ms", y: "label", fill: (s) => hue(s.server), r: 4.5 }),
        Plot.text(rows, { x: high, y: "label", text, textAnchor: "start", dx: 9, fill: "currentColor", fontSize: 11.5 }),
        absent("p50_ms"),
      ],
    }));
  }

  // ---- time lines ----------------------------------------------------------------------------------------------
  const shownPoint = { key: null };
  const keyOf = (line) => JSON.stringify(data.servers.find((s) => s.label === line.label).point);
  const points = [...new Set(data.servers.map((s) => JSON.stringify(s.point)))];
  shownPoint.key = points[points.length - 1];
  const atPoint = (lines) => lines.filter((line) => keyOf(line) === shownPoint.key);
  const timelines = () => atPoint(data.timelines);

  // Small multiples: all cells first, so that each is drawn at the width it will keep.
  function panels(box, kind, drawings) {
    const cells = drawings.map(([title]) => element("div", {}, element("h4", {}, title)));
    box.append(element("div", { class: `panels ${kind}` }, ...cells));
    drawings.forEach(([title, draw], place) => {
      const svg = draw(cells[place].clientWidth);
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", title);
      cells[place].append(svg);
    });
  }

  function overTime(box, { from, values, y, marks, kinds = ["event", "error"] }) {
    const lines = timelines();
    choose(box);
    if (!lines.length) return box.append(nothing("No trial gave a measurement."));
    const known = lines.flatMap(values).filter(finite);
    const [least, most] = known.length ? [d3.min(known), d3.max(known)] : [0, 1];
    const head = lines.some((line) => toldOf(line, from(line), kinds).length) ? 14 : 0;  // labels stand above the figures
    const draw = (line) => (width) => Plot.plot({
      width, height: 132 + head, marginLeft: 42, marginRight: 8, marginTop: 8 + head, marginBottom: 24,
      x: { label: null, domain: [from(line), line.measured_s[1]], ticks: Math.min(10, width / 60), tickFormat: seconds, tickSize: 3 },
      y: { label: null, grid: true, ticks: 4, tickSize: 0, nice: true, ...y(least, most) },
      color: { type: "identity" },
      marks: [
        Plot.rectX([line], { x1: from(line), x2: 0, fill: "var(--ink)", fillOpacity: 0.06 }),
        ...marks(line, hue(serverOf.get(line.label))),
        ...happenings(line, from(line), kinds),
      ],
    });
    panels(box, "", lines.map((line) => [titled(line.label, serverOf.get(line.label)), draw(line)]));
  }
  const toldOf = (line, from, kinds) => line.events.filter((e) => kinds.includes(e.kind) && e.t >= from && e.t <= line.measured_s[1]);
  function happenings(line, from, kinds) {
    const told = toldOf(line, from, kinds);
    const late = (e) => e.t > line.measured_s[1] / 2;
    const named = together(told, (line.measured_s[1] - from) / 4);
    const label = (which, textAnchor, dx) => Plot.text(named.filter(which), { x: "t", frameAnchor: "top", text: "says", textAnchor, dx, dy: -14, fill: "var(--bad)", stroke: "var(--bg)", strokeWidth: 3, fontSize: 10 });
    return [
      Plot.ruleX(told, { x: "t", stroke: "var(--bad)", strokeDasharray: "2,2" }),
      label((e) => !late(e), "start", 4),
      label(late, "end", -4),
    ];
  }
  // What happens at nearly the same time shares one label: two would cover each other.
  function together(told, near) {
    const named = [];
    for (const e of told) {
      const last = named[named.length - 1];
      if (last && e.t - last.t < near) last.says += `, ${e.says}`;
      else named.push({ ...e });
    }
    return named;
  }

  // A sweep has many points; time lines and curves are those of one of them.
  function choose(box) {
    if (points.length < 2) return;
    const select = element("select", { "aria-label": "Sweep point" });
    for (const key of points) {
      const option = element("option", { value: key }, Object.entries(JSON.parse(key)).map(([k, v]) => `${k} ${v}`).join(", "));
      if (key === shownPoint.key) option.setAttribute("selected", "");
      select.append(option);
    }
    const figure = box.closest("figure");
    select.addEventListener("change", () => {
      shownPoint.key = select.value;
      drawAll();
      figure.querySelector("select").focus();  // drawn anew: the keyboard's user is still here
    });
    box.append(element("p", { class: "choice" }, "At ", select));
  }
  const ofLoad = (line) => Math.min(0, line.seconds.length ? Math.floor(line.seconds[0].t) : 0);
  const ofTrial = (line) => (line.memory.length ? line.memory[0][0] : ofLoad(line));

  const response = (box) => overTime(box, {
    from: ofLoad,
    // The warm-up may be much slower; it is cut off rather than given the scale.
    values: (line) => line.seconds.filter((s) => s.t >= 0).flatMap((s) => [s.p50, s.upper]),
    y: (least, most) => (least > 0 && most > 10 * least ? { ...logarithmic([least, most]), tickFormat: plain } : { domain: [least > most * 0.5 ? least * 0.98 : 0, most] }),
    marks: (line, colour) => [
      Plot.areaY(line.seconds, { x: "t", y1: "p50", y2: "upper", fill: colour, fillOpacity: 0.25, clip: true }),
      Plot.lineY(line.seconds, { x: "t", y: "p50", stroke: colour, strokeWidth: 1.75, clip: true }),
    ],
  });
  const throughput = (box) => overTime(box, {
    from: ofLoad,
    values: (line) => line.seconds.flatMap((s) => [s.intended, s.completed]),
    y: (least, most) => ({ domain: [0, most], tickFormat: plain }),
    marks: (line, colour) => [
      Plot.areaY(line.seconds, { x: "t", y: "completed", fill: colour, fillOpacity: 0.2 }),
      Plot.areaY(line.seconds, { x: "t", y1: (s) => s.intended - s.failed - s.unsent, y2: "intended", fill: "var(--bad)", fillOpacity: 0.25 }),
      Plot.lineY(line.seconds, { x: "t", y: "intended", stroke: "var(--soft)", strokeDasharray: "1,3" }),
      Plot.lineY(line.seconds, { x: "t", y: "completed", stroke: colour, strokeWidth: 1.75 }),
    ],
  });
  const cpu = (box) => overTime(box, {
    from: ofTrial,
    kinds: ["event"],
    values: (line) => line.cpu.map((c) => c[1]),
    y: (least, most) => ({ domain: [0, most || 1] }),
    marks: (line, colour) => [
      Plot.areaY(line.cpu, { x: "0", y: "1", fill: colour, fillOpacity: 0.25 }),
      Plot.lineY(line.cpu, { x: "0", y: "1", stroke: colour, strokeWidth: 1.75 }),
    ],
  });
  const memory = (box) => overTime(box, {
    from: ofTrial,
    kinds: ["event"],
    values: (line) => line.memory.map((m) => m[1] / MIB),
    y: (least, most) => ({ domain: [0, most || 1] }),
    marks: (line, colour) => [
      Plot.areaY(line.memory, { x: "0", y: (m) => m[1] / MIB, fill: colour, fillOpacity: 0.25 }),
      Plot.lineY(line.memory, { x: "0", y: (m) => m[1] / MIB, stroke: colour, strokeWidth: 1.75 }),
    ],
  });

  // ---- sweep ---------------------------------------------------------------------------------------------------
  function sweep(box) {
    const known = data.sweep.figures.filter(({ key }) => data.sweep.rows.some((r) => finite(r[key])));
    panels(box, "three", known.map(({ key, title, unit }) => [title, (width) => sweepPlot(width, key, unit)]));
  }
  function sweepPlot(width, key, unit) {
    const rows = data.sweep.rows.filter((r) => finite(r[key])).map((r) => ({ ...r, y: r[key] / unit }));
    const ys = rows.map((r) => r.y);
    const x = data.sweep.numeric ? "x" : "value";
    const xs = rows.map((r) => r.x);
    const owner = (row) => row.label.split(",")[0];
    const svg = Plot.plot({
      width, height: 230, marginLeft: 50, marginRight: 76, marginTop: 10, marginBottom: 28,
      x: data.sweep.numeric
        ? { label: null, type: isWide(xs) ? "log" : "linear", ticks: [...new Set(xs)], tickFormat: (v) => written(rows.find((r) => r.x === v).value) }
        : { label: null, type: "point", domain: [...new Set(rows.map((r) => r.value))] },
      y: { label: null, grid: true, nice: true, tickFormat: plain, ticks: 5, ...(isWide(ys) ? logarithmic(ys) : { zero: true }) },
      color: { type: "identity" },
      marks: [
        Plot.lineY(rows, { x, y: "y", z: "label", stroke: (r) => hue(owner(r)), strokeWidth: 1.75 }),
        Plot.dot(rows, { x, y: "y", fill: (r) => hue(owner(r)), r: 3 }),
      ],
    });
    const ends = d3.rollups(rows, (group) => group[group.length - 1], (r) => r.label).map(([label, r]) => ({ label, x: r[x], y: r.y }));
    endLabels(svg, ends, (label) => hue(label.split(",")[0]));
    return svg;
  }

  // ---- tables of charts ----------------------------------------------------------------------------------------
  const perSecond = (columns) => () => [
    ["server", "second", ...columns.map((c) => c[0])],
    timelines().flatMap((line) => line.seconds.map((s) => [titled(line.label), s.t, ...columns.map((c) => ((s.at_least || []).includes(c[1]) ? "≥ " : "") + show(s[c[1]]))])),
  ];
  const tables = {
    bars: () => [
      ["server", "p50 [ms]", "p99 [ms]", "CPU [µs/request]", "of it in the kernel", "memory per connection"],
      data.servers.map((s) => [titled(s.label), ...["p50", "p99"].map((name) => least(s, name) + show(s[`${name}_ms`])), least(s, "cpu_us") + show(s.cpu_us), share(s.system_share), bytes(s.memory_bytes)]),
    ],
    percentiles: () => [
      ["trial", ...nines.map((n) => n[1])],
      atPoint(data.percentiles).map((c) => [c.trial, ...nines.map(([x]) => show(at(c.points, x)))]),
    ],
    response: perSecond([["p50 [ms]", "p50"], [`${data.upper} [ms]`, "upper"], ["largest [ms]", "max"]]),
    throughput: perSecond([["offered per s", "intended"], ["completed per s", "completed"], ["failed per s", "failed"], ["never sent per s", "unsent"]]),
    cpu: () => [
      ["server", "second", "CPUs busy"],
      timelines().flatMap((line) => line.cpu.map(([t, v]) => [titled(line.label), t, show(v)])),
    ],
    memory: () => [
      ["server", "second", "memory"],
      timelines().flatMap((line) => line.memory.map(([t, v]) => [titled(line.label), t, bytes(v)])),
    ],
    sweep: () => [
      ["server", data.sweep.path, ...SWEPT.map((s) => s[1])],
      data.sweep.rows.map((r) => [r.label, r.value, ...SWEPT.map(([key, , unit]) => show(finite(r[key]) ? r[key] / unit : null))]),
    ],
  };
  function at(curve, x) {
    const next = curve.findIndex((p) => p[0] >= x - 1e-3);
    return next < 0 ? null : curve[next][1];
  }
  function tableOf([head, rows], title) {
    const table = element("table", {}, element("caption", { class: "unseen" }, title));
    const line = (cells, tag) => element("tr", {}, ...cells.map((cell, place) => element(place ? tag : "th",
      { ...(place ? { class: "n" } : { scope: tag === "th" ? "col" : "row" }) }, String(cell))));
    table.append(element("thead", {}, line(head, "th")), element("tbody", {}, ...rows.map((row) => line(row, "td"))));
    return element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": title }, table);
  }
  const nothing = (says) => element("p", { class: "note" }, says);

  // ---- drawing -------------------------------------------------------------------------------------------------
  const charts = { bars, percentiles, response, throughput, cpu, memory, sweep };
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  function drawAll() {
    for (const figure of figures) {
      const box = figure.querySelector(".plot");
      box.replaceChildren();
      charts[figure.dataset.chart](box, box.clientWidth);
      fill(figure);
    }
  }
  // Tables are made when they are opened: a long run has thousands of rows.
  function fill(figure) {
    const details = figure.querySelector("details");
    const title = figure.querySelector("h3").textContent;
    details.lastElementChild.replaceChildren(...(details.open ? [tableOf(tables[figure.dataset.chart](), title)] : []));
  }
  for (const figure of figures) figure.querySelector("details").addEventListener("toggle", () => fill(figure));

  let width = document.body.clientWidth;
  let timer = 0;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (document.body.clientWidth !== width) { width = document.body.clientWidth; drawAll(); }
    }, 150);
  });
  // Paper is narrower than most windows: drawn for it, labels keep their size instead of shrinking with the chart.
  const onPaper = [...document.querySelectorAll("details.paper")];
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = onPaper.filter((details) => !details.open);
    for (const details of opened) details.open = true;
    document.body.classList.add("paper");
    drawAll();
  });
  addEventListener("afterprint", () => {
    document.body.classList.remove("paper");
    for (const details of opened) details.open = false;
    drawAll();
  });
  drawAll();
  document.documentElement.dataset.drawn = "yes";
})();
