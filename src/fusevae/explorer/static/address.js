// Every view has an address: #/run/view?what=...

export function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [run = "", view = ""] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return "";
    }
  });
  return { run, view, with: Object.fromEntries(new URLSearchParams(query)) };
}

export function written(run, view, given = {}) {
  const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const text = query.toString();
  return `#/${encodeURIComponent(run)}/${view}${text ? `?${text}` : ""}`;
}

// the address of what is shown now, without showing it anew
export function keep(given) {
  const now = read();
  history.replaceState(null, "", written(now.run, now.view, { ...now.with, ...given }));
}
