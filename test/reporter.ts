/**
 * Mocha's spec output, and beside it mocha's own JSON report in build/tests.json, which `npm run claims` and .ci/run
 * read. Where CI is set a skipped test fails the run, unless its title matches TEST_MAY_SKIP (a regular expression that
 * .ci/run sets for what the machine cannot do).
 */
import mocha, { type MochaOptions, type Runner, type Test } from "mocha";

const reportPath = process.env["TEST_REPORT"] ?? "build/tests.json";

class SpecAndJson extends mocha.reporters.Spec {
  readonly #skipped: string[] = [];

  constructor(runner: Runner, options?: MochaOptions) {
    super(runner, options);
    // After Spec has printed them and before the JSON report is made: its writer fails on a bigint in an error, and
    // then the whole run would end as if nothing had failed.
    const failed: Test[] = [];
    runner.on("fail", (test) => failed.push(test));
    runner.once("end", () => {
      for (const test of failed) test.err = plainError(test.err);
    });
    const toFile = { ...options, reporterOption: { output: reportPath } };
    // A reporter works by listening to the runner; nothing else holds it.
    void new mocha.reporters.JSON(runner, toFile);
    runner.on("pending", (test) => this.#skipped.push(test.fullTitle()));
  }

  override done(failures: number, finish: (failures: number) => void): void {
    const mayNot = process.env["CI"] === undefined ? [] : this.#skipped.filter((title) => !maySkip(title));
    for (const title of mayNot) process.stdout.write(`  skipped, and CI skips nothing: ${title}\n`);
    finish(failures + mayNot.length);
  }
}

/** The message and the stack alone. */
const plainError = (error: Error | undefined): Error => {
  const plain = new Error(error?.message ?? "failed");
  plain.stack = error?.stack ?? plain.message;
  return plain;
};

const maySkip = (title: string): boolean => {
  const pattern = process.env["TEST_MAY_SKIP"] ?? "";
  return pattern !== "" && new RegExp(pattern).test(title);
};

export default SpecAndJson;
