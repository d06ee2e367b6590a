/** What comes of a call of the API, and what a person can do about one that failed. Pure. */

/** A problem of RFC 9457 as docs/operating/http.md has it; `status` 0 when no answer came at all. */
export type Problem = {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  readonly reason: string;
  readonly requestId: string;
  /** Seconds after which a repeat is worth trying; undefined when the server does not say. */
  readonly retrySeconds: number | undefined;
  readonly facts: Readonly<Record<string, string>>;
};

export type Outcome<Body> =
  | { readonly kind: "answer"; readonly body: Body }
  | { readonly kind: "problem"; readonly problem: Problem };

export type Query = Readonly<Record<string, string>>;

export type Ask = {
  /** GET. @param path its segments encoded. Empty values of the query are left out. */
  readonly get: <Body>(path: string, query: Query, signal: AbortSignal) => Promise<Outcome<Body>>;
  /** The one POST of the page, which records nothing. */
  readonly simulate: <Body>(body: object, signal: AbortSignal) => Promise<Outcome<Body>>;
};

const memberOf = (body: unknown, name: string): unknown =>
  typeof body === "object" && body !== null ? (body as Readonly<Record<string, unknown>>)[name] : undefined;

const textOf = (body: unknown, name: string): string => {
  const value = memberOf(body, name);
  return typeof value === "string" ? value : "";
};

const factsOf = (body: unknown): Problem["facts"] => {
  const facts = memberOf(body, "facts");
  if (typeof facts !== "object" || facts === null) return {};
  return Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, String(value)]));
};

/** Of an answer that is none. @param body parsed; anything at all. */
export const problemOf = (status: number, body: unknown, retryAfter: string | null): Problem => ({
  status,
  title: textOf(body, "title") || `Status ${status}`,
  detail: textOf(body, "detail"),
  code: textOf(body, "code"),
  reason: textOf(body, "reason"),
  requestId: textOf(body, "requestId"),
  retrySeconds: retryAfter === null || !/^\d{1,6}$/.test(retryAfter) ? undefined : Number(retryAfter),
  facts: factsOf(body),
});

export const unreachable = (detail: string): Problem => ({
  ...problemOf(0, {}, null),
  title: "No answer",
  detail,
});

/** Whether what was asked may be asked again without a change. */
export const isPassing = ({ status }: Problem): boolean =>
  status === 0 || status === 429 || status === 503 || status === 504;

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

/** What a level lacks; undefined when that is not what is wrong. */
export const levelNeeded = ({ reason, facts }: Problem): string | undefined =>
  reason === "LEVEL_TOO_LOW" ? capital(facts["needed"] ?? "a higher level") : undefined;

/** One sentence: what to do next. */
export const nextStep = (problem: Problem): string => {
  const needed = levelNeeded(problem);
  if (needed !== undefined) return `Give a token of a principal of level ${needed} or above.`;
  if (problem.code === "DATA_LOSS")
    return "Rely on nothing that it says. Run sigil fsck, and go on as docs/operating/recovery.md says.";
  if (problem.status === 401) return "Give another token: this one has ended, or never held.";
  if (problem.status === 404) return "Check the id: it may be wrong, or of another tenant.";
  if (problem.code === "OUT_OF_RANGE")
    return "Begin again: the ledger is another one than before, or was restored from a backup.";
  if (isPassing(problem)) return `Try again after ${problem.retrySeconds ?? 5} s.`;
  if (problem.status >= 500) return "Look for the request's id in the server's log.";
  return "Correct what was asked for, and try again.";
};
