/** The ledger as it stands: checkpoint, witnesses, and whether what everybody needs is answered now. */
import { h, type JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useGet, type Asked } from "./asked.ts";
import { levelNeeded, type Ask } from "./problem.ts";
import type { ActiveModel, Checkpoint, Witnesses } from "./shapes.ts";
import { code, facts, hex, lines, problemPanel, shown, table } from "./shown.ts";

const refreshMs = 10_000;

const useTicks = (): number => {
  const [count, setCount] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") setCount((before) => before + 1);
    }, refreshMs);
    return () => clearInterval(timer);
  }, []);
  return count;
};

type Sign = { readonly name: string; readonly call: string; readonly asked: Asked<unknown> };

const signOf = ({ outcome, tookMs }: Asked<unknown>): string => {
  if (outcome === undefined) return "asking…";
  if (outcome.kind === "answer") return `answered in ${Math.round(tookMs)} ms`;
  const { problem } = outcome;
  const needed = levelNeeded(problem);
  return needed === undefined
    ? `${problem.title}: ${problem.detail}`
    : `not for this caller: needs ${needed}`;
};

const Health = ({ signs }: { readonly signs: readonly Sign[] }): JSX.Element =>
  h("section", { "aria-labelledby": "health" }, [
    h("h3", { id: "health" }, "Health"),
    h(
      "p",
      { class: "quiet" },
      "What this page asks, every 10 s while it is seen. /readyz on the operator's port says more.",
    ),
    table({
      caption: "Whether it is answered",
      columns: [
        { head: "What", kind: "name", cell: ({ name }) => name },
        { head: "Call", cell: ({ call }) => code(call) },
        { head: "Now", cell: ({ asked }) => shown(signOf(asked)) },
      ],
      items: signs,
      keyOf: ({ call }) => call,
      empty: "",
    }),
  ]);

const CheckpointPart = ({ asked: { outcome } }: { readonly asked: Asked<Checkpoint> }): JSX.Element => {
  if (outcome === undefined) return h("p", { class: "quiet" }, "Reading…");
  if (outcome.kind === "problem") return problemPanel(outcome.problem);
  const { origin, size, root, publicKey, checkpoint } = outcome.body;
  return h("div", null, [
    facts([
      ["Origin", code(origin)],
      ["Size", `${size} records`],
      ["Root", hex(root)],
      ["Signed by key", hex(publicKey)],
    ]),
    h("details", null, h("summary", null, "The signed note"), lines(checkpoint)),
  ]);
};

const WitnessPart = ({ asked: { outcome } }: { readonly asked: Asked<Witnesses> }): JSX.Element => {
  if (outcome === undefined) return h("p", { class: "quiet" }, "Reading…");
  if (outcome.kind === "problem") return problemPanel(outcome.problem);
  const { witnesses, quorum } = outcome.body;
  return h("div", null, [
    h("p", null, [
      `A change takes ${quorum.k} of ${quorum.n} witnesses; the registry is at epoch ${quorum.epoch}. `,
      quorum.proposerMayAttest
        ? "A witness may attest what it proposed."
        : "No witness may attest what it proposed.",
    ]),
    table({
      caption: "Enrolled witnesses",
      columns: [
        { head: "Witness", kind: "name", cell: ({ id }) => shown(id) },
        { head: "Owner", cell: ({ owner }) => shown(owner) },
        { head: "Authority", cell: ({ authority }) => (authority === "" ? "none" : shown(authority)) },
        { head: "Key thumbprint", cell: ({ thumbprint }) => hex(thumbprint) },
        { head: "Since position", kind: "number", cell: ({ enrolledPosition }) => shown(enrolledPosition) },
      ],
      items: witnesses,
      keyOf: ({ id }) => id,
      empty: "There are no witnesses.",
    }),
  ]);
};

export const Ledger = ({ ask }: { readonly ask: Ask }): JSX.Element => {
  const count = useTicks();
  const checkpoint = useGet<Checkpoint>(ask, { path: "/audit/checkpoint" }, count);
  const witnesses = useGet<Witnesses>(ask, { path: "/canon/witnesses" }, count);
  const model = useGet<ActiveModel>(ask, { path: "/trust/model" }, count);
  return h("section", { "aria-labelledby": "title" }, [
    h("h2", { id: "title", tabIndex: -1 }, "Ledger"),
    h(Health, {
      signs: [
        { name: "The ledger is read", call: "GET /audit/checkpoint", asked: checkpoint },
        { name: "The registry is read", call: "GET /canon/witnesses", asked: witnesses },
        { name: "A model decides", call: "GET /trust/model", asked: model },
      ],
    }),
    h("section", { "aria-labelledby": "checkpoint" }, [
      h("h3", { id: "checkpoint" }, "Newest checkpoint"),
      h(CheckpointPart, { asked: checkpoint }),
    ]),
    h("section", { "aria-labelledby": "witnesses" }, [
      h("h3", { id: "witnesses" }, "Witnesses"),
      h(WitnessPart, { asked: witnesses }),
    ]),
  ]);
};
