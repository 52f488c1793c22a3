// Two models side by side on one example.
import * as address from "./address.js";
import { ask, button, el, facts, latest, number, saves, select, shown } from "./page.js";

export default async function beside(place, { run, runs, data, given }) {
  let point = Number(given.point ?? 0);
  let other = runs.includes(given.other) ? given.other : runs.find((each) => each !== run && data[each] === data[run]) ?? run;
  const result = el("div", { className: "even" });
  const bar = el("div", { className: "bar" });
  place.append(bar, result);
  const look = latest(async () => {
    address.keep({ point, other });
    result.replaceChildren(el("p", { className: "soft", "aria-busy": "true" }, "computing ..."));
    try {
      const found = await ask("beside", { run, point, other });
      result.replaceChildren(
        el("div", { className: "card" }, el("h2", {}, `Example ${point}`), shown(found.parts, `example ${point}`, "large")),
        ...found.models.slice(0, other === run ? 1 : 2).map((model) => el("div", { className: "card" }, el("h2", {}, model.name), model.error ? el("p", { className: "error" }, model.error) : model.parts.length ? shown(model.parts, `what ${model.name} makes of it`, "large") : el("p", { className: "soft" }, "it has no latents, and reconstructs nothing"), facts(model.facts), saves(model.parts, `${model.name}-${point}`))),
        ...(other === run ? [el("p", { className: "note" }, runs.length > 1 ? "Choose a run to stand beside this one." : "This is the only run here: fusevae explore RUN OTHER shows two.")] : []));
    } catch (error) {
      result.replaceChildren(el("p", { className: "error", role: "alert" }, error.message));
    }
  });
  const tools = () =>
    bar.replaceChildren(
      number("Example", point, 0, 2 ** 31 - 1, (value) => ((point = value), look())),
      button("Next", () => ((point += 1), tools(), look()), "main"),
      select("Beside", runs.map((name) => [name, name]), other, (value) => ((other = value), look())));
  tools();
  await look();
}
