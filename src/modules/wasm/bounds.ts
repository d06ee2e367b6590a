/**
 * Limits checked before the engine compiles code: a few bytes can declare many locals, which the engine's work grows
 * with. Pure.
 */
import { moduleFunctionBytesMax, moduleLocalsMax, moduleLocalsPerFunctionMax } from "../../limits.ts";

export type CodeBounds = {
  readonly localsPerFunctionMax: number;
  /** Locals of all functions together. */
  readonly localsMax: number;
  readonly functionBytesMax: number;
};

export const proposedCode: CodeBounds = {
  localsPerFunctionMax: moduleLocalsPerFunctionMax,
  localsMax: moduleLocalsMax,
  functionBytesMax: moduleFunctionBytesMax,
};

/** Approved code keeps running under later limits: only its compile time is bounded. */
export const approvedCode: CodeBounds = {
  localsPerFunctionMax: Infinity,
  localsMax: Infinity,
  functionBytesMax: Infinity,
};
