/** Shared by commands that propose: flags, and the report on the proposal made. */
import type { Proposal } from "@sigil/client";
import { proposalLifetimeMsMax } from "../../limits.ts";
import { usage, type Arguments, type Flags } from "../terminal/command.ts";
import { timeText } from "../call/listing.ts";
import { approvals } from "./view.ts";
import { formatPairs, printable, type Terminal } from "../terminal/terminal.ts";

export const proposingFlags = {
  reason: { value: "TEXT", about: "Why, for the witnesses." },
  lifetime: { value: "TIME", about: "How long it may be attested: 90s, 30m, 12h or 7d; default 7d." },
  "separate-commit": { about: "Wait for sigil commit after the last approval." },
  "idempotency-key": { value: "KEY", about: "Makes a repeat safe for 24 hours." },
} as const satisfies Flags;

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
const lifetimeSecondsMax = proposalLifetimeMsMax / 1000;

/** @throws usage. @returns 0 if the flag is absent. */
export const parseLifetime = (text: string | undefined): number => {
  if (text === undefined) return 0;
  const [, count = "", unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (unitSeconds[unit] ?? 0);
  return seconds >= 1 && seconds <= lifetimeSecondsMax
    ? seconds
    : usage(`--lifetime must be a time such as 12h or 7d, at most ${lifetimeSecondsMax / 86_400}d`);
};

/** @throws usage. */
export const readProposing = (given: Arguments) => ({
  reason: given.text("reason") ?? "",
  lifetimeSeconds: parseLifetime(given.text("lifetime")),
  separateCommit: given.has("separate-commit"),
  idempotencyKey: given.text("idempotency-key") ?? "",
});

/** Formats the server's warning about a model. */
export const warningLine = (warning: string, { paint }: Pick<Terminal, "paint">): string =>
  `${paint("yellow", "WARNING")}  ${printable(warning)}`;

/** Formats what was proposed and the next steps. */
export const formatProposed = (proposal: Proposal, auditId: string, { paint }: Terminal): string => {
  const id = printable(proposal.id);
  const facts = formatPairs([
    ["record", proposal.recordId],
    ["expires", timeText(proposal.expireTime)],
    ["needs", approvals(proposal.approvalsNeeded)],
    ["audit id", auditId],
  ]);
  const next = [
    `sigil proposal ${id}   # the change, field by field`,
    `sigil attest ${id} --key witness.key   # each witness, where its key is`,
    ...(proposal.possessionNeeded
      ? [`sigil attest ${id} --key new.key --caller ID --caller-key FILE   # whoever holds the new key`]
      : []),
    ...(proposal.separateCommit ? [`sigil commit ${id}   # after the last approval`] : []),
  ];
  return [
    `${paint("green", "PROPOSED")}  ${id}`,
    "",
    facts,
    "",
    "Next:",
    ...next.map((line) => `  ${line}`),
  ].join("\n");
};
