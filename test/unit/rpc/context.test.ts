/** Deadlines, request ids and trace context as a call brings them. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { Metadata } from "@grpc/grpc-js";
import { SigilFault } from "../../../src/errors.ts";
import { formatAddress, isLoopback, parseAddress } from "../../../src/config/address.ts";
import {
  allowedMs,
  credentialsOf,
  requestIdOf,
  traceparentOf,
  isTimeUp,
} from "../../../src/rpc/call/context.ts";
import { jsonOf } from "../../../src/rpc/message/json.ts";

const holding = (key: string, ...values: string[]): Metadata => {
  const metadata = new Metadata();
  for (const value of values) metadata.add(key, value);
  return metadata;
};

describe("what a call brings along", () => {
  it("takes a request id that can stand in logs and replaces any other", () => {
    const next = (): string => "made";
    const of = (...values: string[]): string => requestIdOf(holding("x-request-id", ...values), next);
    expect(of("order-17.A_b:c~")).to.equal("order-17.A_b:c~");
    for (const values of [[], [""], ["with space"], ['{"a":1}'], ["x".repeat(129)], ["a", "b"]]) {
      expect(of(...values), values.join()).to.equal("made");
    }
  });

  it("keeps a traceparent of the specification and no other", () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const valid = `00-${traceId}-b7ad6b7169203331-01`;
    const of = (value: string): string | undefined => traceparentOf(holding("traceparent", value));
    expect(of(valid)).to.equal(valid);
    const later = `01-${traceId}-b7ad6b7169203331-01`;
    expect(of(`${later}-more`)).to.equal(later);
    for (const broken of [
      `${valid}-more`,
      `ff-${traceId}-b7ad6b7169203331-01`,
      `00-${"0".repeat(32)}-b7ad6b7169203331-01`,
      `00-${traceId}-${"0".repeat(16)}-01`,
      valid.toUpperCase(),
      valid.slice(1),
      "",
    ]) {
      expect(of(broken), broken).to.equal(undefined);
    }
  });

  it("refuses two tokens in one call", () => {
    expect(() => credentialsOf(holding("authorization", "Bearer a", "Bearer b"), undefined)).to.throw(
      SigilFault,
    );
    expect(credentialsOf(holding("authorization", "Bearer a"), undefined)).to.deep.equal({
      authorization: "Bearer a",
    });
    expect(credentialsOf(new Metadata(), undefined)).to.deep.equal({});
  });

  it("watches deadlines that are missing or too long, and leaves the caller's own to the transport", () => {
    const rules = { deadlineMsDefault: 10, deadlineMsMax: 60 };
    expect(allowedMs(Infinity, 1000, rules)).to.deep.equal({ deadlineMs: 10, enforced: true });
    expect(allowedMs(1100, 1000, rules)).to.deep.equal({ deadlineMs: 60, enforced: true });
    expect(allowedMs(1060, 1000, rules)).to.deep.equal({ deadlineMs: 60, enforced: false });
    expect(allowedMs(new Date(900), 1000, rules)).to.deep.equal({ deadlineMs: 0, enforced: false });
  });
});

describe("addresses", () => {
  it("are read and written the same way", () => {
    for (const text of [
      "127.0.0.1:50051",
      "[::1]:0",
      "localhost:1",
      "sigil.example:65535",
      "0.0.0.0:80",
      "unix:/run/sigil.sock",
      "unix:s.sock",
    ]) {
      const address = parseAddress(text);
      expect(address === undefined ? "" : formatAddress(address)).to.equal(text);
    }
    for (const text of [
      "",
      ":1",
      "host",
      "host:",
      "host:65536",
      "::1:80",
      "[::1]",
      "[host]:1",
      "a b:1",
      "host:-1",
      "unix:",
      "unix:@abstract",
      "unix-abstract:name",
      "unix:/run/",
      "unix:/run/a\0b",
      `unix:/${"x".repeat(107)}`,
    ]) {
      expect(parseAddress(text), text).to.equal(undefined);
    }
  });

  it("are loopback only when nobody else can reach them", () => {
    const loopback = (text: string): boolean => isLoopback(parseAddress(text) ?? { host: "", port: 0 });
    for (const text of ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/run/sigil.sock"])
      expect(loopback(text)).to.equal(true);
    for (const text of ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "127.example:1", "localhost.example:1"]) {
      expect(loopback(text), text).to.equal(false);
    }
  });
});

describe("the JSON view of a payload", () => {
  it("shows bytes as base64 and large integers as text", () => {
    const value = { b: Uint8Array.of(1, 2, 3), n: 2n ** 60n, s: 5n, list: [null, true, 1.5, "x"] };
    expect(jsonOf(value)).to.equal('{"b":"AQID","n":"1152921504606846976","s":5,"list":[null,true,1.5,"x"]}');
  });

  it("shows a key named __proto__ like any other", () => {
    const map = Object.assign(Object.create(null) as object, JSON.parse('{"__proto__":1}'));
    expect(
      jsonOf(Object.defineProperty(Object.create(null), "__proto__", { value: 1, enumerable: true })),
    ).to.equal('{"__proto__":1}');
    expect(map).to.be.an("object");
  });
});

describe("the end of a caller's time", () => {
  it("is known by its deadline, from just before it on, and never for a caller without one", () => {
    expect(isTimeUp(10_000, 9_900)).to.equal(false);
    expect(isTimeUp(10_000, 9_990)).to.equal(true);
    expect(isTimeUp(new Date(10_000), 10_000)).to.equal(true);
    expect(isTimeUp(Infinity, 10_000)).to.equal(false);
  });
});
