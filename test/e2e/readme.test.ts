/** The examples of README.md work as printed: each shell block is run, and what stands under it is found in its output. */
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository, run } from "../../scripts/run.ts";
import { freePorts, serving, type Serving } from "./command.ts";

type Example = { readonly line: number; readonly script: string; readonly shown: readonly string[] };

const readme = readFileSync(join(repository, "README.md"), "utf8");
const fence = /^```(\w+)\n([\s\S]*?)^```$/gm;

const lineOf = (offset: number): number => readme.slice(0, offset).split("\n").length;

/** Shell blocks, each with the block of output right after it. */
const examples: readonly Example[] = (() => {
  const blocks = [...readme.matchAll(fence)].map(([, language, text], at, all) => ({
    language,
    text: text ?? "",
    line: lineOf(all[at]?.index ?? 0),
  }));
  return blocks.flatMap(({ language, text, line }, at) => {
    if (language !== "sh") return [];
    const next = blocks[at + 1];
    const isOutput = next?.language === "json" || next?.language === "text";
    return [{ line, script: text, shown: isOutput ? next.text.trim().split("\n") : [] }];
  });
})();

/** Other tests run these: `npm test` itself, the tour's, and `sigil dev`'s. */
const setUp = ["npm ci && npm run tour\n", "npm ci && npm test\n", "npm start\n"];

const localBin = join(repository, "build", "bin");
const path = [localBin, process.env["PATH"] ?? ""].join(delimiter);
const hasGrpcurl = path.split(delimiter).some((folder) => existsSync(join(folder, "grpcurl")));

/** protojson varies its white space on purpose. */
const squeezed = (text: string): string => text.replaceAll(/\s+/g, "");

describe("README.md", function () {
  this.timeout(60_000);
  this.slow(8000);
  let home = "";
  let server: Serving | undefined;

  before(async () => {
    home = await mkdtemp(join(tmpdir(), "sigil-readme-"));
    server = await serving(["dev", ...freePorts], { cwd: home });
  });

  after(async () => {
    await server?.stop();
    await rm(home, { recursive: true, force: true });
  });

  it("shows how to set up, and nothing but examples besides", () => {
    expect(examples.map(({ script }) => script)).to.include.members(setUp);
    expect(examples.length).to.be.at.least(setUp.length + 5);
  });

  for (const { line, script, shown } of examples.filter(({ script }) => !setUp.includes(script))) {
    it(`works as printed at line ${line}`, async function () {
      // Without grpcurl there is nobody to call with: scripts/services.sh install grpcurl.
      if (script.includes("grpcurl") && !hasGrpcurl) this.skip();
      const here = script
        .replaceAll("127.0.0.1:50051", server?.target ?? "")
        .replaceAll(".sigil/", `${home}/.sigil/`);
      const { exitCode, output } = await run(["bash", "-euo", "pipefail", "-c", here], {
        env: { PATH: [join(repository, "node_modules/.bin"), path].join(delimiter), ...clientEnvironment() },
      });
      expect(exitCode, output).to.equal(0);
      for (const each of shown) expect(squeezed(output), output).to.include(squeezed(each));
    });
  }

  const clientEnvironment = (): Readonly<Record<string, string>> => ({
    SIGIL_CLIENT_SERVER: server?.target ?? "",
  });
});
