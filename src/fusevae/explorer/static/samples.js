// New examples, by condition, temperature and seed.
import * as address from "./address.js";
import { ask, button, conditions, el, latest, number, saves, shown } from "./page.js";

export default async function samples(place, { run, about, given }) {
  const asked = JSON.parse(given.given ?? "{}");
  let seed = Number(given.seed ?? 0);
  let n = Number(given.n ?? 16);
  let temperature = given.temperature === undefined ? null : Number(given.temperature);
  const columns = about.columns.filter((name) => !about.conditions.some((each) => each.name === name));
  const bar = el("div", { className: "bar" });
  const card = el("div", { className: "card" }, el("p", { className: "soft" }, "drawing ..."));
  place.append(bar, card);

  const draw = latest(async () => {
    address.keep({ seed, n, temperature, given: Object.keys(asked).length ? JSON.stringify(asked) : "" });
    const request = { run, n, seed, given: asked };
    if (temperature !== null) request.temperature = temperature;
    card.setAttribute("aria-busy", "true");
    try {
      const found = await ask("samples", request);
      card.replaceChildren(el("h2", {}, `${n} new examples `, el("span", { className: "soft" }, `seed ${seed}, ${found.kind}`)), shown(found.parts, `${n} samples of ${run}, seed ${seed}`, "sheet"), ...found.notes.map((line) => el("p", { className: "soft" }, line)), saves(found.parts, `${run}-samples-${seed}`));
    } catch (error) {
      card.replaceChildren(el("p", { className: "error", role: "alert" }, error.message));
    } finally {
      card.removeAttribute("aria-busy");
    }
  });

  const tools = () =>
    bar.replaceChildren(...[
      number("Seed", seed, 0, 2 ** 31 - 1, (value) => ((seed = value), draw())),
      button("Another", () => ((seed += 1), tools(), draw()), "main"),
      number("How many", n, 1, 64, (value) => ((n = value), draw())),
      ...(about.writes ? [number("Temperature", temperature ?? 1, 0, 10, (value) => ((temperature = value), draw()), 0.1)] : []),
      ...conditions(about, asked, draw),
      columns.length
        ? el("details", { open: columns.some((name) => name in asked) }, el("summary", {}, "Given columns"),
            el("div", { className: "bar" }, ...conditions({ conditions: columns.map((name) => ({ name, classes: null, about: "a value that all samples have" })) }, asked, draw)))
        : null,
    ].filter(Boolean));
  tools();
  await draw();
}
