/**
 * OpenFGA over gRPC, with its tuples in memory or in SQLite. It keeps no log of its answers. Its JSON has the names of
 * its contract, with underscores.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../test/contract/free-port.ts";
import type { Question } from "./generator.ts";
import { startProcess } from "./process.ts";
import { asker, batchDecisions, numbered, type Place, type Served } from "./served.ts";

const service = "openfga.v1.OpenFGAService";
const direct = { this: {} };

/** Operators of a record may read it. */
const model = {
  schema_version: "1.1",
  type_definitions: [
    { type: "user" },
    {
      type: "record",
      relations: { operator: direct, can_read: { computedUserset: { relation: "operator" } } },
      metadata: { relations: { operator: { directly_related_user_types: [{ type: "user" }] } } },
    },
  ],
};

const tupleAt = (relation: string) => (index: number) => ({
  user: `user:${asker}`,
  relation,
  object: `record:notes-${index}`,
});

export const startOpenFga = async (
  { generator, directory, program, signal, processes }: Place,
  engine: "memory" | "sqlite",
): Promise<Served> => {
  const port = await freePort();
  const store = engine === "memory" ? [] : [`--datastore-uri=file:${join(directory, "openfga.db")}`];
  const datastore = [`--datastore-engine=${engine}`, ...store];
  if (engine === "sqlite") await promisify(execFile)(program, ["migrate", ...datastore], { signal });
  const command = [
    program,
    "run",
    ...datastore,
    `--grpc-addr=127.0.0.1:${port}`,
    "--http-enabled=false",
    "--playground-enabled=false",
    "--metrics-enabled=false",
    "--log-level=none",
    `--max-checks-per-batch-check=${batchDecisions}`,
  ];
  const server = await startProcess(command, port, {
    output: join(directory, "output.log"),
    signal,
    processes,
  });
  const ask = (method: string, request: unknown): Question => ({
    kind: "grpc",
    address: `127.0.0.1:${port}`,
    method: `${service}/${method}`,
    request,
  });
  const { id: store_id } = await generator.call<{ id: string }>(ask("CreateStore", { name: "bench" }));
  const { authorization_model_id } = await generator.call<{ authorization_model_id: string }>(
    ask("WriteAuthorizationModel", { store_id, ...model }),
  );
  const ids = { store_id, authorization_model_id };
  await generator.call(ask("Write", { ...ids, writes: { tuple_keys: numbered(tupleAt("operator")) } }));
  const keyAt = tupleAt("can_read");
  return {
    pid: server.pid,
    id: `openfga-${engine}`,
    promise: "no log",
    asked: [
      {
        load: "unary",
        title: `OpenFGA Check, ${engine}`,
        question: () => ({
          ...ask("Check", { ...ids, tuple_key: keyAt(7) }),
          expect: [{ path: "allowed", value: "true" }],
        }),
      },
      {
        load: "batch",
        title: `OpenFGA BatchCheck of ${batchDecisions}, ${engine}`,
        question: () => ({
          ...ask("BatchCheck", {
            ...ids,
            checks: numbered((index) => ({ tuple_key: keyAt(index), correlation_id: `c${index}` })),
          }),
          expect: [{ path: "result.value.allowed", value: "true" }],
          decisions: batchDecisions,
        }),
      },
    ],
  };
};
