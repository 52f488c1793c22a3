// A path through two places or more, played.
import * as address from "./address.js";
import { ask, button, conditions, el, latest, number, saves, say, select, shown } from "./page.js";
import { named, resolved } from "./place.js";

export default async function path(place, { run, about, given }) {
  const ends = (given.via ?? "0;1;2").split(";").filter(Boolean).slice(0, 12);
  let kind = given.kind === "linear" ? "linear" : "spherical";
  let steps = Number(given.steps ?? 8);
  const asked = {};
  let frames = [];
  let at = 0;
  let timer = null;
  const chips = el("div", { className: "chips" });
  const stage = el("div", { className: "card" });
  const strip = el("div", { className: "card" });
  const screen = el("div");
  const scrub = el("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Step of the path", oninput: () => show(Number(scrub.value)) });
  const play = button("Play", () => (timer ? pause() : start()), "main");

  function show(number) {
    at = number;
    scrub.value = at;
    if (frames[at]) screen.replaceChildren(shown(frames[at], `step ${at + 1} of ${frames.length}`, "large"));
  }
  function start() {
    play.textContent = "Pause";
    timer = setInterval(() => show((at + 1) % frames.length), 220);
  }
  function pause() {
    play.textContent = "Play";
    clearInterval(timer);
    timer = null;
  }

  function without(why) {
    pause();
    frames = [];
    play.disabled = true;
    screen.replaceChildren();
    strip.replaceChildren(why);
  }

  const load = latest(async () => {
    address.keep({ via: ends.join(";"), kind, steps });
    chips.replaceChildren(
      ...ends.map((end, i) => button(`${named(end)} ×`, () => {
        if (ends.length < 3) return say("a path needs two places or more");
        ends.splice(i, 1);
        load();
      })));
    if (ends.length < 2) return without(el("p", { className: "soft" }, "A path needs two places or more: add an example by its number, or a place as @x,y. “Add to path” on the map adds one, too."));
    strip.setAttribute("aria-busy", "true");
    if (!frames.length) strip.replaceChildren(el("p", { className: "soft" }, "computing ..."));
    let answer;
    try {
      const found = await Promise.all(ends.map((end) => resolved(run, end)));
      const like = found.find((each) => each.like !== null)?.like;
      const request = { run, through: found.map((each) => each.z), steps, kind, given: asked };
      if (like !== undefined) request.like = like;
      answer = await ask("path", request);
    } catch (error) {
      return without(el("p", { className: "error", role: "alert" }, error.message));
    } finally {
      strip.removeAttribute("aria-busy");
    }
    frames = answer.frames;
    play.disabled = false;
    scrub.max = frames.length - 1;
    show(Math.min(at, frames.length - 1));
    strip.replaceChildren(el("h2", {}, `All ${frames.length} steps`), shown(answer.parts, "all steps of the path"), saves(answer.parts, `${run}-path`));
  });

  const field = el("input", { type: "text", size: 8, placeholder: "12 or @x,y", "aria-label": "Add an example by its number, or a place of the map" });
  place.append(
    el("div", { className: "bar" }, chips,
      el("form", { onsubmit: (event) => {
        event.preventDefault();
        const text = field.value.trim();
        if (!/^(\d+|@-?[\d.e+-]+,-?[\d.e+-]+)$/.test(text)) return say("give the number of an example, or @x,y of the map");
        if (ends.length > 11) return say("a path has twelve places at most");
        ends.push(text);
        field.value = "";
        load();
      } }, field, " ", el("button", { className: "small" }, "Add"))),
    el("div", { className: "bar" },
      select("Way", [["spherical", "spherical"], ["linear", "straight"]], kind, (value) => ((kind = value), load())),
      number("Steps between two", steps, 2, 24, (value) => ((steps = value), load())), ...conditions(about, asked, load)),
    el("div", { className: "even" }, stage, strip));
  stage.append(el("h2", {}, "The path"), screen, el("div", { className: "slider" }, play, scrub, el("span")));
  await load();
  return pause;
}
