// What every view is made of: elements, requests, fragments of data, and saving. Whatever comes from data is text.

export function el(tag, about = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name.startsWith("on")) found.addEventListener(name.slice(2), value);
    else if (name in found && name !== "list") found[name] = value;
    else found.setAttribute(name, value);
  }
  found.append(...children.filter((child) => child !== null && child !== undefined));
  return found;
}

export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  clearTimeout(say.timer);
  if (text) say.timer = setTimeout(() => (place.textContent = ""), 9000);
}

async function answered(response) {
  const found = await response.json().catch(() => ({ error: `the explorer answered ${response.status}` }));
  if (!response.ok) throw new Error(found.error || `the explorer answered ${response.status}`);
  return found;
}

async function sent(path, about) {
  try {
    return await answered(await fetch(path, about));
  } catch (error) {
    if (about.signal?.aborted) return new Promise(() => {}); // the view that asked is gone
    throw error instanceof TypeError ? new Error("the explorer doesn't answer: is it still running?") : error;
  }
}

export const runs = () => sent("/api/runs", {});

let here = new AbortController();

// no view waits for what it has asked any more
export function leave() {
  here.abort();
  here = new AbortController();
}

export const ask = (view, request, signal = here.signal) =>
  sent(`/api/${view}`, {
    method: "POST",
    signal,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
  });

export const give = (run, file) =>
  sent("/api/file", {
    method: "POST",
    headers: {
      "content-type": "application/octet-stream",
      "x-run": encodeURIComponent(run),
      "x-name": encodeURIComponent(file.name),
    },
    body: file,
  });

// answers that don't change, the newest kept
const kept = new Map();
export async function once(view, request) {
  const key = view + JSON.stringify(request);
  if (!kept.has(key)) {
    kept.set(key, ask(view, request, null).catch((error) => (kept.delete(key), Promise.reject(error))));
    if (kept.size > 600) kept.delete(kept.keys().next().value);
  }
  return kept.get(key);
}

// of many calls that come quickly only the newest is answered, one at a time
export function latest(work) {
  let waiting = null;
  let busy = false;
  return async function next(...given) {
    waiting = given;
    if (busy) return;
    busy = true;
    while (waiting) {
      const now = waiting;
      waiting = null;
      try {
        await work(...now);
      } catch (error) {
        say(error.message);
      }
    }
    busy = false;
  };
}

export function floats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

function table(names, rows) {
  if (rows.length === 1 && names.length > 2) {
    return el("table", {}, el("tbody", {}, ...names.map((name, i) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, rows[0][i])))));
  }
  return el(
    "table", {},
    names.length > 1 ? el("thead", {}, el("tr", {}, ...names.map((name) => el("th", { scope: "col" }, name)))) : null,
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))))),
  );
}

export function shown(parts, alt, kind = "") {
  const sounds = parts.filter((part) => "wav" in part);
  return el(
    "div", { className: `shown ${kind}` },
    ...parts.map((part) => {
      if ("png" in part) return el("img", { src: `data:image/png;base64,${part.png}`, alt });
      if ("names" in part && !part.drawn) return table(part.names, part.rows);
      return null;
    }),
    sounds.length
      ? el("div", { className: "sounds" }, ...sounds.map((part) =>
          el("figure", {}, el("figcaption", {}, part.name), el("audio", { controls: true, preload: "none", src: `data:audio/wav;base64,${part.wav}`, "aria-label": `${alt}: ${part.name}` }))))
      : null,
  );
}

export const facts = (rows) =>
  el("table", { className: "facts" }, el("tbody", {}, ...rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)))));

export function save(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export const csv = (rows) =>
  rows.map((row) => row.map((cell) => (/[",\r\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell)).join(",")).join("\r\n") + "\r\n";

export function saves(parts, name) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return el("div", { className: "saves" }, ...parts.map((part, i) => {
    if ("png" in part) return button("Save PNG", () => save(`${name}.png`, bytes(part.png), "image/png"));
    if ("names" in part) return button("Save CSV", () => save(`${name}.csv`, csv([part.names, ...part.rows]), "text/csv"));
    return button(`Save ${part.name}.wav`, () => save(`${name}-${i}.wav`, bytes(part.wav), "audio/wav"));
  }));
}

export const button = (text, work, className = "small") => el("button", { type: "button", className, onclick: work }, text);

export function select(label, values, chosen, changed) {
  const found = el("select", { onchange: () => changed(found.value) }, ...values.map(([value, word]) => el("option", { value }, word)));
  if (values.some(([value]) => value === chosen)) found.value = chosen;
  return el("label", {}, `${label} `, found);
}

export function number(label, value, low, high, changed, step = 1) {
  const found = el("input", { type: "number", value, min: low, max: high, step, onchange: () => {
    const given = Number(found.value);
    if (found.value === "" || !Number.isFinite(given)) return;
    found.value = Math.min(high, Math.max(low, step === 1 ? Math.round(given) : given));
    changed(Number(found.value));
  } });
  return el("label", {}, `${label} `, found);
}

export function conditions(about, given, changed) {
  return about.conditions.map((c) => {
    const name = c.name;
    const tell = (value) => {
      if (value === "") delete given[name];
      else given[name] = value;
      changed();
    };
    if (c.classes) return select(name, [["", "any"], ...c.classes.map((word) => [word, word])], given[name] ?? "", tell);
    const field = el("input", { type: "text", value: given[name] ?? "", size: 8, placeholder: "any", title: c.about, onchange: () => tell(field.value.trim()) });
    return el("label", {}, `${name} `, field);
  });
}
