/** What another checkout of this repository makes by its own code, in processes of its own. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import type { Scratch } from "./scratch.ts";

/** A deployment. @param rest as `makeScratch` of that checkout takes it. */
export const makeScratchOf = async (
  checkout: string,
  ...rest: readonly [directory: string, name: string, level?: string]
): Promise<Scratch> => {
  const module = pathToFileURL(join(checkout, "bench", "scratch.ts")).href;
  const code = `const { makeScratch } = await import(${JSON.stringify(module)});
    console.log(JSON.stringify(await makeScratch(...${JSON.stringify(rest)})));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", code]);
  return JSON.parse(stdout) as Scratch;
};
