/** The client's README runs as printed. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { generateKeyPairSync } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { startServer } from "./server.ts";

const readme = readFileSync(new URL("../../../clients/typescript/README.md", import.meta.url), "utf8");

describe("the client's README", () => {
  it("has snippets that run, and import only what the package exports", async () => {
    const all = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code);
    // What takes a ledger runs in test/e2e/keys.test.ts, what takes a module in test/e2e/client-streams.test.ts.
    const snippets = all.filter(
      (code) => code !== undefined && !/walkKeys|verifyDecision|verify\(file|sigil\.run\(/.test(code),
    );
    expect(snippets).to.have.length(5);
    // Inside the repository, so that the package is found by its name.
    const directory = await mkdtemp(join(import.meta.dirname, ".readme-"));
    await using server = await startServer();
    const lines: unknown[][] = [];
    const run = { target: server.target, privateKey: generateKeyPairSync("ed25519").privateKey, lines };
    const given = `const { target, privateKey, lines } = globalThis[Symbol.for("sigil.readme")];
      const tls = "insecure";
      const console = { log: (...words: unknown[]) => lines.push(words), error: (...words: unknown[]) => lines.push(words) };`;
    Reflect.set(globalThis, Symbol.for("sigil.readme"), run);
    try {
      const file = join(directory, "snippet.ts");
      await writeFile(file, [given, ...snippets].join("\n"));
      await import(pathToFileURL(file).href);
      // The test's server decides but keeps no proofs.
      expect(lines).to.deep.equal([
        ["UNIMPLEMENTED", "", undefined],
        ["refunded 7"],
        ["1", true],
        [1n, '{"soup":"leek","plates":40}'],
        [1n],
        [2n],
      ]);
      expect(server.seen.metadata).to.have.length(5);
    } finally {
      Reflect.deleteProperty(globalThis, Symbol.for("sigil.readme"));
      await rm(directory, { recursive: true });
    }
  });
});
