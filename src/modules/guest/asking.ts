/**
 * The host functions of `sigil_v1`: requests to the server, which authorizes, counts and answers them. Source:
 * docs/spec/sandbox.md §4.
 */
import { fromProcess, readMessage, toProcess } from "../sandbox/protocol.ts";
import type { HostRequest } from "../sandbox/run.ts";
import type { AnswerTask } from "../sandbox/tasks.ts";
import { hostErrorCodes } from "../wasm/host-functions.ts";
import type { Channel } from "./channel.ts";
import { LimitReached } from "./ending.ts";
import { OutsideMemory, type GuestMemory } from "./memory.ts";

type Import = (...values: readonly number[]) => number;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** More than any id, action or target that the server accepts. */
const questionBytesMax = 4096;

/** Overflows before the request is sent if the module has left too little stack to process the answer. */
const reserveStack = (frames = 64): number => (frames === 0 ? 0 : 1 + reserveStack(frames - 1));

class NotText extends Error {}

const textAt = (memory: GuestMemory, pointer: number, bytes: number): string => {
  if (bytes > questionBytesMax) throw new NotText();
  try {
    return decoder.decode(memory.slice(pointer, bytes));
  } catch (cause) {
    throw cause instanceof TypeError ? new NotText() : cause;
  }
};

export type Asking = {
  readonly channel: Channel;
  readonly memory: GuestMemory;
  readonly hostCallsMax: number;
  /** Flushes output before the module waits. */
  readonly flush: () => void;
};

export const hostImports = ({ channel, memory, hostCallsMax, flush }: Asking): Record<string, Import> => {
  let calls = 0;
  let answer = new Uint8Array();
  const ask = (request: HostRequest): number => {
    reserveStack();
    calls += 1;
    if (calls > hostCallsMax) throw new LimitReached("host_calls");
    flush();
    channel.sendMessage(fromProcess.call, request);
    const frame = channel.receive();
    if (frame === null) process.exit(0);
    if (frame.kind !== toProcess.answer) throw new Error("the server answered with something else");
    const { header, rest } = readMessage(frame.body);
    answer = new Uint8Array(rest);
    const { code } = header as AnswerTask;
    return code === 0 ? answer.length : code;
  };
  const guarded =
    (call: Import): Import =>
    (...values) => {
      try {
        return call(...values.map((value) => value >>> 0));
      } catch (cause) {
        if (cause instanceof OutsideMemory || cause instanceof NotText) return hostErrorCodes.invalid;
        throw cause;
      }
    };
  return {
    canon_read: guarded((id = 0, idBytes = 0) =>
      ask({ kind: "canon.read", id: textAt(memory, id, idBytes) }),
    ),
    trust_check: guarded((action = 0, actionBytes = 0, target = 0, targetBytes = 0) =>
      ask({
        kind: "trust.check",
        action: textAt(memory, action, actionBytes),
        target: textAt(memory, target, targetBytes),
      }),
    ),
    answer: guarded((from = 0, into = 0, bytes = 0) => {
      const part = answer.subarray(from, from + bytes);
      memory.set(into, part);
      return part.length;
    }),
  };
};
