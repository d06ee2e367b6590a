/** Exports a made-up log that grows with every look at it, from the first message until it is killed. */
import { once } from "node:events";
import { TilesDirectory } from "../../src/cli/tiles/directory.ts";
import { TilesExport } from "../../src/cli/tiles/export.ts";
import { MadeUpLog } from "./tiled-log.ts";

const [, , path = "", seed = "0"] = process.argv;
let random = Number(seed) + 1;
/** Up to 60, and every seventh time some bundles. */
const growth = (): number => {
  random = (random * 48_271) % 2_147_483_647;
  return 1 + (random % 7 === 0 ? random % 700 : random % 60);
};

await once(process, "message");
const directory = await TilesDirectory.open(path);
const log = new MadeUpLog("killed", 0);
const exported = await TilesExport.open({
  directory,
  read: log.read,
  onProgress: () => {},
  signal: new AbortController().signal,
});
for (;;) {
  process.send?.("about to");
  log.size = Number(exported.size) + growth();
  await exported.step();
}
