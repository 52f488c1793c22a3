// An example of the user's own: encoded, reconstructed, placed, scored.
import * as address from "./address.js";
import { ask, button, conditions, el, facts, give, saves, say, shown } from "./page.js";

export default async function own(place, { run, about }) {
  const asked = {};
  const result = el("div", { className: "even" });
  const input = el("input", { type: "file", "aria-label": "A file with an example", onchange: () => input.files[0] && look(() => give(run, input.files[0])) });
  const drop = el("div", { className: "drop" }, el("p", {}, el("strong", {}, "Drop a file here"), ", or choose one"), input, el("p", { className: "soft" }, `A file of ${about.facts[0][1]}; of several examples the first. It stays on this machine, and is not kept.`));
  drop.addEventListener("dragover", (event) => (event.preventDefault(), drop.classList.add("over")));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) look(() => give(run, event.dataTransfer.files[0]));
  });

  async function look(work) {
    result.replaceChildren(el("p", { className: "soft" }, "reading ..."));
    try {
      const found = await work();
      const cards = [el("div", { className: "card" }, el("h2", {}, "As it was read"), shown(found.given, "your example", "large"))];
      if (found.parts.length) cards.push(el("div", { className: "card" }, el("h2", {}, "What the model makes of it"), shown(found.parts, "its reconstruction", "large"), saves(found.parts, `${run}-own`)));
      cards.push(el("div", { className: "card" }, el("h2", {}, "How usual it is"), found.facts.length ? facts(found.facts) : el("p", { className: "soft" }, "this model has no likelihood"),
        ...(found.point ? [el("p", {}, el("a", { href: address.written(run, "map", { at: found.point.map((v) => v.toPrecision(6)).join(",") }) }, "Its place on the map"))] : [])));
      const near = found.z ? await ask("near", { run, z: found.z, k: 6 }).catch(() => null) : null;
      if (near) cards.push(el("div", { className: "card whole" }, el("h2", {}, "Its neighbours"), el("div", { className: "tiles" }, ...near.points.map((number, i) => el("button", { type: "button", onclick: () => (location.hash = address.written(run, "map", { point: number })) }, shown(near.each[i], `example ${number}`), `${number} · ${near.distances[i].toFixed(2)}`)))));
      result.replaceChildren(...cards);
    } catch (error) {
      result.replaceChildren(el("p", { className: "error", role: "alert" }, error.message));
    }
  }

  const text = el("textarea", { "aria-label": "An example as text", maxLength: 20000 });
  place.append(
    el("div", { className: "stack" }, drop,
      ...(about.writes ? [el("div", { className: "card" }, el("h2", {}, "Or write one"), text, el("div", { className: "bar" }, ...conditions(about, asked, () => {}), button("Look at it", () => text.value.trim() ? look(() => ask("own", { run, texts: [text.value], given: asked })) : say("write something first"), "main")))] : []),
      result));
}
