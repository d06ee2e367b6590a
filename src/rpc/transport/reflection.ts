/** Server reflection, grpc.reflection.v1 (and v1alpha, for older tools), from the built descriptors. */
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { Server, ServerDuplexStream, ServiceDefinition } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { assert } from "../../errors.ts";
import { flowOfPeer } from "../call/identify.ts";
import type { Pacing } from "../call/pacing.ts";
import { readDescriptors } from "./descriptors.ts";

type Package = ConstructorParameters<typeof ReflectionService>[0];

/** Splits a FileDescriptorSet into its encoded files (repeated field 1). */
const splitFiles = (set: Uint8Array): readonly Buffer[] => {
  const reader = new BinaryReader(set);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1 && wireType === WireType.LengthDelimited) files.push(Buffer.from(reader.bytes()));
    else reader.skip(wireType);
  }
  return files;
};

/** Unread answers before the next request is read: an answer may be a hundred times as large as its request. */
const unreadAnswersMax = 8;

/** Room for a name and some overhead; answers repeat their request. */
const questionBytesMax = 1024;

/** Replaces a request that is too long: it is answered like one of unknown kind. */
const tooLong = { host: "", messageRequest: `question of more than ${questionBytesMax} bytes` };

const bounded = (service: ServiceDefinition): ServiceDefinition =>
  Object.fromEntries(
    Object.entries(service).map(([name, method]) => {
      const { requestDeserialize } = method;
      const read = (bytes: Buffer): unknown =>
        bytes.length > questionBytesMax ? tooLong : requestDeserialize(bytes);
      return [name, { ...method, requestDeserialize: read }];
    }),
  );

type Handler = (stream: ServerDuplexStream<unknown, unknown>) => void;

/**
 * Adds backpressure and pacing: the library answers every request at once, whether or not answers are read. Here each
 * is answered in a turn of its peer.
 */
const paced =
  (handler: Handler, pacing: Pacing): Handler =>
  (stream) => {
    const flow = flowOfPeer({ pacing }, stream);
    const isWanted = (): boolean => !stream.cancelled;
    let unread = 0;
    /** Questions that wait for their turn. */
    let taken = 0;
    let halfClosed: (() => void) | undefined;
    const proceed = (): void => {
      if (taken > 0) return;
      if (unread < unreadAnswersMax) stream.resume();
      const end = halfClosed;
      halfClosed = undefined;
      end?.();
    };
    const write = stream.write.bind(stream) as (answer: unknown, done: () => void) => boolean;
    const writePaced = (answer: unknown): boolean => {
      unread += 1;
      if (unread >= unreadAnswersMax) stream.pause();
      return write(answer, () => {
        unread -= 1;
        proceed();
      });
    };
    const on = stream.on.bind(stream);
    const answerInTurn = async (question: unknown, answer: (question?: unknown) => void): Promise<void> => {
      taken += 1;
      stream.pause();
      await flow.enter(1, isWanted);
      try {
        if (isWanted()) flow.run(() => answer(question));
      } finally {
        flow.leave();
        taken -= 1;
        proceed();
      }
    };
    const onPaced = (event: string, listener: (question?: unknown) => void): unknown => {
      if (event === "data") return on(event, (question) => void answerInTurn(question, listener));
      if (event !== "end") return on(event, listener);
      // May come while the last question waits for its turn, although the stream is paused.
      return on(event, () => {
        halfClosed = listener;
        proceed();
      });
    };
    handler(Object.assign(stream, { write: writePaced, on: onPaced }));
  };

type Answering = readonly [service: ServiceDefinition, handler: Handler];

/**
 * Both versions of the service, over immutable descriptors. @param names of the served services, a subset of the
 * descriptors.
 */
const buildServices = (names: readonly string[]): readonly Answering[] => {
  // The service reads only this list of descriptors.
  const sigil: Package[string] = {
    format: "Protocol Buffer 3 EnumDescriptorProto",
    type: {},
    fileDescriptorProtos: [...splitFiles(readDescriptors())],
  };
  const services: Answering[] = [];
  const addService = (service: ServiceDefinition, handlers: Readonly<Record<string, unknown>>): void => {
    const { ServerReflectionInfo: handler } = handlers;
    assert(typeof handler === "function", "the reflection service has another method");
    services.push([bounded(service), handler as Handler]);
  };
  new ReflectionService({ sigil }, { services: [...names] }).addToServer({ addService });
  return services;
};

/** Served by a package with its own stubs. */
const healthName = "grpc.health.v1.Health";

const nameOf = (service: ServiceDefinition): string => Object.values(service)[0]?.path.split("/")[1] ?? "";

/** Cached per process by served names: indexing the descriptors takes as long as the rest of a server's start. */
const built = new Map<string, readonly Answering[]>();

export const addReflection = (server: Server, served: readonly ServiceDefinition[], pacing: Pacing): void => {
  const names = [...served.map(nameOf), healthName];
  const services = built.get(names.join()) ?? buildServices(names);
  built.set(names.join(), services);
  for (const [service, handler] of services)
    server.addService(service, { ServerReflectionInfo: paced(handler, pacing) });
};
