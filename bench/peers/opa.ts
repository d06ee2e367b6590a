/** Open Policy Agent by its REST API, without a log and with its decision log on standard output, into a file. */
import { join } from "node:path";
import { freePort } from "../../test/contract/free-port.ts";
import type { Question } from "./generator.ts";
import { startProcess } from "./process.ts";
import {
  action,
  asker,
  batchDecisions,
  numbered,
  target,
  targetAt,
  type Place,
  type Served,
} from "./served.ts";

const policy = join(import.meta.dirname, "policy");

const inputOf = (asked: string) => ({ role: asker, action, target: asked });

export const startOpa = async (
  { directory, program, signal, processes }: Place,
  log: "none" | "console",
): Promise<Served> => {
  const port = await freePort();
  const output = join(directory, "opa.log");
  const command = [
    program,
    "run",
    "--server",
    `--addr=127.0.0.1:${port}`,
    "--log-level=error",
    "--disable-telemetry",
    ...(log === "console" ? ["--set=decision_logs.console=true"] : []),
    join(policy, "opa.rego"),
    join(policy, "opa-data.json"),
  ];
  const server = await startProcess(command, port, { output, signal, processes });
  const ask = (rule: string, input: unknown, decisions: number): Question => ({
    kind: "http",
    address: `http://127.0.0.1:${port}/v1/data/sigil/bench/${rule}`,
    request: { input },
    expect: [{ path: "result", value: "true" }],
    decisions,
  });
  const name = log === "none" ? "OPA, no log" : "OPA, decision log to a file";
  return {
    pid: server.pid,
    id: log === "none" ? "opa" : "opa-log",
    promise: log === "none" ? "no log" : "log entry buffered",
    ...(log === "none" ? {} : { keptIn: directory }),
    asked: [
      { load: "unary", title: name, question: () => ask("allow", inputOf(target), 1) },
      {
        load: "batch",
        title: `${name}, ${batchDecisions} questions in one input`,
        question: () =>
          ask("answers", { questions: numbered((index) => inputOf(targetAt(index))) }, batchDecisions),
      },
    ],
  };
};
