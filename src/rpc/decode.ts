/** Requests that are no protobuf reach their handler as `malformed`, so that they get the same kind of answer as any. */
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";

export const malformed: unique symbol = Symbol("malformed request");

const tolerant = (method: MethodDefinition<unknown, unknown>): MethodDefinition<unknown, unknown> => ({
  ...method,
  requestDeserialize: (bytes) => {
    try {
      return method.requestDeserialize(bytes);
    } catch {
      return malformed;
    }
  },
});

/** The service as it is, but deserialising never throws. */
export const tolerantService = (service: ServiceDefinition): ServiceDefinition =>
  Object.fromEntries(Object.entries(service).map(([name, method]) => [name, tolerant(method)]));
