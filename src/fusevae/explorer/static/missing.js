// What is painted over, or left empty, filled in by the model several times.
import * as address from "./address.js";
import { ask, button, el, latest, number, once, saves, say, shown } from "./page.js";

const DRAWS = 4;

// places as an address says them: runs of first-last
const packed = (gone) => {
  const runs = [];
  for (const at of [...gone].sort((a, b) => a - b)) {
    if (runs.length && runs.at(-1)[1] === at - 1) runs.at(-1)[1] = at;
    else runs.push([at, at]);
  }
  return runs.map(([a, b]) => (a === b ? a : `${a}-${b}`)).join(".");
};
const unpacked = (text, size) => {
  const found = new Set();
  for (const part of (text ?? "").split(".").filter(Boolean)) {
    const [a, b = a] = part.split("-").map(Number);
    for (let at = Math.max(0, a); at <= Math.min(b, size - 1); at++) found.add(at);
  }
  return found;
};

export default async function missing(place, { run, given }) {
  const point = Number(given.point ?? 0);
  let seed = Number(given.seed ?? 0);
  const found = await once("canvas", { run, point });
  const size = found.shape.reduce((a, b) => a * b, 1);
  const gone = unpacked(given.gone, size);
  if (given.gone === undefined) for (const at of found.missing) gone.add(at);
  const result = el("div", { className: "card", "aria-live": "polite" }, el("h2", {}, "Filled in"));
  const board = el("div", { className: "card" });
  let redraw = () => {};

  const fill = latest(async () => {
    address.keep({ point, seed, gone: packed(gone) });
    if (!gone.size) return result.replaceChildren(el("h2", {}, "Filled in"), el("p", { className: "soft" }, "Nothing is missing yet."));
    result.setAttribute("aria-busy", "true");
    if (!result.querySelector("div, table")) result.replaceChildren(el("h2", {}, "Filled in"), el("p", { className: "soft" }, "drawing ..."));
    try {
      const answer = await ask("fill", { run, point, missing: [...gone], n: DRAWS, seed });
      result.replaceChildren(
        el("h2", {}, "Filled in ", el("span", { className: "soft" }, `${DRAWS} draws given the rest, seed ${seed}`)),
        found.shape.length === 1 ? draws(answer.each, gone, `${run}-filled-${point}`) : el("div", { className: "tiles wide" }, ...answer.each.map((parts, i) => el("div", {}, shown(parts, `draw ${i + 1} of what is missing`, "large"), saves(parts, `${run}-filled-${point}-${i + 1}`)))),
        ...(answer.accepted < 0.05 ? [el("p", { className: "soft" }, "The chain hardly moved: take these draws with care.")] : []));
    } finally {
      result.removeAttribute("aria-busy");
    }
  });
  const all = (test) => () => {
    gone.clear();
    for (let at = 0; at < size; at++) if (test(at)) gone.add(at);
    redraw();
    fill();
  };

  if (found.shape.length === 2) redraw = picture(board, found, gone, fill, all);
  else redraw = row(board, found, gone, fill, all);
  place.append(
    el("div", { className: "bar" },
      number("Example", point, 0, 2 ** 31 - 1, (value) => (location.hash = address.written(run, "missing", { point: value }))),
      button("Next", () => (location.hash = address.written(run, "missing", { point: point + 1 }))),
      button("Draw again", () => ((seed += 1), fill()), "main")),
    el("div", { className: "even" }, board, result));
  redraw();
  await fill();
}

// rows side by side, what is filled in marked
function draws(each, gone, name) {
  const tables = each.map((parts) => parts.find((part) => "names" in part));
  const names = tables[0].names;
  return el("div", {},
    el("div", { className: "shown" }, el("table", {}, el("tbody", {}, ...names.map((word, i) => el("tr", { className: gone.has(i) ? "filled" : "" }, el("th", { scope: "row" }, word), ...tables.map((table) => el("td", {}, table.rows[0][i]))))))),
    saves([{ names, rows: tables.map((table) => table.rows[0]) }], name));
}

