/**
 * The examples of README.md work as printed: each shell block is run, and what stands under it is found in its output.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { freePortsAndHttp, serving, type Serving } from "./command.ts";
import { expectAsPrinted, printedOn, searchPath } from "./printed.ts";

const examples = printedOn("README.md");

/** Other tests run these: `npm test` itself, the tour's, and `sigil dev`'s. */
const setUp = ["npm ci && npm run tour\n", "npm ci && npm test\n", "npm start\n"];

const hasGrpcurl = searchPath.split(delimiter).some((folder) => existsSync(join(folder, "grpcurl")));

describe("README.md", function () {
  this.slow(8000);
  let home = "";
  let server: Serving | undefined;

  before(async () => {
    home = await mkdtemp(join(tmpdir(), "sigil-readme-"));
    server = await serving(["dev", ...freePortsAndHttp], { cwd: home });
  });

  after(async () => {
    await server?.stop();
    await rm(home, { recursive: true, force: true });
  });

  it("shows how to set up, and nothing but examples besides", () => {
    expect(examples.map(({ script }) => script)).to.include.members(setUp);
    expect(examples.length).to.be.at.least(setUp.length + 5);
  });

  it("names the page that is served", async () => {
    const answer = await fetch(`${server?.httpUrl}/ui`);
    expect([answer.status, answer.headers.get("content-type")]).to.deep.equal([
      200,
      "text/html; charset=utf-8",
    ]);
  });

  for (const example of examples.filter(({ script }) => !setUp.includes(script))) {
    it(`works as printed at line ${example.line}`, async function () {
      // Without grpcurl there is nobody to call with: scripts/services.sh install grpcurl.
      if (example.script.includes("grpcurl") && !hasGrpcurl) this.skip();
      await expectAsPrinted(example, {
        target: server?.target ?? "",
        home,
        replaced: [[/http:\/\/127\.0\.0\.1:50053/g, server?.httpUrl ?? ""]],
      });
    });
  }
});
