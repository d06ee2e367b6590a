/** Files of requests, and how text of others is shown. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseRequests } from "../../../src/cli/check/requests.ts";
import { formatPairs, formatTable } from "../../../src/cli/terminal/terminal.ts";
import { repository } from "../../../scripts/run.ts";

describe("a file of requests", () => {
  it("sends text as it is, other JSON compact, and base64 as bytes", () => {
    const lines = [
      { action: "a", target: "t", input: "héllo" },
      { action: "a", target: "t", input: { b: [1, 2] } },
      { action: "a", target: "t", input_base64: "AP8=", keep_input: true },
      { action: "a", target: "t" },
    ];
    const requests = parseRequests(lines.map((line) => JSON.stringify(line)).join("\n\n"));
    const inputs = requests.map(({ request }) => Buffer.from(request.input).toString("hex"));
    const text = (value: string): string => Buffer.from(value).toString("hex");
    expect(inputs).to.deep.equal([text("héllo"), text('{"b":[1,2]}'), "00ff", ""]);
    expect(requests.map(({ line }) => line)).to.deep.equal([1, 3, 5, 7]);
    expect(requests.map(({ request }) => request.keepInput)).to.deep.equal([false, false, true, false]);
  });

  const refused: readonly (readonly [line: string, rule: string])[] = [
    ["{", "line 1 is not JSON"],
    ["[]", "line 1 must be a JSON object"],
    ["null", "line 1 must be a JSON object"],
    ['{"acton":"a"}', 'did you mean "action"'],
    ['{"action":1}', "line 1: action must be text"],
    ['{"keep_input":"yes"}', "keep_input must be true or false"],
    ['{"input":"a","input_base64":"AA=="}', "both input and input_base64"],
    ['{"input_base64":"%"}', "input_base64 must be base64"],
    ["", "no request"],
  ];
  for (const [line, rule] of refused) {
    it(`refuses ${line === "" ? "an empty file" : line}`, () => {
      expect(() => parseRequests(line)).to.throw(rule);
    });
  }

  it("of the tour holds at least 200, no two alike, of every sample subject", () => {
    const requests = parseRequests(readFileSync(join(repository, "examples/requests.jsonl"), "utf8"));
    const texts = new Set(requests.map(({ request }) => JSON.stringify(request)));
    expect(texts.size).to.be.at.least(200).and.to.equal(requests.length);
    const subjects = new Set(requests.map(({ request }) => request.subject));
    expect(subjects).to.include.all.keys("", "guest", "observer", "operator", "mentor", "admin");
    expect(new Set(requests.map(({ request }) => request.action)).size).to.be.at.least(50);
    expect(new Set(requests.map(({ request }) => request.target)).size).to.be.at.least(100);
  });
});

describe("text on a terminal", () => {
  it("is aligned under its titles, numbers to the right, long words cut", () => {
    const columns = [{ title: "NAME", widthMax: 6 }, { title: "N", align: "right" } as const, { title: "X" }];
    const rows = [
      ["ab", "1", "x"],
      ["abcdefgh", "20", ""],
    ];
    expect(formatTable(columns, rows).split("\n")).to.deep.equal([
      "NAME     N  X",
      "ab       1  x",
      "abcde…  20",
    ]);
  });

  it("keeps nothing that could move the cursor or hide words", () => {
    const hostile = "a\u001b[2Jb\rc\nd\u202ee";
    const shown = formatTable([{ title: "T" }], [[hostile]]) + formatPairs([["k", hostile]]);
    for (const control of ["\u001b", "\r", "\u202e"]) expect(shown).to.not.include(control);
    expect(shown.split("\n")).to.have.lengthOf(2);
  });
});
