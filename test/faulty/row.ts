/** What a suite plays: a row of the table that `main.ts` prints. Source: test/faulty/README.md. */

export type Call = "check" | "batch" | "stream";

export type Row = {
  /** Unique, of letters, digits and `-`. */
  readonly name: string;
  readonly what: string;
  readonly target: string;
  /** Without it, no TLS. */
  readonly tls?: { readonly caFile: string; readonly serverName?: string };
  /** Variables of the environment to play it in. */
  readonly env?: Readonly<Record<string, string>>;
  readonly call: Call;
  /** Only a client that verifies decisions can notice the fault. */
  readonly needsVerification?: true;
  /** How often the first question is asked before, on the same connection; those answers do not count. */
  readonly before?: number;
  /** What the first question has besides. A way to ask that has no place for it leaves the row out. */
  readonly about?: { readonly subject?: string; readonly input?: string };
  /** A file with a token to send; without it, the client makes its own with the key. */
  readonly tokenFile?: string;
  /** The origin that the client makes its tokens for, if not the table's. */
  readonly origin?: string;
  readonly deadlineMs: number;
  readonly expect: "allow" | "deny" | "error" | "either";
};

type Question = { readonly action: string; readonly target: string };

export type Table = {
  readonly format: string;
  readonly origin: string;
  readonly principal: string;
  /** PKCS #8 PEM of the principal's Ed25519 key, mode 0600. */
  readonly keyFile: string;
  /** SHA-256 of the genesis record, hex. */
  readonly genesis: string;
  /** The first is asked by `check`, all of them by `batch` and `stream`, there as "1", "2". */
  readonly questions: readonly [Question, Question];
  /** Everything that reached the proxies of the environment. */
  readonly recordedFile: string;
  readonly rows: readonly Row[];
};

/** A fault answers at once, fails, or never answers: then the call ends with this deadline. */
const faultDeadlineMs = 1500;
/** Calls that an honest server answers, on a machine however busy. */
export const honestDeadlineMs = 60_000;

export const questions = [
  { action: "write", target: "user/notes" },
  { action: "write", target: "user/notes/2" },
] as const;

type Fault = Pick<Row, "name" | "what" | "target"> & Partial<Row>;

/** A row of the ordinary kind: without TLS, one check, no allow. */
export const fault = (given: Fault): Row => ({
  call: "check",
  deadlineMs: given.needsVerification === true ? honestDeadlineMs : faultDeadlineMs,
  expect: "error",
  ...given,
});

export const control = (given: Fault): Row => ({
  call: "check",
  deadlineMs: honestDeadlineMs,
  ...given,
  expect: "allow",
});
