/** docs/spec/threats.md names tests that are there. */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";

const tests = readdirSync(join(repository, "test"), { recursive: true, encoding: "utf8" }).filter((path) =>
  path.endsWith(".test.ts"),
);
const page = readFileSync(join(repository, "docs/spec/threats.md"), "utf8");
/** A file's name and a test's title in it, or the title's beginning. */
const named = [...page.matchAll(/`([a-z-]+)` `([^`]+)`/g)].map(([, file = "", title = ""]) => ({
  file,
  title,
}));

describe("the table of threats", () => {
  it("names a test for most of what is caught", () => {
    expect(named).to.have.length.above(12);
  });

  for (const { file, title } of named) {
    it(`names a test that is there: ${file} "${title}"`, () => {
      const found = tests.filter((path) => basename(path) === `${file}.test.ts`);
      expect(found, "the file").to.not.deep.equal([]);
      const texts = found.map((path) => readFileSync(join(repository, "test", path), "utf8"));
      const isThere = texts.some((text) => text.includes(`("${title}`) || text.includes(`(\`${title}`));
      expect(isThere, "the title").to.equal(true);
    });
  }
});
