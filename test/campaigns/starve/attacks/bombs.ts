/** Amplification: compressed requests of one connection, and incomplete messages. */
import { trustV1 } from "@sigil/client";
import { tally, type Attack } from "../attack.ts";
import { bomb, call, finish, frame, open, pause, within } from "../wire.ts";

const { TrustServiceService: Trust, CheckRequest, StreamChecksRequest } = trustV1;

const expandedBytes = 4_100_000;

const calls = 1000;
/** An invalid action that decompresses to nearly the message limit. */
const check = bomb(
  CheckRequest.encode(CheckRequest.fromPartial({ action: "x".repeat(expandedBytes), target: "a" })).finish(),
);

const waitMs = 25_000;

const unary: Attack["wave"] = async ({ target }) => {
  const session = await open(target);
  const answers = Array.from({ length: calls }, () => {
    const stream = call(session, Trust.check.path, { encoding: "gzip" });
    stream.end(check);
    return finish(stream);
  });
  const outcomes = await within(waitMs, Promise.all(answers));
  session.destroy();
  return outcomes === "late" ? `not answered in ${waitMs} ms` : tally(outcomes);
};

const streamed = bomb(
  StreamChecksRequest.encode(
    StreamChecksRequest.fromPartial({ correlationId: "x".repeat(expandedBytes), check: { action: "a" } }),
  ).finish(),
);
const streamedMessages = 500;
const holdMs = 3000;

/** One stream whose answers are not read. */
const unreadChecks: Attack["wave"] = async ({ target }) => {
  const session = await open(target);
  const stream = call(session, Trust.streamChecks.path, { encoding: "gzip" });
  stream.pause();
  for (let sent = 0; sent < streamedMessages; sent += 1) stream.write(streamed);
  await pause(holdMs);
  session.destroy();
  return `${streamedMessages} messages of ${streamed.length} bytes sent, nothing read`;
};

const halfStreams = 250;
const halfBytes = 4_000_000;

/** Messages of maximum size without their end. */
const halfMessages: Attack["wave"] = async ({ target }) => {
  const session = await open(target);
  const half = frame(new Uint8Array(halfBytes)).subarray(0, halfBytes - 1);
  for (let begun = 0; begun < halfStreams; begun += 1) call(session, Trust.check.path).write(half);
  await pause(holdMs);
  session.destroy();
  return `${halfStreams} messages begun`;
};

const large = frame(
  CheckRequest.encode(CheckRequest.fromPartial({ action: "x".repeat(expandedBytes), target: "a" })).finish(),
);

const plain: Attack["wave"] = async ({ target }) => {
  const session = await open(target);
  const answers = Array.from({ length: halfStreams }, () => {
    const stream = call(session, Trust.check.path);
    stream.end(large);
    return finish(stream);
  });
  const outcomes = await within(waitMs, Promise.all(answers));
  session.destroy();
  return outcomes === "late" ? `not answered in ${waitMs} ms` : tally(outcomes);
};

export const bombs: readonly Attack[] = [
  {
    name: "gzip-calls",
    what: "1,000 gzip requests of one connection, 4 KB each, 4 MB expanded",
    wave: unary,
  },
  {
    name: "gzip-stream-unread",
    what: "one StreamChecks, 500 gzip messages of 4 MB expanded, nothing read",
    wave: unreadChecks,
  },
  {
    name: "half-messages",
    what: "250 messages of 4 MB that never end, on one connection",
    wave: halfMessages,
  },
  { name: "large-calls", what: "250 parallel requests of 4 MB that are no good", wave: plain },
];
