/** The client over a real socket: calls, errors, deadlines, cancellation, tokens and TLS. */
import { generateKeyPairSync } from "node:crypto";
import { getEventListeners } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { Metadata, ServerCredentials, status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { connect, createTokenSigner, rpcV1, SigilError } from "@sigil/client";
import {
  BadRequest,
  ErrorInfo,
  RequestInfo,
  RetryInfo,
} from "../../../generated/src/google/rpc/error_details.ts";
import { makeCertificate, type TestCertificate } from "../../contract/certificates.ts";
import { decisionFor, settle, startServer } from "./server.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const signer = createTokenSigner({ principal: "agent", origin: "o", privateKey });

const failureOf = async (work: Promise<unknown>): Promise<SigilError> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof SigilError) return error;
    throw error;
  }
  throw new Error("expected a SigilError");
};

const packed = (name: string, value: Uint8Array) => ({
  typeUrl: `type.googleapis.com/google.rpc.${name}`,
  value,
});

describe("connect", () => {
  it("tries for itself where another connection to the same address has failed and waits", async () => {
    const refusing = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => refusing.listen(0, "127.0.0.1", resolve));
    const { port } = refusing.address() as AddressInfo;
    using waiting = connect({ target: `127.0.0.1:${port}`, tls: "insecure" });
    expect((await failureOf(waiting.trust.check({}))).code).to.equal(Code.UNAVAILABLE);
    await new Promise((resolve) => refusing.close(resolve));
    await using server = await startServer({}, undefined, port);
    using anew = connect({ target: server.target, tls: "insecure" });
    expect(await anew.trust.check({ action: "read", target: "public/docs" })).to.include({ allowed: true });
  });

  it("answers a call whose request names only what matters", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    const answer = await sigil.trust.check({ action: "read", target: "public/docs" });
    expect(answer).to.include({ allowed: true, auditId: "read" });
    expect(server.seen.metadata[0]?.get("authorization")).to.deep.equal([]);
  });

  it("sends the signer's token and the caller's metadata with each call", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure", signer });
    const metadata = new Metadata();
    metadata.set("traceparent", "t");
    await sigil.trust.check({ action: "a" }, { metadata });
    await sigil.trust.check({ action: "a" }, { metadata: { "x-request-id": "mine" } });
    const [first, second] = server.seen.metadata;
    expect(first?.get("authorization")).to.deep.equal([`Bearer ${signer.token()}`]);
    expect(first?.get("traceparent")).to.deep.equal(["t"]);
    expect(second?.get("x-request-id")).to.deep.equal(["mine"]);
    // What the caller handed in stays as it was.
    expect(metadata.get("authorization")).to.deep.equal([]);
  });

  it("tells with each call how long a reply it takes, and nothing where it takes any", async () => {
    await using server = await startServer();
    const { target, seen } = server;
    const key = "sigil-reply-bytes-max";
    const told = async (bytes: number | undefined, metadata: Readonly<Record<string, string>> = {}) => {
      const channelOptions = bytes === undefined ? {} : { "grpc.max_receive_message_length": bytes };
      using sigil = connect({ target, tls: "insecure", channelOptions });
      await sigil.trust.check({ action: "a" }, { metadata });
      return seen.metadata.at(-1)?.get(key);
    };
    expect(await told(undefined)).to.deep.equal([String(4 << 20)]);
    expect(await told(70_000)).to.deep.equal(["70000"]);
    expect(await told(-1)).to.deep.equal([]);
    expect(await told(70_000, { [key]: "65536" })).to.deep.equal(["65536"]);
  });

  it("leaves nothing on its caller's signal, whatever kind of call it was and however it ended", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    const { signal } = new AbortController();
    const take = async (answers: AsyncIterable<unknown>): Promise<void> => {
      for await (const _ of answers);
    };
    const calls = {
      unary: () => sigil.trust.check({ action: "a" }, { signal }),
      refused: () => sigil.canon.getRecord({}, { signal }),
      "server stream": () => take(sigil.canon.streamRecords({}, { signal })),
      "both ways": () => take(sigil.trust.streamChecks([{ correlationId: "1" }], { signal })),
      upload: () => sigil.modules.proposeModule([{}], { signal }),
    };
    for (const [kind, call] of Object.entries(calls)) {
      await Promise.resolve(call()).catch(SigilError.from);
      expect(getEventListeners(signal, "abort"), kind).to.deep.equal([]);
    }
  });

  it("ends what an upload is read from, though the server wanted no more of it", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    let isEnded = false;
    const parts = async function* () {
      try {
        for (;;) {
          yield {};
          await settle(1);
        }
      } finally {
        isEnded = true;
      }
    };
    const error = await failureOf(sigil.modules.proposeModule(parts()));
    expect(error.codeName).to.equal("UNIMPLEMENTED");
    await settle();
    expect(isEnded).to.equal(true);
  });

  it("gives the trailers of a call that succeeded", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure" });
    const ids: unknown[] = [];
    await sigil.trust.check(
      { action: "a" },
      { onTrailers: (trailers) => ids.push(...trailers.get("x-request-id")) },
    );
    expect(ids).to.deep.equal(["r-1"]);
  });

  it("unpacks code, reason, facts, field violations, retry delay and request id of an error", async () => {
    const status = rpcV1.Status.fromPartial({
      code: Code.RESOURCE_EXHAUSTED,
      message: "full",
      details: [
        packed(
          "ErrorInfo",
          ErrorInfo.encode({ reason: "QUEUE_FULL", domain: "sigil", metadata: { limit: "8" } }).finish(),
        ),
        packed(
          "BadRequest",
          BadRequest.encode({ fieldViolations: [{ field: "action", description: "empty" }] }).finish(),
        ),
        packed("RetryInfo", RetryInfo.encode({ retryDelay: { seconds: 1n, nanos: 250_000_000 } }).finish()),
        packed("RequestInfo", RequestInfo.encode({ requestId: "r-2", servingData: "" }).finish()),
        packed("Unknown", Uint8Array.of(1)),
      ],
    });
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from(rpcV1.Status.encode(status).finish()));
    await using server = await startServer({
      check: (_call, answer) => answer({ code: Code.RESOURCE_EXHAUSTED, details: status.message, metadata }),
    });
    using sigil = connect({ target: server.target, tls: "insecure" });
    const error = await failureOf(sigil.trust.check({}));
    const expected = {
      code: Code.RESOURCE_EXHAUSTED,
      codeName: "RESOURCE_EXHAUSTED",
      message: "RESOURCE_EXHAUSTED: full",
      reason: "QUEUE_FULL",
      retryDelayMs: 1250,
      requestId: "r-2",
    };
    expect(error).to.include(expected);
    expect(error.facts).to.deep.equal({ limit: "8" });
    expect(error.fieldViolations).to.deep.equal([{ field: "action", description: "empty" }]);
    expect(SigilError.fromStatus(status)).to.include(expected);
  });

  it("keeps code and message when the details cannot be read", async () => {
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff, 0xff]));
    metadata.set("x-request-id", "r-3");
    await using server = await startServer({
      check: (_call, answer) => answer({ code: Code.DATA_LOSS, details: "bad", metadata }),
    });
    using sigil = connect({ target: server.target, tls: "insecure" });
    const error = await failureOf(sigil.trust.check({}));
    expect(error).to.include({ code: Code.DATA_LOSS, reason: "", requestId: "r-3" });
  });

  it("fails with UNAVAILABLE when nobody listens", async () => {
    const server = await startServer();
    await server[Symbol.asyncDispose]();
    using sigil = connect({ target: server.target, tls: "insecure" });
    expect((await failureOf(sigil.trust.check({}))).codeName).to.equal("UNAVAILABLE");
  });

  it("ends a call at its deadline, and at the connection's when the call names none", async () => {
    await using server = await startServer({ check: () => {} });
    using sigil = connect({ target: server.target, tls: "insecure", deadlineMs: 60 });
    expect((await failureOf(sigil.trust.check({}))).codeName).to.equal("DEADLINE_EXCEEDED");
    expect((await failureOf(sigil.trust.check({}, { deadlineMs: 20 }))).codeName).to.equal(
      "DEADLINE_EXCEEDED",
    );
  });

  it("cancels a call by its signal, before and after it began", async () => {
    const started = Promise.withResolvers<void>();
    const cancelled = Promise.withResolvers<void>();
    await using server = await startServer({
      check: (call) => {
        call.on("cancelled", () => cancelled.resolve());
        started.resolve();
      },
    });
    using sigil = connect({ target: server.target, tls: "insecure" });
    const controller = new AbortController();
    const call = failureOf(sigil.trust.check({}, { signal: controller.signal }));
    await started.promise;
    controller.abort(new Error("enough"));
    const error = await call;
    expect(error.codeName).to.equal("CANCELLED");
    expect(error.cause).to.include({ message: "enough" });
    await cancelled.promise;
    const second = await failureOf(sigil.trust.check({}, { signal: controller.signal }));
    expect(second.codeName).to.equal("CANCELLED");
  });

  it("lets a call under way finish when the connection is closed", async () => {
    const held: (() => void)[] = [];
    await using server = await startServer({
      check: (call, answer) => {
        held.push(() => answer(null, decisionFor(call.request.action)));
      },
    });
    using sigil = connect({ target: server.target, tls: "insecure" });
    const call = sigil.trust.check({ action: "late" });
    while (held.length === 0) await settle(1);
    sigil.close();
    held[0]?.();
    expect(await call).to.include({ auditId: "late" });
  });

  it("asks for health without a token", async () => {
    await using server = await startServer();
    using sigil = connect({ target: server.target, tls: "insecure", signer });
    expect(await sigil.health()).to.equal("SERVING");
    expect(await sigil.health("sigil.trust.v1.TrustService")).to.equal("NOT_SERVING");
    expect((await failureOf(sigil.health("no.such.Service"))).codeName).to.equal("NOT_FOUND");
  });

  it("waits for a token that takes its time, and passes on why there is none", async () => {
    await using server = await startServer();
    using slow = connect({ target: server.target, tls: "insecure", signer: { token: async () => "t" } });
    await slow.trust.check({});
    expect(server.seen.metadata[0]?.get("authorization")).to.deep.equal(["Bearer t"]);
    const broken = { token: () => Promise.reject(new Error("no key")) };
    using sigil = connect({ target: server.target, tls: "insecure", signer: broken });
    const error = await sigil.trust.check({}).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(SigilError).and.include({ reason: "TOKEN_SOURCE_FAILED" });
    expect((error as SigilError).cause)
      .to.be.an("error")
      .with.property("message", "no key");
  });
});

