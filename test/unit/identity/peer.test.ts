/** Whom an address stands for, and whose idempotency keys are whose. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { anonymous, idempotencyScope, type Caller } from "../../../src/identity/caller.ts";
import { peerOf } from "../../../src/identity/peer.ts";

const rows: readonly (readonly [address: string | undefined, peer: string])[] = [
  ["192.0.2.7", "192.0.2.7"],
  ["::ffff:192.0.2.7", "192.0.2.7"],
  ["::ffff:c000:207", "192.0.2.7"],
  ["0:0:0:0:0:ffff:192.0.2.7", "192.0.2.7"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::1", "2001:db8:1:2::/64"],
  ["2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"],
  ["2001:db8:1:3::1", "2001:db8:1:3::/64"],
  ["2001:0DB8:0001:0002::1", "2001:db8:1:2::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["::", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["64:ff9b::192.0.2.7", "64:ff9b:0:0::/64"],
  [undefined, "local"],
];

describe("the peer of an anonymous caller", () => {
  for (const [address, peer] of rows) {
    it(`at ${address ?? "no address"} is ${peer}`, () => expect(peerOf(address)).to.equal(peer));
  }

  it("is the local one for what is no address", () => {
    for (const text of [
      "",
      "unknown",
      "1:2:3",
      "1:2:3:4:5:6:7:8:9",
      "1::2::3",
      "g::1",
      "1:2:3:4:5:6:7:8::",
    ]) {
      expect(peerOf(text), text).to.equal("local");
    }
  });
});

describe("the scope of an idempotency key", () => {
  const principal: Caller = { ...anonymous, principal: "ann", tenant: "acme", credential: "token" };
  const from = (peer: string): Caller => ({ ...anonymous, peer });
  const scopeOf = (caller: Caller) => idempotencyScope(caller, "Check", "k")?.caller;

  it("is the principal's, and an anonymous caller's by its peer", () => {
    expect(scopeOf(principal)).to.equal("ann");
    expect(scopeOf(from("192.0.2.7"))).to.equal(scopeOf(from("192.0.2.7")));
    expect(scopeOf(from("192.0.2.7"))).to.not.equal(scopeOf(from("192.0.2.8")));
  });

  it("of a peer is no principal's, whatever it is called", () => {
    const named = { ...principal, tenant: anonymous.tenant, principal: "192.0.2.7" };
    expect(scopeOf(named)).to.not.equal(scopeOf(from("192.0.2.7")));
  });
});
