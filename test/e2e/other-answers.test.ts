/** What a command says of a valid answer to another question: a server between command and ledger gives it. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Client,
  Metadata,
  Server,
  ServerCredentials,
  credentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { expect } from "chai";
import { after, afterEach, before, describe, it } from "mocha";
import {
  AuditServiceService,
  CanonServiceService,
  GetRecordRequest,
  KeyServiceService,
  ProveCompletenessRequest,
  ProveCompletenessResponse,
  VerifyFrozenChainRequest,
} from "@sigil/client";
import { sigilHere, type Ended } from "./command.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

const asIs = (bytes: Buffer): Buffer => bytes;
type Change = (bytes: Buffer) => Uint8Array;
type Changes = { readonly request?: Change; readonly reply?: Change };

type UnaryCall = { readonly request: Buffer; readonly metadata: Metadata };
type StreamCall = UnaryCall & {
  readonly destroy: (error: Error) => void;
  readonly write: Function;
  readonly end: () => void;
};

/** Forwards every call, and changes requests and replies of the methods that `changes` names by their paths. */
const serveBetween = async (target: string, changes: ReadonlyMap<string, Changes>) => {
  const client = new Client(target, credentials.createInsecure());
  const onward = ({ metadata }: UnaryCall): Metadata => {
    const kept = new Metadata();
    for (const value of metadata.get("authorization")) kept.set("authorization", value);
    return kept;
  };
  const server = new Server();
  for (const service of [
    AuditServiceService,
    CanonServiceService,
    KeyServiceService,
  ] as ServiceDefinition[]) {
    const raw = {
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    };
    const handlers: UntypedServiceImplementation = {};
    for (const [name, { path, responseStream }] of Object.entries(service)) {
      const { request = asIs, reply = asIs } = changes.get(path) ?? {};
      handlers[name] = responseStream
        ? (call: StreamCall) => {
            const stream = client.makeServerStreamRequest(path, asIs, asIs, call.request, onward(call));
            stream.on("data", (each: Buffer) => call.write(each));
            stream.on("error", (error) => call.destroy(error));
            stream.on("end", () => call.end());
          }
        : (call: UnaryCall, answer: Function) => {
            const sent = Buffer.from(request(call.request));
            client.makeUnaryRequest(path, asIs, asIs, sent, onward(call), (error, given?: Buffer) =>
              answer(error, given && Buffer.from(reply(given))),
            );
          };
    }
    const definitions = Object.entries(service).map(([name, method]) => [name, { ...method, ...raw }]);
    server.addService(Object.fromEntries(definitions) as ServiceDefinition, handlers);
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    target: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.forceShutdown();
      client.close();
    },
  };
};

type Codec<Message> = {
  readonly decode: (bytes: Uint8Array) => Message;
  readonly encode: (message: Message) => { readonly finish: () => Uint8Array };
};

const changing =
  <Message>(codec: Codec<Message>, change: (message: Message) => Message): Change =>
  (bytes) =>
    codec.encode(change(codec.decode(bytes))).finish();

const paths = {
  prove: AuditServiceService.proveCompleteness.path,
  verify: AuditServiceService.verifyFrozenChain.path,
  get: CanonServiceService.getRecord.path,
};

