/** `sigil keys` against a server: list, rotate, retire, and the walk of somebody who has the genesis hash alone. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { freePorts, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";

const asRoot = ["--key", "data.keys/root.pem", "--principal", "root"];
type Key = { readonly thumbprint: string; readonly state: string };

describe("keys on the command line", function () {
  this.slow(5000);
  let cwd = "";
  let genesis = "";
  let server: Serving | undefined;
  const run = (...words: readonly string[]): Promise<Ended> =>
    sigilHere(["keys", ...words], { cwd, env: { SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" } });
  const ok = async (...words: readonly string[]): Promise<string> => {
    const { output, problems, exitCode } = await run(...words);
    expect(exitCode, problems).to.equal(0);
    return output;
  };
  const walked = async (): Promise<readonly Key[]> =>
    (JSON.parse(await ok("walk", "--genesis", genesis, "--json")) as { readonly keys: readonly Key[] }).keys;

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-keys-cli-"));
    const words = ["init", "--data", "data", "--dev", "--origin", "keys.test", "--json"];
    const made = await sigilHere(words, { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    ({ genesis } = JSON.parse(made.output) as { readonly genesis: string });
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
  });

  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("rotates a tenant's data key and lists its versions", async () => {
    const check = ["check", "--action", "read", "--target", "public/docs", "--server", server?.target ?? ""];
    await sigilHere(check, { cwd });
    expect(await ok("list", "--tenant", "public", ...asRoot)).to.match(/public +1 +1 +\d+ +sealing/);
    expect(await ok("rotate", "data", "--tenant", "public", "--expect", "1", ...asRoot)).to.match(
      /public +2 +0 +\d+ +sealing/,
    );
    const again = await run("rotate", "data", "--tenant", "public", "--expect", "1", ...asRoot);
    expect(again.exitCode).to.equal(1);
    expect(again.problems).to.contain("KEY_REPLACED");
    await sigilHere(check, { cwd });
    const { dataKeys } = JSON.parse(await ok("list", "--tenant", "public", "--json", ...asRoot)) as {
      readonly dataKeys: readonly Key[];
    };
    expect(dataKeys.map(({ state }) => state)).to.deep.equal([
      "DATA_KEY_STATE_OPENING",
      "DATA_KEY_STATE_SEALING",
    ]);
    const nobody = await run("rotate", "data", "--tenant", "nobody", ...asRoot);
    expect(nobody.problems).to.contain("NOT_FOUND");
    expect((await run("rotate", "data", ...asRoot)).exitCode).to.equal(2);
    expect((await run("rotate", "record", "--tenant", "public", ...asRoot)).exitCode).to.equal(2);
  });

  it("rotates, retires and lists, and the walk follows", async () => {
    const [first] = await walked();
    const thumbprint = first?.thumbprint ?? "";
    expect(await ok("list", ...asRoot)).to.match(new RegExp(`record +${thumbprint} +0 +– +active`));
    expect(await ok("rotate", "record", "--expect", thumbprint, ...asRoot)).to.match(/record .* active/);
    const again = await run("rotate", "record", "--expect", thumbprint, ...asRoot);
    expect(again.exitCode).to.equal(1);
    expect(again.problems).to.contain("KEY_REPLACED");
    await ok("rotate", "checkpoint", ...asRoot, "--json");
    expect(await ok("retire", thumbprint, ...asRoot)).to.match(/retired from \d+/);
    expect((await walked()).map(({ state }) => state)).to.deep.equal([
      "retired",
      "ended",
      "active",
      "active",
    ]);
    const shown = await ok("walk", "--genesis", genesis);
    expect(shown)
      .to.match(/verified +4 records of keys\.test from genesis/)
      .and.match(/checkpoint +size \d+/);
    const listed = JSON.parse(await ok("list", "--json", ...asRoot)) as { readonly keys: readonly unknown[] };
    expect(listed.keys).to.have.length(4);
  });

  it("verifies single records from the genesis hash alone", async () => {
    const env = { SIGIL_CLIENT_SERVER: server?.target ?? "" };
    const here = (words: readonly string[]): Promise<Ended> => sigilHere(words, { cwd, env });
    const asked = await here(["check", "--action", "read", "--target", "public/docs", "--json"]);
    const { auditId } = JSON.parse(asked.output) as { readonly auditId: string };
    const proved = await here(["audit", "verify", auditId, "--genesis", genesis]);
    expect(proved.exitCode, proved.problems).to.equal(0);
    expect(proved.problems).to.contain("Verified here too");
    const record = ["canon", "get", "signing_key/record/2", "--system", ...asRoot];
    const got = await here([...record, "--genesis", genesis]);
    expect(got.exitCode, got.problems).to.equal(0);
    expect(got.problems).to.contain("Verified here");
    for (const words of [["audit", "verify", auditId], record]) {
      const refused = await here([...words, "--genesis", "00".repeat(32)]);
      expect(refused.exitCode).to.equal(1);
      expect(refused.problems).to.contain("not proved").and.contain("not the expected");
    }
  });

  it("refuses another genesis hash, other callers and slips", async () => {
    const stranger = await run("walk", "--genesis", "00".repeat(32));
    expect(stranger.exitCode).to.equal(1);
    expect(stranger.problems).to.contain("not the expected");
    expect((await run("rotate", "record")).exitCode).to.equal(1);
    for (const words of [
      ["walk", "--genesis", "12"],
      ["walk"],
      ["rotate", "seal", ...asRoot],
      ["rotate", "record", "--expect", "x", ...asRoot],
      ["retire", "x", ...asRoot],
      ["retire", (await walked())[0]?.thumbprint ?? "", "--from", "999999", ...asRoot],
    ]) {
      expect((await run(...words)).exitCode, words.join(" ")).to.equal(2);
    }
  });

  it("leaves records that are read like others, and a ledger without a flaw", async () => {
    const env = { SIGIL_CLIENT_SERVER: server?.target ?? "" };
    const thumbprint = (await walked())[0]?.thumbprint ?? "";
    for (const id of ["signing_key/record/2", `key_retirement/${thumbprint}`]) {
      const got = await sigilHere(["canon", "get", id, "--system", ...asRoot], { cwd, env });
      expect(got.exitCode, got.problems).to.equal(0);
      expect(got.output).to.contain("record");
    }
    await server?.stop();
    const checked = await sigilHere(["fsck", "--data", "data", "--json"], { cwd });
    expect(checked.exitCode, checked.output + checked.problems).to.equal(0);
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
    expect((await walked()).map(({ state }) => state)).to.deep.equal([
      "retired",
      "ended",
      "active",
      "active",
    ]);
  });
});
