"""The explorer in a real browser: how fast it opens and answers, what a thousand actions leave, and what watching
costs a training.

``conv-vae`` and ``binary-vae`` for 28 x 28, untrained (which changes no speed): the first answers hovers and sliders,
the second has the map of 70,000 points. Needs chromium and playwright. ``python benchmarks/explorer.py``
"""

from __future__ import annotations

import random
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import inputs
import numpy as np
from common import fusevae, report, runs, size, start

from fusevae.training.checkpoint import digest
from fusevae.training.run import Run

FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
VIEWS = ("map", "sliders", "path", "samples", "missing?gone=40-60", "inside", "own", "beside", "training")

SLIDER = """async (moves) => {
  const field = document.querySelectorAll("input[type=range]")[0], card = document.querySelector("[data-turn]");
  const found = [];
  for (let i = 0; i < moves; i++) {
    const seen = new Promise((done) => { const o = new MutationObserver(() => { o.disconnect(); done(); });
      o.observe(card, { attributes: true, attributeFilter: ["data-turn"] }); });
    field.value = Number(field.min) + (field.max - field.min) * (0.05 + 0.9 * ((i * 0.618) % 1));
    const began = performance.now();
    field.dispatchEvent(new Event("input"));
    await seen;
    await document.querySelector("[data-turn] img").decode();
    found.push(performance.now() - began);
    await new Promise((done) => setTimeout(done, 15));
  }
  return found;
}"""

HOVER = """async ([moves, patience]) => {
  const canvas = document.querySelector("canvas"), tip = document.querySelector(".tip"), found = [];
  const box = canvas.getBoundingClientRect();
  for (let i = 0; found.length < moves && i < 20 * moves; i++) {
    const before = tip.textContent;
    let done;
    const seen = new Promise((resolve) => (done = resolve));
    const o = new MutationObserver(() => { o.disconnect(); done(true); });
    o.observe(tip, { childList: true });
    const [u, v] = [0.25 + 0.5 * ((i * 0.618) % 1), 0.25 + 0.5 * ((i * 0.755) % 1)];
    const at = { clientX: box.x + box.width * u, clientY: box.y + box.height * v };
    const began = performance.now();
    canvas.dispatchEvent(new PointerEvent("pointermove", at));
    const came = await Promise.race([seen, new Promise((resolve) => setTimeout(() => resolve(false), patience))]);
    o.disconnect();
    if (!came) continue;
    await tip.querySelector("img")?.decode();
    found.push(performance.now() - began);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  return found;
}"""

CLICK = """async (moves) => {
  const canvas = document.querySelector("canvas"), found = [], box = canvas.getBoundingClientRect();
  const card = document.querySelectorAll(".stack > .card")[1];
  for (let i = 0; i < moves; i++) {
    const seen = new Promise((done) => { const o = new MutationObserver(() => { o.disconnect(); done(); });
      o.observe(card, { childList: true }); });
    const [u, v] = [0.2 + 0.6 * ((i * 0.618) % 1), 0.2 + 0.6 * ((i * 0.755) % 1)];
    const at = { clientX: box.x + box.width * u, clientY: box.y + box.height * v, pointerId: 1, bubbles: true };
    canvas.setPointerCapture = () => {};
    const began = performance.now();
    canvas.dispatchEvent(new PointerEvent("pointerdown", at));
    canvas.dispatchEvent(new PointerEvent("pointerup", at));
    await seen;
    await card.querySelector("img").decode();
    found.push(performance.now() - began);
    await new Promise((done) => setTimeout(done, 60));
  }
  return found;
}"""

ZOOM = """async (moves) => {
  const canvas = document.querySelector("canvas"), found = [], box = canvas.getBoundingClientRect();
  const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, cancelable: true };
  for (let i = 0; i < moves; i++) {
    const began = performance.now();
    canvas.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: i % 2 ? 40 : -40 }));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    found.push(performance.now() - began);
  }
  return found;
}"""


