/** A witness that keeps what it signed, against a ledger that is set back or rewritten, and beside a restore. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { freePorts, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";

const asRoot = ["--key", "data.keys/root.pem", "--principal", "root"];
type Json = Readonly<Record<string, unknown>>;

describe("sigil witness cosign", function () {
  this.slow(5000);
  let cwd = "";
  let genesis = "";
  let server: Serving | undefined;
  const run = (words: readonly string[]): Promise<Ended> =>
    sigilHere(words, { cwd, env: { SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" } });
  const ok = async (words: readonly string[]): Promise<string> => {
    const { output, problems, exitCode } = await run(words);
    expect(exitCode, problems).to.equal(0);
    return output;
  };
  const cosignWords = (witness: string, state = `${witness}.checkpoint`): readonly string[] => {
    const who = ["--witness", witness, "--key", `data.keys/${witness}.pem`];
    return ["witness", "cosign", ...who, "--genesis", genesis, "--state", state];
  };
  const cosign = (witness = "witness-1"): Promise<Ended> => run(cosignWords(witness));
  const check = (name: string): Promise<string> =>
    ok(["check", "--action", "read", "--target", `public/${name}`]);
  const restore = (from: string, data: string, notes: readonly string[]): Promise<Ended> => {
    const shown = notes.flatMap((note) => ["--not-before", note]);
    return run(["restore", "--from", from, "--data", data, "--json", ...shown]);
  };
  const sizeIn = async (state: string): Promise<number> =>
    Number((await readFile(join(cwd, state), "utf8")).split("\n")[1]);

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-cosign-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "cosign.test", "--json"], {
      cwd,
    });
    expect(made.exitCode, made.problems).to.equal(0);
    ({ genesis } = JSON.parse(made.output) as { readonly genesis: string });
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
  });

  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("signs a ledger that grows, over rotated keys, and keeps what it signed", async () => {
    await check("one");
    const first = await cosign();
    expect(first.exitCode, first.problems).to.equal(0);
    expect(first.output).to.match(/— cosign\.test \S+\n— cosign\.test\/witness\/witness-1 \S+/);
    const size = await sizeIn("witness-1.checkpoint");
    await ok(["keys", "rotate", "checkpoint", ...asRoot]);
    await check("two");
    const second = JSON.parse(await ok([...cosignWords("witness-1"), "--json"])) as Json;
    expect(Number(second["size"])).to.be.greaterThan(size);
    expect(second["checkpoint"]).to.equal(await readFile(join(cwd, "witness-1.checkpoint"), "utf8"));
    // Nothing new: signed again, with the time of now.
    expect((await cosign()).exitCode).to.equal(0);
    expect((await cosign("witness-2")).exitCode).to.equal(0);
    await ok(["backup", "--to", "early", ...asRoot]);
  });

  it("signs nothing with the wrong genesis hash, another's state or no key", async () => {
    const kept = await readFile(join(cwd, "witness-1.checkpoint"), "utf8");
    const stranger = await run(
      cosignWords("witness-1").map((word) => (word === genesis ? "00".repeat(32) : word)),
    );
    expect(stranger.exitCode).to.equal(1);
    expect(stranger.problems).to.include("not the expected");
    const other = await run(cosignWords("witness-3", "witness-1.checkpoint"));
    expect(other.exitCode).to.equal(2);
    expect(other.problems).to.include("is no checkpoint that witness-3 has cosigned");
    await writeFile(join(cwd, "altered"), kept.replace(/\n\d+\n/, "\n3\n"));
    expect((await run(cosignWords("witness-1", "altered"))).exitCode).to.equal(2);
    expect((await run(["witness", "cosign", "--witness", "witness-1"])).exitCode).to.equal(2);
    expect(await readFile(join(cwd, "witness-1.checkpoint"), "utf8")).to.equal(kept);
  });

  it("has a backup refused that is behind what a witness holds", async () => {
    await check("three");
    expect((await cosign()).exitCode).to.equal(0);
    const refused = await restore("early", "back", ["witness-2.checkpoint", "witness-1.checkpoint"]);
    expect(refused.exitCode, refused.problems).to.equal(1);
    const [have, held] = [await sizeIn("witness-2.checkpoint"), await sizeIn("witness-1.checkpoint")];
    expect(refused.problems).to.include(`ends at size ${have}`).and.to.include(`is of size ${held}`);
    expect(await readdir(cwd)).to.not.include("back");
  });

  it("lets a backup be restored that contains what witnesses hold, and names them", async () => {
    await ok(["backup", "--to", "late", ...asRoot]);
    const notes = ["witness-1.checkpoint", "witness-2.checkpoint"];
    const restored = await restore("late", "restored", notes);
    expect(restored.exitCode, restored.problems).to.equal(0);
    const { vouched } = JSON.parse(restored.output) as { readonly vouched: readonly Json[] };
    expect(vouched.map(({ witness, size }) => [witness, Number(size)])).to.deep.equal([
      ["witness-1", await sizeIn("witness-1.checkpoint")],
      ["witness-2", await sizeIn("witness-2.checkpoint")],
    ]);
    await ok(["fsck", "--data", "restored"]);
  });

  it("has a backup refused when a cosignature is not its witness's", async () => {
    const note = await readFile(join(cwd, "witness-1.checkpoint"), "utf8");
    const forged = note.replace(/(witness-1 \S{30})(.)/, (_, kept: string, letter: string) =>
      kept.concat(letter === "A" ? "B" : "A"),
    );
    expect(forged).to.not.equal(note);
    await writeFile(join(cwd, "forged"), forged);
    const refused = await restore("late", "never", ["forged"]);
    expect(refused.exitCode, refused.problems).to.equal(1);
    expect(refused.problems).to.include("cosignature of witness witness-1 that does not verify");
    expect(await readdir(cwd)).to.not.include("never");
    // A line of somebody else's says nothing.
    await writeFile(join(cwd, "unknown"), note.replaceAll("witness/witness-1", "witness/nobody"));
    const restored = await restore("late", "unvouched", ["unknown"]);
    expect((JSON.parse(restored.output) as Json)["vouched"]).to.deep.equal([]);
  });

  it("does not sign a ledger that was set back, nor one that went on from there, and keeps the proof", async () => {
    await server?.stop();
    expect((await restore("early", "set-back", [])).exitCode).to.equal(0);
    server = await servingHere(["serve", "--data", "set-back", ...freePorts], { cwd });
    const kept = await readFile(join(cwd, "witness-1.checkpoint"), "utf8");
    const held = await sizeIn("witness-1.checkpoint");
    const smaller = await ok(["audit", "checkpoint"]);
    expect(Number(smaller.split("\n")[1])).to.be.at.most(held);
    for (const grow of [0, 4]) {
      for (let turn = 0; turn < grow; turn += 1) await check(`fork-${turn}`);
      const refused = await cosign();
      expect(refused.exitCode, refused.problems).to.equal(1);
      expect(refused.problems).to.include("not signed").and.to.include(`you signed size ${held}`);
      const shown = await readFile(join(cwd, "witness-1.checkpoint.contradiction"), "utf8");
      expect(shown).to.equal(await ok(["audit", "checkpoint"]));
      expect(await readFile(join(cwd, "witness-1.checkpoint"), "utf8")).to.equal(kept);
    }
    expect(Number((await ok(["audit", "checkpoint"])).split("\n")[1])).to.be.greaterThan(held);
  });
});
