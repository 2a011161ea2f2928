/* Viewer of a recon3d report: linked planes of quantised volumes, drawn on canvases; no library, no network. */
"use strict";

(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  $("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
  if (!$("scene")) return;

  const scene = JSON.parse($("scene").textContent);
  const { planes, layers } = scene;
  const [NZ, NY, NX] = scene.shape;
  const extent = [NZ, NY, NX];
  const frames = Math.max(...layers.map((l) => l.parts[0].shape[0]));

  /* What is shown; everything on the page follows from it. */
  const state = {
    layer: 0, part: 0, frame: Math.floor(frames / 2), at: extent.map((n) => Math.floor(n / 2)), zoom: 1,
    centre: extent.map((n) => n / 2), side: scene.side, plane: 0, chief: 0, difference: false, smooth: true, cross: true,
  };
  const windows = {};
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

  /* Colour maps, all ordered in lightness or symmetric about dark, so that they hold without red or green. */
  const MAPS = {
    gray: [[0, 0, 0], [255, 255, 255]],
    heat: [[0, 2, 18], [28, 30, 92], [92, 43, 125], [160, 64, 116], [221, 100, 86], [249, 160, 70], [253, 226, 128]],
    sign: [[178, 226, 255], [86, 172, 232], [32, 106, 176], [14, 48, 86], [10, 10, 12], [92, 46, 10], [186, 96, 18], [244, 158, 58], [255, 224, 158]],
    turn: [[47, 20, 54], [70, 22, 100], [94, 86, 178], [142, 163, 200], [226, 217, 226], [205, 160, 140], [174, 80, 80], [104, 24, 68], [47, 20, 54]],
  };
  const tables = {};
  for (const [name, stops] of Object.entries(MAPS)) {
    tables[name] = new Uint32Array(256);
    for (let i = 0; i < 256; i++) {
      const u = (i / 255) * (stops.length - 1), k = Math.min(Math.floor(u), stops.length - 2), f = u - k;
      const [r, g, b] = [0, 1, 2].map((c) => Math.round(stops[k][c] * (1 - f) + stops[k + 1][c] * f));
      tables[name][i] = (255 << 24 | b << 16 | g << 8 | r) >>> 0;
    }
  }
  const css = (map, i) => { const c = tables[map][clamp(Math.round(i), 0, 255)]; return `rgb(${c & 255},${c >> 8 & 255},${c >> 16 & 255})`; };

  /* Volumes: deflate of low bytes then high bytes, each row as differences of neighbours. */
  async function decode(part) {
    const holder = $(part.id), text = holder.textContent;
    let packed;
    if (Uint8Array.fromBase64) packed = Uint8Array.fromBase64(text);
    else { const raw = atob(text); packed = new Uint8Array(raw.length); for (let i = 0; i < raw.length; i++) packed[i] = raw.charCodeAt(i); }
    holder.remove();
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    const [t, z, y, x] = part.shape, count = t * z * y * x;
    const wide = part.bytes === 2, codes = wide ? new Uint16Array(count) : new Uint8Array(count);
    for (let row = 0; row < count; row += x) {
      let sum = 0;
      for (let i = row; i < row + x; i++) { sum += wide ? bytes[i] | bytes[count + i] << 8 : bytes[i]; codes[i] = sum; sum = codes[i]; }
    }
    part.codes = codes;
    part.step = (part.high - part.low) / (part.levels - 1);
  }

  /* The layer as chosen: either the part of one layer, or a difference of two that share their lattice. */
  function shown(layer = state.layer, difference = state.side && state.difference) {
    const l = layers[layer], part = l.parts[Math.min(state.part, l.parts.length - 1)];
    if (difference && scene.reference !== null && layer !== scene.reference) {
      return { part, other: layers[scene.reference].parts[0], light: null, map: "sign", key: `difference of ${l.units}`, units: l.units, name: `${l.name} − ${layers[scene.reference].name}` };
    }
    const magnitude = part.part === "phase" && l.parts[0].codes && String(l.parts[0].shape) === String(part.shape) ? l.parts[0] : null;
    return { part, other: null, light: magnitude, map: part.map, key: part.key, units: part.units, name: l.name };
  }
  function windowOf(view) {
    if (!windows[view.key]) {
      const group = view.other ? scene.spread : view.part.window;
      windows[view.key] = { low: group[0], high: group[1], first: group.slice() };
    }
    return windows[view.key];
  }

  const offset = (part, frame, z, y, x) => {
    const [t, mz, my, mx] = part.shape;
    const a = Math.min(Math.floor((z + 0.5) * mz / NZ), mz - 1), b = Math.min(Math.floor((y + 0.5) * my / NY), my - 1);
    return ((Math.min(frame, t - 1) * mz + a) * my + b) * mx + Math.min(Math.floor((x + 0.5) * mx / NX), mx - 1);
  };
  function valueAt(view, at) {
    const value = (part) => part.low + part.codes[offset(part, state.frame, ...at)] * part.step;
    return view.other ? value(view.part) - value(view.other) : value(view.part);
  }
  function nice(value, step) {
    if (!Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    if (size && (size >= 1e6 || size < 1e-4 && step < 1e-4)) return value.toExponential(2).replace("-", "−");
    const digits = clamp(Math.ceil(-Math.log10(step || 1)), 0, 7);
    return value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "−");
  }
  const unit = (u) => (u === "1" ? "" : ` ${u}`);

  /* One slice of a layer into an image of its own size. */
  const scratch = document.createElement("canvas"), pen = scratch.getContext("2d");
  function slice(view, plane) {
    const part = view.part, shape = part.shape.slice(1), { low, high } = windowOf(view), colours = tables[view.map];
    const rows = shape[plane.rows], columns = shape[plane.columns];
    const strides = [shape[1] * shape[2], shape[2], 1];
    const frame = Math.min(state.frame, part.shape[0] - 1) * shape[0] * strides[0];
    const index = clamp(Math.floor((state.at[plane.axis] + 0.5) * shape[plane.axis] / extent[plane.axis]), 0, shape[plane.axis] - 1);
    let start = frame + index * strides[plane.axis], down = strides[plane.rows], across = strides[plane.columns];
    if (plane.flip_rows) { start += (rows - 1) * down; down = -down; }
    if (plane.flip_columns) { start += (columns - 1) * across; across = -across; }
    const image = pen.createImageData(columns, rows), pixels = new Uint32Array(image.data.buffer);
    const gain = 255 / (high - low), codes = part.codes;
    let k = 0;
    if (view.other) {
      const other = view.other.codes, gone = Math.min(state.frame, view.other.shape[0] - 1) * shape[0] * strides[0] - frame;
      const base = (part.low - view.other.low - low) * gain + 0.5, a = part.step * gain, b = view.other.step * gain;
      for (let r = 0; r < rows; r++, start += down) for (let c = 0, i = start; c < columns; c++, i += across) pixels[k++] = colours[clamp(base + codes[i] * a - other[i + gone] * b, 0, 255) | 0];
    } else {
      const table = new Uint32Array(part.levels);
      for (let i = 0; i < part.levels; i++) table[i] = colours[clamp((part.low + i * part.step - low) * gain + 0.5, 0, 255) | 0];
      for (let r = 0; r < rows; r++, start += down) for (let c = 0, i = start; c < columns; c++, i += across) pixels[k++] = table[codes[i]];
      if (view.light) { /* phase is meaningless where there is no signal: it is as bright as the magnitude */
        const w = windowOf({ key: view.light.key, part: view.light, other: null }), bytes = image.data;
        const first = frame + index * strides[plane.axis] + (plane.flip_rows ? (rows - 1) * strides[plane.rows] : 0) + (plane.flip_columns ? (columns - 1) * strides[plane.columns] : 0);
        for (let r = 0, at = 0; r < rows; r++) for (let c = 0, i = first + r * down; c < columns; c++, i += across, at += 4) {
          const bright = clamp(2 * (view.light.low + view.light.codes[i] * view.light.step) / w.high, 0, 1);
          bytes[at] *= bright; bytes[at + 1] *= bright; bytes[at + 2] *= bright;
        }
      }
    }
    scratch.width = columns; scratch.height = rows;
    pen.putImageData(image, 0, 0);
    return scratch;
  }

  /* Panels: three planes of one layer, or one plane of several layers. */
  let panels = [];
  const compared = layers.map((l, i) => i).filter((i) => layers[i].parts[0].map === "gray");
  function build() {
    const host = $("panels");
    host.replaceChildren();
    const list = state.side ? compared.map((layer) => ({ plane: state.plane, layer })) : planes.map((_, plane) => ({ plane, layer: null }));
    const columns = state.side ? (list.length <= 4 ? Math.max(list.length, 2) : Math.ceil(list.length / 2)) : list.length;
    host.style.setProperty("--columns", columns);
    host.classList.toggle("planes", !state.side);
    const used = [...new Set(list.map((p) => p.plane))].map((k) => planes[k]);
    const shape = Math.max(...used.map((p) => p.width)) / Math.max(...used.map((p) => p.height));
    host.style.setProperty("--shape", clamp(shape, 0.75, 1.7));
    panels = list.map((panel, k) => {
      const figure = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
      figure.className = "panel" + (k === state.chief || state.side ? " chief" : "");
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "img");
      const line = document.createElement("div"), name = document.createElement(state.side ? "b" : "button"), where = document.createElement("span"), count = document.createElement("span");
      line.className = "line";
      line.append(name, where, count);
      caption.append(line);
      let slider = null;
      if (!state.side || k === 0) {
        slider = document.createElement("input");
        slider.type = "range"; slider.min = 0; slider.max = extent[planes[panel.plane].axis] - 1; slider.step = 1;
        slider.setAttribute("aria-label", `Slice of the ${planes[panel.plane].name} plane`);
        slider.addEventListener("input", () => move(planes[panel.plane].axis, Number(slider.value) - state.at[planes[panel.plane].axis]));
      }
      if (slider && !state.side) caption.append(slider);
      if (slider && state.side) {
        const place = document.createElement("output");
        place.id = "place";
        $("depth").replaceChildren(slider, place);
      }
      if (!state.side) name.addEventListener("click", () => { state.chief = k; panels.forEach((p, i) => p.figure.classList.toggle("chief", i === k)); resize(); });
      figure.append(canvas, caption);
      host.append(figure);
      const made = { ...panel, k, figure, canvas, name, where, count, slider, context: canvas.getContext("2d") };
      listen(made);
      return made;
    });
    $("depth").hidden = !state.side;
    resize();
  }
  function resize() {
    for (const panel of panels) {
      const ratio = devicePixelRatio || 1, box = panel.canvas.getBoundingClientRect();
      panel.canvas.width = Math.max(1, Math.round(box.width * ratio));
      panel.canvas.height = Math.max(1, Math.round(box.height * ratio));
    }
    draw();
  }

  /* From voxel indices to pixels of a canvas. All panels of one size share one scale, so lengths can be compared. */
  function frameOf(panel) {
    const plane = planes[panel.plane], { width, height } = panel.canvas;
    const peers = state.side ? [plane] : planes;
    const scale = 0.96 * Math.min(width / Math.max(...peers.map((p) => p.width)), height / Math.max(...peers.map((p) => p.height))) * state.zoom;
    const w = plane.width * scale, h = plane.height * scale;
    const u = state.centre[plane.columns] / extent[plane.columns], v = state.centre[plane.rows] / extent[plane.rows];
    const left = width / 2 - w * (plane.flip_columns ? 1 - u : u), top = height / 2 - h * (plane.flip_rows ? 1 - v : v);
    return { left, top, w, h, scale };
  }
  function toPixel(panel, at) {
    const plane = planes[panel.plane], f = frameOf(panel);
    const u = (at[plane.columns] + 0.5) / extent[plane.columns], v = (at[plane.rows] + 0.5) / extent[plane.rows];
    return [f.left + f.w * (plane.flip_columns ? 1 - u : u), f.top + f.h * (plane.flip_rows ? 1 - v : v)];
  }
  function toVoxel(panel, event) {
    const plane = planes[panel.plane], f = frameOf(panel), box = panel.canvas.getBoundingClientRect();
    let u = ((event.clientX - box.left) * panel.canvas.width / box.width - f.left) / f.w;
    let v = ((event.clientY - box.top) * panel.canvas.height / box.height - f.top) / f.h;
    if (plane.flip_columns) u = 1 - u;
    if (plane.flip_rows) v = 1 - v;
    const at = state.at.map((p) => p + 0.5);
    at[plane.columns] = u * extent[plane.columns];
    at[plane.rows] = v * extent[plane.rows];
    return at; /* in voxel edges: the first voxel reaches from 0 to 1 */
  }
  const world = (at) => {
    if (!scene.affine) return null;
    const [z, y, x] = at;
    return scene.affine.slice(0, 3).map((r) => r[0] * x + r[1] * y + r[2] * z + r[3]);
  };

  let queued = false;
  const draw = () => { if (!queued) { queued = true; requestAnimationFrame(paint); } };
  function paint() {
    queued = false;
    for (const panel of panels) paintPanel(panel);
    paintScale();
    tell();
  }
  function paintPanel(panel) {
    const plane = planes[panel.plane], view = shown(panel.layer ?? state.layer), c = panel.context, { width, height } = panel.canvas;
    const f = frameOf(panel), ratio = devicePixelRatio || 1;
    c.fillStyle = "#000";
    c.fillRect(0, 0, width, height);
    const ready = view.part.codes && (!view.other || view.other.codes);
    if (ready) {
      c.imageSmoothingEnabled = state.smooth && !view.part.map.startsWith("turn");
      c.imageSmoothingQuality = "high";
      c.drawImage(slice(view, plane), f.left, f.top, f.w, f.h);
    }
    const [px, py] = toPixel(panel, state.at).map((v) => Math.round(v) + 0.5), gap = 9 * ratio;
    if (state.cross) {
      c.strokeStyle = "rgba(116, 200, 255, 0.75)";
      c.lineWidth = Math.max(1, Math.round(ratio));
      c.beginPath();
      c.moveTo(0, py); c.lineTo(px - gap, py); c.moveTo(px + gap, py); c.lineTo(width, py);
      c.moveTo(px, 0); c.lineTo(px, py - gap); c.moveTo(px, py + gap); c.lineTo(px, height);
      c.stroke();
    }
    const write = (text, x, y, align, base, colour = "#f3d98b") => {
      c.font = `600 ${12 * ratio}px system-ui, "Liberation Sans", sans-serif`;
      c.textAlign = align; c.textBaseline = base; c.lineJoin = "round";
      c.strokeStyle = "rgba(0, 0, 0, 0.8)"; c.lineWidth = 3 * ratio;
      c.strokeText(text, x, y);
      c.fillStyle = colour;
      c.fillText(text, x, y);
    };
    const [left, right, top, bottom] = plane.letters, edge = 9 * ratio;
    if (left) write(left, edge, height / 2, "left", "middle");
    if (right) write(right, width - edge, height / 2, "right", "middle");
    if (top) write(top, width / 2, edge, "center", "top");
    if (bottom) write(bottom, width / 2, height - edge, "center", "bottom");
    if (scene.affine) {
      const wanted = width / 4 / f.scale, decade = 10 ** Math.floor(Math.log10(wanted));
      const length = decade * ([5, 2, 1].find((s) => s * decade <= wanted) || 1), x = edge + 2 * ratio, y = height - edge - 2 * ratio;
      c.lineCap = "butt";
      for (const [colour, thick] of [["rgba(0, 0, 0, 0.8)", 5], ["#ffffff", 2]]) {
        c.strokeStyle = colour; c.lineWidth = thick * ratio;
        c.beginPath(); c.moveTo(x, y); c.lineTo(x + length * f.scale, y); c.stroke();
      }
      write(length >= 10000 ? `${length / 1000} m` : `${length} mm`, x, y - 6 * ratio, "left", "bottom", "#ffffff");
    }
    const k = state.at[plane.axis], mm = world(state.at);
    const where = mm && plane.across ? `${plane.across} ${nice(mm["xyz".indexOf(plane.across)], 0.1)} mm` : "";
    panel.name.textContent = state.side ? view.name : plane.name;
    panel.name.title = state.side ? view.name : "";
    panel.where.textContent = state.side ? layers[panel.layer].score : where;
    panel.count.textContent = state.side ? "" : `${k + 1} / ${extent[plane.axis]}`;
    if (panel.slider && state.side) $("place").textContent = `${plane.name} ${k + 1} / ${extent[plane.axis]}${where && ", "}${where}`;
    if (panel.slider) { panel.slider.value = k; panel.slider.setAttribute("aria-valuetext", `slice ${k + 1} of ${extent[plane.axis]}, ${where}`); }
    panel.canvas.setAttribute("aria-label", `${view.name}, ${view.part.part === "value" ? "" : view.part.part + ", "}${plane.name} slice ${k + 1} of ${extent[plane.axis]}${where && ", "}${where}. Arrow keys move the crosshair, page keys the slice.`);
  }

  /* The scale: histogram, window and colours of the layer in one strip; its ends can be dragged. */
  const strip = $("scale"), ink = strip.getContext("2d");
  function histogram(part) {
    if (part.bins || !part.codes) return part.bins;
    const bins = new Float64Array(128), jump = Math.max(1, Math.floor(part.codes.length / 400000) | 1);
    for (let i = 0; i < part.codes.length; i += jump) bins[Math.floor(part.codes[i] * 128 / part.levels)]++;
    const sorted = [...bins].sort((a, b) => a - b), top = sorted[122] || sorted[127]; /* the background would flatten the rest */
    return part.bins = bins.map((b) => Math.min(1, Math.sqrt(b / top)));
  }
  function span(view) {
    const w = windowOf(view), { part } = view;
    if (view.other) { const s = Math.max(2 * w.first[1], w.high, -w.low); return [-s, s]; }
    return [Math.min(part.low, w.low), Math.max(part.high, w.high)];
  }
  function paintScale() {
    const ratio = devicePixelRatio || 1, box = strip.getBoundingClientRect(), view = shown(), w = windowOf(view);
    if (!box.width) return;
    strip.width = Math.round(box.width * ratio); strip.height = Math.round(box.height * ratio);
    ink.scale(ratio, ratio);
    const style = getComputedStyle($("viewer")), soft = style.getPropertyValue("--stage-soft"), strong = style.getPropertyValue("--stage-ink");
    const wide = box.width, [low, high] = span(view), x = (v) => 6 + (v - low) / (high - low) * (wide - 12);
    const bins = view.other ? null : histogram(view.part);
    if (bins) {
      ink.fillStyle = soft; ink.globalAlpha = 0.4;
      ink.beginPath(); ink.moveTo(x(view.part.low), 40);
      const step = (view.part.high - view.part.low) / 128;
      bins.forEach((b, i) => ink.lineTo(x(view.part.low + (i + 0.5) * step), 40 - 34 * b));
      ink.lineTo(x(view.part.high), 40); ink.fill(); ink.globalAlpha = 1;
    }
    for (let i = 0; i < wide - 12; i++) {
      const v = low + i / (wide - 12) * (high - low);
      ink.fillStyle = css(view.map, (v - w.low) / (w.high - w.low) * 255);
      ink.fillRect(6 + i, 44, 1.5, 12);
    }
    ink.strokeStyle = soft; ink.globalAlpha = 0.6; ink.lineWidth = 1; ink.strokeRect(5.5, 43.5, wide - 11, 13); ink.globalAlpha = 1;
    const step = (high - low) / 1000;
    for (const [v, align] of [[w.low, "low"], [w.high, "high"]]) {
      ink.fillStyle = "#7db7f5"; ink.fillRect(x(v) - 1, 4, 2, 56);
      ink.beginPath(); ink.arc(x(v), 50, 5, 0, 7); ink.fill();
    }
    ink.font = '12px system-ui, "Liberation Sans", sans-serif'; ink.textBaseline = "top";
    const left = nice(low, step) + unit(view.units), right = nice(high, step) + unit(view.units);
    ink.fillStyle = soft;
    ink.textAlign = "left"; ink.fillText(left, 6, 67);
    ink.textAlign = "right"; ink.fillText(right, wide - 6, 67);
    ink.textAlign = "center"; ink.fillStyle = strong;
    const text = `${nice(w.low, step)} to ${nice(w.high, step)}${unit(view.units)}`;
    const half = ink.measureText(text).width / 2, free = [6 + ink.measureText(left).width + 12 + half, wide - 18 - ink.measureText(right).width - half];
    ink.fillText(text, free[0] < free[1] ? clamp(x((w.low + w.high) / 2), ...free) : wide / 2, 67);
    strip.setAttribute("aria-label", `Colour scale and window of ${view.name}: ${text} within ${left} to ${right}`);
    for (const [id, v] of [["low", w.low], ["high", w.high]]) if (document.activeElement !== $(id)) $(id).value = Number(v.toPrecision(4));
    $("low").step = $("high").step = 10 ** Math.floor(Math.log10((high - low) / 50));
  }
  let grip = null;
  strip.addEventListener("pointerdown", (e) => {
    const view = shown(), w = windowOf(view), box = strip.getBoundingClientRect(), [low, high] = span(view);
    const v = low + (e.clientX - box.left - 6) / (box.width - 12) * (high - low), near = (high - low) / box.width * 14;
    const end = Math.abs(v - w.low) < Math.abs(v - w.high) ? "low" : "high";
    grip = { end: Math.abs(v - w[end]) < near || v < w.low || v > w.high ? end : "both", v, low: w.low, high: w.high, from: low, to: high };
    strip.setPointerCapture(e.pointerId);
  });
  strip.addEventListener("pointermove", (e) => {
    if (!grip) return;
    const box = strip.getBoundingClientRect(), v = grip.from + (e.clientX - box.left - 6) / (box.width - 12) * (grip.to - grip.from), by = v - grip.v;
    const low = grip.end === "high" ? grip.low : grip.low + by, high = grip.end === "low" ? grip.high : grip.high + by;
    setWindow(low, high);
  });
  for (const name of ["pointerup", "pointercancel"]) strip.addEventListener(name, () => { grip = null; });
  function setWindow(low, high) {
    const view = shown(), w = windowOf(view);
    if (!(high - low > (view.part.high - view.part.low) * 1e-4)) return;
    w.low = low; w.high = high;
    $("preset").value = "";
    draw();
  }
  function presets() {
    const view = shown(), list = $("preset");
    const offered = view.units === "HU" && !view.other && view.map === "gray"
      ? { "Soft tissue": [-350, 450], Abdomen: [-160, 240], Lung: [-1350, 150], Bone: [-450, 1050], Brain: [0, 80] } : {};
    list.replaceChildren(...[["", "Window"], ["first", "As opened"], ...Object.keys(offered).map((n) => [n, n]), ["all", "All values"]].map(([v, n]) => new Option(n, v)));
    list.onchange = () => {
      const w = windowOf(shown()), chosen = list.value;
      const to = chosen === "first" ? w.first : chosen === "all" ? (view.other ? span(view) : [view.part.low, view.part.high]) : offered[chosen];
      if (to) { [w.low, w.high] = to; draw(); }
    };
  }
  for (const id of ["low", "high"]) $(id).addEventListener("input", () => { const v = Number($(id).value), w = windowOf(shown()); if ($(id).value !== "") id === "low" ? setWindow(v, w.high) : setWindow(w.low, v); });

  /* What lies under the crosshair. */
  function tell() {
    const mm = world(state.at), rows = [];
    const row = (name, value, attributes = {}) => {
      const tr = document.createElement("tr"), th = document.createElement("th"), td = document.createElement("td");
      th.scope = "row"; th.textContent = name; td.textContent = value;
      for (const [k, v] of Object.entries(attributes)) tr.setAttribute(k, v);
      tr.append(th, td); rows.push(tr);
    };
    if (mm) row("x, y, z (RAS)", `${mm.map((v) => nice(v, 0.1)).join(", ")} mm`, { class: "place" });
    row(scene.axes.join(", "), state.at.join(", "), { class: "place" });
    const spoken = [mm ? `${mm.map((v) => nice(v, 0.1)).join(", ")} millimetres` : `voxel ${state.at.join(", ")}`];
    layers.forEach((layer, i) => layer.parts.forEach((part, p) => {
      if (!part.codes) return;
      const view = { part, other: null }, text = nice(valueAt(view, state.at), part.step) + unit(part.units);
      const current = !state.side && i === state.layer && p === Math.min(state.part, layer.parts.length - 1);
      row(layer.name + (layer.parts.length > 1 ? `, ${part.part}` : ""), text, { "aria-current": current });
      if (current) spoken.push(`${layer.name} ${text}`);
    }));
    $("values").tBodies[0].replaceChildren(...rows);
    const layer = layers[state.layer], part = shown().part;
    $("remark").textContent = state.side && state.difference ? "Differences are taken of the stored values." : [layer.note, part.stored].filter(Boolean).join(" ");
    clearTimeout(tell.later);
    tell.later = setTimeout(() => { $("aloud").textContent = spoken.join(", "); }, 500);
    if (frames > 1) {
      $("frame").value = state.frame;
      $("moment").textContent = `frame ${state.frame + 1} / ${frames}` + (scene.times ? `, ${nice(scene.times[state.frame], 0.001)} s` : "");
    }
  }

  /* Moving about. */
  function move(axis, by) { state.at[axis] = clamp(state.at[axis] + by, 0, extent[axis] - 1); draw(); }
  function place(panel, event) {
    const at = toVoxel(panel, event), plane = planes[panel.plane];
    for (const axis of [plane.rows, plane.columns]) state.at[axis] = clamp(Math.floor(at[axis]), 0, extent[axis] - 1);
    draw();
  }
  function zoom(factor, panel = null, event = null) {
    const before = state.zoom;
    state.zoom = clamp(state.zoom * factor, 1, 24);
    const anchor = panel && event ? toVoxelAt(panel, event, before) : state.at.map((v) => v + 0.5);
    const k = before / state.zoom;
    state.centre = state.centre.map((c, i) => anchor[i] + (c - anchor[i]) * k);
    keep();
  }
  function toVoxelAt(panel, event, level) { const now = state.zoom; state.zoom = level; const at = toVoxel(panel, event); state.zoom = now; return at; }
  function keep() {
    state.centre = state.centre.map((c, i) => { const half = extent[i] / 2 / state.zoom; return clamp(c, half, extent[i] - half); });
    draw();
  }
  function reset() {
    state.zoom = 1; state.centre = extent.map((n) => n / 2); state.at = extent.map((n) => Math.floor(n / 2));
    for (const w of Object.values(windows)) [w.low, w.high] = w.first;
    draw();
  }
  function listen(panel) {
    const { canvas } = panel, held = new Map();
    let wheel = 0, last = null;
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      if (e.ctrlKey || e.metaKey) { zoom(Math.exp(-e.deltaY / 300), panel, e); return; }
      wheel += e.deltaMode === 1 ? e.deltaY * 40 : e.deltaY; /* lines or pixels */
      const notches = Math.trunc(wheel / 40) || (Math.abs(e.deltaY) >= 40 ? Math.sign(e.deltaY) : 0);
      if (notches) { wheel = 0; move(planes[panel.plane].axis, clamp(notches, -1, 1)); }
    }, { passive: false });
    canvas.addEventListener("contextmenu", (e) => e.preventDefault());
    canvas.addEventListener("pointerdown", (e) => {
      e.preventDefault(); canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(e.pointerId);
      held.set(e.pointerId, e);
      last = null;
      if (held.size === 1 && e.button === 0 && !e.shiftKey) place(panel, e);
    });
    canvas.addEventListener("pointermove", (e) => {
      const before = held.get(e.pointerId);
      if (!before) return;
      held.set(e.pointerId, e);
      if (held.size === 2) { /* two fingers: zoom and pan */
        const [a, b] = [...held.values()], apart = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
        const middle = { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
        if (last) { pan(panel, last.middle, middle); zoom(apart / last.apart, panel, middle); }
        last = { apart, middle };
      } else if (e.buttons & 2) {
        const view = shown(panel.layer ?? state.layer), w = windowOf(view), wide = (w.high - w.low), unitStep = Math.max(wide, (view.part.high - view.part.low) / 50) / 250;
        const width = Math.max(wide + (e.clientX - before.clientX) * unitStep * 2, (view.part.high - view.part.low) / 2000), level = view.map === "sign" ? 0 : (w.low + w.high) / 2 + (e.clientY - before.clientY) * unitStep;
        w.low = level - width / 2; w.high = level + width / 2; $("preset").value = ""; draw();
      } else if (e.buttons & 4 || e.shiftKey) pan(panel, before, e);
      else place(panel, e);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => { held.delete(e.pointerId); last = null; });
    canvas.addEventListener("dblclick", () => { state.zoom > 1 ? (state.zoom = 1, state.centre = extent.map((n) => n / 2), draw()) : zoom(3); });
    canvas.addEventListener("keydown", (e) => keyIn(panel, e));
  }
  function pan(panel, from, to) {
    const a = toVoxel(panel, from), b = toVoxel(panel, to);
    state.centre = state.centre.map((c, i) => c + a[i] - b[i]);
    keep();
  }
  function keyIn(panel, e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const plane = planes[panel.plane], far = e.shiftKey ? 10 : 1;
    const act = {
      ArrowLeft: () => move(plane.columns, plane.flip_columns ? far : -far), ArrowRight: () => move(plane.columns, plane.flip_columns ? -far : far),
      ArrowUp: () => move(plane.rows, plane.flip_rows ? far : -far), ArrowDown: () => move(plane.rows, plane.flip_rows ? -far : far),
      PageUp: () => move(plane.axis, far), PageDown: () => move(plane.axis, -far),
      Home: () => move(plane.axis, -Infinity), End: () => move(plane.axis, Infinity),
    }[e.key];
    if (act) { e.preventDefault(); act(); }
  }
  function widen(by) { const view = shown(), w = windowOf(view), c = (w.low + w.high) / 2, h = (w.high - w.low) / 2 * by; setWindow(c - h, c + h); }
  function shift(by) { const w = windowOf(shown()), d = (w.high - w.low) * by; setWindow(w.low + d, w.high + d); }
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) && e.target.type !== "range") return;
    const go = (by) => choose((state.layer + by + layers.length) % layers.length);
    const act = {
      "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "[": () => go(-1), "]": () => go(1),
      w: () => widen(0.9), W: () => widen(1 / 0.9), l: () => shift(0.04), L: () => shift(-0.04), r: reset, 0: reset,
      c: () => { state.cross = !state.cross; draw(); }, s: () => { state.smooth = !state.smooth; draw(); },
      m: () => choosePart(state.part ? 0 : 1), d: () => { if (scene.reference !== null && state.side) { state.difference = !state.difference; controls(); } },
      v: () => { if (compared.length > 1) { state.side = !state.side; controls(); build(); } },
      ",": () => step(-1), ".": () => step(1), " ": () => play(),
    }[e.key] || (/^[1-9]$/.test(e.key) && layers[e.key - 1] ? () => choose(e.key - 1) : null);
    if (act && !(e.key === " " && e.target.tagName === "BUTTON")) { e.preventDefault(); act(); }
  });
  function step(by) { if (frames > 1) { state.frame = (state.frame + by + frames) % frames; draw(); } }
  let clock = null;
  function play() {
    if (frames < 2) return;
    if (clock) { clearInterval(clock); clock = null; } else clock = setInterval(() => step(1), 150);
    $("play").textContent = clock ? "Pause" : "Play";
  }
  function choose(layer) { state.layer = layer; if (state.side && !compared.includes(layer)) { state.side = false; controls(); build(); } else controls(); }
  function choosePart(part) { if (layers.some((l) => l.parts.length > part)) { state.part = part; controls(); } }

  /* Buttons above the panels. */
  function group(label, items) {
    const div = document.createElement("div");
    div.className = "group"; div.setAttribute("role", "group"); div.setAttribute("aria-label", label);
    for (const [text, pressed, act] of items) {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = text; button.setAttribute("aria-pressed", pressed);
      button.addEventListener("click", () => { act(); const again = [...document.querySelectorAll("#bar button")].find((b) => b.textContent === text); if (again) again.focus({ preventScroll: true }); });
      div.append(button);
    }
    return div;
  }
  function controls() {
    const bar = $("bar"), made = [];
    if (compared.length > 1) made.push(group("Arrangement", [["Three planes", !state.side, () => { state.side = false; controls(); build(); }], ["Side by side", state.side, () => { state.side = true; controls(); build(); }]]));
    if (state.side) {
      if (planes.length > 1) made.push(group("Plane", planes.map((p, i) => [p.name, state.plane === i, () => { state.plane = i; controls(); build(); }])));
      if (scene.reference !== null) made.push(group("What is shown", [["Images", !state.difference, () => { state.difference = false; controls(); }], ["Differences", state.difference, () => { state.difference = true; controls(); }]]));
      if (!compared.includes(state.layer) || state.difference && state.layer === scene.reference) state.layer = compared.find((i) => i !== scene.reference) ?? compared[0];
    } else if (layers.length === 1) {
      const only = document.createElement("b");
      only.textContent = layers[0].name;
      made.push(only);
    } else made.push(group("Layer", layers.map((l, i) => [l.name, state.layer === i, () => choose(i)])));
    if (layers.some((l) => l.parts.length > 1)) made.push(group("Part of complex values", ["Magnitude", "Phase"].map((n, i) => [n, state.part === i, () => choosePart(i)])));
    const again = document.createElement("button");
    again.type = "button"; again.className = "quiet push"; again.textContent = "Reset view"; again.addEventListener("click", reset);
    made.push(again);
    bar.replaceChildren(...made);
    presets();
    draw();
  }

  async function start() {
    if (frames > 1) {
      $("time").hidden = false;
      $("frame").max = frames - 1;
      $("frame").addEventListener("input", () => { state.frame = Number($("frame").value); draw(); });
      $("play").addEventListener("click", play);
    }
    controls();
    build();
    for (const layer of layers) for (const part of layer.parts) { await decode(part); draw(); }
    $("wait").hidden = true;
    root.dataset.ready = "true";
  }
  addEventListener("resize", resize);
  matchMedia("print").addEventListener("change", () => draw());
  if (!("DecompressionStream" in window)) { $("wait").textContent = "This browser cannot unpack the images: use one from 2023 or later."; return; }
  start().catch((error) => { $("wait").hidden = false; $("wait").textContent = `The images in this page are damaged: ${error.message}`; });
})();
