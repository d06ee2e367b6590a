/** 1,800 watches by one Observer. */
import { canonV1 } from "@sigil/client";
import type { Attack } from "../attack.ts";
import { call, frame, open, pause } from "../wire.ts";

const { CanonServiceService: Canon, WatchRequest } = canonV1;

const connections = 2;
const watchesEach = 900;
const holdMs = 4000;
const watching = frame(WatchRequest.encode(WatchRequest.fromPartial({})).finish());

const wave: Attack["wave"] = async ({ target, token }) => {
  const sessions = await Promise.all(Array.from({ length: connections }, () => open(target)));
  const bearer = token("observer");
  let refused = 0;
  for (const session of sessions) {
    for (let begun = 0; begun < watchesEach; begun += 1) {
      const stream = call(session, Canon.watch.path, { token: bearer });
      stream.on("response", (headers) => {
        if (headers["grpc-status"] !== undefined) refused += 1;
      });
      stream.resume();
      stream.end(watching);
    }
  }
  await pause(holdMs);
  for (const session of sessions) session.destroy();
  return `${connections * watchesEach} watches, ${refused} refused`;
};

export const watches: readonly Attack[] = [
  { name: "watches", what: "1,800 watches of one Observer on two connections", wave },
];
