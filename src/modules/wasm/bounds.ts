/**
 * What code may come to before an engine sees it: an engine's work grows with the locals that a few bytes declare.
 * Pure.
 */
import { moduleFunctionBytesMax, moduleLocalsMax, moduleLocalsPerFunctionMax } from "../../limits.ts";

export type CodeBounds = {
  readonly localsPerFunctionMax: number;
  /** Of all functions together. */
  readonly localsMax: number;
  readonly functionBytesMax: number;
};

export const proposedCode: CodeBounds = {
  localsPerFunctionMax: moduleLocalsPerFunctionMax,
  localsMax: moduleLocalsMax,
  functionBytesMax: moduleFunctionBytesMax,
};

/** What a quorum approved goes on running, whenever that was: only its compile time is bounded. */
export const approvedCode: CodeBounds = {
  localsPerFunctionMax: Infinity,
  localsMax: Infinity,
  functionBytesMax: Infinity,
};
