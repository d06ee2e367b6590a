/** SpiceDB over gRPC, with its relationships in memory. It keeps no log of its answers. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../../test/contract/free-port.ts";
import type { Question } from "./generator.ts";
import { startProcess } from "./process.ts";
import { action, asker, batchDecisions, numbered, type Place, type Served } from "./served.ts";

const allowed = "PERMISSIONSHIP_HAS_PERMISSION";
const schema = `definition user {}
definition record {
  relation operator: user
  permission read = operator
}`;

const resourceAt = (index: number) => ({ objectType: "record", objectId: `notes-${index}` });
const subject = { object: { objectType: "user", objectId: asker } };

/** Its port opens before it can take a schema. */
const triesMax = 40;
const retryMs = 250;

export const startSpiceDb = async ({
  generator,
  directory,
  program,
  signal,
  processes,
}: Place): Promise<Served> => {
  const port = await freePort();
  const key = randomBytes(16).toString("hex");
  const command = [
    program,
    "serve",
    `--grpc-preshared-key=${key}`,
    `--grpc-addr=127.0.0.1:${port}`,
    "--datastore-engine=memory",
    "--http-enabled=false",
    "--metrics-enabled=false",
    "--dispatch-cluster-enabled=false",
    "--telemetry-endpoint=",
    "--log-level=error",
    "--grpc-log-requests-enabled=false",
    "--skip-release-check",
  ];
  const server = await startProcess(command, port, {
    output: join(directory, "output.log"),
    signal,
    processes,
  });
  const ask = (method: string, request: unknown): Question => ({
    kind: "grpc",
    address: `127.0.0.1:${port}`,
    method: `authzed.api.v1.${method}`,
    metadata: { authorization: `Bearer ${key}` },
    request,
  });
  for (let tries = 1; ; tries += 1) {
    try {
      await generator.call(ask("SchemaService/WriteSchema", { schema }));
      break;
    } catch (error) {
      signal.throwIfAborted();
      if (tries === triesMax) throw error;
      await delay(retryMs);
    }
  }
  const updates = numbered((index) => ({
    operation: "OPERATION_TOUCH",
    relationship: { resource: resourceAt(index), relation: "operator", subject },
  }));
  await generator.call(ask("PermissionsService/WriteRelationships", { updates }));
  const itemAt = (index: number) => ({ resource: resourceAt(index), permission: action, subject });
  return {
    pid: server.pid,
    id: "spicedb",
    promise: "no log",
    asked: [
      {
        load: "unary",
        title: "SpiceDB CheckPermission, memory",
        question: () => ({
          ...ask("PermissionsService/CheckPermission", itemAt(7)),
          expect: [{ path: "permissionship", value: allowed }],
        }),
      },
      {
        load: "batch",
        title: `SpiceDB CheckBulkPermissions of ${batchDecisions}, memory`,
        question: () => ({
          ...ask("PermissionsService/CheckBulkPermissions", { items: numbered(itemAt) }),
          expect: [{ path: "pairs.item.permissionship", value: allowed }],
          decisions: batchDecisions,
        }),
      },
    ],
  };
};
