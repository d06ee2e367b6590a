/**
 * Requests from their bytes, with nothing lost on the way. Decoded in its caller's turn, not as it comes: a message
 * decoded is up to a hundred times its bytes, and takes its time. One that is no good gets the same kind of answer as
 * any.
 */
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { utf8Decode } from "@sigil/core/bytes";
import { assert, SigilFault } from "../../errors.ts";
import { carryPermit } from "../bounds/intake.ts";
import { noteReplySize } from "../bounds/replies.ts";
import { replyBytesOf } from "../bounds/reply-bytes.ts";
import { withExactStructs } from "../message/struct.ts";
import type { Flow } from "./pacing.ts";
import { serializerOf } from "./serialize.ts";

const malformed = (cause: unknown): SigilFault => {
  const rule = "the request is not a valid protobuf message";
  return new SigilFault({ kind: "invalidField", field: "", rule }, { cause });
};

/** Long answers are counted as they are serialised. */
const counted = (method: MethodDefinition<unknown, unknown>): ((reply: unknown) => Buffer) => {
  const serialize = serializerOf(method);
  if (replyBytesOf(method.path) === undefined) return serialize;
  return (reply) => {
    const bytes = serialize(reply);
    noteReplySize(reply as object, bytes.length);
    return bytes;
  };
};

/** A request as it came. What a wrapper is given in place of its message. */
class Encoded {
  #source: Uint8Array | (() => Uint8Array);
  readonly #decode: (bytes: Uint8Array) => unknown;

  constructor(source: Uint8Array | (() => Uint8Array), decode: (bytes: Uint8Array) => unknown) {
    this.#source = source;
    this.#decode = decode;
  }

  get bytes(): Uint8Array {
    if (typeof this.#source === "function") this.#source = this.#source();
    return this.#source;
  }

  decode(): unknown {
    try {
      return this.#decode(this.bytes);
    } catch (error) {
      throw error instanceof SigilFault ? error : malformed(error);
    }
  }
}

const decoderOf =
  ({ path, requestDeserialize }: MethodDefinition<unknown, unknown>) =>
  (bytes: Uint8Array): unknown => {
    // Generated decoders take a reader as well; one of their own would put U+FFFD for what is no UTF-8.
    const reader: unknown = new BinaryReader(bytes, utf8Decode);
    return withExactStructs(path, requestDeserialize(reader as Buffer), bytes);
  };

const strict = (method: MethodDefinition<unknown, unknown>): MethodDefinition<unknown, unknown> => {
  const decode = decoderOf(method);
  return {
    ...method,
    responseSerialize: counted(method),
    requestDeserialize: (bytes) => carryPermit(bytes, new Encoded(bytes, decode)),
  };
};

/** A method for a transport that carries its messages another way. */
export type CarriedMethod = {
  /** @param bytes are made when the request is decoded, in its caller's turn; what they throw is the call's end. */
  readonly request: (bytes: () => Uint8Array) => unknown;
  readonly responseBytes: (response: unknown) => Uint8Array;
};

export const carriedMethod = (method: MethodDefinition<unknown, unknown>): CarriedMethod => {
  const decode = decoderOf(method);
  return { request: (bytes) => new Encoded(bytes, decode), responseBytes: counted(method) };
};

/** The service as it is, but requests are decoded by `readRequest` alone, and strictly. */
export const strictService = (service: ServiceDefinition): ServiceDefinition =>
  Object.fromEntries(Object.entries(service).map(([name, method]) => [name, strict(method)]));

const encoded = (request: unknown): Encoded => {
  assert(request instanceof Encoded, "a request reached its wrapper without its bytes");
  return request;
};

/** @param request as grpc-js hands it to a wrapper. */
export const bytesOf = (request: unknown): Uint8Array => encoded(request).bytes;

/**
 * Decodes a request in its caller's turn, and charges its bytes.
 * @param request as grpc-js hands it to a wrapper. @throws invalidField for what is no message.
 */
export const readRequest = <Request>(request: Request, pace: Pick<Flow, "chargeBytes">): Request => {
  const bytes = encoded(request);
  pace.chargeBytes(bytes.bytes.length);
  return bytes.decode() as Request;
};
