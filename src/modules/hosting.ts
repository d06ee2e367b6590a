/**
 * Host functions for running modules: executed as the module's caller, in the caller's tenant, authorized like the
 * caller's own calls. Limited to the manifest's capabilities; the sandbox counts the calls. Source: docs/spec/module.md
 * §4.
 */
import { utf8Encode } from "@sigil/core/bytes";
import { invalidField } from "../errors.ts";
import type { CallContext, Caller } from "../identity/caller.ts";
import { isGranted } from "./sandbox/grants.ts";
import type { Capability } from "./sandbox/limits.ts";
import type { HostCall } from "./sandbox/run.ts";

/** The caller of the module, and the run that the decisions belong to. */
export type HostedRun = {
  readonly caller: Caller;
  readonly call: CallContext;
  readonly session: string;
};

/** Answers are JSON text. */
export type HostFunctions = {
  /** A record of the caller's tenant. @throws denied, levelTooLow, notFound, recordCorrupt. */
  readonly readRecord: (run: HostedRun, id: string) => Promise<string>;
  /** A decision about the caller. @throws invalidField. */
  readonly check: (run: HostedRun, action: string, target: string) => Promise<string>;
};

/** Defence in depth: the sandbox already refuses calls that were not granted. */
const refuse = (): never => invalidField("capabilities", "do not grant what the module asks for");

export const hostOf = (
  functions: HostFunctions,
  { capabilities, ...run }: HostedRun & { readonly capabilities: readonly Capability[] },
): HostCall => {
  return async (request) => {
    if (!isGranted(request, capabilities)) return refuse();
    switch (request.kind) {
      case "canon.read":
        return utf8Encode(await functions.readRecord(run, request.id));
      case "trust.check":
        return utf8Encode(await functions.check(run, request.action, request.target));
    }
  };
};
