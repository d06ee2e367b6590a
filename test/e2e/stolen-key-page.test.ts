/**
 * Stopping a principal from the command line: what is refused and how, and what is shown. The lines of the page are
 * operating-pages.test.ts's.
 */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { freePorts, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";

describe("a stolen key", function () {
  this.slow(20_000);
  let cwd = "";
  let server: Serving | undefined;
  const run = (words: readonly string[]): Promise<Ended> =>
    sigilHere(words, { cwd, env: { SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" } });
  const ok = async (words: readonly string[]): Promise<string> => {
    const { exitCode, output, problems } = await run(words);
    expect(exitCode, `sigil ${words.join(" ")}: ${problems}`).to.equal(0);
    return output;
  };
  const asRoot = ["--key", "root.pem", "--principal", "root"];

  before(async () => {
    process.umask(0o077);
    cwd = await mkdtemp(join(tmpdir(), "sigil-stolen-"));
    await ok(["init", "--data", "data", "--dev", "--origin", "stolen.test"]);
    for (const name of ["root", "mentor", "operator", "observer", "admin", "witness-1", "witness-2"]) {
      await cp(join(cwd, `data.keys/${name}.pem`), join(cwd, `${name}.pem`));
    }
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
  });
  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("is told what is wrong, with the exit code of a refusal", async () => {
    const suspend = (...words: readonly string[]) =>
      run(["principal", "suspend", ...words, "--reason", "x", ...asRoot]);
    const refused = await suspend("root");
    expect(refused.exitCode).to.equal(1);
    expect(refused.problems).to.contain("LAST_ROOT");
    expect((await suspend("nobody")).exitCode).to.equal(2);
    for (const wrong of [
      ["principal", "suspend", "operator", ...asRoot],
      ["principal", "suspend", "--reason", "x", ...asRoot],
      ["principal", "suspend", "operator", "--reason", "x", "--thumbprint", "abc", ...asRoot],
      ["principal", "lift", "--reason", "x", ...asRoot],
      ["principal", "list", "--level", "king", ...asRoot],
    ]) {
      const { exitCode, problems } = await run(wrong);
      expect(exitCode, problems).to.equal(2);
    }
  });

  it("shows principals as JSON too, a value a line, and again what stands", async () => {
    const lines = (await ok(["principal", "list", "--json", ...asRoot])).trim().split("\n");
    const ids = lines.map((line) => (JSON.parse(line) as { readonly id: string }).id);
    expect(ids).to.include.members(["root", "mentor", "operator", "observer"]);
    const words = ["principal", "suspend", "operator", "--reason", "again", "--json", ...asRoot];
    expect(JSON.parse(await ok(words))).to.not.have.property("alreadySuspended");
    const again = JSON.parse(await ok(words)) as { readonly alreadySuspended?: boolean };
    expect(again.alreadySuspended).to.equal(true);
    const text = await ok(words.filter((word) => word !== "--json"));
    expect(text).to.contain("It was suspended before").and.contain("sigil principal lift operator");
    const shown = await ok(["principal", "show", "--key", "mentor.pem", "--principal", "mentor"]);
    expect(shown).to.match(/^ACTIVE  mentor\n/);
  });
});
