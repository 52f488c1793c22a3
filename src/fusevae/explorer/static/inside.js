// The levels of a hierarchy, and the codes of a quantized model, as what they are.
import * as address from "./address.js";
import { ask, button, el, latest, number, saves, shown } from "./page.js";

export default async function inside(place, { run, about, given }) {
  const point = Number(given.point ?? 0);
  place.append(el("div", { className: "bar" },
    number("Example", point, 0, 2 ** 31 - 1, (value) => (location.hash = address.written(run, "inside", { point: value }))),
    button("Next", () => (location.hash = address.written(run, "inside", { point: point + 1 })))));
  const body = el("div");
  place.append(body);
  await (about.codes ? codes : levels)(body, run, point, given);
}

async function levels(place, run, point, given) {
  let seed = Number(given.seed ?? 0);
  const look = latest(async () => {
    address.keep({ point, seed });
    const found = await ask("levels", { run, point, seed });
    const word = (kept) => (kept === found.levels ? "All levels are the example's" : kept === 0 ? "All levels are drawn" : `${kept} of ${found.levels} levels from the top are the example's, those below are drawn`);
    place.replaceChildren(
      el("div", { className: "bar" }, button("Draw again", () => ((seed += 1), look()), "main")),
      el("div", { className: "even" },
        el("div", { className: "card" }, el("h2", {}, `Example ${point}`), shown(found.parts, `example ${point}`, "large")),
        ...[...found.rows].reverse().map(({ kept, parts }) => el("div", { className: "card" }, el("h2", {}, word(kept)), shown(parts, word(kept), kept === found.levels ? "large" : "sheet"), saves(parts, `${run}-levels-${kept}`)))));
  });
  await look();
}

async function codes(place, run, point, given) {
  let used = given.codes ? given.codes.split(".").map(Number) : [];
  if (!used.every(Number.isInteger)) used = [];
  let chosen = Number(given.at ?? 0);
  const first = await ask("codes", { run, point, codes: [] });
  if (used.length !== first.own.length) used = [...first.own];
  const picture = el("div", { className: "card", "aria-live": "polite" });
  const tools = el("div", { className: "bar" });
  const grid = el("div", { className: "codes", role: "group", "aria-label": "Codes of the example" });
  const colour = (code) => `hsl(${(code * 137.5) % 360} 55% 60% / .55)`;

  const look = latest(async () => {
    const changed = used.some((code, i) => code !== first.own[i]);
    address.keep({ point, at: chosen, codes: changed ? used.join(".") : "" });
    const found = changed ? await ask("codes", { run, point, codes: used }) : first;
    picture.replaceChildren(el("h2", {}, changed ? "Decoded with the changed codes" : "Decoded"), shown(found.parts, "what the codes are decoded to", "large"), saves(found.parts, `${run}-codes-${point}`));
  });
  const cells = used.map((_, i) => button("", () => choose(i), "code"));
  function show(i) {
    cells[i].textContent = used[i] < 0 ? "" : used[i];
    cells[i].style.backgroundColor = used[i] < 0 ? "" : colour(used[i]);
    cells[i].disabled = used[i] < 0;
    cells[i].classList.toggle("changed", used[i] !== first.own[i]);
    cells[i].setAttribute("aria-pressed", String(i === chosen));
    cells[i].setAttribute("aria-label", `place ${i}: code ${used[i]}`);
  }
  function set(code) {
    used[chosen] = code;
    show(chosen);
    bar();
    look();
  }
  function choose(i) {
    const before = chosen;
    chosen = i;
    if (cells[before]) show(before);
    show(i);
    bar();
    address.keep({ at: i });
  }
  function bar() {
    tools.replaceChildren(
      number(`Code at place ${chosen}, of ${first.vocabulary.toLocaleString()}`, used[chosen], 0, first.vocabulary - 1, set),
      button("Another at random", () => set((used[chosen] + 1 + Math.floor(Math.random() * (first.vocabulary - 1))) % first.vocabulary)),
      button("As it was", () => set(first.own[chosen])),
      button("All as they were", () => {
        used = [...first.own];
        cells.forEach((_, i) => show(i));
        bar();
        look();
      }));
  }
  if (!(used[chosen] >= 0)) chosen = 0;
  if (first.shape.length) {
    grid.style.gridTemplateColumns = `repeat(${first.shape.at(-1)}, minmax(34px, 1fr))`;
    grid.append(...cells);
    cells.forEach((_, i) => show(i));
    bar();
  } else tools.append(el("span", { className: "soft" }, `${first.own.length.toLocaleString()} codes, too many to show`));
  place.append(el("div", { className: "even" },
    el("div", { className: "card" }, el("h2", {}, `Example ${point}`), shown(first.given, `example ${point}`, "large")), picture),
  el("div", { className: "card below" }, el("h2", {}, "Its codes ", el("span", { className: "soft" }, `${first.shape.join(" x ")}; choose one and change it`)), tools, el("div", { className: "shown" }, grid)));
  await look();
}
