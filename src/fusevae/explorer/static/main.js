// The page: which run, which view, at which address.
import * as address from "./address.js";
import { ask, el, leave, runs, say, select } from "./page.js";
import beside from "./beside.js";
import curves from "./curves.js";
import inside from "./inside.js";
import map from "./map.js";
import missing from "./missing.js";
import own from "./own.js";
import path from "./path.js";
import samples from "./samples.js";
import sliders from "./sliders.js";

const VIEWS = {
  map: { name: "Map", view: map, needs: "latents" },
  sliders: { name: "Sliders", view: sliders, needs: "latents" },
  path: { name: "Paths", view: path, needs: "latents" },
  samples: { name: "Samples", view: samples, needs: "ready" },
  missing: { name: "Fill in", view: missing, needs: "fills" },
  inside: { name: "Levels & codes", view: inside, needs: "inside" },
  own: { name: "Your own example", view: own, needs: "ready" },
  beside: { name: "Side by side", view: beside, needs: "ready" },
  training: { name: "Training & verdict", view: curves, needs: "curves" },
};

let list = [];
let known = { name: null };
let end = () => {};
let turn = 0;

function lacking(about, needs) {
  if (about[needs]) return "";
  if (!about.ready) return "There is no model yet: the training has not come to its end. Its curves are shown live under Training & verdict.";
  if (needs === "curves") return "This is a model alone, without the records of its training.";
  if (needs === "fills") return `This ${about.model} can't fill in what is missing: a model with one level of latents and values that are independent given them can (conv-vae, table-vae), or table-transformer.`;
  if (needs === "inside") return `This ${about.model} has one level of latents, which are numbers: see its map and its sliders.`;
  if (about.codes) return `The latents of this ${about.model} are codes of a codebook, not numbers: there is no way between two of them, and no place to decode. See Levels & codes, and its samples.`;
  return `${about.model} has no latents: it has no map, no sliders and no paths. Its samples and its training are shown.`;
}

function tabs(run, name) {
  document.getElementById("tabs").replaceChildren(
    ...Object.entries(VIEWS).map(([key, { name: word }]) => {
      const link = el("a", { href: address.written(run, key) }, word);
      if (key === name) {
        link.setAttribute("aria-current", "page");
        requestAnimationFrame(() => link.scrollIntoView({ block: "nearest", inline: "center" }));
      }
      return el("li", {}, link);
    }),
  );
}

async function show() {
  const mine = ++turn;
  end();
  end = () => {};
  leave();
  say("");
  const here = address.read();
  if (here.run && !list.some((each) => each.name === here.run)) await listed().catch(() => {}); // it may be new
  if (mine !== turn) return;
  const run = list.some((each) => each.name === here.run) ? here.run : list[0]?.name;
  if (!run) return say("there are no runs to show");
  const main = document.getElementById("view");
  tabs(run, here.view);
  document.getElementById("run").value = run;
  if (known.name !== run || !known.ready) {
    document.getElementById("about").textContent = "";
    main.replaceChildren(el("p", { className: "soft", "aria-busy": "true" }, `opening ${run} ...`));
    try {
      known = await ask("about", { run });
    } catch (error) {
      main.replaceChildren(el("p", { className: "error" }, error.message));
      return;
    }
  }
  if (mine !== turn) return;
  const usual = known.latents ? "map" : known.ready ? "samples" : "training";
  const name = VIEWS[here.view] ? here.view : usual;
  if (here.run && here.run !== run) say(`No run ${here.run} is shown here: this is ${run}.`);
  if (here.run !== run || here.view !== name) {
    history.replaceState(null, "", address.written(run, name));
    here.with = {};
  }
  document.title = `${VIEWS[name].name}: ${run} - fusevae explorer`;
  const kind = known.facts?.find(([what]) => what === "data")?.[1] ?? "";
  document.getElementById("about").textContent = known.ready ? `${known.model} · ${kind}` : "in training";
  tabs(run, name);
  const without = lacking(known, VIEWS[name].needs);
  if (without) {
    main.replaceChildren(el("p", { className: "note" }, without));
    return;
  }
  const place = el("div");
  main.replaceChildren(place, el("p", { className: "soft waiting", "aria-busy": "true" }, "computing ..."));
  try {
    const finish = await VIEWS[name].view(place, { run, about: known, runs: list.filter((each) => each.ready || each.name === run).map((each) => each.name), data: Object.fromEntries(list.map((each) => [each.name, each.data])), given: here.with });
    if (mine === turn) end = finish ?? (() => {});
    else finish?.();
  } catch (error) {
    if (mine === turn) main.replaceChildren(el("p", { className: "error", role: "alert" }, error.message));
  }
}

async function listed() {
  const found = await runs();
  if (JSON.stringify(found) === JSON.stringify(list)) return;
  const finished = found.some((each) => each.ready && each.name === known.name && !known.ready);
  list = found;
  const chooser = document.getElementById("run");
  const chosen = chooser.value;
  chooser.replaceChildren(...list.map((each) => el("option", { value: each.name }, each.ready ? each.name : `${each.name} (in training)`)));
  chooser.value = list.some((each) => each.name === chosen) ? chosen : address.read().run || list[0]?.name;
  if (finished) show();
}

document.getElementById("run").addEventListener("change", (event) => {
  location.hash = address.written(event.target.value, address.read().view);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("view").focus();
});
window.addEventListener("hashchange", show);

try {
  await listed();
  await show();
} catch (error) {
  say(error.message);
}
setInterval(() => document.hidden || listed().catch((error) => say(error.message)), 5000);
