/**
 * The program of a sandbox process. It reads its own files at start and then drops that permission; from then on it can
 * only compute and use its pipe to the server. Serves one task at a time, and ends with the server.
 */
import { SigilFault } from "../../errors.ts";
import { fromProcess, readMessage, toProcess, type Frame } from "../sandbox/protocol.ts";
import type { DropTask, LoadedReport, LoadTask, RunTask } from "../sandbox/tasks.ts";
import { Channel } from "./channel.ts";
import { inspectProgram, loadProgram, runProgram, type Program } from "./program.ts";

const channel = new Channel();
const programs = new Map<number, Program>();

const inspect = (bytes: Uint8Array): unknown => {
  try {
    return { inspection: inspectProgram(bytes) };
  } catch (cause) {
    if (cause instanceof SigilFault) return { error: cause.error };
    throw cause;
  }
};

const load = (task: LoadTask, bytes: Uint8Array): void => {
  const program = loadProgram(bytes, task);
  if (typeof program !== "string") programs.set(task.slot, program);
  const report: LoadedReport = { rule: typeof program === "string" ? program : null };
  channel.sendMessage(fromProcess.loaded, report);
};

const run = (task: RunTask, input: Uint8Array): void => {
  const program = programs.get(task.slot);
  if (program === undefined) throw new Error("the server asks for a module that it did not load");
  channel.sendMessage(fromProcess.ended, { ...runProgram(channel, program, task, input), token: task.token });
};

const serve = ({ kind, body }: Frame): void => {
  const { header, rest } = readMessage(body);
  if (kind === toProcess.load) load(header as LoadTask, rest);
  else if (kind === toProcess.drop) programs.delete((header as DropTask).slot);
  else if (kind === toProcess.run) run(header as RunTask, rest);
  else if (kind === toProcess.inspect) channel.sendMessage(fromProcess.inspected, inspect(rest));
  else throw new Error(`the server says something of kind ${kind}`);
};

/** One task per turn of the event loop, so that the engine's background work can run in between. */
const turn = (): void => {
  const frame = channel.receive();
  if (frame === null) process.exit(0);
  serve(frame);
  setImmediate(turn);
};

/** `drop` was added in a later release of Node 24; without it the process can still read its own program. */
const permission: NodeJS.ProcessPermission & { readonly drop?: (scope: string) => void } = process.permission;
permission.drop?.("fs.read");
const mayRead = permission.has("fs.read", import.meta.filename);
const scopes = ["fs.write", "child", "worker", "addon", "wasi", "inspector"];
channel.sendMessage(fromProcess.ready, { mayRead, holds: scopes.filter((scope) => permission.has(scope)) });
turn();
