/** What calls are sent with: the last token's header is kept, and nothing that one call's tracer adds to it. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { connect } from "@sigil/client";
import { CallHeaders } from "../../../clients/typescript/src/call.ts";
import { startServer } from "./server.ts";

const question = { action: "write", target: "user/notes" };

describe("the headers of calls", () => {
  it("are each call's own, by the token of this call, with the size that replies may have", () => {
    const headers = new CallHeaders(1024);
    const [first, again, other, none] = ["one", "one", "two", undefined].map((token) => headers.with(token));
    first?.set("traceparent", "00-1-2-01");
    expect(again?.getMap()).to.deep.equal({ "sigil-reply-bytes-max": "1024", authorization: "Bearer one" });
    expect(headers.with("one").get("traceparent")).to.deep.equal([]);
    expect(other?.getMap()).to.deep.equal({ "sigil-reply-bytes-max": "1024", authorization: "Bearer two" });
    none?.set("authorization", "Bearer three");
    expect(headers.with(undefined).getMap()).to.deep.equal({ "sigil-reply-bytes-max": "1024" });
    expect(new CallHeaders(undefined).with(undefined).getMap()).to.deep.equal({});
  });

  it("follow a source whose tokens change, come later, or end in a line end as a mounted file does", async () => {
    await using server = await startServer();
    const tokens = ["one", "one", "one\n", Promise.resolve("two\r\n"), "three"];
    let asked = 0;
    const signer = { token: () => tokens[(asked += 1) - 1] as string };
    using sigil = connect({ target: server.target, tls: "insecure", signer });
    for (const _ of tokens) await sigil.check(question);
    const sent = server.seen.metadata.map((metadata) => metadata.get("authorization"));
    expect(sent).to.deep.equal(["one", "one", "one", "two", "three"].map((token) => [`Bearer ${token}`]));
    using broken = connect({ target: server.target, tls: "insecure", signer: { token: () => "one\n\n" } });
    const refused = await broken.check(question).catch((thrown: unknown) => thrown);
    expect(refused).to.include({ reason: "TOKEN_SOURCE_FAILED" });
  });
});
