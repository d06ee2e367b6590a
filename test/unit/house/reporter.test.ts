/** The reporter must never turn a failing run into a passing one, whatever the failure holds. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";

const mochaPath = join(repository, "node_modules/mocha/bin/mocha.js");

describe("the reporter", () => {
  it("fails a run whose failure holds a bigint, and reports it", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-reporter-"));
    try {
      const [test, report] = [join(directory, "fails.test.mjs"), join(directory, "report.json")];
      await writeFile(
        test,
        'it("fails", () => { throw Object.assign(new Error("planned"), { position: 1n, actual: { at: 2n } }); });\n',
      );
      const options = { cwd: repository, env: { ...process.env, TEST_REPORT: report, NODE_OPTIONS: "" } };
      const run = promisify(execFile)(
        process.execPath,
        [mochaPath, "--no-config", "--reporter", "test/reporter.ts", test],
        options,
      );
      const code = await run.then(
        () => 0,
        (error: { readonly code: number }) => error.code,
      );
      expect(code).to.equal(1);
      const { stats, failures } = JSON.parse(await readFile(report, "utf8")) as {
        readonly stats: { readonly failures: number };
        readonly failures: readonly {
          readonly fullTitle: string;
          readonly err: { readonly message: string };
        }[];
      };
      expect(stats.failures).to.equal(1);
      expect(failures[0]?.err.message).to.equal("planned");
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
