/**
 * Callers that consume processor time: thousands of tokens, long batches, simulations, refused calls, and floods of
 * accepted ones.
 */
import { canonV1, trustV1 } from "@sigil/client";
import { tally, type Attack, type World } from "../attack.ts";
import { call, finish, frame, open, within, type Session } from "../wire.ts";

const {
  TrustServiceService: Trust,
  CheckRequest,
  BatchCheckRequest,
  SimulateRequest,
  StreamChecksRequest,
} = trustV1;
const { CanonServiceService: Canon, ListRecordsRequest, ProposeRecordRequest } = canonV1;

const waveMs = 4000;
const lateMs = 25_000;

type Asking = { readonly path: string; readonly message: (index: number) => Uint8Array };

/** Keeps a number of calls in flight on a connection during the wave. */
const flood = async (
  sessions: readonly Session[],
  inFlight: number,
  { path, message }: Asking,
  token: (index: number) => string | undefined,
): Promise<string> => {
  const endMs = performance.now() + waveMs;
  const outcomes: string[] = [];
  const one = async (session: Session): Promise<void> => {
    while (performance.now() < endMs && !session.destroyed) {
      const index = outcomes.length;
      const stream = call(session, path, { token: token(index) });
      stream.end(frame(message(index)));
      outcomes.push(await finish(stream));
    }
  };
  const all = sessions.flatMap((session) => Array.from({ length: inFlight }, () => one(session)));
  const ended = await within(lateMs, Promise.all(all));
  for (const session of sessions) session.destroy();
  return ended === "late" ? `not answered in ${lateMs} ms` : tally(outcomes);
};

const openMany = (target: string, connections: number): Promise<readonly Session[]> =>
  Promise.all(Array.from({ length: connections }, () => open(target)));

const nobody = (): undefined => undefined;

const tokens = 1800;
const activeModel = new Uint8Array(0);

/** Each token is valid and new. */
const newTokens: Attack["wave"] = async ({ target, token }) => {
  const given = Array.from({ length: tokens }, () => token("observer"));
  const [session] = await openMany(target, 1);
  if (session === undefined) throw new Error("no connection");
  const answers = given.map((each) => {
    const stream = call(session, Trust.getActiveModel.path, { token: each });
    stream.end(frame(activeModel));
    return finish(stream);
  });
  const outcomes = await within(lateMs, Promise.all(answers));
  session.destroy();
  return outcomes === "late" ? `not answered in ${lateMs} ms` : tally(outcomes);
};

const goodBatch = BatchCheckRequest.encode(
  BatchCheckRequest.fromPartial({
    checks: Array.from({ length: 1000 }, (_, index) => ({ action: "read", target: `public/${index}` })),
  }),
).finish();

const goodBatches: Attack["wave"] = async (world) => {
  const token = world.token("observer");
  const asking = { path: Trust.batchCheck.path, message: () => goodBatch };
  return flood(await openMany(world.target, 2), 20, asking, () => token);
};

const refused = CheckRequest.encode(CheckRequest.fromPartial({ action: "not an action" })).finish();

const refusedChecks: Attack["wave"] = async ({ target }) =>
  flood(await openMany(target, 4), 250, { path: Trust.check.path, message: () => refused }, nobody);

/** Each is decided, recorded, and its idempotency key stored for a day. */
const keyedChecks: Attack["wave"] = async (world) => {
  const token = world.token("observer");
  const run = Math.floor(world.random() * 2 ** 32);
  const message = (index: number): Uint8Array =>
    CheckRequest.encode(
      CheckRequest.fromPartial({ action: "read", target: "a", idempotencyKey: `${run}-${index}` }),
    ).finish();
  return flood(await openMany(world.target, 4), 250, { path: Trust.check.path, message }, () => token);
};

const streamed = frame(
  StreamChecksRequest.encode(
    StreamChecksRequest.fromPartial({ correlationId: "a", check: { action: "read", target: "public/a" } }),
  ).finish(),
);
const streams = 16;

/** Streams of checks whose answers are read, so that only the server limits them. */
const streamedChecks: Attack["wave"] = async ({ target }) => {
  const [session] = await openMany(target, 1);
  if (session === undefined) throw new Error("no connection");
  const endMs = performance.now() + waveMs;
  const outcomes = Array.from({ length: streams }, () => {
    const stream = call(session, Trust.streamChecks.path);
    const send = (): void => {
      while (performance.now() < endMs) if (!stream.write(streamed)) return void stream.once("drain", send);
      stream.end();
    };
    send();
    return finish(stream);
  });
  await within(waveMs, Promise.all(outcomes));
  session.destroy();
  return `${streams} streams of checks`;
};

