// Points drawn by writing pixels: 100,000 take a few milliseconds, on any machine.

export const CLASSES = ["#4e79d7", "#f28e2b", "#2ca58d", "#e15759", "#a06cd5", "#c2a83e", "#e377c2", "#7f8c9b", "#8c6d5a", "#17becf"];

export function colour(k) {
  if (k < CLASSES.length) return CLASSES[k];
  return `hsl(${(k * 137.5) % 360} 60% ${k % 2 ? 62 : 45}%)`;
}

const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

export function ramp(t) {
  const at = Math.min(3.999, Math.max(0, t * 4));
  const i = Math.floor(at);
  return RAMP[i].map((low, c) => Math.round(low + (at - i) * (RAMP[i + 1][c] - low)));
}

function bytes(text) {
  const brush = bytes.brush ?? (bytes.brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
  brush.fillStyle = text;
  brush.fillRect(0, 0, 1, 1);
  return [...brush.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

export class Scatter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.x = new Float32Array(0);
    this.y = new Float32Array(0);
    this.colours = null; // three bytes a point
    this.solo = null; // whether a point is drawn in full
    this.view = null; // centre and pixels a unit
    this.asked = false;
    this.ondraw = () => {};
  }

  set(points) {
    const n = points.length / 2;
    this.x = new Float32Array(n);
    this.y = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      this.x[i] = points[2 * i];
      this.y[i] = points[2 * i + 1];
    }
    if (!this.view && n) this.fit();
    this.draw();
  }

  fit() {
    const sorted = (values) => Float32Array.from(values).sort();
    const [xs, ys] = [sorted(this.x), sorted(this.y)];
    const end = (values, part) => values[Math.round(part * (values.length - 1))];
    const [left, right, low, high] = [end(xs, 0.001), end(xs, 0.999), end(ys, 0.001), end(ys, 0.999)];
    const [w, h] = [this.canvas.clientWidth || 600, this.canvas.clientHeight || 400];
    const scale = 0.9 * Math.min(w / (right - left || 1), h / (high - low || 1));
    this.view = { x: (left + right) / 2, y: (low + high) / 2, scale };
    this.draw();
  }

  screen(x, y) {
    const { view } = this;
    return [this.canvas.clientWidth / 2 + (x - view.x) * view.scale, this.canvas.clientHeight / 2 - (y - view.y) * view.scale];
  }

  data(px, py) {
    const { view } = this;
    return [view.x + (px - this.canvas.clientWidth / 2) / view.scale, view.y - (py - this.canvas.clientHeight / 2) / view.scale];
  }

  zoom(factor, px, py) {
    const [x, y] = this.data(px, py);
    this.view.scale *= factor;
    const [nx, ny] = this.data(px, py);
    this.view.x += x - nx;
    this.view.y += y - ny;
    this.draw();
  }

  near(px, py, reach = 14) {
    if (!this.view) return -1;
    const [x, y] = this.data(px, py);
    let best = (reach / this.view.scale) ** 2;
    let found = -1;
    for (let i = 0; i < this.x.length; i++) {
      if (this.solo && !this.solo[i]) continue;
      const d = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
      if (d < best) [best, found] = [d, i];
    }
    return found;
  }

  paint(values, names) {
    const n = values.length;
    this.colours = new Uint8Array(3 * n);
    if (names) {
      const each = names.map((_, k) => bytes(colour(k)));
      for (let i = 0; i < n; i++) this.colours.set(each[values[i]] ?? [128, 128, 128], 3 * i);
      this.draw();
      return null;
    }
    const sorted = values.filter(Number.isFinite).sort();
    const [low, high] = [sorted[Math.floor(0.02 * sorted.length)], sorted[Math.ceil(0.98 * sorted.length) - 1]];
    for (let i = 0; i < n; i++) this.colours.set(Number.isFinite(values[i]) ? ramp((values[i] - low) / (high - low || 1)) : [128, 128, 128], 3 * i);
    this.draw();
    return sorted.length ? [low, high] : null;
  }

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.now();
    });
  }

  now() {
    const { canvas, context, view } = this;
    const dense = Math.min(2, window.devicePixelRatio || 1);
    const [w, h] = [Math.round(canvas.clientWidth * dense), Math.round(canvas.clientHeight * dense)];
    if (!w || !h) return;
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    if (!view) return;
    const picture = context.createImageData(w, h);
    const out = picture.data;
    const style = getComputedStyle(canvas).backgroundColor;
    const paper = bytes(style);
    for (let i = 0; i < out.length; i += 4) {
      out[i] = paper[0];
      out[i + 1] = paper[1];
      out[i + 2] = paper[2];
      out[i + 3] = 255;
    }
    const n = this.x.length;
    const radius = dense * Math.min(6, Math.max(1.3, 3.2 * Math.sqrt(2500 / Math.max(n, 600)) * Math.max(1, (view.scale / (this.first ?? (this.first = view.scale))) ** 0.35)));
    const side = Math.ceil(radius);
    const mask = [];
    for (let dy = -side; dy <= side; dy++) {
      for (let dx = -side; dx <= side; dx++) {
        const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx, dy)));
        if (cover > 0) mask.push([dx, dy, cover * 0.8]);
      }
    }
    const plain = bytes("#4e79d7");
    for (let pass = 0; pass < (this.solo ? 2 : 1); pass++) {
      for (let i = 0; i < n; i++) {
        const full = !this.solo || this.solo[i];
        if (this.solo && full !== (pass === 1)) continue;
        const px = Math.round(w / 2 + (this.x[i] - view.x) * view.scale * dense);
        const py = Math.round(h / 2 - (this.y[i] - view.y) * view.scale * dense);
        if (px < side || py < side || px >= w - side || py >= h - side) continue;
        const own = this.colours && 3 * i < this.colours.length;
        const [r, g, b] = own ? [this.colours[3 * i], this.colours[3 * i + 1], this.colours[3 * i + 2]] : plain;
        for (let m = 0; m < mask.length; m++) {
          const [dx, dy, cover] = mask[m];
          const a = full ? cover : cover * 0.1;
          const o = 4 * ((py + dy) * w + px + dx);
          out[o] += a * (r - out[o]);
          out[o + 1] += a * (g - out[o + 1]);
          out[o + 2] += a * (b - out[o + 2]);
        }
      }
    }
    context.putImageData(picture, 0, 0);
    this.ondraw();
  }
}
