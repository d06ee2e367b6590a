/** Pages that list what there is leave nothing out. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";
import { commandNames } from "../../../src/cli/command-line.ts";

const page = (name: string): string => readFileSync(join(repository, "docs/operating", name), "utf8");

describe("the pages for operators", () => {
  it("list every command", () => {
    const rows = [...page("commands.md").matchAll(/^\| (`[^|]*?) +\|/gm)].flatMap(([, cell = ""]) => {
      const [first = "", ...others] = [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
      const group = first.split(" ").slice(0, -1);
      return [first, ...others.map((name) => [...group, name].join(" "))];
    });
    expect(commandNames.filter((name) => !rows.includes(name))).to.deep.equal([]);
  });

  it("name every service that is served", () => {
    const permissions = readFileSync(join(repository, "src/identity/permissions.ts"), "utf8");
    const services = new Set([...permissions.matchAll(/"\/(sigil\.[\w.]+)\//g)].map(([, name = ""]) => name));
    expect(services.size).to.be.at.least(7);
    const running = page("running.md");
    expect([...services].filter((name) => !running.includes(`\`${name}\``))).to.deep.equal([]);
  });
});
