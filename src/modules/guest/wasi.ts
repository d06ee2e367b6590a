/**
 * WASI preview 1 with one argument, standard input, output and error, optionally a clock and random bytes, and nothing
 * else. Every function exists; those for files, directories, sockets and processes return errors. Source: WASI preview
 * 1 (wasi_snapshot_preview1), docs/spec/sandbox.md §3.
 */
import { preview1 } from "../wasm/preview1.ts";
import { clockStepNs, type GuestClock } from "./clock.ts";
import { GuestExit } from "./ending.ts";
import { OutsideMemory, type GuestMemory } from "./memory.ts";
import type { GuestOutput } from "./output.ts";
import { poll } from "./poll.ts";
import type { GuestRandom } from "./random.ts";

export type Guest = {
  readonly memory: GuestMemory;
  readonly name: string;
  readonly input: Uint8Array;
  readonly output: GuestOutput;
  readonly log: GuestOutput;
  readonly clock: GuestClock;
  readonly random: GuestRandom;
};

const errno = {
  success: 0,
  badDescriptor: 8,
  fault: 21,
  invalid: 28,
  notImplemented: 52,
  notSocket: 57,
  seekOnPipe: 70,
  notCapable: 76,
} as const;

/** The engine passes signed 32-bit numbers, or bigints. */
type Import = (...values: readonly number[]) => number;

const characterDevice = 2;
const rightToRead = 1n << 1n;
const rightToWrite = 1n << 6n;
const iovecBytes = 8;
const realtime = 0;
const clocks = 4;

const encoder = new TextEncoder();

/** Standard input, output and error; a module may close them. */
const openDescriptors = () => {
  const open = new Set([0, 1, 2]);
  /** The error of an operation that this kind of descriptor does not support. */
  const refused = (descriptor: number, code: number): number =>
    open.has(descriptor) ? code : errno.badDescriptor;
  return { open, refused };
};

/** The buffers of a vectored read or write, all bounds-checked before the first is accessed. */
const buffersOf = (memory: GuestMemory, iovecs: number, count: number): readonly Uint8Array[] => {
  memory.slice(iovecs, count * iovecBytes);
  return Array.from({ length: count }, (_, index) => {
    const at = iovecs + index * iovecBytes;
    return memory.slice(memory.u32(at), memory.u32(at + 4));
  });
};

const streams = ({ memory, input, output, log }: Guest, open: Set<number>): Record<string, Import> => {
  let read = 0;
  return {
    fd_write: (descriptor, iovecs = 0, count = 0, written = 0) => {
      if (!open.has(descriptor ?? -1) || descriptor === 0) return errno.badDescriptor;
      const buffers = buffersOf(memory, iovecs, count);
      memory.slice(written, 4);
      let bytes = 0;
      for (const buffer of buffers) {
        (descriptor === 1 ? output : log).write(buffer);
        bytes += buffer.length;
      }
      memory.setU32(written, bytes);
      return errno.success;
    },
    fd_read: (descriptor, iovecs = 0, count = 0, readAt = 0) => {
      if (!open.has(descriptor ?? -1) || descriptor !== 0) return errno.badDescriptor;
      const buffers = buffersOf(memory, iovecs, count);
      memory.slice(readAt, 4);
      const before = read;
      for (const buffer of buffers) {
        const part = input.subarray(read, read + buffer.length);
        buffer.set(part);
        read += part.length;
      }
      memory.setU32(readAt, read - before);
      return errno.success;
    },
  };
};

