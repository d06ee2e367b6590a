/**
 * The Python client: its tests, by pytest, against servers started from this repository and servers that lie; its types
 * and its style, by mypy and ruff. `scripts/services.sh install python_sdk` brings what they need.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { repository, run } from "../../scripts/run.ts";

const folder = join(repository, "clients/python");
const environment = join(repository, "build/python-sdk/bin");

const { exitCode: found } = await run([join(environment, "python"), "-c", "import grpc, mypy, pytest, ruff"]);
const missing =
  found === 0 ? "" : " (skipped: no grpcio or pytest for Python: scripts/services.sh install python_sdk)";

const suites = readdirSync(join(folder, "tests/client")).filter((name) => /^test_\w+\.py$/.test(name));

const passes = async (command: readonly string[]): Promise<void> => {
  const [program = "", ...args] = command;
  const { exitCode, output } = await run([join(environment, program), ...args], {
    cwd: folder,
    env: { SIGIL_TEST_NODE: process.execPath, PYTHONDONTWRITEBYTECODE: "1" },
  });
  expect(exitCode, output).to.equal(0);
};

describe(`the Python client${missing}`, function () {
  this.slow(60_000);

  before(function () {
    if (missing !== "") this.skip();
  });

  for (const suite of suites) {
    it(`holds what ${suite} says`, () =>
      passes(["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", join("tests/client", suite)]));
  }

  it("has complete types", () =>
    passes(["mypy", "--cache-dir", join(repository, "build/mypy"), "src", "tests/client"]));

  const metadata = readFileSync(join(folder, "pyproject.toml"), "utf8");
  const versions = [...metadata.matchAll(/"Programming Language :: Python :: (3\.\d+)"/g)].map(
    ([, version = ""]) => version,
  );

  it("names the Pythons that it is for, from the oldest that can install it", () => {
    expect(versions).to.have.length.greaterThan(3);
    expect(/^requires-python = ">=(.+)"$/m.exec(metadata)?.[1]).to.equal(versions[0]);
    expect(/^target-version = "(.+)"$/m.exec(metadata)?.[1]).to.equal(`py${versions[0]?.replace(".", "")}`);
  });

  // Of the standard library as each version has it: names that came later or went are errors there.
  for (const version of versions) {
    it(`is for Python ${version}`, () =>
      passes(["mypy", "--cache-dir", join(repository, "build/mypy"), "--python-version", version, "src"]));
  }

  it("reads as its linter demands", () => passes(["ruff", "check", "--no-cache", "src", "tests"]));
});
