/**
 * How a run ends: exceptions thrown through the module's frames, which it cannot catch, and the exit that each means.
 */
import type { KillingLimit, RunExit } from "../sandbox/run.ts";

/** `proc_exit`. */
export class GuestExit extends Error {
  readonly code: number;
  constructor(code: number) {
    super("the module ends");
    this.code = code;
  }
}

/** A limit is reached; the server detects it as well. */
export class LimitReached extends Error {
  readonly limit: KillingLimit;
  constructor(limit: KillingLimit) {
    super(`the limit ${limit} is reached`);
    this.limit = limit;
  }
}

/** Engine error messages by trap. The names are those of docs/spec/sandbox.md. */
const TRAPS: readonly (readonly [RegExp, string])[] = [
  [/unreachable/, "unreachable"],
  [/memory access out of bounds|segment .*out of bounds/, "memory_out_of_bounds"],
  [/table index|table access|table .*out of bounds/, "table_out_of_bounds"],
  [/null function|signature mismatch|dereferencing a null/, "indirect_call"],
  [/divide by zero|remainder by zero/, "divide_by_zero"],
  [/unrepresentable/, "integer_overflow"],
];

const trapOf = (message: string): string => TRAPS.find(([pattern]) => pattern.test(message))?.[1] ?? "other";

/** @throws errors that no module can cause, which end the process. */
export const exitOf = (thrown: unknown, isOverBudget: boolean): RunExit => {
  if (thrown instanceof GuestExit) return { kind: "exited", code: thrown.code };
  if (thrown instanceof LimitReached) return { kind: "killed", limit: thrown.limit };
  if (thrown instanceof WebAssembly.RuntimeError) {
    return { kind: "trapped", trap: isOverBudget ? "memory_limit" : trapOf(thrown.message) };
  }
  if (thrown instanceof RangeError) {
    // A RangeError about memory means that the machine has no room; any other means a stack overflow.
    const isMemory = /allocat|memory/i.test(thrown.message);
    return isMemory ? { kind: "killed", limit: "memory" } : { kind: "trapped", trap: "stack_overflow" };
  }
  if (thrown instanceof WebAssembly.LinkError) return { kind: "refused", rule: "imports what is not there" };
  throw thrown;
};