def made(recipe: str, data: Path, folder: Path) -> Path:
    """An untrained model of a recipe for the images of a file, in a folder of its own."""
    import torch

    from fusevae import Artifact, read_data
    from fusevae.training.recipes import find

    if not (folder / "model.safetensors").exists():
        torch.manual_seed(0)
        spec = read_data(str(data)).spec
        experiment = find(recipe)(spec)
        Artifact(experiment.model, spec, list(experiment.views)).save(folder)
    return folder


@contextmanager
def served(*paths: Path, data: Path | None = None) -> Any:
    from fusevae.explorer.known import Runs
    from fusevae.explorer.serve import server

    found, listening, address = server(Runs([str(path) for path in paths], data and str(data)), "127.0.0.1", 0)
    thread = threading.Thread(target=found.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not found.started:
        time.sleep(0.01)
    yield address
    found.should_exit = True
    thread.join(10)
    listening.close()


def until(page: Any, condition: str, seconds: float = 300) -> float:
    """Wait for a condition of the page; the seconds that it took."""
    began = time.perf_counter()
    while not page.evaluate(condition):
        if time.perf_counter() - began > seconds:
            raise SystemExit(f"{condition} did not come in {seconds} s")
        time.sleep(0.02)
    return time.perf_counter() - began


def ends(milliseconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {
        "n": len(milliseconds),
        "median_ms": round(float(np.median(milliseconds)), 1),
        "p95_ms": round(float(np.quantile(milliseconds, 0.95)), 1),
    }


def file_of(n: int) -> Path:
    """So many digits, drawn with replacement from the test images where more are asked for."""
    path = runs("explorer") / f"digits-{n}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        some = inputs.images("test", size(10_000, 80))[0].numpy()
        chosen = np.random.default_rng(0).integers(0, len(some), n)
        np.savez(path, x=some[chosen].reshape(n, 28, 28))
    return path


def at_random(page: Any, address: str, actions: int) -> int:
    """So many actions, by keys on whatever can be pressed; the errors that the console showed."""
    wrong: list[str] = []
    refused = "status of 422"  # what the page says in a line
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and refused not in m.text else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    chance = random.Random(0)
    for _ in range(actions):
        if chance.random() < 0.2:
            page.goto(f"{address}#/{chance.choice(['conv', 'dense'])}/{chance.choice(VIEWS)}")
            continue
        found = page.locator("#view button:visible, #view input:visible, #view canvas, #tabs a").all()
        one = chance.choice(found) if found else None
        try:
            if one is not None and one.get_attribute("type", timeout=1000) != "file":
                one.press(chance.choice(["Enter", "ArrowRight", "ArrowLeft", "ArrowUp", "Tab", "5", "0"]), timeout=1000)
        except Exception as error:  # it went away meanwhile, which is no error of the page
            if "Timeout" not in type(error).__name__:
                raise
    for text in wrong[:5]:
        print(text, file=sys.stderr)
    return len(wrong)


def held(context: Any, page: Any) -> dict[str, float]:
    """What the page and the server hold in memory, in MB, garbage apart."""
    browser = context.new_cdp_session(page)
    browser.send("HeapProfiler.collectGarbage")
    used = page.evaluate("performance.memory.usedJSHeapSize")
    browser.detach()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"page_mb": round(used / 2**20, 1), "server_mb": round(pages * 4096 / 2**20, 1)}


def watched(page: Any, folder: Path) -> dict[str, Any]:
    """Trainings alone and others whose curves and samples are looked at, by turns: the median ratio of their steps a
    second, the processor's time that watching takes here, as a part of the time it lasted, and whether all end with
    the same bits."""
    from safetensors.torch import load_file

    found, digests, speed = {}, set(), {"alone": [], "watched": []}
    for name in ("alone", "watched") * size(3, 1):
        shutil.rmtree(folder / name, ignore_errors=True)
        data = str(file_of(size(4000, 300)))
        words = ("train", "binary-vae", "--data", data, "--output", str(folder / name), "--set")
        training = threading.Thread(target=fusevae, args=(*words, f"training.epochs={size(40, 1)}", "--device", "cpu"))
        training.start()
        if name == "watched":
            while not (folder / name / "config.yaml").exists() and training.is_alive():
                time.sleep(0.05)
            with served(folder / name) as address:
                page.goto(f"{address}#/watched/training")
                began, used = time.perf_counter(), time.process_time()
                training.join()
                lasted = time.perf_counter() - began
                found["share_of_a_core"] = round((time.process_time() - used) / lasted, 4)
                found["seconds"] = round(lasted, 1)
        training.join()
        digests.add(digest(load_file(folder / name / "model.safetensors")))
        state = Run.open(folder / name).state
        speed[name].append(state.steps / state.seconds)
    pairs = zip(speed["watched"], speed["alone"], strict=True)
    ratios = [round(a / b, 3) for a, b in pairs]
    return {**found, "steps_per_second_ratios": ratios, "same_bits": len(digests) == 1}


def main() -> None:
    from playwright.sync_api import sync_playwright

    folder, n, moves = runs("explorer"), size(70_000, 300), size(200, 5)
    patience = size(300, 50)  # ms for a hover, after which there is no point under it
    conv = made("conv-vae", file_of(size(2000, 60)), folder / "conv")
    dense = made("binary-vae", file_of(n), folder / "dense")
    figures: dict[str, Any] = {}
    with sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            "", executable_path=shutil.which("chromium"), headless=True, args=FLAGS.split()
        )
        page = context.pages[0]
        with served(dense, data=file_of(n)) as address:
            shown = f"document.querySelector('.bar')?.textContent.includes('{n:,} of')"
            began = time.perf_counter()
            page.goto(f"{address}#/dense/map")
            until(page, "!!document.querySelector('.axis.x')?.textContent")
            figures["first_points_s"] = round(time.perf_counter() - began, 2)
            until(page, shown)
            figures["all_encoded_s"] = round(time.perf_counter() - began, 2)
            page.goto("about:blank")
            began = time.perf_counter()
            page.goto(f"{address}#/dense/map")
            until(page, shown)
            figures["opens_s"] = round(time.perf_counter() - began, 2)
            figures["zoom"] = ends(page.evaluate(ZOOM, moves))
        with served(conv, dense, data=file_of(size(2000, 60))) as address:
            page.goto(f"{address}#/conv/map")
            until(page, f"document.querySelector('.bar')?.textContent.includes('{size(2000, 60):,} of')")
            page.evaluate(HOVER, [3, patience])
            figures["hover"] = ends(page.evaluate(HOVER, [moves, patience]))
            page.evaluate(CLICK, 3)
            figures["click"] = ends(page.evaluate(CLICK, moves))
            page.goto(f"{address}#/conv/sliders?from=1")
            until(page, "!!document.querySelector('[data-turn]')")
            page.evaluate(SLIDER, 3)
            figures["slider"] = ends(page.evaluate(SLIDER, moves))
            figures["actions"] = size(1000, 10)
            at_random(page, address, size(200, 2))  # what is kept is kept by then
            before = held(context, page)
            figures["errors"] = at_random(page, address, figures["actions"])
            figures["held_before"], figures["held_after"] = before, held(context, page)
        figures["training"] = watched(page, folder)
        context.close()
    protocol = (
        f"map of {n:,} points of binary-vae, each opened in a browser without graphics, and {moves} zooms of it; "
        f"{moves} hovers, clicks and sliders of conv-vae, from the event to the picture decoded; trainings of "
        "binary-vae watched every 3 s, with samples"
    )
    report("explorer", {"points": n, **figures}, protocol, seed=0, on="cpu")


if __name__ == "__main__":
    start(main)
