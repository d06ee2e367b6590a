/** The version, from package.json: beside src/ in a clone, two folders above dist/src/ in the published package. */
import { existsSync, readFileSync } from "node:fs";

const places = ["../../../package.json", "../../../../package.json"];

export const version = (): string => {
  for (const place of places) {
    const path = new URL(place, import.meta.url);
    if (!existsSync(path)) continue;
    const { name, version: found } = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    if (name === "sigil" && typeof found === "string") return `sigil ${found}`;
  }
  return "sigil (version unknown)";
};
