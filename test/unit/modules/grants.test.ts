/** What a running module may ask for. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { isGranted } from "../../../src/modules/sandbox/grants.ts";

describe("what a running module asks of the server", () => {
  it("is granted below the one prefix that its manifest names, and nowhere else", () => {
    const capabilities = ["canon.read:notes/"] as const;
    const may = (id: string): boolean => isGranted({ kind: "canon.read", id }, capabilities);
    expect(["notes/1", "notes/", "notes", "Notes/1", "other/notes/1", ""].map(may)).to.deep.equal([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
    expect(isGranted({ kind: "trust.check", action: "a", target: "notes/1" }, capabilities)).to.equal(false);
  });

  it("is granted a check only with that capability, which grants nothing else", () => {
    const request = { kind: "trust.check", action: "a", target: "t" } as const;
    expect(isGranted(request, ["trust.check"])).to.equal(true);
    expect(isGranted(request, ["clock", "random"])).to.equal(false);
    expect(isGranted({ kind: "canon.read", id: "a" }, ["trust.check"])).to.equal(false);
  });
});