const descriptors = ({
  memory,
}: Guest): { readonly open: Set<number>; readonly calls: Record<string, Import> } => {
  const { open, refused } = openDescriptors();
  const nothingToDo = (descriptor = -1): number => refused(descriptor, errno.success);
  const onPipe = (descriptor = -1): number => refused(descriptor, errno.seekOnPipe);
  return {
    open,
    calls: {
      fd_close: (descriptor = -1) => (open.delete(descriptor) ? errno.success : errno.badDescriptor),
      fd_fdstat_get: (descriptor = -1, at = 0) => {
        if (!open.has(descriptor)) return errno.badDescriptor;
        memory.set(at, new Uint8Array(24).fill(characterDevice, 0, 1));
        memory.setU64(at + 8, descriptor === 0 ? rightToRead : rightToWrite);
        return errno.success;
      },
      fd_filestat_get: (descriptor = -1, at = 0) => {
        if (!open.has(descriptor)) return errno.badDescriptor;
        memory.set(at, new Uint8Array(64).fill(characterDevice, 16, 17));
        return errno.success;
      },
      fd_fdstat_set_flags: nothingToDo,
      fd_datasync: nothingToDo,
      fd_sync: nothingToDo,
      fd_seek: onPipe,
      fd_tell: onPipe,
      fd_pread: onPipe,
      fd_pwrite: onPipe,
      // No preopened directories; libraries stop at the first descriptor with this error.
      fd_prestat_get: () => errno.badDescriptor,
      fd_prestat_dir_name: () => errno.badDescriptor,
      sock_accept: (descriptor = -1) => refused(descriptor, errno.notSocket),
      sock_recv: (descriptor = -1) => refused(descriptor, errno.notSocket),
      sock_send: (descriptor = -1) => refused(descriptor, errno.notSocket),
      sock_shutdown: (descriptor = -1) => refused(descriptor, errno.notSocket),
      proc_raise: () => errno.notImplemented,
    },
  };
};

const surroundings = (guest: Guest): Record<string, Import> => {
  const { memory, clock, random } = guest;
  const argument = encoder.encode(`${guest.name}\0`);
  return {
    args_sizes_get: (count = 0, bytes = 0) => {
      memory.setU32(count, 1);
      memory.setU32(bytes, argument.length);
      return errno.success;
    },
    args_get: (pointers = 0, text = 0) => {
      memory.setU32(pointers, text);
      memory.set(text, argument);
      return errno.success;
    },
    environ_sizes_get: (count = 0, bytes = 0) => {
      memory.setU32(count, 0);
      memory.setU32(bytes, 0);
      return errno.success;
    },
    environ_get: () => errno.success,
    clock_res_get: (id = 0, at = 0) => {
      if (id >= clocks) return errno.invalid;
      memory.setU64(at, clockStepNs);
      return errno.success;
    },
    clock_time_get: (id = 0, _precision = 0, at = 0) => {
      if (id >= clocks) return errno.invalid;
      memory.setU64(at, clock.now(id === realtime ? "realtime" : "monotonic"));
      return errno.success;
    },
    random_get: (at = 0, bytes = 0) => {
      random(memory.slice(at, bytes));
      return errno.success;
    },
    poll_oneoff: (subscriptions = 0, events = 0, count = 0, countAt = 0) =>
      poll(guest, subscriptions, events, count, countAt),
    sched_yield: () => errno.success,
    proc_exit: (code = 0) => {
      throw new GuestExit(code);
    },
  };
};

/**
 * Converts 32-bit arguments to unsigned, as in WASI; 64-bit ones are used only as precision or flags and stay
 * unchanged.
 */
const guarded =
  (call: Import): Import =>
  (...values) => {
    try {
      return call(...values.map((value) => (typeof value === "number" ? value >>> 0 : value)));
    } catch (cause) {
      if (cause instanceof OutsideMemory) return errno.fault;
      throw cause;
    }
  };

/** All functions of preview 1, by name. */
export const wasiImports = (guest: Guest): Record<string, Import> => {
  const { open, calls } = descriptors(guest);
  const own: Record<string, Import> = { ...streams(guest, open), ...calls, ...surroundings(guest) };
  /** All other functions take a descriptor first: the three open ones do not support them, others are not open. */
  const elsewhere: Import = (descriptor = -1) =>
    open.has(descriptor) ? errno.notCapable : errno.badDescriptor;
  return Object.fromEntries(Object.keys(preview1).map((name) => [name, guarded(own[name] ?? elsewhere)]));
};
