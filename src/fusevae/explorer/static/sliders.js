// One latent: its most active dimensions, and the directions of attributes, by sliders.
import * as address from "./address.js";
import { ask, button, conditions, el, latest, number, once, saves, say, select, shown } from "./page.js";
import { named, resolved } from "./place.js";

export default async function sliders(place, { run, about, given }) {
  const from = given.from ?? "0";
  const start = await resolved(run, from);
  const found = await once("latent", { run, point: start.like ?? 0 });
  const base = start.z;
  const moved = new Map((given.set ?? "").split(",").filter(Boolean).map((each) => each.split(":").map(Number)).filter(([d, v]) => d in base && Number.isFinite(v)));
  const attributes = [];
  const asked = {};
  const picture = el("div", { className: "card" }, el("p", { className: "soft" }, "computing ..."));
  const rows = el("div", { className: "stack" });
  const added = el("div", { className: "stack" });
  const pick = el("div", { className: "bar" });

  const z = () => {
    const now = [...base];
    for (const [dim, value] of moved) now[dim] = value;
    for (const { vector, amount } of attributes) for (let i = 0; i < now.length; i++) now[i] += amount * vector[i];
    return now;
  };
  const decode = latest(async () => {
    const request = { run, z: z(), given: asked };
    if (start.like !== null) request.like = start.like;
    const answer = await ask("decode", request);
    picture.replaceChildren(
      el("h2", {}, "Decoded ", el("span", { className: "soft" }, `from ${named(from)}`)),
      shown(answer.parts, "what the model decodes", "large"), saves(answer.parts, `${run}-decoded`),
      ...(answer.point ? [el("p", { className: "saves" }, el("a", { href: address.written(run, "map", { at: answer.point.map((v) => v.toPrecision(6)).join(",") }) }, "Where this lies on the map"))] : []),
    );
    picture.dataset.turn = Number(picture.dataset.turn ?? 0) + 1;
    address.keep({
      set: [...moved].map(([d, v]) => `${d}:${Number(v.toPrecision(5))}`).join(","),
      plus: attributes.length ? JSON.stringify(attributes.map(({ column, value, amount }) => [column, value, amount])) : "",
    });
  });

  function slider(name, low, high, value, changed) {
    const shownValue = el("output", {}, value.toFixed(2));
    const field = el("input", { type: "range", min: low, max: high, step: "any", "aria-label": name, oninput: () => {
      shownValue.textContent = Number(field.value).toFixed(2);
      changed(Number(field.value));
      decode();
    } });
    field.value = value;
    return el("div", { className: "slider" }, el("span", {}, name), field, shownValue);
  }
  const fill = () =>
    rows.replaceChildren(...found.sliders.map(({ dim, low, high }) => {
      const value = moved.get(dim) ?? base[dim];
      return slider(`z ${dim}`, Math.min(low, value), Math.max(high, value), value, (now) => moved.set(dim, now));
    }));

  async function add(column, value, amount = 0) {
    const answer = await ask("attribute", { run, column, value });
    const one = { column, value, amount, vector: answer.z };
    attributes.push(one);
    added.append(el("div", {}, slider(answer.name, -3, 3, amount, (now) => (one.amount = now)), el("span", { className: "soft" }, `${answer.with.toLocaleString()} of ${answer.of.toLocaleString()} examples have it`)));
  }

  async function choose(columns, column) {
    const { names } = await ask("column", { run, column });
    let value = names?.[0] ?? "";
    pick.replaceChildren(
      select("Attribute", columns.map((name) => [name, name]), column, (now) => choose(columns, now).catch((error) => say(error.message))),
      ...(names ? [select("is", names.map((name) => [name, name]), value, (now) => (value = now))] : [el("span", { className: "soft" }, "above its median")]),
      button("Add", () => add(column, value).catch((error) => say(error.message))),
    );
  }

  place.append(
    el("div", { className: "bar" },
      number("Example", start.like ?? 0, 0, 2 ** 31 - 1, (value) => (location.hash = address.written(run, "sliders", { from: value }))),
      button("Another", () => (location.hash = address.written(run, "sliders", { from: Math.floor(Math.random() * Math.max(1, total)) }))),
      button("Back to the start", () => {
        moved.clear();
        for (const each of attributes) each.amount = 0;
        for (const field of added.querySelectorAll("input")) field.value = 0;
        fill();
        decode();
      }),
      ...conditions(about, asked, decode)),
    el("div", { className: "even" },
      picture,
      el("div", { className: "card" }, el("h2", {}, "The most active dimensions ", el("span", { className: "soft" }, `of ${found.dims}`)), rows),
      el("div", { className: "card" }, el("h2", {}, "Attributes ", el("span", { className: "soft" }, "mean latent with, minus without")), pick, added)),
  );
  fill();
  const points = await ask("points", { run, have: 2 ** 30 });
  const total = points.total;
  const columns = points.columns.filter((name) => !name.startsWith("z "));
  if (columns.length) await choose(columns, columns[0]);
  for (const [column, value, amount] of JSON.parse(given.plus ?? "[]")) await add(column, value, amount);
  await decode();
}