function picture(board, found, gone, fill, all) {
  const [h, w] = found.shape;
  const canvas = el("canvas", { width: w, height: h, tabIndex: 0, role: "application", "aria-label": "Paint over what is missing: arrow keys move the brush, space paints, or erases what is painted." });
  const context = canvas.getContext("2d");
  let brush = Math.max(1, Math.round(Math.max(h, w) / 8));
  let at = [Math.floor(h / 2), Math.floor(w / 2)];
  let erase = false;
  const redraw = () => {
    const sheet = context.createImageData(w, h);
    for (const place of gone) sheet.data.set([222, 70, 160, 255], 4 * place);
    context.putImageData(sheet, 0, 0);
    if (document.activeElement !== canvas) return;
    context.fillStyle = "rgba(60, 130, 255, .6)";
    context.fillRect(at[1] - Math.floor(brush / 2), at[0] - Math.floor(brush / 2), brush, brush);
  };
  const paint = (y, x, off) => {
    const start = [y - Math.floor(brush / 2), x - Math.floor(brush / 2)];
    for (let i = Math.max(0, start[0]); i < Math.min(h, start[0] + brush); i++) {
      for (let j = Math.max(0, start[1]); j < Math.min(w, start[1] + brush); j++) off ? gone.delete(i * w + j) : gone.add(i * w + j);
    }
    redraw();
  };
  const under = (event) => {
    const frame = canvas.getBoundingClientRect();
    return [Math.floor(((event.clientY - frame.top) * h) / frame.height), Math.floor(((event.clientX - frame.left) * w) / frame.width)];
  };
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = under(event);
    paint(...last, erase);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const now = under(event);
    const steps = Math.max(1, Math.abs(now[0] - last[0]), Math.abs(now[1] - last[1]));
    for (let i = 1; i <= steps; i++) paint(Math.round(last[0] + ((now[0] - last[0]) * i) / steps), Math.round(last[1] + ((now[1] - last[1]) * i) / steps), erase);
    last = now;
  });
  const end = () => {
    if (last) fill();
    last = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("focus", redraw);
  canvas.addEventListener("blur", redraw);
  canvas.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (ways[event.key]) at = [Math.min(h - 1, Math.max(0, at[0] + ways[event.key][0])), Math.min(w - 1, Math.max(0, at[1] + ways[event.key][1]))];
    else if (event.key === " ") {
      paint(...at, gone.has(at[0] * w + at[1]));
      fill();
    } else return;
    event.preventDefault();
    redraw();
  });
  board.append(
    el("h2", {}, "Paint over what is missing"),
    el("div", { className: "paint" }, shown(found.parts, "the example"), canvas),
    el("div", { className: "bar" },
      number("Brush", brush, 1, Math.max(h, w), (value) => ((brush = value), redraw())),
      el("label", {}, el("input", { type: "checkbox", onchange: (event) => (erase = event.target.checked) }), " erase")),
    el("div", { className: "saves" },
      button("Lower half", all((i) => i >= Math.floor(h / 2) * w)), button("Right half", all((i) => i % w >= w / 2)),
      button("Middle", all((i) => Math.abs(Math.floor(i / w) - (h - 1) / 2) < h / 4 && Math.abs((i % w) - (w - 1) / 2) < w / 4)), button("Nothing", all(() => false))));
  return redraw;
}

function row(board, found, gone, fill, all) {
  const { names, rows } = found.parts.find((part) => "names" in part);
  const boxes = names.map((name, i) => el("input", { type: "checkbox", disabled: found.missing.includes(i), "aria-label": `${name} is missing`, onchange: (event) => {
    event.target.checked ? gone.add(i) : gone.delete(i);
    redraw();
    fill();
  } }));
  const cells = names.map((_, i) => el("td", {}, rows[0][i]));
  const redraw = () => boxes.forEach((box, i) => {
    for (const at of found.missing) gone.add(at);
    box.checked = gone.has(i);
    cells[i].classList.toggle("gone", gone.has(i));
  });
  board.append(
    el("h2", {}, "Leave empty what is missing"),
    el("table", { className: "facts" }, el("tbody", {}, ...names.map((name, i) => el("tr", {}, el("th", { scope: "row" }, el("label", {}, boxes[i], ` ${name}`)), cells[i])))),
    el("div", { className: "saves" }, button("All", all(() => true)), button("Nothing", all(() => false))));
  return redraw;
}
