#!/usr/bin/env node
/**
 * The `sigil` command. From a clone it runs the sources, from the published package dist/. Where `node` is older than
 * the sources need, it hands over to the locked one in node_modules.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const nodeMajorMin = 24;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

if (Number(process.versions.node.split(".")[0]) >= nodeMajorMin) {
  // main.ts asks whether it is the program that was started: let it see itself in argv.
  const main = existsSync(here("../src/main.ts")) ? "../src/main.ts" : "../dist/src/main.js";
  process.argv[1] = here(main);
  await import(main);
} else {
  const nodes = createRequire(import.meta.url);
  let newer;
  try {
    newer = nodes.resolve("node/bin/node");
  } catch {
    process.stderr.write(`sigil needs Node.js ${nodeMajorMin} or newer, this is ${process.version}\n`);
    process.exit(2);
  }
  const { handOver } = await import("./hand-over.js");
  handOver(newer, here("./handed-over.js"), process.argv.slice(2));
}
