/** Proposals that wait for witnesses: what each would change, who approved, and which verdicts it would flip. */
import { h, type JSX } from "preact";
import { useState } from "preact/hooks";
import { useGet, useSimulation } from "./asked.ts";
import { diffPayloads, type Diff } from "./diff.ts";
import type { Ask, Outcome } from "./problem.ts";
import { decisionAddress, proposalAddress } from "./route.ts";
import type { Proposal as Shape, ProposalPage, Simulation, SystemRecord } from "./shapes.ts";
import { code, facts, hex, problemPanel, shown, table, verdict } from "./shown.ts";
import { decimal, enumName, shownTime } from "./text.ts";

const pageSize = 20;
const simulatedDecisions = 200;

const useOpen = (ask: Ask, pageToken: string) =>
  useGet<ProposalPage>(ask, {
    path: "/canon/system/proposals",
    query: { state: "PROPOSAL_STATE_OPEN", page_size: String(pageSize), page_token: pageToken },
  }).outcome;

export const Proposals = ({ ask }: { readonly ask: Ask }): JSX.Element => {
  const [pageToken, setPageToken] = useState("");
  const outcome = useOpen(ask, pageToken);
  const heading = h("h2", { id: "title", tabIndex: -1 }, "Proposals that wait");
  if (outcome === undefined) return h("section", null, heading, h("p", { class: "quiet" }, "Reading…"));
  if (outcome.kind === "problem") return h("section", null, heading, problemPanel(outcome.problem));
  const { proposals, nextPageToken } = outcome.body;
  return h("section", { "aria-labelledby": "title" }, [
    heading,
    table({
      caption: "Open proposals, newest first",
      columns: [
        {
          head: "Record",
          kind: "name",
          cell: ({ id, recordId }) => h("a", { href: proposalAddress(id) }, shown(recordId)),
        },
        { head: "Kind", cell: ({ kind }) => shown(kind) },
        { head: "Proposer", cell: ({ proposer }) => shown(proposer) },
        { head: "Why", cell: ({ reason }) => (reason === "" ? "no reason given" : shown(reason)) },
        { head: "Still needed", kind: "number", cell: ({ approvalsNeeded }) => approvalsNeeded },
        { head: "Expires, UTC", cell: ({ expireTime }) => shownTime(expireTime) },
      ],
      items: proposals,
      keyOf: ({ id }) => id,
      empty: "No proposal waits.",
    }),
    nextPageToken === ""
      ? null
      : h("button", { type: "button", onClick: () => setPageToken(nextPageToken) }, "Older proposals"),
  ]);
};

const diffTable = ({ lines, leftOut }: Diff): JSX.Element =>
  h("div", null, [
    table({
      caption: "What it would change: − as it is now, + as proposed",
      columns: [
        {
          head: "Sign",
          cell: ({ sign }) =>
            h("span", { class: sign === "-" ? "minus" : "plus" }, sign === "-" ? "− now" : "+ proposed"),
        },
        { head: "Path", cell: ({ path }) => code(path === "" ? "the whole" : path) },
        { head: "Value", cell: ({ value }) => code(value) },
      ],
      items: lines,
      keyOf: ({ sign, path }) => sign + path,
      empty: "It changes nothing.",
    }),
    leftOut === 0 ? null : h("p", null, `${leftOut} lines more: sigil proposal shows all of them.`),
  ]);

/** A record that is not there yet is no problem: it would be new. */
const currentOf = (outcome: Outcome<SystemRecord>): string | undefined =>
  outcome.kind === "answer" && !outcome.body.record.tombstone
    ? outcome.body.record.record.payloadJson
    : undefined;

const diffOf = (proposal: Shape, outcome: Outcome<SystemRecord> | undefined): JSX.Element => {
  if (outcome === undefined) return h("p", { class: "quiet" }, "Reading the record as it is…");
  if (outcome.kind === "problem" && outcome.problem.status !== 404) return problemPanel(outcome.problem);
  if (proposal.payloadJson === "")
    return h("p", null, "It is too long to show, or ends the record: see sigil proposal.");
  try {
    return diffTable(diffPayloads(currentOf(outcome), proposal.payloadJson));
  } catch (error) {
    return h("p", { class: "problem", role: "alert" }, shown(String(error)));
  }
};

