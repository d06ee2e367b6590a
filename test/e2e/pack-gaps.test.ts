/**
 * What an evidence pack does not show, and that it says so: restores, damage, anonymous callers, what may still come.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { formatManifest, parseManifest } from "../../src/core/pack/manifest.ts";
import { recordKey } from "../../src/ledger/layout/keyspace.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import type { Store } from "../../src/storage/store.ts";
import { replaceStored } from "../contract/tamper.ts";
import { freePorts, servingHere, sigilHere } from "./command.ts";
import { config, PackWorld } from "./pack-world.ts";

type Gap = Readonly<Record<string, unknown>>;

const gapsOf = (manifest: string): readonly Gap[] =>
  (JSON.parse(manifest) as { readonly gaps: readonly Gap[] }).gaps;

describe("the gaps of an evidence pack", function () {
  this.slow(10_000);

  it("are restores from a backup, whose records it holds, and which are not hidden by leaving out their name", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "sigil-pack-gaps-"));
    try {
      const keyOf = (name: string) => ["--key", `data.keys/${name}.pem`, "--principal", name];
      const ok = async (words: readonly string[], target = ""): Promise<string> => {
        const ended = await sigilHere(words, { cwd, env: { SIGIL_CLIENT_SERVER: target } });
        expect(ended.exitCode, ended.problems).to.be.oneOf([0, 1]);
        return ended.output;
      };
      const decide = (target: string): Promise<string> =>
        ok(["check", "--action", "read", "--target", "public/docs", ...keyOf("operator")], target);
      await ok(["init", "--data", "data", "--dev", "--origin", "restored.test"]);
      {
        await using server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
        await decide(server.target);
        await ok(["backup", "--to", "backup", ...keyOf("root")], server.target);
        await decide(server.target);
      }
      await ok(["restore", "--from", "backup", "--data", "again", "--kek", "file:data.kek"]);
      const env = { SIGIL_KEK: "file:data.kek" };
      await using server = await servingHere(["serve", "--data", "again", ...freePorts], { cwd, env });
      await decide(server.target);
      const made = await sigilHere(["audit", "export", "--out", "pack", ...keyOf("operator")], {
        cwd,
        env: { SIGIL_CLIENT_SERVER: server.target },
      });
      expect([made.exitCode, made.problems]).to.deep.equal([1, ""]);
      expect(made.output).to.match(/restored from a backup at position \d+/);
      const deployment = await readFile(join(cwd, "again/deployment.json"), "utf8");
      const { genesis } = JSON.parse(deployment) as { readonly genesis: string };
      const gaps = gapsOf(await readFile(join(cwd, "pack/manifest.json"), "utf8"));
      expect(gaps.map(({ kind }) => kind)).to.deep.equal(["restoration", "open"]);
      const verified = await sigilHere(["verify", "pack", "--genesis", genesis], { cwd });
      expect(verified.exitCode, verified.output).to.equal(0);
      expect(verified.output).to.match(/restored from a backup at position \d+/);
      const manifest = parseManifest(await readFile(join(cwd, "pack/manifest.json"), "utf8"));
      const hidden = formatManifest({ ...manifest, gaps: manifest.gaps.slice(1) });
      await writeFile(join(cwd, "pack/manifest.json"), hidden);
      const refused = await sigilHere(["verify", "pack", "--genesis", genesis], { cwd });
      expect(refused.exitCode).to.equal(1);
      expect(refused.output).to.match(/completeness +FAILED .*"restoration"/);
    } finally {
      await rm(cwd, { recursive: true, force: true });
    }
  });

  it("are records that are damaged, named by their positions, of which the numbers are missing", async () => {
    let store: Store | undefined;
    let directory = "";
    await using world = await PackWorld.open((at) => ({
      overrides: {
        openStore: async () => {
          directory = at;
          store = await openLevelStore(join(directory, "ledger"));
          return store;
        },
      },
    }));
    const operator = world.council.as("operator");
    await world.decide(operator, 4);
    const { ledgerPosition } = await operator.trust.check({ action: "write", target: "user/notes" });
    await world.decide(operator, 2);
    world.to = await world.moment();
    await world.decide(operator, 1);
    if (store === undefined) throw new Error("the store is not open");
    const stored = Uint8Array.from((await store.get(recordKey(ledgerPosition))) ?? []);
    stored[stored.length - 1] = (stored.at(-1) ?? 0) ^ 1;
    await replaceStored(store, ledgerPosition, stored);
    const [pack, made] = await world.export();
    expect(made.exitCode, made.problems).to.equal(1);
    expect(gapsOf(await world.read(pack, "manifest.json"))).to.deep.equal([
      { kind: "numbers", caller: "operator", from: 5, to: 5 },
      { kind: "damaged", position: String(ledgerPosition) },
    ]);
    const verified = await world.verify(pack);
    expect(verified.exitCode, verified.output).to.equal(0);
    expect(verified.output).to.include(`damaged at position ${ledgerPosition}`);
    const hidden = await world.forged(pack, {}, ({ gaps }) => ({ gaps: gaps.slice(1) }));
    expect(await world.refused(hidden)).to.match(/^completeness: .*"from":5,"to":5/);
    const there = await world.forged(pack, {}, ({ gaps }) => ({
      gaps: [...gaps, { kind: "damaged", position: String(ledgerPosition + 1n) }],
    }));
    expect(await world.refused(there)).to.match(/^completeness: .* is said to be damaged, and is there/);
  });

  it("are decisions of anonymous callers, and what a caller may still have after its newest", async () => {
    // No head within this test, however busy the machine.
    await using world = await PackWorld.open(() => ({ config: { ...config, caller_head_seconds: 3600 } }));
    await world.decide(world.council.as("guest"), 2, "read");
    await world.decide(world.council.as("operator"), 1);
    world.to = await world.moment();
    const root = ["--key", "root.pem", "--principal", "root"];
    const [anonymous, made] = await world.export("--tenant", "public", ...root);
    expect(made.exitCode, made.problems).to.equal(1);
    expect(gapsOf(await world.read(anonymous, "manifest.json"))).to.deep.equal([
      { kind: "anonymous", decisions: 2 },
    ]);
    expect((await world.verify(anonymous)).exitCode).to.equal(0);
    const uncounted = await world.forged(anonymous, {}, () => ({ gaps: [] }));
    expect(await world.refused(uncounted)).to.match(/^completeness: .*"anonymous","decisions":2/);
    const [open] = await world.export();
    expect(gapsOf(await world.read(open, "manifest.json"))).to.deep.equal([
      { kind: "open", caller: "operator" },
    ]);
    expect((await world.verify(open)).exitCode).to.equal(0);
  });
});
