/**
 * Replies as bytes. Those of checks, which most calls are, are written into one buffer that is kept: a generated
 * encoder makes a buffer for each reply, grows it several times and copies it once more.
 */
import type { MethodDefinition } from "@grpc/grpc-js";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { BatchCheckResponse, CheckResponse, TrustServiceService } from "@sigil/proto/sigil/trust/v1/trust";

type Reply = { readonly encode: (reply: never, writer: BinaryWriter) => BinaryWriter };

const checks: ReadonlyMap<string, Reply> = new Map<string, Reply>([
  [TrustServiceService.check.path, CheckResponse],
  [TrustServiceService.batchCheck.path, BatchCheckResponse],
]);

/** A reply longer than this takes its buffer with it. */
const keptBytesMax = 256 << 10;

let writer: BinaryWriter | undefined;

const write = ({ encode }: Reply, reply: unknown): Buffer => {
  const used = writer ?? new BinaryWriter();
  // After an error its content is unknown: it is not used again.
  writer = undefined;
  const bytes = encode(reply as never, used).finish();
  if (bytes.length <= keptBytesMax) writer = used;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
};

/** @returns what the method's own `responseSerialize` returns. */
export const serializerOf = <Message>({
  path,
  responseSerialize,
}: Pick<MethodDefinition<never, Message>, "path" | "responseSerialize">): ((reply: Message) => Buffer) => {
  const type = checks.get(path);
  return type === undefined ? responseSerialize : (reply) => write(type, reply);
};
