/** Every campaign says how it is called. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";

const repository = join(import.meta.dirname, "../../..");
const manifest = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as {
  readonly scripts: Readonly<Record<string, string>>;
};
const campaigns = Object.entries(manifest.scripts).filter(([name]) => name.startsWith("campaign:"));

const call = (name: string, ...words: readonly string[]) => {
  const [, file = ""] = campaigns.find(([each]) => each === name)?.[1].split(" ") ?? [];
  return spawnSync(process.execPath, [file, ...words], { cwd: repository, encoding: "utf8" });
};

describe("campaigns", () => {
  it("all read their options in one place, under their own name", () => {
    expect(campaigns).not.to.deep.equal([]);
    for (const [name, command] of campaigns) {
      const [, file = ""] = command.split(" ");
      const text = readFileSync(join(repository, file), "utf8");
      expect(text, file).to.include("readOptions(");
      expect(text, file).to.match(new RegExp(`["\`]${name} \\[`));
    }
  });

  it("print their usage and an example when asked for help, and with an unknown option", () => {
    const help = "usage: campaign:quorum [--count N] [--seed S]\nexample: npm run campaign:quorum -- --count";
    const asked = call("campaign:quorum", "--help");
    expect(asked.stdout).to.include(help);
    expect(asked.status).to.equal(0);
    for (const words of [["--nonsense"], ["--count", "few"]]) {
      const refused = call("campaign:quorum", ...words);
      expect(refused.stderr, words.join(" ")).to.include(help);
      expect(refused.status, words.join(" ")).to.equal(2);
    }
  });
});