const Flips = ({ ask, id }: { readonly ask: Ask; readonly id: string }): JSX.Element => {
  const body = { proposalId: id, lastDecisions: simulatedDecisions };
  const { outcome } = useSimulation<Simulation>(ask, body);
  if (outcome === undefined) return h("p", { class: "quiet" }, "Simulating…");
  if (outcome.kind === "problem") return problemPanel(outcome.problem);
  const { scored, flipped, erased, warnings, decisions } = outcome.body;
  return h("div", null, [
    h(
      "p",
      null,
      `${flipped} of the last ${scored} decisions would have another verdict${erased === 0 ? "." : `; ${erased} were erased.`}`,
    ),
    warnings.length === 0
      ? null
      : h(
          "ul",
          { class: "problem" },
          warnings.map((warning, at) => h("li", { key: at }, shown(warning))),
        ),
    table({
      caption: "Verdicts that flip, newest first",
      columns: [
        {
          head: "Decision",
          kind: "name",
          cell: ({ auditId }) => h("a", { href: decisionAddress(auditId, "") }, shown(auditId)),
        },
        { head: "Action", cell: ({ action }) => shown(action) },
        { head: "Target", cell: ({ target }) => shown(target) },
        { head: "Subject", cell: ({ subject }) => (subject === "" ? "anonymous" : shown(subject)) },
        { head: "Was", cell: ({ current }) => verdict(current) },
        { head: "Would be", cell: ({ candidate }) => verdict(candidate) },
        {
          head: "Score",
          kind: "number",
          cell: ({ candidateScore }) => (candidateScore === undefined ? "none" : decimal(candidateScore)),
        },
      ],
      items: decisions,
      keyOf: ({ auditId }) => auditId,
      empty: "None.",
    }),
  ]);
};

const One = ({ ask, proposal }: { readonly ask: Ask; readonly proposal: Shape }): JSX.Element => {
  const { id, recordId, kind, proposer, reason, time, expireTime, approvedBy, rejectedBy } = proposal;
  const path = `/canon/system/records/${recordId.split("/").map(encodeURIComponent).join("/")}`;
  const { outcome } = useGet<SystemRecord>(ask, { path });
  const names = (ids: readonly string[]): string | JSX.Element =>
    ids.length === 0 ? "nobody" : shown(ids.join(", "));
  return h("div", null, [
    facts([
      ["Record", code(recordId)],
      ["Kind", code(kind)],
      ["State", enumName("PROPOSAL_STATE", proposal.state)],
      ["Proposer", shown(proposer)],
      ["Why", reason === "" ? "no reason given" : shown(reason)],
      ["Proposed, UTC", shownTime(time)],
      ["Expires, UTC", shownTime(expireTime)],
      ["Approved by", names(approvedBy)],
      ["Rejected by", names(rejectedBy)],
      ["Still needed", String(proposal.approvalsNeeded)],
      ["Hash that witnesses sign", hex(proposal.recordHash)],
      ["Proposal", code(id)],
    ]),
    h(
      "p",
      { class: "quiet" },
      "Witnesses sign on their own machines, by sigil attest, which shows what is signed.",
    ),
    h("h3", null, "Change"),
    diffOf(proposal, outcome),
    ...(kind === "trust_model" ? [h("h3", null, "Flips"), h(Flips, { ask, id })] : []),
  ]);
};

/** Looked up among the open ones: its route takes no id with a slash. */
export const Proposal = ({ ask, id }: { readonly ask: Ask; readonly id: string }): JSX.Element => {
  const [pageToken, setPageToken] = useState("");
  const outcome = useOpen(ask, pageToken);
  const heading = h("h2", { id: "title", tabIndex: -1 }, "Proposal");
  if (outcome === undefined) return h("section", null, heading, h("p", { class: "quiet" }, "Reading…"));
  if (outcome.kind === "problem") return h("section", null, heading, problemPanel(outcome.problem));
  const { proposals, nextPageToken } = outcome.body;
  const proposal = proposals.find((each) => each.id === id);
  if (proposal !== undefined)
    return h("section", { "aria-labelledby": "title" }, heading, h(One, { ask, proposal }));
  return h("section", { "aria-labelledby": "title" }, [
    heading,
    h("p", null, "It is not among these open proposals; it may have ended."),
    nextPageToken === ""
      ? null
      : h("button", { type: "button", onClick: () => setPageToken(nextPageToken) }, "Look among older ones"),
  ]);
};
