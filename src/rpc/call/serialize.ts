/**
 * Replies as bytes. Those of checks, which most calls are, are written into one buffer that is kept: a generated
 * encoder makes a buffer for each reply, grows it several times and copies it once more.
 */
import type { MethodDefinition } from "@grpc/grpc-js";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { BatchCheckResponse, CheckResponse, TrustServiceService } from "@sigil/proto/sigil/trust/v1/trust";

type Encode = (reply: unknown, writer: BinaryWriter) => BinaryWriter;

const encoders: ReadonlyMap<string, Encode> = new Map<string, Encode>([
  [TrustServiceService.check.path, (reply, to) => CheckResponse.encode(reply as CheckResponse, to)],
  [
    TrustServiceService.batchCheck.path,
    (reply, to) => BatchCheckResponse.encode(reply as BatchCheckResponse, to),
  ],
]);

/** A reply longer than this takes its buffer with it. */
const keptBytesMax = 256 << 10;

let writer: BinaryWriter | undefined;

const write = (encode: Encode, reply: unknown): Buffer => {
  const used = writer ?? new BinaryWriter();
  // After an error its content is unknown: it is not used again.
  writer = undefined;
  const bytes = encode(reply, used).finish();
  if (bytes.length <= keptBytesMax) writer = used;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
};

/** @returns what the method's own `responseSerialize` returns. */
export const serializerOf = <Message>({
  path,
  responseSerialize,
}: Pick<MethodDefinition<never, Message>, "path" | "responseSerialize">): ((reply: Message) => Buffer) => {
  const encode = encoders.get(path);
  return encode === undefined ? responseSerialize : (reply) => write(encode, reply);
};
