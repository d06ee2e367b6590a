/** What libraries print is a line of the log, with nothing in it that nobody may read. */
import { createRequire } from "node:module";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { takeLibraryOutput } from "../../../src/log/library-output.ts";
import { createLog } from "../../../src/log/log.ts";

const canary = "canary7f3a9c51";
/** grpc-js's own way to its logger; 2 is ERROR. */
const { log: grpcLog } = createRequire(import.meta.url)("@grpc/grpc-js/build/src/logging.js") as {
  readonly log: (severity: number, ...values: readonly unknown[]) => void;
};

describe("the output of libraries", () => {
  let written: string;
  let printed: string;
  const write = process.stderr.write.bind(process.stderr);

  beforeEach(() => {
    written = "";
    printed = "";
    process.stderr.write = (part: string | Uint8Array) => {
      printed += typeof part === "string" ? part : Buffer.from(part).toString();
      return true;
    };
  });

  afterEach(() => {
    process.stderr.write = write;
  });

  const taking = (takes: "console" | "libraries") =>
    takeLibraryOutput(
      createLog({ level: "info", stream: { write: (line) => void (written += line) } }),
      takes,
    );

  const headers = [
    `Failed to add metadata entry authorization: Bearer x\u00e9${canary}. Metadata string value "Bearer ${canary}" contains illegal characters`,
    `Failed to add metadata entry x-api-key: \u00e9 ${canary} ${canary}. For more information`,
    `Failed to add metadata entry authorization: \u00e9,Bearer ${canary}\n${canary}`,
  ];

  it("is struck out when it is a header, and is a line of the log", () => {
    using _ = taking("libraries");
    for (const said of headers) grpcLog(2, said);
    expect(written.trimEnd().split("\n")).to.have.length(headers.length);
    expect(written).to.contain("Failed to add metadata entry").and.not.to.contain(canary);
    expect(printed).to.equal("");
  });

  it("is a line of the log when it is a warning of Node, unless a feature of Node is experimental", async () => {
    using _ = taking("libraries");
    process.emitWarning("a feature might change", "ExperimentalWarning");
    process.emitWarning(`a token: "${canary}"`, "SecurityWarning");
    await new Promise((resolve) => setImmediate(resolve));
    expect(written).to.contain("SecurityWarning").and.not.to.contain(canary);
    expect(written).not.to.contain("ExperimentalWarning");
    expect(printed).to.equal("");
  });

  it("is a line of the log when it is printed by console, where the process is the server's", () => {
    const { error } = globalThis.console;
    {
      using _ = taking("console");
      globalThis.console.error("said %s", `"${canary}"`, new Error(`authorization: ${canary}`));
      globalThis.console.log(`password=${canary}`);
    }
    expect(globalThis.console.error).to.equal(error);
    expect(written).to.contain("said").and.not.to.contain(canary);
    expect(printed).to.equal("");
  });
});
