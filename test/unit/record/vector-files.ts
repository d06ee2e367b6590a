/** Reading a vector file. */
import { readFileSync } from "node:fs";

export const vectorText = (name: string): string =>
  readFileSync(new URL(`../../vectors/${name}`, import.meta.url), "utf8");

export const readVectors = <Shape>(name: string): Shape => JSON.parse(vectorText(name)) as Shape;
