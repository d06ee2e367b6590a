/** What callers see of errors of modules and runs. Whoever changes a row changes what callers rely on. */
import { status as Code } from "@grpc/grpc-js";
import { shown, type Rows } from "./status-row.ts";

export type RunKind =
  | "malformedModule"
  | "moduleRefused"
  | "moduleAltered"
  | "runTrapped"
  | "runLimit"
  | "runTimedOut"
  | "runCrashed"
  | "runsBusy";

export const runRows: Rows<RunKind> = {
  malformedModule: [
    [
      { kind: "malformedModule", offset: 8, rule: "r" },
      shown(Code.INVALID_ARGUMENT, "MALFORMED_MODULE", "malformed module at offset 8: r", { offset: "8" }),
    ],
  ],
  moduleRefused: [
    [
      {
        kind: "moduleRefused",
        reason: "MODULE_RETIRED",
        rule: "r",
        module: "module/m",
        auditId: "a-1",
        run: "module_run/r",
      },
      shown(Code.FAILED_PRECONDITION, "MODULE_RETIRED", "module/m r", {
        module: "module/m",
        audit_id: "a-1",
        run_id: "module_run/r",
      }),
    ],
    [
      {
        kind: "moduleRefused",
        reason: "DIGEST_DIFFERS",
        rule: "r",
        module: "module/m",
        auditId: "a-1",
        run: "module_run/r",
        wanted: "aa",
        found: "bb",
      },
      shown(Code.FAILED_PRECONDITION, "DIGEST_DIFFERS", "module/m r", {
        module: "module/m",
        audit_id: "a-1",
        run_id: "module_run/r",
        wanted_digest: "aa",
        found_digest: "bb",
      }),
    ],
  ],
  moduleAltered: [
    [
      {
        kind: "moduleAltered",
        module: "module/m",
        auditId: "a-1",
        run: "module_run/r",
        wanted: "aa",
        found: "bb",
      },
      shown(
        Code.DATA_LOSS,
        "MODULE_ALTERED",
        "the code of module/m was altered: it must have aa and has bb",
        {
          module: "module/m",
          audit_id: "a-1",
          run_id: "module_run/r",
          wanted_digest: "aa",
          found_digest: "bb",
        },
      ),
    ],
  ],
  runTrapped: [
    [
      { kind: "runTrapped", rule: "unreachable", module: "module/m", auditId: "a-1", run: "module_run/r" },
      shown(Code.FAILED_PRECONDITION, "RUN_TRAPPED", "module/m trapped: unreachable", {
        module: "module/m",
        audit_id: "a-1",
        run_id: "module_run/r",
      }),
    ],
    [
      {
        kind: "runTrapped",
        rule: "unreachable",
        module: "module/m",
        auditId: "a-1",
        run: "module_run/r",
        wanted: "aa",
        found: "bb",
      },
      shown(Code.FAILED_PRECONDITION, "RUN_TRAPPED", "module/m trapped: unreachable", {
        module: "module/m",
        audit_id: "a-1",
        run_id: "module_run/r",
        wanted_digest: "aa",
        found_digest: "bb",
      }),
    ],
  ],
  runLimit: [
    [
      {
        kind: "runLimit",
        reason: "RUN_OUTPUT_LIMIT",
        limit: 9,
        module: "module/m",
        auditId: "a-1",
        run: "module_run/r",
      },
      shown(
        Code.RESOURCE_EXHAUSTED,
        "RUN_OUTPUT_LIMIT",
        "module/m went past its limit of 9 (RUN_OUTPUT_LIMIT)",
        { limit: "9", module: "module/m", audit_id: "a-1", run_id: "module_run/r" },
      ),
    ],
  ],
  runTimedOut: [
    [
      { kind: "runTimedOut", limitMs: 9, module: "module/m", auditId: "a-1", run: "module_run/r" },
      shown(Code.DEADLINE_EXCEEDED, "RUN_TIMED_OUT", "module/m was stopped after 9 ms", {
        limit_ms: "9",
        module: "module/m",
        audit_id: "a-1",
        run_id: "module_run/r",
      }),
    ],
  ],
  runCrashed: [
    [
      { kind: "runCrashed", module: "module/m", auditId: "a-1", run: "module_run/r" },
      shown(Code.UNAVAILABLE, "RUN_CRASHED", "the sandbox of module/m broke", {
        module: "module/m",
        audit_id: "a-1",
        run_id: "module_run/r",
      }),
    ],
  ],
  runsBusy: [
    [
      { kind: "runsBusy", what: "all tenants", limit: 64 },
      shown(
        Code.RESOURCE_EXHAUSTED,
        "RUNS_BUSY",
        "64 runs of all tenants are under way; retry with back-off",
        { what: "all tenants", limit: "64" },
        { retryMs: 200 },
      ),
    ],
    [
      {
        kind: "runsBusy",
        what: "all tenants",
        limit: 64,
        module: "module/m",
        auditId: "a-1",
        run: "module_run/r",
      },
      shown(
        Code.RESOURCE_EXHAUSTED,
        "RUNS_BUSY",
        "64 runs of all tenants are under way; retry with back-off",
        { what: "all tenants", limit: "64", module: "module/m", audit_id: "a-1", run_id: "module_run/r" },
        { retryMs: 200 },
      ),
    ],
  ],
};
