/**
 * Whether what ran is what was asked for, and its output the recorded one. A reply that contradicts its request or
 * itself is an error. Pure, but for the digest of a stream's output. Source: the comments of `RunResponse`.
 */
import { createHash } from "node:crypto";
import { equalBytes } from "@sigil/core/bytes";
import { sha256 } from "@sigil/core/hash";
import type { RunRequest, RunResponse, RunStreamResponse } from "@sigil/proto/sigil/module/v1/module";
import { contradiction } from "../answer.ts";

type Asked = Pick<RunRequest, "version" | "digest">;

/** @throws SigilError */
const requireSame = (asked: Asked, reply: RunResponse, outputDigest: Uint8Array): void => {
  if (asked.version !== 0n && asked.version !== reply.version)
    throw contradiction(`version ${reply.version} ran in place of ${asked.version}`);
  if (asked.digest.length > 0 && !equalBytes(asked.digest, reply.digest))
    throw contradiction("other code ran than was asked for");
  if (!equalBytes(outputDigest, reply.outputDigest))
    throw contradiction("the output is not the one that was recorded");
};

/** @throws SigilError */
export const requireRan = (asked: Asked, reply: RunResponse): void =>
  requireSame(asked, reply, sha256(reply.output));

/** The same parts: the result is the last, and once nothing comes after it. @throws SigilError */
export async function* judgeRunning(
  asked: Asked,
  parts: AsyncIterable<RunStreamResponse>,
): AsyncGenerator<RunStreamResponse, void, undefined> {
  const output = createHash("sha256");
  let result: RunStreamResponse | undefined;
  for await (const each of parts) {
    if (result !== undefined) throw contradiction("the run goes on after its result");
    const { part } = each;
    if (part?.$case === "output") output.update(part.value);
    if (part?.$case === "result") {
      requireSame(asked, part.value, output.digest());
      result = each;
    } else yield each;
  }
  if (result === undefined) throw contradiction("the run ended without a result");
  yield result;
}
