/** What any gRPC server owes its callers: health, reflection, limits, request ids, draining. */
import { gzipSync } from "node:zlib";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { compressionAlgorithms, status as Code, type Metadata } from "@grpc/grpc-js";
import { connect, SigilError, Verdict } from "@sigil/client";
import { headerBytesMax, messageBytesMax } from "../../src/limits.ts";
import { closeOnSignal } from "../../src/wire/signals.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import { Hold } from "../contract/held-store.ts";
import { ownTimeMs } from "../contract/own-time.ts";
import { makeDeployment } from "./deployment.ts";

const question = { action: "read", target: "public/docs" };

const failure = async (call: Promise<unknown>): Promise<SigilError> => {
  try {
    await call;
  } catch (error) {
    return SigilError.from(error);
  }
  throw new Error("the call succeeded");
};

const get = async (url: string, init?: RequestInit) => {
  const response = await fetch(url, init);
  return { status: response.status, text: await response.text() };
};

/** One request on a bidirectional method, as bytes both ways. */
const exchange = (target: string, path: string, request: Buffer): Promise<Buffer> => {
  const connection = connect({ target, tls: "insecure" });
  const identity = (bytes: Buffer): Buffer => bytes;
  return new Promise<Buffer>((resolve, reject) => {
    const stream = connection.stubs.trust.makeBidiStreamRequest(path, identity, identity);
    stream.on("data", resolve);
    stream.on("error", reject);
    stream.write(request);
    stream.end();
  }).finally(connection.close);
};

const reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/** ServerReflectionRequest { list_services: "" } and { file_containing_symbol: "sigil.trust.v1.TrustService" }. */
const listServices = Buffer.from([0x3a, 0x00]);
const fileOfTrust = Buffer.concat([Buffer.from([0x22, 27]), Buffer.from("sigil.trust.v1.TrustService")]);

