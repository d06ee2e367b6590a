/** Where a queue is, as `--from` says it. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseSqsAddress } from "../../../src/cli/project/sqs-address.ts";

describe("the address of a queue", () => {
  it("is its region and name, or the URL that SQS shows", () => {
    const local = parseSqsAddress("sqs://eu-west-1/sigil.fifo", "http://127.0.0.1:9324");
    expect(local).to.deep.equal({
      region: "eu-west-1",
      queue: "sigil.fifo",
      endpoint: "http://127.0.0.1:9324",
      owner: "",
    });
    const shown = parseSqsAddress("https://sqs.eu-west-1.amazonaws.com/123456789012/sigil.fifo", "");
    expect(shown).to.deep.equal({
      region: "eu-west-1",
      queue: "sigil.fifo",
      endpoint: "",
      owner: "123456789012",
    });
    for (const text of [
      "sqs://sigil.fifo",
      "https://sqs.eu-west-1.amazonaws.com.example/123456789012/sigil.fifo",
      "https://example/123456789012/sigil.fifo",
      "sqs://eu-west-1/a/b",
    ])
      expect(parseSqsAddress(text, ""), text).to.equal(undefined);
  });
});
