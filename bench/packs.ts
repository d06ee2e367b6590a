/**
 * `npm run bench:packs -- --count 100000`: a ledger of so many decisions of fifty callers, every tenth record of
 * another tenant, exported from a real server as a tiled log, and as an evidence pack, which is verified, each in a
 * process of its own. Prints a line of JSON a step, with its rate and the peak of its memory (Linux). `--only tiles` or
 * `--only pack` does one of the two. Exit code 0 only if the log is whole, and the pack is and verifies.
 */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readOptions } from "../test/campaigns/options.ts";
import { freePorts, serving } from "../test/e2e/command.ts";
import { measureCommand } from "./command.ts";
import { makeScratch, openScratch, sampleBody, variedLike, type Scratch } from "./scratch.ts";

const parts = ["tiles", "pack"];
const { values, refuse } = readOptions("bench:packs [--count N] [--only tiles|pack]", "--count 100000", {
  count: { type: "string", default: "10000" },
  only: { type: "string" },
});
const count = Number(values.count);
if (!Number.isInteger(count) || count < 1) refuse();
const { only } = values;
if (only !== undefined && !parts.includes(only)) refuse();
const does = (part: string): boolean => only === undefined || only === part;

const [batch, together] = [250, 4];
const say = (line: object): void => console.log(JSON.stringify(line));
const perSecond = (done: number, fromMs: number): number =>
  Math.round((done * 1000) / (performance.now() - fromMs));

/** @returns how many decisions of the tenant there are. */
const fill = async (scratch: Scratch): Promise<number> => {
  const ledger = await openScratch(scratch);
  try {
    const next = variedLike(await sampleBody(scratch, ledger));
    const fromMs = performance.now();
    let [left, own] = [count, 1];
    const work = async (): Promise<void> => {
      while (left > 0) {
        const bodies = Array.from({ length: Math.min(batch, left) }, next);
        left -= bodies.length;
        own += bodies.filter(({ tenant }) => tenant === scratch.tenant).length;
        await ledger.append(bodies);
      }
    };
    await Promise.all(Array.from({ length: together }, work));
    say({ step: "fill", records: count, perSecond: perSecond(count, fromMs) });
    return own;
  } finally {
    await ledger.close();
  }
};

const bytesOf = async (directory: string): Promise<Readonly<Record<string, number>>> => {
  const names = await readdir(directory);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size));
  return Object.fromEntries(names.map((name, at) => [name, sizes[at] ?? 0]));
};

const directory = await mkdtemp(join(tmpdir(), "sigil-bench-packs-"));
try {
  const scratch = await makeScratch(directory, "ledger");
  const own = await fill(scratch);
  await writeFile(join(directory, "key.pem"), scratch.privateKey, { mode: 0o600 });
  const deployment = await readFile(join(scratch.directory, "deployment.json"), "utf8");
  const { genesis } = JSON.parse(deployment) as { readonly genesis: string };
  {
    await using server = await serving(["serve", "--data", scratch.directory, ...freePorts], {
      cwd: directory,
    });
    const at = { cwd: directory, server: server.target };
    const as = ["--key", "key.pem", "--principal", scratch.principal];
    if (does("tiles")) {
      const fromMs = performance.now();
      const made = await measureCommand(["tiles", "export", "--out", "log", ...as], at);
      say({ step: "tiles", entries: count, perSecond: perSecond(count, fromMs), ...made });
      if (made.exitCode !== 0) process.exitCode = 1;
    }
    if (does("pack")) {
      const fromMs = performance.now();
      const made = await measureCommand(["audit", "export", "--out", "pack", ...as], at);
      say({ step: "export", decisions: own, perSecond: perSecond(own, fromMs), ...made });
      if (made.exitCode !== 0 && made.exitCode !== 1) process.exitCode = 1;
    }
  }
  if (does("pack")) {
    say({ step: "files", bytes: await bytesOf(join(directory, "pack")) });
    const fromMs = performance.now();
    const verified = await measureCommand(["verify", "pack", "--genesis", genesis], { cwd: directory });
    say({ step: "verify", decisions: own, perSecond: perSecond(own, fromMs), ...verified });
    if (verified.exitCode !== 0) process.exitCode = 1;
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
