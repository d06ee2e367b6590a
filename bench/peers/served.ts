/** A server that is running, with the loads that it is measured by. */
import type { Generator, Question } from "./generator.ts";

export const serverIds = [
  "nothing",
  "sigil",
  "sigil-modules",
  "opa",
  "opa-log",
  "cerbos",
  "cerbos-file",
  "cerbos-badger",
  "openfga-memory",
  "openfga-sqlite",
  "spicedb",
] as const;
/** Another checkout's Sigil is `before-1`, `before-2` and so on. */
export type ServerId = (typeof serverIds)[number] | `before-${number}`;

/**
 * unary: 64 calls in flight, then half of that rate. alone: one in flight. batch: 8 calls of 100 decisions. gate and
 * run: `Check` and `Run`, 16 in flight each, of a principal who may run code.
 */
export const loadNames = ["unary", "alone", "batch", "gate", "run"] as const;
export type LoadName = (typeof loadNames)[number];

export const connections = 4;
export const batchDecisions = 100;
export const inFlightOf: Readonly<Record<LoadName, number>> = {
  unary: 64,
  alone: 1,
  batch: 8,
  gate: 16,
  run: 16,
};

export type Asked = {
  readonly load: LoadName;
  readonly title: string;
  /** A new one for each run: it may carry a token. */
  readonly question: () => Question;
};

export type Served = {
  readonly id: ServerId;
  /** What has happened before a reply leaves. */
  readonly promise: string;
  readonly pid: number;
  readonly asked: readonly Asked[];
  /** Where it keeps its records or its log. None: it keeps nothing. */
  readonly keptIn?: string;
};

/** What starting a server takes. */
export type Place = {
  readonly generator: Generator;
  /** An empty one for each server. */
  readonly directory: string;
  readonly signal: AbortSignal;
  /** What ends its processes. */
  readonly processes: AsyncDisposableStack;
  /** The built server. */
  readonly program: string;
};

export const numbered = <Item>(make: (index: number) => Item): readonly Item[] =>
  Array.from({ length: batchDecisions }, (_, index) => make(index));

/** What is asked about everywhere. */
export const asker = "operator";
/** What every policy allows at every rate: by the default model of a Sigil too, whose risk of a write grows with it. */
export const action = "read";
export const target = "user/notes/shopping";
export const targetAt = (index: number): string => `user/notes/${index}`;
