/** Sigil as its command serves it, of this checkout or another, and a grpc-js server that does nothing. */
import { join } from "node:path";
import { CheckResponse, createTokenSigner } from "@sigil/client";
import { repository } from "../../scripts/run.ts";
import { freePort } from "../../test/contract/free-port.ts";
import { startActor } from "../actor.ts";
import { makeScratchOf } from "../checkout.ts";
import type { Question } from "./generator.ts";
import { startProcess } from "./process.ts";
import {
  action,
  batchDecisions,
  numbered,
  target,
  targetAt,
  type Asked,
  type Place,
  type Served,
  type ServerId,
} from "./served.ts";

const descriptors = join(repository, "generated", "descriptors.binpb");
const service = "sigil.trust.v1.TrustService";
const promise = "signed, sealed, in the tree, synced";

const question = { action, target, session: "5f1c" } as const;

type Own = {
  readonly id: ServerId;
  /** The repository that serves. */
  readonly checkout: string;
  /** Before the titles of another checkout's loads. */
  readonly label: string;
  /** checks: what a caller asks all day. modules: of a principal who may run code. */
  readonly loads: "checks" | "modules";
};

type Ask = (method: string, request: unknown, rest?: Partial<Question>) => () => Question;

const checksAsked = (ask: Ask, label: string): readonly Asked[] => {
  const check = ask(`${service}/Check`, question, { expect: [{ path: "verdict", value: "VERDICT_ALLOW" }] });
  const checks = numbered((index) => ({ ...question, target: targetAt(index) }));
  return [
    { load: "unary", title: `${label}Check`, question: check },
    { load: "alone", title: `${label}Check, 1 in flight`, question: check },
    {
      load: "batch",
      title: `${label}BatchCheck of ${batchDecisions}`,
      question: ask(
        `${service}/BatchCheck`,
        { checks },
        {
          expect: [{ path: "results.decision.verdict", value: "VERDICT_ALLOW" }],
          decisions: batchDecisions,
        },
      ),
    },
  ];
};

const modulesAsked = (ask: Ask, label: string): readonly Asked[] => [
  {
    load: "gate",
    title: `${label}Check, 16 in flight`,
    question: ask(`${service}/Check`, question, { expect: [{ path: "verdict", value: "VERDICT_ALLOW" }] }),
  },
  {
    load: "run",
    title: `${label}Run of a warm module, 16 in flight`,
    question: ask(
      "sigil.module.v1.ModuleService/Run",
      { name: "hello", inputJson: '{"name":"Ada"}' },
      {
        expect: [
          { path: "exit_code", value: "0" },
          { path: "output_json", value: '{"greeting":"hello, Ada"}' },
        ],
      },
    ),
  },
];

export const startSigil = async (
  { directory, signal, processes }: Omit<Place, "program">,
  { id, checkout, label, loads }: Own,
): Promise<Served> => {
  // At this rate the default model lets an operator write, but not run code.
  const level = loads === "checks" ? "operator" : "mentor";
  const scratch = await makeScratchOf(checkout, directory, "data", level);
  const [port, operatorPort] = [await freePort(), await freePort()];
  const command = [
    process.execPath,
    join(checkout, "bin", "sigil.js"),
    "serve",
    `--data=${scratch.directory}`,
    `--listen=127.0.0.1:${port}`,
    `--operator-listen=127.0.0.1:${operatorPort}`,
    "--log-level=warn",
  ];
  const server = await startProcess(command, port, {
    output: join(directory, "output.log"),
    signal,
    processes,
  });
  const signer = createTokenSigner(scratch);
  const ask: Ask = (method, request, rest) => () => ({
    kind: "grpc",
    address: `127.0.0.1:${port}`,
    method,
    descriptors,
    metadata: { authorization: `Bearer ${signer.token()}` },
    request,
    ...rest,
  });
  const asked = loads === "checks" ? checksAsked(ask, label) : modulesAsked(ask, label);
  return { pid: server.pid, id, promise, asked, keptIn: scratch.directory };
};

/** Decodes a check and answers all of them with what a Sigil has answered. */
export const startNothing = async (
  { generator, processes }: Pick<Place, "generator" | "processes">,
  sigil: Served,
): Promise<Served> => {
  const like = sigil.asked.find(({ load }) => load === "unary");
  if (like === undefined) throw new Error("there is no check to answer");
  const reply = CheckResponse.toJSON(CheckResponse.fromJSON(await generator.call(like.question())));
  const actor = processes.use(startActor("serve-nothing.ts", reply));
  const address = await actor.ask<string>("target");
  return {
    id: "nothing",
    promise: "nothing",
    pid: actor.pid,
    asked: [
      {
        load: "unary",
        title: "A grpc-js server that does nothing",
        question: () => ({ ...like.question(), address }),
      },
      {
        load: "alone",
        title: "A grpc-js server that does nothing, 1 in flight",
        question: () => ({ ...like.question(), address }),
      },
    ],
  };
};
