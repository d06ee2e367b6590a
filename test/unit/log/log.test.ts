/** The log: one JSON object a line, secrets struck out. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { createLog, describeCause, strikeOut } from "../../../src/log/log.ts";
import { forPeople } from "../../../src/log/pretty.ts";
import { logMessageCharactersMax } from "../../../src/limits.ts";

const token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJtZSJ9.c2ln";

describe("the log", () => {
  it("strikes out what looks like a credential, a key or quoted input", () => {
    for (const secret of [
      token,
      `Bearer ${token}`,
      "bearer abc",
      '"quoted input"',
      "'quoted input'",
      "A".repeat(44),
      "0f".repeat(32),
    ]) {
      expect(strikeOut(`before ${secret} after`)).to.equal("before [struck] after");
    }
    expect(strikeOut("connect ECONNREFUSED 127.0.0.1:1")).to.equal("connect ECONNREFUSED 127.0.0.1:1");
  });

  it("strikes out what is quoted and never closed", () => {
    expect(strikeOut('Unexpected token in "half of an input')).not.to.contain("half");
  });

  it("cuts long messages, and shows causes without what they quote", () => {
    expect(strikeOut("x ".repeat(1000)).length).to.equal(logMessageCharactersMax);
    const shown = JSON.stringify(
      describeCause(new Error("outer", { cause: new TypeError(`inner ${token}`) })),
    );
    expect(shown).to.contain("outer").and.to.contain("TypeError").and.not.to.contain(token);
  });

  it("shows nothing of a thrown value that is no error", () => {
    expect(describeCause("a secret")).to.deep.equal({ type: "string" });
  });

  it("has no way for a field of a secret's name", () => {
    let written = "";
    const log = createLog({ level: "info", stream: { write: (line) => void (written += line) } });
    log.info({ token: "s3cret", call: { authorization: "s3cret", input: "s3cret" } }, "said");
    expect(written).to.contain("said").and.not.to.contain("s3cret");
  });

  it("says when in UTC and that it is, for people and for machines, whatever the machine's zone", () => {
    const zone = process.env["TZ"];
    try {
      for (const machine of ["Pacific/Auckland", "America/St_Johns"]) {
        process.env["TZ"] = machine;
        for (const pretty of [true, false]) {
          let written = "";
          const stream = { write: (line: string) => void (written += line) };
          const before = Date.now();
          createLog({ level: "info", stream: pretty ? forPeople(stream) : stream }).info("said");
          const [time = ""] = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/.exec(written) ?? [];
          expect(Date.parse(time), written).to.be.within(before, Date.now());
          expect(written.match(/\d\d:\d\d/g), written).to.have.length(1);
        }
      }
    } finally {
      if (zone === undefined) delete process.env["TZ"];
      else process.env["TZ"] = zone;
    }
  });
});
