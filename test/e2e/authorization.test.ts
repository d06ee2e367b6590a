/**
 * What is offered as proof and malformed is refused, whatever the transport would have done with it; no library prints
 * it.
 */
import { readFileSync } from "node:fs";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { CheckRequest } from "@sigil/client";
import { createAuthority, pemOf, type Authority } from "../contract/certificates.ts";
import { rawCall, type RawHeaders } from "../contract/raw-call.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";

const path = "/sigil.trust.v1.TrustService/Check";
const question = CheckRequest.encode(
  CheckRequest.fromPartial({ action: "read", target: "public/docs" }),
).finish();

const portOf = ({ server }: ServedDeployment): number => Number(server.target.split(":").at(-1));

describe("authorization", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let token: string;

  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve();
    token = await deployment.signer("operator").token();
  });

  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const bytes = (...parts: readonly (string | number)[]): Uint8Array =>
    Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Uint8Array.of(part))));

  /** Each with the good token in it. */
  const offers: Readonly<Record<string, () => RawHeaders>> = {
    "the same token twice": () => [
      ["authorization", `Bearer ${token}`],
      ["authorization", `Bearer ${token}`],
    ],
    "a good token and then nonsense": () => [
      ["authorization", `Bearer ${token}`],
      ["authorization", "x"],
    ],
    "nonsense and then a good token": () => [
      ["authorization", ""],
      ["authorization", `Bearer ${token}`],
    ],
    "two in one value": () => [["authorization", `Bearer ${token}, Bearer ${token}`]],
    "a space before": () => [["authorization", ` Bearer ${token}`]],
    "a space after": () => [["authorization", `Bearer ${token} `]],
    "a tab before": () => [["authorization", `\tBearer ${token}`]],
    "a tab after": () => [["authorization", `Bearer ${token}\t`]],
    "a tab between": () => [["authorization", `Bearer\t${token}`]],
    "a letter that is not ASCII": () => [["authorization", bytes(`Bearer ${token}é`)]],
    "a space that is not ASCII": () => [["authorization", bytes("Bearer\u00a0", token)]],
    "a byte that is no UTF-8": () => [["authorization", bytes(`Bearer ${token}`, 0xff)]],
    "nothing in it": () => [["authorization", ""]],
    "only a space": () => [["authorization", " "]],
    "no scheme": () => [["authorization", token]],
    "another scheme": () => [["authorization", `Basic ${token}`]],
    "the name of a binary header": () => [["authorization-bin", Buffer.from(token).toString("base64")]],
  };

  for (const [what, headers] of Object.entries(offers)) {
    it(`is UNAUTHENTICATED with ${what}`, async () => {
      const trailers = await rawCall({ port: portOf(served) }, path, headers(), question);
      expect(trailers["grpc-status"]).to.equal(String(Code.UNAUTHENTICATED));
      expect(JSON.stringify(trailers) + served.logged()).not.to.contain(token.slice(-40));
    });
  }

  it("is taken as it should be, and its absence is a Guest", async () => {
    for (const headers of [[], [["authorization", `Bearer ${token}`]]] satisfies RawHeaders[]) {
      const trailers = await rawCall({ port: portOf(served) }, path, headers, question);
      expect(trailers["grpc-status"]).to.equal("0");
    }
  });

  it("is dropped with a control character before anybody sees it: a limit that is documented", async () => {
    const headers: RawHeaders = [["authorization", bytes(`Bearer ${token}`, 1)]];
    const trailers = await rawCall({ port: portOf(served) }, path, headers, question);
    expect(trailers["grpc-status"]).to.equal("0");
    expect(readFileSync("docs/spec/tokens.md", "utf8")).to.contain("control character");
  });

  it("does not stand for a caller's certificate when it is malformed", async () => {
    using authority: Authority = await createAuthority();
    const pair = await authority.issue("server", "DNS:sigil.test,IP:127.0.0.1");
    const config = { "tls.cert": pair.cert, "tls.key": pair.key, "tls.client_ca": authority.ca };
    await using another = await makeDeployment();
    await using protectedServer = await another.serve({ config });
    const client = pemOf(await authority.issue("client", `URI:spiffe://${origin}/operator`));
    const tls = { ca: readFileSync(authority.ca), ...client } as never;
    const ask = async (headers: RawHeaders) =>
      (await rawCall({ port: portOf(protectedServer), tls }, path, headers, question))["grpc-status"];
    expect(await ask([])).to.equal("0");
    expect(await ask([["authorization", " x"]])).to.equal(String(Code.UNAUTHENTICATED));
    expect(await ask([["authorization", bytes("é")]])).to.equal(String(Code.UNAUTHENTICATED));
  });

  it("leaves other malformed headers alone, but for what bounds the call", async () => {
    const port = portOf(served);
    const harmless: RawHeaders = [
      ["x-request-id", bytes("é")],
      ["traceparent", " 00-"],
      ["x-other", bytes(0xff)],
      ["x!name", "v"],
    ];
    expect((await rawCall({ port }, path, harmless, question))["grpc-status"]).to.equal("0");
    const timeout: RawHeaders = [["grpc-timeout", bytes("1Sé")]];
    expect((await rawCall({ port }, path, timeout, question))["grpc-status"]).to.equal(String(Code.INTERNAL));
  });
});