describe("a valid answer about something else than was asked", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let cwd: string;
  let genesis: string;
  let ofGlobex: string;
  let between: Awaited<ReturnType<typeof serveBetween>>;

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-other-answers-"));
    deployment = await makeDeployment({ otherTenants: ["globex"] });
    served = await deployment.serve();
    const { genesis: hash } = JSON.parse(
      await readFile(join(deployment.directory, "deployment.json"), "utf8"),
    );
    genesis = hash;
    for (const level of ["observer", "root"] as const) {
      const pem = deployment.privateKeys[level].export({ type: "pkcs8", format: "pem" });
      await writeFile(join(cwd, `${level}.pem`), pem, { mode: 0o600 });
    }
    const callers = [
      served.as("operator"),
      served.as("mentor"),
      served.by("operator-globex", deployment.privateKeys.operator),
    ];
    for (const { trust, canon } of callers) {
      const { auditId } = await trust.check({ action: "write", target: "user/notes" });
      ofGlobex = auditId;
      await canon
        .writeRecord({
          id: "config/flags",
          kind: "config",
          content: { $case: "payload", value: { dark: true } },
        })
        .catch(() => undefined);
    }
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
    await rm(cwd, { recursive: true });
  });
  afterEach(() => between[Symbol.asyncDispose]());

  /** The command's end, where the server between changes what `changed` says. */
  const run = async (
    changed: readonly (readonly [string, Changes])[],
    ...words: readonly string[]
  ): Promise<Ended> => {
    between = await serveBetween(served.server.target, new Map(changed));
    const named = ["--origin", "sigil.test", "--genesis", genesis];
    return sigilHere([...words, ...named], { cwd, env: { SIGIL_CLIENT_SERVER: between.target } });
  };
  const as = (level: "observer" | "root") => ["--key", `${level}.pem`, "--principal", level];
  const completeness = (...words: readonly string[]) => ["audit", "completeness", ...words];

  it("is taken where nothing is changed", async () => {
    const proved = await run([], ...completeness("--who", "operator", "--tenant", "acme", ...as("root")));
    expect(proved.output, proved.problems).to.include("operator of tenant acme");
    expect(proved.exitCode).to.equal(0);
  });

  it("is refused where it is of another caller's decisions", async () => {
    const asOther = {
      request: changing(ProveCompletenessRequest, (sent) => ({ ...sent, principal: "mentor" })),
    };
    const others = await run(
      [[paths.prove, asOther]],
      ...completeness("--who", "operator", ...as("observer")),
    );
    expect([others.exitCode, others.output]).to.deep.equal([1, ""]);
    expect(others.problems).to.include("it is about mentor");
    await between[Symbol.asyncDispose]();
    const own = await run([[paths.prove, asOther]], ...completeness(...as("observer")));
    expect([own.exitCode, own.output], own.problems).to.deep.equal([1, ""]);
  });

  it("is refused where it is of another tenant's decisions", async () => {
    const asOther = {
      request: changing(ProveCompletenessRequest, (sent) => ({
        ...sent,
        tenant: "globex",
        principal: "operator-globex",
      })),
    };
    const told = await run(
      [[paths.prove, asOther]],
      ...completeness("--who", "operator-globex", "--tenant", "acme", ...as("root")),
    );
    expect([told.exitCode, told.output]).to.deep.equal([1, ""]);
    expect(told.problems).to.include("it is about tenant globex");
  });

  it("is refused where it has other numbers beside the records", async () => {
    const other = {
      reply: changing(ProveCompletenessResponse, (sent) => ({
        ...sent,
        ...(sent.after && { after: { ...sent.after, callerSeq: 7n } }),
      })),
    };
    const told = await run([[paths.prove, other]], ...completeness("--who", "operator", ...as("observer")));
    expect([told.exitCode, told.output]).to.deep.equal([1, ""]);
    expect(told.problems).to.include("is 2 and not 7");
  });

  it("is refused where it is the record of that id of another tenant", async () => {
    const words = ["canon", "get", "config/flags", "--tenant", "acme", ...as("root")];
    const honest = await run([], ...words);
    expect(honest.exitCode, honest.problems).to.equal(0);
    await between[Symbol.asyncDispose]();
    const asOther = { request: changing(GetRecordRequest, (sent) => ({ ...sent, tenant: "globex" })) };
    const told = await run([[paths.get, asOther]], ...words);
    expect([told.exitCode, told.output]).to.deep.equal([1, ""]);
    expect(told.problems).to.include("it is of tenant globex");
  });

  it("is refused where it is a decision of another tenant", async () => {
    const asOther = {
      request: changing(VerifyFrozenChainRequest, (sent) => ({ ...sent, tenant: "globex" })),
    };
    const words = ["audit", "verify", ofGlobex, "--tenant", "acme", ...as("root")];
    const told = await run([[paths.verify, asOther]], ...words);
    expect(told.exitCode, told.problems).to.equal(1);
    expect(told.problems).to.include("the record is of tenant globex");
  });
});
