/** One file of a model for every command that takes one, in either of its forms. */
import { GetActiveModelResponse, TrustModel } from "@sigil/client";
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseModelFile, readModelFile } from "../../../src/cli/proposal/model-file.ts";
import { readProposed } from "../../../src/cli/proposal/propose.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { parseTrustModel } from "../../../src/core/record/kinds.ts";
import { formatActiveModel, readCandidate } from "../../../src/rpc/trust/messages.ts";
import { parseHash } from "../../../src/core/bytes.ts";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";

const payload = JSON.stringify(defaultModelPayload, undefined, 1);
const active = formatActiveModel({
  id: "trust_model/active",
  hash: parseHash(new Uint8Array(32)),
  position: 0n,
  model: parseTrustModel(defaultModelPayload),
});
const answer = JSON.stringify(GetActiveModelResponse.toJSON(active), undefined, 2);
const bare = JSON.stringify(TrustModel.toJSON(active.model ?? TrustModel.fromPartial({})));
const record = `{"id":"trust_model/active","payload":${payload}}`;

describe("a file with a model", () => {
  const forms: readonly (readonly [claim: string, text: string])[] = [
    ["the payload of its record", payload],
    ["an answer of model get", answer],
    ["the model of such an answer", bare],
    ["a record to propose", record],
  ];
  for (const [claim, text] of forms) {
    it(`is simulated and proposed as one and the same model: ${claim}`, () => {
      expect(readCandidate(readModelFile(text, "FILE"))).to.deep.equal(defaultModelPayload);
      expect(parseModelFile(text, "FILE").payload).to.deep.equal(defaultModelPayload);
      const { content } = readProposed(
        text,
        text === answer || text === record ? undefined : "trust_model/active",
      );
      expect(content).to.have.property("$case", "payloadJson");
      expect(JSON.parse(content.$case === "payloadJson" ? content.value : "")).to.deep.equal(
        defaultModelPayload,
      );
    });
  }

  it("goes out character by character where it is a payload", () => {
    const { content } = readProposed(payload, "trust_model/active");
    expect(content).to.deep.equal({ $case: "payloadJson", value: payload });
  });

  const model = defaultModelPayload as CborMap;
  const refused: readonly (readonly [claim: string, text: string, rule: string])[] = [
    ["is no JSON", "{", "is not JSON"],
    ["holds none", "[]", "holds no model"],
    ["has a field that no model has", JSON.stringify({ ...model, treshold: 1 }), 'did you mean "threshold"'],
    ["lacks a field", JSON.stringify({ ...model, rate: undefined }), '"rate" is missing'],
    ["names a level that there is not", payload.replace('"operator"', '"king"'), "must be guest, observer"],
    [
      "says one thing twice, so that two readers could take either",
      payload.replace('"bias"', '"threshold": 0.1, "bias"'),
      '"threshold" occurs twice',
    ],
    [
      "has one row twice",
      payload.replace('"actions": {', '"actions": { "read": {"risk": 0, "min_loa": "guest"},'),
      '"read" occurs twice',
    ],
  ];
  for (const [claim, text, rule] of refused) {
    it(`is refused when it ${claim}`, () => {
      expect(() => readModelFile(text, "FILE")).to.throw(rule);
    });
  }
});
