/** Files of proposals and how long proposals live. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { readProposed } from "../../../src/cli/proposal/propose.ts";
import { parseLifetime } from "../../../src/cli/proposal/proposing.ts";

describe("a file that is proposed", () => {
  it("goes out character by character, alone or beside its id", () => {
    const payload = '{ "n": 9007199254740993, "n": 1.0, "t": "\\u0041" }';
    const content = { $case: "payloadJson", value: payload };
    expect(readProposed(payload, "module/a")).to.deep.equal({ id: "module/a", content });
    const whole = `{"payload": ${payload},\n "id": "module/b"}`;
    expect(readProposed(whole, undefined)).to.deep.equal({ id: "module/b", content });
  });

  const refused: readonly (readonly [text: string, rule: string])[] = [
    ["", "not JSON"],
    ["{", "not JSON"],
    ['{"id":"a","payload":{},}', "not JSON"],
    ['{"id":"a","payload":{}} // x', "not JSON"],
    ["[]", "the file must be"],
    ['{"id":"a"}', "the file must be"],
    ['{"id":1,"payload":{}}', "the file must be"],
    ['{"id":"a","id":"b","payload":{}}', "occurs twice"],
    ['{"id":"a","payload":{},"reason":"x"}', '"reason" has no place'],
  ];
  for (const [text, rule] of refused) {
    it(`is refused as ${text === "" ? "nothing" : text}`, () => {
      expect(() => readProposed(text, undefined)).to.throw(rule);
    });
  }
});

describe("a lifetime", () => {
  it("is seconds, minutes, hours or days", () => {
    const texts = ["90s", "30m", "12h", "7d", undefined];
    expect(texts.map(parseLifetime)).to.deep.equal([90, 1800, 43_200, 604_800, 0]);
  });
  for (const text of ["0s", "31d", "7", "-1d", "1.5h", "1w", "", "999999999d"]) {
    it(`is not "${text}"`, () => {
      expect(() => parseLifetime(text)).to.throw("--lifetime");
    });
  }
});
