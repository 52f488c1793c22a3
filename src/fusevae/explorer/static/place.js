// A place in latent space, as addresses say it: the number of an example, or @x,y of the map.
import { once } from "./page.js";

export async function resolved(run, text) {
  if (text.startsWith("@")) {
    const [x, y] = text.slice(1).split(",").map(Number);
    if (!Number.isFinite(x) || !Number.isFinite(y)) throw new Error(`${text} is no place of the map: expected @x,y`);
    return { z: (await once("place", { run, x, y })).z, like: null };
  }
  const point = Number(text);
  if (!Number.isInteger(point) || point < 0) throw new Error(`${text} is no example: expected its number, or @x,y`);
  return { z: (await once("latent", { run, point })).z, like: point };
}

export const named = (text) => (text.startsWith("@") ? `the place ${text.slice(1)}` : `example ${text}`);
