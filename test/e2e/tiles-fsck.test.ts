/**
 * The tiled log as Tessera's fsck reads it, served and exported: it fetches every file, makes every hash and the root
 * again, and verifies the checkpoint. What is changed in one bit, it must refuse.
 */
import { spawn, spawnSync } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { toHex } from "../../src/core/bytes.ts";
import { sigilHere } from "./command.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";
import { httpConfig, urlOf } from "./http-caller.ts";

const program = join(repository, "build/bin/sigil-tessera-fsck");
const why =
  spawnSync(program).status === 2 ? "" : ", skipped: no Tessera: scripts/services.sh install tessera";

describe(`the tiled log, read by Tessera's fsck${why}`, function () {
  this.slow(10_000);
  let deployment: Deployment | undefined;
  let served: ServedDeployment;
  let cwd: string;
  let key: string;

  /** A process beside this one, which is the server. */
  const fsck = async (url: string, named = origin, by = key): Promise<string> => {
    const child = spawn(program, [url, named, by], { stdio: ["ignore", "pipe", "ignore"] });
    let output = "";
    for await (const part of child.stdout) output += String(part);
    return output.trimEnd();
  };
  const fileUrl = (name: string): string => `file://${join(cwd, name)}`;

  before(async function () {
    if (why !== "") this.skip();
    deployment = await makeDeployment();
    served = await deployment.serve({ config: { ...httpConfig, tiles: "public", tiles_interval_ms: 0 } });
    cwd = await mkdtemp(join(tmpdir(), "sigil-tiles-"));
    const checks = Array.from({ length: 700 }, () => ({ action: "read", target: "public/x" }));
    await served.as("operator").trust.batchCheck({ checks });
    key = toHex((await served.as("guest").audit.getCheckpoint({})).publicKey);
    await sigilHere(["tiles", "export", "--out", "log", "--server", served.server.target], { cwd });
  });
  after(async () => {
    if (deployment === undefined) return;
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
    await rm(cwd, { recursive: true });
  });

  it("is whole, served over HTTP and exported as files", async () => {
    const whole = `ok ${served.server.ledger.reader.size}`;
    expect(await fsck(`${urlOf(served)}/tlog/`)).to.equal(whole);
    expect(await fsck(fileUrl("log"))).to.equal(whole);
  });

  it("is refused with any file changed in one bit or missing, and under another name or key", async () => {
    const size = Number(served.server.ledger.reader.size);
    const changes: readonly (readonly [string, number])[] = [
      ["tile/entries/001", 34 * 7 + 5],
      [`tile/entries/002.p/${size - 512}`, 2],
      ["tile/0/001", 100],
      [`tile/0/002.p/${size - 512}`, 0],
      ["tile/1/000.p/2", 40],
      ["checkpoint", origin.length + 10],
    ];
    for (const [file, at] of changes) {
      await cp(join(cwd, "log"), join(cwd, "changed"), { recursive: true });
      const path = join(cwd, "changed", file);
      const content = await readFile(path);
      await writeFile(path, content.with(at, (content[at] ?? 0) ^ 1));
      expect(await fsck(fileUrl("changed")), file).to.match(/^refused: /);
      await rm(path);
      expect(await fsck(fileUrl("changed")), `${file}, missing`).to.match(/^refused: /);
      await rm(join(cwd, "changed"), { recursive: true });
    }
    expect(await fsck(fileUrl("log"), "another.example")).to.match(/^refused: /);
    const other = `${key.slice(0, -2)}${key.endsWith("00") ? "01" : "00"}`;
    expect(await fsck(fileUrl("log"), origin, other)).to.match(/^refused: /);
  });
});