/** A forged page token: an invalid 16-byte MAC and a place. */
const forgedPage = (index: number): string =>
  Buffer.concat([Buffer.alloc(16, index % 256), Buffer.from([0x81, 0x01])]).toString("base64url");

const forgedPages: Attack["wave"] = async (world) => {
  const token = world.token("observer");
  const message = (index: number): Uint8Array =>
    ListRecordsRequest.encode(ListRecordsRequest.fromPartial({ pageToken: forgedPage(index) })).finish();
  return flood(await openMany(world.target, 4), 250, { path: Canon.listRecords.path, message }, () => token);
};

const rows = 900;
const decisions = 5000;

const prepareDecisions = async ({ as }: World): Promise<void> => {
  const checks = Array.from({ length: 1000 }, (_, at) => ({ action: "read", target: `public/a/${at}` }));
  for (let asked = 0; asked < decisions; asked += checks.length)
    await as("mentor").trust.batchCheck({ checks });
};

/** The active model with the maximum number of targets, over all decisions. */
const largeModels: Attack["wave"] = async (world) => {
  const { model } = await world.as("mentor").trust.getActiveModel({});
  if (model === undefined) throw new Error("no model");
  const targets = Object.fromEntries(Array.from({ length: rows }, (_, at) => [`a${at}/**/b*/${at}`, 0.5]));
  const candidate = { ...model, targets };
  const simulated = SimulateRequest.encode(
    SimulateRequest.fromPartial({
      candidate,
      subjectMatter: { $case: "lastDecisions", value: decisions },
      includeUnchanged: true,
    }),
  ).finish();
  const token = world.token("mentor");
  const asking = { path: Trust.simulate.path, message: () => simulated };
  return flood(await openMany(world.target, 1), 40, asking, () => token);
};

const patterns = 2000;

/**
 * Each schema is distinct, slow to compile, and refused for its last pattern, so that none becomes an open proposal.
 */
const schemas: Attack["wave"] = async (world) => {
  const token = world.token("mentor");
  const run = Math.floor(world.random() * 2 ** 32);
  const message = (index: number): Uint8Array => {
    const kind = `k${run}-${index}`;
    const many = Array.from({ length: patterns }, (_, at) => [`^${index}-${at}`, {}]);
    const patternProperties = { ...Object.fromEntries(many), [String.raw`(a)\1`]: {} };
    const value = JSON.stringify({ kind, schema: { patternProperties } });
    const content = { $case: "payloadJson", value } as const;
    return ProposeRecordRequest.encode(
      ProposeRecordRequest.fromPartial({ id: `schema/${kind}`, content }),
    ).finish();
  };
  return flood(await openMany(world.target, 2), 40, { path: Canon.proposeRecord.path, message }, () => token);
};

const reflectionPath = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/** `file_containing_symbol`, field 4. */
const symbol = Buffer.from("sigil.canon.v1.CanonService");
const reflectionQuestion = Buffer.concat([Buffer.from([0x22, symbol.length]), symbol]);

const reflections: Attack["wave"] = async ({ target }) => {
  const asking = { path: reflectionPath, message: () => reflectionQuestion };
  return flood(await openMany(target, 2), 100, asking, nobody);
};

export const busyCallers: readonly Attack[] = [
  { name: "new-tokens", what: "1,800 calls of one Observer, each with a token of its own", wave: newTokens },
  {
    name: "good-batches",
    what: "BatchChecks of one Observer, 1,000 good questions each, 40 at a time",
    wave: goodBatches,
  },
  { name: "refused-checks", what: "Checks that are no good, 1,000 at a time", wave: refusedChecks },
  {
    name: "keyed-checks",
    what: "Checks with a new idempotency key each, 1,000 at a time",
    wave: keyedChecks,
  },
  {
    name: "streamed-checks",
    what: "16 StreamChecks of one connection, as fast as they go",
    wave: streamedChecks,
  },
  {
    name: "forged-pages",
    what: "ListRecords with page tokens nobody gave, 1,000 at a time",
    wave: forgedPages,
  },
  {
    name: "large-models",
    what: "Simulate of a model with 900 targets over 5,000 decisions, 40 at a time",
    prepare: prepareDecisions,
    wave: largeModels,
  },
  {
    name: "schemas",
    what: "proposals of schemas with 2,000 patterns and one that is none, 80 at a time",
    wave: schemas,
  },
  { name: "reflections", what: "reflection questions, 200 at a time, read", wave: reflections },
];
