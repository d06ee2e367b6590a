/** Cerbos over gRPC: without an audit log, with one in a file, and with one in its own store (Badger). */
import { writeFile } from "node:fs/promises";
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

const variants = {
  none: { id: "cerbos", title: "Cerbos, no audit" },
  file: { id: "cerbos-file", title: "Cerbos, file audit" },
  local: { id: "cerbos-badger", title: "Cerbos, Badger audit" },
} as const;

export type CerbosAudit = keyof typeof variants;

/** YAML, of which JSON is a part. Access logs stay off: it is decisions that are compared. */
const configOf = (audit: CerbosAudit, directory: string, ports: { grpc: number; http: number }): string => {
  const backends = {
    none: {},
    file: { file: { path: join(directory, "audit.log") } },
    local: { local: { storagePath: join(directory, "audit") } },
  };
  return JSON.stringify({
    server: {
      grpcListenAddr: `127.0.0.1:${ports.grpc}`,
      httpListenAddr: `127.0.0.1:${ports.http}`,
      requestLimits: { maxActionsPerResource: 10, maxResourcesPerRequest: batchDecisions },
    },
    telemetry: { disabled: true },
    storage: {
      driver: "disk",
      disk: { directory: join(import.meta.dirname, "policy", "cerbos"), watchForChanges: false },
    },
    ...(audit === "none"
      ? {}
      : {
          audit: {
            enabled: true,
            backend: audit,
            accessLogsEnabled: false,
            decisionLogsEnabled: true,
            ...backends[audit],
          },
        }),
  });
};

const resourceAt = (id: string) => ({ actions: [action], resource: { kind: "record", id } });

export const startCerbos = async (
  { directory, program, signal, processes }: Place,
  audit: CerbosAudit,
): Promise<Served> => {
  const ports = { grpc: await freePort(), http: await freePort() };
  const config = join(directory, "cerbos.yaml");
  await writeFile(config, configOf(audit, directory, ports));
  const command = [program, "server", `--config=${config}`, "--log-level=error"];
  const output = join(directory, "output.log");
  const server = await startProcess(command, ports.grpc, { output, signal, processes });
  const ask = (resources: readonly unknown[]): Question => ({
    kind: "grpc",
    address: `127.0.0.1:${ports.grpc}`,
    method: "cerbos.svc.v1.CerbosService/CheckResources",
    request: { requestId: "5f1c", principal: { id: asker, roles: [asker] }, resources },
    expect: [{ path: "results.actions.value", value: "EFFECT_ALLOW" }],
    decisions: resources.length,
  });
  const { id, title } = variants[audit];
  return {
    pid: server.pid,
    id,
    promise: audit === "none" ? "no log" : "log entry buffered",
    ...(audit === "none" ? {} : { keptIn: directory }),
    asked: [
      { load: "unary", title, question: () => ask([resourceAt(target)]) },
      {
        load: "batch",
        title: `${title}, ${batchDecisions} resources`,
        question: () => ask(numbered((index) => resourceAt(targetAt(index)))),
      },
    ],
  };
};
