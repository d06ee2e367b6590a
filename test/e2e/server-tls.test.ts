/** TLS and client certificates over a real socket. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { LevelOfAccess, SigilError } from "@sigil/client";
import { createAuthority, pemOf, type Authority, type Pair } from "../contract/certificates.ts";
import { makeDeployment, origin, type Deployment } from "./deployment.ts";

const question = { action: "read", target: "public/docs" };

describe("TLS", () => {
  let authority: Authority;
  let server: Pair;
  let deployment: Deployment;

  before(async () => {
    authority = await createAuthority();
    server = await authority.issue("server", "DNS:sigil.test,IP:127.0.0.1");
    deployment = await makeDeployment();
  });

  after(async () => {
    await deployment[Symbol.asyncDispose]();
    authority[Symbol.dispose]();
  });

  const paths = () => ({ "tls.cert": server.cert, "tls.key": server.key });
  const trusting = () => ({ ca: readFileSync(authority.ca) });

  it("serves callers who trust the authority, with their tokens", async () => {
    await using served = await deployment.serve({ config: paths() });
    const { level } = await served.as("operator", { tls: trusting() }).trust.check(question);
    expect(level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR);
    const plain = await served.as("guest").trust.check(question, { deadlineMs: 1000 }).catch(SigilError.from);
    expect(plain).to.be.instanceOf(SigilError);
  });

  it("names a caller by the SPIFFE id of its certificate, and a caller without one is a Guest", async () => {
    const config = { ...paths(), "tls.client_ca": authority.ca };
    await using served = await deployment.serve({ config });
    const client = pemOf(await authority.issue("client", `URI:spiffe://${origin}/operator`));
    const named = await served.as("guest", { tls: { ...trusting(), ...client } }).trust.check(question);
    expect([named.subject, named.level]).to.deep.equal(["operator", LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR]);
    const nobody = await served.as("guest", { tls: trusting() }).trust.check(question);
    expect([nobody.subject, nobody.level]).to.deep.equal(["", LevelOfAccess.LEVEL_OF_ACCESS_GUEST]);
  });

  it("refuses a certificate that names no principal", async () => {
    const config = { ...paths(), "tls.client_ca": authority.ca };
    await using served = await deployment.serve({ config });
    const client = pemOf(await authority.issue("stranger", "DNS:stranger.example"));
    const error = await served
      .as("guest", { tls: { ...trusting(), ...client } })
      .trust.check(question)
      .catch(SigilError.from);
    if (!(error instanceof SigilError)) throw new Error("a stranger was let in");
    expect([error.code, error.reason]).to.deep.equal([Code.UNAUTHENTICATED, "CERTIFICATE_UNMAPPED"]);
  });

  it("gives nobody a name by a certificate of another authority", async () => {
    using other = await createAuthority();
    const config = { ...paths(), "tls.client_ca": authority.ca };
    await using served = await deployment.serve({ config });
    const client = pemOf(await other.issue("forged", `URI:spiffe://${origin}/operator`));
    const { subject } = await served.as("guest", { tls: { ...trusting(), ...client } }).trust.check(question);
    expect(subject).to.equal("");
  });

  it("lets nobody in without a certificate where one is required", async () => {
    const config = {
      ...paths(),
      "tls.client_ca": authority.ca,
      "tls.client_certificate": "required" as const,
    };
    await using served = await deployment.serve({ config });
    const error = await served
      .as("guest", { tls: trusting() })
      .trust.check(question, { deadlineMs: 2000 })
      .catch(SigilError.from);
    expect(error).to.be.instanceOf(SigilError);
    const client = pemOf(await authority.issue("required", `URI:spiffe://${origin}/mentor`));
    const named = await served.as("guest", { tls: { ...trusting(), ...client } }).trust.check(question);
    expect(named.subject).to.equal("mentor");
  });

  it("says which file is wrong before it opens anything, and nothing of what is in it", async () => {
    const missing = await deployment
      .serve({ config: { ...paths(), "tls.key": "/nowhere/key.pem" } })
      .catch((error: unknown) => error);
    expect(String(missing)).to.contain("config tls.key: cannot read /nowhere/key.pem");
    const swapped = await deployment
      .serve({ config: { "tls.cert": server.key, "tls.key": server.cert } })
      .catch((error: unknown) => error);
    expect(String(swapped)).to.contain("config tls: certificate and key are not a PEM pair");
  });
});