describe("the server", () => {
  it("answers health for the whole and for each service, and NOT_FOUND for a stranger", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const guest = served.as("guest");
    const services = ["", "sigil.trust.v1.TrustService", "sigil.audit.v1.AuditService"];
    for (const service of [...services, "sigil.module.v1.ModuleService"]) {
      expect(await guest.health(service)).to.equal("SERVING");
    }
    expect((await failure(guest.health("sigil.other.v1.OtherService"))).code).to.equal(Code.NOT_FOUND);
  });

  it("describes itself by reflection, unless that is switched off", async () => {
    await using deployment = await makeDeployment();
    {
      await using served = await deployment.serve();
      const { target } = served.server;
      const services = String(await exchange(target, reflection, listServices));
      expect(services)
        .to.contain("grpc.health.v1.Health")
        .and.to.contain("sigil.trust.v1.TrustService")
        .and.to.contain("sigil.audit.v1.AuditService")
        .and.to.contain("sigil.module.v1.ModuleService")
        .and.not.to.contain("envoy.service.auth.v3.Authorization");
      expect(String(await exchange(target, reflection, fileOfTrust))).to.contain("sigil/type/v1/type.proto");
    }
    await using closed = await deployment.serve({ config: { reflection: false } });
    const error = await failure(exchange(closed.server.target, reflection, listServices));
    expect(error.code).to.equal(Code.UNIMPLEMENTED);
  });

  it("takes compressed requests and holds the limit on what comes out of them", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const channelOptions = { "grpc.default_compression_algorithm": compressionAlgorithms.gzip };
    const gzipped = served.as("guest", { channelOptions });
    const input = Buffer.alloc(100_000, "text ");
    expect((await gzipped.trust.check({ ...question, input })).verdict).to.equal(Verdict.VERDICT_ALLOW);
    const bomb = Buffer.alloc(messageBytesMax + 1024);
    expect(gzipSync(bomb).length).to.be.below(messageBytesMax / 100);
    const error = await failure(gzipped.trust.check({ ...question, input: bomb }));
    expect(error.code).to.equal(Code.RESOURCE_EXHAUSTED);
    expect((await gzipped.trust.check(question)).allowed).to.equal(true);
  });

  it("refuses a message and headers past their limits, and serves the next call", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const guest = served.as("guest");
    const large = await failure(guest.trust.check({ ...question, input: Buffer.alloc(messageBytesMax + 1) }));
    expect(large.code).to.equal(Code.RESOURCE_EXHAUSTED);
    const fits = { "x-filler": "x".repeat(headerBytesMax / 2) };
    expect((await guest.trust.check(question, { metadata: fits })).allowed).to.equal(true);
    const headers = await failure(
      guest.trust.check(question, { metadata: { "x-filler": "x".repeat(headerBytesMax) } }),
    );
    expect([Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.UNAVAILABLE]).to.include(headers.code);
    const pairs = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`x-${index}`, "1"]));
    await failure(guest.trust.check(question, { metadata: pairs }));
    expect((await guest.trust.check(question)).allowed).to.equal(true);
  });

  it("carries request id and traceparent into the record and the trailers", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const operator = served.as("operator");
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trailers: Metadata | undefined;
    const { auditId } = await operator.trust.check(question, {
      metadata: { "x-request-id": "order-17", traceparent },
      onTrailers: (given) => (trailers = given),
    });
    expect(trailers?.get("x-request-id")).to.deep.equal(["order-17"]);
    const { chain } = await operator.audit.getFrozenChain({ auditId });
    expect(chain?.metadata).to.deep.equal({ request_id: "order-17", traceparent });
  });

  it("stops without breaking the call under way, and takes no new one", async () => {
    await using deployment = await makeDeployment();
    const hold = new Hold();
    const openStore = async () => hold.over(await openLevelStore(join(deployment.directory, "ledger")));
    await using served = await deployment.serve({ config: { drain_ms: 60_000 }, overrides: { openStore } });
    const reached = hold.begin();
    const guest = served.as("guest");
    const answer = guest.trust.check(question);
    await reached;
    const { operatorUrl, target } = served.server;
    const closing = served.server.close();
    expect(await get(`${operatorUrl}/readyz`)).to.deep.equal({ status: 503, text: "not ready: stopping\n" });
    const late = failure(
      served.as("guest", { channelOptions: { "grpc.use_local_subchannel_pool": 1 } }).trust.check(question),
    );
    expect((await late).code).to.equal(Code.UNAVAILABLE);
    hold.end();
    expect((await answer).allowed).to.equal(true);
    await closing;
    const [host, port] = target.split(":");
    const refused = await new Promise<string>((resolve) => {
      const socket = connectSocket({ host: host ?? "", port: Number(port) });
      socket.on("error", (error) => resolve("code" in error ? String(error.code) : ""));
    });
    expect(refused).to.equal("ECONNREFUSED");
  });

  it("breaks what is still under way after the time to drain", async () => {
    await using deployment = await makeDeployment();
    const asked = Promise.withResolvers<void>();
    const hang = (): Promise<never> => {
      asked.resolve();
      return new Promise(() => {});
    };
    await using served = await deployment.serve({ config: { drain_ms: 50 }, overrides: { evaluate: hang } });
    const answer = failure(served.as("guest").trust.check(question));
    await asked.promise;
    expect(await ownTimeMs(() => served.server.close())).to.be.below(3000);
    expect([Code.UNAVAILABLE, Code.CANCELLED]).to.include((await answer).code);
  });

  it("drains on SIGTERM", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const stopped = closeOnSignal(served.server);
    process.emit("SIGTERM", "SIGTERM");
    expect(await stopped).to.equal("SIGTERM");
    expect(served.server.ledger.status.kind).to.equal("closed");
    expect(process.listenerCount("SIGTERM")).to.equal(0);
  });

  it("says which address it cannot take, and leaves the data directory free", async () => {
    await using deployment = await makeDeployment();
    await using other = await deployment.serve();
    await using second = await makeDeployment();
    const [host, port] = other.server.target.split(":");
    const taken = { host: host ?? "", port: Number(port) };
    const error = await second.serve({ config: { listen: taken } }).catch((thrown: unknown) => thrown);
    expect(String(error)).to.contain(`config listen: cannot listen on ${other.server.target}`);
    await using again = await second.serve();
    expect((await again.as("guest").trust.check(question)).allowed).to.equal(true);
  });
});
