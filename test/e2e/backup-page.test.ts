/** docs/operating/backup.md, "Onto another machine": its lines as they are printed, where nothing of the first machine is left. */
import { cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { freePorts, serving, sigilHere, type Ended, type Serving } from "./command.ts";

const page = join(import.meta.dirname, "../../docs/operating/backup.md");

/** The commands of the section's block, a word each. */
const printed = async (): Promise<readonly (readonly string[])[]> => {
  const [, section = ""] = (await readFile(page, "utf8")).split("## Onto another machine");
  const [, block = ""] = /```sh\n([\s\S]*?)```/.exec(section) ?? [];
  return block.split("\n").flatMap((line) => (line.startsWith("sigil ") ? [line.split(" ").slice(1)] : []));
};

describe("a restore onto another machine", function () {
  this.timeout(60_000);
  this.slow(20_000);

  it("goes as the page prints it", async () => {
    // As src/main.ts sets it: the commands run in this process.
    process.umask(0o077);
    const parent = await mkdtemp(join(tmpdir(), "sigil-machines-"));
    let server: Serving | undefined;
    try {
      const first = join(parent, "first");
      const second = join(parent, "second");
      await mkdir(first);
      await mkdir(second);
      const at = async (cwd: string, words: readonly string[]): Promise<string> => {
        const env = { SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" };
        const { exitCode, output, problems }: Ended = await sigilHere(words, { cwd, env });
        expect(exitCode, `sigil ${words.join(" ")}: ${problems}`).to.equal(0);
        return output;
      };
      const init = ["init", "--data", "data", "--dev", "--origin", "machines.test", "--json"];
      const { genesis } = JSON.parse(await at(first, init)) as { readonly genesis: string };
      server = await serving(["serve", "--data", "data", ...freePorts], { cwd: first });
      const asked = await at(first, ["check", "--action", "read", "--target", "public/docs", "--json"]);
      const { auditId } = JSON.parse(asked) as { readonly auditId: string };
      const witness = ["--witness", "witness-1", "--key", "data.keys/witness-1.pem"];
      await at(first, ["witness", "cosign", ...witness, "--genesis", genesis, "--state", "held"]);
      await at(first, ["backup", "--to", "backup", "--key", "data.keys/root.pem", "--principal", "root"]);
      await server.stop();
      for (const [from, to] of [
        ["backup", "backup"],
        ["data.kek", "sigil.kek"],
        ["held", "alice.checkpoint"],
        ["data.keys/root.pem", "root.pem"],
      ] as const) {
        await cp(join(first, from), join(second, to), { recursive: true });
      }
      await rm(first, { recursive: true });
      const names: string[] = [];
      for (const words of await printed()) {
        names.push(words[0] ?? "");
        const own = words.map((word) => {
          if (word === "5be4f6a1…") return genesis;
          return word === "0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11" ? auditId : word;
        });
        if (words[0] === "serve") server = await serving([...own, ...freePorts], { cwd: second });
        else {
          const output = await at(second, own);
          if (words[0] === "canon") expect(output).to.match(/restoration\/[0-9a-f-]{36}/);
        }
      }
      expect(names).to.deep.equal(["restore", "fsck", "serve", "keys", "audit", "canon", "backup"]);
    } finally {
      await server?.stop();
      await rm(parent, { recursive: true, force: true });
    }
  });
});
