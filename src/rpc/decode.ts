/**
 * Requests from their bytes, with nothing lost on the way. One that is no good reaches its handler's wrapper as the fault
 * it is, so that it gets the same kind of answer as any.
 */
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { utf8Decode } from "../record/bytes.ts";
import { SigilFault } from "../record/errors.ts";
import { carryPermit } from "./intake.ts";
import { noteReplySize } from "./replies.ts";
import { replyBytesOf } from "./reply-bytes.ts";
import { withExactStructs } from "./struct.ts";

const malformed = (cause: unknown): SigilFault => {
  const rule = "the request is not a valid protobuf message";
  return new SigilFault({ kind: "invalidField", field: "", rule }, { cause });
};

/** Long answers are counted as they are serialised. */
const counted = ({ path, responseSerialize }: MethodDefinition<unknown, unknown>) =>
  replyBytesOf(path) === undefined
    ? responseSerialize
    : (reply: unknown): Buffer => {
        const bytes = responseSerialize(reply);
        noteReplySize(reply as object, bytes.length);
        return bytes;
      };

const strict = (method: MethodDefinition<unknown, unknown>): MethodDefinition<unknown, unknown> => ({
  ...method,
  responseSerialize: counted(method),
  requestDeserialize: (bytes) => {
    try {
      // Generated decoders take a reader as well; one of their own would put U+FFFD for what is no UTF-8.
      const reader: unknown = new BinaryReader(bytes, utf8Decode);
      return carryPermit(
        bytes,
        withExactStructs(method.path, method.requestDeserialize(reader as Buffer), bytes),
      );
    } catch (error) {
      return carryPermit(bytes, error instanceof SigilFault ? error : malformed(error));
    }
  },
});

/** The service as it is, but deserialising is strict and never throws. */
export const strictService = (service: ServiceDefinition): ServiceDefinition =>
  Object.fromEntries(Object.entries(service).map(([name, method]) => [name, strict(method)]));

/** @throws what deserialising found. */
export const requireMessage = <Request>(request: Request): Request => {
  if (request instanceof SigilFault) throw request;
  return request;
};
