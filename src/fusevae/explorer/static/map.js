// The map of the latents: hover shows an example, a click decodes that very place.
import * as address from "./address.js";
import { Scatter, colour, ramp } from "./scatter.js";
import { ask, button, conditions, csv, el, facts, floats, latest, once, save, saves, say, select, shown } from "./page.js";

export default async function map(place, { run, about, given }) {
  const canvas = el("canvas", { tabIndex: 0, role: "application", "aria-label": "Map of the latents. Arrow keys move to the next example in that direction, Enter decodes the place, plus and minus zoom, 0 shows all." });
  const tip = el("div", { className: "tip", hidden: true });
  const marks = { point: el("div", { className: "mark", hidden: true }), place: el("div", { className: "mark place", hidden: true }) };
  const axes = [el("div", { className: "axis x" }), el("div", { className: "axis y" })];
  const box = el("div", { className: "card map" }, canvas, ...axes, marks.point, marks.place, tip);
  const bar = el("div", { className: "bar" });
  const legend = el("div", { className: "legend", role: "group", "aria-label": "Classes" });
  const count = el("span", { className: "soft" });
  const busy = el("progress", { max: 1, value: 0, "aria-label": "Encoded" });
  const selected = el("div", { className: "card", "aria-live": "polite" });
  const decoded = el("div", { className: "card", "aria-live": "polite" });
  const around = el("div", { className: "card", hidden: true });
  place.append(el("div", { className: "two" }, el("div", {}, bar, box, legend), el("div", { className: "stack" }, selected, decoded, around)));

  const scatter = new Scatter(canvas);
  let points = new Float32Array(0);
  let total = 0;
  let columns = [];
  let by = given.colour ?? "";
  let point = given.point === undefined ? null : Number(given.point);
  let at = given.at ? given.at.split(",").map(Number) : null;
  let through = given.through === "1";
  let values = null;
  let names = null;
  let dates = false;
  let chosen = null;
  let over = false;
  const asked = {};

  scatter.ondraw = () => {
    const put = (mark, where) => {
      mark.hidden = !where || !scatter.view;
      if (!mark.hidden) [mark.style.left, mark.style.top] = scatter.screen(...where).map((v) => `${v}px`);
    };
    put(marks.point, point !== null && 2 * point + 1 < points.length ? [points[2 * point], points[2 * point + 1]] : null);
    put(marks.place, at);
  };

  async function examine(number, into) {
    const found = await once("example", { run, point: number });
    return [shown(found.parts, `example ${number}`, into), facts(found.facts)];
  }

  async function pick(number) {
    point = number;
    address.keep({ point });
    scatter.draw();
    const inside = await examine(number, "large");
    if (point !== number) return;
    selected.replaceChildren(
      el("h2", {}, `Example ${number} `), ...inside,
      el("div", { className: "saves" },
        button("Neighbours", neighbours),
        el("a", { href: address.written(run, "sliders", { from: number }) }, "Sliders from here"),
        el("a", { href: address.written(run, "path", { via: [...route(), number].join(";") }) }, "Add to path"),
        el("a", { href: address.written(run, "beside", { point: number }) }, "Side by side"),
        about.fills ? el("a", { href: address.written(run, "missing", { point: number }) }, "Fill in") : "",
        about.inside ? el("a", { href: address.written(run, "inside", { point: number }) }, "Levels & codes") : "",
      ),
    );
    sessionStorage.setItem(`route ${run}`, JSON.stringify([...route(), String(number)].slice(-4)));
  }

  const route = () => JSON.parse(sessionStorage.getItem(`route ${run}`) ?? "[]").filter((each) => each !== String(point)).slice(-3);

  const go = latest(async () => {
    const request = { run, x: at[0], y: at[1], given: asked };
    if (through && point !== null) request.through = point;
    if (point !== null) request.like = point;
    const found = await ask("place", request);
    const spot = `@${at.map((v) => v.toPrecision(5)).join(",")}`;
    decoded.replaceChildren(
      el("h2", {}, "Decoded here ", el("span", { className: "soft" }, spot.slice(1))),
      shown(found.parts, `what the model decodes at ${spot.slice(1)}`, "large"),
      el("label", {}, el("input", { type: "checkbox", checked: through, onchange: (event) => {
        through = event.target.checked;
        address.keep({ through: through ? 1 : "" });
        go();
      } }), " keep what the map doesn't show from the example"),
      el("div", { className: "bar" }, ...conditions(about, asked, go)),
      saves(found.parts, `${run}-decoded`),
      el("div", { className: "saves" }, el("a", { href: address.written(run, "sliders", { from: spot }) }, "Sliders from here"), el("a", { href: address.written(run, "path", { via: [...route(), spot].join(";") }) }, "Add to path")),
    );
  });

  function decode(x, y) {
    at = [x, y];
    address.keep({ at: at.map((v) => v.toPrecision(6)).join(",") });
    scatter.draw();
    go();
  }

  async function neighbours() {
    try {
      const mine = point;
      const found = await ask("near", { run, point: mine, k: 8 });
      around.hidden = false;
      around.replaceChildren(
        el("h2", {}, `Neighbours of example ${mine}`),
        el("div", { className: "tiles" }, ...found.points.map((number, i) =>
          el("button", { type: "button", onclick: () => pick(number).catch((error) => say(error.message)), "aria-label": `example ${number}, at distance ${found.distances[i].toFixed(2)}` },
            shown(found.each[i], `example ${number}`), `${number} · ${found.distances[i].toFixed(2)}`))),
      );
    } catch (error) {
      say(error.message);
    }
  }

  const hover = latest(async (number, px, py) => {
    const inside = await examine(number, "");
    if (!over) return;
    tip.replaceChildren(...inside);
    tip.hidden = false;
    tip.style.left = `${Math.min(px + 16, Math.max(8, box.clientWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${py + 16 + tip.offsetHeight > box.clientHeight ? Math.max(8, py - 16 - tip.offsetHeight) : py + 16}px`;
  });

  let ready = false;
  function begin() {
    ready = true;
    if (point !== null) pick(point).catch((error) => say(error.message));
    if (at?.every(Number.isFinite)) decode(...at);
  }

  let waits = null;
  const recolour = latest(async () => {
    clearTimeout(waits);
    if (!by) return;
    const found = await ask("column", { run, column: by });
    [values, names, dates] = [floats(found.values), found.names, found.dates];
    const ends = scatter.paint(values, names);
    if (names) {
      legend.replaceChildren(...names.map((name, k) => {
        const dot = el("i");
        dot.style.background = colour(k);
        return el("button", { type: "button", title: name, "aria-pressed": String(chosen === k), onclick: () => {
          chosen = chosen === k ? null : k;
          alone();
          for (const [j, each] of [...legend.children].entries()) each.setAttribute("aria-pressed", String(chosen === j));
        } }, dot, el("span", {}, name));
      }));
    } else if (ends) {
      const strip = el("span", { className: "ramp" });
      strip.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map((t) => `rgb(${ramp(t)})`).join(",")})`;
      const word = (v) => (dates ? day(v) : v.toPrecision(4));
      legend.replaceChildren(el("span", { className: "soft" }, word(ends[0]), strip, `${word(ends[1])} ${by}`));
    } else legend.replaceChildren(el("span", { className: "soft" }, values.length ? `no example has a ${by}` : `${by}: being worked out ...`));
    alone();
    // likelihoods come piece by piece, and begin when they are first asked for
    if (going && values.length < points.length / 2) waits = setTimeout(recolour, values.length > 2000 ? 1500 : 250);
  });

  const day = (v) => new Date(864e5 * v).toISOString().slice(0, 10);
  // the value of a point as a file says it
  function said(v) {
    if (names) return names[v] ?? "";
    return Number.isFinite(v) ? (dates ? day(v) : v) : "";
  }

  function alone() {
    scatter.solo = names && chosen !== null ? Array.from({ length: points.length / 2 }, (_, i) => values[i] === chosen) : null;
    scatter.draw();
  }

  function tools() {
    bar.replaceChildren(
      select("Colour by", columns.map((name) => [name, name]), by, (value) => {
        by = value;
        chosen = null;
        address.keep({ colour: by });
        recolour();
      }),
      button("Show all", () => scatter.fit()),
      button("Save PNG", () => canvas.toBlob((blob) => save(`${run}-map.png`, blob))),
      button("Save CSV", () => {
        const rows = [["point", "x", "y", ...(by ? [by] : [])]];
        for (let i = 0; 2 * i < points.length; i++) rows.push([i, points[2 * i], points[2 * i + 1], ...(by ? [said(values?.[i])] : [])]);
        save(`${run}-map.csv`, csv(rows), "text/csv");
      }),
      count, busy,
    );
  }

  let going = true;
  async function more() {
    if (!going) return;
    const have = points.length / 2;
    const found = await ask("points", { run, have });
    if (!going) return;
    total = found.total;
    if (found.have > have) {
      const joined = new Float32Array(2 * found.have);
      joined.set(points);
      joined.set(floats(found.points), points.length);
      points = joined;
      scatter.set(points);
      axes.forEach((axis, i) => (axis.textContent = found.axes[i]));
      if (columns.join() !== found.columns.join()) {
        columns = found.columns;
        if (!columns.includes(by)) by = columns[0] ?? "";
        tools();
      }
      recolour();
      if (!ready) begin();
    }
    if (found.have) count.textContent = `${found.have.toLocaleString()} of ${total.toLocaleString()} examples`;
    busy.value = total ? found.have / total : 0;
    busy.hidden = found.have >= total;
    if (found.have < total) setTimeout(() => more().catch((error) => say(error.message)), found.have > 2000 ? 1500 : 250);
  }

  const local = (event) => {
    const frame = canvas.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  const pressed = new Map();
  let moved = 0;
  let apart = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, local(event));
    if (pressed.size === 1) moved = 0;
    apart = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!scatter.view) return;
    const now = local(event);
    over = true;
    const before = pressed.get(event.pointerId);
    if (before) {
      pressed.set(event.pointerId, now);
      moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
      if (moved > 6) tip.hidden = true;
      if (pressed.size === 2) {
        const [a, b] = [...pressed.values()];
        const wide = Math.hypot(a[0] - b[0], a[1] - b[1]);
        if (apart) scatter.zoom(wide / apart, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
        apart = wide;
      } else if (moved > 6) {
        scatter.view.x -= (now[0] - before[0]) / scatter.view.scale;
        scatter.view.y += (now[1] - before[1]) / scatter.view.scale;
        scatter.draw();
      }
      return;
    }
    const number = scatter.near(...now);
    if (number < 0) tip.hidden = true;
    else hover(number, ...now);
  });
  const released = (event) => {
    const was = pressed.delete(event.pointerId);
    if (event.type !== "pointerup" || !was || moved > 6 || !scatter.view) return;
    const now = local(event);
    const number = scatter.near(...now);
    decode(...scatter.data(...now));
    if (number >= 0) pick(number).catch((error) => say(error.message));
  };
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointercancel", released);
  canvas.addEventListener("pointerleave", () => {
    over = false;
    tip.hidden = true;
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (scatter.view) scatter.zoom(Math.exp(-event.deltaY * 0.0015), ...local(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!scatter.view) return;
    const middle = [canvas.clientWidth / 2, canvas.clientHeight / 2];
    if (ways[event.key]) {
      const start = point ?? scatter.near(...middle, 1e6);
      pick(next(start, ...ways[event.key])).catch((error) => say(error.message));
    } else if (event.key === "Enter" && point !== null) decode(points[2 * point], points[2 * point + 1]);
    else if (event.key === "+" || event.key === "=") scatter.zoom(1.3, ...middle);
    else if (event.key === "-") scatter.zoom(1 / 1.3, ...middle);
    else if (event.key === "0") scatter.fit();
    else return;
    event.preventDefault();
  });

  // the nearest point that lies rather in that direction
  function next(from, dx, dy) {
    let best = Infinity;
    let found = from;
    for (let i = 0; 2 * i < points.length; i++) {
      const [x, y] = [points[2 * i] - points[2 * from], points[2 * i + 1] - points[2 * from + 1]];
      const along = x * dx + y * dy;
      const aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (i !== from && along > aside && along + aside < best) [best, found] = [along + aside, i];
    }
    return found;
  }

  const resized = new ResizeObserver(() => scatter.draw());
  resized.observe(canvas);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const redraw = () => scatter.draw();
  dark.addEventListener("change", redraw);
  selected.append(el("h2", {}, "Example"), el("p", { className: "soft" }, "Hover over a point to see its example; click to keep it, and to decode that very place."));
  decoded.append(el("h2", {}, "Decoded here"), el("p", { className: "soft" }, "Drag moves the map, the wheel zooms."));
  tools();
  count.textContent = "reading the examples ...";
  await more();
  return () => {
    going = false;
    clearTimeout(waits);
    resized.disconnect();
    dark.removeEventListener("change", redraw);
  };
}
