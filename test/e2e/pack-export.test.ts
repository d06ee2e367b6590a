/** Exports of evidence packs that are refused, withheld from, of nothing, or of an erased tenant. */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { utf8Encode } from "../../src/core/bytes.ts";
import { orderErasure, untilErased } from "./erased-world.ts";
import { PackWorld } from "./pack-world.ts";

describe("an export of an evidence pack", function () {
  this.slow(10_000);
  let world: PackWorld;

  before(async () => {
    world = await PackWorld.open();
    await world.decide(world.council.as("operator"), 2);
    world.to = await world.moment();
  });
  after(() => world[Symbol.asyncDispose]());

  it("is not made over what is there, of the future, of nothing known, or by a mapping that is none", async () => {
    const [name, first] = await world.export("--to", "2999-01-01");
    expect([first.exitCode, first.problems]).to.deep.equal([
      2,
      "sigil: --to must not be in the future: decisions may still come\n",
    ]);
    await mkdir(world.path(name));
    await writeFile(world.path(name, "mine"), "");
    const at = ["audit", "export", "--key", "observer.pem", "--principal", "observer", "--out", name];
    const over = await world.run(...at);
    expect([over.exitCode, over.problems]).to.deep.equal([
      2,
      `sigil: --out: ${name} is there, and is not empty; a pack is never written over\n`,
    ]);
    expect(await readdir(world.path(name))).to.deep.equal(["mine"]);
    const wrong = [
      [{ controls: [] }, "controls must be a list of 1 to 512"],
      [{ controls: [{ id: "A", filters: [{ verb: "x" }] }] }, "controls[0].filters[0].verb is not one of"],
      [
        { controls: [{ id: "A", filters: [{ verdict: "no" }] }] },
        "controls[0].filters[0].verdict must be one of",
      ],
      [{ controls: [{ id: "A", filters: [{ target: "a//b" }] }] }, "controls[0].filters[0].target must be"],
    ] as const;
    for (const [mapping, rule] of wrong) {
      await writeFile(world.path("wrong.json"), JSON.stringify(mapping));
      const [made, ended] = await world.export("--controls", "wrong.json");
      expect(ended.exitCode).to.equal(2);
      expect(ended.problems).to.include(`--controls: `).and.to.include(rule);
      expect((await readdir(world.cwd)).filter((each) => each.includes(made))).to.deep.equal([]);
    }
    const bare = world.newName();
    await mkdir(world.path(bare));
    const unreadable = await world.verify(bare);
    expect([unreadable.exitCode, unreadable.problems]).to.deep.equal([
      2,
      `sigil: ${bare} cannot be read as an evidence pack: ENOENT\n`,
    ]);
    const forbidden = await world.export("--tenant", "globex");
    expect(forbidden[1].exitCode).to.equal(2);
    expect(forbidden[1].problems).to.include("TENANT_FORBIDDEN");
    expect((await readdir(world.cwd)).filter((each) => each.startsWith("."))).to.deep.equal([]);
  });

  it("withholds what opens commitments when it is told, and is of nothing when there is nothing", async () => {
    const [withheld] = await world.export("--without-disclosures");
    const text = await world.read(withheld, "decisions.jsonl");
    expect(text).to.not.include("disclosures");
    expect(Buffer.from(text).includes(Buffer.from(utf8Encode("text 0")).toString("base64"))).to.equal(false);
    const held = await world.verify(withheld);
    expect(held.exitCode, held.output).to.equal(0);
    expect(held.output).to.match(/disclosures +skipped/);
    const span = ["--from", "2020-01-01", "--to", "2020-01-02"];
    const [, unknown] = await world.export(...span);
    expect(unknown.problems).to.include("--tenant NAME is needed");
    const [empty, ended] = await world.export(...span, "--caller", "operator");
    expect(ended.exitCode, ended.problems).to.equal(0);
    expect((await world.verify(empty)).output).to.match(/decisions +0\ncallers +1/);
  });

  it("of a tenant that was erased is refused, and leaves nothing", async () => {
    await world.decide(world.globex, 1);
    await world.council.approve(await orderErasure(world.council, "globex"), "ann", "ben");
    await untilErased(world.council);
    const [name, ended] = await world.export(
      "--tenant",
      "globex",
      "--key",
      "root.pem",
      "--principal",
      "root",
    );
    expect([ended.exitCode, ended.output]).to.deep.equal([2, ""]);
    expect(ended.problems).to.include("ERASED");
    expect((await readdir(world.cwd)).filter((each) => each.includes(name))).to.deep.equal([]);
  });
});
