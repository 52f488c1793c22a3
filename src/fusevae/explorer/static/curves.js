// The curves of a training, live while it goes on, and what they say.
import { ask, button, csv, el, facts, save, saves, say, shown } from "./page.js";

const PACE = 50; // of the time that samples take, so much is left to the training before the next
const SHOWN = ["bound", "reconstruction", "kl", "loss"];
const SPACE = "http://www.w3.org/2000/svg";
const WORDS = { bound: "Bound (nats, higher is better)", reconstruction: "Reconstruction (nats)", kl: "KL (nats)", loss: "Loss" };

function svg(tag, about, ...children) {
  const found = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(about)) found.setAttribute(name, value);
  found.append(...children);
  return found;
}

function chart(name, kinds) {
  const [w, h, left, right, top, bottom] = [420, 220, 56, 10, 8, 24];
  const usable = kinds.map(({ kind, steps, values }) => ({ kind, at: steps.map((s, i) => [s, values[i]]).filter(([s, v]) => s !== null && v !== null) }));
  const all = usable.flatMap((each) => each.at);
  if (!all.length) return null;
  const sorted = all.map(([, v]) => v).sort((a, b) => a - b);
  // the first steps are far off: they would hide the rest
  let [low, high] = [sorted[Math.floor(0.03 * sorted.length)], sorted[Math.ceil(0.97 * sorted.length) - 1]];
  if (low === high) [low, high] = [low - 1, high + 1];
  const room = 0.06 * (high - low);
  [low, high] = [low < 0 ? low - room : Math.max(0, low - room), high + room];
  const last = Math.max(...all.map(([s]) => s), 1);
  const x = (s) => left + ((w - left - right) * s) / last;
  const y = (v) => Math.min(h - bottom, Math.max(top, h - bottom - ((h - top - bottom) * (v - low)) / (high - low)));
  const picture = svg("svg", { viewBox: `0 0 ${w} ${h}`, class: "curve", role: "img", "aria-label": `${name} over the steps; ${usable.map(({ kind, at }) => (at.length ? `${kind} ends at ${at.at(-1)[1].toPrecision(5)}` : "")).join(", ")}` });
  for (let i = 0; i < 4; i++) {
    const v = low + (i / 3) * (high - low);
    picture.append(svg("line", { x1: left, x2: w - right, y1: y(v), y2: y(v), class: "grid" }), svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, Number(v.toPrecision(4)).toLocaleString()));
  }
  picture.append(svg("text", { x: w - right, y: h - 6, "text-anchor": "end" }, `step ${last.toLocaleString()}`));
  for (const { kind, at } of usable) picture.append(svg("path", { class: kind, d: at.map(([s, v], i) => `${i ? "L" : "M"}${x(s).toFixed(1)} ${y(v).toFixed(1)}`).join("") }));
  return picture;
}

export default async function curves(place, { run, about }) {
  const head = el("div", { className: "bar" });
  const verdict = el("div", { className: "card" });
  const charts = el("div", { className: "even" });
  const rest = el("div", { className: "even" });
  const sofar = el("div", { className: "card", hidden: true });
  place.append(el("div", { className: "stack" }, head, verdict, sofar, charts, rest));
  let timer = null;
  let going = true;
  let seen = -1;
  let drawn = 0;
  let next = 0;

  // samples as checkpoints come, at a pace that leaves the training its time
  async function sample(step) {
    if (!step || step === drawn || Date.now() < next) return;
    drawn = step;
    const began = Date.now();
    try {
      const found = await ask("so_far", { run });
      if (!going) return;
      sofar.hidden = false;
      sofar.replaceChildren(el("h2", {}, "Samples so far ", el("span", { className: "soft" }, `from the checkpoint of step ${found.step.toLocaleString()}`)), shown(found.parts, `samples at step ${found.step}`, "sheet"), saves(found.parts, `${run}-step-${found.step}`));
    } catch (error) {
      sofar.hidden = false;
      sofar.replaceChildren(el("h2", {}, "Samples so far"), el("p", { className: "soft" }, error.message));
    }
    next = Date.now() + PACE * (Date.now() - began);
  }

  async function look() {
    const found = await ask("curves", { run });
    if (!going) return;
    if (found.records !== seen) {
      seen = found.records;
      head.replaceChildren(
        el("strong", {}, found.finished ? "Finished" : "In training"), el("span", { className: "soft" }, `step ${found.step.toLocaleString()}, ${Math.round(found.seconds).toLocaleString()} s`),
        el("span", { className: "soft" }, el("span", { className: "key t" }), "training", el("span", { className: "key v" }), "held out"),
        button("Save CSV", () => {
          const names = Object.keys(found.train);
          save(`${run}-training.csv`, csv([names, ...(found.train.step ?? []).map((_, i) => names.map((name) => found.train[name][i] ?? ""))]), "text/csv");
        }));
      verdict.replaceChildren(el("h2", {}, found.finished ? "Is it good?" : "Is it good so far?"), found.finished ? "" : el("p", { className: "soft" }, "The training goes on, and mends some of this itself: what counts is its end."), el("ul", { className: "verdict" }, ...found.verdict.map((line) => el("li", {}, line))),
        ...(found.events.length ? [el("h3", {}, "What was said during the training"), el("ul", { className: "verdict" }, ...found.events.map(([step, text]) => el("li", {}, `step ${step.toLocaleString()}: ${text}`)))] : []));
      charts.replaceChildren(...SHOWN.filter((name) => name !== "loss" || !found.train.bound).map((name) => {
        const kinds = ["train", "validation"].filter((kind) => found[kind][name]).map((kind) => ({ kind, steps: found[kind].step, values: found[kind][name] }));
        const picture = kinds.length ? chart(WORDS[name], kinds) : null;
        return picture ? el("div", { className: "card" }, el("h2", {}, WORDS[name]), picture) : null;
      }).filter(Boolean));
      rest.replaceChildren(
        ...(found.figures ? [el("div", { className: "card" }, el("h2", {}, "On held-out examples"), facts(found.figures))] : []),
        ...(about.facts ? [el("div", { className: "card" }, el("h2", {}, "The model"), facts([["model", about.model], ...about.facts]))] : []));
    }
    if (!found.finished) sample(found.checkpoint);
    else sofar.hidden = true;
    if (!found.finished && going) timer = setTimeout(() => look().catch((error) => say(error.message)), 3000);
  }
  await look();
  return () => {
    going = false;
    clearTimeout(timer);
  };
}