describe("tokens without TLS", () => {
  for (const target of [
    "sigil.example.org:443",
    "10.0.0.1:1",
    "dns:///x:1",
    "[2001:db8::1]:1",
    "localhost.evil:1",
    "ipv4:127.0.0.1:1,10.0.0.1:1",
  ]) {
    it(`are refused for ${target} unless asked for`, async () => {
      expect(() => connect({ target, tls: "insecure", signer })).to.throw(TypeError, "without TLS");
      connect({ target, tls: "insecure", signer, insecureTokens: "send" }).close();
      using anonymous = connect({ target, tls: "insecure" });
      let thrown: unknown;
      await anonymous.trust.check({}, { metadata: { authorization: "Bearer x" } }).catch((error: unknown) => {
        thrown = error;
      });
      expect(thrown).to.be.instanceOf(TypeError);
    });
  }

  for (const target of [
    "localhost:1",
    "127.0.0.1:1",
    "127.8.9.1",
    "[::1]:1",
    "dns:///localhost:1",
    "unix:/tmp/s",
  ]) {
    it(`are sent to ${target}`, () => {
      connect({ target, tls: "insecure", signer }).close();
    });
  }
});

describe("TLS", () => {
  let serverPair: TestCertificate;
  let callerPair: TestCertificate;
  const bytes = (pem: string): Buffer => Buffer.from(pem);

  before(async () => {
    serverPair = await makeCertificate("server", "DNS:sigil.example.org");
    callerPair = await makeCertificate(
      "caller",
      "URI:spiffe://sigil.example.org/agent,DNS:caller.example.org",
    );
  });

  it("checks the server by the given authority and name, and shows the caller's certificate", async () => {
    const pairs = [{ private_key: bytes(serverPair.key), cert_chain: bytes(serverPair.cert) }];
    const names: (string | undefined)[] = [];
    const credentials = ServerCredentials.createSsl(bytes(callerPair.cert), pairs, true);
    await using server = await startServer(
      {
        check: (call, answer) => {
          names.push(call.getAuthContext().sslPeerCertificate?.subjectaltname);
          answer({ code: Code.ABORTED, details: "seen" });
        },
      },
      credentials,
    );
    const tls = {
      ca: bytes(serverPair.cert),
      cert: bytes(callerPair.cert),
      key: callerPair.key,
      serverName: "sigil.example.org",
    };
    using sigil = connect({ target: server.target, tls, signer });
    expect((await failureOf(sigil.trust.check({}))).codeName).to.equal("ABORTED");
    expect(names).to.deep.equal(["URI:spiffe://sigil.example.org/agent, DNS:caller.example.org"]);
    using wrongName = connect({ target: server.target, tls: { ...tls, serverName: "other.example.org" } });
    expect((await failureOf(wrongName.trust.check({}))).codeName).to.equal("UNAVAILABLE");
    using system = connect({ target: `localhost:${server.port}` });
    expect((await failureOf(system.trust.check({}))).codeName).to.equal("UNAVAILABLE");
  });

  it("takes certificate and key only together", () => {
    expect(() => connect({ target: "a:1", tls: { cert: "x" } })).to.throw(TypeError, "go together");
  });
});
