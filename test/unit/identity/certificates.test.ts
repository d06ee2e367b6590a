/** Client certificates: which names stand for which principals, and that a doubtful one stands for nobody. */
import { expect } from "chai";
import { describe, it } from "mocha";
import type { PrincipalPayload } from "../../../src/core/record/kinds/governance.ts";
import { createIdentityResolver } from "../../../src/identity/resolver.ts";
import { createKey, mint, nowMs, origin, principalWith, reasonOf } from "./minting.ts";

const key = createKey();

const enrolled = new Map<string, PrincipalPayload>([
  ["agent", principalWith(key)],
  ["team/billing", principalWith(key, { loa: "mentor" })],
  ["dns:billing.example.org", principalWith(key, { tenant: "billing" })],
  ["dns:other.example.org", principalWith(key)],
  ["john+tag@example.com", principalWith(key)],
  ["Jörg", principalWith(key)],
  ["gone", principalWith(key, { active: false })],
]);

const resolver = createIdentityResolver({
  anonymous: "allow",
  principals: { find: async (id) => enrolled.get(id) },
  origin,
  nowMs: () => nowMs,
});
const identify = (subjectaltname?: string) => resolver.identify({ certificate: { subjectaltname } });

describe("client certificates", () => {
  it("map a SPIFFE id of the origin's trust domain to the principal in its path", async () => {
    const caller = await identify(`URI:spiffe://${origin}/team/billing`);
    expect(caller).to.deep.equal({
      principal: "team/billing",
      tenant: "acme",
      level: "mentor",
      credential: "certificate",
      peer: "",
    });
  });

  it("map a DNS name to the principal dns:<name>, in lower case", async () => {
    const caller = await identify("DNS:Billing.Example.ORG");
    expect(caller).to.include({ principal: "dns:billing.example.org", tenant: "billing" });
  });

  it("map a SPIFFE id by its canonical spelling, as every other way to name a principal", async () => {
    for (const [path, principal] of [
      ["/team//billing/", "team/billing"],
      ["/%74eam/billing", "team/billing"],
      ["/john%2Btag@example.com", "john+tag@example.com"],
      ["/john+tag@example.com", "john+tag@example.com"],
      ["/J%C3%B6rg", "Jörg"],
      ["/Jo%cc%88rg", "Jörg"],
    ] as const) {
      expect((await identify(`URI:spiffe://${origin}${path}`)).principal, path).to.equal(principal);
    }
  });

  it("use the one DNS name of several that is enrolled", async () => {
    const caller = await identify("DNS:a.example.org, DNS:billing.example.org, IP Address:127.0.0.1");
    expect(caller.principal).to.equal("dns:billing.example.org");
  });

  it("let the SPIFFE id decide alone when there are DNS names too", async () => {
    const caller = await identify(`DNS:billing.example.org, URI:spiffe://${origin}/agent`);
    expect(caller.principal).to.equal("agent");
    const strangers = `DNS:billing.example.org, URI:spiffe://${origin}/stranger`;
    expect(await reasonOf(() => identify(strangers))).to.equal("CERTIFICATE_UNMAPPED");
  });

  const unmapped: readonly (string | undefined)[] = [
    undefined,
    "",
    "DNS:a.example.org",
    "DNS:*.example.org",
    "DNS:billing.example.org, DNS:other.example.org",
    "IP Address:127.0.0.1",
    "email:agent@example.org",
    "URI:spiffe://elsewhere.example/agent",
    `URI:spiffe://${origin}.evil.example/agent`,
    `URI:spiffe://${origin}`,
    `URI:spiffe://${origin}/`,
    `URI:spiffe://${origin}/stranger`,
    `URI:spiffe://${origin}/agent, URI:spiffe://${origin}/team/billing`,
    `URI:spiffe://${origin}/agent, URI:https://example.org`,
    `URI:SPIFFE://${origin}/agent`,
    `URI:spiffe://${origin}/team/../agent`,
    `URI:spiffe://${origin}/%61gent%00`,
    `URI:spiffe://${origin}/agent%`,
    `URI:https://${origin}/agent`,
    `DNS:"a.example.org, DNS:billing.example.org"`,
    `DNS:"a, DNS:billing.example.org, DNS:b"`,
    `othername:"URI:spiffe://${origin}/agent"`,
    Array.from({ length: 17 }, (_, index) => `DNS:n${index}.example.org`).join(", "),
  ];
  for (const names of unmapped) {
    it(`refuse ${names?.slice(0, 60) ?? "no names"} as CERTIFICATE_UNMAPPED`, async () => {
      expect(await reasonOf(() => identify(names))).to.equal("CERTIFICATE_UNMAPPED");
    });
  }

  it("of a revoked principal are PRINCIPAL_REVOKED", async () => {
    expect(await reasonOf(() => identify(`URI:spiffe://${origin}/gone`))).to.equal("PRINCIPAL_REVOKED");
  });

  it("give way to a token, also to a bad one", async () => {
    const certificate = { subjectaltname: `URI:spiffe://${origin}/team/billing` };
    const caller = await resolver.identify({ certificate, authorization: `Bearer ${mint(key)}` });
    expect(caller).to.include({ principal: "agent", credential: "token" });
    const bad = () => resolver.identify({ certificate, authorization: "Bearer x" });
    expect(await reasonOf(bad)).to.equal("TOKEN_MALFORMED");
  });
});
